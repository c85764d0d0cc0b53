"""Permits decide when the next caller may go.

`LocalPermits` decides with a quota that this process has to itself, one for each API key (`permits_for_key`);
`shared.SharedPermits` decides with a quota that several processes share.
"""

import asyncio
import logging
import os
import random
import threading
import time
from abc import ABC, abstractmethod
from math import inf

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import INTERACTIVE_RUN, Lane, QueueDepth
from panelica_async.ratelimit.limit import Coordination, Feedback, Quota, QuotaLeft, RateLimit
from panelica_async.ratelimit.rules import HOUR, RECHECK_INTERVAL

__all__ = ["LocalPermits", "Permits", "forget_keys", "permits_for_key"]

_log = logging.getLogger("panelica_async")

# After a refusal, each process starts later by a random time of at most so many seconds.
_MAX_STAGGER = 1.0

# Interactive requests that may go after one check. They are counted together, while other threads wait for the lock.
_MAX_PRECHECKED = 64

# Seconds for which a limit applies that a reply named and that is lower than the configured one.
_LEARNT_LIMIT_TTL = 300.0

# Seconds by which an event loop's time may differ from the system's monotonic clock, if it uses that clock.
_SAME_CLOCK_TOLERANCE = 5.0


def _require_rate_limit(limit: RateLimit) -> RateLimit:
    if not isinstance(limit, RateLimit):
        problem = f"limit must be a RateLimit, not {limit!r:.50}"
        raise ConfigurationError(problem, hint="Name a tier with RateLimit.for_tier, such as 'professional'.")
    return limit


class Permits(ABC):
    """Decides which caller may go next, and when. Instants are seconds of the event loop's clock.

    Args:
        limit: What may be sent.

    Raises:
        ConfigurationError: It is not a `RateLimit`.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.configured: RateLimit = _require_rate_limit(limit)
        """The limit that was set; `limit` may follow the panel for a while."""
        self.learnt_until: float = inf
        """The instant at which `configured` applies again."""

    @property
    def coordination(self) -> Coordination:
        """Whether the quota is shared, and whether its store answers."""
        return "none"

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on."""
        self.configured, self.learnt_until = _require_rate_limit(limit), inf
        self._apply(limit)

    def follow(self, now: float, feedback: Feedback, *, may_rise: bool) -> bool:
        """Apply the limit that a reply names; return whether it changed.

        A limit lower than the configured one applies for five minutes, any other from now on.

        Args:
            now: The present instant.
            feedback: What the reply says.
            may_rise: Whether it may lift the limit above the configured one.
        """
        if feedback.minute_limit is None and feedback.hour_limit is None:
            return False
        before, configured = self.limit, self.configured
        learnt = feedback.corrected(before, configured, may_rise=may_rise)
        if not learnt.is_below(configured):
            if learnt == before == configured:
                return False
            self.reconfigure(learnt)
            return True
        self.learnt_until = now + _LEARNT_LIMIT_TTL
        if learnt == before:
            return False
        self._apply(learnt)
        _log.log(
            logging.WARNING if feedback.refused or learnt.per_minute != configured.per_minute else logging.INFO,
            "the panel names a lower rate limit than the configured %s; using %s until %.0f s after the last reply "
            "that names it",
            configured,
            learnt,
            _LEARNT_LIMIT_TTL,
        )
        return True

    def restore_configured(self) -> None:
        """Apply the configured limit again."""
        self.reconfigure(self.configured)
        _log.warning("the panel no longer names a lower rate limit; using %s", self.limit)

    @property
    @abstractmethod
    def limit(self) -> RateLimit:
        """What may be sent."""

    @abstractmethod
    def next_turn(self, now: float, depth: QueueDepth) -> tuple[Lane, float]:
        """Return which lane's turn it is, and when; infinite while a store is being asked."""

    @abstractmethod
    def expected_at(self, now: float, lane: Lane, depth: QueueDepth) -> float:
        """Return when a caller that comes now is expected to go."""

    @abstractmethod
    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which no caller of a lane goes, as after a refusal."""

    @abstractmethod
    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now, to the knowledge of this process."""

    @abstractmethod
    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a permit; return whether there was."""

    @abstractmethod
    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time; after a refusal, let them start slowly."""

    @abstractmethod
    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count the requests that the panel counted and this process did not; return whether there were any."""

    @abstractmethod
    def close(self) -> None:
        """Stop all background work."""

    @abstractmethod
    def _apply(self, limit: RateLimit) -> None: ...


class LocalPermits(Permits):
    """The permits of a quota that this process uses alone.

    The limiters of several event loops in one process may share it: every method is atomic for other threads.

    While the quota has room for several interactive requests, one check covers all of them: time alone never makes the
    room smaller, and everything that does requires a new check. The instants of these requests are noted, and counted
    before the quota is used for anything else.

    Args:
        limit: What may be sent.
    """

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit)
        self._quota = Quota(limit)
        # How many more interactive requests may go without another check.
        self._prechecked = 0
        self._uncounted: list[float] = []
        self._paused_until = -inf
        self._interactive_run = 0
        self._lock = threading.Lock()
        self.last_used: float = inf
        """The instant of the last request; infinite before the first."""

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        return self._quota.limit

    @property
    def quota(self) -> Quota:
        """The rules, with all requests counted. Threads that share them need the lock."""
        if self._uncounted:
            for instant in self._uncounted:
                self._quota.take(instant)
            self._uncounted.clear()
        return self._quota

    def next_turn(self, now: float, depth: QueueDepth) -> tuple[Lane, float]:
        """Return which lane's turn it is, and when."""
        with self._lock:
            is_bulk = depth["bulk"] and (self._interactive_run >= INTERACTIVE_RUN or not depth["interactive"])
            lane: Lane = "bulk" if is_bulk else "interactive"
            ready_at = self._ready_at(now, lane)
            if is_bulk and ready_at > now and self.quota.has_raised_reserve(now):
                ready_at = min(ready_at, max(now + RECHECK_INTERVAL, self._paused_until))
            return lane, ready_at

    def expected_at(self, now: float, lane: Lane, depth: QueueDepth) -> float:
        """Return when a caller that comes now will go, unless a later one overtakes it."""
        ahead = depth["interactive"]
        ahead += depth["bulk"] if lane == "bulk" else min(depth["bulk"], ahead // INTERACTIVE_RUN)
        with self._lock:
            return self._ready_at(now, lane, ahead)

    def opens_at(self, lane: Lane) -> float:  # noqa: ARG002  a pause stops both lanes
        """Return the end of the pause."""
        return self._paused_until

    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now."""
        with self._lock:
            return self.quota.left(now)

    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a permit; return whether there was."""
        with self._lock:
            if self._prechecked and lane == "interactive":
                self._prechecked -= 1
                self._uncounted.append(now)
                self._interactive_run += 1
                self.last_used = now
                return True
            if self._ready_at(now, lane) > now:
                return False
            self._take(now, lane)
            if lane == "interactive":
                self._prechecked = min(self.quota.room(now), _MAX_PRECHECKED)
            return True

    def take(self, now: float, lane: Lane) -> None:
        """Count a request that goes now, whether or not there is a permit."""
        with self._lock:
            self._take(now, lane)

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time; after a refusal, let them start slowly."""
        with self._lock:
            self._prechecked = 0
            self._paused_until = max(self._paused_until, now + seconds)
            if refused:
                # The panel told other processes the same wait; they should not all start at the same instant.
                stagger = random.uniform(0, _MAX_STAGGER)  # noqa: S311  spreads load, keeps no secret
                self.quota.slow_down(now, self._paused_until + stagger)

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count the requests that the panel counted and this process did not; return whether there were any."""
        with self._lock:
            minute, hour = self.limit.own_usage(minute_usage, hour_usage)
            others_used = self.quota.add_usage(now, minute=minute, hour=hour)
            if others_used:
                self._prechecked = 0
            return others_used

    def interactive_since(self, instant: float) -> int:
        """Return how many interactive requests went after an instant of the last minute."""
        with self._lock:
            return self.quota.interactive.used_since(instant)

    def close(self) -> None:
        """Do nothing: there is no background work."""

    def _apply(self, limit: RateLimit) -> None:
        with self._lock:
            self._quota = Quota(limit, after=self.quota)
            self._prechecked = 0

    def _ready_at(self, now: float, lane: Lane, ahead: int = 0) -> float:
        if now < self._paused_until:
            now = self._paused_until
        # While both lanes wait, every fifth permit goes to bulk, which may then use the reserve.
        leave_reserve = lane == "bulk" and self._interactive_run < INTERACTIVE_RUN
        return self.quota.ready_at(now, ahead, leave_reserve)

    def _take(self, now: float, lane: Lane) -> None:
        self._interactive_run = 0 if lane == "bulk" else self._interactive_run + 1
        self.quota.take(now, lane)
        self._prechecked = 0
        self.last_used = now


# The quotas of the keys, kept for an hour after the last request, because a program may run each job in a new event
# loop.
_quotas: dict[bytes, LocalPermits] = {}
_quotas_lock = threading.Lock()


def permits_for_key(key: bytes, limit: RateLimit, loop: asyncio.AbstractEventLoop) -> LocalPermits:
    """Return the permits of a key, which all event loops of this process share.

    Args:
        key: A digest that names the key.
        limit: What new permits allow; existing ones keep their limit.
        loop: The event loop in which they are used.
    """
    now = loop.time()
    if abs(now - time.monotonic()) > _SAME_CLOCK_TOLERANCE:
        return LocalPermits(limit)  # the loop has its own clock: its instants mean nothing to other loops
    with _quotas_lock:
        for idle in [other for other, permits in _quotas.items() if permits.last_used < now - HOUR and other != key]:
            del _quotas[idle]
        return _quotas.setdefault(key, LocalPermits(limit))


def forget_keys() -> None:
    """Forget what the keys of this process have used, for a child after a fork."""
    global _quotas_lock  # noqa: PLW0603  another thread may have held it when this process was forked
    _quotas_lock = threading.Lock()
    _quotas.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_keys)
