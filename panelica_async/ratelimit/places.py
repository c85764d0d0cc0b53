"""Where a limiter gets its places from: a quota of its own, here, or one it shares (`shared`)."""

import random
from collections.abc import Mapping
from typing import Protocol

from panelica_async.ratelimit.lanes import INTERACTIVE_RUN, Lane
from panelica_async.ratelimit.limits import RateLimit
from panelica_async.ratelimit.quota import Quota, QuotaLeft

__all__ = ["NOBODY", "Demand", "LocalPlaces", "Places"]

# Seconds.
_MAX_STAGGER = 1.0

Demand = Mapping[Lane, int]
"""How many wait in each lane."""
NOBODY: Demand = {"interactive": 0, "bulk": 0}


class Places(Protocol):
    """Decides who may go next, and when. Instants are seconds of the event loop's clock."""

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        ...

    def ready_at(self, now: float, lane: Lane) -> float:
        """Return when a caller may go that comes now, while nobody waits."""
        ...

    def next(self, now: float, demand: Demand) -> tuple[Lane, float]:
        """Return whose turn it is among those who wait, and when; infinite while that is being found out."""
        ...

    def expected_at(self, now: float, lane: Lane, demand: Demand) -> float:
        """Return when a caller will probably go that comes now."""
        ...

    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which surely nobody of a lane goes, as after a refusal."""
        ...

    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now, as far as is known here."""
        ...

    def take(self, now: float, lane: Lane) -> None:
        """Count a request that goes now."""
        ...

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Let nobody go for some time; after a refusal, let them go slowly at first."""
        ...

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count what the panel counted in the current minute and hour and this does not know of; tell if any."""
        ...

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on."""
        ...

    def close(self) -> None:
        """Stop whatever goes on in the background."""
        ...


class LocalPlaces:
    """The places of a quota that nobody else is known to use.

    Args:
        limit: What may be sent.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.quota: Quota = Quota(limit)
        self._paused_until = float("-inf")
        self._interactive_run = 0

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        return self.quota.limit

    def ready_at(self, now: float, lane: Lane, ahead: int = 0) -> float:
        """Return when a caller may go that comes now and lets `ahead` others go first."""
        leave_reserve = lane == "bulk" and not self._bulk_is_due
        return self.quota.ready_at(max(now, self._paused_until), ahead, leave_reserve=leave_reserve)

    def next(self, now: float, demand: Demand) -> tuple[Lane, float]:
        """Return whose turn it is among those who wait, and when."""
        lane: Lane = "bulk" if demand["bulk"] and (self._bulk_is_due or not demand["interactive"]) else "interactive"
        return lane, self.ready_at(now, lane)

    def expected_at(self, now: float, lane: Lane, demand: Demand) -> float:
        """Return when a caller will go that comes now, if nobody comes later and overtakes it."""
        ahead = demand["interactive"]
        ahead += demand["bulk"] if lane == "bulk" else min(demand["bulk"], ahead // INTERACTIVE_RUN)
        return self.ready_at(now, lane, ahead)

    def opens_at(self, lane: Lane) -> float:  # noqa: ARG002  a pause holds both lanes
        """Return the end of the pause."""
        return self._paused_until

    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now."""
        return self.quota.left(now)

    def take(self, now: float, lane: Lane) -> None:
        """Count a request that goes now."""
        self._interactive_run = 0 if lane == "bulk" else self._interactive_run + 1
        self.quota.take(now)

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Let nobody go for some time; after a refusal, let them go slowly at first."""
        self._paused_until = max(self._paused_until, now + seconds)
        if refused:
            # Other processes were told the same wait: they should not all begin in the same instant.
            stagger = random.uniform(0, _MAX_STAGGER)  # noqa: S311  spreads load, keeps no secret
            self.quota.slow_down(now, self._paused_until + stagger)

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count what the panel counted and this does not know of; tell if there was any."""
        return self.quota.seed(now, minute_usage=minute_usage, hour_usage=hour_usage)

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on."""
        self.quota = Quota(limit, after=self.quota)

    def close(self) -> None:
        """Nothing goes on in the background."""

    @property
    def _bulk_is_due(self) -> bool:
        return self._interactive_run >= INTERACTIVE_RUN
