"""Two lanes: calls that somebody waits for go before bulk work, which keeps a guaranteed share."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Literal

import attrs

from panelica_async.errors import PanelicaError, RateLimitWaitError

__all__ = ["INTERACTIVE_RUN", "LANES", "Lane", "WaitQueue", "Waiter", "wait_error"]

Lane = Literal["interactive", "bulk"]

LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")
"""The lanes, first the one that goes first."""

INTERACTIVE_RUN: Final = 4
"""Interactive calls that may go while bulk ones wait, before one of these goes: a fifth is guaranteed to bulk."""


@attrs.define(eq=False, kw_only=True)
class Waiter:
    """The place of one caller in the queue."""

    lane: Lane
    group: object
    """On whose behalf it waits."""
    since: float
    """The instant at which it came."""
    latest: float
    """The instant up to which it is willing to wait."""
    call: asyncio.Future[PanelicaError | None]
    """Ends with None (go) or with the reason for a refusal."""

    def refuse(self, reason: PanelicaError) -> None:
        """Send the caller away, unless it was called already."""
        if not self.call.done():
            self.call.set_result(reason)


class WaitQueue:
    """Those who wait, in order of arrival in each lane."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[Waiter, None]] = {lane: OrderedDict() for lane in LANES}

        self._interactive, self._bulk = self._lanes.values()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    def __iter__(self) -> Iterator[Waiter]:
        for turns in self._lanes.values():
            yield from turns

    def add(self, turn: Waiter) -> None:
        """Put a caller at the end of its lane."""
        self._lanes[turn.lane][turn] = None

    def remove(self, turn: Waiter) -> None:
        """Take a caller out, wherever it stands."""
        del self._lanes[turn.lane][turn]

    def head(self, lane: Lane) -> Waiter | None:
        """Return who is first in a lane."""
        return next(iter(self._lanes[lane]), None)

    def demand(self) -> dict[Lane, int]:
        """Return how many wait in each lane."""
        return {lane: len(turns) for lane, turns in self._lanes.items()}

    def oldest(self, now: float) -> dict[Lane, float]:
        """Return for how long the first in each lane has waited, 0 where there is none; any thread may ask."""
        oldest: dict[Lane, float] = {}
        for lane, turns in self._lanes.items():
            first = list(turns)[:1]
            oldest[lane] = max(0.0, now - first[0].since) if first else 0.0
        return oldest

    def count(self, lane: Lane) -> int:
        """Return how many wait in a lane."""
        return len(self._lanes[lane])


def wait_error(wait: float, limit: float) -> RateLimitWaitError:
    """Return the error of a caller that would wait longer than it is willing to."""
    return RateLimitWaitError(
        f"The next free place in the quota is {wait:.1f} s away, the call may wait {limit:.1f} s.",
        wait=wait,
        limit=limit,
    )


_BULK_SHARE = 0.8
"""Part of the slots that bulk calls can have together: a web request must not wait for one behind a launch."""


class LanedSemaphore:
    """A semaphore with lanes: the interactive lane before bulk, first come, first served in each.

    While both lanes wait, every fifth slot goes to bulk, as in the limiter, which bulk calls would not even reach
    otherwise.

    Args:
        count: How many there are, at least 1.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._free_for_bulk = max(1, int(count * _BULK_SHARE))
        self._waiting: dict[Lane, OrderedDict[asyncio.Future[None], None]] = {lane: OrderedDict() for lane in LANES}
        self._interactive_run = 0

    @property
    def waiting(self) -> dict[Lane, int]:
        """How many wait for a slot in each lane."""
        return {lane: len(turns) for lane, turns in self._waiting.items()}

    def try_acquire(self, lane: Lane) -> bool:
        """Take a slot if there is one and nobody of the lane waits, to be released; tell whether it was taken."""
        if self._waiting[lane] or not self._has_one(lane):
            return False
        self._take(lane)
        return True

    async def acquire(self, lane: Lane) -> None:
        """Wait for a slot and take it, to be released."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane][turn] = None
        self._call()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting[lane].pop(turn, None)
            else:
                self.release(lane)
            raise

    def release(self, lane: Lane) -> None:
        """Return a slot, and call who waits for one."""
        self._free += 1
        if lane == "bulk":
            self._free_for_bulk += 1
        if any(self._waiting.values()):
            self._call()

    def _call(self) -> None:
        while (lane := self._next()) is not None:
            turn, _ = self._waiting[lane].popitem(last=False)
            if not turn.cancelled():
                self._take(lane)
                turn.set_result(None)

    def _next(self) -> Lane | None:
        """Return the lane of who gets a slot now, None when nobody does."""
        order = LANES if self._interactive_run < INTERACTIVE_RUN else reversed(LANES)
        return next((lane for lane in order if self._waiting[lane] and self._has_one(lane)), None)

    def _has_one(self, lane: Lane) -> bool:
        return self._free > 0 and (lane != "bulk" or self._free_for_bulk > 0)

    def _take(self, lane: Lane) -> None:
        self._interactive_run = 0 if lane == "bulk" else self._interactive_run + 1
        self._free -= 1
        if lane == "bulk":
            self._free_for_bulk -= 1
