"""Arguments in a URL: percent-encoded, and refused where they cannot be right."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import quote
from uuid import UUID

QueryScalar: TypeAlias = str | bool | int | float | datetime | UUID
QueryValue: TypeAlias = QueryScalar | list[QueryScalar] | tuple[QueryScalar, ...]

# Most ids and names: nothing to encode, nothing to refuse.
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A control character, which no part of a path has."""


def path_segment(value: object, name: str) -> str:
    """Percent-encode one argument of a path.

    Args:
        value: Id or name of an object: text, a whole number or a UUID.
        name: Name of the argument, for the error.

    Raises:
        ValueError: It is empty, `.` or `..`, or contains a slash, backslash, control character or lone
            surrogate. Such a value would address something else: the panel signs the decoded path, in which
            `a%2Fb` and `a/b` are the same (panel-facts A.2).
        TypeError: It is of another type.
    """
    if type(value) is str and _PLAIN.fullmatch(value):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise TypeError(f"{name} must be a string, an integer or a UUID, not {type(value).__name__}")
    text = value if isinstance(value, str) else str(value)
    if not text.strip():
        raise ValueError(f"{name} is empty: pass the id of an existing object")
    if text in {".", ".."}:
        raise ValueError(f"{name} is {text!r}, which would address another path: pass an id or a name")
    if "/" in text or "\\" in text:
        raise ValueError(f"{name} contains a slash or backslash, which no id or name has: pass only its last part")
    if CONTROL.search(text):
        raise ValueError(f"{name} contains a control character: remove it")
    return _quote(text, name)


def query_string(pairs: Iterable[tuple[str, QueryValue]]) -> str:
    """Encode query parameters in the order given, without the `?`; empty when there are none.

    Text is percent-encoded as UTF-8 with `%20` for a space, a bool becomes `true` or `false`, an aware
    datetime RFC 3339 in UTC ending in `Z`, and a list repeats its key.

    Raises:
        ValueError: A value is None, an empty list, NaN, infinite, a datetime without time zone, or holds a
            lone surrogate. None and an empty list could mean "no filter" or "nothing": leave the parameter out.
        TypeError: A value is of another type.
    """
    return "&".join(
        f"{_quote(name, 'a query parameter name')}={_quote(_text(item, name), name)}"
        for name, value in pairs
        for item in _listed(value, name)
    )


def rfc3339(value: datetime) -> str:
    """Write an aware datetime as the panel does: RFC 3339 in UTC ending in `Z` (panel-facts B.3).

    Raises:
        ValueError: It has no time zone, or does not lie in the years 1 to 9999 of UTC.
    """
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a time zone, such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    except OverflowError:
        raise ValueError(f"{value} does not lie in the years 1 to 9999 of UTC") from None


def _listed(value: QueryValue | None, name: str) -> Iterable[QueryScalar]:
    if value is None:
        raise ValueError(f"{name} is None: leave it out instead")
    if not isinstance(value, list | tuple):
        return (value,)
    if not value:
        raise ValueError(f"{name} is an empty list: leave it out instead")
    return value


def _text(value: QueryScalar, name: str) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:d}"
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}: give a finite number")
            return repr(value)
        case datetime():
            try:
                return rfc3339(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        case UUID():
            return str(value)
    raise TypeError(f"{name} cannot be sent in a query: {type(value).__name__}")


def _quote(text: str, name: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{name} contains a lone surrogate, which is not text: decode it correctly") from None
