"""Points in time as panels and web servers write them, in Unix seconds."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache


# All replies of a second have the same.
@lru_cache(maxsize=16)
def http_date(text: str) -> float | None:
    """Read the value of a header such as `Date`; None when it is no date."""
    try:
        return unix_time(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


def unix_time(moment: datetime) -> float:
    """Return a datetime in Unix seconds; without a zone it is in GMT, as HTTP dates are in the old form too.

    Raises:
        OverflowError: It lies beyond what can be said so.
    """
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def rfc3339(value: datetime) -> str:
    """Write an aware datetime as the panel does: RFC 3339 in UTC ending in `Z` (evidence: times).

    Raises:
        ValueError: It has no time zone, or does not lie in the years 1 to 9999 of UTC.
    """
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a time zone, such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    except OverflowError:
        raise ValueError(f"{value} does not lie in the years 1 to 9999 of UTC") from None
