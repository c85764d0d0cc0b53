"""Compiles a decoder for a model: source for its fields, as attrs and cattrs write it for theirs.

Decoding a row this way takes less time than calling `__init__` of a frozen class. This is the source for a model with a
required text `id` and an optional number `ttl` that is also called `time_to_live`:

    def decode(data, _):
        if type(data) is not dict:
            return build(data)
        rest = data.copy()
        try:
            v0 = rest.pop('id')
            if type(v0) is not str: v0 = h0(v0, t0)
            v1 = rest.pop('ttl', None)
            if v1 is None: v1 = rest.pop('time_to_live', None)
            if type(v1) is not int and v1 is not None: v1 = h1(v1, t1)
        except (KeyError, MisfitError):
            return build(data)
        model = new(twin)
        model.id = v0
        model.ttl = v1
        model.extra = rest.copy() if rest else {}
        model.__class__ = kind
        return model

What no field takes stays in `rest`. Whatever is unusual goes to `build`, which gives the same result for any data, and
says what is wrong and where.

`twin` is the same class without the `__setattr__` that keeps a model frozen: setting its fields takes a tenth of the
time. CPython lets an object change between classes of one base and the same slots. The new object runs neither
validators nor `__attrs_post_init__`, so a model that has them is refused.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeAlias, Union, cast, get_args, get_origin

import attrs

from panelica_async.core.model import Model, OpenEnum, fields_of, names_of

Hook: TypeAlias = Callable[[object, Any], Any]
"""Turns a value of JSON into a value of a type."""

EXACT = 2**53
"""Whole numbers up to here are exact as floats; a longer id that came as one has lost digits."""


class MisfitError(Exception):
    """A value that does not fit its type, and where it is.

    Attributes:
        problem: What is wrong, in words.
        path: Where it is, from the object on.
        nearest: What an optional field takes instead, if anything is near enough.
    """

    def __init__(self, problem: str, path: str = "", *, nearest: object = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.nearest = nearest

    def under(self, step: str) -> "MisfitError":
        """Return the same misfit as seen from one level above."""
        return MisfitError(self.problem, step + self.path)


class _Notes(threading.local):
    def __init__(self) -> None:
        self.misfits = list[str]()


_notes = _Notes()
_MOST_NOTES = 1000
"""A list may have the same misfit in each of its rows."""


def note_misfits() -> list[str]:
    """Empty and return the list to which this thread adds the optional fields that do not fit."""
    misfits = _notes.misfits
    misfits.clear()
    return misfits


def _note(misfit: str) -> None:
    if len(_notes.misfits) < _MOST_NOTES:
        _notes.misfits.append(misfit)


def mismatch(value: object, expected: str) -> MisfitError:
    """Return the error for a value of another type; it names types alone, because values may be secret."""
    names: dict[type, str] = {dict: "object", NoneType: "null"}
    return MisfitError(f"expected {expected}, got {names.get(type(value), type(value).__name__)}")


def inner_type(kind: object) -> Any:
    """Return the type of an optional value that is not null; None when the type is not an optional one."""
    if get_origin(kind) not in {Union, UnionType} or len(get_args(kind)) != 2 or NoneType not in get_args(kind):
        return None
    return next(type_ for type_ in get_args(kind) if type_ is not NoneType)


class Part(NamedTuple):
    """A field of a model, as it is decoded."""

    names: tuple[str, ...]
    """On the wire: its own, and its aliases."""
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

    def keys(self, values: Mapping[str, Any]) -> list[str]:
        """Return the names under which the field is there, up to the first that is not null."""
        keys = list[str]()
        for name in self.names:
            if name in values:
                keys.append(name)
                if values[name] is not None:
                    break
        return keys

    def decode(self, value: object) -> Any:
        """Return the value of the field."""
        return None if value is None and self.may_be_null else self.hook(value, self.type_)


def compile_decoder(kind: type[Model], hook_of: Callable[[Any], Hook]) -> Hook:
    """Return what decodes a model.

    Args:
        kind: The model.
        hook_of: Returns what decodes a value of a type.

    Raises:
        TypeError: The model has something that the compiled decoder would skip.
    """
    parts = parts_of(kind, hook_of)
    thawed: dict[str, Any] = {
        "__slots__": vars(kind)["__slots__"],
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    scope: dict[str, Any] = {
        "MisfitError": MisfitError,
        "build": partial(build, kind, parts),
        "kind": kind,
        "new": object.__new__,
        "twin": type(kind.__name__, kind.__bases__, thawed),
    }
    for number, part in enumerate(parts):
        scope |= {f"h{number}": part.hook, f"t{number}": part.type_, f"m{number}": part.members}
    exec("\n".join(_source(parts)), scope)  # noqa: S102 - the source holds numbers and quoted names alone
    return cast("Hook", scope["decode"])


def build(kind: type[Model], parts: Iterable[Part], data: object) -> Model:
    """Build a model from any data, field by field.

    Raises:
        MisfitError: A required field is missing or does not fit.
    """
    if not isinstance(data, dict):
        raise mismatch(data, "object")
    values, arguments = cast("dict[str, Any]", data), dict[str, Any]()
    # What no field takes is kept, and so is what a field cannot take as it is.
    extra = dict(values)
    for part in parts:
        keys = part.keys(values)
        if not keys:
            if not part.is_optional:
                raise MisfitError(f"required field {part.names[0]!r} is missing", f".{part.names[0]}")
            continue
        value = values[keys[-1]]
        try:
            arguments[part.attribute] = part.decode(value)
        except MisfitError as misfit:
            if not part.is_optional:
                raise misfit.under(f".{keys[-1]}") from None
            if misfit.nearest is None:
                _note(f"{kind.__name__}.{part.attribute}: {misfit.problem}")
            arguments[part.attribute] = misfit.nearest
        else:
            for key in keys:
                del extra[key]
    return kind(**arguments, extra=extra)


def parts_of(kind: type[Model], hook_of: Callable[[Any], Hook]) -> list[Part]:
    """Return the fields of a model, as they are decoded.

    Raises:
        TypeError: The model has something that the compiled decoder would skip.
    """
    if hasattr(kind, "__attrs_post_init__"):
        raise TypeError(f"{kind.__name__} has __attrs_post_init__, which its decoder would not run")
    parts = list[Part]()
    for field in cast("list[Any]", fields_of(kind)):
        if field.validator is not None or field.converter is not None or field.default not in (None, attrs.NOTHING):
            problem = "a validator, a converter or a default other than None"
            raise TypeError(f"{kind.__name__}.{field.name} has {problem}, which its decoder would not use")
        inner = inner_type(field.type)
        parts.append(
            Part(
                names=names_of(kind)[field.name],
                attribute=field.name,
                hook=hook_of(inner or field.type),
                type_=inner or field.type,
                may_be_null=inner is not None,
                is_optional=field.default is None,
            )
        )
    return parts


def _source(parts: Iterable[Part]) -> Iterable[str]:
    """Yield the lines of the decoder, which the docstring of this module shows."""
    yield "def decode(data, _):"
    yield " if type(data) is not dict: return build(data)"
    yield " rest = data.copy()"
    yield " try:"
    for number, part in enumerate(parts):
        value, hook = f"v{number}", f"h{number}(v{number}, t{number})"
        name, *aliases = part.names
        default = ", None" if part.is_optional or aliases else ""
        yield f"  {value} = rest.pop({name!r}{default})"
        for alias in aliases:
            yield f"  if {value} is None: {value} = rest.pop({alias!r}, None)"
        if part.type_ in {str, int, bool, float}:
            unless_null = f" and {value} is not None" if part.may_be_null else ""
            yield f"  if type({value}) is not {part.type_.__name__}{unless_null}: {value} = {hook}"
            continue
        known = f"m{number}.get({value}) if type({value}) is str else None"
        decoded = f"({known}) or {hook}" if part.members else hook
        yield f"  if {value} is not None: {value} = {decoded}" if part.may_be_null else f"  {value} = {decoded}"
    yield " except (KeyError, MisfitError): return build(data)"
    yield " model = new(twin)"
    for number, part in enumerate(parts):
        yield f" model.{part.attribute} = v{number}"
    yield " model.extra = rest.copy() if rest else {}"
    yield " model.__class__ = kind"
    yield " return model"
