"""The one place where JSON becomes models and models become JSON, with cattrs."""

from collections.abc import Callable, Hashable
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeAlias, TypeVar, Union, cast, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import Converter, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import (
    make_dict_structure_fn,
    make_dict_unstructure_fn,
    override,
)

from panelica_async.core.encoding import rfc3339
from panelica_async.core.model import Model, OpenEnum
from panelica_async.core.unset import Unset
from panelica_async.errors import DecodeError

T = TypeVar("T")
_Hook: TypeAlias = Callable[[object, Any], Any]


def decode(data: object, result: type[T], *, endpoint: str, body: bytes = b"") -> T:
    """Turn JSON data into a model.

    Raises:
        DecodeError: A field is missing or has another type than promised; the error names its JSON path.
    """
    try:
        return cast("T", _structure_hook(cast("Hashable", result))(data, result))
    except Exception as error:
        problem, json_path = _first_problem(error)
        raise DecodeError(problem, endpoint=endpoint, json_path=json_path, body=body) from error


def to_wire(value: object) -> Any:
    """Turn arguments, models among them, into plain JSON data.

    Raises:
        ValueError: A datetime has no time zone, or `UNSET` is inside.
    """
    return _converter().unstructure(value)


@cache
def _converter() -> Converter:
    """Build the converter on first use; hooks of single classes are built when the class is first met."""
    converter = Converter(detailed_validation=True)
    for kind in (str, bool):
        converter.register_structure_hook(kind, _exactly(kind))
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
    converter.register_structure_hook_factory(_is_model, _model_structure)
    converter.register_unstructure_hook_factory(_is_model, _model_unstructure)
    return converter


@cache
def _structure_hook(kind: Hashable) -> _Hook:
    return cast("_Hook", _converter().get_structure_hook(kind))


def _exactly(kind: type[T]) -> _Hook:
    def check(value: object, _: object) -> T:
        if type(value) is not kind:
            raise _mismatch(value, kind.__name__)
        return value

    return check


def _integer(value: object, _: object) -> int:
    if type(value) is not int:
        raise _mismatch(value, "int")
    return value


def _number(value: object, _: object) -> float:
    # JSON has one kind of number: 45 is a valid value of a field that usually holds 45.2.
    if type(value) is not float and type(value) is not int:
        raise _mismatch(value, "number")
    return float(cast("float", value))


def _moment(value: object, _: object) -> datetime:
    if not isinstance(value, str):
        raise _mismatch(value, "date-time")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
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
    build = list_structure_factory(kind, converter)

    def structure(value: object, _: object) -> Any:
        # cattrs takes any iterable for a list, the letters of a text included.
        if not isinstance(value, list):
            raise _mismatch(value, "list")
        return build(value, kind)

    return structure


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


def _wire_name(field: "attrs.Attribute[Any]") -> str:
    return cast("str", field.metadata.get("json", field.name))


def _model_structure(kind: type[Model], converter: Converter) -> _Hook:
    fields = [field for field in attrs.fields(attrs.resolve_types(kind)) if field.name != "extra"]
    aliases = [(_wire_name(field), field.metadata["aliases"]) for field in fields if "aliases" in field.metadata]
    known = frozenset(_wire_name(field) for field in fields)
    overrides: dict[str, Any] = {field.name: override(rename=_wire_name(field)) for field in fields}
    overrides["extra"] = override(struct_hook=lambda value, _: value)
    build = make_dict_structure_fn(kind, converter, _cattrs_detailed_validation=True, **overrides)
    build_plain = _plain_structure(kind, converter, fields)

    def structure(data: object, _: object) -> Model:
        if not isinstance(data, dict):
            raise _mismatch(data, "object")
        values = cast("dict[str, Any]", data)
        if known.issuperset(values):
            return build_plain(values) or build(values, kind)
        values = dict(values)
        for name, others in aliases:
            if name not in values:
                found = next((other for other in others if other in values), None)
                if found is not None:
                    values[name] = values.pop(found)
        extra = {key: values.pop(key) for key in list(values) if key not in known}
        return build({**values, "extra": extra} if extra else values, kind)

    return structure


def _plain_structure(
    kind: type[Model], converter: Converter, fields: "list[attrs.Attribute[Any]]"
) -> Callable[[dict[str, Any]], Model | None]:
    """Return what builds a model whose texts, integers and booleans are such, and returns None for any other.

    A hook for each of these fields would take half the time of a model; looking at their types is all they need. What
    is wrong, and where, is for the hooks to say.
    """
    hook_of = converter.get_structure_hook
    parts = [
        (_wire_name(field), cast("str", field.alias), _plain_types(field), hook_of(field.type), field.type)
        for field in fields
    ]

    def structure(values: dict[str, Any]) -> Model | None:
        # Names of ours, in the order of the fields: Python finds those faster than the reply's.
        arguments: dict[str, Any] = {}
        try:
            for name, argument, plain_types, hook, type_ in parts:
                if name in values:
                    value = values[name]
                    if not plain_types:
                        value = hook(value, type_)
                    elif type(value) not in plain_types:
                        return None
                    arguments[argument] = value
            return kind(**arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the hooks find it again
            return None

    return structure


def _plain_types(field: "attrs.Attribute[Any]") -> frozenset[type]:
    """Return the types a value of a field may have when nothing else needs to be known of it; none for other fields."""
    types = frozenset(get_args(field.type) if _is_optional(field.type) else (field.type,))
    is_plain = types <= {str, int, bool, NoneType}
    return cast("frozenset[type]", types) if is_plain else frozenset()


def _model_unstructure(kind: type[Model], converter: Converter) -> Any:
    fields = [field for field in attrs.fields(attrs.resolve_types(kind)) if field.name != "extra"]
    overrides: dict[str, Any] = {
        # An optional field of an object that is sent is left out, not sent as null.
        field.name: override(rename=_wire_name(field), omit_if_default=field.default is None)
        for field in fields
    }
    overrides["extra"] = override(omit=True)
    build = make_dict_unstructure_fn(kind, converter, **overrides)

    def unstructure(model: Model) -> dict[str, Any]:
        return {**build(model), **model.extra}

    return unstructure


def _mismatch(value: object, expected: str) -> TypeError:
    names: dict[type, str] = {dict: "object", type(None): "null"}
    return TypeError(f"expected {expected}, got {names.get(type(value), type(value).__name__)}")


def _first_problem(error: BaseException) -> tuple[str, str]:
    """Return the first problem of a cattrs error and its JSON path."""
    texts = transform_error(error, format_exception=lambda cause, _: _problem(cause))
    problem, _, path = texts[0].rpartition(" @ ")
    return (problem, path) if problem else (texts[0], "$")


def _problem(cause: BaseException) -> str:
    if isinstance(cause, KeyError):
        return f"required field {cause.args[0]!r} is missing"
    return str(cause)
