"""The two ways of limiting: how fast, and how many in a window.

A rule is pure arithmetic on the instants it is given, in seconds of any clock that never goes back.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

import attrs

__all__ = [
    "MAX_SLOWDOWN",
    "NORMAL",
    "RECORD",
    "RECOVERY",
    "UNPACED_INTERVAL",
    "Rule",
    "SlidingLog",
    "SlowStart",
    "TokenBucket",
    "full_after",
]

# Requests remembered of a window that has no limit, and the most that one report may add to any window. The
# largest known limit is 10,000 an hour.
RECORD = 10_000

# Seconds in which the pace becomes normal again after a refusal.
RECOVERY = 300.0

# Seconds between two requests that a slowdown of 1 adds where no pace is set.
UNPACED_INTERVAL = 0.2

# Slowness 1 is half the pace, 2 a third; an eighth is slow enough for whoever else uses the key.
MAX_SLOWDOWN = 7.0

# Seconds by which sums of intervals may be off; without it the last token of a burst comes an instant too late.
_ROUNDING = 1e-9


@attrs.frozen
class SlowStart:
    """The pace after a refusal: slow at first, and normal again after `RECOVERY`."""

    since: float = float("-inf")
    """The instant at which requests may go again."""
    slowdown: float = 0.0
    """What is added to each interval at that instant, as a multiple of it."""

    def after_refusal(self, now: float, instant: float) -> "SlowStart":
        """Return the recovery from another refusal: it begins with half the pace there would have been.

        Refusals that come before requests may go again are one.
        """
        if now < self.since:
            return SlowStart(max(self.since, instant), self.slowdown)
        return SlowStart(instant, min(MAX_SLOWDOWN, 1 + 2 * self._slowdown_at(instant)))

    def interval(self, now: float, normal: float) -> float:
        """Return the seconds between two requests, given those between two at the normal pace."""
        if not self.slowdown:
            return normal
        return normal + self._slowdown_at(now) * (normal or UNPACED_INTERVAL)

    def _slowdown_at(self, now: float) -> float:
        return self.slowdown * max(0.0, min(1.0, 1 - (now - self.since) / RECOVERY))


NORMAL = SlowStart()
"""The pace when nothing was refused."""


def full_after(full_at: float, now: float, times: int, *, interval: float, tolerance: float) -> float:
    """Return when a bucket is full that loses tokens now. One that has none stays empty: it owes nothing.

    Args:
        full_at: When it would have been full.
        now: The present instant.
        times: How many tokens are taken.
        interval: Seconds in which a token comes back.
        tolerance: Seconds in which an empty bucket fills up to its last token.
    """
    return max(full_at, min(max(full_at, now) + times * interval, now + tolerance + interval))


class TokenBucket:
    """Lets `burst` requests go at once and `rate` a second after that.

    It keeps one number: the instant at which the bucket is full. Each token that is missing puts it off by
    the interval at which tokens come back.

    Args:
        rate: Tokens that come back in a second; infinite for a bucket that never runs out.
        burst: Tokens in a full bucket; at least 1.
        reserve: Tokens that the bulk lane leaves; less than `burst`.
        recovery: The last refusal. The bucket is empty when it begins, and fills at its pace.
    """

    def __init__(self, rate: float, burst: int, *, reserve: int = 0, recovery: SlowStart = NORMAL) -> None:
        self.interval: float = 1 / rate
        self.tolerance: float = (burst - 1) * self.interval + _ROUNDING
        self.reserve = reserve
        self.recovery: SlowStart = recovery
        self._full_at = recovery.since + self.tolerance

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when there will be a token after `ahead` others were taken."""
        if self._full_at <= now and not ahead:
            return now
        ready = max(now, self._full_at) - self.tolerance + ahead * self.recovery.interval(now, self.interval)
        return max(now, ready)

    def take(self, now: float) -> None:
        """Take a token."""
        self.add(now, 1)

    def add(self, now: float, times: int) -> None:
        """Take several tokens of one instant, in one step."""
        interval = self.recovery.interval(now, self.interval)
        self._full_at = full_after(self._full_at, now, times, interval=interval, tolerance=self.tolerance)

    def slow_down(self, now: float, instant: float) -> None:
        """After a refusal, be empty at an instant, then fill at half the pace, which recovers."""
        self.recovery = self.recovery.after_refusal(now, instant)
        self._full_at = max(self._full_at, self.recovery.since + self.tolerance)


class SlidingLog:
    """Lets `count` requests go in any window of `period` seconds, wherever the window begins.

    It keeps the instants of the last `count` requests in a ring that grows as it is filled, eight bytes each.

    Args:
        count: Requests in a window; at least 1.
        period: Length of the window in seconds.
        reserve: Permits that the bulk lane leaves; less than `count`.
    """

    def __init__(self, count: int, period: float, *, reserve: int = 0) -> None:
        self.count = count
        self.period = period
        self.reserve = reserve
        self._ring = array("d")
        self._oldest = 0

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when a place will be free after `ahead` others were taken.

        Each `count` of the others costs one more period.
        """
        periods, position = divmod(ahead, self.count)
        leaving = position - (self.count - len(self._ring))
        if leaving >= 0:
            now = max(now, self._instant(leaving) + self.period)
        return now + periods * self.period

    def take(self, now: float) -> None:
        """Note a request, in place of the oldest when the ring is full."""
        if len(self._ring) < self.count:
            self._ring.append(now)
        else:
            self._ring[self._oldest] = now
            self._oldest = (self._oldest + 1) % self.count

    def extend(self, instants: Sequence[float]) -> None:
        """Note several requests in order of time, in one step."""
        self._ring = array("d", [*self.instants(), *instants][-self.count :])
        self._oldest = 0

    def add(self, now: float, times: int) -> None:
        """Note several requests of one instant, in one step; more than there are places are as many."""
        self.extend(array("d", [now]) * min(times, self.count))

    def used(self, now: float) -> int:
        """Return how many requests lie in the window that ends at `now`."""
        return self.since(now - self.period)

    def since(self, instant: float) -> int:
        """Return how many of the noted requests went after an instant."""
        size = len(self._ring)
        return size - bisect_right(range(size), instant, key=self._instant)

    def instants(self) -> Sequence[float]:
        """Return when the noted requests went, oldest first."""
        return self._ring[self._oldest :] + self._ring[: self._oldest]

    def _instant(self, place: int) -> float:
        return self._ring[(self._oldest + place) % self.count]


Rule = TokenBucket | SlidingLog
