"""The arithmetic of a quota: how fast, how many in a window, and how much bulk work leaves to interactive calls.

A rule only computes with instants, in seconds of any clock that never goes back. A quota in memory and one in SQLite
use the same classes. `reserve.lua` repeats the arithmetic for Redis; a test compares the two.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from math import inf, sqrt

import attrs

from panelica_async.ratelimit.lanes import Lane

__all__ = [
    "HOUR",
    "LARGEST_RESERVE",
    "MAX_RECORDED",
    "MAX_SLOWDOWN",
    "MINUTE",
    "NORMAL_PACE",
    "PACE_WINDOW",
    "RECHECK_INTERVAL",
    "RECOVERY_TIME",
    "TRAFFIC_MARGIN",
    "UNPACED_INTERVAL",
    "RuleSet",
    "SlidingLog",
    "SlowStart",
    "TokenBucket",
    "interactive_reserve",
]

MAX_RECORDED = 10_000
"""How many requests to remember of a window without a limit, and the most that one report adds to a window. The largest
known limit is 10,000 an hour."""

RECOVERY_TIME = 300.0
"""Seconds after a refusal until the pace is normal again."""

UNPACED_INTERVAL = 0.2
"""Seconds between two requests that a slowdown of 1 adds where no pace is set."""

MAX_SLOWDOWN = 7.0
"""A slowdown of 1 means half the pace, 2 a third. An eighth leaves enough to any other user of the key."""

PACE_WINDOW = 20.0
"""Seconds over which the pace of the interactive lane is measured, besides the last minute; the higher one counts."""

LARGEST_RESERVE = 4 / 5
"""Largest share of the minute that bulk leaves to the interactive lane: a fifth is guaranteed to bulk."""

TRAFFIC_MARGIN = 1.5
"""Bulk leaves the expected number of interactive requests, and so many times its square root on top. With more, web
requests would wait less, but more than a twentieth of the quota would stay unused."""

RECHECK_INTERVAL = 1.0
"""Seconds until bulk checks again whether the interactive lane has become quieter."""

MINUTE = 60.0
HOUR = 3600.0


@attrs.frozen
class SlowStart:
    """The pace after a refusal: slow at first, normal again after `RECOVERY_TIME`."""

    since: float = -inf
    """The instant at which requests may go again after the refusal."""
    slowdown: float = 0.0
    """How much longer the intervals are at that instant, as a multiple of the normal interval."""

    def after_refusal(self, now: float, resumes_at: float) -> "SlowStart":
        """Return the slow start after another refusal; it begins at half the pace that would have applied.

        Several refusals before requests may go again count as one.
        """
        if now < self.since:
            return SlowStart(max(self.since, resumes_at), self.slowdown)
        return SlowStart(resumes_at, min(MAX_SLOWDOWN, 1 + 2 * self._slowdown_at(resumes_at)))

    def interval(self, now: float, normal: float) -> float:
        """Return the seconds between two requests; `normal` are those at the normal pace."""
        if not self.slowdown:
            return normal
        return normal + self._slowdown_at(now) * (normal or UNPACED_INTERVAL)

    def _slowdown_at(self, now: float) -> float:
        return self.slowdown * max(0.0, min(1.0, 1 - (now - self.since) / RECOVERY_TIME))


NORMAL_PACE = SlowStart()
"""The pace when nothing was refused."""


class TokenBucket:
    """Allows a burst of requests at once, then one in each interval.

    Its state is one number, the instant at which the bucket will be full: each missing token is one interval.

    Args:
        interval: Seconds in which a token comes back; 0 for a bucket that never runs out.
        tolerance: Seconds by which requests may come early: the burst, less one, in intervals.
        reserve: Tokens that bulk leaves to the interactive lane; less than the burst.
        slow_start: The pace after the last refusal. The bucket is empty when it begins.
        full_at: When the bucket will be full; by default, it is empty at the beginning of the slow start.
    """

    def __init__(
        self,
        interval: float,
        tolerance: float,
        *,
        reserve: int = 0,
        slow_start: SlowStart = NORMAL_PACE,
        full_at: float | None = None,
    ) -> None:
        self.interval = interval
        self.tolerance = tolerance
        self.reserve = reserve
        self.slow_start: SlowStart = slow_start
        self.full_at: float = slow_start.since + tolerance if full_at is None else full_at

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when there is a token after `ahead` others were taken."""
        ready = self.full_at - self.tolerance
        if ahead:
            ready = max(now - self.tolerance, ready) + ahead * self.slow_start.interval(now, self.interval)
        # Plain comparisons here and below: calling min or max would double the time of this method.
        if ready < now:
            ready = now
        return ready

    def room(self, now: float) -> float:
        """Return how many tokens the bucket has; 0 during a slow start, because the interval changes."""
        if now < self.slow_start.since + RECOVERY_TIME:
            return 0
        missing = max(0.0, self.full_at - now)
        return inf if not self.interval else (self.tolerance - missing) // self.interval + 1

    def take(self, now: float, times: int = 1) -> None:
        """Take tokens. A bucket without tokens stays empty; it builds up no debt."""
        interval = self.slow_start.interval(now, self.interval) if self.slow_start.slowdown else self.interval
        full_at = self.full_at
        if full_at < now:
            full_at = now
        full_at += times * interval
        full_at_if_empty = now + self.tolerance + interval
        if full_at > full_at_if_empty:
            full_at = full_at_if_empty
        if full_at > self.full_at:
            self.full_at = full_at

    def slow_down(self, now: float, resumes_at: float) -> None:
        """After a refusal, be empty at `resumes_at`, then fill at half the pace, which recovers slowly."""
        self.slow_start = self.slow_start.after_refusal(now, resumes_at)
        self.full_at = max(self.full_at, self.slow_start.since + self.tolerance)


class SlidingLog:
    """Allows `count` requests in any window of `period` seconds, wherever the window begins.

    The instants of the last `count` requests are in a ring of eight bytes each, which grows as it is filled. A subclass
    may store them elsewhere.

    Args:
        count: Requests in a window; at least 1.
        period: Length of the window in seconds.
        reserve: Requests that bulk leaves to the interactive lane; less than `count`.
        is_limit: Whether `count` is a limit; otherwise only how many requests to remember.
    """

    def __init__(self, count: int, period: float, *, reserve: int = 0, is_limit: bool = True) -> None:
        self.count = count
        self.period = period
        self.reserve = reserve
        self.is_limit = is_limit
        self.size: int = 0
        """How many requests are remembered."""
        self._ring = array("d")
        self._oldest = 0

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when the window has room after `ahead` other requests; every `count` of them take another period."""
        if self.size + ahead < self.count:
            return now
        periods, position = divmod(ahead, self.count)
        # The remembered request that must leave the window before this one may go.
        leaving = position - (self.count - self.size)
        if leaving >= 0:
            ready = self._instant(leaving) + self.period
            if ready > now:
                now = ready
        return now + periods * self.period

    def room(self, now: float) -> int:
        """Return how many requests the window that ends at `now` still has room for."""
        return self.count - self.used(now)

    def take(self, now: float) -> None:
        """Record a request, in place of the oldest if the ring is full."""
        if self.size < self.count:
            self._ring.append(now)
            self.size += 1
        else:
            self._ring[self._oldest] = now
            self._oldest = (self._oldest + 1) % self.count

    def extend(self, instants: Sequence[float]) -> None:
        """Record several requests in order of time, in one step."""
        self._ring = array("d", [*self.instants(), *instants][-self.count :])
        self.size = len(self._ring)
        self._oldest = 0

    def add(self, now: float, times: int) -> None:
        """Record several requests at one instant, in one step; at most `count`."""
        self.extend(array("d", [now]) * min(times, self.count))

    def used(self, now: float) -> int:
        """Return how many requests are in the window that ends at `now`."""
        return self.used_since(now - self.period)

    def used_since(self, instant: float) -> int:
        """Return how many of the remembered requests went after an instant."""
        return self.size - bisect_right(range(self.size), instant, key=self._instant)

    def instants(self) -> Sequence[float]:
        """Return when the remembered requests went, oldest first."""
        return self._ring[self._oldest :] + self._ring[: self._oldest]

    def _instant(self, index: int) -> float:
        """Return when a remembered request went, counted from the oldest."""
        return self._ring[(self._oldest + index) % self.count]


class RuleSet:
    """The rules of a quota, all of which must allow a request.

    Args:
        bucket: The pace and the burst.
        minute: The window of a minute.
        hour: The window of an hour.
        interactive: The interactive requests of the last minute, without a limit.
    """

    def __init__(self, bucket: TokenBucket, minute: SlidingLog, hour: SlidingLog, interactive: SlidingLog) -> None:
        self.bucket = bucket
        self.minute = minute
        self.hour = hour
        self.interactive = interactive
        self._rules: list[TokenBucket | SlidingLog] = [bucket, *(log for log in (minute, hour) if log.is_limit)]

    def ready_at(self, now: float, ahead: int = 0, leave_reserve: bool = False) -> float:
        """Return the earliest instant, `now` or later, for a request after `ahead` others.

        The result is exact for the next request. For later ones only the strictest rule counts, which is too early if
        rules take turns: by a few per cent for up to an hour's worth of requests.

        Args:
            now: The present instant.
            ahead: How many other requests go first.
            leave_reserve: Whether to leave the reserve of the interactive lane untouched.
        """
        ready = now
        for rule in self._rules:
            reserve = 0
            if leave_reserve:
                reserve = self.minute_reserve(now) if rule is self.minute else rule.reserve
            instant = rule.ready_at(now, ahead + reserve)
            if instant > ready:
                ready = instant
        return ready

    def room(self, now: float) -> int:
        """Return how many requests may go from now on if nothing else is counted meanwhile; at most `MAX_RECORDED`."""
        return int(max(0, min(MAX_RECORDED, *(rule.room(now) for rule in self._rules))))

    def minute_reserve(self, now: float) -> int:
        """Return how many requests of the minute bulk leaves to the interactive lane."""
        return interactive_reserve(
            self.minute.count,
            self.minute.reserve,
            self.interactive.used_since(now - self.minute.period),
            self.interactive.used_since(now - PACE_WINDOW),
        )

    def has_raised_reserve(self, now: float) -> bool:
        """Return whether bulk leaves more than usual, because the interactive lane was busy a moment ago."""
        return self.minute.is_limit and self.minute_reserve(now) > self.minute.reserve

    def take(self, now: float, lane: Lane = "interactive") -> None:
        """Count a request that goes at `now`."""
        if lane == "interactive":
            self.interactive.take(now)
        self.minute.take(now)
        self.bucket.take(now)
        self.hour.take(now)

    def add_usage(self, now: float, *, minute: int, hour: int) -> bool:
        """Count the requests of the current minute and hour that the panel counted and these rules did not.

        It is unknown when these were sent; to be cautious, they count as sent now. Any number of them takes one step.

        Returns:
            Whether there were any.
        """
        minute_missing = minute - self.minute.used(now)
        hour_missing = hour - self.hour.used(now)
        if minute_missing > 0:
            self.minute.add(now, min(minute_missing, MAX_RECORDED))
            self.bucket.take(now, min(minute_missing, MAX_RECORDED))
        if hour_missing > 0:
            self.hour.add(now, min(hour_missing, MAX_RECORDED))
        return minute_missing > 0 or hour_missing > 0

    def slow_down(self, now: float, resumes_at: float) -> None:
        """After a refusal, allow no request before `resumes_at`, then half the pace, which recovers slowly."""
        self.bucket.slow_down(now, resumes_at)


def interactive_reserve(count: int, least: int, in_window: int, recent: int) -> int:
    """Return how many requests of the minute bulk leaves to the interactive lane.

    The lane is expected to continue at its pace of the last minute, or of the last seconds if that is higher. What it
    has already used needs no reserve.

    Args:
        count: Requests in the minute.
        least: The reserve of an idle lane.
        in_window: Interactive requests in the window.
        recent: Interactive requests of the last `PACE_WINDOW` seconds.
    """
    expected = max(in_window, recent * MINUTE / PACE_WINDOW)
    # The number of requests in a minute varies by about its square root.
    wanted = min(count * LARGEST_RESERVE, expected + TRAFFIC_MARGIN * sqrt(expected) + least)
    return max(0, int(wanted) - in_window)
