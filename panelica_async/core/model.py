"""Base classes of the generated models and enums."""

import enum
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, cast

import attrs


def _no_fields() -> dict[str, Any]:
    return {}


@attrs.frozen(kw_only=True)
class Model:
    """Base of all models: frozen, slotted, keyword-only, with room for unknown fields."""

    extra: Mapping[str, Any] = attrs.field(factory=_no_fields, repr=False, hash=False)
    """Values without a field, by name on the wire: unknown fields, and values of optional fields that do not fit their
    type. Such a field is None.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the object as plain data, ready for any JSON encoder.

        Keys are attribute names; times become RFC 3339 text, enums text, nested models dicts. Entries of `extra` are
        added under their names on the wire. Secrets are included, such as a new key or the token of a destination:
        select fields before you log or send it.
        """
        data: dict[str, Any] = {
            field.name: plain_data(getattr(self, field.name))
            for field in attrs.fields(type(self))
            if field.name != "extra"
        }
        for name, value in self.extra.items():
            data.setdefault(name, value)
        return data

    def to_json(self) -> str:
        """Return the object as JSON text, with the content of `to_dict`, secrets included."""
        return to_json(self.to_dict())


class OpenEnum(enum.StrEnum):
    """Enum of a reply: an unknown value becomes a new member instead of an error.

    Panels vary upper and lower case (evidence: case-varies): `Suspended` is the member `suspended`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if type(value) is not str:
            return None
        folded = value.casefold()
        for known in cls:
            if known.value.casefold() == folded:
                return known
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by value, which unknown members have too."""
        return type(self), (self.value,)


def fields_of(kind: type[Model]) -> "list[attrs.Attribute[Any]]":
    """Return the fields of a model with their types, without `extra`."""
    return [field for field in attrs.fields(attrs.resolve_types(kind)) if field.name != "extra"]


def wire_name(field: "attrs.Attribute[Any]") -> str:
    """Return the name of a field in JSON."""
    return cast("str", field.metadata.get("json", field.name))


def plain_data(value: object) -> Any:
    """Return a value of a model as JSON encoders take it."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, OpenEnum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in cast("Mapping[str, object]", value).items()}
    return value


def to_json(data: Any) -> str:
    """Return plain data as compact JSON text."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
