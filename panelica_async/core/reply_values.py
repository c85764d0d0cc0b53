"""Values in replies, read leniently: headers, texts, numbers, points in time. What makes no sense is None."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from panelica_async.core.dates import http_date, unix_time
from panelica_async.core.json_codec import JsonValue

# What float() takes besides is no number in a header: 1_0, ten digits of another script, a megabyte of them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?")
_MOST_SCOPES = 100
_LONGEST_SCOPES = 10_000


def read_moment(value: JsonValue) -> float | None:
    """Read a point in time, RFC 3339 or Unix seconds, as Unix seconds."""
    number = read_number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        return unix_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def read_date(headers: Mapping[str, str]) -> float | None:
    """Read the time of the panel, or of the web server before it."""
    return http_date(header(headers, "Date") or "")


def read_number(value: JsonValue) -> float | None:
    """Read a finite number, which may come as text (panel-facts B.3)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if not isinstance(value, str) or _NUMBER.fullmatch(value.strip()) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_whole(value: JsonValue) -> int | None:
    """Read a number without its fraction."""
    number = read_number(value)
    return None if number is None else int(number)


def read_scopes(value: JsonValue) -> tuple[str, ...]:
    """Read names of scopes, as a list or in one text, a hundred at most."""
    if isinstance(value, str):
        value = value[:_LONGEST_SCOPES].replace(",", " ").split()
    return tuple(item for item in value[:_MOST_SCOPES] if isinstance(item, str)) if isinstance(value, list) else ()


def texts(sources: Iterable[Mapping[str, JsonValue]], key: str) -> Iterator[str]:
    """Yield the texts under a key that say something."""
    for source in sources:
        value = source.get(key)
        if isinstance(value, str) and value.strip():
            yield value.strip()


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header; its name is matched in any case."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)
