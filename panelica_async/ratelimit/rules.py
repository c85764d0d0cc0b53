"""The arithmetic of a quota: how fast, how many in a window, and how much bulk work leaves to interactive calls.

A rule only computes with instants, in seconds of any clock that never goes back. There is no second arithmetic in
Python: a quota in memory and one in SQLite are the same objects. `reserve.lua` repeats it for Redis; a test compares
the two.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from math import inf, sqrt

import attrs

from panelica_async.ratelimit.lanes import Lane

__all__ = [
    "HOUR",
    "IRREGULARITY",
    "LARGEST_RESERVE",
    "LATELY",
    "MAX_SLOWDOWN",
    "MINUTE",
    "NORMAL",
    "RECHECK",
    "RECORD",
    "RECOVERY_TIME",
    "UNPACED_INTERVAL",
    "RuleSet",
    "SlidingLog",
    "SlowStart",
    "TokenBucket",
    "interactive_reserve",
]

RECORD = 10_000
"""Requests remembered of a window without a limit, and the most that one report adds to a window. The largest known
limit is 10,000 an hour."""

RECOVERY_TIME = 300.0
"""Seconds after a refusal until the pace is normal again."""

UNPACED_INTERVAL = 0.2
"""Seconds between two requests that a slowdown of 1 adds where no pace is set."""

MAX_SLOWDOWN = 7.0
"""A slowdown of 1 means half the pace, 2 a third. An eighth is slow enough for any other user of the key."""

LATELY = 20.0
"""Seconds that determine the pace of the interactive lane if it is higher than that of the last minute."""

LARGEST_RESERVE = 4 / 5
"""Share of the minute that bulk leaves at most: a fifth is guaranteed to bulk."""

IRREGULARITY = 1.5
"""How many times the square root of the expected number of interactive requests bulk leaves on top of that number.
With more, web requests would wait less, but more than a twentieth of the quota would stay unused."""

RECHECK = 1.0
"""Seconds after which bulk checks again whether the interactive lane has become quieter."""

MINUTE = 60.0
HOUR = 3600.0


@attrs.frozen
class SlowStart:
    """The pace after a refusal: slow at first, normal again after `RECOVERY_TIME`."""

    since: float = -inf
    """The instant at which requests may go again."""
    slowdown: float = 0.0
    """How much longer the intervals are at that instant, as a multiple of the normal one."""

    def after_refusal(self, now: float, instant: float) -> "SlowStart":
        """Return the slow start after another refusal; it begins at half the pace that would have applied.

        Several refusals before requests may go again count as one.
        """
        if now < self.since:
            return SlowStart(max(self.since, instant), self.slowdown)
        return SlowStart(instant, min(MAX_SLOWDOWN, 1 + 2 * self._slowdown_at(instant)))

    def interval(self, now: float, normal: float) -> float:
        """Return the seconds between two requests, from those at the normal pace."""
        if not self.slowdown:
            return normal
        return normal + self._slowdown_at(now) * (normal or UNPACED_INTERVAL)

    def _slowdown_at(self, now: float) -> float:
        return self.slowdown * max(0.0, min(1.0, 1 - (now - self.since) / RECOVERY_TIME))


NORMAL = SlowStart()
"""The pace when nothing was refused."""


class TokenBucket:
    """Allows a burst of requests at once, then one in each interval.

    Its state is one number, the instant at which the bucket is full. Each missing token is one interval further away.

    Args:
        interval: Seconds in which a token comes back; 0 for a bucket that never runs out.
        tolerance: Seconds in which an empty bucket fills up to its last token: the burst, less one, in intervals.
        reserve: Tokens that bulk leaves; less than the burst.
        slow_start: The last refusal. The bucket is empty when it begins, and fills at its pace.
        full_at: When the bucket is full; by default, when it is empty at the beginning of the slow start.
    """

    def __init__(
        self,
        interval: float,
        tolerance: float,
        *,
        reserve: int = 0,
        slow_start: SlowStart = NORMAL,
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
        # Plain comparisons here and below: a call of min or max costs as much as all the rest.
        if ready < now:
            ready = now
        return ready

    def room(self, now: float) -> float:
        """Return how many tokens there are; 0 during a slow start, in which the interval changes."""
        if now < self.slow_start.since + RECOVERY_TIME:
            return 0
        missing = max(0.0, self.full_at - now)
        return inf if not self.interval else (self.tolerance - missing) // self.interval + 1

    def take(self, now: float, times: int = 1) -> None:
        """Take tokens. A bucket without tokens stays empty and builds up no debt."""
        interval = self.slow_start.interval(now, self.interval) if self.slow_start.slowdown else self.interval
        full_at = self.full_at
        if full_at < now:
            full_at = now
        full_at += times * interval
        empty = now + self.tolerance + interval
        if full_at > empty:
            full_at = empty
        if full_at > self.full_at:
            self.full_at = full_at

    def slow_down(self, now: float, instant: float) -> None:
        """After a refusal, be empty at an instant, then fill at half the pace, which recovers."""
        self.slow_start = self.slow_start.after_refusal(now, instant)
        self.full_at = max(self.full_at, self.slow_start.since + self.tolerance)


class SlidingLog:
    """Allows `count` requests in any window of `period` seconds, wherever the window begins.

    It keeps the instants of the last `count` requests in a ring, eight bytes each, which grows as it is filled.
    A subclass may keep them elsewhere.

    Args:
        count: Requests in a window; at least 1.
        period: Length of the window in seconds.
        reserve: Requests that bulk leaves; less than `count`.
        limits: Whether `count` is a limit, or only how many requests to remember.
    """

    def __init__(self, count: int, period: float, *, reserve: int = 0, limits: bool = True) -> None:
        self.count = count
        self.period = period
        self.reserve = reserve
        self.limits = limits
        self.size: int = 0
        """How many requests are remembered."""
        self._ring = array("d")
        self._oldest = 0

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when the window has room after `ahead` others went; each `count` of them takes one more period."""
        if self.size + ahead < self.count:
            return now
        periods, position = divmod(ahead, self.count)
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
        """Return how many requests lie in the window that ends at `now`."""
        return self.since(now - self.period)

    def since(self, instant: float) -> int:
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
        interactive: Remembers the interactive requests of the last minute; no limit.
    """

    def __init__(self, bucket: TokenBucket, minute: SlidingLog, hour: SlidingLog, interactive: SlidingLog) -> None:
        self.bucket = bucket
        self.minute = minute
        self.hour = hour
        self.interactive = interactive
        self._rules: list[TokenBucket | SlidingLog] = [bucket, *(log for log in (minute, hour) if log.limits)]

    def ready_at(self, now: float, ahead: int = 0, leave_reserve: bool = False) -> float:
        """Return the earliest instant, `now` or later, for a request after `ahead` others.

        It is exact for the next request. For later ones it is the instant of the strictest rule alone, which is too
        early if rules take turns: by a few per cent for up to an hour's worth of requests.

        Args:
            now: The present instant.
            ahead: How many go first.
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
        """Return how many requests may go from now on if nothing else is counted meanwhile; at most `RECORD`."""
        return int(max(0, min(RECORD, *(rule.room(now) for rule in self._rules))))

    def minute_reserve(self, now: float) -> int:
        """Return how many requests of the minute bulk leaves to the interactive lane."""
        return interactive_reserve(
            self.minute.count,
            self.minute.reserve,
            self.interactive.since(now - self.minute.period),
            self.interactive.since(now - LATELY),
        )

    def makes_room(self, now: float) -> bool:
        """Return whether bulk leaves more than usual because the interactive lane was busy, which may pass soon."""
        return self.minute.limits and self.minute_reserve(now) > self.minute.reserve

    def take(self, now: float, lane: Lane = "interactive") -> None:
        """Count a request that goes at `now`."""
        if lane == "interactive":
            self.interactive.take(now)
        self.minute.take(now)
        self.bucket.take(now)
        self.hour.take(now)

    def add_usage(self, now: float, *, minute: int, hour: int) -> bool:
        """Count the requests of the current minute and hour that the panel counted and these rules did not.

        It is unknown when these were sent, so they count as sent just now, to be cautious. Any number takes one step.

        Returns:
            Whether there were any.
        """
        minute_missing = minute - self.minute.used(now)
        hour_missing = hour - self.hour.used(now)
        if minute_missing > 0:
            self.minute.add(now, min(minute_missing, RECORD))
            self.bucket.take(now, min(minute_missing, RECORD))
        if hour_missing > 0:
            self.hour.add(now, min(hour_missing, RECORD))
        return minute_missing > 0 or hour_missing > 0

    def slow_down(self, now: float, instant: float) -> None:
        """After a refusal, have no token at an instant, then get them at half the pace, which recovers."""
        self.bucket.slow_down(now, instant)


def interactive_reserve(count: int, least: int, in_window: int, lately: int) -> int:
    """Return how many requests of the minute bulk leaves to the interactive lane.

    Bulk may use what the interactive lane leaves at its pace of the last minute, or of the last seconds if that is
    higher. Bulk does not leave again what the lane has already used.

    Args:
        count: Requests in the minute.
        least: What is left even to an idle lane.
        in_window: Interactive requests in the window.
        lately: Interactive requests of the last seconds.
    """
    expected = max(in_window, lately * MINUTE / LATELY)
    # Traffic is irregular: its count differs from minute to minute by about its square root.
    left = min(count * LARGEST_RESERVE, expected + IRREGULARITY * sqrt(expected) + least)
    return max(0, int(left) - in_window)
