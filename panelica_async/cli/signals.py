"""Ctrl-C and SIGTERM, which mean the same."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(call: Callable[[], object]) -> Generator[None, None, None]:
    """Call a function in the event loop for each SIGINT and SIGTERM, in place of what they usually do.

    Only the main thread may take signals: a command that runs in another one leaves them alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Generator[None, None, None]:
    """Let SIGINT raise KeyboardInterrupt at once: for a question, during which the event loop cannot react."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interruption:
    """What stop signals do to the current task: while `rests` the first one asks it to come to rest, others cancel it.

    Args:
        announce: Called when the task is asked to come to rest.

    Attributes:
        rest: Set when the task is to come to rest.
        rests: Whether the task looks at `rest`.
        cancelled: Whether the task was cancelled.
    """

    def __init__(self, announce: Callable[[], None] = lambda: None) -> None:
        self.rest: asyncio.Event = asyncio.Event()
        self.rests: bool = False
        self.cancelled: bool = False
        self._announce = announce
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        """Take notice of a signal."""
        if self.rests and not self.rest.is_set():
            self.rest.set()
            self._announce()
        elif self._task is not None:
            self.cancelled = True
            self._task.cancel()
