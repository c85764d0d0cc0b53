"""Turns rows of raw values into sites, and finds all their problems at once."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from panelica_async.provision.manifest import agreement, cells, entries, fields
from panelica_async.provision.manifest.columns import Row
from panelica_async.provision.manifest.dns import contradictions, targets_that_are_aliases
from panelica_async.provision.manifest.problems import InvalidValueError, Problem, Remark
from panelica_async.provision.manifest.sites import Database, DnsRecord, FtpUser, Mailbox, Owner, Site

_T = TypeVar("_T")


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


@attrs.frozen
class _Kind(Generic[_T]):
    """A kind of objects that a site has several of."""

    build: Callable[[cells.Entry, str], _T]
    key: Callable[[_T], Hashable]
    """What a site may have only once."""
    name: Callable[[_T], str]
    """What to call it in a message."""


_DNS = _Kind[DnsRecord](
    entries.dns_record,
    lambda record: (record.name, record.type, record.content),
    lambda record: f"{record.name} {record.type} {record.content}",
)
_DATABASES = _Kind[Database](
    entries.database, lambda database: (database.type, database.name.lower()), lambda database: database.name
)
_MAILBOXES = _Kind[Mailbox](entries.mailbox, lambda mailbox: mailbox.local_part, lambda mailbox: mailbox.local_part)
_FTP_USERS = _Kind[FtpUser](entries.ftp_user, lambda user: user.username.lower(), lambda user: user.username)


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
        for message in contradictions(records, domain):
            self._note("dns", message)
        for record in targets_that_are_aliases(records, domain):
            self._remark("dns", "the mail or name server is itself a CNAME, which some servers refuse", record)
        return records

    def _value(self, field: str, parse: Callable[[object], _T | None]) -> _T | None:
        try:
            return parse(self.row.values.get(field))
        except InvalidValueError as error:
            self._note(field, str(error))
            return None

    def _list(self, field: str, kind: _Kind[_T], domain: str) -> tuple[_T, ...]:
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
        errors: list[tuple[int, InvalidValueError]] = []
        read: list[tuple[int, cells.Entry]] = []
        for position, raw in enumerate(value, start=1):
            try:
                read.append((position, entries.read(field, raw)))
            except InvalidValueError as error:
                is_text = isinstance(raw, str) and error.value is None
                errors.append((position, error.inside(f"entry {position}") if is_text else error))
        found: dict[Hashable, _T] = {}
        for position, entry in read:
            try:
                built = kind.build(entry, domain)
            except InvalidValueError as error:
                errors.append((position, error))
                continue
            if found.setdefault(kind.key(built), built) is not built:
                self._note(field, f"{kind.name(built)!r} appears twice")
        discreet = field != "dns" and any(map(_has_password, (entry for _, entry in read)))
        for position, reason in errors:
            self._note(field, reason.without_value(f"entry {position}") if discreet else str(reason))
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
