"""Timeouts of attempts, one timer for all in flight, and deadlines of calls.

A timer that is late after a stall of the event loop, or of the whole process, first lets the loop read what has arrived
meanwhile: a reply that is there already is not lost, and the outcome of a write is not uncertain.
"""

import asyncio
import contextvars
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

_STALL = 0.25
"""Seconds that a timer may be late. After more, the loop was blocked, or the process stopped."""
_PASSES = 20
"""Passes of the event loop, in which it reads megabytes."""


class _Timer:
    """Calls a function when an instant has come, after a stall some passes of the loop later.

    It belongs to no call: its context is empty.
    """

    __slots__ = ("_call", "_due", "_handle", "_loop", "_passes_left")

    def __init__(self, due: float, call: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._due = due
        self._call = call
        self._loop = loop
        self._passes_left = _PASSES
        self._set()

    def cancel(self) -> None:
        self._handle.cancel()

    def _set(self) -> None:
        self._handle = self._loop.call_at(self._due, self._fire, context=contextvars.Context())

    def _fire(self) -> None:
        if self._passes_left and self._loop.time() - self._due > _STALL:
            self._passes_left -= 1
            self._set()
        else:
            self._call()


class Deadline:
    """`asyncio.timeout_at` for a call, which can be lifted.

    Args:
        due: The instant, by the clock of the loop.
    """

    def __init__(self, due: float) -> None:
        self._due = due
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        # Not a method of this object: that would be a reference cycle, which keeps the task alive.
        self._timer = _Timer(self._due, partial(self._timeout.reschedule, self._due), asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def lift(self) -> None:
        """Let the call take as long as it takes."""
        self._timer.cancel()
        # It may have fired in this pass of the loop.
        self._timeout.reschedule(None)


class AttemptTimeouts:
    """Ends blocks of code that take longer than a number of seconds.

    `asyncio.timeout` sets a timer for each block, which costs a call a tenth of its processor time. All attempts of a
    client have the same time, so the one that began first ends first, and a single timer, for that one, is enough. The
    timer belongs to no call: its context is empty, and it is cancelled with this object.

    Args:
        seconds: How long a block may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running: dict[TimeLimit, None] = {}
        """Blocks that are watched, the one that ends first in front."""
        self.timer: _Timer | None = None
        """Set for that one. It stays set when the block ends early, because resetting it each time is slow."""
        self.is_closed: bool = False

    def __del__(self) -> None:
        self._cancel_timer()

    def close(self) -> None:
        """Leave no timer behind when the last block has ended."""
        self.is_closed = True
        if not self.running:
            self._cancel_timer()

    def set_timer(self, ends_at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer that ends the blocks whose time is up at an instant."""
        self.timer = _Timer(ends_at, partial(_expire, weakref.ref(self), loop), loop)

    def _cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the blocks whose time is up."""
        self.timer = None
        now = loop.time()
        while self.running:
            first = next(iter(self.running))
            if first.ends_at > now:
                self.set_timer(first.ends_at, loop)
                return
            del self.running[first]
            first.expire()


def _expire(timeouts: "weakref.ref[AttemptTimeouts]", loop: asyncio.AbstractEventLoop) -> None:
    alive = timeouts()
    if alive is not None:
        alive.expire(loop)


class SharedTimeouts:
    """The timeouts of a client and its variants: one object for each length in use."""

    def __init__(self) -> None:
        self._of: weakref.WeakValueDictionary[float, AttemptTimeouts] = weakref.WeakValueDictionary()

    def get(self, seconds: float) -> AttemptTimeouts:
        """Return the timeouts of a length, shared as long as they are in use."""
        shared = self._of.get(seconds)
        if shared is None:
            shared = self._of[seconds] = AttemptTimeouts(seconds)
        return shared

    def close(self) -> None:
        """Leave no timer behind when the last call has ended."""
        for timeouts in list(self._of.values()):
            timeouts.close()


class TimeLimit:
    """One block, with the semantics of `asyncio.timeout`: raises `TimeoutError` when it takes too long.

    Args:
        timeouts: How long it may take.
        loop: The running event loop.
    """

    __slots__ = ("_cancelling", "_expired", "_loop", "_task", "_timeouts", "ends_at")

    def __init__(self, timeouts: AttemptTimeouts, loop: asyncio.AbstractEventLoop) -> None:
        self._timeouts = timeouts
        self._loop = loop
        self._expired = False

    def __enter__(self) -> None:
        loop = self._loop
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a timeout needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        timeouts = self._timeouts
        self.ends_at: float = loop.time() + timeouts.seconds
        timeouts.running[self] = None
        if timeouts.timer is None:
            timeouts.set_timer(self.ends_at, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        timeouts = self._timeouts
        timeouts.running.pop(self, None)
        if timeouts.is_closed:
            timeouts.close()
        # Others may have cancelled the task too: then their cancellation is the one to propagate.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the block."""
        self._expired = True
        self._task.cancel()
