"""Extra requests that a wire needs around its call: derived arguments, fences, values to keep, "gone".

Before the call, arguments that the caller left out are derived from the others, a fence is checked, and values that a
change would reset are read. After it, a 400 that may mean "gone" is confirmed. All requests share the deadline of the
call. A failure before the write changes nothing on the panel.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, NoReturn, Self, TypeVar, cast

import attrs

from panelica_async.api.lists import Row, rows_of
from panelica_async.api.runner import Invoke, OperationRunner, SharedDeadline, decode_reply, fetch_one, send
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

_NON_SLUG_CHARACTERS = re.compile(r"[^a-z0-9]+")
# A home directory has the name of its account (evidence: files-home).
_HOME = re.compile(r"/home/([^/]+)(?:/.*)?", re.DOTALL)


async def derive_arguments(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the arguments of a list, completed with those that the panel needs and the caller left out."""
    return await _derive(SharedDeadline(runner, wire), operation, wire, arguments)


async def carry_out(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], invoke: Invoke[T]
) -> T:
    """Make a call with the steps that its wire requires.

    Raises:
        ValueError: An argument is invalid, or cannot be derived from the others.
        NotFoundError: The object is gone, or not where the arguments say; nothing was written.
        ConflictError: The request cannot say which of several objects is meant; nothing was written.
        PartialWriteError: A create made its object, but not as requested.
    """
    check_arguments(operation, wire, arguments)
    deadline = SharedDeadline(runner, wire)
    steps = _Steps(deadline, operation, wire, await _derive(deadline, operation, wire, arguments))
    if wire.fence is not None:
        await steps.check_fence(wire.fence)
    if wire.keeps:
        steps = await steps.keeping_current_values()
    if wire.read_back is not None:
        from panelica_async.api.writes import create_exactly  # noqa: PLC0415 - the create loads it, too

        return await create_exactly(deadline, operation, steps.wire, wire.read_back, steps.arguments, invoke)
    try:
        return await invoke(deadline.runner(), operation, steps.wire, steps.arguments)
    except ResponseError as error:
        # A derived argument may have been wrong.
        runner.knowledge.reads.forget()
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
        """Raise unless the list of the named parent has the object: panels change it by its id alone, wherever it is.

        The ids of a list are kept for a minute, so that changing a whole zone reads it once, not once per record.
        Objects do not move between lists. For one that was deleted since, the panel answers 404.
        """
        runner = self.deadline.runner()
        lookup = runner.get_operation(fence.lookup)
        lookup_wire = runner.wire(lookup)
        list_arguments = {
            name: self.arguments[name]
            for name in (*lookup_wire.placeholders, *lookup_wire.query, *lookup_wire.filters)
            if self.arguments.get(name, UNSET) is not UNSET
        }
        object_id = str(self.arguments[fence.argument])
        read_key = ("rows", fence.lookup, *list_arguments.items())
        if fence.single is None and object_id in (runner.knowledge.reads.kept(read_key) or ()):
            return
        rows = await rows_of(runner, lookup, Row, list_arguments).collect()
        runner.knowledge.reads.keep(read_key, frozenset(row.id for row in rows))
        list_call = f"{fence.lookup}({', '.join(f'{name}={value!r}' for name, value in list_arguments.items())})"
        if all(row.id != object_id for row in rows):
            problem = f"{self.operation.name}: {list_call} has nothing with the id {object_id}; nothing was changed"
            hint = (
                f"Look up where {fence.argument} {object_id} belongs: panels change it by its id alone, wherever it is."
            )
            raise NotFoundError(problem, **_unsent_error_fields(self.wire, 404, hint))
        if fence.single is not None and len({str(row.extra.get(fence.single)) for row in rows}) > 1:
            problem = (
                f"{self.operation.name}: {list_call} shows several of {fence.single}, "
                "and the request cannot say which is meant; nothing was changed"
            )
            raise ConflictError(problem, **_unsent_error_fields(self.wire, 409))

    async def keeping_current_values(self) -> Self:
        """Return the call with the current values of the fields that the panel would otherwise reset."""
        wire, runner = self.wire, self.deadline.runner()
        path = prepare(self.operation, wire, self.arguments).path
        call = runner.prepare_raw(f"GET {path}", PreparedRequest("GET", path), Repeat.READ)
        data = await runner.run(call, lambda reply: decode_reply(call, reply).data)
        if not isinstance(data, dict):
            raise DecodeError(
                f"expected an object with {', '.join(wire.keeps)}, which {self.operation.name} would reset",
                endpoint=call.endpoint,
            )
        current = cast("dict[str, Any]", data)
        arguments_by_name = {name: argument for argument, name in wire.body.items()}
        if not any(current.get(name) is not None for name in wire.keeps):
            # Not an error: the object may have nothing to reset.
            LOGGER.warning(
                "%s: the panel shows none of %s, and may reset them", self.operation.name, ", ".join(wire.keeps)
            )
        kept = dict[str, str]()
        for name in wire.keeps:
            argument = arguments_by_name.get(name, name)
            if current.get(name) is not None and self.arguments.get(argument, UNSET) is UNSET:
                kept[argument] = name
        # Values from the panel need no translation.
        values = {argument: names for argument, names in wire.values.items() if argument not in kept}
        return attrs.evolve(
            self,
            wire=attrs.evolve(wire, body={**wire.body, **kept}, values=values),
            arguments={**self.arguments, **{argument: current[name] for argument, name in kept.items()}},
        )

    async def is_gone(self, reader: str, error: ResponseError) -> bool:
        """Return whether an error means that the object does not exist; only a 404 of another operation confirms it.

        Current panels answer 400, with a message in any language, even if their look-up failed for another reason
        (evidence: missing-account).
        """
        if not isinstance(error, BadRequestError):
            return False
        try:
            runner = self.deadline.runner()
            operation = runner.get_operation(reader)
            wire = runner.wire(operation)
            await send(runner, operation, wire, {name: self.arguments[name] for name in wire.placeholders})
        except NotFoundError as not_found:
            return not_found.from_panel
        except PanelicaError:
            return False
        return False


def _unsent_error_fields(wire: Wire, status: int, hint: str | None = None) -> ResponseFields:
    """Return the fields of an error for a call that was not sent because of a read before it."""
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
    """Return the arguments, completed with those that the panel needs and the caller left out.

    An argument that the caller passes is sent unchanged and needs no read.

    Raises:
        ValueError: An argument cannot be derived from the others; the message names it.
        PanelicaError: A read failed, or does not show the value. Nothing was written.
    """
    derived: dict[str, str] = {}
    for name, source in wire.derived.items():
        if arguments.get(name, UNSET) is UNSET:
            missing = _MissingArgument(deadline, operation, name, arguments)
            try:
                derived[name] = await _DERIVATIONS[source](missing)
            except PanelicaError as error:
                error.add_note(f"{operation.name} needs this read to find out {name}. {missing.remedy}")
                raise
    return {**arguments, **derived}


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.frozen(eq=False, repr=False)
class _MissingArgument:
    """An argument that the panel needs and the caller left out."""

    deadline: SharedDeadline
    operation: Operation
    name: str
    arguments: Mapping[str, Any]

    @property
    def remedy(self) -> str:
        return f"Pass {self.name}= to avoid the read."

    def fail(self, problem: str) -> NoReturn:
        raise ValueError(f"{self.operation.name}: {self.name} cannot be derived: {problem}; pass {self.name}=")

    def value_of(self, argument: str) -> str:
        """Return the value of an argument that this one is derived from."""
        value = self.arguments.get(argument, UNSET)
        if value is None or value is UNSET:
            self.fail(f"{argument} is missing")
        return str(value)

    def not_found_error(self, name: str, problem: str) -> NotFoundError:
        """Return the error for an object that a list does not have."""
        return NotFoundError(
            f"{problem}; {self.operation.name} sent nothing", **_unsent_error_fields(self.deadline.wire(name), 404)
        )

    def not_shown_error(self, name: str, problem: str) -> DecodeError:
        """Return the error for an object of a list that does not show the argument."""
        return DecodeError(problem, endpoint=self.deadline.wire(name).endpoint, hint=self.remedy)

    async def read(self, key: Hashable, ask: Callable[[OperationRunner], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Return the answer of a read, and whether the read was already under way when this call came."""
        # Without the deadline: all calls that wait for the read share it.
        runner = self.deadline.runner()
        options = attrs.evolve(runner.options, deadline=None, original_deadline=None)
        reader = runner.with_options(options)
        async with self.deadline.timeout():
            return await runner.knowledge.reads.read((key, options), lambda: ask(reader))

    async def find(self, name: str, accepts: Callable[[Row], bool]) -> list[Row]:
        """Return the rows of a list that a condition accepts."""

        async def ask(reader: OperationRunner) -> list[Row]:
            return await rows_of(reader, reader.get_operation(name), Row).collect()

        rows, was_under_way = await self.read(name, ask)
        matches = list(filter(accepts, rows))
        if not matches and was_under_way:
            # The row may be newer than the list.
            rows, _ = await self.read(name, ask)
            matches = list(filter(accepts, rows))
        return matches


async def _from_username(missing: _MissingArgument) -> str:
    return missing.value_of("username")


async def _slug_from_name(missing: _MissingArgument) -> str:
    name = missing.value_of("name")
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = _NON_SLUG_CHARACTERS.sub("-", ascii_name).strip("-")
    if not slug:
        missing.fail(f"{name!r} has no ASCII letters or digits")
    return slug


async def _owner_from_domain(missing: _MissingArgument) -> str:
    """Return the owner of a domain, which seldom changes."""
    reads, domain_id = missing.deadline.runner().knowledge.reads, missing.value_of("domain_id")
    owner: str | None = reads.kept(("owner", domain_id))
    if owner is None:
        owner = await _read_owner_of_domain(missing, domain_id)
        reads.keep(("owner", domain_id), owner)
    return owner


async def _read_owner_of_domain(missing: _MissingArgument, domain_id: str) -> str:
    async def ask(reader: OperationRunner) -> Row:
        operation = reader.get_operation("domains.get")
        return await fetch_one(reader, operation, reader.wire(operation), {"id": domain_id}, Row)

    failure: PanelicaError | None = None
    try:
        domain, _ = await missing.read(("domains.get", domain_id), ask)
        if owner := _id_or_none(domain.user_id):
            return owner
    except (NotFoundError, DecodeError) as error:
        # It is not confirmed that a single domain shows its owner; the list does (evidence: domains-list).
        failure = error
    domains = await missing.find("domains.list", lambda row: row.id == domain_id)
    if domains and (owner := _id_or_none(domains[0].user_id)):
        return owner
    raise failure or missing.not_shown_error(
        "domains.list", f"the panel does not show the owner of the domain {domain_id}"
    )


async def _domain_from_database(missing: _MissingArgument) -> str:
    database_id = missing.value_of("db_id")
    databases = await missing.find("databases.list", lambda row: row.id == database_id)
    if not databases:
        raise missing.not_found_error("databases.list", f"no database has the id {database_id}")
    domain_id = _id_or_none(databases[0].domain_id)
    if domain_id is None:
        problem = f"the panel does not show the domain of the database {database_id}"
        raise missing.not_shown_error("databases.list", problem)
    return domain_id


async def _owner_from_path(missing: _MissingArgument) -> str:
    path = missing.value_of("path")
    home = _HOME.fullmatch(path)
    if home is None or ".." in path.split("/"):
        missing.fail(f"{path!r} is not below the home directory of an account, such as /home/john")
    username = home[1]

    def is_owner(row: Row) -> bool:
        # The list may also have administrators (evidence: accounts-list); a row without a role is a user.
        return row.username == username and (row.role or "USER").upper() == "USER"

    owners = await missing.find("accounts.list", is_owner)
    if len(owners) != 1:
        problem = f"{len(owners)} accounts have" if owners else "no account with the role USER has"
        raise missing.not_found_error("accounts.list", f"{problem} the user name {username}")
    user_id = _id_or_none(owners[0].id)
    if user_id is None:
        raise missing.not_shown_error("accounts.list", f"the panel does not show the id of {username}")
    return user_id


def _id_or_none(id: str | None) -> str | None:
    """Return an id; None for the values that panels send when it is not set."""
    return None if id in NO_IDS else id


_DERIVATIONS: Mapping[str, Callable[[_MissingArgument], Awaitable[str]]] = {
    "username": _from_username,
    "slug_of_name": _slug_from_name,
    "owner_of_domain": _owner_from_domain,
    "owner_of_path": _owner_from_path,
    "domain_of_database": _domain_from_database,
}
"""How to derive an argument, by its source in `Wire.derived`."""
