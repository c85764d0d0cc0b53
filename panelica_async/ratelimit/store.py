"""How several limiters share one quota: each claims a few places at a time from a common store.

A place is an instant at which one request may go. The store hands them out in the order of the claims and
counts each as sent, so nothing has to be given back: what a killed member held leaves with the window.

- *Fair*: a member claims again when its places are used, so all that wait take turns. While both lanes wait,
  interactive members claim `BATCH` places and bulk ones one, the same fifth as within a limiter.
- *Lanes*: bulk leaves a reserve free (`quota`), which follows what the interactive lanes of all members use, so an
  interactive claim gets an earlier place than bulk claims that were there before it.
- *Quiet*: a member that can have no place yet learns when to ask again. No member asks while no caller waits.
- *Memory*: a store that has forgotten everything gives a member no place before that has reported what it sent.
"""

from collections.abc import Sequence
from typing import Protocol

import attrs

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import Quota

__all__ = [
    "BATCH",
    "LATENESS",
    "LOOKAHEAD",
    "MAX_LEAD",
    "MEMBER_TTL",
    "Coordinator",
    "Reservation",
    "ReserveRequest",
    "SharedLimit",
    "grouped_ages",
]

BATCH = 4
"""Permits in one claim, at most."""

LOOKAHEAD = 0.4
"""Seconds that the places claimed by all members of a lane together reach ahead, unless each has but one. The
reserve of the burst is about as much, so interactive claims come before these places."""

MAX_LEAD = 5.0
"""Seconds an interactive place may lie ahead, a bulk one less. For a later one the member has to ask again."""

MEMBER_TTL = 1.0
"""Seconds after its last place at which a member that has not claimed again no longer counts as waiting."""

LATENESS = 0.4
"""Seconds after its instant at which a place can still be used: event loops and stores are late at times.
Windows are longer by this."""

# Seconds: somewhat more than the window of a minute, whose places are counted one by one.
_RECENT = 65.0


@attrs.frozen(kw_only=True)
class SharedLimit:
    """The rules of a quota as plain numbers, margins and reserve included; a count of 0 is no limit."""

    interval: float
    """Seconds in which a token comes back."""
    tolerance: float
    """Seconds by which requests may come early: the burst, less one, in intervals."""
    minute_count: int
    minute_period: float
    hour_count: int
    hour_period: float
    minute_reserve: int = 0
    """Permits of the minute that bulk leaves even to an interactive lane that was idle."""

    @classmethod
    def of(cls, quota: Quota, lane: Lane) -> "SharedLimit":
        """Return the rules of a quota for a lane."""
        limit, bucket, minute, hour = quota.limit, quota.bucket, quota.minute, quota.hour
        bulk = lane == "bulk"
        return cls(
            interval=bucket.interval,
            tolerance=bucket.tolerance - bucket.reserve * bucket.interval * bulk,
            minute_count=0 if limit.per_minute is None else minute.count,
            minute_period=minute.period + LATENESS,
            hour_count=0 if limit.per_hour is None else hour.count - hour.reserve * bulk,
            hour_period=hour.period + LATENESS,
            minute_reserve=quota.least_reserve * bulk,
        )


@attrs.frozen(kw_only=True)
class ReserveRequest:
    """What a member tells the store, and how many places it wants."""

    member: str
    """A name of its own."""
    store: str = ""
    """Name of the store's memory as the member knows it; empty when it asks for the first time."""
    lane: Lane = "interactive"
    limit: SharedLimit
    wanted: int = 0
    scale: int = 1
    """How many times as many places as usual one claim may have, because an answer takes long."""
    pause: float = 0.0
    """Seconds for which nobody may go, from now."""
    refused: bool = False
    """Whether the pause answers a refusal."""
    minute_usage: int = 0
    """Requests in this minute as the panel counts them."""
    hour_usage: int = 0
    """Requests in this hour as the panel counts them."""
    unrecorded: tuple[tuple[float, int], ...] = ()
    """Requests that the store does not know of: how many seconds ago, and how many; the oldest first."""


@attrs.frozen(kw_only=True)
class Reservation:
    """What a member gets."""

    delays: tuple[float, ...]
    """Seconds from now at which it may send one request each, in order."""
    opens_in: float
    """Seconds from now before which nothing goes; 0 when there are places."""
    retry_in: float
    """Seconds from now after which to ask again when there are no places."""
    members: int
    """How many members wait or have places, this one included."""
    store: str
    """Name of the store's memory. Another one means that it has forgotten everything."""
    minute_used: int = 0
    """Requests in the minute that ends now, of all members."""
    hour_used: int = 0
    """Requests in the hour that ends now, of all members."""
    interactive_used: int = 0
    """Requests of the interactive lane in the minute that ends now, of all members."""


def grouped_ages(ages: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """Return ages as a report has them: by the second in the last minute, and by the minute before.

    Args:
        ages: Seconds since each request, the oldest first.
    """
    groups: dict[tuple[bool, int], tuple[float, int]] = {}
    for age in ages:
        is_recent = age < _RECENT
        group = is_recent, int(age if is_recent else age / _RECENT)
        _, count = groups.get(group, (age, 0))
        groups[group] = (age, count + 1)  # the youngest of a group, to be cautious
    return tuple(groups.values())


class Coordinator(Protocol):
    """A store of claims, for the limiters of one quota."""

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Take in what the member says, and give it places.

        Whatever it raises, the limiter goes on with a share of the limit until the store is back.
        """
        ...
