"""The classes that make up a checked manifest: sites and what belongs to them, problems and remarks."""

from collections.abc import Iterable
from typing import Final, Self

import attrs

from panelica_async.core.redaction import one_line
from panelica_async.errors import ConfigurationError

ALL: Final = "ALL"
"""Privileges of a database user that may do everything."""


@attrs.frozen(kw_only=True)
class Owner:
    """The account a site belongs to: created if it is missing and has an `email`; otherwise it must exist."""

    username: str
    """Login and system user name, lower case; matched in any case."""
    email: str | None = None
    """E-mail address, unique on the panel."""
    plan: str | None = None
    """Name or id of the hosting plan; None for the panel's default."""
    password: str | None = attrs.field(default=None, repr=False)
    """Password of at least 8 characters; None to have one generated."""


@attrs.frozen(kw_only=True)
class DnsRecord:
    """A record to add to the zone of the site."""

    name: str
    """Name within the zone; `@` is the domain itself."""
    type: str
    """Record type, upper case."""
    content: str
    """Value without the priority. Host names are complete, lower case and without a trailing dot, except for `.`, which
    says that there is no host; text is without quotes and escapes."""
    ttl: int | None = None
    """Seconds that resolvers may keep the record; None for the panel's default."""
    priority: int | None = None
    """Preference of an MX or SRV record; None for other types."""


@attrs.frozen(kw_only=True)
class DatabaseUser:
    """A user of a database."""

    username: str
    """Login name."""
    password: str | None = attrs.field(default=None, repr=False)
    """Password of at least 8 characters; None to have one generated."""
    privileges: str = ALL
    """What the user may do in the database."""


@attrs.frozen(kw_only=True)
class Database:
    """A database of the site."""

    name: str
    """Name, before the panel adds a prefix to it."""
    type: str = "mysql"
    """`mysql` or `postgresql`."""
    users: tuple[DatabaseUser, ...] = ()
    """Users in the order they are created."""


@attrs.frozen(kw_only=True)
class Mailbox:
    """A mailbox under the site's domain."""

    local_part: str
    """Part of the address before the `@`, lower case."""
    password: str | None = attrs.field(default=None, repr=False)
    """Password of at least 8 characters; None to have one generated."""
    quota_mb: int | None = None
    """Size limit in MB, at least 1; None for the panel's default."""


@attrs.frozen(kw_only=True)
class FtpUser:
    """An FTP user for the site's files."""

    username: str
    """Login name, before the panel adds a prefix to it."""
    password: str | None = attrs.field(default=None, repr=False)
    """Password of at least 8 characters; None to have one generated."""
    home_directory: str | None = None
    """Directory the user is confined to; None for the panel's default."""
    quota_mb: int | None = None
    """Space the user may fill in MB, 0 for unlimited; None for the panel's default."""


@attrs.frozen(kw_only=True)
class Site:
    """One website with its owner and everything that belongs to it."""

    domain: str
    """Domain name in its ASCII form, lower case."""
    owner: Owner
    """The account it belongs to; equal in every site of the same owner."""
    php_version: str | None = None
    """PHP version such as `8.4`; None for the panel's default."""
    web_server: str | None = None
    """`nginx`, `apache`, `nginx_apache` or `nginx_only`; None for the panel's default."""
    ssl: str | None = None
    """Certificate to issue: `lets_encrypt`, `self_signed`, or None for none."""
    dns: tuple[DnsRecord, ...] = ()
    """Records to add to the zone."""
    databases: tuple[Database, ...] = ()
    """Databases with their users."""
    mailboxes: tuple[Mailbox, ...] = ()
    """Mailboxes under the domain."""
    ftp_users: tuple[FtpUser, ...] = ()
    """FTP users for the files."""
    line: int = attrs.field(default=0, eq=False)
    """Line of the manifest the site begins on, from 1; for Python data, the position of the row."""


@attrs.frozen(order=True)
class Problem:
    """One thing to correct in a manifest. Never quotes a password."""

    line: int
    """Line in the file, from 1; for Python data, the position of the row."""
    column: str
    """Column or key as the file spells it; empty when the whole line is meant."""
    message: str
    """What is wrong and what is expected."""

    def __str__(self) -> str:
        return f"{_place(self.line, self.column)}: {self.message}"


@attrs.frozen(order=True)
class Remark:
    """Something that is not a problem, but that an operator should know. Never quotes a password."""

    where: str
    """Place or object it is about, such as `line 3, server` or `mailbox info@example.com`."""
    text: str
    """What to know. The same remark has the same text everywhere, so that remarks can be grouped."""

    @classmethod
    def at(cls, line: int, column: str, text: str) -> Self:
        """Return a remark about a place in the file."""
        return cls(_place(line, column), text)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return the remark as JSON-like data."""
        return {"where": self.where, "text": self.text}


class ManifestError(ConfigurationError):
    """A manifest cannot be used. Nothing was sent.

    Attributes:
        source: Name of the manifest.
        problems: Everything that is wrong, in the order of the file.
        remarks: What else is worth knowing, such as ignored columns.
    """

    def __init__(self, source: str, problems: Iterable[Problem], remarks: Iterable[Remark] = ()) -> None:
        self.source = source
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        self.remarks: tuple[Remark, ...] = tuple(remarks)
        super().__init__(
            f"{source}: {len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}",
            hint="Correct the manifest and run again; nothing was sent.",
        )

    def __str__(self) -> str:
        # A line for each problem, unlike other errors. Line breaks quoted from the file become spaces.
        places = [*map(str, self.problems), *(f"note: {remark}" for remark in self.remarks)]
        return "\n".join([self.message, *(f"  {one_line(place)}" for place in places), f"Hint: {self.hint}"])


def _place(line: int, column: str) -> str:
    return f"line {line}, {column}" if column else f"line {line}"
