"""JSON bytes to Python values and back, the same with orjson (extra `fast`) and with the standard library.

Neither direction repeats the data in an error: bodies hold passwords.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # the extra is not installed

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
"""A value that JSON can represent; lists, tuples and dicts are containers."""

MAX_DEPTH = 100
"""Levels of nesting that `dumps` accepts; deeper values contain themselves."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTAINERS = (list, tuple, dict)


def dumps(value: JsonValue) -> bytes:
    """Encode a value as compact UTF-8 without needless escapes.

    Raises:
        ValueError: The value holds NaN, an infinity, an integer beyond 64 bits or a lone surrogate, or is nested
            more than 100 levels deep.
        TypeError: The value contains a type JSON lacks, such as a datetime, or a key that is not a string.
    """
    _check(value, "$", MAX_DEPTH)
    if orjson is not None:
        return orjson.dumps(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def loads(data: bytes) -> JsonValue:
    """Decode UTF-8 JSON, with or without a byte order mark. Integers beyond 64 bits become floats.

    Raises:
        ValueError: Not JSON in UTF-8. Also rejected: NaN, numbers beyond floats, lone surrogates, and nesting
            of more than about a thousand levels.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        value: JsonValue = orjson.loads(data) if orjson is not None else _loads_with_standard_library(data)
    except json.JSONDecodeError as error:
        if not _is_utf8(data):
            raise ValueError("not valid JSON: the text is not UTF-8") from None
        raise ValueError(f"not valid JSON near character {error.pos}") from None
    except UnicodeError:
        raise ValueError("not valid JSON: the text is not UTF-8") from None
    except RecursionError:
        raise ValueError("not valid JSON: nested too deeply") from None
    return value


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(value: JsonValue, path: str, depth: int) -> None:
    """Reject what either encoder would reject or change, and name its path."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, _CONTAINERS):
        if not depth:
            raise ValueError(f"{path[:40]}… is nested more than {MAX_DEPTH} levels deep, or contains itself")
        _check_container(value, path, depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} must be a finite number, not {value}")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{path} is an integer beyond 64 bits")
    elif value is not None:
        raise TypeError(f"{path} must be a JSON value, not {type(value).__name__}")


def _check_container(
    value: list[JsonValue] | tuple[JsonValue, ...] | dict[str, JsonValue], path: str, depth: int
) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{path} must have strings for keys, not {type(key).__name__}")
            if not key.isascii():
                _check_text(key, f"a key of {path}")
            # Most values are plain text: spelling out their paths would take longer than encoding them.
            if type(item) is not str or not item.isascii():
                _check(item, f"{path}.{key}", depth)
    else:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth)


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path} contains a lone surrogate, which is not text: decode it correctly") from None


def _loads_with_standard_library(data: bytes) -> JsonValue:
    value: JsonValue = json.loads(
        data.decode(), parse_constant=_refuse_constant, parse_int=_integer, parse_float=_finite
    )
    if b"\\ud" in data.lower():
        # The standard library lets escaped lone surrogates pass: encoding finds them.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(_name: str) -> float:
    raise json.JSONDecodeError("NaN and infinities are not JSON", "", 0)


def _integer(digits: str) -> int | float:
    # 20 characters hold every 64-bit integer; longer texts may be too long for int().
    number = int(digits) if len(digits) <= 20 else None
    return number if number is not None and -(2**63) <= number < 2**64 else _finite(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise json.JSONDecodeError("number beyond floats", "", 0)
    return number
