"""Turns rows of raw values into sites, and finds all their problems at once.

Every row is checked by itself, including which of its DNS records can coexist. Then the rows are checked against each
other: owners that disagree, names that are taken, subdomains.
"""

import itertools
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from panelica_async.provision.manifest import dns, entries, fields
from panelica_async.provision.manifest.columns import REQUIRED, Row
from panelica_async.provision.manifest.fields import InvalidValueError
from panelica_async.provision.manifest.sites import Database, DatabaseUser, DnsRecord, Owner, Problem, Remark, Site

_T = TypeVar("_T")

# Longest names that the servers allow for databases and for their users.
_LONGEST = {"mysql": (64, 32), "postgresql": (63, 63)}
_SHARED = "another owner uses the same name, which works only on a panel that puts the owner's name in front"
_CASE = "the names differ in upper and lower case only: a panel may take one user for the other"
# One record of each at a name: receivers ignore all of them when there are two, or take any (RFC 7208 section 4.5,
# RFC 7489 section 6.6.3, RFC 8461 section 3.1, RFC 8460 section 3, RFC 6376 section 3.6.2.2).
_SOLE_TEXTS = {"spf1": "SPF", "dmarc1": "DMARC", "stsv1": "MTA-STS", "tlsrptv1": "TLS-RPT", "dkim1": "DKIM"}
_VERSION = re.compile(r"\s*v\s*=\s*(\w+)\s*(?:[\s;]|$)", re.IGNORECASE)


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
    owners = _Owners(pairs)
    names = _Names(pairs)
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
        domain = self._parse_text("domain", fields.domain_name) or ""
        owner = Owner(
            username=self._parse_text("username", fields.user_name) or "",
            email=self._parse_text("email", fields.email_address),
            plan=self._parse_text("plan", str),
            password=self._value("password", fields.password),
        )
        if owner.username and owner.username not in str(self.row.values["username"]):
            self.remarks.append(self.row.remark("username", "the user name is created in lower case"))
        return Site(
            domain=domain,
            owner=owner,
            php_version=self._value("php_version", fields.php_version),
            web_server=self._value("web_server", fields.web_server),
            ssl=self._value("ssl", fields.ssl),
            dns=self._records(domain),
            databases=self._list(entries.DATABASES, domain),
            mailboxes=self._list(entries.MAILBOXES, domain),
            ftp_users=self._list(entries.FTP_USERS, domain),
            line=self.row.line,
        )

    def _records(self, domain: str) -> tuple[DnsRecord, ...]:
        records = self._list(entries.DNS, domain)
        for message in _contradictions(records, domain):
            self._note("dns", message)
        for record in _targets_that_are_aliases(records, domain):
            text = "the mail or name server is itself a CNAME, which some servers refuse"
            self.remarks.append(self.row.remark("dns", text, record))
        return records

    def _parse_text(self, field: str, parse: Callable[[str], str]) -> str | None:
        def parse_text(value: object) -> str | None:
            if written := fields.text(value):
                return parse(written)
            if field in REQUIRED:
                raise InvalidValueError("is missing")
            return None

        return self._value(field, parse_text)

    def _value(self, field: str, parse: Callable[[object], _T | None]) -> _T | None:
        try:
            return parse(self.row.values.get(field))
        except InvalidValueError as error:
            self._note(field, str(error))
            return None

    def _list(self, kind: entries.Kind[_T], domain: str) -> tuple[_T, ...]:
        field = kind.column
        value = self.row.values.get(field) or ()
        if isinstance(value, str):
            try:
                value = entries.split(field, value)
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
                entry = kind.entry(raw)
            except InvalidValueError as error:
                is_text = isinstance(raw, str) and error.value is None
                errors.append((position, error.inside(f"entry {position}") if is_text else error))
                continue
            has_password = has_password or entries.has_password(entry)
            try:
                built = kind.build(entry, domain)
            except InvalidValueError as error:
                errors.append((position, error))
                continue
            if found.setdefault(kind.key(built), built) is not built:
                self._note(field, f"{kind.name(built)!r} appears twice")
        is_secret = has_password and field != "dns"
        for position, invalid in errors:
            self._note(field, invalid.without_value(f"entry {position}") if is_secret else str(invalid))
        return tuple(found.values())

    def _note(self, field: str, message: str) -> None:
        self.problems.append(self.row.problem(field, message))


def clash(name: str, type: str, content: str, other_type: str, other_content: str) -> str | None:
    """Return why a name cannot have two different records at once, or None when it can.

    Args:
        name: The name within the zone.
        type: Type of one record, in upper case.
        content: Its content.
        other_type: Type of the other record, in upper case.
        other_content: Its content.
    """
    if type == other_type == "CNAME":
        return "a name can have only one CNAME"
    if "CNAME" in {type, other_type}:
        return "a CNAME cannot have another record beside it"
    if type == other_type == "MX" and "." in {content, other_content}:
        return "a null MX, which means no mail, cannot have another MX beside it"
    if type == other_type == "TXT":
        kind = _sole_text(name, content)
        if kind is not None and kind == _sole_text(name, other_content):
            return f"a name can have only one {kind} record"
    return None


def may_replace(name: str, type: str, content: str, other_type: str, other_content: str) -> bool:
    """Return whether a record may be meant to replace another of its name; texts must start with the same key."""
    if type != other_type:
        return False
    return type != "TXT" or _purpose(name, content) == _purpose(name, other_content)


def _contradictions(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield, in words, which records cannot coexist in a zone.

    Args:
        records: All records of the zone.
        domain: The zone.
    """
    by_name: dict[str, list[DnsRecord]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    for name, same_name in by_name.items():
        pairs = itertools.combinations(same_name, 2)
        clashes = (clash(name, one.type, one.content, other.type, other.content) for one, other in pairs)
        for reason in dict.fromkeys(filter(None, clashes)):
            yield f"{name}: {reason}"
        yield from (f"{name}: {message}" for message in _different_times(same_name))
    yield from _alias_loops(by_name, domain)


def _targets_that_are_aliases(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield the records of mail and name servers that are a CNAME themselves (RFC 2181 section 10.3)."""
    aliases = {dns.full_name(record.name, domain) for record in records if record.type == "CNAME"}
    for record in records:
        if record.type in {"MX", "NS"} and record.content in aliases:
            yield f"{record.name} {record.type} {record.content}"


def _different_times(records: Sequence[DnsRecord]) -> Iterator[str]:
    """Yield types whose records have different times to live, which RFC 2181 section 5.2 rules out."""
    times: dict[str, set[int]] = {}
    for record in records:
        if record.ttl is not None:
            times.setdefault(record.type, set()).add(record.ttl)
    for kind, values in times.items():
        if len(values) > 1:
            low, high = min(values), max(values)
            yield f"the {kind} records have different TTLs, {low} and {high}; records of one name and type share one"


def _alias_loops(by_name: Mapping[str, Sequence[DnsRecord]], domain: str) -> Iterator[str]:
    target = {
        dns.full_name(name, domain): records[0].content
        for name, records in by_name.items()
        if records[0].type == "CNAME" and len(records) == 1
    }
    reported: set[str] = set()
    for start in target:
        chain = [start]
        while (follow := target.get(chain[-1])) is not None and follow not in chain:
            chain.append(follow)
        if follow == start and start not in reported:
            reported.update(chain)
            yield f"the CNAMEs {' -> '.join([*chain, start])} form a loop"


def _sole_text(name: str, content: str) -> str | None:
    """Return what a text is, if a name can have only one of its kind."""
    labels = name.lower().split(".")
    # A key may do without its version.
    if "_domainkey" in labels[1:]:
        return "DKIM"
    version = _VERSION.match(content)
    return _SOLE_TEXTS.get(version[1].lower()) if version else None


def _purpose(name: str, content: str) -> str:
    key, equals, _ = content.partition("=")
    return _sole_text(name, content) or (key.strip().lower() if equals else "")


class _Owners:
    """Combines what the rows say about each owner: one row may hold what others leave out.

    Rows without a valid user name are left out: what they say belongs to no owner.

    Attributes:
        problems: What the rows disagree on.
    """

    def __init__(self, pairs: Sequence[tuple[Row, Site]]) -> None:
        self.problems: list[Problem] = []
        self._owners: dict[str, Owner] = {}
        self._first: dict[tuple[str, str], Row] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        pairs = [(row, site) for row, site in pairs if site.owner.username]
        for row, site in pairs:
            self._add(row, site.owner)
        with_address = {site.owner.username for row, site in pairs if row.values.get("email")}
        for (username, field), row in self._first.items():
            if username not in with_address:
                message = f"{username!r} needs an e-mail address to be created, and no line has one"
                self.problems.append(row.problem(field, message))

    def complete(self, site: Site) -> Site:
        """Return the site with all that is known of its owner."""
        return attrs.evolve(site, owner=self._owners.get(site.owner.username, site.owner))

    def _add(self, row: Row, owner: Owner) -> None:
        known = self._owners.setdefault(owner.username, Owner(username=owner.username))
        for field in ("email", "plan", "password"):
            said, before = getattr(owner, field), getattr(known, field)
            if said is None:
                continue
            first = self._first.setdefault((owner.username, field), row)
            if before is None:
                known = self._owners[owner.username] = attrs.evolve(known, **{field: said})
            elif not _same(field, said, before):
                message = f"differs from line {first.line}, which has the same owner"
                self.problems.append(row.problem(field, message))
        if owner.email:
            username, line = self._addresses.setdefault(owner.email.lower(), (owner.username, row.line))
            if username != owner.username:
                message = f"{owner.email!r} already belongs to {username!r} in line {line}"
                self.problems.append(row.problem("email", message))


class _Names:
    """Compares the names in all rows.

    A domain exists once. Some panels put the owner's name before the names of databases, their users and FTP users.
    Only there may two owners use one name, so it gets a remark.

    Attributes:
        problems: Names that are taken.
        remarks: Names that may be taken, and subdomains that the panel may refuse.
    """

    def __init__(self, pairs: Sequence[tuple[Row, Site]]) -> None:
        self.problems: list[Problem] = []
        self.remarks: list[Remark] = []
        self._taken: dict[tuple[str, ...], tuple[Row, Site]] = {}
        self._users: dict[tuple[str, str], tuple[Row, Site, Database, DatabaseUser]] = {}
        self._spellings: dict[tuple[str, str, str], tuple[Row, str]] = {}
        for row, site in pairs:
            if site.domain:
                self._take(row, site, "domain", site.domain, shareable=False)
            if not site.owner.username:
                continue
            for database in site.databases:
                self._take(row, site, "databases", database.name, database.type)
                self._check_length(row, site, database.name, _LONGEST[database.type][0])
                for user in database.users:
                    self._check_user(row, site, database, user)
            for ftp_user in site.ftp_users:
                self._take(row, site, "ftp_users", ftp_user.username)
        self._compare_domains(pairs)

    def _take(self, row: Row, site: Site, field: str, name: str, *kind: str, shareable: bool = True) -> None:
        first, holder = self._taken.setdefault((field, *kind, name.lower()), (row, site))
        if first is row:
            return
        if shareable and _have_other_owners(site, holder):
            self.remarks.append(row.remark(field, _SHARED, name))
        else:
            self.problems.append(row.problem(field, f"{name!r} is already in line {first.line}"))

    def _check_user(self, row: Row, site: Site, database: Database, user: DatabaseUser) -> None:
        """Compare a database user with the one of the same name on the same server."""
        self._check_length(row, site, user.username, _LONGEST[database.type][1])
        entry = (row, site, database, user)
        first, holder, other, known = self._users.setdefault((database.type, user.username), entry)
        if known is user:
            self._compare_case(row, site, database, user)
        elif _have_other_owners(site, holder):
            self.remarks.append(row.remark("databases", _SHARED, user.username))
        elif user.password is None or user.password != known.password:
            message = (
                f"{database.name}: user {user.username!r} already belongs to the database {other.name!r} in line "
                f"{first.line}, and a user has one password: use the same password in both places, or another name"
            )
            self.problems.append(row.problem("databases", message))

    def _compare_case(self, row: Row, site: Site, database: Database, user: DatabaseUser) -> None:
        # Whether panels tell such users apart is not known; a look-up in their lists does not.
        name = user.username
        first, spelled = self._spellings.setdefault((database.type, site.owner.username, name.lower()), (row, name))
        if spelled != name:
            self.remarks.append(row.remark("databases", _CASE, f"{name} beside {spelled} in line {first.line}"))

    def _check_length(self, row: Row, site: Site, name: str, longest: int) -> None:
        prefix = f"{site.owner.username}_"
        if not name.lower().startswith(prefix) and len(prefix + name) > longest:
            text = f"a panel that puts the owner's name in front makes this name longer than {longest} characters"
            self.remarks.append(row.remark("databases", text, name))

    def _compare_domains(self, pairs: Sequence[tuple[Row, Site]]) -> None:
        """Remark subdomains that come before their parent domain, or belong to another owner."""
        position = {site.domain: index for index, (_, site) in reversed(list(enumerate(pairs)))}
        for index, (row, site) in enumerate(pairs):
            parent = next((name for name in _parents(site.domain) if name in position), None)
            if parent is None:
                continue
            above, parent_site = pairs[position[parent]]
            where = f"{site.domain} below {parent} in line {above.line}"
            if _have_other_owners(site, parent_site):
                self.remarks.append(row.remark("domain", "the domain is a subdomain of another owner's domain", where))
            if position[parent] > index:
                text = "the subdomain comes before its parent domain, which some panels refuse"
                self.remarks.append(row.remark("domain", text, where))


def _have_other_owners(one: Site, other: Site) -> bool:
    return one.owner.username != other.owner.username


def _parents(domain: str) -> Iterator[str]:
    """Yield the parent domains of a domain, nearest first."""
    while "." in domain:
        domain = domain.partition(".")[2]
        yield domain


def _same(field: str, one: str, other: str) -> bool:
    return one == other if field == "password" else one.lower() == other.lower()
