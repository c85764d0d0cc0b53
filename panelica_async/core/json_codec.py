"""Encodes and decodes JSON, with the same results from orjson (extra `fast`) and the standard library.

Errors never quote the data: bodies hold passwords.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from json import scanner
from typing import Any, TypeAlias

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # the extra is not installed

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
"""A value that JSON can represent; its containers are lists, tuples and dicts."""

MAX_DEPTH = 100
"""Levels of nesting that `dumps` accepts; a deeper value contains itself."""

_MAX_VALUES_AT_ONCE = 150_000
"""Values in a document that is decoded in one go; that blocks all threads of the process, for so many up to 30 ms."""
_MAX_KEYS = 50_000
"""Keys of an object in a document with more values than that."""
_LONG_DOCUMENT = 256 * 1024
"""Bytes of a document from which on its values are counted."""
_scanner: Any = scanner  # its type stubs are incomplete
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTAINERS = (list, tuple, dict)


def dumps(value: JsonValue) -> bytes:
    """Encode a value as compact JSON in UTF-8 without needless escapes.

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
        ValueError: The data is not JSON in UTF-8; or it holds NaN, a number beyond floats, a lone surrogate, hundreds
            of levels of nesting, or an object of more than 50,000 keys among more than 150,000 values.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        if len(data) > _LONG_DOCUMENT and data.count(b",") + data.count(b"[") + data.count(b"{") > _MAX_VALUES_AT_ONCE:
            value = _loads_in_steps(data)
        elif orjson is not None:
            value = orjson.loads(data)
        else:
            value = _loads_with_standard_library(data)
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
    """Reject a value that either encoder would reject or change; the error names its path."""
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
    value: JsonValue = _decoder().decode(data.decode())
    _require_text(data, value)
    return value


def _loads_in_steps(data: bytes) -> JsonValue:
    """Decode a document ten times more slowly, but let other threads run between any two of its values."""
    decoder = _decoder(object_pairs_hook=_build_object)
    decoder.scan_once = _scanner.py_make_scanner(decoder)
    value: JsonValue = decoder.decode(data.decode())
    _require_text(data, value)
    return value


def _decoder(**hooks: Any) -> Any:
    return json.JSONDecoder(
        parse_constant=_refuse_constant, parse_int=_parse_integer, parse_float=_parse_float, **hooks
    )


def _build_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    if len(pairs) > _MAX_KEYS:
        raise ValueError(f"JSON with an object of more than {_MAX_KEYS:,} keys")
    return dict(pairs)


def _require_text(data: bytes, value: JsonValue) -> None:
    """Raise `UnicodeError` for lone surrogates, which the standard library accepts if they are escaped."""
    if b"\\ud" in data.lower():
        for text in _texts(value):
            text.encode()


def _texts(value: JsonValue) -> Iterator[str]:
    """Yield all keys and texts of a value."""
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += [*item, *item.values()]


def _refuse_constant(_name: str) -> float:
    raise json.JSONDecodeError("NaN and infinities are not JSON", "", 0)


def _parse_integer(digits: str) -> int | float:
    # Every 64-bit integer fits in 20 characters; a longer text may be too long for int().
    number = int(digits) if len(digits) <= 20 else None
    return number if number is not None and -(2**63) <= number < 2**64 else _parse_float(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise json.JSONDecodeError("number beyond floats", "", 0)
    return number
