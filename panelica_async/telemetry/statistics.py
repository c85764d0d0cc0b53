"""Figures that sum up what a client did."""

from collections import deque

import attrs

from panelica_async.ratelimit.limit import QuotaLeft
from panelica_async.ratelimit.state import LimiterState

_KEPT = 1000
"""Calls whose durations count in the percentiles."""


@attrs.frozen(kw_only=True)
class Percentiles:
    """How long calls took, in seconds; half of them took at most `p50`, 90 % at most `p90`, 99 % at most `p99`."""

    p50: float
    p90: float
    p99: float


@attrs.frozen(kw_only=True)
class Statistics:
    """What a client and its variants did since they were made, and what the quota of the key allows now."""

    calls: int
    """Calls that have ended."""
    succeeded: int
    failed: int
    unknown: int
    """Writes whose fate is not known."""
    cancelled: int
    in_flight: int
    """Calls that have not ended, those that wait among them."""
    attempts: int
    """Requests that left, those that found no connection among them."""
    retries: int
    """Attempts that were repeated."""
    throttled: int
    """Attempts that the panel refused with 429."""
    waited: float
    """Seconds all calls together waited for quota."""
    duration: Percentiles | None
    """Durations of the last 1,000 calls, waits included; None before the first has ended."""
    quota: QuotaLeft
    """What the key may still send now: `left` of the limiter."""
    limiter: LimiterState
    """The limit in force, who waits for it, and whether the quota is shared."""
    retries_left: int
    """Retries that the budget of the client still pays for, 100 at most."""


class Tally:
    """Counts while a client works; each count is that of `Statistics`."""

    __slots__ = ("attempts", "durations", "in_flight", "outcomes", "retries", "throttled", "waited")

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.attempts: int = 0
        self.retries: int = 0
        self.throttled: int = 0
        self.waited: float = 0.0
        self.outcomes: dict[str, int] = dict.fromkeys(("succeeded", "failed", "unknown", "cancelled"), 0)
        self.durations: deque[float] = deque(maxlen=_KEPT)

    def summary(self, limiter: LimiterState, retries_left: int) -> Statistics:
        """Return the figures as they are now."""
        return Statistics(
            calls=sum(self.outcomes.values()),
            **self.outcomes,
            in_flight=self.in_flight,
            attempts=self.attempts,
            retries=self.retries,
            throttled=self.throttled,
            waited=self.waited,
            duration=_percentiles(sorted(self.durations)),
            quota=limiter.left,
            limiter=limiter,
            retries_left=retries_left,
        )


def _percentiles(ordered: list[float]) -> Percentiles | None:
    if not ordered:
        return None
    # The nearest rank: the least value that so many do not exceed.
    p50, p90, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 90, 99))
    return Percentiles(p50=p50, p90=p90, p99=p99)
