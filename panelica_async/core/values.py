"""Single values as panels and web servers write them: numbers, points in time, scopes, headers.

A reader returns None for a value that is not what it reads: a header or a field of an error must not hide the reply
it came with. Points in time are Unix seconds.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from panelica_async.core.json_codec import JsonValue

# float() accepts more than a header may hold: 1_0, digits of other scripts, a megabyte of them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?")
LONGEST_HEADER = 128
"""Characters of a header, such as a request id, that are kept."""
_MOST_SCOPES = 100
_LONGEST_SCOPES = 10_000


def read_number(value: JsonValue) -> float | None:
    """Return a finite number, which may come as text (evidence: numbers-as-text)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if not isinstance(value, str) or _NUMBER.fullmatch(value.strip()) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_whole(value: JsonValue) -> int | None:
    """Return a number without its fraction."""
    number = read_number(value)
    return None if number is None else int(number)


def http_date(text: str) -> float | None:
    """Return the value of a header such as `Date` in Unix seconds."""
    try:
        return unix_time(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


def read_date(headers: Mapping[str, str]) -> float | None:
    """Return the time of the panel, or of the web server in front of it, from the header `Date`."""
    return http_date(header(headers, "Date") or "")


def read_moment(value: JsonValue) -> float | None:
    """Return a point in time, written in RFC 3339 or in Unix seconds, in Unix seconds."""
    number = read_number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        return unix_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def unix_time(moment: datetime) -> float:
    """Return a datetime in Unix seconds. Without a time zone it is taken as UTC, like HTTP dates in the old format.

    Raises:
        OverflowError: The platform cannot represent it.
    """
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def rfc3339(value: datetime) -> str:
    """Return an aware datetime as the panel writes it: RFC 3339 in UTC ending in `Z` (evidence: times).

    Raises:
        ValueError: It has no time zone, or does not lie in the years 1 to 9999 of UTC.
    """
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a time zone, such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    except OverflowError:
        raise ValueError(f"{value} does not lie in the years 1 to 9999 of UTC") from None


def read_scopes(value: JsonValue) -> tuple[str, ...]:
    """Return the names of scopes, written as a list or in one text; at most a hundred."""
    if isinstance(value, str):
        value = value[:_LONGEST_SCOPES].replace(",", " ").split()
    return tuple(item for item in value[:_MOST_SCOPES] if isinstance(item, str)) if isinstance(value, list) else ()


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header; its name is matched in any case."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def header_text(value: str | None) -> str | None:
    """Return the printable ASCII characters of a header, at most 128; None when there are none."""
    if value is None:
        return None
    shown = "".join(char for char in value[: LONGEST_HEADER * 2] if " " <= char <= "~")
    return shown[:LONGEST_HEADER].strip() or None
