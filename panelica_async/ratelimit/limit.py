"""How many requests an API key may make, as a value."""

from math import floor, inf, isfinite, sqrt
from typing import Any, Self

import attrs

from panelica_async.catalog import TIERS
from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.rules import NORMAL, RECORD, Rule, SlidingLog, SlowStart, TokenBucket

__all__ = ["RateLimit"]

# The default tier of a key, and the slowest (evidence: tiers).
_FALLBACK_TIER = "starter"

# Guess: the burst is known for one tier alone, professional, with 50 at 300 a minute (evidence: tiers). The
# others get the same share.
_MINUTE_RATE_PER_BURST = 6


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise ValueError(f"{attribute.name}: must be a positive number, or None for no limit, not {value!r}")


def _whole(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not isinstance(value, int):
        raise ValueError(f"{attribute.name}: must be a whole number, not {value!r}")


def _share(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{attribute.name}: must be above 0 and at most 1, not {value!r}")


@attrs.frozen(kw_only=True)
class RateLimit:
    """What an API key may send. Without arguments: everything.

    Raises:
        ValueError: A number is not positive, `share` is above 1, `burst` is not whole, or `burst` is given
            without `per_minute`.
    """

    per_minute: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any minute; None for no limit."""
    per_hour: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any hour; None for no limit."""
    burst: int | None = attrs.field(default=None, validator=[_positive, _whole])
    """Requests at once, before the pace of `per_minute` applies; None when it is not known."""
    share: float = attrs.field(default=1.0, validator=_share)
    """The part of all this that may be used here, above 0 and at most 1: 0.5 for each of two processes."""

    def __attrs_post_init__(self) -> None:
        if self.burst is not None and self.per_minute is None:
            raise ValueError("burst: needs per_minute, the pace at which it comes back")

    @classmethod
    def unlimited(cls) -> Self:
        """Return the limit of a key that has none."""
        return cls()

    @classmethod
    def for_tier(cls, name: str, *, share: float = 1.0) -> Self:
        """Return the limit of a tier, such as `professional`; case does not matter.

        A name that is not known counts as `starter`, the slowest.

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

    def __str__(self) -> str:
        minute = "any number" if self.per_minute is None else f"{self.per_minute:g}"
        hour = "" if self.per_hour is None else f" and {self.per_hour:g} an hour"
        share = "" if self.share == 1 else f" (a share of {self.share:.0%})"
        return f"{minute} a minute{hour}{share}"

    @property
    def burst_or_guess(self) -> int | None:
        """The burst, or a cautious guess from the minute rate; None when there is no minute rate."""
        if self.burst is not None or self.per_minute is None:
            return self.burst
        return max(1, int(self.per_minute / _MINUTE_RATE_PER_BURST))


__all__ = [
    "BURST_SHARE",
    "DELAY_SPREAD",
    "IRREGULARITY",
    "LARGEST_RESERVE",
    "LATELY",
    "RECHECK",
    "Quota",
    "QuotaLeft",
    "interactive_reserve",
]

# Seconds by which the delays on the way to the panel may differ. Windows are longer by this. In
# simulations with delays of up to 0.5 s, nothing was refused.
DELAY_SPREAD = 0.6

# Share of the burst that is used. In the same simulations 50 of 50 had refusals, 45 of 50 had none.
BURST_SHARE = 0.9

_MINUTE = 60.0
_HOUR = 3600.0


# What the bulk lane leaves to the interactive one even when that was idle: this share of a window, and of the
# burst, but at least one token. It costs a launch less than one per cent, and nothing of a window of fewer than 150.
_WINDOW_RESERVE = 1 / 150
_BURST_RESERVE = 1 / 20

LATELY = 20.0
"""Seconds that tell the pace of the interactive lane, when it is higher than that of the last minute."""

LARGEST_RESERVE = 4 / 5
"""Share of the minute that bulk leaves at most: a fifth is guaranteed to it."""

IRREGULARITY = 1.5
"""Roots of the usual number of interactive requests that bulk leaves beyond that number. More would make web requests
wait less, and leave more than a twentieth of the quota unused."""

RECHECK = 1.0
"""Seconds after which bulk work looks again whether the interactive lane has become quieter."""


def interactive_reserve(count: int, least: int, in_window: int, lately: int) -> int:
    """Return how many places of the minute bulk leaves to the interactive lane.

    Bulk may use what the interactive lane leaves at its pace of the last minute, or of the last seconds when that is
    higher. What the lane has used already is not left a second time.

    Args:
        count: Permits of the minute.
        least: What is left even to an idle lane.
        in_window: Interactive requests in the window.
        lately: Interactive requests of the last seconds.
    """
    expected = max(in_window, lately * _MINUTE / LATELY)
    # Requests come irregularly: their number differs from minute to minute by about its root.
    left = min(count * LARGEST_RESERVE, expected + IRREGULARITY * sqrt(expected) + least)
    return max(0, int(left) - in_window)


def _log(limit: float | None, share: float, period: float) -> SlidingLog:
    if limit is None:
        return SlidingLog(RECORD, period)
    # Less than one request in a period is one in a longer period.
    count = max(1, floor(limit * share))
    period = period * max(1.0, 1 / (limit * share)) + DELAY_SPREAD
    return SlidingLog(count, period, reserve=int(count * _WINDOW_RESERVE))


def _bucket(limit: RateLimit, recovery: SlowStart) -> TokenBucket:
    if limit.per_minute is None or limit.burst_or_guess is None:
        return TokenBucket(inf, 1, recovery=recovery)
    rate = limit.per_minute * limit.share / _MINUTE
    burst = limit.burst_or_guess * limit.share
    # A small burst needs more than a tenth: a burst that is held up arrives together with what the pace adds
    # meanwhile.
    size = max(1, floor(min(burst * BURST_SHARE, burst - rate * DELAY_SPREAD)))
    return TokenBucket(rate, size, reserve=min(size - 1, max(1, int(size * _BURST_RESERVE))), recovery=recovery)


@attrs.frozen(kw_only=True)
class QuotaLeft:
    """How many requests may still be sent in the windows that end now; None where nothing is limited."""

    minute: int | None
    hour: int | None


class Quota:
    """The rules of a limit, all of which must agree.

    How the panel counts is not known (evidence: quota-counting): with a token bucket, in windows that start on the
    minute, or in sliding ones. So a bucket and logs apply together, which suits all three. A bucket alone lets the
    burst and a minute's worth of its pace into the same minute; a log alone sends a minute's requests at once.

    The panel counts a request on arrival, the client when it leaves. Requests can arrive closer together than they
    left, by as much as their delays differ. The margins above make up for that, at about one per cent of the
    throughput.

    Args:
        limit: What the key may send.
        after: The quota that applied before; what was sent under it counts.
    """

    def __init__(self, limit: RateLimit, *, after: "Quota | None" = None) -> None:
        self.limit = limit
        self.minute: SlidingLog = _log(limit.per_minute, limit.share, _MINUTE)
        self.least_reserve: int = self.minute.reserve
        self.hour: SlidingLog = _log(limit.per_hour, limit.share, _HOUR)
        self.bucket: TokenBucket = _bucket(limit, NORMAL if after is None else after.bucket.recovery)
        self.interactive: SlidingLog = SlidingLog(RECORD, _MINUTE) if after is None else after.interactive
        self._rules: list[Rule] = [self.bucket]
        if limit.per_minute is not None:
            self._rules.append(self.minute)
        if limit.per_hour is not None:
            self._rules.append(self.hour)
        if after is not None:
            self.minute.extend(after.minute.instants())
            self.hour.extend(after.hour.instants())
            for instant in after.minute.instants()[-RECORD:]:
                self.bucket.take(instant)

    def ready_at(self, now: float, ahead: int = 0, *, leave_reserve: bool = False) -> float:
        """Return the earliest instant, `now` or later, for a request that lets `ahead` others go first.

        It is exact for the next request. For later ones it is what the strictest rule says alone, which
        is too early where rules take turns: by a few per cent for up to an hour's worth of requests.

        Args:
            now: The present instant.
            ahead: How many go first.
            leave_reserve: Whether the reserve of the interactive lane must be left untouched.
        """
        ready = now
        if leave_reserve:
            self.minute.reserve = self.reserve(now)
        for rule in self._rules:
            instant = rule.ready_at(now, ahead + rule.reserve if leave_reserve else ahead)
            if instant > ready:
                ready = instant
        return ready

    def reserve(self, now: float) -> int:
        """Return how many places of the minute bulk leaves to the interactive lane."""
        return interactive_reserve(
            self.minute.count,
            self.least_reserve,
            self.interactive.since(now - self.minute.period),
            self.interactive.since(now - LATELY),
        )

    def left(self, now: float) -> QuotaLeft:
        """Return what is left in the windows that end at `now`."""
        return QuotaLeft(
            minute=None if self.limit.per_minute is None else self.minute.count - self.minute.used(now),
            hour=None if self.limit.per_hour is None else self.hour.count - self.hour.used(now),
        )

    def take(self, now: float, lane: Lane = "interactive") -> None:
        """Count a request that goes at `now`."""
        if lane == "interactive":
            self.interactive.take(now)
        self.minute.take(now)
        self.bucket.take(now)
        self.hour.take(now)

    def seed(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Count requests of the current minute and hour that the panel knows of and this quota does not.

        When they were made is not known, so they count as made just now: the cautious end. As many as the
        share of others may be theirs and do not count. However many they are, it takes one step.

        Returns:
            Whether there were any.
        """
        minute_missing = self._of_ours(minute_usage, self.limit.per_minute) - self.minute.used(now)
        hour_missing = self._of_ours(hour_usage, self.limit.per_hour) - self.hour.used(now)
        if minute_missing > 0:
            self.minute.add(now, min(minute_missing, RECORD))
            self.bucket.add(now, min(minute_missing, RECORD))
        if hour_missing > 0:
            self.hour.add(now, min(hour_missing, RECORD))
        return minute_missing > 0 or hour_missing > 0

    def slow_down(self, now: float, instant: float) -> None:
        """After a refusal, have no token at an instant, then get them at half the pace, which recovers."""
        self.bucket.slow_down(now, instant)

    def _of_ours(self, usage: int, limit: float | None) -> int:
        return usage if limit is None else usage - int(limit * (1 - self.limit.share))
