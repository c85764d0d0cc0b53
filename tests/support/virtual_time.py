"""An event loop with a clock of its own: whenever nothing is left to do, it jumps to the next timer.

Hours of waiting pass in seconds and the same program always sees the same times:

    from tests.support.virtual_time import run

    def test_waits_an_hour():
        async def main() -> float:
            await asyncio.sleep(3600)
            return asyncio.get_running_loop().time()

        assert run(main()) >= 3600

Sockets work, for what can be read or written is served before time moves. Threads do not.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# A real clock never stands still; code that waits for "later than now" would spin for ever on one that does.
_TICK = 1e-7


class DeadlockError(RuntimeError):
    """Every task waits for something that no timer and no socket will bring."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        # A machine that has been up for a while: code that takes 0 for "never" must not pass.
        self.now = 1000.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += _TICK
        self.turns += 1
        events = super().select(0)
        if not events and timeout is None:
            raise DeadlockError("every task waits, and no timer is set")
        if not events and timeout is not None and timeout > 0:
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is virtual."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    @property
    def turns(self) -> int:
        """How often the loop has gone round; polling shows here."""
        return self._virtual.turns


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time.

    Raises:
        DeadlockError: Nothing can happen any more and the coroutine has not ended.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
