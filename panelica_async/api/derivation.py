"""Arguments that current panels require and the published contract lacks: each is derived from the others.

Some need a read before the call. An argument that the caller passes is sent unchanged, and needs no read.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import attrs

from panelica_async.api.calls import fetch_one, rows_of
from panelica_async.api.runner import SharedDeadline
from panelica_async.core.model import UNSET, Model
from panelica_async.core.operation import Operation, Wire
from panelica_async.errors import DecodeError, NotFoundError, PanelicaError

_SYMBOLS = re.compile(r"[^a-z0-9]+")
# A home directory has the name of its account (evidence: files-home).
_HOME = re.compile(r"/home/([^/]+)(?:/.*)?", re.DOTALL)


@attrs.frozen(kw_only=True)
class Row(Model):
    """The fields of a row that say what it belongs to."""

    id: str | None = None
    user_id: str | None = None
    domain_id: str | None = None
    username: str | None = None
    role: str | None = None


async def derive(
    deadline: SharedDeadline, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments with those that the caller left out and the panel needs.

    Raises:
        ValueError: An argument cannot be derived from the others; the message names it.
        PanelicaError: A read failed, or does not show the value. Nothing was written.
    """
    known = dict(arguments)
    for name, source in wire.derived.items():
        if known.get(name, UNSET) is UNSET:
            missing = _Missing(deadline, operation, name, known)
            try:
                known[name] = await _SOURCES[source](missing)
            except PanelicaError as error:
                error.add_note(f"{operation.name} needs this read to find out {name}. {missing.remedy}")
                raise
    return known


@attrs.frozen
class _Missing:
    """An argument that has to be derived."""

    deadline: SharedDeadline
    operation: Operation
    name: str
    arguments: Mapping[str, Any]

    @property
    def remedy(self) -> str:
        return f"Pass {self.name}= to avoid the read."

    def cannot(self, problem: str) -> NoReturn:
        raise ValueError(f"{self.operation.name}: {self.name} cannot be derived: {problem}; pass {self.name}=")

    def of(self, argument: str) -> str:
        """Return the argument that it is derived from."""
        value = self.arguments.get(argument, UNSET)
        if value is None or value is UNSET:
            self.cannot(f"{argument} is missing")
        return str(value)

    async def rows(self, name: str) -> tuple[list[Row], bool]:
        """Return the rows of a list, and whether it was under way when this call came."""
        # Without the deadline: the list is for all calls that wait for it.
        runner = self.deadline.runner()
        options = attrs.evolve(runner.options, deadline=None)
        reader = runner.with_options(options)

        async def ask() -> list[Row]:
            return await rows_of(reader, reader.get_operation(name), Row).collect()

        async with self.deadline.timeout():
            return await runner.known.reads.read((name, options), ask)

    async def find(self, name: str, accepts: Callable[[Row], bool]) -> list[Row]:
        """Return the rows of a list that a condition accepts."""
        rows, was_under_way = await self.rows(name)
        found = list(filter(accepts, rows))
        if not found and was_under_way:
            # The row may be newer than the list.
            rows, _ = await self.rows(name)
            found = list(filter(accepts, rows))
        return found


async def _username(missing: _Missing) -> str:
    return missing.of("username")


async def _slug_of_name(missing: _Missing) -> str:
    name = missing.of("name")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _SYMBOLS.sub("-", plain).strip("-") or missing.cannot(f"{name!r} has no ASCII letters or digits")


async def _owner_of_domain(missing: _Missing) -> str:
    """Return the owner of a domain, which seldom changes."""
    reads, domain_id = missing.deadline.runner().known.reads, missing.of("domain_id")
    owner: str | None = reads.kept(("owner", domain_id))
    if owner is None:
        owner = await _read_owner(missing, domain_id)
        reads.keep(("owner", domain_id), owner)
    return owner


async def _read_owner(missing: _Missing, domain_id: str) -> str:
    runner = missing.deadline.runner()
    operation = runner.get_operation("domains.get")
    options = attrs.evolve(runner.options, deadline=None)
    reader = runner.with_options(options)

    async def ask() -> Row:
        return await fetch_one(reader, operation, reader.wire(operation), {"id": domain_id}, Row)

    failure: PanelicaError | None = None
    try:
        async with missing.deadline.timeout():
            domain, _ = await runner.known.reads.read(("domains.get", domain_id, options), ask)
        if domain.user_id:
            return domain.user_id
    except (NotFoundError, DecodeError) as error:
        # What a single domain shows is not confirmed; the list shows the owner (evidence: domains-list).
        failure = error
    found = await missing.find("domains.list", lambda row: row.id == domain_id)
    if found and found[0].user_id:
        return found[0].user_id
    if failure is not None:
        raise failure
    raise _not_shown(missing, "domains.list", f"the panel does not show the owner of the domain {domain_id}")


async def _domain_of_database(missing: _Missing) -> str:
    database_id = missing.of("db_id")
    found = await missing.find("databases.list", lambda row: row.id == database_id)
    if not found:
        raise _absent(missing, "databases.list", f"no database has the id {database_id}")
    return found[0].domain_id or _raise(
        _not_shown(missing, "databases.list", f"the panel does not show the domain of the database {database_id}")
    )


async def _owner_of_path(missing: _Missing) -> str:
    path = missing.of("path")
    home = _HOME.fullmatch(path)
    if home is None or ".." in path.split("/"):
        missing.cannot(f"{path!r} is not below the home directory of an account, such as /home/john")
    username = home[1]

    def is_owner(row: Row) -> bool:
        # A list holds administrators, too (evidence: accounts-list); a row without a role is a user's.
        return row.username == username and (row.role or "USER").upper() == "USER"

    found = await missing.find("accounts.list", is_owner)
    if len(found) != 1:
        problem = f"{len(found)} accounts have" if found else "no account with the role USER has"
        raise _absent(missing, "accounts.list", f"{problem} the user name {username}")
    return found[0].id or _raise(_not_shown(missing, "accounts.list", f"the panel does not show the id of {username}"))


def _absent(missing: _Missing, name: str, problem: str) -> NotFoundError:
    wire = missing.deadline.wire(name)
    return NotFoundError(
        f"{problem}; {missing.operation.name} sent nothing",
        status=404,
        method=wire.method,
        path=wire.path,
        attempts=0,
        from_panel=False,
    )


def _not_shown(missing: _Missing, name: str, problem: str) -> DecodeError:
    return DecodeError(problem, endpoint=missing.deadline.wire(name).endpoint, hint=missing.remedy)


def _raise(error: PanelicaError) -> NoReturn:
    raise error


_SOURCES: Mapping[str, Callable[[_Missing], Awaitable[str]]] = {
    "username": _username,
    "slug_of_name": _slug_of_name,
    "owner_of_domain": _owner_of_domain,
    "owner_of_path": _owner_of_path,
    "domain_of_database": _domain_of_database,
}
"""What each source of `Wire.derived` returns."""
