"""Timeouts of attempts, with one timer for all in flight, and deadlines of calls.

If the event loop or the whole process stalls, a timer fires late. It then first lets the loop read what has arrived
meanwhile, so that a stall neither loses a reply nor makes the outcome of a write uncertain.
"""

import asyncio
import contextvars
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

_STALL = 0.25
"""Seconds that a timer may be late; if it is later, the loop was blocked, or the process stopped."""
_PASSES_AFTER_STALL = 20
"""Passes of the event loop before a late timer takes effect; in so many, the loop reads megabytes."""


class _Timer:
    """Calls a function at an instant or, after a stall, some passes of the loop later.

    Its context is empty: it must not keep alive what belongs to the call that happened to set it.
    """

    __slots__ = ("_callback", "_due", "_handle", "_loop", "_passes_left")

    def __init__(self, due: float, callback: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._due = due
        self._callback = callback
        self._loop = loop
        self._passes_left = _PASSES_AFTER_STALL
        self._schedule()

    def cancel(self) -> None:
        self._handle.cancel()

    def _schedule(self) -> None:
        self._handle = self._loop.call_at(self._due, self._fire, context=contextvars.Context())

    def _fire(self) -> None:
        if self._passes_left and self._loop.time() - self._due > _STALL:
            self._passes_left -= 1
            self._schedule()
        else:
            self._callback()


class Deadline:
    """`asyncio.timeout_at` that tolerates a stall, and can be lifted.

    Args:
        due: When it passes, by the clock of the loop.
    """

    def __init__(self, due: float) -> None:
        self._due = due
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        # A method of this object would make a reference cycle, which keeps the task alive.
        self._timer = _Timer(self._due, partial(self._timeout.reschedule, self._due), asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def lift(self) -> None:
        """Remove the deadline: the call may take as long as it needs."""
        self._timer.cancel()
        # The timer may have fired already in this pass of the loop.
        self._timeout.reschedule(None)


class AttemptTimeouts:
    """Limits attempts to a number of seconds, with a single timer for all of them.

    `asyncio.timeout` sets a timer for each block, which costs a call a tenth of its processor time. All attempts of a
    client may take equally long, so the first to begin is the first to expire, and one timer is enough.

    Args:
        seconds: How long an attempt may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running: dict[TimeLimit, None] = {}
        """Limits of the attempts in flight, in the order in which they expire."""
        self.timer: _Timer | None = None
        """Set for the first of them. It stays set when that attempt ends early: resetting it each time is slow."""
        self.is_closed: bool = False

    def __del__(self) -> None:
        self._cancel_timer()

    def close(self) -> None:
        """Cancel the timer, now or as soon as the last attempt has ended."""
        self.is_closed = True
        if not self.running:
            self._cancel_timer()

    def set_timer(self, ends_at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer for the attempt that expires next."""
        self.timer = _Timer(ends_at, partial(_expire, weakref.ref(self), loop), loop)

    def _cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the attempts whose time is up, and set the timer for the next one."""
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
    alive_timeouts = timeouts()
    if alive_timeouts is not None:
        alive_timeouts.expire(loop)


class SharedTimeouts:
    """The timeouts of a client and its variants: one object for each length in use."""

    def __init__(self) -> None:
        self._by_seconds: weakref.WeakValueDictionary[float, AttemptTimeouts] = weakref.WeakValueDictionary()

    def get(self, seconds: float) -> AttemptTimeouts:
        """Return the timeouts of a length; they are shared while anything uses them."""
        timeouts = self._by_seconds.get(seconds)
        if timeouts is None:
            timeouts = self._by_seconds[seconds] = AttemptTimeouts(seconds)
        return timeouts

    def close(self) -> None:
        """Cancel all timers, now or as soon as the last attempt has ended."""
        for timeouts in list(self._by_seconds.values()):
            timeouts.close()


class TimeLimit:
    """Limits one attempt, with the semantics of `asyncio.timeout`: raises `TimeoutError` when it takes too long.

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
        """Cancel the attempt."""
        self._expired = True
        self._task.cancel()
