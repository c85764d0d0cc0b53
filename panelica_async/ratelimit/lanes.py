"""Two lanes: interactive calls, for which a user waits, go before bulk work, which keeps a guaranteed share.

Calls queue by lane twice: for a connection (`LanedSemaphore`), then for the quota (`WaitQueue`).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from math import inf
from typing import Final, Literal

import attrs

from panelica_async.errors import PanelicaError, RateLimitWaitError

__all__ = [
    "EMPTY",
    "INTERACTIVE_RUN",
    "LANES",
    "Lane",
    "LanedSemaphore",
    "QueueDepth",
    "WaitQueue",
    "Waiter",
    "wait_error",
]

_log = logging.getLogger("panelica_async")

Lane = Literal["interactive", "bulk"]

LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")
"""The lanes; the first goes first."""

INTERACTIVE_RUN: Final = 4
"""Interactive calls that may go before one bulk call while both lanes wait: a fifth is guaranteed to bulk."""

QueueDepth = Mapping[Lane, int]
"""How many callers wait in each lane."""

EMPTY: QueueDepth = {"interactive": 0, "bulk": 0}

# Seconds after which waiting interactive calls are worth a warning, and seconds until the next warning.
_LONG_WAIT = 5.0
_WARNING_INTERVAL = 60.0

# Share of the slots that all bulk calls together may hold, so that interactive calls find a free one.
_BULK_SHARE = 0.8


@attrs.define(eq=False, kw_only=True)
class Waiter:
    """A caller in the queue."""

    lane: Lane
    group: object
    """What the caller belongs to, for `RateLimiter.cancel_waiters`."""
    queued_at: float
    """The instant at which it joined the queue."""
    gives_up_at: float
    """The instant until which it may wait."""
    turn: asyncio.Future[PanelicaError | None]
    """Resolves to None when the caller may go, or to the error to raise."""

    def fail(self, error: PanelicaError) -> None:
        """Raise an error in the caller, unless it may already go."""
        if not self.turn.done():
            self.turn.set_result(error)


class WaitQueue:
    """The waiting callers, in order of arrival in each lane."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[Waiter, None]] = {lane: OrderedDict() for lane in LANES}
        self.size: int = 0
        """How many callers wait."""
        self._warned_at = -inf

    def __iter__(self) -> Iterator[Waiter]:
        for waiters in self._lanes.values():
            yield from waiters

    def add(self, waiter: Waiter) -> None:
        """Append a caller to its lane."""
        self._lanes[waiter.lane][waiter] = None
        self.size += 1

    def remove(self, waiter: Waiter) -> None:
        """Remove a caller, wherever it is in the queue."""
        del self._lanes[waiter.lane][waiter]
        self.size -= 1

    def head(self, lane: Lane) -> Waiter | None:
        """Return the first caller of a lane."""
        return next(iter(self._lanes[lane]), None)

    def depth(self) -> dict[Lane, int]:
        """Return how many wait in each lane."""
        return {lane: len(waiters) for lane, waiters in self._lanes.items()}

    def longest_waits(self, now: float) -> dict[Lane, float]:
        """Return how long the first caller of each lane has waited, 0 if there is none; safe in any thread."""
        waits: dict[Lane, float] = {}
        for lane, waiters in self._lanes.items():
            first = list(waiters)[:1]  # copied in one step, because another thread may change the queue
            waits[lane] = max(0.0, now - first[0].queued_at) if first else 0.0
        return waits

    def warn_of_stall(self, now: float, paused_until: float, limit: object) -> float:
        """Warn if interactive calls have waited too long; return when to check again.

        Args:
            now: The present instant.
            paused_until: The end of the last pause, which is in the log already.
            limit: What may be sent, for the log.
        """
        head = self.head("interactive")
        if head is None or head.queued_at <= self._warned_at:
            return inf  # the last warning covers all callers that came before it
        warn_at = max(head.queued_at + _LONG_WAIT, paused_until + _LONG_WAIT, self._warned_at + _WARNING_INTERVAL)
        if now < warn_at:
            return warn_at
        self._warned_at = now
        _log.warning(
            "interactive calls have waited %.0f s for quota; waiting: %d interactive, %d bulk; the limit is %s",
            now - head.queued_at,
            len(self._lanes["interactive"]),
            len(self._lanes["bulk"]),
            limit,
        )
        return inf


def wait_error(wait: float, limit: float) -> RateLimitWaitError:
    """Return the error of a caller that would wait longer than it may."""
    # Rounded to tenths of a second, two short times would often look the same.
    next_in, at_most = (f"{time:.3f}" if 0 < time < 0.1 else f"{time:.1f}" for time in (wait, limit))
    return RateLimitWaitError(
        f"Rate limited: the next request is allowed in {next_in} s, but this call may wait only {at_most} s.",
        wait=wait,
        limit=limit,
    )


class LanedSemaphore:
    """A semaphore with lanes: interactive before bulk, first come, first served in each.

    While both lanes wait, every fifth slot goes to bulk, as in the limiter; otherwise, bulk calls would never reach
    the limiter.

    Args:
        count: Number of slots, at least 1.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._free_for_bulk = max(1, int(count * _BULK_SHARE))
        self._waiting: dict[Lane, OrderedDict[asyncio.Future[None], None]] = {lane: OrderedDict() for lane in LANES}
        self._interactive_run = 0

    @property
    def waiting(self) -> QueueDepth:
        """How many callers wait for a slot in each lane."""
        return {lane: len(turns) for lane, turns in self._waiting.items()}

    def try_acquire(self, lane: Lane) -> bool:
        """Take a slot if one is free and the lane has no waiters; return whether it was taken."""
        return not self._waiting[lane] and self._try_take(lane)

    async def acquire(self, lane: Lane) -> None:
        """Wait for a slot and take it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane][turn] = None
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting[lane].pop(turn, None)
            else:
                self.release(lane)
            raise

    def release(self, lane: Lane) -> None:
        """Return a slot, and give it to the next waiter."""
        self._free += 1
        if lane == "bulk":
            self._free_for_bulk += 1
        if self._waiting["interactive"] or self._waiting["bulk"]:
            self._wake()

    def _wake(self) -> None:
        while (turn := self._take_for_next()) is not None:
            turn.set_result(None)

    def _take_for_next(self) -> asyncio.Future[None] | None:
        """Take a slot for the next waiter and return its future; None if there is no slot or no waiter."""
        for lane in LANES if self._interactive_run < INTERACTIVE_RUN else reversed(LANES):
            waiting = self._waiting[lane]
            while waiting and next(iter(waiting)).cancelled():
                waiting.popitem(last=False)
            if waiting and self._try_take(lane):
                return waiting.popitem(last=False)[0]
        return None

    def _try_take(self, lane: Lane) -> bool:
        """Take a slot if one is free; return whether it was taken."""
        if self._free <= 0:
            return False
        if lane == "bulk":
            if self._free_for_bulk <= 0:
                return False
            self._free_for_bulk -= 1
            self._interactive_run = 0
        else:
            self._interactive_run += 1
        self._free -= 1
        return True
