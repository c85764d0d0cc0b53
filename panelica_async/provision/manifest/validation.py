"""Turns rows of raw values into sites, and finds all their problems at once.

Each row is checked alone, including which of its DNS records can coexist. Then the rows are compared: owners that
disagree, names that are taken, subdomains.
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

# Most characters that the servers allow in the names of databases and of their users.
_MAX_NAME_LENGTHS = {"mysql": (64, 32), "postgresql": (63, 63)}
_SHARED_NAME = "another owner uses the same name, which works only on a panel that puts the owner's name in front"
_CASE_DIFFERS = "the names differ in upper and lower case only: a panel may take one user for the other"
# A name has one record of each: of two, receivers ignore both or take either (RFC 7208 section 4.5, RFC 7489 section
# 6.6.3, RFC 8461 section 3.1, RFC 8460 section 3, RFC 6376 section 3.6.2.2).
_UNIQUE_TEXTS = {"spf1": "SPF", "dmarc1": "DMARC", "stsv1": "MTA-STS", "tlsrptv1": "TLS-RPT", "dkim1": "DKIM"}
_VERSION = re.compile(r"\s*v\s*=\s*(\w+)\s*(?:[\s;]|$)", re.IGNORECASE)


@attrs.frozen
class CheckedRows:
    """The result of checking rows. If there are problems, the sites are incomplete."""

    sites: tuple[Site, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[Remark, ...]


def check(rows: Sequence[Row]) -> CheckedRows:
    """Check each row alone and against the others; return the sites in the order of the rows."""
    checks = [_RowCheck(row) for row in rows]
    pairs = [(row_check.row, row_check.site()) for row_check in checks]
    owners = _Owners(pairs)
    names = _Names(pairs)
    return CheckedRows(
        sites=tuple(owners.complete(site) for _, site in pairs),
        problems=(
            *(problem for each in checks for problem in each.problems),
            *names.problems,
            *owners.problems,
        ),
        remarks=(*(remark for each in checks for remark in each.remarks), *names.remarks),
    )


class _RowCheck:
    """Checks one row alone."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.problems: list[Problem] = []
        self.remarks: list[Remark] = []

    def site(self) -> Site:
        """Build the site; invalid values are omitted and reported as problems."""
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
        for message in _conflicts_between(records, domain):
            self._add_problem("dns", message)
        for record in _targets_that_are_aliases(records, domain):
            text = "the mail or name server is itself a CNAME, which some servers refuse"
            self.remarks.append(self.row.remark("dns", text, record))
        return records

    def _parse_text(self, field: str, parse: Callable[[str], str]) -> str | None:
        def parse_text(value: object) -> str | None:
            if text := fields.text(value):
                return parse(text)
            if field in REQUIRED:
                raise InvalidValueError("is missing")
            return None

        return self._value(field, parse_text)

    def _value(self, field: str, parse: Callable[[object], _T | None]) -> _T | None:
        try:
            return parse(self.row.values.get(field))
        except InvalidValueError as error:
            self._add_problem(field, str(error))
            return None

    def _list(self, kind: entries.EntryKind[_T], domain: str) -> tuple[_T, ...]:
        field = kind.column
        try:
            raw_entries = entries.unpack(field, self.row.values.get(field) or ())
        except InvalidValueError as error:
            self._add_problem(field, str(error))
            return ()
        objects: dict[Hashable, _T] = {}
        errors: list[tuple[int, InvalidValueError]] = []
        has_password = False
        for position, raw in enumerate(raw_entries, start=1):
            try:
                entry = kind.to_mapping(raw)
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
            if objects.setdefault(kind.key(built), built) is not built:
                self._add_problem(field, f"{kind.label(built)!r} appears twice")
        is_secret = has_password and field != "dns"
        for position, invalid in errors:
            self._add_problem(field, invalid.without_value(f"entry {position}") if is_secret else str(invalid))
        return tuple(objects.values())

    def _add_problem(self, field: str, message: str) -> None:
        self.problems.append(self.row.problem(field, message))


def clash(name: str, type: str, content: str, other_type: str, other_content: str) -> str | None:
    """Return why two different records of one name cannot coexist, or None if they can.

    Args:
        name: Their name within the zone.
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
        kind = _unique_text_kind(name, content)
        if kind is not None and kind == _unique_text_kind(name, other_content):
            return f"a name can have only one {kind} record"
    return None


def may_replace(name: str, type: str, content: str, other_type: str, other_content: str) -> bool:
    """Return whether a record may be meant to replace another of its name; texts must start with the same key."""
    if type != other_type:
        return False
    return type != "TXT" or _purpose(name, content) == _purpose(name, other_content)


def _conflicts_between(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield a message for each conflict between the records of a zone."""
    by_name: dict[str, list[DnsRecord]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    for name, namesakes in by_name.items():
        pairs = itertools.combinations(namesakes, 2)
        clashes = (clash(name, one.type, one.content, other.type, other.content) for one, other in pairs)
        for reason in dict.fromkeys(filter(None, clashes)):
            yield f"{name}: {reason}"
        yield from (f"{name}: {message}" for message in _ttl_mismatches(namesakes))
    yield from _alias_loops(by_name, domain)


def _targets_that_are_aliases(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield each MX and NS record whose server is itself a CNAME (RFC 2181 section 10.3)."""
    aliases = {dns.full_name(record.name, domain) for record in records if record.type == "CNAME"}
    for record in records:
        if record.type in {"MX", "NS"} and record.content in aliases:
            yield f"{record.name} {record.type} {record.content}"


def _ttl_mismatches(records: Sequence[DnsRecord]) -> Iterator[str]:
    """Yield a message for each type whose records have different TTLs, which RFC 2181 section 5.2 rules out."""
    ttls_by_type: dict[str, set[int]] = {}
    for record in records:
        if record.ttl is not None:
            ttls_by_type.setdefault(record.type, set()).add(record.ttl)
    for record_type, ttls in ttls_by_type.items():
        if len(ttls) > 1:
            lowest_and_highest = f"{min(ttls)} and {max(ttls)}"
            yield (
                f"the {record_type} records have different TTLs, {lowest_and_highest}; "
                "records of one name and type share one"
            )


def _alias_loops(by_name: Mapping[str, Sequence[DnsRecord]], domain: str) -> Iterator[str]:
    targets = {
        dns.full_name(name, domain): records[0].content
        for name, records in by_name.items()
        if records[0].type == "CNAME" and len(records) == 1
    }
    reported: set[str] = set()
    for alias in targets:
        chain = [alias]
        while (target := targets.get(chain[-1])) is not None and target not in chain:
            chain.append(target)
        if target == alias and alias not in reported:
            reported.update(chain)
            yield f"the CNAMEs {' -> '.join([*chain, alias])} form a loop"


def _unique_text_kind(name: str, content: str) -> str | None:
    """Return the kind of a text if a name can have only one of it."""
    labels = name.lower().split(".")
    # The version of a DKIM key is optional.
    if "_domainkey" in labels[1:]:
        return "DKIM"
    version = _VERSION.match(content)
    return _UNIQUE_TEXTS.get(version[1].lower()) if version else None


def _purpose(name: str, content: str) -> str:
    key, equals, _ = content.partition("=")
    return _unique_text_kind(name, content) or (key.strip().lower() if equals else "")


class _Owners:
    """Combines what the rows say about each owner: each row may omit what another one has.

    Rows without a valid user name belong to no owner and are skipped.

    Attributes:
        problems: What the rows disagree on, and owners without an e-mail address.
    """

    def __init__(self, pairs: Sequence[tuple[Row, Site]]) -> None:
        self.problems: list[Problem] = []
        self._owners: dict[str, Owner] = {}
        self._first_rows: dict[tuple[str, str], Row] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        pairs = [(row, site) for row, site in pairs if site.owner.username]
        for row, site in pairs:
            self._add(row, site.owner)
        with_address = {site.owner.username for row, site in pairs if row.values.get("email")}
        for (username, field), row in self._first_rows.items():
            if username not in with_address:
                message = f"{username!r} needs an e-mail address to be created, and no line has one"
                self.problems.append(row.problem(field, message))

    def complete(self, site: Site) -> Site:
        """Return the site with everything that the rows say about its owner."""
        return attrs.evolve(site, owner=self._owners.get(site.owner.username, site.owner))

    def _add(self, row: Row, owner: Owner) -> None:
        known = self._owners.setdefault(owner.username, Owner(username=owner.username))
        for field in ("email", "plan", "password"):
            value, known_value = getattr(owner, field), getattr(known, field)
            if value is None:
                continue
            first = self._first_rows.setdefault((owner.username, field), row)
            if known_value is None:
                known = self._owners[owner.username] = attrs.evolve(known, **{field: value})
            elif not _is_same_value(field, value, known_value):
                message = f"differs from line {first.line}, which has the same owner"
                self.problems.append(row.problem(field, message))
        if owner.email:
            username, line = self._addresses.setdefault(owner.email.lower(), (owner.username, row.line))
            if username != owner.username:
                message = f"{owner.email!r} already belongs to {username!r} in line {line}"
                self.problems.append(row.problem("email", message))


class _Names:
    """Compares the names in all rows.

    A domain exists once. Some panels put the owner's name in front of the names of databases, their users and FTP
    users. Two owners can use one name only there, so that gets a remark.

    Attributes:
        problems: Names that are taken.
        remarks: Names that may be taken or become too long, and subdomains that the panel may refuse.
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
                self._check_length(row, site, database.name, _MAX_NAME_LENGTHS[database.type][0])
                for user in database.users:
                    self._check_user(row, site, database, user)
            for ftp_user in site.ftp_users:
                self._take(row, site, "ftp_users", ftp_user.username)
        self._compare_domains(pairs)

    def _take(self, row: Row, site: Site, field: str, name: str, *kind: str, shareable: bool = True) -> None:
        first_row, first_site = self._taken.setdefault((field, *kind, name.lower()), (row, site))
        if first_row is row:
            return
        if shareable and _have_different_owners(site, first_site):
            self.remarks.append(row.remark(field, _SHARED_NAME, name))
        else:
            self.problems.append(row.problem(field, f"{name!r} is already in line {first_row.line}"))

    def _check_user(self, row: Row, site: Site, database: Database, user: DatabaseUser) -> None:
        """Compare a database user with the one of the same name on the same server."""
        self._check_length(row, site, user.username, _MAX_NAME_LENGTHS[database.type][1])
        first_row, first_site, first_database, first_user = self._users.setdefault(
            (database.type, user.username), (row, site, database, user)
        )
        if first_user is user:
            self._compare_case(row, site, database, user)
        elif _have_different_owners(site, first_site):
            self.remarks.append(row.remark("databases", _SHARED_NAME, user.username))
        elif user.password is None or user.password != first_user.password:
            place = f"the database {first_database.name!r} in line {first_row.line}"
            message = (
                f"{database.name}: user {user.username!r} already belongs to {place}, and a user has one password: "
                "use the same password in both places, or another name"
            )
            self.problems.append(row.problem("databases", message))

    def _compare_case(self, row: Row, site: Site, database: Database, user: DatabaseUser) -> None:
        # Whether panels distinguish such users is not known; looking them up in lists ignores case.
        name = user.username
        key = (database.type, site.owner.username, name.lower())
        first_row, spelling = self._spellings.setdefault(key, (row, name))
        if spelling != name:
            where = f"{name} beside {spelling} in line {first_row.line}"
            self.remarks.append(row.remark("databases", _CASE_DIFFERS, where))

    def _check_length(self, row: Row, site: Site, name: str, max_length: int) -> None:
        prefix = f"{site.owner.username}_"
        if not name.lower().startswith(prefix) and len(prefix + name) > max_length:
            text = f"a panel that puts the owner's name in front makes this name longer than {max_length} characters"
            self.remarks.append(row.remark("databases", text, name))

    def _compare_domains(self, pairs: Sequence[tuple[Row, Site]]) -> None:
        """Remark subdomains that come before their parent domain, or belong to another owner."""
        first_positions = {site.domain: position for position, (_, site) in reversed(list(enumerate(pairs)))}
        for position, (row, site) in enumerate(pairs):
            parent = next((name for name in _parents(site.domain) if name in first_positions), None)
            if parent is None:
                continue
            parent_row, parent_site = pairs[first_positions[parent]]
            where = f"{site.domain} below {parent} in line {parent_row.line}"
            if _have_different_owners(site, parent_site):
                self.remarks.append(row.remark("domain", "the domain is a subdomain of another owner's domain", where))
            if first_positions[parent] > position:
                text = "the subdomain comes before its parent domain, which some panels refuse"
                self.remarks.append(row.remark("domain", text, where))


def _have_different_owners(one: Site, other: Site) -> bool:
    return one.owner.username != other.owner.username


def _parents(domain: str) -> Iterator[str]:
    """Yield the parent domains of a domain, nearest first."""
    while "." in domain:
        domain = domain.partition(".")[2]
        yield domain


def _is_same_value(field: str, one: str, other: str) -> bool:
    return one == other if field == "password" else one.lower() == other.lower()
