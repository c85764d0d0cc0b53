"""The one place where JSON becomes models and models become JSON, with cattrs.

A field that must be there raises when it is missing or of another type. An optional one costs nothing but itself: it is
None then, and what the panel sent stays in `extra` under its name on the wire. What other servers write for the same
value is read:

- a whole number with a fraction of zero (`12.0`) or as text (`"12"`) is an integer; one with another fraction is
  rounded, and stays in `extra` as it came;
- a number where a text belongs (`17` for an id, `8.4` for a PHP version) is that text;
- the year 1, which Go writes for a time that was never set, and an empty text are no time.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeAlias, TypeVar, Union, cast, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from panelica_async.core.dates import rfc3339
from panelica_async.core.model import Model, OpenEnum, fields_of, wire_name
from panelica_async.core.unset import Unset
from panelica_async.errors import DecodeError

T = TypeVar("T")
M = TypeVar("M", bound=Model)
_Hook: TypeAlias = Callable[[object, Any], Any]
# Numbers may come as text (evidence: numbers-as-text). Longer ones may be too long for int().
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_EXACT = 2**53
"""Whole numbers up to here are exact as floats; a longer id that came as one has lost digits."""


class _MisfitError(Exception):
    """A value that is not of its type, and where it is."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def under(self, step: str) -> "_MisfitError":
        """Return the same misfit as seen from one level above."""
        return _MisfitError(self.problem, step + self.path)


def decode(data: object, result: type[T], *, endpoint: str, body: bytes = b"") -> T:
    """Turn JSON data into a model.

    Raises:
        DecodeError: A required field is missing or has another type than promised; the error names its JSON path.
    """
    try:
        return cast("T", _structure_hook(cast("Hashable", result))(data, result))
    except _MisfitError as misfit:
        # Without the cause: it quotes the reply, which may hold secrets, and a traceback would show it.
        raise DecodeError(misfit.problem, endpoint=endpoint, json_path=f"${misfit.path}", body=body) from None


def decode_rows(rows: list[Any], result: type[M], *, endpoint: str, body: bytes = b"") -> tuple[list[M], list[Any]]:
    """Turn rows into models; return them and the rows that cannot be read."""
    good, unreadable = list[M](), list[Any]()
    for row in rows:
        try:
            good.append(decode(row, result, endpoint=endpoint, body=body))
        except DecodeError:
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
def _structure_hook(kind: Hashable) -> _Hook:
    return cast("_Hook", _converter().get_structure_hook(kind))


def _text(value: object, _: object) -> str:
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is float and abs(value) < _EXACT):
        return str(value)
    raise _mismatch(value, "str")


def _boolean(value: object, _: object) -> bool:
    if type(value) is not bool:
        raise _mismatch(value, "bool")
    return value


def _integer(value: object, _: object) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if type(value) is str and _INTEGER.fullmatch(value):
        return int(value)
    raise _mismatch(value, "int")


def _number(value: object, _: object) -> float:
    # JSON has one kind of number: 45 is a valid value of a field that usually holds 45.2.
    if type(value) is float or type(value) is int:
        return float(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        return float(value)
    raise _mismatch(value, "number")


def _moment(value: object, _: object) -> datetime | None:
    if not isinstance(value, str):
        raise _mismatch(value, "date-time")
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _MisfitError(f"expected date-time, got {value[:40]!r}") from None
    # Guess: servers in Go write the zero of their times, in whatever zone, for one that was never set.
    if moment.year == 1:
        return None
    if moment.tzinfo is None:
        # What zone is meant decides whether an object is older than a call: it is not for us to choose.
        raise _MisfitError(f"expected date-time with a time zone, got {value[:40]!r}")
    return moment


def _refuse_unset(_: Unset) -> NoReturn:
    raise ValueError("UNSET stands for an argument that is not given; leave the key out")


def _member(value: object, kind: type[OpenEnum]) -> OpenEnum:
    if not isinstance(value, str):
        raise _mismatch(value, "str")
    return _members(kind).get(value) or kind(value)


@cache
def _members(kind: type[OpenEnum]) -> dict[str, OpenEnum]:
    return {member.value: member for member in kind}


def _is_optional(kind: object) -> bool:
    return get_origin(kind) in {Union, UnionType} and NoneType in get_args(kind) and len(get_args(kind)) == 2


def _optional_hook(kind: Any, converter: Converter) -> _Hook:
    # cattrs has one for all, which looks up the other type for each value: a third of the time of a model.
    [inner] = [member for member in get_args(kind) if member is not NoneType]
    hook = cast("_Hook", converter.get_structure_hook(inner))

    def structure(value: object, _: object) -> Any:
        return None if value is None else hook(value, inner)

    return structure


def _is_list(kind: object) -> bool:
    return get_origin(kind) is list


def _list_hook(kind: Any, converter: Converter) -> _Hook:
    [inner] = get_args(kind)
    hook = cast("_Hook", converter.get_structure_hook(inner))

    def structure(value: object, _: object) -> list[Any]:
        if not isinstance(value, list):
            raise _mismatch(value, "list")
        items = cast("list[object]", value)
        found = list[Any]()
        try:
            for item in items:
                found.append(hook(item, inner))
        except _MisfitError as misfit:
            raise misfit.under(f"[{len(found)}]") from None
        return found

    return structure


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is dict


def _mapping_hook(_kind: Any, _converter: Converter) -> _Hook:
    # The only ones there are hold JSON of any form.
    def structure(value: object, _: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _mismatch(value, "object")
        return cast("dict[str, Any]", value)

    return structure


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


@attrs.frozen
class _Part:
    """A field of a model, as it is read."""

    name: str
    """On the wire."""
    argument: str
    plain_types: frozenset[type]
    hook: _Hook
    type_: Any
    aliases: tuple[str, ...]
    is_optional: bool

    def key(self, values: Mapping[str, Any]) -> str | None:
        """Return the name under which the field is there: its own, or another when there is nothing under its own."""
        if values.get(self.name) is None:
            for alias in self.aliases:
                if values.get(alias) is not None:
                    return alias
        return self.name if self.name in values else None


def _model_structure(kind: type[Model], converter: Converter) -> _Hook:
    parts = [
        _Part(
            name=wire_name(field),
            argument=cast("str", field.alias),
            plain_types=_plain_types(field),
            hook=converter.get_structure_hook(field.type),
            type_=field.type,
            aliases=tuple(field.metadata.get("aliases", ())),
            is_optional=field.default is not attrs.NOTHING,
        )
        for field in fields_of(kind)
    ]
    build_plain = _plain_structure(kind, parts)

    def structure(data: object, _: object) -> Model:
        if not isinstance(data, dict):
            raise _mismatch(data, "object")
        values = cast("dict[str, Any]", data)
        return build_plain(values) or _build(kind, parts, values)

    return structure


def _build(kind: type[Model], parts: list[_Part], values: dict[str, Any]) -> Model:
    """Build a model from anything."""
    arguments = dict[str, Any]()
    # What no field takes is kept, and so is what a field cannot take as it is.
    extra = dict(values)
    for part in parts:
        key = part.key(values)
        if key is None:
            if not part.is_optional:
                raise _MisfitError(f"required field {part.name!r} is missing", f".{part.name}")
            continue
        value = values[key]
        try:
            arguments[part.argument] = part.hook(value, part.type_)
            del extra[key]
        except _MisfitError as misfit:
            if not part.is_optional:
                raise misfit.under(f".{key}") from None
            if int in part.plain_types and type(value) is float and abs(value) < _EXACT:
                arguments[part.argument] = round(value)
    return kind(**arguments, extra=extra)


def _plain_structure(kind: type[Model], parts: list[_Part]) -> Callable[[dict[str, Any]], Model | None]:
    """Return what builds a model whose texts, integers and booleans are such, and returns None for any other.

    A hook for each of these fields would take half the time of a model; looking at their types is all they need. What
    is wrong, and where, is for the hooks to say.
    """
    known = frozenset(part.name for part in parts)
    plain_parts = [(part.name, part.argument, part.plain_types, part.hook, part.type_, part.aliases) for part in parts]

    def structure(values: dict[str, Any]) -> Model | None:
        # Names of ours, in the order of the fields: Python finds those faster than the reply's.
        arguments: dict[str, Any] = {}
        others: set[str] = set()
        try:
            for name, argument, plain_types, hook, type_, aliases in plain_parts:
                if name in values:
                    value = values[name]
                    if not plain_types:
                        value = hook(value, type_)
                    elif type(value) not in plain_types or (value is None and aliases):
                        return None
                    arguments[argument] = value
                elif aliases and (other := next(filter(values.__contains__, aliases), None)):
                    if type(values[other]) not in plain_types:
                        return None
                    arguments[argument] = values[other]
                    others.add(other)
            if len(arguments) < len(values):
                arguments["extra"] = _without(values, known | others)
            return kind(**arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the hooks find it again
            return None

    return structure


def _without(values: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _plain_types(field: "attrs.Attribute[Any]") -> frozenset[type]:
    """Return the types a value of a field may have when nothing else needs to be known of it; none for other fields."""
    types = frozenset(get_args(field.type) if _is_optional(field.type) else (field.type,))
    is_plain = types <= {str, int, bool, NoneType}
    return cast("frozenset[type]", types) if is_plain else frozenset()


def _model_unstructure(kind: type[Model], converter: Converter) -> Any:
    overrides: dict[str, Any] = {
        # An optional field of an object that is sent is left out, not sent as null.
        field.name: override(rename=wire_name(field), omit_if_default=field.default is None)
        for field in fields_of(kind)
    }
    overrides["extra"] = override(omit=True)
    build = make_dict_unstructure_fn(kind, converter, **overrides)

    def unstructure(model: Model) -> dict[str, Any]:
        return {**build(model), **model.extra}

    return unstructure


def _mismatch(value: object, expected: str) -> _MisfitError:
    names: dict[type, str] = {dict: "object", type(None): "null"}
    return _MisfitError(f"expected {expected}, got {names.get(type(value), type(value).__name__)}")
