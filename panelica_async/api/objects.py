"""Finds the object in the data of a reply, by the names that its fields have on the wire."""

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_origin

from panelica_async.core.decoder import inner_type
from panelica_async.core.model import Model, fields_of, wire_name

if TYPE_CHECKING:
    import attrs

_CAPITAL = re.compile("[A-Z]")
_ANY_OBJECT = frozenset({"object", "item", "result", "record", "resource"})
_OTHER_NAMES = {"Account": "user"}
"""What panels call a kind otherwise: the id of an account is a `user_id`."""


@cache
def named_fields(kind: Any) -> "list[tuple[attrs.Attribute[Any], tuple[str, ...]]]":
    """Return each field of a model with its names on the wire."""
    return [(field, (wire_name(field), *field.metadata.get("aliases", ()))) for field in fields_of(kind)]


def id_names(kind: Any) -> tuple[str, ...]:
    """Return the names on the wire of the id of a model; none if it has no id."""
    return next((names for field, names in named_fields(kind) if field.name == "id"), ())


def object_in(data: object, kind: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the object in the data of a reply, wherever it is.

    Guess: it may stand under the name of its kind, as `data.backup` does for WordPress (evidence: wordpress), or under
    a word for any object. What stands under another name is another object, such as the zone of a new domain.
    """
    if not isinstance(data, dict):
        return data
    shown = cast("dict[str, Any]", data)
    if "id" in shown:
        return shown
    ids = {"id", *id_names(kind)}
    if not ids.isdisjoint(shown):
        return shown
    inner = [name for name, value in shown.items() if _is_name_of(kind, name) and _has_one_of(ids, value)]
    return shown if len(inner) != 1 or _is_part(inner[0], shown, kind, arguments) else shown[inner[0]]


def _has_one_of(ids: set[str], value: object) -> bool:
    return isinstance(value, dict) and not ids.isdisjoint(cast("dict[str, Any]", value))


def _is_part(name: str, shown: Mapping[str, Any], kind: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an object within another is a part of it, such as its owner, whose id is not its own."""
    fields = named_fields(kind)
    names = {*arguments, *(name for _, several in fields for name in several)}
    if f"{name}_id" in names or any(name in several and _holds_object(field.type) for field, several in fields):
        return True
    return not names.isdisjoint(shown.keys() - {name, "message", "status"})


def _holds_object(type_: Any) -> bool:
    inner = inner_type(type_) or type_
    return get_origin(inner) is dict or (isinstance(inner, type) and issubclass(inner, Model))


def _is_name_of(kind: Any, name: str) -> bool:
    """Return whether a name is that of a kind: `email_account` and `account` of `EmailAccount`; or of any object."""
    if name in _ANY_OBJECT or name == _OTHER_NAMES.get(kind.__name__):
        return True
    return _CAPITAL.sub(r"_\g<0>", kind.__name__).lower().endswith(f"_{name}")
