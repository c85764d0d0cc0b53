"""The interface of coordinators: how limiters reserve permits, a few at a time, from one shared quota.

A permit is an instant at which one request may go. The store grants permits in the order of the requests and counts
each as sent, so that a member need not return any: the permits of a killed member expire with the window.

- *Fair*: a member reserves again when its permits are used, so all waiting members take turns. While both lanes wait,
  an interactive member gets `BATCH` permits and a bulk member one, the same fifth as within a limiter.
- *Lanes*: bulk leaves a reserve (`rules.interactive_reserve`) that follows what the interactive lanes of all members
  use, so that an interactive member gets earlier permits than bulk members that came before it.
- *Quiet*: a member that gets no permit yet learns when to ask again. No member asks while no caller waits.
- *Memory*: a store that lost its memory grants a member nothing until the member has reported what it sent.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import MAX_WAIT, Quota, is_count
from panelica_async.ratelimit.rules import RECHECK_INTERVAL, RuleSet

__all__ = [
    "ANSWER_TIMEOUT",
    "BATCH",
    "LATENESS",
    "LOOKAHEAD",
    "MAX_COUNTED",
    "MAX_LEAD",
    "MAX_MEMBERS",
    "MEMBER_TTL",
    "Coordinator",
    "Reservation",
    "ReserveRequest",
    "SharedLimit",
    "grant",
    "group_ages",
    "quota_name",
    "validate_reservation",
]

BATCH = 4
"""Permits in one reservation, at most."""

LOOKAHEAD = 0.4
"""How many seconds ahead the permits of all members of a lane together reach, unless each has only one, or the pace is
slow after a refusal. The reserve of the burst covers about the same time, so interactive permits come first."""

MAX_LEAD = 5.0
"""How far ahead, in seconds, a permit may be reserved; less for bulk. Beyond that, the member learns when to retry."""

MEMBER_TTL = 1.0
"""Seconds after its last permit for which a member counts as waiting, unless it reserves again."""

LATENESS = 0.4
"""Seconds after its instant during which a permit can still be used, because event loops and stores are sometimes late.
Windows are longer by this."""

ANSWER_TIMEOUT = 4.0
"""Seconds that a limiter waits for an answer of the store, before it counts as away. A new connection takes four round
trips, even of 0.8 s each, and callers should not wait for more than five seconds."""

MAX_COUNTED = 60_000
"""Most requests in a window that a store counts, 1,000 a minute for an hour: a larger window is treated as one of this
size. This bounds the memory of a store, and the work for a report of what was sent in the last hour."""

MAX_MEMBERS = 1000
"""Most members of a quota, far more than share any key: with more, the part of each during an outage would be next to
nothing. A store with more has names that no member wrote, and forgets them all."""

# Seconds by which the numbers of a store may be off.
_ROUNDING = 1e-3

# Seconds for which requests are reported by the second: somewhat more than the window of a minute.
_BY_THE_SECOND = 65.0


@attrs.frozen(kw_only=True)
class SharedLimit:
    """The rules of a quota as plain numbers, margins included; a count of 0 is no limit, and 60,000 the largest.

    The reserves are what bulk leaves even to an idle interactive lane.
    """

    interval: float
    """Seconds in which a token comes back."""
    tolerance: float
    """Seconds by which requests may come early: the burst, less one, in intervals."""
    token_reserve: int = 0
    minute_count: int
    minute_period: float
    minute_reserve: int = 0
    hour_count: int
    hour_period: float
    hour_reserve: int = 0

    @classmethod
    def of(cls, quota: Quota) -> "SharedLimit":
        """Return the rules of a quota; windows of more than `MAX_COUNTED` requests are cut to that number."""
        bucket, minute, hour = quota.bucket, quota.minute, quota.hour
        return cls(
            interval=bucket.interval,
            tolerance=bucket.tolerance,
            token_reserve=bucket.reserve,
            minute_count=min(minute.count, MAX_COUNTED) if minute.is_limit else 0,
            minute_period=minute.period + LATENESS,
            minute_reserve=minute.reserve,
            hour_count=min(hour.count, MAX_COUNTED) if hour.is_limit else 0,
            hour_period=hour.period + LATENESS,
            hour_reserve=hour.reserve,
        )


@attrs.frozen(kw_only=True)
class ReserveRequest:
    """What a member reports to the store, and how many permits it wants."""

    member: str
    """A name that no other member has."""
    store: str = ""
    """Name of the store's memory as the member knows it; empty in its first request."""
    lane: Lane = "interactive"
    limit: SharedLimit
    wanted: int = 0
    scale: int = 1
    """How many times the usual number of permits one reservation may have, because answers take long."""
    pause: float = 0.0
    """Seconds from now in which no request may go."""
    refused: bool = False
    """Whether the pause follows a refusal."""
    minute_usage: int = 0
    """Requests in this minute as the panel counts them."""
    hour_usage: int = 0
    """Requests in this hour as the panel counts them."""
    unrecorded: tuple[tuple[float, int], ...] = ()
    """Requests that the store has not recorded: how many seconds ago, and how many; the oldest first."""


@attrs.frozen(kw_only=True)
class Reservation:
    """The answer of the store."""

    delays: tuple[float, ...]
    """Seconds from now at which the member may send one request each, in order."""
    opens_in: float
    """Seconds from now before which no request goes; 0 if there are permits."""
    retry_in: float
    """Seconds from now after which to ask again if there are no permits."""
    members: int
    """How many members wait or have permits, this one included."""
    store: str
    """Name of the store's memory. A new name means that it forgot everything."""
    minute_used: int = 0
    """Requests in the minute that ends now, of all members."""
    hour_used: int = 0
    """Requests in the hour that ends now, of all members."""
    interactive_used: int = 0
    """Requests of the interactive lane in the minute that ends now, of all members."""


class Coordinator(Protocol):
    """A store from which the limiters of one quota reserve permits."""

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Record what the member reports, and grant it permits.

        If it raises, takes longer than `ANSWER_TIMEOUT`, or returns implausible numbers, the limiter continues with a
        part of the limit until the store answers again.
        """
        ...


def quota_name(key: str) -> str:
    """Return the name under which a store keeps the quota of an API key: a digest of the key.

    Raises:
        ConfigurationError: The key is empty or not a string, such as a setting that is missing.
    """
    if not isinstance(key, str) or not key:
        got = type(key).__name__ if key else "empty"
        raise ConfigurationError(f"key must be an API key, not {got}", hint="Pass the api_key of the client.")
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def grant(
    rules: RuleSet, request: ReserveRequest, *, now: float, paused_until: float, peers: int, rivals: int
) -> tuple[tuple[float, ...], float, float]:
    """Take the permits of one reservation, and return its `delays`, `opens_in` and `retry_in`.

    All stores decide like this; `reserve.lua` repeats the function.

    Args:
        rules: The quota; the permits count as sent.
        request: What the member wants.
        now: The present instant.
        paused_until: The instant before which no request goes.
        peers: How many other members wait in the same lane.
        rivals: How many wait in the other lane.
    """
    is_bulk = request.lane == "bulk"
    batch = _batch_size(request, rules.bucket.interval, peers, rivals)
    opens_at = max(now, paused_until)
    lead = MAX_LEAD
    if is_bulk and not rivals:
        # An interactive caller cannot use what bulk has reserved ahead of it. But if one permit of each member reaches
        # further, a member must be able to reserve behind the others, or it would always come too late.
        pace = rules.bucket.slow_start.interval(opens_at, rules.bucket.interval)
        lead = min(MAX_LEAD, max(LOOKAHEAD * request.scale, (peers + 1) * batch * pace))
    first = permit = rules.ready_at(opens_at, leave_reserve=is_bulk)
    delays: list[float] = []
    while len(delays) < min(batch, request.wanted) and permit <= now + lead:
        delays.append(permit - now)
        rules.take(permit, request.lane)
        permit = rules.ready_at(opens_at, leave_reserve=is_bulk)
    retry_in = 0.0 if delays else max(0.0, first - now - lead / 2)
    if is_bulk and rules.has_raised_reserve(opens_at):
        retry_in = min(retry_in, max(RECHECK_INTERVAL, paused_until - now))
    return tuple(delays), first - now, retry_in


def _batch_size(request: ReserveRequest, interval: float, peers: int, rivals: int) -> int:
    """Return how many permits a reservation may have, so that all waiting members take turns."""
    batch = BATCH * request.scale
    if rivals and request.lane == "bulk":
        batch = request.scale
    elif interval and not rivals:
        batch = max(1, min(batch, int(LOOKAHEAD * request.scale / interval / (peers + 1))))
    return batch


def validate_reservation(reservation: Reservation, limit: SharedLimit) -> Reservation:
    """Return a reservation if its numbers are plausible.

    Args:
        reservation: The answer of any store.
        limit: The limit of the request.

    Raises:
        ValueError: The store, or its memory, is broken.
    """
    longest_wait = max(MAX_WAIT, limit.minute_period, limit.hour_period) + limit.interval + limit.tolerance + MAX_LEAD
    for seconds in (reservation.opens_in, reservation.retry_in, *reservation.delays):
        if not 0 <= seconds + _ROUNDING <= longest_wait:
            raise ValueError(f"the wait must be between 0 and {longest_wait:.0f} s, not {seconds:g} s")
    if not 0 <= reservation.members <= MAX_MEMBERS:
        raise ValueError(f"members must be at most {MAX_MEMBERS}, not {reservation.members}")
    for used in (reservation.minute_used, reservation.hour_used, reservation.interactive_used):
        if not is_count(used, 0):
            raise ValueError(f"the number of requests used must be a plausible count, not {used}")
    return reservation


def group_ages(ages: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """Return ages in the groups of a report: by the second in the last minute, by the minute before that.

    Args:
        ages: Seconds since each request, the oldest first.
    """
    groups: dict[tuple[bool, int], tuple[float, int]] = {}
    for age in ages:
        is_recent = age < _BY_THE_SECOND
        group = is_recent, int(age if is_recent else age / _BY_THE_SECOND)
        _, count = groups.get(group, (age, 0))
        groups[group] = (age, count + 1)  # a group has the age of its youngest request, to be cautious
    return tuple(groups.values())
