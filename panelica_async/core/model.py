"""What every generated model and enum is built on."""

import enum
from collections.abc import Mapping
from typing import Any, Self

import attrs


def _no_fields() -> dict[str, Any]:
    return {}


@attrs.frozen(kw_only=True)
class Model:
    """Base of all models: frozen, slotted, keyword-only, with room for fields the specification does not know yet."""

    extra: Mapping[str, Any] = attrs.field(factory=_no_fields, repr=False, hash=False)
    """Fields the panel sent that this version of the package does not know, under their names on the wire."""


class OpenEnum(enum.StrEnum):
    """Enum of a reply: a value the panel adds later becomes a member of its own instead of an error."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if type(value) is not str:
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by value, which unknown members have too."""
        return type(self), (self.value,)
