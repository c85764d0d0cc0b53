"""Turns an operation and its arguments into a request.

The arguments are checked, translated into the names and values that the panel accepts, and placed in path, query and
body.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from types import NoneType
from typing import Any, TypeAlias, TypeGuard, cast
from urllib.parse import parse_qsl, quote
from uuid import UUID

import attrs

from panelica_async.core.converter import to_wire
from panelica_async.core.json_codec import dumps, loads
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Guard, Operation, Refusal, Wire
from panelica_async.core.redaction import FILES, secret_values
from panelica_async.core.values import rfc3339
from panelica_async.errors import UnsupportedOperationError

QueryScalar: TypeAlias = str | bool | int | float | datetime | UUID
QueryValue: TypeAlias = QueryScalar | list[QueryScalar] | tuple[QueryScalar, ...]

# Most ids and names: there is nothing to encode or to refuse.
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")
# Types of arguments that need no conversion to JSON.
_JSON_TYPES = frozenset({str, int, bool, float, NoneType})
_STAND_IN = "0"
"""Value for an argument that is derived later; like any id, it passes the checks."""
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A control character, which no path may contain."""


def path_segment(value: object, name: str) -> str:
    """Percent-encode one argument of a path.

    Args:
        value: Id or name of an object: text, a whole number or a UUID.
        name: Name of the argument, for the error.

    Raises:
        ValueError: It is empty, `.` or `..`, or contains a slash, backslash, control character or lone
            surrogate. Such a value would address something else: the panel signs the decoded path, in which
            `a%2Fb` and `a/b` are the same (evidence: signed-path).
        TypeError: It is of another type.
    """
    if type(value) is str and _PLAIN_SEGMENT.fullmatch(value):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise TypeError(f"{name} must be a string, an integer or a UUID, not {type(value).__name__}")
    text = value if isinstance(value, str) else str(value)
    if not text.strip():
        raise ValueError(f"{name} must not be empty: pass the id of an existing object")
    if text in {".", ".."}:
        raise ValueError(f"{name} must not be {text!r}, which would address another path: pass an id or a name")
    if "/" in text or "\\" in text:
        raise ValueError(
            f"{name} must not contain a slash or backslash, which no id or name has: pass only its last part"
        )
    if CONTROL_CHARACTER.search(text):
        raise ValueError(f"{name} must not contain a control character: remove it")
    return _quote(text, name)


def query_string(pairs: Iterable[tuple[str, QueryValue]]) -> str:
    """Encode query parameters in their order, without the `?`; return an empty text if there are none.

    Text is percent-encoded as UTF-8 with `%20` for a space, a bool becomes `true` or `false`, an aware datetime becomes
    RFC 3339 in UTC ending in `Z`, and a list repeats its key.

    Raises:
        ValueError: A value is None, an empty list, NaN, infinite, or a datetime without time zone, or contains a lone
            surrogate. None and an empty list could mean "no filter" or "nothing": leave the parameter out.
        TypeError: A value is of another type.
    """
    return "&".join(
        f"{_quote(name, 'a query parameter name')}={_quote(_to_text(item, name), name)}"
        for name, value in pairs
        for item in _items(value, name)
    )


def _items(value: QueryValue | None, name: str) -> Iterable[QueryScalar]:
    if value is None:
        raise ValueError(f"{name} must not be None: leave it out instead")
    if not isinstance(value, list | tuple):
        return (value,)
    if not value:
        raise ValueError(f"{name} must not be an empty list: leave it out instead")
    return value


def _to_text(value: QueryScalar, name: str) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:d}"
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
            return repr(value)
        case datetime():
            try:
                return rfc3339(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        case UUID():
            return str(value)
    raise TypeError(f"{name} must be a value that a query can hold, not {type(value).__name__}")


def _quote(text: str, name: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{name} must not contain a lone surrogate, which is not text: decode it correctly") from None


@attrs.define
class PreparedRequest:
    """A request as it is sent, without the address of the panel and the signature."""

    method: str
    path: str
    """Percent-encoded path from the API's root, such as `/v1/domains`."""
    query: str = attrs.field(default="", repr=False)
    """Percent-encoded query without its question mark."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """JSON as sent, serialised once; None when there is none."""

    def secrets(self) -> frozenset[str]:
        """Return the secret values in query and body, at any depth: a reply may quote them."""
        secrets = {secret for name, value in parse_qsl(self.query) for secret in secret_values({name: value})}
        if self.body is not None:
            body = loads(self.body)
            secrets.update(secret_values(body))
            content = body.get("content") if self.path.startswith(FILES) and isinstance(body, dict) else None
            if isinstance(content, str):
                secrets.add(content)
        return frozenset(secrets)


def check_arguments(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> None:
    """Check the arguments before anything is sent, except those that are derived later.

    Raises:
        ValueError: An argument is invalid; the message names it and says what to do.
        UnsupportedOperationError: The panel cannot honour an argument.
    """
    if wire.derived:
        stand_ins = {name: _STAND_IN for name in wire.derived if arguments.get(name, UNSET) is UNSET}
        arguments = {**arguments, **stand_ins}
    prepare(operation, wire, arguments)


def prepare(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> PreparedRequest:
    """Check the arguments, and place each where the wire says.

    Raises:
        ValueError: An argument is invalid; the message names it and says what to do.
        UnsupportedOperationError: The panel cannot honour an argument.
    """
    present = {name: value for name, value in arguments.items() if value is not UNSET}
    if operation.guard is not None:
        _check_guard(operation, operation.guard, present)
    for name, value in present.items():
        if name in operation.constrained:
            _check_constraints(operation, name, value)
        # Most values are texts that are not empty, and need no call.
        if name in operation.not_empty and not (type(value) is str and value.strip()):
            _check_not_empty(operation, name, value)
    if wire.changes_arguments:
        present = _translate(operation, wire, present)
    query, body = wire.query, wire.body
    if wire.others is not None:
        query, body = _names_with_others(operation, wire, present)
    return PreparedRequest(
        wire.method,
        _build_path(operation, wire, present) if wire.placeholders else wire.path,
        _build_query(query, present) if query else "",
        _build_body(operation, wire, body, present) if (body or wire.others == "body") and not wire.files else None,
    )


def _translate(operation: Operation, wire: Wire, present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the values and forms that the panel accepts; refuse those that it cannot honour."""
    for name in wire.required:
        if present.get(name) is None:
            raise ValueError(f"{operation.name}: {name} is required by this panel: pass {name}=")
    translated = dict[str, Any]()
    for name, value in present.items():
        refusal = wire.refused.get(name)
        if refusal is not None:
            _check_refused(operation, name, value, refusal)
            continue
        minimum = wire.minimum.get(name)
        if minimum is not None and isinstance(value, int | float) and value < minimum:
            raise ValueError(
                f"{operation.name}: {name} must be at least {minimum}, not {value}: pass {minimum} or more"
            )
        if name in wire.values:
            translated[name] = _translate_value(operation, name, value, wire.values[name])
        elif name in wire.converted:
            translated[name] = _CONVERSIONS[wire.converted[name]](value)
        else:
            translated[name] = value
    return translated


def _translate_value(operation: Operation, name: str, value: object, values: Mapping[str, str]) -> Any:
    """Return the name that a value, or each of several, has on the wire."""
    if isinstance(value, list | tuple):
        return [_translate_value(operation, name, item, values) for item in cast("list[object]", value)]
    if isinstance(value, str) and value in values:
        return values[value]
    # Null clears a setting.
    if value is None:
        return None
    choices = ", ".join(values)
    raise ValueError(f"{operation.name}: {name} must be one of {choices} on this panel, not {quote_value(value)}")


def _below_home(path: object) -> object:
    """Return a path without its home directory, to which an FTP user is confined (evidence: ftp-home)."""
    path = str(path) if isinstance(path, PurePath) else path
    # Compiled on first use.
    match = re.fullmatch(r"(?s)/home/[^/]+((?:/.*)?)", path) if isinstance(path, str) else None
    return path if match is None else match[1] or "/"


_CONVERSIONS: Mapping[str, Callable[[object], object]] = {"below_home": _below_home}


def quote_value(value: object) -> str:
    """Return a value in quotes for a message; of an enum member, its text."""
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _check_refused(operation: Operation, name: str, value: object, refusal: Refusal) -> None:
    if value in refusal.unless:
        return
    remedy = f"Leave {name} out"
    if refusal.unless:
        remedy += f", or pass {' or '.join(repr(accepted) for accepted in refusal.unless)}"
    raise UnsupportedOperationError(
        f"{operation.name}: this panel does not support {name}: {refusal.reason}",
        operation=operation.name,
        argument=name,
        reason=refusal.reason,
        hint=f"{remedy}.",
    )


def _names_with_others(
    operation: Operation, wire: Wire, present: Mapping[str, Any]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the names in query and body, including those of arguments that the wire does not name."""
    named = {*wire.query, *wire.body, *wire.placeholders}
    others = {name: name for name in present if name not in named}
    for argument, name in (*wire.query.items(), *wire.body.items()):
        if name in others:
            raise ValueError(f"{operation.name}: {name} is already passed as {argument}")
    if wire.others == "query":
        return {**wire.query, **others}, wire.body
    return wire.query, {**wire.body, **others}


def _build_path(operation: Operation, wire: Wire, present: Mapping[str, Any]) -> str:
    path, placeholders = wire.path_parts
    for name, next_part in placeholders:
        value = present.get(name)
        if value is None:
            raise ValueError(
                f"{operation.name}: {name} must be an id or a name, not {'None' if name in present else 'UNSET'}"
            )
        path += path_segment(value, name) + next_part
    return path


def _build_query(names: Mapping[str, str], present: Mapping[str, Any]) -> str:
    return query_string((name, present[argument]) for argument, name in names.items() if argument in present)


def _build_body(operation: Operation, wire: Wire, names: Mapping[str, str], present: Mapping[str, Any]) -> bytes:
    body = {name: present[argument] for argument, name in names.items() if argument in present}
    for argument in wire.wrapped:
        if argument in present:
            body[wire.body[argument]] = [present[argument]]
    if wire.method == "PATCH" and not body:
        fields = f"at least one of {', '.join(names)}" if names else "the fields to change"
        raise ValueError(f"{operation.name}: nothing to change; pass {fields}")
    # Send a body even if it is empty: the decoder on the other side may require one.
    return dumps(body if _JSON_TYPES.issuperset(map(type, body.values())) else to_wire(body))


def _check_constraints(operation: Operation, name: str, value: object) -> None:
    choices = operation.choices.get(name)
    if choices is not None and value not in choices:
        raise ValueError(f"{operation.name}: {name} must be one of {', '.join(choices)}, not {value!r}")
    # Null clears a setting; but for a list that must not be empty, it would mean everything.
    may_be_null = name not in operation.not_empty
    if name in operation.lists and not _is_list(value) and not (value is None and may_be_null):
        raise ValueError(f"{operation.name}: {name} must be a list, not {type(value).__name__}")


def _check_not_empty(operation: Operation, name: str, value: object) -> None:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{operation.name}: {name} must not be empty")
    elif _is_list(value):
        if not value:
            raise ValueError(f"{operation.name}: {name} must not be empty")
        for item in value:
            if item is None or (isinstance(item, str) and not item.strip()):
                raise ValueError(f"{operation.name}: {name} must not contain {item!r}")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    # In this order: the check against an abstract class is slow.
    return not isinstance(value, str | bytes) and isinstance(value, Sequence)


def _check_guard(operation: Operation, guard: Guard, present: Mapping[str, Any]) -> None:
    has_selection, confirmed = guard.replaces in present, present[guard.argument]
    if has_selection and confirmed:
        raise ValueError(f"{operation.name}: pass {guard.replaces} or {guard.argument}=True, not both")
    if has_selection and not present[guard.replaces]:
        raise ValueError(f"{operation.name}: {guard.replaces} must not be empty")
    if not has_selection and confirmed is not True:
        raise ValueError(f"{operation.name}: pass {guard.replaces}, or {guard.argument}=True: {guard.reason}")
