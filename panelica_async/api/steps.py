"""Calls that need other calls before or after them, as the wire of the operation says.

Before: missing arguments are derived, a fence is checked, and values that a change would reset are read. After: values
that a create replaced by defaults are set, and a 400 that may mean "gone" is confirmed. All requests share the deadline
of the call. A failure before the write changes nothing on the panel.
"""

import logging
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

import attrs

from panelica_async.api.derivation import Row, derive, not_sent
from panelica_async.api.lists import rows_of
from panelica_async.api.runner import Fetch, OperationRunner, SharedDeadline, decode_reply, send
from panelica_async.core.model import UNSET, Model, provided
from panelica_async.core.operation import Fence, Operation, ReadBack, Repeat, Wire
from panelica_async.core.request import PreparedRequest, check, prepare
from panelica_async.errors import (
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaError,
    PartialWriteError,
    ResponseError,
    reworded,
)

T = TypeVar("T")

_log = logging.getLogger("panelica_async")


async def derive_alone(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the arguments of a read, with those that the caller left out and the panel needs."""
    return await derive(SharedDeadline(runner, wire), operation, wire, arguments)


async def carry_out(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], call: Fetch[T]
) -> T:
    """Make a call with the steps that its wire requires.

    Raises:
        ValueError: An argument is invalid, or cannot be derived from the others.
        NotFoundError: The object is not where the arguments say, or gone; nothing was written.
        ConflictError: The panel is not told which of several objects is meant; nothing was written.
        PartialWriteError: A create made its object, but not as requested.
    """
    check(operation, wire, arguments)
    deadline = SharedDeadline(runner, wire)
    steps = _Steps(deadline, operation, wire, await derive(deadline, operation, wire, arguments))
    if wire.fence is not None:
        await steps.check_fence(wire.fence)
    if wire.keeps:
        steps = await steps.with_kept()
    if wire.read_back is not None:
        return await steps.create_exactly(wire.read_back, call)
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
            raise NotFoundError(problem, **not_sent(self.wire, 404, hint))
        if fence.single is not None and len({str(row.extra.get(fence.single)) for row in rows}) > 1:
            several = f"{fence.lookup}({shown}) shows several of {fence.single}"
            problem = f"{name}: {several}, and panels are not told which is meant; nothing was changed"
            raise ConflictError(problem, **not_sent(self.wire, 409))

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
            _log.warning(
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

    async def create_exactly(self, read_back: ReadBack, call: Fetch[T]) -> T:
        """Create an object, then set what the panel ignored or replaced by defaults, and check the result.

        Zeros, falses and empty values are left out of the create, which would lose them (evidence: plans-create).
        """
        runner, asked = self.deadline.runner(), provided(self.arguments)
        update = runner.get_operation(read_back.update)
        there = runner.wire(update)
        replaced = {
            name: value
            for name, value in asked.items()
            if name in there.body and (name not in self.wire.body or not value)
        }
        [id_name] = there.placeholders
        if replaced:
            check(update, there, {**replaced, id_name: "0"})
        made = await call(runner, self.operation, self.wire, {**self.arguments, **dict.fromkeys(replaced, UNSET)})
        if not replaced:
            return made
        made_id = getattr(made, "id", None)
        exact = _Exact(self.operation.name, read_back, cast("Model", made), made_id, replaced)
        if not made_id:
            raise exact.failure("the panel does not show its id", replaced)
        changes = {**replaced, id_name: made_id}
        try:
            check(update, there, changes)
        except ValueError as error:
            raise exact.failure(f"the panel shows an id that no call takes: {error}", replaced) from None
        try:
            await send(self.deadline.runner(), update, there, changes)
        except DecodeError:
            pass  # Accepted: what is read back decides.
        except OutcomeUnknownError as error:
            raise exact.unknown(error) from error
        except PanelicaError as error:
            raise exact.failure(f"setting the rest failed: {error.message}", replaced) from error
        return cast("T", await exact.shown(self.deadline, there, asked))


@attrs.frozen(eq=False, repr=False)
class _Exact:
    """A create that needs a change afterwards, before the object is as requested."""

    operation: str
    """Name of the create."""
    read_back: ReadBack
    made: Model
    made_id: str | None
    replaced: Mapping[str, Any]
    """Arguments that the create alone would lose."""

    def failure(self, problem: str, missing: Mapping[str, Any]) -> PartialWriteError:
        """Return the error for an object that is not as requested."""
        return PartialWriteError(
            f"{self.operation} made {self._name}, but {problem}; not as requested: {', '.join(missing)}",
            operation=self.operation,
            id=self.made_id or None,
            made=self.made,
            missing=missing,
            hint=f"Do not create it again: {self._remedy(missing)}, or delete it.",
        )

    def unknown(self, error: OutcomeUnknownError) -> OutcomeUnknownError:
        """Return the error for a change whose reply was lost."""
        problem = f"it is unknown whether {', '.join(self.replaced)} were set: {error.message}"
        hint = f"Do not create it again: {self._remedy(self.replaced)}."
        own = reworded(error, f"{self.operation} made {self._name}, but {problem}", hint)
        own.operation = self.operation
        return own

    async def shown(self, deadline: SharedDeadline, wire: Wire, asked: Mapping[str, Any]) -> Model:
        """Return the new object as the panel shows it; raise if it is not as requested."""
        kind: type[Model] = type(self.made)
        try:
            runner = deadline.runner()
            rows = rows_of(runner, runner.get_operation(self.read_back.lookup), kind)
            found = await anext((row async for row in rows if getattr(row, "id", None) == self.made_id), None)
        except PanelicaError as error:
            _log.warning("%s succeeded, but reading the result back failed: %s", self.operation, error)
            found = None
        if found is None:
            known = attrs.fields_dict(kind)
            return attrs.evolve(self.made, **{name: value for name, value in self.replaced.items() if name in known})
        missing = {name: value for name, value in asked.items() if not _agrees(found, name, value, wire)}
        if missing:
            raise self.failure("the panel kept other values", missing)
        return found

    @property
    def _name(self) -> str:
        return f"the object with the id {self.made_id}" if self.made_id else "an object"

    def _remedy(self, missing: Mapping[str, Any]) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in missing.items())
        return f"call panel.{self.read_back.update}({self.made_id or 'its id'!r}, {values})"


def _agrees(row: Model, argument: str, wanted: object, wire: Wire) -> bool:
    """Return whether a row shows a value, or does not show the field at all."""
    have = getattr(row, argument, None)
    if have is None:
        have = row.extra.get(wire.body.get(argument, argument))
    if isinstance(have, str) and isinstance(wanted, str):
        return have.lower() == wanted.lower()
    if isinstance(wanted, tuple):
        wanted = list(cast("tuple[object, ...]", wanted))
    return have is None or have == wanted
