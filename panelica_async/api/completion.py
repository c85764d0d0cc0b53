"""The object that a write made or changed, from a reply that shows only part of it.

Current panels answer many writes with `data.id`, a message, or nothing. All of that is a success
(evidence: created-ids, actions-acknowledged).
What the reply does not show is taken from the arguments and the path. A required field that stays unknown is an empty
text, which no call takes for an id.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import attrs

from panelica_async.api.objects import id_names, named_fields, object_in
from panelica_async.core.converter import decode, to_wire
from panelica_async.core.decoder import note_misfits
from panelica_async.core.model import Model, fields_of
from panelica_async.core.operation import Operation, Wire
from panelica_async.core.redaction import is_secret
from panelica_async.core.reply import Envelope
from panelica_async.core.translation import incoming
from panelica_async.core.unset import UNSET
from panelica_async.errors import DecodeError

M = TypeVar("M", bound=Model)

_NO_IDS = (None, "", 0, "0", str(UUID(int=0)))
"""What Go writes for an unset id."""


@attrs.define(eq=False)
class Written(Generic[M]):
    """What a write made or changed, as far as it is known."""

    made: M
    unknown: frozenset[str] = frozenset()
    """Fields that the caller needs and neither reply nor arguments show."""
    own_id: str | None = None
    """Id in the reply that no call takes, because the panel knows the object by another field."""

    @property
    def missing_secrets(self) -> list[str]:
        """Secrets that are shown once, and that the reply did not show."""
        return [field.name for field in fields_of(type(self.made)) if not field.repr and field.name in self.unknown]


def read_written(
    envelope: Envelope, operation: Operation, wire: Wire, arguments: Mapping[str, Any], result: type[M]
) -> Written[M]:
    """Return what a write made or changed, from the reply and the arguments."""
    kind: Any = result
    fields = named_fields(kind)
    values = _shown(envelope, kind, arguments)
    set_aside = _take_own_id(values, wire, result)
    if wire.changes_reply:
        values = incoming(values, wire, result)
    whole = None if set_aside else _whole(values, operation, arguments, result)
    if whole is not None:
        return Written(whole)
    known, unknown = _known(operation, wire, arguments), set[str]()
    for field, names in fields:
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
    note_misfits()
    made = decode(values, result, endpoint=wire.endpoint)
    if set_aside:
        made = attrs.evolve(made, extra={**made.extra, **set_aside})
    return Written(made, frozenset(unknown), next((str(value) for value in set_aside.values()), None))


def completed(shown: M, operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> M:
    """Return an object that was looked up, with what its row leaves out taken from the arguments."""
    kind: Any = type(shown)
    known, told = _known(operation, wire, arguments), dict[str, Any]()
    for field, _ in named_fields(kind):
        value = known.get(field.name)
        if getattr(shown, field.name) is None and _fits(value, field):
            told[field.name] = decode(value, cast("type[Any]", field.type), endpoint="")
    return attrs.evolve(shown, **told) if told else shown


def _whole(values: dict[str, Any], operation: Operation, arguments: Mapping[str, Any], result: type[M]) -> M | None:
    """Return the object when the reply shows all of it, as most do; filling it in takes longer."""
    try:
        made = decode(values, result, endpoint="")
    except DecodeError:
        return None
    if getattr(made, "id", None) in _NO_IDS:
        return None
    aliases: Mapping[str, str] = {} if operation.natural_key is None else operation.natural_key.fields
    for name, value in arguments.items():
        if value is not UNSET and value is not None and getattr(made, aliases.get(name, name), "") is None:
            return None
    return made


def _shown(envelope: Envelope, kind: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the object in the reply to a write."""
    said: object = envelope.data
    rows = cast("list[object]", said) if isinstance(said, list) else [said]
    data: object = object_in(rows[0] if len(rows) == 1 else None, kind, arguments)
    shown: dict[str, Any] = {}
    if isinstance(data, dict):
        shown |= cast("dict[str, Any]", data)
    elif isinstance(data, str) and data:
        shown = {"message": data}
    # "success" is the result of the write, not the state of the object.
    if str(shown.get("status")).lower() in {"success", "ok"}:
        del shown["status"]
    if envelope.message is not None and any(field.name == "message" for field, _ in named_fields(kind)):
        shown.setdefault("message", envelope.message)
    return {**envelope.beside, **shown} if envelope.beside else shown


def _take_own_id(values: dict[str, Any], wire: Wire, kind: type[Model]) -> dict[str, Any]:
    """Remove and return the id of an object that the panel knows by another field, which the reply does not show."""
    there = wire.reply_fields.get("id")
    if there is None or values.get(there) is not None:
        return {}
    return {name: values.pop(name) for name in id_names(kind) if values.get(name) is not None}


def has_own_id(row: Model, own_id: str) -> bool:
    """Return whether a row shows an id of its own, beside the field by which the panel knows it."""
    return any(str(row.extra.get(name)) == own_id for name in id_names(type(row)))


def _known(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the object that the arguments tell, without secrets."""
    known = {
        name: value
        for name, value in arguments.items()
        if value is not UNSET and value is not None and not is_secret(name)
    }
    key = operation.natural_key
    if key is not None:
        known |= {field: known[name] for name, field in key.fields.items() if name in known and name not in key.local}
    if wire.path.endswith("}"):
        known["id"] = arguments[wire.placeholders[-1]]
    elif operation.name.endswith(".create"):
        # An id in the path is that of what the new object belongs to.
        known.pop("id", None)
    for field, there in wire.reply_fields.items():
        # The panel has one name for both.
        for name, other in ((field, there), (there, field)):
            if name not in known and other in known:
                known[name] = known[other]
    return {name: to_wire(value) for name, value in known.items()}


def _fits(value: object, field: "attrs.Attribute[Any]") -> bool:
    """Return whether a value is set and a field can take it."""
    if value is None or (field.name == "id" and value in _NO_IDS):
        return False
    try:
        decode(value, cast("type[Any]", field.type), endpoint="")
    except DecodeError:
        return False
    return True
