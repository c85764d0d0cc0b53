"""Turns rows of raw values into sites, and finds all their problems at once.

An entry of a list is read from a cell or is a mapping already, and becomes an object of the site.
"""

from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import attrs

from panelica_async.provision.manifest import agreement, cells, dns, fields
from panelica_async.provision.manifest.columns import Row
from panelica_async.provision.manifest.fields import InvalidValueError
from panelica_async.provision.manifest.sites import (
    ALL,
    Database,
    DatabaseUser,
    DnsRecord,
    FtpUser,
    Mailbox,
    Owner,
    Problem,
    Remark,
    Site,
)

_T = TypeVar("_T")

# Guess: what fits the integer column of any panel.
_MAX_QUOTA_MB = 2**31 - 1


@attrs.frozen
class Checked:
    """Rows after the checks. With problems, the sites are incomplete."""

    sites: tuple[Site, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[Remark, ...]


def check(rows: Sequence[Row]) -> Checked:
    """Check every row by itself and against the others, and return the sites in the order of the rows."""
    checks = [_RowCheck(row) for row in rows]
    pairs = [(row_check.row, row_check.site()) for row_check in checks]
    owners = agreement.Owners(pairs)
    names = agreement.Names(pairs)
    return Checked(
        sites=tuple(owners.complete(site) for _, site in pairs),
        problems=(*(problem for each in checks for problem in each.problems), *names.problems, *owners.problems),
        remarks=(*(remark for each in checks for remark in each.remarks), *names.remarks),
    )


class _RowCheck:
    """Checks one row by itself."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.problems: list[Problem] = []
        self.remarks: list[Remark] = []

    def site(self) -> Site:
        """Build the site; invalid values are left out and noted as problems."""
        domain = self._value("domain", _needed(fields.domain_name)) or ""
        owner = Owner(
            username=self._value("username", _needed(fields.user_name)) or "",
            email=self._value("email", _optional(fields.email_address)),
            plan=self._value("plan", _optional(str)),
            password=self._value("password", fields.password),
        )
        if owner.username and owner.username not in str(self.row.values["username"]):
            self._remark("username", "the user name is created in lower case")
        return Site(
            domain=domain,
            owner=owner,
            php_version=self._value("php_version", fields.php_version),
            web_server=self._value("web_server", fields.web_server),
            ssl=self._value("ssl", fields.ssl),
            dns=self._records(domain),
            databases=self._list("databases", _DATABASES, domain),
            mailboxes=self._list("mailboxes", _MAILBOXES, domain),
            ftp_users=self._list("ftp_users", _FTP_USERS, domain),
            line=self.row.line,
        )

    def _records(self, domain: str) -> tuple[DnsRecord, ...]:
        records = self._list("dns", _DNS, domain)
        for message in dns.contradictions(records, domain):
            self._note("dns", message)
        for record in dns.targets_that_are_aliases(records, domain):
            self._remark("dns", "the mail or name server is itself a CNAME, which some servers refuse", record)
        return records

    def _value(self, field: str, parse: Callable[[object], _T | None]) -> _T | None:
        try:
            return parse(self.row.values.get(field))
        except InvalidValueError as error:
            self._note(field, str(error))
            return None

    def _list(self, field: str, kind: "_Kind[_T]", domain: str) -> tuple[_T, ...]:
        value = self.row.values.get(field) or ()
        if isinstance(value, str):
            try:
                value = cells.split(field, value)
            except InvalidValueError as error:
                self._note(field, str(error))
                return ()
        if not fields.is_list(value):
            self._note(field, "must be a list")
            return ()
        found: dict[Hashable, _T] = {}
        errors: list[tuple[int, InvalidValueError]] = []
        has_password = False
        for position, raw in enumerate(value, start=1):
            try:
                entry = _read(field, raw)
            except InvalidValueError as error:
                is_text = isinstance(raw, str) and error.value is None
                errors.append((position, error.inside(f"entry {position}") if is_text else error))
                continue
            has_password = has_password or _has_password(entry)
            try:
                built = kind.build(entry, domain)
            except InvalidValueError as error:
                errors.append((position, error))
                continue
            if found.setdefault(kind.key(built), built) is not built:
                self._note(field, f"{kind.name(built)!r} appears twice")
        for position, problem in errors:
            is_secret = has_password and field != "dns"
            self._note(field, problem.without_value(f"entry {position}") if is_secret else str(problem))
        return tuple(found.values())

    def _note(self, field: str, message: str) -> None:
        self.problems.append(Problem(self.row.line, self.row.column(field), message))

    def _remark(self, field: str, text: str, name: str = "") -> None:
        column = self.row.column(field)
        self.remarks.append(Remark.at(self.row.line, f"{column} {name}" if name else column, text))


def _has_password(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry, or a user in it, has a password."""
    users = entry.get("users")
    inner = [mapping for user in users if (mapping := fields.as_mapping(user))] if fields.is_list(users) else []
    return "password" in entry or any("password" in user for user in inner)


def _needed(parse: Callable[[str], str]) -> Callable[[object], str]:
    def parse_needed(value: object) -> str:
        written = fields.text(value)
        if not written:
            raise InvalidValueError("is missing")
        return parse(written)

    return parse_needed


def _optional(parse: Callable[[str], str]) -> Callable[[object], str | None]:
    def parse_optional(value: object) -> str | None:
        written = fields.text(value)
        return parse(written) if written else None

    return parse_optional


def _read(column: str, raw: object) -> cells.Entry:
    """Return an entry as a mapping, whether it is one already or text as in a cell."""
    return cells.READERS[column](raw) if isinstance(raw, str) else _mapping(raw)


def _dns_record(entry: cells.Entry, domain: str) -> DnsRecord:
    """Build a record of the zone of a domain; an empty domain stands for one that was refused."""
    _expect(entry, ("name", "type", "content", "ttl", "priority"))
    name = fields.text(entry.get("name"))
    with _about(name):
        content = entry.get("content")
        return dns.record(
            name=name,
            type=fields.text(entry.get("type")),
            # Text in parentheses may span several lines.
            content=fields.trim(content) if isinstance(content, str) else fields.text(content),
            ttl=entry.get("ttl"),
            priority=entry.get("priority"),
            domain=domain,
        )


def _database(entry: cells.Entry, _domain: str) -> Database:
    """Build a database with its users."""
    _expect(entry, ("name", "type", "users"))
    name = fields.database_name(fields.text(entry.get("name")))
    with _about(name):
        users = entry.get("users") or ()
        if not fields.is_list(users):
            raise InvalidValueError("users must be a list")
        return Database(
            name=name,
            type=fields.choice(fields.text(entry.get("type")).lower() or "mysql", fields.DATABASE_TYPES),
            users=_distinct(map(_database_user, users)),
        )


def _mailbox(entry: cells.Entry, domain: str) -> Mailbox:
    """Build a mailbox; its name may also be the full address."""
    _expect(entry, ("local_part", "password", "quota_mb"))
    address = fields.text(entry.get("local_part"))
    local, _, host = address.partition("@")
    if host and fields.domain_name(host) != domain and domain:
        raise InvalidValueError(f"is not an address of {domain}", address)
    local = fields.mailbox_name(local)
    with _about(local):
        return Mailbox(
            local_part=local,
            password=fields.password(entry.get("password")),
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=1, maximum=_MAX_QUOTA_MB),
        )


def _ftp_user(entry: cells.Entry, _domain: str) -> FtpUser:
    """Build an FTP user."""
    _expect(entry, ("username", "password", "home_directory", "quota_mb"))
    username = fields.ftp_name(fields.text(entry.get("username")))
    with _about(username):
        home = fields.text(entry.get("home_directory"))
        return FtpUser(
            username=username,
            password=fields.password(entry.get("password")),
            home_directory=fields.home_directory(home) if home else None,
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=0, maximum=_MAX_QUOTA_MB),
        )


def _database_user(entry: object) -> DatabaseUser:
    user: Mapping[str, object] = {"username": entry} if isinstance(entry, str) else _mapping(entry)
    _expect(user, ("username", "password", "privileges"))
    username = fields.database_name(fields.text(user.get("username")))
    with _about(username):
        return DatabaseUser(
            username=username,
            password=fields.password(user.get("password")),
            privileges=fields.text(user.get("privileges")) or ALL,
        )


def _distinct(users: Iterable[DatabaseUser]) -> tuple[DatabaseUser, ...]:
    by_name: dict[str, DatabaseUser] = {}
    for user in users:
        if by_name.setdefault(user.username, user) is not user:
            raise InvalidValueError(f"user {user.username!r} appears twice")
    return tuple(by_name.values())


def _mapping(raw: object) -> cells.Entry:
    mapping = fields.as_mapping(raw)
    if mapping is None:
        raise InvalidValueError("an entry must be text or a mapping; put numbers and words such as yes in quotes")
    return mapping


def _expect(entry: cells.Entry, keys: Collection[str]) -> None:
    unknown = [key for key in entry if key not in keys]
    if unknown:
        raise InvalidValueError(f"unknown key {unknown[0]!r}; expected one of {', '.join(keys)}")


@contextmanager
def _about(name: str) -> Generator[None]:
    """Put the name of the entry before the error."""
    try:
        yield
    except InvalidValueError as error:
        raise error.inside(name) from None


@attrs.frozen
class _Kind(Generic[_T]):
    """A kind of objects that a site has several of."""

    build: Callable[[cells.Entry, str], _T]
    key: Callable[[_T], Hashable]
    """What a site may have only once."""
    name: Callable[[_T], str]
    """What to call it in a message."""


_DNS = _Kind[DnsRecord](
    _dns_record,
    lambda record: (record.name, record.type, record.content),
    lambda record: f"{record.name} {record.type} {record.content}",
)
_DATABASES = _Kind[Database](
    _database, lambda database: (database.type, database.name.lower()), lambda database: database.name
)
_MAILBOXES = _Kind[Mailbox](_mailbox, lambda mailbox: mailbox.local_part, lambda mailbox: mailbox.local_part)
_FTP_USERS = _Kind[FtpUser](_ftp_user, lambda user: user.username.lower(), lambda user: user.username)
