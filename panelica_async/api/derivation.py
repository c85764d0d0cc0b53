"""Arguments that current panels require and the published reference lacks: each is derived from the others.

Some need a read before the call. An argument that the caller passes is sent unchanged, and needs no read.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, NoReturn, TypeVar

import attrs

from panelica_async.api.lists import rows_of
from panelica_async.api.runner import OperationRunner, SharedDeadline, fetch_one
from panelica_async.core.model import UNSET, Model
from panelica_async.core.operation import Operation, Wire
from panelica_async.errors import DecodeError, NotFoundError, PanelicaError, ResponseFields

T = TypeVar("T")

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
    derived: dict[str, str] = {}
    for name, source in wire.derived.items():
        if arguments.get(name, UNSET) is UNSET:
            missing = _Missing(deadline, operation, name, arguments)
            try:
                derived[name] = await _SOURCES[source](missing)
            except PanelicaError as error:
                error.add_note(f"{operation.name} needs this read to find out {name}. {missing.remedy}")
                raise
    return {**arguments, **derived}


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.frozen(eq=False, repr=False)
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

    def absent(self, name: str, problem: str) -> NotFoundError:
        """Return the error for an object that a list does not have."""
        return NotFoundError(
            f"{problem}; {self.operation.name} sent nothing", **not_sent(self.deadline.wire(name), 404)
        )

    def not_shown(self, name: str, problem: str) -> DecodeError:
        """Return the error for an object of a list that does not show the argument."""
        return DecodeError(problem, endpoint=self.deadline.wire(name).endpoint, hint=self.remedy)

    async def read(
        self, question: Hashable, ask: Callable[[OperationRunner], Coroutine[Any, Any, T]]
    ) -> tuple[T, bool]:
        """Return what a read shows, and whether it was under way when this call came."""
        # Without the deadline: the read is for all calls that wait for it.
        runner = self.deadline.runner()
        options = attrs.evolve(runner.options, deadline=None)
        reader = runner.with_options(options)
        async with self.deadline.timeout():
            return await runner.known.reads.read((question, options), lambda: ask(reader))

    async def find(self, name: str, accepts: Callable[[Row], bool]) -> list[Row]:
        """Return the rows of a list that a condition accepts."""

        async def ask(reader: OperationRunner) -> list[Row]:
            return await rows_of(reader, reader.get_operation(name), Row).collect()

        rows, was_under_way = await self.read(name, ask)
        found = list(filter(accepts, rows))
        if not found and was_under_way:
            # The row may be newer than the list.
            rows, _ = await self.read(name, ask)
            found = list(filter(accepts, rows))
        return found


async def _username(missing: _Missing) -> str:
    return missing.of("username")


async def _slug_of_name(missing: _Missing) -> str:
    name = missing.of("name")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = _SYMBOLS.sub("-", plain).strip("-")
    if not slug:
        missing.cannot(f"{name!r} has no ASCII letters or digits")
    return slug


async def _owner_of_domain(missing: _Missing) -> str:
    """Return the owner of a domain, which seldom changes."""
    reads, domain_id = missing.deadline.runner().known.reads, missing.of("domain_id")
    owner: str | None = reads.kept(("owner", domain_id))
    if owner is None:
        owner = await _read_owner(missing, domain_id)
        reads.keep(("owner", domain_id), owner)
    return owner


async def _read_owner(missing: _Missing, domain_id: str) -> str:
    async def ask(reader: OperationRunner) -> Row:
        operation = reader.get_operation("domains.get")
        return await fetch_one(reader, operation, reader.wire(operation), {"id": domain_id}, Row)

    failure: PanelicaError | None = None
    try:
        domain, _ = await missing.read(("domains.get", domain_id), ask)
        if domain.user_id:
            return domain.user_id
    except (NotFoundError, DecodeError) as error:
        # What a single domain shows is not confirmed; the list shows the owner (evidence: domains-list).
        failure = error
    found = await missing.find("domains.list", lambda row: row.id == domain_id)
    if found and found[0].user_id:
        return found[0].user_id
    raise failure or missing.not_shown("domains.list", f"the panel does not show the owner of the domain {domain_id}")


async def _domain_of_database(missing: _Missing) -> str:
    database_id = missing.of("db_id")
    found = await missing.find("databases.list", lambda row: row.id == database_id)
    if not found:
        raise missing.absent("databases.list", f"no database has the id {database_id}")
    if not found[0].domain_id:
        problem = f"the panel does not show the domain of the database {database_id}"
        raise missing.not_shown("databases.list", problem)
    return found[0].domain_id


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
        raise missing.absent("accounts.list", f"{problem} the user name {username}")
    if not found[0].id:
        raise missing.not_shown("accounts.list", f"the panel does not show the id of {username}")
    return found[0].id


_SOURCES: Mapping[str, Callable[[_Missing], Awaitable[str]]] = {
    "username": _username,
    "slug_of_name": _slug_of_name,
    "owner_of_domain": _owner_of_domain,
    "owner_of_path": _owner_of_path,
    "domain_of_database": _domain_of_database,
}
"""What each source of `Wire.derived` returns."""


def not_sent(wire: Wire, status: int, hint: str | None = None) -> ResponseFields:
    """Return what the error of a call says that was not sent, because of what was read before it."""
    return {
        "status": status,
        "method": wire.method,
        "path": wire.path,
        "attempts": 0,
        "from_panel": False,
        "hint": hint,
    }
