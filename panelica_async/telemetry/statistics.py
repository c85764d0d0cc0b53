"""A summary of what a client has done so far."""

from typing import TYPE_CHECKING

import attrs

from panelica_async.ratelimit.limit import LimiterState, QuotaLeft

if TYPE_CHECKING:
    from panelica_async.telemetry import Tally

__all__ = ["Percentiles", "Statistics"]


@attrs.frozen(kw_only=True)
class Percentiles:
    """How long calls took, in seconds; half of them took at most `p50`, 90 % at most `p90`, 99 % at most `p99`."""

    p50: float
    p90: float
    p99: float


@attrs.frozen(kw_only=True)
class Statistics:
    """What a client and its variants have done since it was created, and what the quota of the key allows now."""

    calls: int
    """Calls that have ended."""
    succeeded: int
    failed: int
    unknown: int
    """Writes that were sent, without a reply that shows whether the panel carried them out."""
    cancelled: int
    in_flight: int
    """Calls that have not ended, including those that wait for quota."""
    attempts: int
    """Requests that were sent or found no connection."""
    retries: int
    """Attempts that were repeated."""
    throttled: int
    """Attempts that the panel refused with 429."""
    mismatches: int
    """Optional fields of replies that did not fit their types and are therefore None."""
    waited: float
    """Seconds that all calls together waited for quota."""
    duration: Percentiles | None
    """Durations of the last 1,000 calls, waits included; None before the first has ended."""
    quota: QuotaLeft
    """Requests that the key may still send now, as in `left` of the limiter."""
    limiter: LimiterState
    """The limit in force, the queue in front of it, and whether the quota is shared."""
    retries_left: int
    """Retries left in the budget of the client, at most 100."""

    @classmethod
    def of(cls, tally: "Tally", limiter: LimiterState, retries_left: int) -> "Statistics":
        """Return the statistics of a client.

        Args:
            tally: The counts of the client.
            limiter: The state of its rate limiter.
            retries_left: Retries left in its budget.
        """
        return cls(
            calls=sum(tally.outcomes.values()),
            **{outcome.value: count for outcome, count in tally.outcomes.items()},
            in_flight=tally.in_flight,
            attempts=tally.attempts,
            retries=tally.retries,
            throttled=tally.throttled,
            mismatches=tally.mismatches,
            waited=tally.waited,
            duration=_percentiles(sorted(tally.durations)),
            quota=limiter.left,
            limiter=limiter,
            retries_left=retries_left,
        )


def _percentiles(ordered: list[float]) -> Percentiles | None:
    if not ordered:
        return None
    # Nearest rank: the lowest value that this share of the durations does not exceed.
    p50, p90, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 90, 99))
    return Percentiles(p50=p50, p90=p90, p99=p99)
