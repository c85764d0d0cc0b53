"""Creates and changes that return the object, even if the reply is thin or lost.

Current panels answer many writes with `data.id`, a message, or nothing. All of that is a success
(evidence: created-ids, actions-acknowledged). What the reply does not show is taken from the arguments and the path, or
read again. A required field that stays unknown is an empty text, which no call takes for an id.

A create that ignores arguments, or replaces them by defaults, is followed by a change and read back.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from panelica_async.api.lists import rows_of
from panelica_async.api.recovery import LostCreate, find_made, is_same, look_up
from panelica_async.api.runner import Fetch, OperationRunner, SharedDeadline, decode_reply, fetch_one, send
from panelica_async.core.converter import decode, to_wire
from panelica_async.core.model import UNSET, Model, drop_unset, fields_of, json_names
from panelica_async.core.operation import NaturalKey, Operation, ReadBack, Wire
from panelica_async.core.redaction import is_secret
from panelica_async.core.reply import Envelope, find_object, translate_reply
from panelica_async.core.request import check_arguments
from panelica_async.core.values import NO_IDS, collect_mismatches
from panelica_async.errors import DecodeError, OutcomeUnknownError, PanelicaError, PartialWriteError
from panelica_async.telemetry import LOGGER
from panelica_async.transport.call import Call, Reply, reword

if TYPE_CHECKING:
    from panelica_async.core.json_codec import JsonValue

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@attrs.define(eq=False)
class _Written(Generic[M]):
    """What a write made or changed, as far as it is known."""

    made: M
    unknown: frozenset[str] = frozenset()
    """Fields that the caller needs and neither reply nor arguments show."""
    own_id: str | None = None
    """Id in the reply that no call takes, because the panel knows the object by another field."""


async def write_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], result: type[M]
) -> M:
    """Call an operation that writes; a success with a sparse reply is still a success."""
    call = runner.prepare(operation, wire, arguments)
    write = _Write(runner, operation, wire, arguments, result, call)
    written = await runner.run(call, write.read, write.recover)
    if not written.unknown:
        return written.made
    with runner.explains_cancellation(call):
        return await write.read_again(written)


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.define(eq=False, repr=False)
class _Write(Generic[M]):
    """A call that writes an object."""

    runner: OperationRunner
    operation: Operation
    wire: Wire
    arguments: Mapping[str, Any]
    result: type[M]
    call: Call

    def read(self, reply: Reply) -> _Written[M]:
        """Return what was written, from the reply and the arguments."""
        values = self._shown(decode_reply(self.call, reply))
        set_aside = self._take_own_id(values) if "id" in self.wire.reply_fields else {}
        if self.wire.changes_reply:
            values = translate_reply(values, self.wire, self.result)
        whole = None if set_aside else self._whole(values)
        if whole is not None:
            return _Written(whole)
        known, unknown = self._known(), set[str]()
        for field in fields_of(self.result):
            names = json_names(self.result)[field.name]
            if any(_fits(values.get(name), field) for name in names):
                continue
            if _fits(known.get(field.name), field):
                values[names[0]] = known[field.name]
                continue
            if field.default is attrs.NOTHING:
                values[names[0]] = ""
            if field.default is attrs.NOTHING or field.name == "id":
                unknown.add(field.name)
        # What was noted about the reply as it came is noted again.
        collect_mismatches()
        made = decode(values, self.result, endpoint=self.wire.endpoint)
        if set_aside:
            made = attrs.evolve(made, extra={**made.extra, **set_aside})
        return _Written(made, frozenset(unknown), next((str(value) for value in set_aside.values()), None))

    async def read_again(self, written: _Written[M]) -> M:
        """Return what was written, read again because the reply lacks what every caller needs.

        A failed look-up does not change the success: what is unknown stays empty.
        """
        # They are shown once.
        secrets = [field.name for field in fields_of(self.result) if not field.repr and field.name in written.unknown]
        if secrets:
            problem = "%s succeeded, but the reply lacks %s, shown only once: make a new one"
            LOGGER.warning(problem, self.operation.name, " and ".join(secrets))
        if not self.runner.options.look_up_lost:
            return written.made
        try:
            async with asyncio.timeout_at(self.call.deadline_at):
                shown = await self._look(written)
            return written.made if shown is None else self._filled_in(shown)
        except (PanelicaError, TimeoutError, ValueError):
            return written.made

    async def recover(self, call: Call, error: OutcomeUnknownError) -> _Written[M] | None:
        """Find what a create whose reply was lost has made; return None if it cannot be looked up."""
        runner, key = self.runner, self.operation.natural_key
        if key is None or not runner.options.look_up_lost or runner.dialect.known not in key.lookup.wires:
            return None
        if call.sent_at is None:
            return None
        made = await look_up(runner, self._create(key, call.sent_at), self.result, call, error)
        return None if made is None else _Written(made)

    def _create(self, key: NaturalKey, sent_at: float) -> LostCreate:
        return LostCreate(
            key=key,
            wire=self.runner.wire(key.lookup),
            arguments=drop_unset(self.arguments),
            sent_at=sent_at,
            clock=self.runner.transport.clock,
        )

    async def _look(self, written: _Written[M]) -> M | None:
        """Return what was written as the panel shows it now; None when it cannot be identified."""
        runner, key = self.runner, self.operation.natural_key
        reader = self.operation.shown_by if key is None else key.lookup
        if reader is None or runner.dialect.known not in reader.wires:
            return None
        wire = runner.wire(reader)
        parents = {name: self.arguments[name] for name in wire.placeholders if name in self.arguments}
        made_id, own_id = getattr(written.made, "id", None), written.own_id
        if made_id and wire.path.endswith("}"):
            return await fetch_one(runner, reader, wire, {**parents, wire.placeholders[-1]: made_id}, self.result)
        if made_id:
            rows = rows_of(runner, reader, self.result, parents)
            return await anext((row async for row in rows if getattr(row, "id", None) == made_id), None)
        if own_id is not None:
            names = json_names(self.result).get("id", ())
            rows = rows_of(runner, reader, self.result, parents)
            return await anext(
                (row async for row in rows if own_id in {str(row.extra.get(name)) for name in names}), None
            )
        if key is None or self.call.sent_at is None:
            return None
        return await find_made(runner, self._create(key, self.call.sent_at), self.result)

    def _whole(self, values: dict[str, Any]) -> M | None:
        """Return the object when the reply shows all of it, as most do; filling it in takes longer."""
        try:
            made = decode(values, self.result, endpoint="")
        except DecodeError:
            return None
        if getattr(made, "id", None) in NO_IDS:
            return None
        key = self.operation.natural_key
        aliases: Mapping[str, str] = {} if key is None else key.fields
        for name, value in self.arguments.items():
            if value is not UNSET and value is not None and getattr(made, aliases.get(name, name), "") is None:
                return None
        return made

    def _filled_in(self, shown: M) -> M:
        """Return an object that was looked up, with what its row leaves out taken from the arguments."""
        known, added = self._known(), dict[str, Any]()
        for field in fields_of(self.result):
            value = known.get(field.name)
            if getattr(shown, field.name) is None and _fits(value, field):
                added[field.name] = decode(value, cast("type[Any]", field.type), endpoint="")
        return attrs.evolve(shown, **added) if added else shown

    def _shown(self, envelope: Envelope) -> dict[str, Any]:
        """Return the fields of the object in the reply."""
        said: JsonValue = envelope.data
        if isinstance(said, list):
            said = said[0] if len(said) == 1 else None
        data: JsonValue = find_object(said, self.result, self.arguments)
        shown: dict[str, Any] = {}
        if isinstance(data, dict):
            shown |= data
        elif isinstance(data, str) and data:
            shown = {"message": data}
        status = shown.get("status")
        # "success" is the result of the write, not the state of the object.
        if isinstance(status, str) and status.lower() in {"success", "ok"}:
            del shown["status"]
        if envelope.message is not None and "message" in json_names(self.result):
            shown.setdefault("message", envelope.message)
        return {**envelope.other_fields, **shown} if envelope.other_fields else shown

    def _take_own_id(self, values: dict[str, Any]) -> dict[str, Any]:
        """Remove and return the id of an object that the panel knows by another field, if that one is missing."""
        if values.get(self.wire.reply_fields["id"]) is not None:
            return {}
        names = json_names(self.result).get("id", ())
        return {name: values.pop(name) for name in names if values.get(name) is not None}

    def _known(self) -> dict[str, Any]:
        """Return the fields of the object that the arguments show, without secrets."""
        known = {
            name: value
            for name, value in self.arguments.items()
            if value is not UNSET and value is not None and not is_secret(name)
        }
        key = self.operation.natural_key
        if key is not None:
            names = key.fields.items()
            known |= {field: known[name] for name, field in names if name in known and name not in key.local}
        if self.wire.path.endswith("}"):
            known["id"] = self.arguments[self.wire.placeholders[-1]]
        elif self.operation.name.endswith(".create"):
            # An id in the path is that of what the new object belongs to.
            known.pop("id", None)
        for field, there in self.wire.reply_fields.items():
            # The panel has one name for both.
            for name, other in ((field, there), (there, field)):
                if name not in known and other in known:
                    known[name] = known[other]
        return {name: to_wire(value) for name, value in known.items()}


def _fits(value: object, field: "attrs.Attribute[Any]") -> bool:
    """Return whether a value is set and a field can take it."""
    if value is None or (field.name == "id" and value in NO_IDS):
        return False
    try:
        decode(value, cast("type[Any]", field.type), endpoint="")
    except DecodeError:
        return False
    return True


async def create_exactly(
    deadline: SharedDeadline,
    operation: Operation,
    wire: Wire,
    read_back: ReadBack,
    arguments: Mapping[str, Any],
    call: Fetch[T],
) -> T:
    """Create an object, then set what the panel ignored or replaced by defaults, and check the result.

    Zeros, falses and empty values are left out of the create, which would lose them (evidence: plans-create).
    """
    runner, asked = deadline.runner(), drop_unset(arguments)
    update = runner.get_operation(read_back.update)
    there = runner.wire(update)
    replaced = {
        name: value for name, value in asked.items() if name in there.body and (name not in wire.body or not value)
    }
    [id_name] = there.placeholders
    if replaced:
        check_arguments(update, there, {**replaced, id_name: "0"})
    try:
        made = await call(runner, operation, wire, {**arguments, **dict.fromkeys(replaced, UNSET)})
    except (DecodeError, OutcomeUnknownError) as error:
        if replaced:
            remedy = f"If it was made, {_remedy(read_back, None, replaced)}."
            error.hint = f"{error.hint} {remedy}" if error.hint else remedy
        raise
    if not replaced:
        return made
    made_id = getattr(made, "id", None)
    exact = _Exact(operation.name, read_back, cast("Model", made), made_id, replaced)
    if not made_id:
        raise exact.failure("the panel does not show its id", replaced)
    changes = {**replaced, id_name: made_id}
    try:
        check_arguments(update, there, changes)
    except ValueError as error:
        raise exact.failure(f"the panel shows an id that no call takes: {error}", replaced) from None
    try:
        await exact.set_rest(deadline, update, changes)
        return cast("T", await exact.shown(deadline, there, asked))
    except asyncio.CancelledError as cancelled:
        # It stays a cancellation, but says what was made.
        cause = cancelled.__cause__
        if not isinstance(cause, OutcomeUnknownError):
            problem = "the call was cancelled"
            cause = OutcomeUnknownError(problem, operation=update.name, method=there.method, path=there.path)
        cancelled.__cause__ = exact.unknown(cause)
        raise


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
            hint=f"Do not create it again: {_remedy(self.read_back, self.made_id, missing)}, or delete it.",
        )

    def unknown(self, error: OutcomeUnknownError) -> OutcomeUnknownError:
        """Return the error for a change whose reply was lost."""
        problem = f"it is unknown whether {', '.join(self.replaced)} were set: {error.message}"
        hint = f"Do not create it again: {_remedy(self.read_back, self.made_id, self.replaced)}."
        own = reword(error, f"{self.operation} made {self._name}, but {problem}", hint)
        own.operation = self.operation
        return own

    async def set_rest(self, deadline: SharedDeadline, update: Operation, changes: Mapping[str, Any]) -> None:
        """Set what the create alone would lose."""
        try:
            await send(deadline.runner(), update, deadline.wire(update.name), changes)
        except DecodeError:
            pass  # Accepted: what is read back decides.
        except OutcomeUnknownError as error:
            raise self.unknown(error) from error
        except PanelicaError as error:
            raise self.failure(f"setting the rest failed: {error.message}", self.replaced) from error

    async def shown(self, deadline: SharedDeadline, wire: Wire, asked: Mapping[str, Any]) -> Model:
        """Return the new object as the panel shows it; raise if it is not as requested."""
        kind: type[Model] = type(self.made)
        try:
            runner = deadline.runner()
            rows = rows_of(runner, runner.get_operation(self.read_back.lookup), kind)
            found = await anext((row async for row in rows if getattr(row, "id", None) == self.made_id), None)
        except PanelicaError as error:
            LOGGER.warning("%s succeeded, but reading the result back failed: %s", self.operation, error)
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


def _remedy(read_back: ReadBack, made_id: str | None, missing: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in missing.items())
    return f"call panel.{read_back.update}({made_id or 'its id'!r}, {values})"


def _agrees(row: Model, argument: str, wanted: object, wire: Wire) -> bool:
    """Return whether a row shows a value, or does not show the field at all."""
    have = getattr(row, argument, None)
    if have is None:
        have = row.extra.get(wire.body.get(argument, argument))
    if isinstance(wanted, tuple):
        wanted = list(cast("tuple[object, ...]", wanted))
    return have is None or is_same(have, wanted)
