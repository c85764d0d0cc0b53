"""Converts JSON to models and models to JSON, with cattrs.

A required field raises when it is missing or does not fit its type. An optional field that does not fit becomes None,
and the raw value stays in `extra` under its name on the wire. Other spellings of the same value are accepted:

- a whole number with a fraction of zero (`12.0`) or as text (`"12"`, `"12.0"`) is an integer; for an optional field, a
  number with another fraction is rounded, and stays in `extra` as it came;
- a number where a text belongs (`17` for an id, `8.4` for a PHP version) becomes that text;
- a list written as JSON text (`"[1, 2]"`) is that list; null is an empty one where a list is required, because Go
  writes an empty list so;
- the year 1, which Go writes for a time that was never set, and an empty text become None;
- for an optional field, a time without a zone is in UTC, as panels write theirs, and stays in `extra` as it came.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, NoReturn, TypeVar, cast, get_args, get_origin
from uuid import UUID

from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from panelica_async.core.decoder import EXACT, Hook, MisfitError, compile_decoder, inner_type, mismatch
from panelica_async.core.json_codec import JsonValue, loads
from panelica_async.core.model import Model, OpenEnum, Unset, fields_of, names_of
from panelica_async.core.values import rfc3339
from panelica_async.errors import DecodeError

T = TypeVar("T")
M = TypeVar("M", bound=Model)
# Numbers may come as text (evidence: numbers-as-text). Longer ones may be too long for int().
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
# For any value: a TypeError costs less than a check of every value.
_from_iso: Callable[[Any], datetime] = datetime.fromisoformat
_CAPITAL = re.compile("[A-Z]")
_ANY_OBJECT = frozenset({"object", "item", "result", "record", "resource"})
_OTHER_NAMES = {"Account": "user"}
"""What panels call a kind otherwise: the id of an account is a `user_id`."""


def object_in(data: JsonValue, kind: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the object in the data of a reply, wherever it is.

    Guess: it may stand under the name of its kind, as `data.backup` does for WordPress (evidence: wordpress), or under
    a word for any object. What stands under another name is another object, such as the zone of a new domain.
    """
    if not isinstance(data, dict) or "id" in data:
        return data
    ids = {"id", *names_of(kind).get("id", ())}
    if not ids.isdisjoint(data):
        return data
    inner = [name for name, value in data.items() if _is_name_of(kind, name) and _has_one_of(ids, value)]
    return data if len(inner) != 1 or _is_part(inner[0], data, kind, arguments) else data[inner[0]]


def decode(data: object, result: type[T], *, endpoint: str, body: bytes = b"") -> T:
    """Turn JSON data into a model.

    Raises:
        DecodeError: A required field is missing or has another type than promised; the error names its JSON path.
    """
    kind: Any = result  # mypy takes no class of a type variable for hashable
    hook = structure_hook(kind)
    try:
        model: T = hook(data, result)
    except MisfitError as misfit:
        # Without the cause: it quotes the reply, which may hold secrets, and a traceback would show it.
        raise DecodeError(misfit.problem, endpoint=endpoint, json_path=f"${misfit.path}", body=body) from None
    return model


def decode_rows(rows: list[Any], result: type[M]) -> tuple[list[M], list[Any]]:
    """Return the rows as models, and those rows that cannot be decoded."""
    kind: Any = result
    hook = structure_hook(kind)
    try:
        return [hook(row, result) for row in rows], []
    except MisfitError:
        pass
    good, unreadable = list[M](), list[Any]()
    for row in rows:
        try:
            good.append(hook(row, result))
        except MisfitError:
            unreadable.append(row)
    return good, unreadable


def to_wire(value: object) -> Any:
    """Turn arguments, models among them, into plain JSON data.

    Raises:
        ValueError: A datetime has no time zone, or `UNSET` is inside.
    """
    return _converter().unstructure(value)


@cache
def _converter() -> Converter:
    """Build the converter on first use; hooks of single classes are built when the class is first met."""
    converter = Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(datetime, _moment)
    converter.register_unstructure_hook(datetime, rfc3339)
    converter.register_unstructure_hook(UUID, str)
    converter.register_unstructure_hook(Unset, _refuse_unset)
    # By class: the hook for str would be taken for enums of strings before one that goes by a condition.
    converter.register_structure_hook(OpenEnum, _member)
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    converter.register_structure_hook_factory(_is_list, _list_hook)
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    converter.register_structure_hook_factory(_is_model, _model_structure)
    converter.register_unstructure_hook_factory(_is_model, _model_unstructure)
    return converter


@cache
def structure_hook(kind: Any) -> Hook:
    """Return what decodes a value of a type; it raises `MisfitError`."""
    return cast("Hook", _converter().get_structure_hook(kind))


def _text(value: object, _: object) -> str:
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is float and abs(value) < EXACT):
        return str(value)
    raise mismatch(value, "str")


def _boolean(value: object, _: object) -> bool:
    if type(value) is not bool:
        raise mismatch(value, "bool")
    return value


def _integer(value: object, _: object) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < EXACT:
        return int(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        whole, _, fraction = value.partition(".")
        if not fraction.strip("0"):
            return int(whole)
        value = float(value)
    if type(value) is float and abs(value) < EXACT:
        raise MisfitError("expected int, got a number with a fraction", nearest=round(value))
    raise mismatch(value, "int")


def _number(value: object, _: object) -> float:
    # JSON has one kind of number: 45 is a valid value of a field that usually holds 45.2.
    if type(value) is float or type(value) is int:
        return float(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        return float(value)
    raise mismatch(value, "number")


def _moment(value: object, _: object) -> datetime | None:
    try:
        moment = _from_iso(value)
    except TypeError:
        raise mismatch(value, "date-time") from None
    except ValueError:
        if not value:
            return None
        raise MisfitError(f"expected date-time, got {str(value)[:40]!r}") from None
    # Guess: servers in Go write the zero of their times, in whatever zone, for one that was never set.
    if moment.year == 1:
        return None
    if moment.tzinfo is None:
        problem = f"expected date-time with a time zone, got {str(value)[:40]!r}"
        raise MisfitError(problem, nearest=moment.replace(tzinfo=UTC))
    return moment


def _refuse_unset(_: Unset) -> NoReturn:
    raise ValueError("UNSET marks an absent argument and cannot be sent; leave the key out")


def _member(value: object, kind: type[OpenEnum]) -> OpenEnum:
    if not isinstance(value, str):
        raise mismatch(value, "str")
    return kind(value)


def _is_optional(kind: object) -> bool:
    return inner_type(kind) is not None


def _optional_hook(kind: Any, converter: Converter) -> Hook:
    # cattrs has one for all, which looks up the other type for each value: a third of the time of a model.
    inner = inner_type(kind)
    hook = cast("Hook", converter.get_structure_hook(inner))

    def structure(value: object, _: object) -> Any:
        return None if value is None else hook(value, inner)

    return structure


def _is_list(kind: object) -> bool:
    return get_origin(kind) is list


def _list_hook(kind: Any, converter: Converter) -> Hook:
    [inner] = get_args(kind)
    hook = cast("Hook", converter.get_structure_hook(inner))

    def structure(value: object, _: object) -> list[Any]:
        if value is None:
            return []
        if type(value) is str and value.startswith("["):
            value = _list_in(value)
        if not isinstance(value, list):
            raise mismatch(value, "list")
        items = cast("list[object]", value)
        try:
            return [hook(item, inner) for item in items]
        except MisfitError:
            return [_item(index, item) for index, item in enumerate(items)]

    def _item(index: int, item: object) -> Any:
        try:
            return hook(item, inner)
        except MisfitError as misfit:
            raise misfit.under(f"[{index}]") from None

    return structure


def _list_in(text: str) -> object:
    """Return the list that JSON text holds, or the text if it holds none (evidence: docker-templates)."""
    try:
        return loads(text.encode())
    except ValueError:
        return text


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is dict


def _mapping_hook(_kind: Any, _converter: Converter) -> Hook:
    # The only ones there are hold JSON of any form.
    def structure(value: object, _: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise mismatch(value, "object")
        return cast("dict[str, Any]", value)

    return structure


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


def _model_structure(kind: type[Model], converter: Converter) -> Hook:
    return compile_decoder(kind, converter.get_structure_hook)


def _model_unstructure(kind: type[Model], converter: Converter) -> Any:
    overrides: dict[str, Any] = {
        # An optional field of an object that is sent is left out, not sent as null.
        field.name: override(rename=names_of(kind)[field.name][0], omit_if_default=field.default is None)
        for field in fields_of(kind)
    }
    overrides["extra"] = override(omit=True)
    build = make_dict_unstructure_fn(kind, converter, **overrides)

    def unstructure(model: Model) -> dict[str, Any]:
        return {**build(model), **model.extra}

    return unstructure


def _has_one_of(ids: set[str], value: object) -> bool:
    return isinstance(value, dict) and not ids.isdisjoint(cast("dict[str, Any]", value))


def _is_part(name: str, shown: Mapping[str, Any], kind: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an object within another is a part of it, such as its owner, whose id is not its own."""
    names = {*arguments, *(name for several in names_of(kind).values() for name in several)}
    if f"{name}_id" in names:
        return True
    if any(name in names_of(kind)[field.name] and _holds_object(field.type) for field in fields_of(kind)):
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
