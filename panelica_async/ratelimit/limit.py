"""What an API key may send, as values, and the rules that follow from it."""

from collections.abc import Mapping
from math import floor, inf, isfinite
from typing import Any, Literal, Self, TypeAlias

import attrs

from panelica_async.catalog import TIERS
from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.rules import NORMAL, RECORD, RuleSet, SlidingLog, SlowStart, TokenBucket

__all__ = ["BURST_SHARE", "DELAY_SPREAD", "Coordination", "LimiterState", "Quota", "QuotaLeft", "RateLimit"]

# The default tier of a key, and the slowest (evidence: tiers).
_FALLBACK_TIER = "starter"

# Guess: the burst is known for one tier only, professional, with 50 at 300 a minute (evidence: tiers). The others get
# the same share.
_MINUTE_RATE_PER_BURST = 6

DELAY_SPREAD = 0.6
"""Seconds by which the delays on the way to the panel may differ; windows are longer by this. In simulations with
delays of up to 0.5 s, the server refused nothing."""

BURST_SHARE = 0.9
"""Share of the burst that is used. In the same simulations, the server refused requests at 50 of 50, none at 45 of
50."""

# What the bulk lane leaves to the interactive one even if that was idle: this share of a window and of the burst, at
# least one token. It costs bulk work less than one per cent, and nothing of a window of fewer than 150.
_WINDOW_RESERVE = 1 / 150
_BURST_RESERVE = 1 / 20

# Seconds by which sums of intervals may be off; without it the last token of a burst would come an instant too late.
_ROUNDING = 1e-9

_MINUTE = 60.0
_HOUR = 3600.0


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise ValueError(f"{attribute.name} must be a positive number, or None for no limit, not {value!r}")


def _whole(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not isinstance(value, int):
        raise ValueError(f"{attribute.name} must be a whole number, not {value!r}")


def _share(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{attribute.name} must be above 0 and at most 1, not {value!r}")


@attrs.frozen(kw_only=True)
class RateLimit:
    """What an API key may send; without arguments, any number of requests.

    Raises:
        ValueError: A number is not positive, `share` is above 1, `burst` is not whole, or `burst` has no `per_minute`.
    """

    per_minute: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any minute; None for no limit."""
    per_hour: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any hour; None for no limit."""
    burst: int | None = attrs.field(default=None, validator=[_positive, _whole])
    """Requests at once, before the pace of `per_minute` applies; None if unknown."""
    share: float = attrs.field(default=1.0, validator=_share)
    """The part of these limits that may be used here, above 0 and at most 1: 0.5 for each of two processes."""

    def __attrs_post_init__(self) -> None:
        if self.burst is not None and self.per_minute is None:
            raise ValueError("burst needs per_minute, the pace at which it comes back")

    @classmethod
    def unlimited(cls) -> Self:
        """Return the limit of a key without a limit."""
        return cls()

    @classmethod
    def for_tier(cls, name: str, *, share: float = 1.0) -> Self:
        """Return the limit of a tier, such as `professional`, in any case; an unknown name counts as `starter`.

        Args:
            name: Name of the tier.
            share: The part of it that may be used here, above 0 and at most 1.
        """
        tier = TIERS.get(name.lower(), TIERS[_FALLBACK_TIER])
        if tier.unlimited:
            return cls.unlimited()
        return cls(per_minute=tier.requests_per_minute, per_hour=tier.requests_per_hour, burst=tier.burst, share=share)

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self.per_minute is None and self.per_hour is None

    def is_below(self, other: "RateLimit") -> bool:
        """Return whether this limit allows fewer requests in a minute or in an hour than another."""
        minute, hour = self.per_minute or inf, self.per_hour or inf
        return minute < (other.per_minute or inf) or hour < (other.per_hour or inf)

    def own_usage(self, minute: int, hour: int) -> tuple[int, int]:
        """Return the part of the usage of a key that counts here: what exceeds the share of others.

        Args:
            minute: Requests in the current minute, as the panel counts them.
            hour: Requests in the current hour.
        """
        return (
            minute if self.per_minute is None else minute - int(self.per_minute * (1 - self.share)),
            hour if self.per_hour is None else hour - int(self.per_hour * (1 - self.share)),
        )

    def __str__(self) -> str:
        minute = "any number" if self.per_minute is None else f"{self.per_minute:g}"
        hour = "" if self.per_hour is None else f" and {self.per_hour:g} an hour"
        share = "" if self.share == 1 else f" (a share of {self.share:.0%})"
        return f"{minute} a minute{hour}{share}"

    @property
    def burst_or_guess(self) -> int | None:
        """The burst, or a cautious guess from the minute rate; None without a minute rate."""
        if self.burst is not None or self.per_minute is None:
            return self.burst
        return max(1, int(self.per_minute / _MINUTE_RATE_PER_BURST))


@attrs.frozen(kw_only=True)
class QuotaLeft:
    """How many requests may still be sent in the windows that end now; None where nothing is limited."""

    minute: int | None
    hour: int | None


Coordination: TypeAlias = Literal["none", "shared", "away"]
"""`none`: the quota is this process's own. `away`: the store does not answer, and a part of the limit applies."""


@attrs.frozen(kw_only=True)
class LimiterState:
    """The state of a limiter at one moment."""

    limit: RateLimit
    """The limit in force: the configured one, or the one that the panel named."""
    left: QuotaLeft
    """Requests that may still be sent in the windows that end now; with a coordinator, by all members, as last
    reported."""
    waiting: Mapping[Lane, int]
    """How many callers wait here, by lane."""
    oldest: Mapping[Lane, float]
    """How many seconds the first caller has waited, by lane; 0 if there is none."""
    coordination: Coordination
    """Whether the quota is shared, and whether its store answers."""


class Quota(RuleSet):
    """The rules of a limit, with the margins that keep the panel from refusing anything.

    How the panel counts is not known (evidence: quota-counting): with a token bucket, in windows that start on the
    minute, or in sliding ones. A bucket and logs together satisfy all three. A bucket alone lets the burst and a
    minute's worth of its pace into the same minute; a log alone sends a minute's requests at once.

    The panel counts a request when it arrives, the client when it leaves. Requests can arrive closer together than they
    left, by as much as their delays differ. The margins make up for that, at about one per cent of the throughput.

    Args:
        limit: What the key may send.
        after: The quota that applied before; what was sent under it counts.
    """

    def __init__(self, limit: RateLimit, *, after: "Quota | None" = None) -> None:
        super().__init__(
            bucket=_bucket(limit, NORMAL if after is None else after.bucket.slow_start),
            minute=_log(limit.per_minute, limit.share, _MINUTE),
            hour=_log(limit.per_hour, limit.share, _HOUR),
            interactive=SlidingLog(RECORD, _MINUTE, limits=False) if after is None else after.interactive,
        )
        self.limit = limit
        if after is not None:
            self.minute.extend(after.minute.instants())
            self.hour.extend(after.hour.instants())
            for instant in after.minute.instants()[-RECORD:]:
                self.bucket.take(instant)

    def left(self, now: float) -> QuotaLeft:
        """Return what is left in the windows that end at `now`."""
        return QuotaLeft(
            minute=self.minute.count - self.minute.used(now) if self.minute.limits else None,
            hour=self.hour.count - self.hour.used(now) if self.hour.limits else None,
        )


def _log(limit: float | None, share: float, period: float) -> SlidingLog:
    if limit is None:
        return SlidingLog(RECORD, period, limits=False)
    # Less than one request in a period is one in a longer period.
    count = max(1, floor(limit * share))
    period = period * max(1.0, 1 / (limit * share)) + DELAY_SPREAD
    return SlidingLog(count, period, reserve=int(count * _WINDOW_RESERVE))


def _bucket(limit: RateLimit, slow_start: SlowStart) -> TokenBucket:
    if limit.per_minute is None or limit.burst_or_guess is None:
        return TokenBucket(0.0, _ROUNDING, slow_start=slow_start)
    rate = limit.per_minute * limit.share / _MINUTE
    burst = limit.burst_or_guess * limit.share
    # A small burst needs more than a tenth: a burst that is delayed arrives together with what the pace adds meanwhile.
    size = max(1, floor(min(burst * BURST_SHARE, burst - rate * DELAY_SPREAD)))
    return TokenBucket(
        1 / rate,
        (size - 1) / rate + _ROUNDING,
        reserve=min(size - 1, max(1, int(size * _BURST_RESERVE))),
        slow_start=slow_start,
    )
