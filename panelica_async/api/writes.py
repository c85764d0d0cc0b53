"""Creates and changes that return the object, even if the reply is thin or lost.

Current panels answer many writes with `data.id`, a message, or nothing; each of these is a success
(evidence: created-ids, actions-acknowledged). Missing fields are filled in from the arguments and the path, or the
object is read. A required field that stays unknown becomes an empty text, which no call accepts as an id.

A create that ignores arguments, or replaces them by defaults, is followed by a change and read back.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from panelica_async.api.lists import rows_of
from panelica_async.api.recovery import SentCreate, find_created, is_same, look_up
from panelica_async.api.runner import Invoke, OperationRunner, SharedDeadline, decode_reply, fetch_one, send
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
class _WriteResult(Generic[M]):
    """The object that a write created or changed, with the fields that are known."""

    value: M
    unknown: frozenset[str] = frozenset()
    """Fields that the caller needs, but neither the reply nor the arguments show."""
    unusable_id: str | None = None
    """An id in the reply that no call accepts, because the panel identifies the object by another field."""


async def write_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], model: type[M]
) -> M:
    """Call an operation that writes; a success with a sparse reply is still a success."""
    call = runner.prepare(operation, wire, arguments)
    write = _Write(runner, operation, wire, arguments, model, call)
    written = await runner.run(call, write.read, write.recover)
    if not written.unknown:
        return written.value
    with runner.explain_cancellation(call):
        return await write.complete_by_reading(written)


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.define(eq=False, repr=False)
class _Write(Generic[M]):
    """A call that writes an object."""

    runner: OperationRunner
    operation: Operation
    wire: Wire
    arguments: Mapping[str, Any]
    model: type[M]
    call: Call

    def read(self, reply: Reply) -> _WriteResult[M]:
        """Return the written object, from the reply and the arguments."""
        values = self._fields_in_reply(decode_reply(self.call, reply))
        unusable_ids = self._pop_unusable_ids(values) if "id" in self.wire.reply_fields else {}
        if self.wire.changes_reply:
            values = translate_reply(values, self.wire, self.model)
        complete = None if unusable_ids else self._decode_if_complete(values)
        if complete is not None:
            return _WriteResult(complete)
        from_arguments, unknown = self._fields_from_arguments(), set[str]()
        for field in fields_of(self.model):
            names = json_names(self.model)[field.name]
            if any(_is_valid(values.get(name), field) for name in names):
                continue
            if _is_valid(from_arguments.get(field.name), field):
                values[names[0]] = from_arguments[field.name]
                continue
            if field.default is attrs.NOTHING:
                values[names[0]] = ""
            if field.default is attrs.NOTHING or field.name == "id":
                unknown.add(field.name)
        # Drop the mismatches that the attempt to decode the reply alone has noted.
        collect_mismatches()
        written = decode(values, self.model, endpoint=self.wire.endpoint)
        if unusable_ids:
            written = attrs.evolve(written, extra={**written.extra, **unusable_ids})
        return _WriteResult(written, frozenset(unknown), next(map(str, unusable_ids.values()), None))

    async def complete_by_reading(self, written: _WriteResult[M]) -> M:
        """Return the written object, read from the panel because the reply lacks fields that callers need.

        The write succeeded even if the read fails; the unknown fields then stay empty.
        """
        secrets = [field.name for field in fields_of(self.model) if not field.repr and field.name in written.unknown]
        if secrets:
            problem = "%s succeeded, but the reply lacks %s, shown only once: make a new one"
            LOGGER.warning(problem, self.operation.name, " and ".join(secrets))
        if not self.runner.options.look_up_lost:
            return written.value
        try:
            async with asyncio.timeout_at(self.call.deadline_at):
                listed = await self._look_up_written(written)
            return written.value if listed is None else self._fill_in_from_arguments(listed)
        except (PanelicaError, TimeoutError, ValueError):
            return written.value

    async def recover(self, call: Call, error: OutcomeUnknownError) -> _WriteResult[M] | None:
        """Return the object of a create whose reply was lost; None if it cannot be looked up."""
        runner, key = self.runner, self.operation.natural_key
        if key is None or not runner.options.look_up_lost or runner.dialect.known not in key.lookup.wires:
            return None
        if call.sent_at is None:
            return None
        created = await look_up(runner, self._sent_create(key, call.sent_at), self.model, call, error)
        return None if created is None else _WriteResult(created)

    def _sent_create(self, key: NaturalKey, sent_at: float) -> SentCreate:
        return SentCreate(
            key=key,
            wire=self.runner.wire(key.lookup),
            arguments=drop_unset(self.arguments),
            sent_at=sent_at,
            clock=self.runner.transport.clock,
        )

    async def _look_up_written(self, written: _WriteResult[M]) -> M | None:
        """Return the written object as the panel shows it now; None if it cannot be identified."""
        runner, key = self.runner, self.operation.natural_key
        reader = self.operation.shown_by if key is None else key.lookup
        if reader is None or runner.dialect.known not in reader.wires:
            return None
        wire = runner.wire(reader)
        parents = {name: self.arguments[name] for name in wire.placeholders if name in self.arguments}
        object_id, unusable_id = getattr(written.value, "id", None), written.unusable_id
        if object_id and wire.path.endswith("}"):
            return await fetch_one(runner, reader, wire, {**parents, wire.placeholders[-1]: object_id}, self.model)
        if object_id:
            rows = rows_of(runner, reader, self.model, parents)
            return await anext((row async for row in rows if getattr(row, "id", None) == object_id), None)
        if unusable_id is not None:
            names = json_names(self.model).get("id", ())
            rows = rows_of(runner, reader, self.model, parents)
            return await anext(
                (row async for row in rows if unusable_id in {str(row.extra.get(name)) for name in names}), None
            )
        if key is None or self.call.sent_at is None:
            return None
        return await find_created(runner, self._sent_create(key, self.call.sent_at), self.model)

    def _decode_if_complete(self, values: dict[str, Any]) -> M | None:
        """Return the object if the reply shows all of it, as most replies do; None if fields must be filled in."""
        try:
            written = decode(values, self.model, endpoint="")
        except DecodeError:
            return None
        if getattr(written, "id", None) in NO_IDS:
            return None
        key = self.operation.natural_key
        aliases: Mapping[str, str] = {} if key is None else key.fields
        for name, value in self.arguments.items():
            if value is not UNSET and value is not None and getattr(written, aliases.get(name, name), "") is None:
                return None
        return written

    def _fill_in_from_arguments(self, listed: M) -> M:
        """Return an object of a list, with the fields that the list leaves out taken from the arguments."""
        from_arguments, added = self._fields_from_arguments(), dict[str, Any]()
        for field in fields_of(self.model):
            value = from_arguments.get(field.name)
            if getattr(listed, field.name) is None and _is_valid(value, field):
                added[field.name] = decode(value, cast("type[Any]", field.type), endpoint="")
        return attrs.evolve(listed, **added) if added else listed

    def _fields_in_reply(self, envelope: Envelope) -> dict[str, Any]:
        """Return the fields of the object in the reply."""
        data: JsonValue = envelope.data
        if isinstance(data, list):
            data = data[0] if len(data) == 1 else None
        content: JsonValue = find_object(data, self.model, self.arguments)
        fields: dict[str, Any] = {}
        if isinstance(content, dict):
            fields |= content
        elif isinstance(content, str) and content:
            fields = {"message": content}
        status = fields.get("status")
        # "success" is the result of the write, not the state of the object.
        if isinstance(status, str) and status.lower() in {"success", "ok"}:
            del fields["status"]
        if envelope.message is not None and "message" in json_names(self.model):
            fields.setdefault("message", envelope.message)
        return {**envelope.other_fields, **fields} if envelope.other_fields else fields

    def _pop_unusable_ids(self, values: dict[str, Any]) -> dict[str, Any]:
        """Remove and return ids that no call accepts, if the field that identifies the object is missing."""
        if values.get(self.wire.reply_fields["id"]) is not None:
            return {}
        names = json_names(self.model).get("id", ())
        return {name: values.pop(name) for name in names if values.get(name) is not None}

    def _fields_from_arguments(self) -> dict[str, Any]:
        """Return the fields of the object that follow from the arguments, without secrets."""
        fields = {
            name: value
            for name, value in self.arguments.items()
            if value is not UNSET and value is not None and not is_secret(name)
        }
        key = self.operation.natural_key
        if key is not None:
            names = key.fields.items()
            fields |= {field: fields[name] for name, field in names if name in fields and name not in key.local}
        if self.wire.path.endswith("}"):
            fields["id"] = self.arguments[self.wire.placeholders[-1]]
        elif self.operation.name.endswith(".create"):
            # An id in the path belongs to the parent of the new object.
            fields.pop("id", None)
        for field, panel_field in self.wire.reply_fields.items():
            # For the panel, both are the same field.
            for name, other in ((field, panel_field), (panel_field, field)):
                if name not in fields and other in fields:
                    fields[name] = fields[other]
        return {name: to_wire(value) for name, value in fields.items()}


def _is_valid(value: object, field: "attrs.Attribute[Any]") -> bool:
    """Return whether a value is set and fits the type of a field."""
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
    invoke: Invoke[T],
) -> T:
    """Create an object, then set what the panel ignored or replaced by defaults, and check the result.

    Zeros, falses and empty values are left out of the create, which would lose them (evidence: plans-create).
    """
    runner, requested = deadline.runner(), drop_unset(arguments)
    update = runner.get_operation(read_back.update)
    update_wire = runner.wire(update)
    to_set = {
        name: value
        for name, value in requested.items()
        if name in update_wire.body and (name not in wire.body or not value)
    }
    [id_name] = update_wire.placeholders
    if to_set:
        # Any id passes the check; that of the new object is not known yet.
        check_arguments(update, update_wire, {**to_set, id_name: "0"})
    try:
        created = await invoke(runner, operation, wire, {**arguments, **dict.fromkeys(to_set, UNSET)})
    except (DecodeError, OutcomeUnknownError) as error:
        if to_set:
            remedy = f"If it was made, {_remedy(read_back, None, to_set)}."
            error.hint = f"{error.hint} {remedy}" if error.hint else remedy
        raise
    if not to_set:
        return created
    created_id = getattr(created, "id", None)
    unfinished = _UnfinishedCreate(operation.name, read_back, cast("Model", created), created_id, to_set)
    return cast("T", await unfinished.finish(deadline, update, update_wire, requested))


@attrs.frozen(eq=False, repr=False)
class _UnfinishedCreate:
    """A create whose object still needs a change, before it is as requested."""

    operation: str
    """Name of the create."""
    read_back: ReadBack
    created: Model
    id: str | None
    to_set: Mapping[str, Any]
    """Arguments that the create would have lost, to be set by the change."""

    async def finish(
        self, deadline: SharedDeadline, update: Operation, wire: Wire, requested: Mapping[str, Any]
    ) -> Model:
        """Set what the create would have lost, and return the object as the panel shows it.

        Args:
            deadline: Shared with the create.
            update: The change to make.
            wire: How the change travels.
            requested: All arguments of the create.

        Raises:
            PartialWriteError: The object is not as requested.
        """
        if not self.id:
            raise self._failure("the panel does not show its id", self.to_set)
        [id_name] = wire.placeholders
        changes = {**self.to_set, id_name: self.id}
        try:
            check_arguments(update, wire, changes)
        except ValueError as error:
            raise self._failure(f"the panel shows an id that no call takes: {error}", self.to_set) from None
        try:
            await self._set_missing(deadline, update, wire, changes)
            return await self._read_back(deadline, wire, requested)
        except asyncio.CancelledError as cancelled:
            # The caller still gets the cancellation, whose cause says what was made.
            cause = cancelled.__cause__
            if not isinstance(cause, OutcomeUnknownError):
                problem = "the call was cancelled"
                cause = OutcomeUnknownError(problem, operation=update.name, method=wire.method, path=wire.path)
            cancelled.__cause__ = self._outcome_unknown(cause)
            raise

    def _failure(self, problem: str, missing: Mapping[str, Any]) -> PartialWriteError:
        """Return the error for an object that is not as requested."""
        return PartialWriteError(
            f"{self.operation} made {self._name}, but {problem}; not as requested: {', '.join(missing)}",
            operation=self.operation,
            id=self.id or None,
            made=self.created,
            missing=missing,
            hint=f"Do not create it again: {_remedy(self.read_back, self.id, missing)}, or delete it.",
        )

    def _outcome_unknown(self, error: OutcomeUnknownError) -> OutcomeUnknownError:
        """Return the error for a change whose reply was lost."""
        problem = f"it is unknown whether {', '.join(self.to_set)} were set: {error.message}"
        hint = f"Do not create it again: {_remedy(self.read_back, self.id, self.to_set)}."
        explained = reword(error, f"{self.operation} made {self._name}, but {problem}", hint)
        explained.operation = self.operation
        return explained

    async def _set_missing(
        self, deadline: SharedDeadline, update: Operation, wire: Wire, changes: Mapping[str, Any]
    ) -> None:
        """Set what the create would have lost."""
        try:
            await send(deadline.runner(), update, wire, changes)
        except DecodeError:
            pass  # The panel accepted the change; reading it back shows the result.
        except OutcomeUnknownError as error:
            raise self._outcome_unknown(error) from error
        except PanelicaError as error:
            raise self._failure(f"setting the rest failed: {error.message}", self.to_set) from error

    async def _read_back(self, deadline: SharedDeadline, update_wire: Wire, requested: Mapping[str, Any]) -> Model:
        """Return the new object as the panel shows it; raise if it is not as requested."""
        model: type[Model] = type(self.created)
        try:
            runner = deadline.runner()
            rows = rows_of(runner, runner.get_operation(self.read_back.lookup), model)
            listed = await anext((row async for row in rows if getattr(row, "id", None) == self.id), None)
        except PanelicaError as error:
            LOGGER.warning("%s succeeded, but reading the result back failed: %s", self.operation, error)
            listed = None
        if listed is None:
            fields = attrs.fields_dict(model)
            return attrs.evolve(self.created, **{name: value for name, value in self.to_set.items() if name in fields})
        missing = {name: value for name, value in requested.items() if not _agrees(listed, name, value, update_wire)}
        if missing:
            raise self._failure("the panel kept other values", missing)
        return listed

    @property
    def _name(self) -> str:
        return f"the object with the id {self.id}" if self.id else "an object"


def _remedy(read_back: ReadBack, id: str | None, missing: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in missing.items())
    return f"call panel.{read_back.update}({id or 'its id'!r}, {values})"


def _agrees(row: Model, argument: str, requested: object, wire: Wire) -> bool:
    """Return whether a row shows the requested value, or does not show the field at all."""
    shown = getattr(row, argument, None)
    if shown is None:
        shown = row.extra.get(wire.body.get(argument, argument))
    if isinstance(requested, tuple):
        requested = list(cast("tuple[object, ...]", requested))
    return shown is None or is_same(shown, requested)
