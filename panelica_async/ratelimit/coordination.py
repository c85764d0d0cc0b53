"""How several limiters share one quota: each claims a few places at a time from a common store.

A place is an instant at which one request may go. The store hands them out in the order of the claims and
counts each as sent, so nothing has to be given back: what a killed member held leaves with the window.

- *Fair*: a member claims again when its places are used, so all that wait take turns. While both lanes wait,
  interactive members claim `BATCH` places and bulk ones one, the same fifth as within a limiter.
- *Lanes*: bulk leaves a reserve free (`quota`), so an interactive claim gets an earlier place than bulk claims
  that were there before it.
- *Quiet*: a member that can have no place yet is told when to ask again. Nobody asks while nobody waits.
"""

from typing import Protocol

import attrs

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.quota import Quota

__all__ = ["BATCH", "GRACE", "HOLD", "HORIZON", "LATENESS", "Claim", "Coordinator", "Request", "Terms"]

BATCH = 4
"""Places in one claim, at most."""

HORIZON = 0.4
"""Seconds that the places claimed by all members of a lane together reach ahead, unless each has but one. The
reserve of the burst is about as much, so interactive claims come before these places."""

HOLD = 5.0
"""Seconds a place may lie ahead. Who would get a later one is told to ask again."""

GRACE = 1.0
"""Seconds after its last place at which a member that has not claimed again no longer counts as waiting."""

LATENESS = 0.4
"""Seconds after its instant at which a place can still be used: event loops and stores are late at times.
Windows are longer by this."""


@attrs.frozen(kw_only=True)
class Terms:
    """The rules of a quota as plain numbers, margins and reserve included; a count of 0 is no limit."""

    interval: float
    """Seconds in which a token comes back."""
    tolerance: float
    """Seconds by which requests may come early: the burst, less one, in intervals."""
    minute_count: int
    minute_period: float
    hour_count: int
    hour_period: float

    @classmethod
    def of(cls, quota: Quota, lane: Lane) -> "Terms":
        """Return the rules of a quota for a lane."""
        limit, bucket, minute, hour = quota.limit, quota.bucket, quota.minute, quota.hour
        bulk = lane == "bulk"
        return cls(
            interval=bucket.interval,
            tolerance=bucket.tolerance - bucket.reserve * bucket.interval * bulk,
            minute_count=0 if limit.per_minute is None else minute.count - minute.reserve * bulk,
            minute_period=minute.period + LATENESS,
            hour_count=0 if limit.per_hour is None else hour.count - hour.reserve * bulk,
            hour_period=hour.period + LATENESS,
        )


@attrs.frozen(kw_only=True)
class Request:
    """What a member tells the store, and how many places it wants."""

    member: str
    """A name of its own."""
    lane: Lane = "interactive"
    terms: Terms
    wanted: int = 0
    pause: float = 0.0
    """Seconds for which nobody may go, from now."""
    refused: bool = False
    """Whether the pause answers a refusal."""
    minute_usage: int = 0
    """Requests in this minute as the panel counts them."""
    hour_usage: int = 0
    """Requests in this hour as the panel counts them."""
    minute_unrecorded: int = 0
    """Requests in this minute that went without the store."""
    hour_unrecorded: int = 0
    """Requests in this hour that went without the store."""


@attrs.frozen(kw_only=True)
class Claim:
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


class Coordinator(Protocol):
    """A store of claims, for the limiters of one quota."""

    async def claim(self, request: Request) -> Claim:
        """Take in what the member says, and give it places.

        Whatever it raises, the limiter goes on with a share of the limit until the store is back.
        """
        ...
