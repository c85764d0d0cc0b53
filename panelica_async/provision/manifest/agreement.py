"""Checks the rows of a manifest against each other: owners that agree, names that are taken, subdomains."""

from collections.abc import Iterator, Sequence

import attrs

from panelica_async.provision.manifest.columns import Row
from panelica_async.provision.manifest.sites import Database, DatabaseUser, Owner, Problem, Remark, Site

# Longest names that the servers allow for databases and for their users.
_LONGEST = {"mysql": (64, 32), "postgresql": (63, 63)}


class Owners:
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
                self.problems.append(Problem(row.line, row.column(field), message))

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
                self.problems.append(Problem(row.line, row.column(field), message))
        if owner.email:
            username, line = self._addresses.setdefault(owner.email.lower(), (owner.username, row.line))
            if username != owner.username:
                message = f"{owner.email!r} already belongs to {username!r} in line {line}"
                self.problems.append(Problem(row.line, row.column("email"), message))


class Names:
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
            self._remark(row, field, name, _SHARED)
        else:
            self.problems.append(Problem(row.line, row.column(field), f"{name!r} is already in line {first.line}"))

    def _check_user(self, row: Row, site: Site, database: Database, user: DatabaseUser) -> None:
        """Compare a database user with the one of the same name on the same server."""
        self._check_length(row, site, user.username, _LONGEST[database.type][1])
        entry = (row, site, database, user)
        first, holder, other, known = self._users.setdefault((database.type, user.username), entry)
        if known is user:
            return
        if _have_other_owners(site, holder):
            self._remark(row, "databases", user.username, _SHARED)
        elif user.password is None or user.password != known.password:
            message = (
                f"{database.name}: user {user.username!r} already belongs to the database {other.name!r} in line "
                f"{first.line}, and a user has one password: use the same password in both places, or another name"
            )
            self.problems.append(Problem(row.line, row.column("databases"), message))

    def _check_length(self, row: Row, site: Site, name: str, longest: int) -> None:
        prefix = f"{site.owner.username}_"
        if not name.lower().startswith(prefix) and len(prefix + name) > longest:
            text = f"a panel that puts the owner's name in front makes this name longer than {longest} characters"
            self._remark(row, "databases", name, text)

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
                self._remark(row, "domain", where, "the domain is a subdomain of another owner's domain")
            if position[parent] > index:
                text = "the subdomain comes before its parent domain, which some panels refuse"
                self._remark(row, "domain", where, text)

    def _remark(self, row: Row, field: str, name: str, text: str) -> None:
        self.remarks.append(Remark.at(row.line, f"{row.column(field)} {name}", text))


_SHARED = "another owner uses the same name, which works only on a panel that puts the owner's name in front"


def _have_other_owners(one: Site, other: Site) -> bool:
    return one.owner.username != other.owner.username


def _parents(domain: str) -> Iterator[str]:
    """Yield the parent domains of a domain, nearest first."""
    while "." in domain:
        domain = domain.partition(".")[2]
        yield domain


def _same(field: str, one: str, other: str) -> bool:
    return one == other if field == "password" else one.lower() == other.lower()
