"""The places of a quota that several limiters share, claimed from a coordinator; without it, a share of them."""

import asyncio
import contextvars
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from math import inf

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.feedback import MAX_WAIT
from panelica_async.ratelimit.lanes import LANES, Lane
from panelica_async.ratelimit.limit import LARGEST_RESERVE, Quota, QuotaLeft, RateLimit
from panelica_async.ratelimit.permits import LocalPermits, Permits, QueueDepth
from panelica_async.ratelimit.rules import RECORD
from panelica_async.ratelimit.state import Coordination
from panelica_async.ratelimit.store import (
    BATCH,
    LATENESS,
    LOOKAHEAD,
    MAX_LEAD,
    Coordinator,
    Reservation,
    ReserveRequest,
    SharedLimit,
    grouped_ages,
)

__all__ = ["SharedPermits"]

_log = logging.getLogger("panelica_async")

_NEVER = inf

# Members to reckon with when the store could never be asked.
_GUESSED_MEMBERS = 2

# Seconds after which a store that is away is asked again. All members that have something to send find it
# again within this time.
_RETRY = 3.0

# Seconds for which what the panel says of the current minute is worth passing on.
_FRESH = 5.0

# Seconds for one claim, whatever the store: one that takes longer is away.
_PATIENCE = 2.0

# A store that answers after a second needs five times the places of one that is near.
_MAX_SCALE = 5

# Seconds by which the numbers of a store may be off.
_ROUNDING = 1e-3

_MINUTE = 60.0
_HOUR = 3600.0


@attrs.define
class _LanePermits:
    """What one lane has claimed."""

    places: deque[float] = attrs.field(factory=deque[float])
    """Instants at which a request may go."""
    is_claiming: bool = False
    """Whether a claim is under way."""
    opens_at: float = -inf
    """The instant before which the store lets nobody go."""
    retry_at: float = -inf
    """The instant to ask again, when there were no places."""

    def first(self, now: float) -> float:
        """Return the first place that is not too old, infinite when there is none."""
        while self.places and self.places[0] < now - LATENESS:
            self.places.popleft()
        return self.places[0] if self.places else _NEVER


class SharedPermits(Permits):
    """Claims places for those who wait.

    While the store is away, it keeps to its own part of the limit: what its interactive lane used in the last minute,
    and an equal part of what all interactive lanes leave. It asks again from time to time, and reports what it sent
    meanwhile when the store is back.

    Args:
        limit: What all members together may send.
        coordinator: The store.
        news: Called with the present instant when those who wait may have something to do.
    """

    def __init__(self, limit: RateLimit, coordinator: Coordinator, news: Callable[[float], None]) -> None:
        super().__init__(limit)
        self._limit = limit
        self._terms = _terms(limit)
        self._coordinator = coordinator
        self._news = news
        self._member: str | None = None
        self._members = _GUESSED_MEMBERS
        self._local = LocalPermits(limit)  # always counts; decides while the store is away
        self._lanes: dict[Lane, _LanePermits] = {lane: _LanePermits() for lane in LANES}
        self._tasks: set[asyncio.Task[None]] = set()
        self._store = ""
        self._away = False
        self._retry_at = -inf
        self._found_at: float | None = None
        self._is_unsure = False  # after some time without a caller: callers wait for what the store answers
        self._sent: deque[float] = deque(maxlen=RECORD)
        self._unrecorded: deque[float] = deque(maxlen=RECORD)
        self._usage = (-inf, 0, 0)
        self._used = (-inf, 0, 0)
        self._interactive_used = 0
        self._part = 1.0  # of the limit, for this member while the store is away
        self._round_trip = 0.0

    @property
    def limit(self) -> RateLimit:
        """What all members together may send."""
        return self._limit

    @property
    def is_away(self) -> bool:
        """Whether the store does not answer."""
        return self._away

    @property
    def members(self) -> int:
        """How many members were there when the store last answered, this one included."""
        return self._members

    def next(self, now: float, demand: QueueDepth) -> tuple[Lane, float]:
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

    def expected_at(self, now: float, lane: Lane, demand: QueueDepth) -> float:
        """Return when a caller that comes now would go if every member had as many waiting."""
        if self._away:
            return self._local.expected_at(now, lane, demand)
        everybody: dict[Lane, int] = {lane: count * self._members for lane, count in demand.items()}
        return max(self._lanes[lane].opens_at, self._local.expected_at(now, lane, everybody))

    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which surely no caller of a lane goes."""
        return max(self._local.opens_at(lane), self._lanes[lane].opens_at)

    def left(self, now: float) -> QuotaLeft:
        """Return what all members together may still send, as far as the store said and counting what went since."""
        left = self._local.left(now)
        told_at, minute_used, hour_used = self._used
        since = sum(instant > told_at for instant in list(self._sent))  # at once: any thread may ask
        return QuotaLeft(
            minute=_least(left.minute, self._limit.per_minute, minute_used + since, now - told_at < _MINUTE),
            hour=_least(left.hour, self._limit.per_hour, hour_used + since, now - told_at < _HOUR),
        )

    @property
    def coordination(self) -> Coordination:
        """Whether the store works."""
        return "away" if self._away else "shared"

    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a place; return whether there was."""
        if self._away:
            if self._is_unsure or now > self._retry_at or not self._local.try_take(now, lane):
                return False
            self._unrecorded.append(now)
            self._ask_again(now)
        else:
            own = self._lanes[lane]
            if own.first(now) > now:
                return False
            own.places.popleft()
            self._local.take(now, lane)
        self._sent.append(now)
        return True

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time, here and, as soon as the store knows, anywhere."""
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

    def close(self) -> None:
        """Give up all claims."""
        for task in self._tasks:
            task.cancel()

    def _apply(self, limit: RateLimit) -> None:
        self._limit = limit
        self._terms = _terms(limit)
        self._local.reconfigure(self._local_limit())

    def _next_of(self, now: float, lane: Lane, wanted: int) -> float:
        own = self._lanes[lane]
        ready = own.first(now)
        if ready < _NEVER:
            return ready
        if own.is_claiming:
            return _NEVER
        if now < own.retry_at:
            return own.retry_at
        own.is_claiming = True
        self._start(self._claim(lane, wanted))
        return _NEVER

    async def _claim(self, lane: Lane, wanted: int) -> None:
        own = self._lanes[lane]
        asked_at = asyncio.get_running_loop().time()
        try:
            claim = await self._ask(lane, wanted=min(wanted, BATCH * self._scale))
        finally:
            own.is_claiming = False
        now = asyncio.get_running_loop().time()
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

    def _start(self, work: Coroutine[None, None, None]) -> None:
        # Not by the task factory, which may run it at once, in the middle of what is going on here; and not in the
        # context of the caller that happens to be first, which would keep all that hangs on it.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, lane: Lane, *, wanted: int = 0, pause: float = 0.0, refused: bool = False
    ) -> Reservation | None:
        """Return the answer of the store, None when it is away."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        told_at, minute_usage, hour_usage = self._usage
        is_fresh = now - told_at < _FRESH
        reported = [instant for instant in self._unrecorded if instant > now - _HOUR]
        self._unrecorded.clear()
        if self._member is None:
            # Not when it is made: a process that is forked before its first claim must not copy the name.
            self._member = secrets.token_hex(8)
        request = ReserveRequest(
            member=self._member,
            store=self._store,
            lane=lane,
            limit=self._terms[lane],
            wanted=wanted,
            scale=self._scale,
            pause=pause,
            refused=refused,
            minute_usage=minute_usage if is_fresh else 0,
            hour_usage=hour_usage if is_fresh else 0,
            unrecorded=grouped_ages([now - instant for instant in reported]),
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                claim = _checked(await self._coordinator.reserve(request), request.limit)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the store, callers go on
            self._unrecorded.extendleft(reversed(reported))
            self._lose(loop.time(), error)
            return None
        self._round_trip = (self._round_trip + loop.time() - now) / 2
        self._find(loop.time(), claim, reported)
        return claim

    @property
    def _scale(self) -> int:
        """How many times as many places as usual a claim may have: what is used until the next answer, and more."""
        return max(1, min(_MAX_SCALE, round(2 * self._round_trip / LOOKAHEAD)))

    def _lose(self, now: float, error: Exception) -> None:
        self._retry_at = now + _RETRY
        self._found_at = None
        if self._away:
            return
        self._away = True
        for own in self._lanes.values():
            own.places.clear()
        self._part = self._own_part(now)
        self._local.reconfigure(self._local_limit())
        is_wrong = isinstance(error, ConfigurationError)
        _log.log(
            logging.ERROR if is_wrong else logging.WARNING,
            "the coordinator of the rate limit is %s, going on with %.0f %% of the limit: %s: %s",
            "misconfigured" if is_wrong else "away",
            100 * self._local.limit.share,
            type(error).__name__,
            str(error) or "it does not answer in time",
        )

    def _find(self, now: float, claim: Reservation, reported: list[float]) -> None:
        if self._away:
            self._return(now, sent_lately=any(went > now - _MINUTE for went in reported))
        else:
            self._members = max(1, claim.members)
        if self._store not in {"", claim.store}:
            known = set(reported)
            self._unrecorded.extend(went for went in self._sent if went not in known)
            _log.warning("the coordinator of the rate limit has lost its memory: reporting what was sent from here")
            self._start(self._report())
        self._store = claim.store
        self._used = (now, claim.minute_used, claim.hour_used)
        self._interactive_used = claim.interactive_used

    def _return(self, now: float, *, sent_lately: bool) -> None:
        """Leave the share for the store, once the others that send have found it too."""
        self._found_at = now if self._found_at is None else self._found_at
        if sent_lately and now < self._found_at + _RETRY:
            self._retry_at = self._found_at + _RETRY
            return
        self._away = False
        self._found_at = None
        self._local.reconfigure(self._local_limit())
        _log.warning("the coordinator of the rate limit is back")

    def _own_part(self, now: float) -> float:
        """Return this member's part of the limit: what its interactive lane uses, and an equal part of the rest.

        The parts of all members make up the whole. With equal parts, the callers of a busy member would wait while
        other members leave theirs unused.
        """
        if self._limit.per_minute is None:
            return 1 / self._members
        own = self._local.quota.interactive.since(now - _MINUTE) / max(1, self._interactive_used)
        interactive = self._interactive_used / (self._limit.per_minute * self._limit.share)
        kept = min(interactive, LARGEST_RESERVE)  # members that were idle need something too
        return kept * min(1.0, own) + (1 - kept) / self._members

    def _local_limit(self) -> RateLimit:
        return attrs.evolve(self._limit, share=self._limit.share * self._part) if self._away else self._limit


def _terms(limit: RateLimit) -> dict[Lane, SharedLimit]:
    quota = Quota(limit)
    return {lane: SharedLimit.of(quota, lane) for lane in LANES}


def _checked(claim: Reservation, terms: SharedLimit) -> Reservation:
    """Return a claim that a store can have meant.

    Raises:
        ValueError: It is broken, or its memory is.
    """
    longest = max(MAX_WAIT, terms.minute_period, terms.hour_period) + terms.interval + terms.tolerance + MAX_LEAD
    for seconds in (claim.opens_in, claim.retry_in, *claim.delays):
        if not 0 <= seconds + _ROUNDING <= longest:
            raise ValueError(f"it names a wait of {seconds:g} s, more than the {longest:.0f} s that can be")
    return claim


def _least(left: int | None, limit: float | None, used: int, is_fresh: bool) -> int | None:
    return left if left is None or limit is None or not is_fresh else max(0, min(left, int(limit) - used))
