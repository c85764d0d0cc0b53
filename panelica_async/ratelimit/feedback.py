"""Read what a reply says about the quota, and drop implausible numbers.

It is unknown whether replies other than refusals have these headers. The names for the hour are a guess from those for
the minute (evidence: rate-limit-reply).
"""

from collections.abc import Mapping
from math import isfinite
from typing import TypeGuard

import attrs
from multidict import istr

from panelica_async.core.values import read_number
from panelica_async.ratelimit.limit import RateLimit

__all__ = ["MAX_WAIT", "UNNAMED_WAIT", "Feedback", "is_count", "read_feedback"]

_TOO_MANY_REQUESTS = 429
# aiohttp's headers find these without folding their case first.
_MINUTE_LIMIT, _HOUR_LIMIT = istr("X-RateLimit-Limit-Minute"), istr("X-RateLimit-Limit-Hour")
_MINUTE_LEFT, _HOUR_LEFT = istr("X-RateLimit-Remaining-Minute"), istr("X-RateLimit-Remaining-Hour")
_NOTHING = (None, None, None, None)

MAX_WAIT = 3600.0
"""Seconds: the longest window. A longer wait or reset is capped."""

# Without a refusal, only the minute is full; its window ends within this time.
_LONGEST_RESET = 60.0

UNNAMED_WAIT = 60.0
"""Seconds. Guess: a 429 that names no wait is about the minute, the shortest window (evidence: rate-limit-reply)."""

# More than any panel allows; the largest known limit is 10,000 an hour.
_MAX_COUNT = 1_000_000


@attrs.frozen(kw_only=True)
class Feedback:
    """What one reply says about the quota."""

    refused: bool
    """Whether the request exceeded the limit."""
    wait: float
    """Seconds until the panel accepts requests again; only meaningful if it accepts none now."""
    minute_limit: int | None
    hour_limit: int | None
    minute_remaining: int | None
    hour_remaining: int | None

    @property
    def is_used_up(self) -> bool:
        """Whether the minute has no requests left."""
        return self.minute_remaining == 0

    def corrected(self, limit: RateLimit, configured: RateLimit, *, may_rise: bool) -> RateLimit:
        """Return a limit with the numbers of the panel. A burst belongs to the minute rate it came with.

        Args:
            limit: The limit in force.
            configured: The limit that was set.
            may_rise: Whether the panel may lift the limit above that.
        """
        minute, hour = self.minute_limit, self.hour_limit
        if minute is not None:
            if minute == configured.per_minute or (minute > (configured.per_minute or minute) and not may_rise):
                limit = attrs.evolve(limit, per_minute=configured.per_minute, burst=configured.burst)
            elif minute != limit.per_minute:
                limit = attrs.evolve(limit, per_minute=minute, burst=None)
        if hour is not None:
            limit = attrs.evolve(limit, per_hour=hour if may_rise else min(hour, configured.per_hour or hour))
        return limit

    def usage(self, limit: RateLimit) -> tuple[int, int]:
        """Return how many requests the panel counted in the current minute and hour, 0 if it does not say."""
        return (
            _usage(self.minute_limit or limit.per_minute, self.minute_remaining),
            _usage(self.hour_limit or limit.per_hour, self.hour_remaining),
        )


def read_feedback(
    status: int,
    headers: Mapping[str, str],
    *,
    retry_after: float | None = None,
    limit: float | None = None,
    window: str | None = None,
) -> Feedback | None:
    """Return what a reply says about the quota, None if it says nothing.

    Args:
        status: HTTP status.
        headers: Headers of the reply.
        retry_after: Seconds to wait, if the caller has read them from the reply.
        limit: `limit` in the body of a refusal.
        window: `window` in the body of a refusal.
    """
    refused = status == _TOO_MANY_REQUESTS
    texts = headers.get(_MINUTE_LIMIT), headers.get(_HOUR_LIMIT), headers.get(_MINUTE_LEFT), headers.get(_HOUR_LEFT)
    if not refused and texts == _NOTHING:
        return None
    minute_limit, hour_limit = _count(texts[0], 1), _count(texts[1], 1)
    # Guess: a limit of 0 or less means that there is none, and then nothing left means nothing, too.
    minute_remaining = None if _is_unlimited(texts[0]) else _count(texts[2], 0)
    hour_remaining = None if _is_unlimited(texts[1]) else _count(texts[3], 0)
    if refused and is_count(limit, 1):
        if window == "minute":
            minute_limit = int(limit)
        elif window == "hour":
            hour_limit = int(limit)
    if not refused and (minute_limit, hour_limit, minute_remaining, hour_remaining) == _NOTHING:
        return None
    return Feedback(
        refused=refused,
        wait=_wait(headers, retry_after, refused=refused) if refused or minute_remaining == 0 else 0.0,
        minute_limit=minute_limit,
        hour_limit=hour_limit,
        minute_remaining=minute_remaining,
        hour_remaining=hour_remaining,
    )


def _usage(limit: float | None, remaining: int | None) -> int:
    return 0 if limit is None or remaining is None else max(0, int(limit) - remaining)


def _wait(headers: Mapping[str, str], retry_after: float | None, *, refused: bool) -> float:
    wait = retry_after
    if wait is None:
        from panelica_async.core.error_replies import retry_after as named_wait  # noqa: PLC0415  few replies are errors

        # A reply with nothing left names its reset as a refusal does.
        wait = named_wait(_TOO_MANY_REQUESTS, headers, b"")
    if wait is None or not isfinite(wait) or wait < 0:
        return UNNAMED_WAIT
    return min(wait, MAX_WAIT if refused else _LONGEST_RESET)


def _count(text: str | None, least: int) -> int | None:
    if text is None:
        return None
    number = read_number(text)
    return int(number) if is_count(number, least) else None


def _is_unlimited(text: str | None) -> bool:
    return text is not None and (text.strip() == "0" or text.strip().startswith("-"))


def is_count(number: object, least: int) -> TypeGuard[float]:
    """Return whether something is a plausible number of requests."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        return False
    return least <= number <= _MAX_COUNT and number % 1 == 0
