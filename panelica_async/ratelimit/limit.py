"""The limit of a key, the rules it becomes, and how replies correct it; `core.error_replies` reads waits."""

from collections.abc import Mapping
from math import floor, inf, isfinite
from typing import Any, Literal, Self, TypeAlias, TypeGuard

import attrs
from multidict import istr

from panelica_async.catalog import TIERS
from panelica_async.core.values import read_number
from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.rules import (
    HOUR,
    MAX_RECORDED,
    MINUTE,
    NORMAL_PACE,
    RuleSet,
    SlidingLog,
    SlowStart,
    TokenBucket,
)

__all__ = [
    "BURST_SHARE",
    "DELAY_SPREAD",
    "MAX_WAIT",
    "UNNAMED_WAIT",
    "Coordination",
    "Feedback",
    "LimiterState",
    "Quota",
    "QuotaLeft",
    "RateLimit",
    "is_count",
    "read_feedback",
]

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

# The shares of a window and of the burst (at least one token) that bulk leaves even to an idle interactive lane. They
# cost bulk work less than one per cent, and nothing of a window of fewer than 150.
_WINDOW_RESERVE = 1 / 150
_BURST_RESERVE = 1 / 20

# Seconds by which sums of intervals may be off; without this margin, the last token of a burst would come too late.
_ROUNDING = 1e-9


def _check_positive(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise ValueError(f"{attribute.name} must be a positive number, or None for no limit, not {value!r}")


def _check_whole(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not isinstance(value, int):
        raise ValueError(f"{attribute.name} must be a whole number, not {value!r}")


def _check_share(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{attribute.name} must be above 0 and at most 1, not {value!r}")


@attrs.frozen(kw_only=True)
class RateLimit:
    """What an API key may send; without arguments, any number of requests.

    Raises:
        ValueError: A number is not positive, `share` is above 1, `burst` is not whole, or `burst` has no `per_minute`.
    """

    per_minute: float | None = attrs.field(default=None, validator=_check_positive)
    """Requests in any minute; None for no limit."""
    per_hour: float | None = attrs.field(default=None, validator=_check_positive)
    """Requests in any hour; None for no limit."""
    burst: int | None = attrs.field(default=None, validator=[_check_positive, _check_whole])
    """Requests at once, before the pace of `per_minute` applies; None if unknown."""
    share: float = attrs.field(default=1.0, validator=_check_share)
    """The part of these limits that may be used here, above 0 and at most 1; 0.5 for each of two processes."""

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
        if not isinstance(name, str):
            raise ValueError(f"name must be the name of a tier, such as 'professional', not {name!r}")  # noqa: TRY004
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
        """Return how much of the usage of a key counts here: what exceeds the share of the others.

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
    """Requests that may still be sent in the windows that end now; with a coordinator, by all members together, as last
    reported."""
    waiting: Mapping[Lane, int]
    """How many callers wait here, by lane."""
    oldest: Mapping[Lane, float]
    """How many seconds the first caller has waited, by lane; 0 if there is none."""
    coordination: Coordination
    """Whether the quota is shared, and whether its store answers."""


class Quota(RuleSet):
    """The rules of a limit, with margins so that the panel refuses nothing.

    It is unknown how the panel counts (evidence: quota-counting): with a token bucket, in windows that start on the
    minute, or in sliding windows. A bucket and logs together satisfy all three. A bucket alone would allow the burst
    and a minute's worth of its pace in the same minute; a log alone would send a minute's requests at once.

    The panel counts a request when it arrives, the client when it is sent. Requests can arrive closer together than
    they were sent, by as much as their delays differ. The margins allow for that, and cost about one per cent of the
    throughput.

    Args:
        limit: What the key may send.
        after: The quota that applied before; requests sent under it count.
    """

    def __init__(self, limit: RateLimit, *, after: "Quota | None" = None) -> None:
        super().__init__(
            bucket=_token_bucket(limit, NORMAL_PACE if after is None else after.bucket.slow_start),
            minute=_window_log(limit.per_minute, limit.share, MINUTE),
            hour=_window_log(limit.per_hour, limit.share, HOUR),
            interactive=SlidingLog(MAX_RECORDED, MINUTE, is_limit=False) if after is None else after.interactive,
        )
        self.limit = limit
        if after is not None:
            self.minute.extend(after.minute.instants())
            self.hour.extend(after.hour.instants())
            for instant in after.minute.instants()[-MAX_RECORDED:]:
                self.bucket.take(instant)

    def left(self, now: float) -> QuotaLeft:
        """Return what is left in the windows that end at `now`."""
        return QuotaLeft(
            minute=self.minute.count - self.minute.used(now) if self.minute.is_limit else None,
            hour=self.hour.count - self.hour.used(now) if self.hour.is_limit else None,
        )


def _window_log(limit: float | None, share: float, period: float) -> SlidingLog:
    if limit is None:
        return SlidingLog(MAX_RECORDED, period, is_limit=False)
    # A limit of less than one request in a period becomes one request in a longer period.
    count = max(1, floor(limit * share))
    period = period * max(1.0, 1 / (limit * share)) + DELAY_SPREAD
    return SlidingLog(count, period, reserve=int(count * _WINDOW_RESERVE))


def _token_bucket(limit: RateLimit, slow_start: SlowStart) -> TokenBucket:
    if limit.per_minute is None or limit.burst_or_guess is None:
        return TokenBucket(0.0, _ROUNDING, slow_start=slow_start)
    rate = limit.per_minute * limit.share / MINUTE
    burst = limit.burst_or_guess * limit.share
    # For a small burst, a tenth is not enough: a delayed burst arrives together with the requests that follow it.
    size = max(1, floor(min(burst * BURST_SHARE, burst - rate * DELAY_SPREAD)))
    return TokenBucket(
        1 / rate,
        (size - 1) / rate + _ROUNDING,
        reserve=min(size - 1, max(1, int(size * _BURST_RESERVE))),
        slow_start=slow_start,
    )


_TOO_MANY_REQUESTS = 429
# Guess: the names for the hour are like those for the minute (evidence: rate-limit-reply). With an `istr`, aiohttp's
# headers need not fold the case.
_MINUTE_LIMIT, _HOUR_LIMIT = istr("X-RateLimit-Limit-Minute"), istr("X-RateLimit-Limit-Hour")
_MINUTE_REMAINING, _HOUR_REMAINING = istr("X-RateLimit-Remaining-Minute"), istr("X-RateLimit-Remaining-Hour")
_NOT_STATED = (None, None, None, None)

MAX_WAIT = HOUR
"""Seconds; a longer wait is cut to this, the longest window."""

# Seconds. Without a refusal, only the minute is used up, and its window ends within this time.
_MAX_RESET_WAIT = MINUTE

UNNAMED_WAIT = MINUTE
"""Seconds. Guess: a 429 that names no wait is about the minute, the shortest window (evidence: rate-limit-reply)."""

# More than any panel allows; the largest known limit is 10,000 an hour.
_MAX_COUNT = 1_000_000


@attrs.frozen(kw_only=True)
class Feedback:
    """What one reply says about the quota."""

    refused: bool
    """Whether the request exceeded the limit."""
    wait: float
    """Seconds until the panel accepts requests again; only meaningful if it accepts none now."""
    minute_limit: int | None
    hour_limit: int | None
    minute_remaining: int | None
    hour_remaining: int | None

    @property
    def is_used_up(self) -> bool:
        """Whether the minute has no requests left."""
        return self.minute_remaining == 0

    def corrected(self, limit: RateLimit, configured: RateLimit, *, may_rise: bool) -> RateLimit:
        """Return a limit with the numbers of the panel; a burst is dropped with the minute rate that it belongs to.

        Args:
            limit: The limit in force.
            configured: The limit that was set.
            may_rise: Whether the panel may lift the limit above that.
        """
        minute, hour = self.minute_limit, self.hour_limit
        if minute is not None:
            if minute == configured.per_minute or (minute > (configured.per_minute or minute) and not may_rise):
                limit = attrs.evolve(limit, per_minute=configured.per_minute, burst=configured.burst)
            elif minute != limit.per_minute:
                limit = attrs.evolve(limit, per_minute=minute, burst=None)
        if hour is not None:
            limit = attrs.evolve(limit, per_hour=hour if may_rise else min(hour, configured.per_hour or hour))
        return limit

    def usage(self, limit: RateLimit) -> tuple[int, int]:
        """Return how many requests the panel counted in the current minute and hour; 0 if it does not say."""
        return (
            _used_requests(self.minute_limit or limit.per_minute, self.minute_remaining),
            _used_requests(self.hour_limit or limit.per_hour, self.hour_remaining),
        )


def read_feedback(
    status: int,
    headers: Mapping[str, str],
    *,
    retry_after: float | None = None,
    limit: float | None = None,
    window: str | None = None,
) -> Feedback | None:
    """Return what a reply says about the quota; None if it says nothing. Implausible numbers are ignored.

    It is unknown whether replies other than refusals have these headers (evidence: rate-limit-reply).

    Args:
        status: HTTP status.
        headers: Headers of the reply.
        retry_after: Seconds to wait, if the caller has read them from the reply.
        limit: `limit` in the body of a refusal.
        window: `window` in the body of a refusal.
    """
    refused = status == _TOO_MANY_REQUESTS
    texts = (
        headers.get(_MINUTE_LIMIT),
        headers.get(_HOUR_LIMIT),
        headers.get(_MINUTE_REMAINING),
        headers.get(_HOUR_REMAINING),
    )
    if not refused and texts == _NOT_STATED:
        return None
    minute_limit, hour_limit = _read_count(texts[0], 1), _read_count(texts[1], 1)
    # Guess: a limit of 0 or less means no limit; then "0 remaining" says nothing either.
    minute_remaining = None if _states_no_limit(texts[0]) else _read_count(texts[2], 0)
    hour_remaining = None if _states_no_limit(texts[1]) else _read_count(texts[3], 0)
    if refused and is_count(limit, 1):
        if window == "minute":
            minute_limit = int(limit)
        elif window == "hour":
            hour_limit = int(limit)
    if not refused and (minute_limit, hour_limit, minute_remaining, hour_remaining) == _NOT_STATED:
        return None
    return Feedback(
        refused=refused,
        wait=_stated_wait(headers, retry_after, refused=refused) if refused or minute_remaining == 0 else 0.0,
        minute_limit=minute_limit,
        hour_limit=hour_limit,
        minute_remaining=minute_remaining,
        hour_remaining=hour_remaining,
    )


def _used_requests(limit: float | None, remaining: int | None) -> int:
    return 0 if limit is None or remaining is None else max(0, int(limit) - remaining)


def _stated_wait(headers: Mapping[str, str], retry_after: float | None, *, refused: bool) -> float:
    wait = retry_after
    if wait is None:
        from panelica_async.core.error_replies import read_report  # noqa: PLC0415 - few replies are errors

        # A reply with nothing remaining states its reset in the headers of a refusal.
        wait = read_report(_TOO_MANY_REQUESTS, headers, b"").retry_after
    if wait is None or not 0 <= wait < inf:
        return UNNAMED_WAIT
    return min(wait, MAX_WAIT if refused else _MAX_RESET_WAIT)


def _read_count(text: str | None, least: int) -> int | None:
    if text is None:
        return None
    number = read_number(text)
    return int(number) if is_count(number, least) else None


def _states_no_limit(text: str | None) -> bool:
    return text is not None and (text.strip() == "0" or text.strip().startswith("-"))


def is_count(number: object, least: int) -> TypeGuard[float]:
    """Return whether a value is a plausible number of requests, at least `least`."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        return False
    return least <= number <= _MAX_COUNT and number % 1 == 0
