"""Permits from a coordinator; while it is away, from this member's part of the limit."""

import asyncio
import contextvars
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from math import inf

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import LANES, Lane, QueueDepth
from panelica_async.ratelimit.limit import Coordination, Quota, QuotaLeft, RateLimit
from panelica_async.ratelimit.permits import LocalPermits, Permits
from panelica_async.ratelimit.rules import HOUR, LARGEST_RESERVE, MAX_RECORDED, MINUTE
from panelica_async.ratelimit.store import (
    ANSWER_TIMEOUT,
    BATCH,
    LATENESS,
    LOOKAHEAD,
    Coordinator,
    Reservation,
    ReserveRequest,
    SharedLimit,
    group_ages,
    validate_reservation,
)

__all__ = ["SharedPermits"]

_log = logging.getLogger("panelica_async")

_NEVER = inf

# How many members to assume if the store has never answered.
_ASSUMED_MEMBERS = 2

# Seconds after which to ask a store again that is away. Within this time, all members that send requests notice its
# return.
_RETRY_INTERVAL = 3.0

# Seconds for which the panel's count of the current minute is recent enough to report.
_PANEL_COUNT_TTL = 5.0

# A store that takes a second to answer grants five times the usual number of permits at a time.
_MAX_SCALE = 5


@attrs.define
class _LanePermits:
    """The permits that one lane has reserved."""

    permits: deque[float] = attrs.field(factory=deque[float])
    """Instants at which a request may go."""
    is_reserving: bool = False
    """Whether a reservation is under way."""
    opens_at: float = -inf
    """The instant before which the store grants no permit."""
    retry_at: float = -inf
    """The instant to ask the store again, if it granted no permits."""

    def first(self, now: float) -> float:
        """Return the first permit that is not too old; infinite if there is none."""
        while self.permits and self.permits[0] < now - LATENESS:
            self.permits.popleft()
        return self.permits[0] if self.permits else _NEVER


@attrs.define
class _Outage:
    """A time in which the store does not answer."""

    share: float
    """Share of the limit that this member uses meanwhile."""
    retry_at: float = -inf
    """The instant to ask the store again; infinite while it is being asked."""
    answers_since: float | None = None
    """The instant of its first answer since the outage began; other members may not have noticed its return yet."""
    is_stale: bool = False
    """Whether no caller has come for so long that the store may be back, so that callers wait for its next answer."""


class SharedPermits(Permits):
    """Reserves permits for the waiting callers.

    While the store is away, this member keeps to its own part of the limit: what its interactive lane used in the last
    minute, and an equal part of what all interactive lanes leave. It asks again every three seconds. When the store is
    back, it reports what it sent meanwhile.

    Args:
        limit: What all members together may send.
        coordinator: The store.
        on_change: Called with the present instant when waiting callers may go or may have to fail.
    """

    def __init__(self, limit: RateLimit, coordinator: Coordinator, on_change: Callable[[float], None]) -> None:
        if not callable(getattr(coordinator, "reserve", None)):
            # Otherwise every reservation would fail like that of a store that is away, and the quota would silently
            # never be shared.
            kind = type(coordinator).__name__
            raise ConfigurationError(f"coordinator must have a method reserve(request), and {kind} has none")
        super().__init__(limit)
        self._limit = limit
        self._shared_limit = _to_shared_limit(limit)
        self._coordinator = coordinator
        self._on_change = on_change
        self._member: str | None = None
        self._members = _ASSUMED_MEMBERS
        self._local = LocalPermits(limit)  # counts all requests, and decides during an outage
        self._lanes: dict[Lane, _LanePermits] = {lane: _LanePermits() for lane in LANES}
        self._tasks: set[asyncio.Task[None]] = set()
        self._store_name = ""  # of the store's memory
        self._outage: _Outage | None = None
        self._sent: deque[float] = deque(maxlen=MAX_RECORDED)
        self._unrecorded: deque[float] = deque(maxlen=MAX_RECORDED)  # sent, but not reported to the store
        # When the panel or the store last counted, and their counts of the minute and the hour.
        self._panel_count = (-inf, 0, 0)
        self._store_count = (-inf, 0, 0)
        self._interactive_used = 0
        self._round_trip = 0.0

    @property
    def limit(self) -> RateLimit:
        """What all members together may send."""
        return self._limit

    def next_turn(self, now: float, depth: QueueDepth) -> tuple[Lane, float]:
        """Return which lane's turn it is, and when; reserve permits for lanes that have none."""
        if (outage := self._outage) is not None:
            outage.is_stale = outage.is_stale or now > outage.retry_at + _RETRY_INTERVAL
            self._ask_again_if_due(now, outage)
            lane, ready_at = self._local.next_turn(now, depth)
            return lane, _NEVER if outage.is_stale else ready_at
        turns: list[tuple[float, Lane]] = [
            (self._next_in_lane(now, lane, depth[lane]), lane) for lane in LANES if depth[lane]
        ]
        ready_at, lane = min(turns, key=lambda turn: turn[0])  # interactive first, if both may go
        return lane, ready_at

    def expected_at(self, now: float, lane: Lane, depth: QueueDepth) -> float:
        """Return when a caller that comes now would go if every member had as many callers waiting."""
        if self._outage is not None:
            return self._local.expected_at(now, lane, depth)
        all_members: dict[Lane, int] = {lane: count * self._members for lane, count in depth.items()}
        return max(self._lanes[lane].opens_at, self._local.expected_at(now, lane, all_members))

    def opens_at(self, lane: Lane) -> float:
        """Return the instant before which no caller of a lane goes."""
        return max(self._local.opens_at(lane), self._lanes[lane].opens_at)

    def left(self, now: float) -> QuotaLeft:
        """Return what all members together may still send, by the last answer of the store and what was sent since."""
        left = self._local.left(now)
        counted_at, minute_used, hour_used = self._store_count
        sent_since = sum(instant > counted_at for instant in list(self._sent))  # copied, for calls from other threads
        return QuotaLeft(
            minute=_remaining(left.minute, self._limit.per_minute, minute_used + sent_since, now - counted_at < MINUTE),
            hour=_remaining(left.hour, self._limit.per_hour, hour_used + sent_since, now - counted_at < HOUR),
        )

    @property
    def coordination(self) -> Coordination:
        """Whether the store answers."""
        return "shared" if self._outage is None else "away"

    def try_take(self, now: float, lane: Lane) -> bool:
        """Count a request that goes now if there is a permit; return whether there was."""
        if (outage := self._outage) is not None:
            if outage.is_stale or now > outage.retry_at or not self._local.try_take(now, lane):
                return False
            self._unrecorded.append(now)
            self._ask_again_if_due(now, outage)
        else:
            reserved = self._lanes[lane]
            if reserved.first(now) > now:
                return False
            reserved.permits.popleft()
            self._local.take(now, lane)
        self._sent.append(now)
        return True

    def pause(self, now: float, seconds: float, *, refused: bool) -> None:
        """Stop all callers for some time: here at once, those of other members through the store."""
        self._local.pause(now, seconds, refused=refused)
        for reserved in self._lanes.values():
            reserved.permits.clear()
            reserved.opens_at = reserved.retry_at = max(reserved.opens_at, now + seconds)
        self._start_task(self._report(pause=seconds, refused=refused))

    def count_others(self, now: float, *, minute_usage: int, hour_usage: int) -> bool:
        """Report the panel's count with the next reservation; the store knows what all members sent."""
        if self._outage is not None:
            return self._local.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)
        if minute_usage or hour_usage:
            self._panel_count = (now, *self._limit.own_usage(minute_usage, hour_usage))
        return False

    def close(self) -> None:
        """Cancel all reservations under way."""
        for task in self._tasks:
            task.cancel()

    def _apply(self, limit: RateLimit) -> None:
        self._limit = limit
        self._shared_limit = _to_shared_limit(limit)
        self._local.reconfigure(self._local_limit())

    def _next_in_lane(self, now: float, lane: Lane, wanted: int) -> float:
        reserved = self._lanes[lane]
        ready_at = reserved.first(now)
        if ready_at < _NEVER:
            return ready_at
        if reserved.is_reserving:
            return _NEVER
        if now < reserved.retry_at:
            return reserved.retry_at
        reserved.is_reserving = True
        self._start_task(self._reserve(lane, wanted))
        return _NEVER

    async def _reserve(self, lane: Lane, wanted: int) -> None:
        reserved = self._lanes[lane]
        asked_at = asyncio.get_running_loop().time()
        try:
            reservation = await self._ask(lane, wanted=min(wanted, BATCH * self._scale))
        finally:
            reserved.is_reserving = False
        now = asyncio.get_running_loop().time()
        if reservation is not None:
            # The store decided at some instant between request and answer; assuming an early one does less harm.
            decided_at = max(asked_at, now - LATENESS / 2)
            paused_until = self._local.opens_at(lane)
            permits = (decided_at + delay for delay in reservation.delays)
            reserved.permits.extend(permit for permit in permits if permit >= paused_until)
            reserved.opens_at = max(paused_until, decided_at + reservation.opens_in)
            reserved.retry_at = max(paused_until, decided_at + reservation.retry_in)
        self._on_change(now)

    async def _report(self, *, pause: float = 0.0, refused: bool = False) -> None:
        await self._ask("interactive", pause=pause, refused=refused)
        if self._outage is not None:
            self._outage.is_stale = False
        self._on_change(asyncio.get_running_loop().time())

    def _ask_again_if_due(self, now: float, outage: _Outage) -> None:
        if now >= outage.retry_at:
            outage.retry_at = _NEVER  # until the answer arrives
            self._start_task(self._report())

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        # Not through the task factory, which might run the task at once, in the middle of the calling method; and not
        # in the context of the caller that happens to be first, which the task would keep alive.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, lane: Lane, *, wanted: int = 0, pause: float = 0.0, refused: bool = False
    ) -> Reservation | None:
        """Return the answer of the store; None if it is away."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        counted_at, minute_usage, hour_usage = self._panel_count
        is_fresh = now - counted_at < _PANEL_COUNT_TTL
        reported = [instant for instant in self._unrecorded if instant > now - HOUR]
        self._unrecorded.clear()
        if self._member is None:
            # Not in __init__: after a fork before the first reservation, parent and child need different names.
            self._member = secrets.token_hex(8)
        request = ReserveRequest(
            member=self._member,
            store=self._store_name,
            lane=lane,
            limit=self._shared_limit,
            wanted=wanted,
            scale=self._scale,
            pause=pause,
            refused=refused,
            minute_usage=minute_usage if is_fresh else 0,
            hour_usage=hour_usage if is_fresh else 0,
            unrecorded=group_ages([now - instant for instant in reported]),
        )
        try:
            reservation = await self._request_reservation(request)
        except Exception as error:  # noqa: BLE001  callers continue, whatever is wrong with the store
            self._unrecorded.extendleft(reversed(reported))
            self._on_failure(loop.time(), error)
            return None
        self._round_trip = (self._round_trip + loop.time() - now) / 2
        self._on_answer(loop.time(), reservation, reported)
        return reservation

    async def _request_reservation(self, request: ReserveRequest) -> Reservation:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return validate_reservation(await self._coordinator.reserve(request), request.limit)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the limiter was closed
            raise ConnectionError("the reservation was cancelled") from error  # the store did; callers continue

    @property
    def _scale(self) -> int:
        """How many times the usual number of permits to reserve, so that they last until the next answer."""
        return max(1, min(_MAX_SCALE, round(2 * self._round_trip / LOOKAHEAD)))

    def _on_failure(self, now: float, error: Exception) -> None:
        if self._outage is not None:
            self._outage.retry_at, self._outage.answers_since = now + _RETRY_INTERVAL, None
            return
        self._outage = _Outage(share=self._own_share(now), retry_at=now + _RETRY_INTERVAL)
        for reserved in self._lanes.values():
            reserved.permits.clear()
        self._local.reconfigure(self._local_limit())
        is_wrong = isinstance(error, ConfigurationError)
        _log.log(
            logging.ERROR if is_wrong else logging.WARNING,
            "the coordinator of the rate limit is %s; continuing with %.0f %% of the limit: %s: %s",
            "misconfigured" if is_wrong else "away",
            100 * self._local.limit.share,
            type(error).__name__,
            str(error) or "no answer in time",
        )

    def _on_answer(self, now: float, reservation: Reservation, reported: list[float]) -> None:
        if self._outage is not None:
            self._end_outage(now, self._outage, sent_recently=any(instant > now - MINUTE for instant in reported))
        else:
            self._members = max(1, reservation.members)
        if self._store_name not in {"", reservation.store}:
            known_to_store = set(reported)
            self._unrecorded.extend(instant for instant in self._sent if instant not in known_to_store)
            _log.warning("the coordinator of the rate limit lost its memory; reporting what was sent from here")
            self._start_task(self._report())
        self._store_name = reservation.store
        self._store_count = (now, reservation.minute_used, reservation.hour_used)
        self._interactive_used = reservation.interactive_used

    def _end_outage(self, now: float, outage: _Outage, *, sent_recently: bool) -> None:
        """Return to the store, once the other members that send requests have noticed its return, too."""
        if outage.answers_since is None:
            outage.answers_since = now
        if sent_recently and now < outage.answers_since + _RETRY_INTERVAL:
            outage.retry_at = outage.answers_since + _RETRY_INTERVAL
            return
        self._outage = None
        self._local.reconfigure(self._local_limit())
        _log.warning("the coordinator of the rate limit is back")

    def _own_share(self, now: float) -> float:
        """Return this member's share of the limit: what its interactive lane uses, and an equal part of the rest.

        The shares of all members add up to 1. If all were equal, callers of a busy member would wait while other
        members leave their shares unused.
        """
        if self._limit.per_minute is None:
            return 1 / self._members
        share_of_interactive = self._local.interactive_since(now - MINUTE) / max(1, self._interactive_used)
        interactive = self._interactive_used / (self._limit.per_minute * self._limit.share)
        interactive = min(interactive, LARGEST_RESERVE)  # leave a part to members that were idle
        return interactive * min(1.0, share_of_interactive) + (1 - interactive) / self._members

    def _local_limit(self) -> RateLimit:
        if self._outage is None:
            return self._limit
        return attrs.evolve(self._limit, share=self._limit.share * self._outage.share)


def _to_shared_limit(limit: RateLimit) -> SharedLimit:
    """Return a limit in the form that the store gets; warn if the store cannot count that far."""
    quota = Quota(limit)
    shared = SharedLimit.of(quota)
    for log, count, name in ((quota.minute, shared.minute_count, "minute"), (quota.hour, shared.hour_count, "hour")):
        if log.is_limit and count < log.count:
            _log.warning(
                "the limit is %s, but a store counts at most %d requests per %s: more are not sent", limit, count, name
            )
    return shared


def _remaining(left: int | None, limit: float | None, used: int, is_fresh: bool) -> int | None:
    return left if left is None or limit is None or not is_fresh else max(0, min(left, int(limit) - used))
