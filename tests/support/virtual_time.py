"""An event loop with a virtual clock: whenever nothing is left to do, the clock jumps to the next timer.

Hours of waiting pass in seconds, and a program sees the same times in every run:

    from tests.support.virtual_time import run

    def test_waits_an_hour():
        async def main() -> float:
            await asyncio.sleep(3600)
            return asyncio.get_running_loop().time()

        assert run(main()) >= 3600

Sockets work, because pending reads and writes are served before time moves. Time stands still while a thread works
for the loop (`run_in_executor`).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

# A real clock never stands still; on one that does, code that waits for "later than now" would spin forever.
_TICK = 1e-7


_MOST_TURNS = 2_000_000
"""How many turns a loop may take: less than a minute of work, and thirty times what the longest test needs."""


class DeadlockError(RuntimeError):
    """Every task waits, and no timer or socket will ever wake one."""


class EndlessError(RuntimeError):
    """The loop never ends: a task polls for something that never comes."""


class _Selector(selectors.DefaultSelector):
    def __init__(self, most_turns: int) -> None:
        super().__init__()
        self._most_turns = most_turns
        # As on a machine that has been up for a while: code that takes 0 for "never" must fail.
        self.now = 1000.0
        self.turns = 0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += _TICK
        self.turns += 1
        if self.turns > self._most_turns:
            # The tasks that are cancelled by this error need some turns to end.
            self._most_turns *= 2
            raise EndlessError(f"the loop took {self.turns - 1:,} turns, and the program has not ended")
        # A thread that works for the loop wakes the selector when it is done.
        events = super().select(None if self.threads and timeout != 0 else 0)
        if not events and timeout is None:
            raise DeadlockError("every task waits, and no timer is set")
        if not events and timeout is not None and timeout > 0:
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is virtual."""

    def __init__(self, most_turns: int = _MOST_TURNS) -> None:
        self._virtual = _Selector(most_turns)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio calls it
        self._virtual.threads += 1
        try:
            await super().shutdown_default_executor(*([] if timeout is None else [timeout]))
        finally:
            self._virtual.threads -= 1

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._virtual.threads -= 1

    @property
    def turns(self) -> int:
        """How many turns the loop has taken; a program that polls takes many."""
        return self._virtual.turns


def now() -> float:
    """Return the time of the running loop."""
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T], *, most_turns: int = _MOST_TURNS) -> T:
    """Run a coroutine to its end in virtual time.

    Args:
        main: The coroutine.
        most_turns: How many turns the loop may take.

    Raises:
        DeadlockError: Nothing can wake the coroutine, and it has not ended.
        EndlessError: The loop took too many turns, and the coroutine has not ended.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, most_turns)) as runner:
        return runner.run(main)
