"""Reads single values as panels write them (numbers, dates, headers), and holds the rules for valid names.

The readers for fields of models accept other spellings of the same value, and raise `MismatchError` for anything else:

- a whole number with a fraction of zero (`12.0`) or as text (`"12"`, `"12.0"`) is an integer; for an optional field, a
  number with another fraction is rounded, and stays in `extra` as it came;
- a number in place of text (`17` for an id, `8.4` for a PHP version) becomes text;
- the year 1, which Go writes for a time that was never set, and an empty text become None;
- for an optional field, a time without a zone is taken as UTC, as panels write theirs, and stays in `extra` as it came.

The other readers return None for a value that they cannot read: a bad header, or a bad field of an error, must not hide
the reply. Their points in time are Unix seconds.

Provisioning and the sandbox, which may not import each other, both use the rules for names at the end.
"""

import math
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from uuid import UUID

from panelica_async.core.json_codec import JsonValue

_MAX_EXACT = 2**53
"""Up to here, whole numbers are exact as floats; a larger id that arrives as a float has lost digits."""

# Numbers may come as text (evidence: numbers-as-text). Longer ones may be too long for int().
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
# Called with any value: a TypeError costs less than checking every value.
_from_iso: Callable[[Any], datetime] = datetime.fromisoformat
# float() accepts more than a header may hold: 1_0, digits of other scripts, a megabyte of them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?")
_DURATION_PART = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(h|ms?|[nuµ]?s)"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
NO_IDS = (None, "", 0, "0", str(UUID(int=0)))
"""What Go writes for an id that is not set."""
MAX_HEADER_LENGTH = 128
"""Characters of a header, such as a request id, that are kept."""
_MAX_NOTES = 1000
"""Mismatches that are noted per reply: a list may have the same one in each row."""
_MAX_SCOPES = 100
_MAX_SCOPES_LENGTH = 10_000


class MismatchError(Exception):
    """A value does not fit its type.

    Attributes:
        problem: What is wrong.
        path: Where the value is in the decoded object, such as `.items[2].id`.
        nearest: The value that an optional field takes instead; None if nothing is near enough.
    """

    def __init__(self, problem: str, path: str = "", *, nearest: object = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.nearest = nearest

    def inside(self, parent: str) -> "MismatchError":
        """Return the same mismatch with its path as seen from the enclosing value."""
        return MismatchError(self.problem, parent + self.path)


class _ThreadNotes(threading.local):
    def __init__(self) -> None:
        self.mismatches = list[str]()


_notes = _ThreadNotes()


def collect_mismatches() -> list[str]:
    """Return the list to which this thread adds mismatches of optional fields from now on, empty at first."""
    mismatches = _notes.mismatches
    mismatches.clear()
    return mismatches


def note_mismatch(mismatch: str) -> None:
    """Add a mismatch of an optional field to the list of this thread."""
    if len(_notes.mismatches) < _MAX_NOTES:
        _notes.mismatches.append(mismatch)


def type_mismatch(value: object, expected: str) -> MismatchError:
    """Return the error for a value of the wrong type; it names only types, because the value may be secret."""
    names: dict[type, str] = {dict: "object", type(None): "null"}
    return MismatchError(f"expected {expected}, got {names.get(type(value), type(value).__name__)}")


def as_text(value: object, _: object) -> str:
    """Return text; convert a number."""
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is float and abs(value) < _MAX_EXACT):
        return str(value)
    raise type_mismatch(value, "str")


def as_boolean(value: object, _: object) -> bool:
    """Return a boolean."""
    if type(value) is not bool:
        raise type_mismatch(value, "bool")
    return value


def as_integer(value: object, _: object) -> int:
    """Return an integer; accept text, and a fraction of zero."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < _MAX_EXACT:
        return int(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        whole, _, fraction = value.partition(".")
        if not fraction.strip("0"):
            return int(whole)
        value = float(value)
    if type(value) is float and abs(value) < _MAX_EXACT:
        raise MismatchError("expected int, got a number with a fraction", nearest=round(value))
    raise type_mismatch(value, "int")


def as_number(value: object, _: object) -> float:
    """Return a number; accept text."""
    # JSON has one kind of number: 45 is a valid value of a field that usually holds 45.2.
    if type(value) is float or type(value) is int:
        return float(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        return float(value)
    raise type_mismatch(value, "number")


def as_datetime(value: object, _: object) -> datetime | None:
    """Return an aware datetime; None for a time that was never set."""
    try:
        moment = _from_iso(value)
    except TypeError:
        raise type_mismatch(value, "date-time") from None
    except ValueError:
        if not value:
            return None
        raise MismatchError(f"expected date-time, got {str(value)[:40]!r}") from None
    # Guess: Go servers write their zero time, in any zone, for a time that was never set.
    if moment.year == 1:
        return None
    if moment.tzinfo is None:
        problem = f"expected date-time with a time zone, got {str(value)[:40]!r}"
        raise MismatchError(problem, nearest=moment.replace(tzinfo=UTC))
    return moment


def read_number(value: JsonValue) -> float | None:
    """Return a finite number; accept text (evidence: numbers-as-text)."""
    if isinstance(value, str):
        # float() rejects some of the spaces that strip() removes.
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_count(value: JsonValue) -> int | None:
    """Return a number from 0 to 2^53, rounded down."""
    number = read_number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_EXACT else None


def read_seconds(value: JsonValue) -> float | None:
    """Return a duration in seconds, written as a number or as text such as `1m30s`.

    Guess: panels are written in Go (evidence: signed-path), which formats durations like this.
    """
    number = read_number(value)
    if number is not None or not isinstance(value, str):
        return number
    # Compiled on first use.
    if not re.fullmatch(rf"\s*(?:{_DURATION_PART})+\s*", value):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(_DURATION_PART, value))


def parse_http_date(text: str) -> float | None:
    """Return the date in a header such as `Date` in Unix seconds."""
    try:
        return unix_time(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


def read_date(headers: Mapping[str, str]) -> float | None:
    """Return the time of the panel, or of the web server in front of it, from the `Date` header."""
    return parse_http_date(find_header(headers, "Date") or "")


def read_unix_time(value: JsonValue) -> float | None:
    """Return a time, written in RFC 3339 or in Unix seconds, in Unix seconds."""
    number = read_number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        return unix_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def unix_time(moment: datetime) -> float:
    """Return a datetime in Unix seconds. One without a time zone is taken as UTC, like HTTP dates in the old format.

    Raises:
        OverflowError: The platform cannot represent it.
    """
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def rfc3339(value: datetime) -> str:
    """Return an aware datetime as the panel writes it: RFC 3339 in UTC ending in `Z` (evidence: times).

    Raises:
        ValueError: It has no time zone, or in UTC it is not in the years 1 to 9999.
    """
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a time zone, such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    except OverflowError:
        raise ValueError(f"{value} does not lie in the years 1 to 9999 of UTC") from None


def read_scopes(value: JsonValue) -> tuple[str, ...]:
    """Return scopes, written as a list or as one text; at most 100."""
    if isinstance(value, str):
        value = value[:_MAX_SCOPES_LENGTH].replace(",", " ").split()
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value[:_MAX_SCOPES] if isinstance(item, str))


def find_header(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of a header, whatever the case of its name."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def printable_header(value: str | None) -> str | None:
    """Return the printable ASCII characters of a header, at most 128; None if there are none."""
    if value is None:
        return None
    printable = "".join(char for char in value[: MAX_HEADER_LENGTH * 2] if " " <= char <= "~")
    return printable[:MAX_HEADER_LENGTH].strip() or None


class NameRule(NamedTuple):
    """Which names a panel accepts for one kind of object."""

    pattern: str
    form: str
    """The pattern in words, for messages."""

    def allows(self, name: str) -> bool:
        """Return whether a name matches the pattern."""
        return re.fullmatch(self.pattern, name) is not None


# Guess: names that any Linux accepts for a system user, and any mail server without quotes. What the panel itself
# checks is unknown; its own clients generate names of lower-case letters and digits.
ACCOUNT_NAME = NameRule(
    r"[a-z][a-z0-9_-]{0,31}",
    "a lower-case letter, then lower-case letters, digits, '_' or '-', at most 32 in all",
)
MAILBOX_NAME = NameRule(
    r"(?=.{1,64}\Z)(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?",
    "a letter or digit, then letters, digits, '.', '_', '+' or '-', no dot at the end, at most 64 in all",
)
# The panel's own clients allow these characters and this length.
DATABASE_NAME = NameRule(r"[A-Za-z0-9_]{1,32}", "letters, digits and '_', at most 32")
FTP_NAME = NameRule(
    r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}",
    "a letter or digit, then letters, digits, '.', '_', '@' or '-', at most 64 in all",
)
