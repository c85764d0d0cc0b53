"""Extra requests around a call that its wire asks for: derived arguments, fences, values to keep, "gone".

Before: arguments that the caller left out are derived from the others, a fence is checked, and values that a change
would reset are read. After: a 400 that may mean "gone" is confirmed. All requests share the deadline of the call. A
failure before the write changes nothing on the panel.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, NoReturn, Self, TypeVar, cast

import attrs

from panelica_async.api.lists import Row, rows_of
from panelica_async.api.runner import Fetch, OperationRunner, SharedDeadline, decode_reply, fetch_one, send
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Fence, Operation, Repeat, Wire
from panelica_async.core.request import PreparedRequest, check_arguments, prepare
from panelica_async.core.values import NO_IDS
from panelica_async.errors import (
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    PanelicaError,
    ResponseError,
    ResponseFields,
)
from panelica_async.telemetry import LOGGER

T = TypeVar("T")

_SYMBOLS = re.compile(r"[^a-z0-9]+")
# A home directory has the name of its account (evidence: files-home).
_HOME = re.compile(r"/home/([^/]+)(?:/.*)?", re.DOTALL)


async def derive_alone(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the arguments of a read, with those that the caller left out and the panel needs."""
    return await _derive(SharedDeadline(runner, wire), operation, wire, arguments)


async def carry_out(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], call: Fetch[T]
) -> T:
    """Make a call with the steps that its wire requires.

    Raises:
        ValueError: An argument is invalid, or cannot be derived from the others.
        NotFoundError: The object is not where the arguments say, or gone; nothing was written.
        ConflictError: The request cannot say which of several objects is meant; nothing was written.
        PartialWriteError: A create made its object, but not as requested.
    """
    check_arguments(operation, wire, arguments)
    deadline = SharedDeadline(runner, wire)
    steps = _Steps(deadline, operation, wire, await _derive(deadline, operation, wire, arguments))
    if wire.fence is not None:
        await steps.check_fence(wire.fence)
    if wire.keeps:
        steps = await steps.with_kept()
    if wire.read_back is not None:
        from panelica_async.api.writes import create_exactly  # noqa: PLC0415 - the create loads it, too

        return await create_exactly(deadline, operation, steps.wire, wire.read_back, steps.arguments, call)
    try:
        return await call(deadline.runner(), operation, steps.wire, steps.arguments)
    except ResponseError as error:
        # A derived argument may have been wrong.
        runner.known.reads.forget()
        if wire.gone is None or not await steps.is_gone(wire.gone, error):
            raise
        if wire.method == "DELETE":
            return cast("T", None)
        raise NotFoundError(
            f"{operation.name}: no such object: the panel answered {error.status}, and {wire.gone} 404",
            status=404,
            code=error.code,
            details=error.details,
            request_id=error.request_id,
            method=error.method,
            path=error.path,
            attempts=error.attempts,
            from_panel=error.from_panel,
        ) from error


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.frozen(eq=False, repr=False)
class _Steps:
    """A call with the steps before and after it."""

    deadline: SharedDeadline
    operation: Operation
    wire: Wire
    arguments: Mapping[str, Any]

    async def check_fence(self, fence: Fence) -> None:
        """Raise unless the object is in its list: by its id alone, a panel would change one of another parent.

        What the list showed counts for a minute, so that changing a whole zone reads it once, not once for each record.
        Objects do not move between lists; one that is gone by then is a 404 of the panel.
        """
        runner = self.deadline.runner()
        lookup = runner.get_operation(fence.lookup)
        there = runner.wire(lookup)
        where = {
            name: self.arguments[name]
            for name in (*there.placeholders, *there.query, *there.filters)
            if self.arguments.get(name, UNSET) is not UNSET
        }
        wanted = str(self.arguments[fence.argument])
        question = ("rows", fence.lookup, *where.items())
        if fence.single is None and wanted in (runner.known.reads.kept(question) or ()):
            return
        rows = await rows_of(runner, lookup, Row, where).collect()
        runner.known.reads.keep(question, frozenset(row.id for row in rows))
        name, shown = self.operation.name, ", ".join(f"{name}={value!r}" for name, value in where.items())
        if all(row.id != wanted for row in rows):
            problem = f"{name}: {fence.lookup}({shown}) has nothing with the id {wanted}; nothing was changed"
            hint = f"Look up where {fence.argument} {wanted} belongs: panels change it by its id alone, wherever it is."
            raise NotFoundError(problem, **_not_sent(self.wire, 404, hint))
        if fence.single is not None and len({str(row.extra.get(fence.single)) for row in rows}) > 1:
            several = f"{fence.lookup}({shown}) shows several of {fence.single}"
            problem = f"{name}: {several}, and the request cannot say which is meant; nothing was changed"
            raise ConflictError(problem, **_not_sent(self.wire, 409))

    async def with_kept(self) -> Self:
        """Return the call with what the panel would reset among what it sends, as it is now."""
        wire, runner = self.wire, self.deadline.runner()
        path = prepare(self.operation, wire, self.arguments).path
        call = runner.prepare_raw(f"GET {path}", PreparedRequest("GET", path), Repeat.READ)
        shown = await runner.run(call, lambda reply: decode_reply(call, reply).data)
        if not isinstance(shown, dict):
            raise DecodeError(
                f"expected an object with {', '.join(wire.keeps)}, which {self.operation.name} would reset",
                endpoint=call.endpoint,
            )
        now = cast("dict[str, Any]", shown)
        arguments_by_name = {name: argument for argument, name in wire.body.items()}
        if not any(now.get(name) is not None for name in wire.keeps):
            # Refusing would also fail where there is nothing to reset.
            LOGGER.warning(
                "%s: the panel shows none of %s, and may reset them", self.operation.name, ", ".join(wire.keeps)
            )
        kept = dict[str, str]()
        for name in wire.keeps:
            argument = arguments_by_name.get(name, name)
            if now.get(name) is not None and self.arguments.get(argument, UNSET) is UNSET:
                kept[argument] = name
        # They are as the panel has them: not to be translated again.
        values = {argument: names for argument, names in wire.values.items() if argument not in kept}
        return attrs.evolve(
            self,
            wire=attrs.evolve(wire, body={**wire.body, **kept}, values=values),
            arguments={**self.arguments, **{argument: now[name] for argument, name in kept.items()}},
        )

    async def is_gone(self, reader: str, error: ResponseError) -> bool:
        """Return whether an error means that the object does not exist. Only a 404 of another operation confirms it.

        Current panels answer 400, in any language, also where their own look-up failed for another reason
        (evidence: missing-account).
        """
        if not isinstance(error, BadRequestError):
            return False
        try:
            runner = self.deadline.runner()
            operation = runner.get_operation(reader)
            wire = runner.wire(operation)
            await send(runner, operation, wire, {part: self.arguments[part] for part in wire.placeholders})
        except NotFoundError as answer:
            return answer.from_panel
        except PanelicaError:
            return False
        return False


def _not_sent(wire: Wire, status: int, hint: str | None = None) -> ResponseFields:
    """Return what the error of a call says that was not sent, because of what was read before it."""
    return {
        "status": status,
        "method": wire.method,
        "path": wire.path,
        "attempts": 0,
        "from_panel": False,
        "hint": hint,
    }


async def _derive(
    deadline: SharedDeadline, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments with those that the caller left out and the panel needs.

    An argument that the caller passes is sent unchanged, and needs no read.

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
            f"{problem}; {self.operation.name} sent nothing", **_not_sent(self.deadline.wire(name), 404)
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
        options = attrs.evolve(runner.options, deadline=None, original_deadline=None)
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
        if owner := _known(domain.user_id):
            return owner
    except (NotFoundError, DecodeError) as error:
        # What a single domain shows is not confirmed; the list shows the owner (evidence: domains-list).
        failure = error
    found = await missing.find("domains.list", lambda row: row.id == domain_id)
    if found and (owner := _known(found[0].user_id)):
        return owner
    raise failure or missing.not_shown("domains.list", f"the panel does not show the owner of the domain {domain_id}")


async def _domain_of_database(missing: _Missing) -> str:
    database_id = missing.of("db_id")
    found = await missing.find("databases.list", lambda row: row.id == database_id)
    if not found:
        raise missing.absent("databases.list", f"no database has the id {database_id}")
    domain_id = _known(found[0].domain_id)
    if domain_id is None:
        problem = f"the panel does not show the domain of the database {database_id}"
        raise missing.not_shown("databases.list", problem)
    return domain_id


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
    user_id = _known(found[0].id)
    if user_id is None:
        raise missing.not_shown("accounts.list", f"the panel does not show the id of {username}")
    return user_id


def _known(id: str | None) -> str | None:
    """Return an id; None for what panels write instead of an unset one."""
    return None if id in NO_IDS else id


_SOURCES: Mapping[str, Callable[[_Missing], Awaitable[str]]] = {
    "username": _username,
    "slug_of_name": _slug_of_name,
    "owner_of_domain": _owner_of_domain,
    "owner_of_path": _owner_of_path,
    "domain_of_database": _domain_of_database,
}
"""What each source of `Wire.derived` returns."""
