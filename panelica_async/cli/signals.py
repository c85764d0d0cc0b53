"""Ctrl-C, SIGTERM and a terminal that is closed, which have the same effect."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(call: Callable[[], object]) -> Generator[None, None, None]:
    """Call a function in the event loop for each SIGINT, SIGTERM and SIGHUP, instead of their usual effect.

    A SIGHUP that is ignored stays so: the command was started with `nohup`.
    Only the main thread may handle signals; in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Generator[None, None, None]:
    """Let SIGINT raise KeyboardInterrupt at once, for questions: the event loop cannot react while they wait."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interruption:
    """What a stop signal does to the current task. If `graceful`, the first requests a stop, and the next cancels.

    Args:
        announce: Called when a stop is requested.

    Attributes:
        stop: Set when a stop is requested.
        graceful: Whether the task watches `stop`; otherwise the first signal cancels it.
        cancelled: Whether the task was cancelled.
    """

    def __init__(self, announce: Callable[[], None] = lambda: None) -> None:
        self.stop: asyncio.Event = asyncio.Event()
        self.graceful: bool = False
        self.cancelled: bool = False
        self._announce = announce
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        """Handle a signal."""
        if self.graceful and not self.stop.is_set():
            self.stop.set()
            self._announce()
        elif self._task is not None:
            self.cancelled = True
            self._task.cancel()
