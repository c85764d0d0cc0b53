"""Turns rows of raw values into sites, and finds everything that is wrong with them at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import attrs

from panelica_async.provision.manifest import cells, entries, fields
from panelica_async.provision.manifest.problems import InvalidValueError, Problem
from panelica_async.provision.manifest.shapes import is_list
from panelica_async.provision.manifest.sites import Owner, Site
from panelica_async.provision.manifest.source import Row

_T = TypeVar("_T")


def check(rows: Sequence[Row]) -> tuple[tuple[Site, ...], list[Problem]]:
    """Check every row by itself and against the others.

    Returns:
        The sites in the order of the rows, and the problems. With problems the sites are incomplete.
    """
    checks = [_RowCheck(row) for row in rows]
    sites = [row_check.site() for row_check in checks]
    checked = list(zip(rows, sites, strict=True))
    problems = [problem for row_check in checks for problem in row_check.problems]
    problems += _taken_names(checked)
    owners, disagreements = _owners(checked)
    problems += disagreements
    return tuple(attrs.evolve(site, owner=owners[_key(site)]) for site in sites), problems


class _RowCheck:
    """Checks one row by itself."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.problems: list[Problem] = []

    def site(self) -> Site:
        """Build the site; what is wrong is left out and noted."""
        domain = self._value("domain", _needed(fields.domain_name)) or ""
        owner = Owner(
            username=self._value("username", _needed(fields.user_name)) or "",
            email=self._value("email", _optional(fields.email_address)),
            plan=self._value("plan", _optional(str)),
            password=self._value("password", fields.password),
        )
        return Site(
            domain=domain,
            owner=owner,
            php_version=self._value("php_version", fields.php_version),
            web_server=self._value("web_server", fields.web_server),
            ssl=self._value("ssl", fields.ssl),
            dns=self._list(
                "dns",
                entries.dns_record,
                domain,
                lambda record: f"{record.name} {record.type} {record.content}",
            ),
            databases=self._list("databases", entries.database, domain, lambda database: database.name.lower()),
            mailboxes=self._list("mailboxes", entries.mailbox, domain, lambda mailbox: mailbox.local_part),
            ftp_users=self._list("ftp_users", entries.ftp_user, domain, lambda user: user.username.lower()),
            line=self.row.line,
        )

    def _value(self, field: str, parse: Callable[[object], _T | None]) -> _T | None:
        try:
            return parse(self.row.values.get(field))
        except InvalidValueError as error:
            self._note(field, str(error))
            return None

    def _list(
        self, field: str, build: Callable[[cells.Entry, str], _T], domain: str, name: Callable[[_T], str]
    ) -> tuple[_T, ...]:
        value = self.row.values.get(field) or ()
        if isinstance(value, str):
            value = cells.split(field, value)
        if not is_list(value):
            self._note(field, "must be a list")
            return ()
        found: dict[str, _T] = {}
        for raw in value:
            try:
                entry = build(entries.read(field, raw), domain)
            except InvalidValueError as error:
                self._note(field, str(error))
                continue
            if found.setdefault(name(entry), entry) is not entry:
                self._note(field, f"{name(entry)!r} stands here twice")
        return tuple(found.values())

    def _note(self, field: str, message: str) -> None:
        self.problems.append(Problem(self.row.line, self.row.column(field), message))


def _needed(parse: Callable[[str], str]) -> Callable[[object], str]:
    def parse_needed(value: object) -> str:
        given = fields.text(value)
        if not given:
            raise InvalidValueError("is missing")
        return parse(given)

    return parse_needed


def _optional(parse: Callable[[str], str]) -> Callable[[object], str | None]:
    def parse_optional(value: object) -> str | None:
        given = fields.text(value)
        return parse(given) if given else None

    return parse_optional


def _key(site: Site) -> str:
    return site.owner.username.lower()


def _taken_names(checked: Sequence[tuple[Row, Site]]) -> Iterator[Problem]:
    """Yield names that a row above uses already. A panel has each of them once, whoever owns it."""
    lines: dict[tuple[str, str], int] = {}
    for row, site in checked:
        names = [
            ("domain", site.domain),
            *(("databases", database.name) for database in site.databases),
            *(("ftp_users", user.username) for user in site.ftp_users),
        ]
        for field, name in names:
            first = lines.setdefault((field, name.lower()), row.line)
            if name and first != row.line:
                yield Problem(row.line, row.column(field), f"{name!r} stands in line {first} already")


def _owners(checked: Sequence[tuple[Row, Site]]) -> tuple[dict[str, Owner], list[Problem]]:
    """Put together what the rows say about each owner: one may give what others leave out."""
    owners: dict[str, Owner] = {}
    given_by: dict[tuple[str, str], Row] = {}
    addresses: dict[str, tuple[str, int]] = {}
    with_address = {_key(site) for row, site in checked if row.values.get("email")}
    problems: list[Problem] = []
    for row, site in checked:
        key = _key(site)
        owners.setdefault(key, Owner(username=site.owner.username))
        for field in ("email", "plan", "password"):
            given, known = getattr(site.owner, field), getattr(owners[key], field)
            if given is None:
                continue
            first = given_by.setdefault((key, field), row)
            if known is None:
                owners[key] = attrs.evolve(owners[key], **{field: given})
            elif not _same(field, given, known):
                message = f"is not what line {first.line} says for the same owner"
                problems.append(Problem(row.line, row.column(field), message))
        if site.owner.email:
            username, line = addresses.setdefault(site.owner.email.lower(), (site.owner.username, row.line))
            if username.lower() != key:
                message = f"{site.owner.email!r} belongs to {username!r} in line {line} already"
                problems.append(Problem(row.line, row.column("email"), message))
    for (key, field), row in given_by.items():
        if key not in with_address:
            message = f"{owners[key].username!r} is created only with an e-mail address, and no line gives one"
            problems.append(Problem(row.line, row.column(field), message))
    return owners, problems


def _same(field: str, one: str, other: str) -> bool:
    return one == other if field == "password" else one.lower() == other.lower()
