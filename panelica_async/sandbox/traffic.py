"""Made-up traffic of the sites: the same for the same domain, growing with the clock.

Guess: a site receives between 100 and 999 bytes a second and sends four times as much.
"""

from calendar import monthrange
from datetime import UTC, datetime
from functools import lru_cache
from zlib import crc32

_MB = 1024 * 1024
_DAY = 86400


def traffic(domain: str, created_at: int, month: str, now: int) -> tuple[int, int]:
    """Return the bytes a site has received and sent in a month, `YYYY-MM`, so far."""
    start, end = _bounds(month)
    seconds = max(0, min(now, end) - max(created_at, start))
    received = seconds * (100 + crc32(domain.encode()) % 900)
    return received, received * 4


def traffic_mb(domain: str, created_at: int, now: int) -> int:
    """Return the traffic of a site this month in MB."""
    return sum(traffic(domain, created_at, month_of(now), now)) // _MB


def month_of(now: int) -> str:
    """Return the month of a time, as `YYYY-MM` in UTC."""
    return _month_of_day(now // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY, UTC).strftime("%Y-%m")


@lru_cache
def _bounds(month: str) -> tuple[int, int]:
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    days = monthrange(start.year, start.month)[1]
    return int(start.timestamp()), int(start.timestamp()) + days * _DAY
