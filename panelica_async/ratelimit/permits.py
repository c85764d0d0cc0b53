"""Where a limiter gets its places from: a quota of its own, here, or one it shares (`shared`)."""

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf

from panelica_async.ratelimit.lanes import INTERACTIVE_RUN, Lane
from panelica_async.ratelimit.limit import RECHECK, Quota, QuotaLeft, RateLimit
from panelica_async.ratelimit.state import Coordination

__all__ = ["EMPTY", "LocalPermits", "Permits", "QueueDepth"]

# Seconds.
_MAX_STAGGER = 1.0

QueueDepth = Mapping[Lane, int]
"""How many wait in each lane."""
EMPTY: QueueDepth = {"interactive": 0, "bulk": 0}


class Permits(ABC):
    """Decides which caller may go next, and when. Instants are seconds of the event loop's clock.

    Args:
        limit: What may be sent.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.configured: RateLimit = limit
        """The limit that was asked for; `limit` may follow the panel's word for a while."""
        self.learnt_until: float = inf
        """The instant at which `configured` applies again."""

    @property
    def coordination(self) -> Coordination:
        """Whether the quota is shared, and works."""
        return "none"

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on."""
        self.configured, self.learnt_until = limit, inf
        self._apply(limit)

    def learn(self, limit: RateLimit, until: float) -> None:
        """Apply a limit that the panel named until an instant."""
        self.learnt_until = until
        if limit != self.limit:
            self._apply(limit)

    @property
    @abstractmethod
    def limit(self) -> RateLimit:
        """What may be sent."""

    @abstractmethod
    def next(self, now: float, demand: QueueDepth) -> tuple[Lane, float]:
        """Return whose turn it is among those who wait, and when; infinite while that is being found out."""

    @abstractmethod
    def expected_at(self, now: float, lane: Lane, demand: QueueDepth) -> float:
        """Return when a caller will probably go that comes now."""

    @abstractmethod
    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which surely no caller of a lane goes, as after a refusal."""

    @abstractmethod
    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now, as far as is known here."""

    @abstractmethod
    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a place; return whether there was."""

    @abstractmethod
    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time; after a refusal, let them go slowly at first."""

    @abstractmethod
    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count what the panel counted in the current minute and hour and this does not know of; return if any."""

    @abstractmethod
    def close(self) -> None:
        """Stop whatever goes on in the background."""

    @abstractmethod
    def _apply(self, limit: RateLimit) -> None: ...


class LocalPermits(Permits):
    """The places of a quota that no other process is known to use.

    The limiters of several event loops in one process may share it: every method is one step for other threads.

    Args:
        limit: What may be sent.
    """

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit)
        self.quota: Quota = Quota(limit)
        self._paused_until = -inf
        self._interactive_run = 0
        self._lock = threading.Lock()
        self.last_used: float = inf
        """The instant of the last request; infinite before the first."""

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        return self.quota.limit

    def next(self, now: float, demand: QueueDepth) -> tuple[Lane, float]:
        """Return whose turn it is among those who wait, and when."""
        with self._lock:
            lane: Lane = (
                "bulk" if demand["bulk"] and (self._bulk_is_due or not demand["interactive"]) else "interactive"
            )
            ready = self._ready_at(now, lane)
            if lane == "bulk" and ready > now and self.quota.minute.reserve > self.quota.least_reserve:
                ready = min(ready, max(now + RECHECK, self._paused_until))
            return lane, ready

    def expected_at(self, now: float, lane: Lane, demand: QueueDepth) -> float:
        """Return when a caller will go that comes now, if none comes later and overtakes it."""
        ahead = demand["interactive"]
        ahead += demand["bulk"] if lane == "bulk" else min(demand["bulk"], ahead // INTERACTIVE_RUN)
        with self._lock:
            return self._ready_at(now, lane, ahead)

    def opens_at(self, lane: Lane) -> float:  # noqa: ARG002  a pause holds both lanes
        """Return the end of the pause."""
        return self._paused_until

    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now."""
        with self._lock:
            return self.quota.left(now)

    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a place; return whether there was."""
        with self._lock:
            if self._ready_at(now, lane) > now:
                return False
            self._take(now, lane)
            return True

    def take(self, now: float, lane: Lane) -> None:
        """Count a request that goes now, whether or not there is a place."""
        with self._lock:
            self._take(now, lane)

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time; after a refusal, let them go slowly at first."""
        with self._lock:
            self._paused_until = max(self._paused_until, now + seconds)
            if refused:
                # Other processes were told the same wait: they should not all begin in the same instant.
                stagger = random.uniform(0, _MAX_STAGGER)  # noqa: S311  spreads load, keeps no secret
                self.quota.slow_down(now, self._paused_until + stagger)

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count what the panel counted and this does not know of; return whether there was any."""
        with self._lock:
            return self.quota.seed(now, minute_usage=minute_usage, hour_usage=hour_usage)

    def close(self) -> None:
        """Nothing goes on in the background."""

    def _apply(self, limit: RateLimit) -> None:
        with self._lock:
            self.quota = Quota(limit, after=self.quota)

    def _ready_at(self, now: float, lane: Lane, ahead: int = 0) -> float:
        leave_reserve = lane == "bulk" and not self._bulk_is_due
        return self.quota.ready_at(max(now, self._paused_until), ahead, leave_reserve=leave_reserve)

    def _take(self, now: float, lane: Lane) -> None:
        self._interactive_run = 0 if lane == "bulk" else self._interactive_run + 1
        self.quota.take(now, lane)
        self.last_used = now

    @property
    def _bulk_is_due(self) -> bool:
        return self._interactive_run >= INTERACTIVE_RUN
