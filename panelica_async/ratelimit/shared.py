"""The places of a quota that several limiters share, claimed from a coordinator; without it, a share of them."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine

import attrs

from panelica_async.ratelimit.coordination import BATCH, LATENESS, Claim, Coordinator, Request, Terms
from panelica_async.ratelimit.lanes import LANES, Lane
from panelica_async.ratelimit.limits import RateLimit
from panelica_async.ratelimit.places import Demand, LocalPlaces
from panelica_async.ratelimit.quota import Quota, QuotaLeft

__all__ = ["SharedPlaces"]

_log = logging.getLogger("panelica_async")

_NEVER = float("inf")

# Members to reckon with when the store could never be asked.
_GUESSED_MEMBERS = 2

# Seconds after which a store that is away is asked again. All members that have something to send find it
# again within this time.
_RETRY = 3.0

# Seconds for which what the panel says of the current minute is worth passing on.
_FRESH = 5.0

_MINUTE = 60.0
_HOUR = 3600.0

# Requests remembered that the store does not know of; the largest known limit is 10,000 an hour (panel-facts C).
_RECORD = 10_000


@attrs.define
class _LanePlaces:
    """What one lane has claimed."""

    places: deque[float] = attrs.field(factory=deque[float])
    """Instants at which a request may go."""
    claim: "asyncio.Task[None] | None" = None
    """The claim under way."""
    opens_at: float = float("-inf")
    """The instant before which the store lets nobody go."""
    retry_at: float = float("-inf")
    """The instant to ask again, when there were no places."""

    def first(self, now: float) -> float:
        """Return the first place that is not too old, infinite when there is none."""
        while self.places and self.places[0] < now - LATENESS:
            self.places.popleft()
        return self.places[0] if self.places else _NEVER


class SharedPlaces:
    """Claims places for those who wait.

    While the store is away, it lets go what is its share of the limit by the number of members last seen, and
    asks again from time to time. What went meanwhile is reported when the store is back.

    Args:
        limit: What all members together may send.
        coordinator: The store.
        news: Called with the present instant when those who wait may have something to do.
    """

    def __init__(self, limit: RateLimit, coordinator: Coordinator, news: Callable[[float], None]) -> None:
        self._limit = limit
        self._terms = _terms(limit)
        self._coordinator = coordinator
        self._news = news
        self._member = secrets.token_hex(8)
        self._members = _GUESSED_MEMBERS
        self._local = LocalPlaces(limit)  # always counts; decides while the store is away
        self._lanes: dict[Lane, _LanePlaces] = {lane: _LanePlaces() for lane in LANES}
        self._tasks: set[asyncio.Task[None]] = set()
        self._store: str | None = None
        self._away = False
        self._retry_at = float("-inf")
        self._found_at: float | None = None
        self._is_unsure = False  # after some time without a caller: callers wait for what the store answers
        self._unrecorded: deque[float] = deque(maxlen=_RECORD)
        self._usage = (float("-inf"), 0, 0)

    @property
    def limit(self) -> RateLimit:
        """What all members together may send."""
        return self._limit

    def ready_at(self, now: float, lane: Lane) -> float:
        """Return when a caller may go that comes now, while nobody waits."""
        if self._away and not self._is_unsure and now <= self._retry_at:
            return self._local.ready_at(now, lane)
        return self._lanes[lane].first(now)

    def next(self, now: float, demand: Demand) -> tuple[Lane, float]:
        """Return whose turn it is, and when; claim places for those who have none."""
        if self._away:
            self._is_unsure = self._is_unsure or now > self._retry_at + _RETRY
            self._ask_again(now)
            lane, ready = self._local.next(now, demand)
            return lane, _NEVER if self._is_unsure else ready
        turns: list[tuple[float, Lane]] = [
            (self._next_of(now, lane, demand[lane]), lane) for lane in LANES if demand[lane]
        ]
        ready, lane = min(turns, key=lambda turn: turn[0])  # interactive, if both may go
        return lane, ready

    def expected_at(self, now: float, lane: Lane, demand: Demand) -> float:
        """Return when a caller that comes now would go if every member had as many waiting."""
        if self._away:
            return self._local.expected_at(now, lane, demand)
        everybody: dict[Lane, int] = {lane: count * self._members for lane, count in demand.items()}
        return max(self._lanes[lane].opens_at, self._local.expected_at(now, lane, everybody))

    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which surely nobody of a lane goes."""
        return max(self._local.opens_at(lane), self._lanes[lane].opens_at)

    def left(self, now: float) -> QuotaLeft:
        """Return what may still be sent in the windows that end now; what others sent is not known here."""
        return self._local.left(now)

    def take(self, now: float, lane: Lane) -> None:
        """Count a request that goes now."""
        places = self._lanes[lane].places
        if not self._away and places:
            places.popleft()
        else:
            self._unrecorded.append(now)
            self._ask_again(now)
        self._local.take(now, lane)

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Let nobody go for some time, here and, as soon as the store knows, anywhere."""
        self._local.pause(now, seconds, refused=refused)
        for own in self._lanes.values():
            own.places.clear()
            own.opens_at = own.retry_at = max(own.opens_at, now + seconds)
        self._start(self._report(pause=seconds, refused=refused))

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Pass on what the panel counted with the next claim. Only the store can tell whether it knew."""
        if self._away:
            return self._local.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)
        if minute_usage or hour_usage:
            self._usage = (now, minute_usage, hour_usage)
        return False

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on."""
        self._limit = limit
        self._terms = _terms(limit)
        self._local.reconfigure(self._local_limit())

    def close(self) -> None:
        """Give up all claims."""
        for task in self._tasks:
            task.cancel()

    def _next_of(self, now: float, lane: Lane, wanted: int) -> float:
        own = self._lanes[lane]
        ready = own.first(now)
        if ready < _NEVER:
            return ready
        if own.claim is not None:
            return _NEVER
        if now < own.retry_at:
            return own.retry_at
        own.claim = self._start(self._claim(lane, wanted))
        return _NEVER

    async def _claim(self, lane: Lane, wanted: int) -> None:
        own = self._lanes[lane]
        asked_at = asyncio.get_running_loop().time()
        claim = await self._ask(lane, wanted=min(wanted, BATCH))
        now = asyncio.get_running_loop().time()
        own.claim = None
        if claim is not None:
            # The store decided somewhere between question and answer. Too early does less harm than too late.
            base = max(asked_at, now - LATENESS / 2)
            paused_until = self._local.opens_at(lane)
            own.places.extend(base + delay for delay in claim.delays if base + delay >= paused_until)
            own.opens_at = max(paused_until, base + claim.opens_in)
            own.retry_at = max(paused_until, base + claim.retry_in)
        self._news(now)

    async def _report(self, *, pause: float = 0.0, refused: bool = False) -> None:
        await self._ask("interactive", pause=pause, refused=refused)
        self._is_unsure = False
        self._news(asyncio.get_running_loop().time())

    def _ask_again(self, now: float) -> None:
        if self._away and now >= self._retry_at:
            self._retry_at = _NEVER  # until the answer is there
            self._start(self._report())

    def _start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ask(self, lane: Lane, *, wanted: int = 0, pause: float = 0.0, refused: bool = False) -> Claim | None:
        """Return the answer of the store, None when it is away."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        told_at, minute_usage, hour_usage = self._usage
        is_fresh = now - told_at < _FRESH
        reported = list(self._unrecorded)
        self._unrecorded.clear()
        request = Request(
            member=self._member,
            lane=lane,
            terms=self._terms[lane],
            wanted=wanted,
            pause=pause,
            refused=refused,
            minute_usage=minute_usage if is_fresh else 0,
            hour_usage=hour_usage if is_fresh else 0,
            minute_unrecorded=sum(instant > now - _MINUTE for instant in reported),
            hour_unrecorded=sum(instant > now - _HOUR for instant in reported),
        )
        try:
            claim = await self._coordinator.claim(request)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the store, callers go on
            self._unrecorded.extendleft(reversed(reported))
            self._lose(loop.time(), error)
            return None
        self._find(loop.time(), claim, reported)
        return claim

    def _lose(self, now: float, error: Exception) -> None:
        self._retry_at = now + _RETRY
        self._found_at = None
        if self._away:
            return
        self._away = True
        for own in self._lanes.values():
            own.places.clear()
        self._local.reconfigure(self._local_limit())
        _log.warning(
            "the coordinator of the rate limit is away, going on with %.0f %% of the limit: %s: %s",
            100 * self._local.limit.share,
            type(error).__name__,
            error,
        )

    def _find(self, now: float, claim: Claim, reported: list[float]) -> None:
        if self._away:
            self._return(now, sent_lately=any(went > now - _MINUTE for went in reported))
        else:
            self._members = max(1, claim.members)
        if self._store not in {None, claim.store}:
            # It has forgotten everything: tell it what went from here.
            known = set(reported)
            self._unrecorded.extend(went for went in self._local.quota.hour.instants() if went not in known)
            self._start(self._report())
        self._store = claim.store

    def _return(self, now: float, *, sent_lately: bool) -> None:
        """Leave the share for the store, once the others that send have found it too."""
        self._found_at = now if self._found_at is None else self._found_at
        if sent_lately and now < self._found_at + _RETRY:
            self._retry_at = self._found_at + _RETRY
            return
        self._away = False
        self._found_at = None
        self._local.reconfigure(self._local_limit())
        _log.info("the coordinator of the rate limit is back")

    def _local_limit(self) -> RateLimit:
        return attrs.evolve(self._limit, share=self._limit.share / self._members) if self._away else self._limit


def _terms(limit: RateLimit) -> dict[Lane, Terms]:
    quota = Quota(limit)
    return {lane: Terms.of(quota, lane) for lane in LANES}
