"""The panel's side of the rate limit: counts the requests of a key, on a clock that the caller provides.

    limits = ServerLimits(TIERS["professional"], time.time)
    verdict = limits.admit()

How real panels count is unknown (evidence: quota-counting). There are three kinds of window:

- `fixed`: the counts restart with every minute and every hour;
- `sliding`: the requests of the last 60 s and 3,600 s count;
- `bucket`: permits come back evenly over the minute, and up to a burst of them can be saved; hours are fixed.

With `fixed` and `sliding`, a tier with a known burst has a bucket of that size as well.

Guesses: an unknown limit does not apply; refused requests do not count; all other requests of a key do.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import attrs

from panelica_async.catalog import Tier
from panelica_async.sandbox.messages import ApiError

WindowKind: TypeAlias = Literal["fixed", "sliding", "bucket"]

_MINUTE = 60.0
_HOUR = 3600.0


class _Window(ABC):
    """One limit."""

    limit: float

    @abstractmethod
    def wait(self, now: float) -> float:
        """Return the seconds until the next request is admitted; 0 if it is admitted at once."""

    @abstractmethod
    def take(self, now: float) -> None:
        """Count a request."""

    @abstractmethod
    def used(self, now: float) -> int:
        """Return how many requests count at present."""

    @abstractmethod
    def reset_at(self, now: float) -> float:
        """Return when the count falls to 0 if no request follows."""


class _FixedWindow(_Window):
    """At most `limit` requests in each period, which starts at a multiple of `period` seconds."""

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
        self._admitted_at: deque[float] = deque()

    def wait(self, now: float) -> float:
        return self._admitted_at[0] + self._period - now if self.used(now) >= self.limit else 0.0

    def take(self, now: float) -> None:
        self._admitted_at.append(now)

    def used(self, now: float) -> int:
        while self._admitted_at and self._admitted_at[0] + self._period <= now:
            self._admitted_at.popleft()
        return len(self._admitted_at)

    def reset_at(self, now: float) -> float:
        return self._admitted_at[-1] + self._period if self.used(now) else now


class _TokenBucket(_Window):
    """At most `limit` requests at once; tokens come back at `rate` a second."""

    def __init__(self, limit: float, rate: float) -> None:
        self.limit = limit
        self._rate = rate
        self._tokens = limit
        self._updated_at = -math.inf

    def wait(self, now: float) -> float:
        return max(0.0, (1 - self._tokens_at(now)) / self._rate)

    def take(self, now: float) -> None:
        self._tokens = self._tokens_at(now) - 1
        self._updated_at = now

    def used(self, now: float) -> int:
        return math.ceil(self.limit - self._tokens_at(now))

    def reset_at(self, now: float) -> float:
        return now + (self.limit - self._tokens_at(now)) / self._rate

    def _tokens_at(self, now: float) -> float:
        return min(self.limit, self._tokens + (now - self._updated_at) * self._rate)


@attrs.frozen(kw_only=True)
class Usage:
    """A limit of a key, and how much of it is used."""

    limit: int | None
    """Requests the window allows; None for no limit."""
    used: int
    reset_at: float
    """When the count falls to 0, in Unix seconds."""

    @property
    def remaining(self) -> int | None:
        """Requests left; None for no limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether a request was admitted, and if not, why."""

    admitted: bool
    window: str | None = None
    """The window that is full: `minute`, `hour` or `burst`."""
    limit: int | None = None
    """Requests that this window allows."""
    retry_after: int = 0
    """Whole seconds until the next request is admitted; 0 if this one was."""


class ServerLimits:
    """Counts the requests of one key.

    Args:
        tier: The key's tier.
        clock: Returns the time in Unix seconds.
        window: How requests are counted: `fixed`, `sliding` or `bucket`.

    Raises:
        ValueError: There is no such window.
    """

    def __init__(self, tier: Tier, clock: Callable[[], float], window: WindowKind = "fixed") -> None:
        if window not in get_args(WindowKind):
            raise ValueError(f"window must be one of {', '.join(get_args(WindowKind))}, not {window!r}")
        self.tier = tier
        self._clock = clock
        minute, hour = tier.requests_per_minute, tier.requests_per_hour
        self._windows = {"minute": _make_window(window, minute, _MINUTE), "hour": _make_window(window, hour, _HOUR)}
        if minute is not None and window == "bucket":
            self._windows["minute"] = _TokenBucket(tier.burst or minute, minute / _MINUTE)
        elif minute is not None and tier.burst is not None:
            self._windows["burst"] = _TokenBucket(tier.burst, minute / _MINUTE)

    def admit(self) -> Verdict:
        """Count a request if no window is full."""
        now = self._clock()
        waits = {name: window.wait(now) for name, window in self._windows.items()}
        name = max(waits, key=waits.__getitem__)
        if waits[name] > 0:
            # For a bucket, the panel reports the permits that come back in a minute, not the fewer that it holds.
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

        A client would take the tokens left in a bucket for the requests left in the minute, and wait needlessly.

        Guess: successes carry them too; clients read them on failure (evidence: rate-limit-reply).
        """
        minute = self.usage("minute")
        if minute.limit is None or isinstance(self._windows["minute"], _TokenBucket):
            return {}
        return {
            "X-RateLimit-Limit-Minute": str(minute.limit),
            "X-RateLimit-Remaining-Minute": str(minute.remaining),
            "X-RateLimit-Reset-Minute": str(math.ceil(minute.reset_at)),
        }


def _make_window(kind: WindowKind, limit: int | None, period: float) -> _Window:
    if limit is not None and kind == "sliding":
        return _SlidingWindow(limit, period)
    return _FixedWindow(math.inf if limit is None else limit, period)


def rate_limit_error(verdict: Verdict) -> ApiError:
    """Return the error for a request that was not admitted, with the panel's fields (evidence: rate-limit-reply)."""
    return ApiError(
        429,
        "RATE_LIMIT_EXCEEDED",
        f"Rate limit exceeded for this API key ({verdict.window} window)",
        f"retry after {verdict.retry_after} s",
        fields={"limit": verdict.limit, "retry_after": verdict.retry_after, "window": verdict.window},
        headers={"Retry-After": str(verdict.retry_after)},
    )
