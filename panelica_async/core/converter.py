"""Converts JSON to models and models to JSON, with cattrs.

A required field that is missing or does not fit its type raises an error. An optional field that does not fit becomes
None, and the raw value stays in `extra` under its name in JSON. Other spellings of the same value are accepted: the
module `values` has those of single values. A list may be written as JSON text (`"[1, 2]"`), and null is an empty list
where one is required, because Go writes an empty list like this.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar, cast, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from panelica_async.core.json_codec import loads
from panelica_async.core.model import Model, OpenEnum, Unset, fields_of, json_names, unwrap_optional
from panelica_async.core.values import (
    MismatchError,
    as_boolean,
    as_datetime,
    as_integer,
    as_number,
    as_text,
    note_mismatch,
    rfc3339,
    type_mismatch,
)
from panelica_async.errors import DecodeError

T = TypeVar("T")
M = TypeVar("M", bound=Model)

Hook: TypeAlias = Callable[[object, Any], Any]
"""Turns a value of JSON into a value of a type."""


def decode(data: object, result: type[T], *, endpoint: str, body: bytes = b"") -> T:
    """Turn JSON data into a model.

    Raises:
        DecodeError: A required field is missing or has another type than promised; the error names its JSON path.
    """
    kind: Any = result  # mypy does not know that the class of a type variable is hashable
    hook = structure_hook(kind)
    try:
        model: T = hook(data, result)
    except MismatchError as mismatch:
        # Drop the cause: it quotes the reply, which may hold secrets, and a traceback would show it.
        raise DecodeError(mismatch.problem, endpoint=endpoint, json_path=f"${mismatch.path}", body=body) from None
    return model


def decode_rows(rows: list[Any], result: type[M]) -> tuple[list[M], list[Any]]:
    """Return the rows as models, and the rows that cannot be decoded."""
    kind: Any = result
    hook = structure_hook(kind)
    try:
        return [hook(row, result) for row in rows], []
    except MismatchError:
        pass
    models, unreadable = list[M](), list[Any]()
    for row in rows:
        try:
            models.append(hook(row, result))
        except MismatchError:
            unreadable.append(row)
    return models, unreadable


def to_wire(value: object) -> Any:
    """Turn arguments, including models, into plain JSON data.

    Raises:
        ValueError: A datetime has no time zone, or a value is `UNSET`.
    """
    return _converter().unstructure(value)


@cache
def _converter() -> Converter:
    """Build the converter on first use; cattrs builds the hook of a class when it first needs it."""
    converter = Converter()
    converter.register_structure_hook(str, as_text)
    converter.register_structure_hook(bool, as_boolean)
    converter.register_structure_hook(int, as_integer)
    converter.register_structure_hook(float, as_number)
    converter.register_structure_hook(datetime, as_datetime)
    converter.register_unstructure_hook(datetime, rfc3339)
    converter.register_unstructure_hook(UUID, str)
    converter.register_unstructure_hook(Unset, _refuse_unset)
    # By class, because cattrs would prefer the hook for str to one with a predicate.
    converter.register_structure_hook(OpenEnum, _decode_member)
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    converter.register_structure_hook_factory(_is_list, _list_hook)
    converter.register_structure_hook_func(_is_mapping, _decode_mapping)
    converter.register_structure_hook_factory(_is_model, _model_structure_hook)
    converter.register_unstructure_hook_factory(_is_model, _model_unstructure_hook)
    return converter


@cache
def structure_hook(kind: Any) -> Hook:
    """Return the function that decodes a value of a type; it raises `MismatchError`."""
    return cast("Hook", _converter().get_structure_hook(kind))


def _refuse_unset(_: Unset) -> NoReturn:
    raise ValueError("UNSET marks an absent argument and cannot be sent; leave the key out")


def _decode_member(value: object, kind: type[OpenEnum]) -> OpenEnum:
    if not isinstance(value, str):
        raise type_mismatch(value, "str")
    return kind(value)


def _is_optional(kind: object) -> bool:
    return unwrap_optional(kind) is not None


def _optional_hook(kind: Any, converter: Converter) -> Hook:
    # The hook of cattrs looks up the inner type for each value, which takes a third of the time of decoding a model.
    inner = unwrap_optional(kind)
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
            value = _parse_list(value)
        if not isinstance(value, list):
            raise type_mismatch(value, "list")
        items = cast("list[object]", value)
        try:
            return [hook(item, inner) for item in items]
        except MismatchError:
            return [decode_item(index, item) for index, item in enumerate(items)]

    def decode_item(index: int, item: object) -> Any:
        try:
            return hook(item, inner)
        except MismatchError as mismatch:
            raise mismatch.inside(f"[{index}]") from None

    return structure


def _parse_list(text: str) -> object:
    """Return the value of JSON text, or the text if it is not JSON (evidence: docker-templates)."""
    try:
        return loads(text.encode())
    except ValueError:
        return text


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is dict


def _decode_mapping(value: object, _: object) -> dict[str, Any]:
    # The mappings in models hold any JSON.
    if not isinstance(value, dict):
        raise type_mismatch(value, "object")
    return cast("dict[str, Any]", value)


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


def _model_structure_hook(kind: type[Model], converter: Converter) -> Hook:
    return compile_decoder(kind, converter.get_structure_hook)


def _model_unstructure_hook(kind: type[Model], converter: Converter) -> Any:
    overrides: dict[str, Any] = {
        # Leave out an optional field that is not set, instead of sending null.
        field.name: override(rename=json_names(kind)[field.name][0], omit_if_default=field.default is None)
        for field in fields_of(kind)
    }
    overrides["extra"] = override(omit=True)
    build = make_dict_unstructure_fn(kind, converter, **overrides)

    def unstructure(model: Model) -> dict[str, Any]:
        return {**build(model), **model.extra}

    return unstructure


class FieldDecoder(NamedTuple):
    """How a field of a model is decoded."""

    names: tuple[str, ...]
    """In JSON: its own name, then its aliases."""
    attribute: str
    hook: Hook
    type_: Any
    """Type of a value that is not null."""
    may_be_null: bool
    is_optional: bool

    @property
    def members(self) -> Mapping[str, OpenEnum]:
        """The known members by value, if the type is an enum."""
        kind: Any = self.type_
        if not isinstance(kind, type) or not issubclass(kind, OpenEnum):
            return {}
        return {member.value: member for member in kind}

    def keys_in(self, values: Mapping[str, Any]) -> list[str]:
        """Return the names under which the values have the field, up to the first that is not null."""
        keys = list[str]()
        for name in self.names:
            if name in values:
                keys.append(name)
                if values[name] is not None:
                    break
        return keys

    def decode(self, value: object) -> Any:
        """Return a value as one of the field."""
        return None if value is None and self.may_be_null else self.hook(value, self.type_)


def compile_decoder(kind: type[Model], get_hook: Callable[[Any], Hook]) -> Hook:
    """Compile a function that decodes a model, with code for each field, as attrs and cattrs do.

    Decoding a row with it takes less time than calling `__init__` of a frozen class. This is the source for a model
    with a required text `id` and an optional number `ttl` that is also called `time_to_live`:

        def decode(data, _):
            if type(data) is not dict:
                return build(data)
            extra = data.copy()
            try:
                v0 = extra.pop('id')
                if type(v0) is not str: v0 = h0(v0, t0)
                v1 = extra.pop('ttl', None)
                if v1 is None: v1 = extra.pop('time_to_live', None)
                if type(v1) is not int and v1 is not None: v1 = h1(v1, t1)
            except (KeyError, MismatchError):
                return build(data)
            model = new(twin)
            model.id = v0
            model.ttl = v1
            model.extra = extra.copy() if extra else {}
            model.__class__ = kind
            return model

    The keys that belong to no field remain in `extra`. Any unusual data goes to `build`, which gives the same result
    for all data, and reports what is wrong and where.

    `twin` is the same class without the `__setattr__` that keeps a model frozen, so that setting its fields takes a
    tenth of the time. CPython allows the class of an object to change to one with the same base and slots. The new
    object runs neither validators nor `__attrs_post_init__`, so a model that has them is refused.

    Args:
        kind: The model.
        get_hook: Returns the function that decodes a value of a type.

    Raises:
        TypeError: The model has a feature that the compiled function would skip.
    """
    fields = field_decoders(kind, get_hook)
    thawed: dict[str, Any] = {
        "__slots__": vars(kind)["__slots__"],
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    scope: dict[str, Any] = {
        "MismatchError": MismatchError,
        "build": partial(build_model, kind, fields),
        "kind": kind,
        "new": object.__new__,
        "twin": type(kind.__name__, kind.__bases__, thawed),
    }
    for number, field in enumerate(fields):
        scope |= {f"h{number}": field.hook, f"t{number}": field.type_, f"m{number}": field.members}
    exec("\n".join(_decoder_source(fields)), scope)  # noqa: S102 - the source holds only numbers and quoted names
    return cast("Hook", scope["decode"])


def build_model(kind: type[Model], fields: Iterable[FieldDecoder], data: object) -> Model:
    """Build a model from any data, field by field.

    Raises:
        MismatchError: A required field is missing or does not fit.
    """
    if not isinstance(data, dict):
        raise type_mismatch(data, "object")
    values, arguments = cast("dict[str, Any]", data), dict[str, Any]()
    # Keep the keys that belong to no field, and the values that a field cannot take as they are.
    extra = dict(values)
    for field in fields:
        keys = field.keys_in(values)
        if not keys:
            if not field.is_optional:
                raise MismatchError(f"required field {field.names[0]!r} is missing", f".{field.names[0]}")
            continue
        value = values[keys[-1]]
        try:
            arguments[field.attribute] = field.decode(value)
        except MismatchError as mismatch:
            if not field.is_optional:
                raise mismatch.inside(f".{keys[-1]}") from None
            if mismatch.nearest is None:
                note_mismatch(f"{kind.__name__}.{field.attribute}: {mismatch.problem}")
            arguments[field.attribute] = mismatch.nearest
        else:
            for key in keys:
                del extra[key]
    return kind(**arguments, extra=extra)


def field_decoders(kind: type[Model], get_hook: Callable[[Any], Hook]) -> list[FieldDecoder]:
    """Return a decoder for each field of a model.

    Raises:
        TypeError: The model has a feature that the compiled function would skip.
    """
    if hasattr(kind, "__attrs_post_init__"):
        raise TypeError(f"{kind.__name__} has __attrs_post_init__, which its decoder would not run")
    decoders = list[FieldDecoder]()
    for field in cast("list[Any]", fields_of(kind)):
        if field.validator is not None or field.converter is not None or field.default not in (None, attrs.NOTHING):
            problem = "a validator, a converter or a default other than None"
            raise TypeError(f"{kind.__name__}.{field.name} has {problem}, which its decoder would not use")
        inner = unwrap_optional(field.type)
        decoders.append(
            FieldDecoder(
                names=json_names(kind)[field.name],
                attribute=field.name,
                hook=get_hook(inner or field.type),
                type_=inner or field.type,
                may_be_null=inner is not None,
                is_optional=field.default is None,
            )
        )
    return decoders


def _decoder_source(fields: Iterable[FieldDecoder]) -> Iterable[str]:
    """Yield the lines of a function such as the docstring of `compile_decoder` shows."""
    yield "def decode(data, _):"
    yield " if type(data) is not dict: return build(data)"
    yield " extra = data.copy()"
    yield " try:"
    for number, field in enumerate(fields):
        value, hook_call = f"v{number}", f"h{number}(v{number}, t{number})"
        name, *aliases = field.names
        default = ", None" if field.is_optional or aliases else ""
        yield f"  {value} = extra.pop({name!r}{default})"
        for alias in aliases:
            yield f"  if {value} is None: {value} = extra.pop({alias!r}, None)"
        if field.type_ in {str, int, bool, float}:
            unless_null = f" and {value} is not None" if field.may_be_null else ""
            yield f"  if type({value}) is not {field.type_.__name__}{unless_null}: {value} = {hook_call}"
            continue
        known_member = f"m{number}.get({value}) if type({value}) is str else None"
        decoded = f"({known_member}) or {hook_call}" if field.members else hook_call
        yield f"  if {value} is not None: {value} = {decoded}" if field.may_be_null else f"  {value} = {decoded}"
    yield " except (KeyError, MismatchError): return build(data)"
    yield " model = new(twin)"
    for number, field in enumerate(fields):
        yield f" model.{field.attribute} = v{number}"
    yield " model.extra = extra.copy() if extra else {}"
    yield " model.__class__ = kind"
    yield " return model"
