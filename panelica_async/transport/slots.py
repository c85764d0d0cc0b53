"""Slots for requests that wait for quota or are on their way: so many of a client, and not all for one lane."""

import asyncio
from collections import OrderedDict

from panelica_async.ratelimit.lanes import INTERACTIVE_RUN, LANES, Lane

_BULK_SHARE = 0.8
"""Part of the slots that bulk calls can have together: a web request must not wait for one behind a launch."""


class Slots:
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
