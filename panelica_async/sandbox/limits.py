"""How many requests a key may make: the panel's side of the rate limit, on a clock that the caller provides.

    limits = ServerLimits(TIERS["professional"], time.time)
    verdict = limits.admit()

It is not known how real panels count (evidence: quota-counting), so there is a choice of three ways:

- `fixed`: the counts restart with every minute and every hour;
- `sliding`: the requests of the last 60 s and 3,600 s count;
- `bucket`: the quota of a minute comes back evenly, and up to a burst of it can be saved; hours are fixed.

With `fixed` and `sliding`, a tier with a known burst has a bucket of that size as well.

Guesses: unknown numbers do not limit; refused requests do not count; all other requests of a key do.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import attrs

from panelica_async.catalog import Tier
from panelica_async.sandbox.messages import ApiError

Counting: TypeAlias = Literal["fixed", "sliding", "bucket"]

_MINUTE = 60.0
_HOUR = 3600.0


class _Window(ABC):
    """One limit."""

    limit: float

    @abstractmethod
    def wait(self, now: float) -> float:
        """Return the seconds until a request is admitted; 0 for at once."""

    @abstractmethod
    def take(self, now: float) -> None:
        """Count a request."""

    @abstractmethod
    def used(self, now: float) -> int:
        """Return the requests that count at present."""

    @abstractmethod
    def reset_at(self, now: float) -> float:
        """Return when the count is back at 0, if no request follows."""


class _FixedWindow(_Window):
    """At most `limit` requests between two multiples of `period` seconds."""

    def __init__(self, limit: float, period: float) -> None:
        self.limit = limit
        self._period = period
        self._start = -math.inf
        self._count = 0

    def wait(self, now: float) -> float:
        return self.reset_at(now) - now if self.used(now) >= self.limit else 0.0

    def take(self, now: float) -> None:
        self._count = self.used(now) + 1
        self._start = now - now % self._period

    def used(self, now: float) -> int:
        return self._count if now < self._start + self._period else 0

    def reset_at(self, now: float) -> float:
        return now - now % self._period + self._period


class _SlidingWindow(_Window):
    """At most `limit` requests in any `period` seconds."""

    def __init__(self, limit: float, period: float) -> None:
        self.limit = limit
        self._period = period
        self._taken: deque[float] = deque()

    def wait(self, now: float) -> float:
        return self._taken[0] + self._period - now if self.used(now) >= self.limit else 0.0

    def take(self, now: float) -> None:
        self._taken.append(now)

    def used(self, now: float) -> int:
        while self._taken and self._taken[0] + self._period <= now:
            self._taken.popleft()
        return len(self._taken)

    def reset_at(self, now: float) -> float:
        return self._taken[-1] + self._period if self.used(now) else now


class _TokenBucket(_Window):
    """At most `limit` requests at once, which come back at `rate` a second."""

    def __init__(self, limit: float, rate: float) -> None:
        self.limit = limit
        self._rate = rate
        self._tokens = limit
        self._at = -math.inf

    def wait(self, now: float) -> float:
        return max(0.0, (1 - self._available(now)) / self._rate)

    def take(self, now: float) -> None:
        self._tokens = self._available(now) - 1
        self._at = now

    def used(self, now: float) -> int:
        return math.ceil(self.limit - self._available(now))

    def reset_at(self, now: float) -> float:
        return now + (self.limit - self._available(now)) / self._rate

    def _available(self, now: float) -> float:
        return min(self.limit, self._tokens + (now - self._at) * self._rate)


@attrs.frozen(kw_only=True)
class Usage:
    """A limit of a key, and how much of it is used."""

    limit: int | None
    """Requests the window allows; None for no limit."""
    used: int
    reset_at: float
    """When the count is back at 0, in Unix seconds."""

    @property
    def remaining(self) -> int | None:
        """Requests left; None for no limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether a request was admitted, and if not, why."""

    admitted: bool
    window: str | None = None
    """The limit that refused it: `minute`, `hour` or `burst`."""
    limit: int | None = None
    """Requests that limit allows."""
    retry_after: int = 0
    """Whole seconds after which one more request is admitted; 0 when this one was."""


class ServerLimits:
    """Counts the requests of one key.

    Args:
        tier: The key's tier.
        clock: Returns the time in Unix seconds.
        window: How requests are counted: `fixed`, `sliding` or `bucket`.

    Raises:
        ValueError: `window` is none of these.
    """

    def __init__(self, tier: Tier, clock: Callable[[], float], window: Counting = "fixed") -> None:
        if window not in get_args(Counting):
            raise ValueError(f"window must be one of {', '.join(get_args(Counting))}, not {window!r}")
        self.tier = tier
        self._clock = clock
        minute, hour = tier.requests_per_minute, tier.requests_per_hour
        self._windows = {"minute": _window(window, minute, _MINUTE), "hour": _window(window, hour, _HOUR)}
        if minute is not None and window == "bucket":
            self._windows["minute"] = _TokenBucket(tier.burst or minute, minute / _MINUTE)
        elif minute is not None and tier.burst is not None:
            self._windows["burst"] = _TokenBucket(tier.burst, minute / _MINUTE)

    def admit(self) -> Verdict:
        """Count a request, if there is room for it."""
        now = self._clock()
        waits = {name: window.wait(now) for name, window in self._windows.items()}
        name = max(waits, key=waits.__getitem__)
        if waits[name] > 0:
            # A bucket holds fewer requests than come back in a minute, and the panel calls the latter its limit.
            limit = self.tier.requests_per_minute if name == "minute" else int(self._windows[name].limit)
            return Verdict(admitted=False, window=name, limit=limit, retry_after=math.ceil(waits[name]))
        for window in self._windows.values():
            window.take(now)
        return Verdict(admitted=True)

    def usage(self, window: Literal["minute", "hour"]) -> Usage:
        """Return the state of a window."""
        now = self._clock()
        state = self._windows[window]
        limit = int(state.limit) if math.isfinite(state.limit) else None
        return Usage(limit=limit, used=state.used(now), reset_at=state.reset_at(now))

    def headers(self) -> dict[str, str]:
        """Return the headers about the minute; none without a limit, and none for a bucket.

        A client would take the requests left in a bucket for those left in the minute, and wait without need.

        Guess: ordinary replies carry them too; clients read them on failure (evidence: rate-limit-reply).
        """
        minute = self.usage("minute")
        if minute.limit is None or isinstance(self._windows["minute"], _TokenBucket):
            return {}
        return {
            "X-RateLimit-Limit-Minute": str(minute.limit),
            "X-RateLimit-Remaining-Minute": str(minute.remaining),
            "X-RateLimit-Reset-Minute": str(math.ceil(minute.reset_at)),
        }


def _window(counting: Counting, limit: int | None, period: float) -> _Window:
    if limit is not None and counting == "sliding":
        return _SlidingWindow(limit, period)
    return _FixedWindow(math.inf if limit is None else limit, period)


def refusal(verdict: Verdict) -> ApiError:
    """Return the reply to a request that was not admitted: 429 with the panel's fields (evidence: rate-limit-reply)."""
    return ApiError(
        429,
        "RATE_LIMIT_EXCEEDED",
        f"Rate limit exceeded for this API key ({verdict.window} window)",
        f"retry after {verdict.retry_after} s",
        fields={"limit": verdict.limit, "retry_after": verdict.retry_after, "window": verdict.window},
        headers={"Retry-After": str(verdict.retry_after)},
    )
