"""Writes to the disk without stopping the event loop: what is due at a time is written together, in a thread."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_T = TypeVar("_T")


class GroupCommit(Generic[_T]):
    """Collects items, and forces them to the disk in groups.

    A disk takes milliseconds to confirm a write, whatever its size. While one group is on its way, what becomes due
    waits and makes up the next one, so that any number of callers share a confirmation and the event loop goes on.
    Items that could not be written stay due: the next attempt writes them, in their order.

    Args:
        write: Writes items in their order, all of them or none, and returns when they are on the disk. It is called
            from one thread at a time.
    """

    def __init__(self, write: Callable[[Sequence[_T]], None]) -> None:
        self._write = write
        self._due: list[_T] = []
        self._added = 0
        self._written = 0
        self._writing = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panelica-commit")
        self._group: asyncio.Task[None] | None = None
        self._has_failed = False
        self._is_closed = False

    def add(self, item: _T) -> None:
        """Add an item. It is on the disk once a `commit` that begins after this, or `flush`, has returned."""
        self._due.append(item)
        self._added += 1

    async def commit(self) -> None:
        """Wait until all that was added so far is on the disk.

        Cancelling a caller does not take back what it added.
        """
        due = self._added
        while self._written < due:
            if self._group is None:
                self._group = asyncio.create_task(self._commit_group())
                self._group.add_done_callback(_retrieve)
            await asyncio.shield(self._group)

    def flush(self) -> None:
        """Write all that was added so far, here and now."""
        with self._writing:
            # Others may add items meanwhile, which go into the next group.
            if group := self._due[:]:
                self._has_failed = True
                self._write(group)
                self._has_failed = False
                del self._due[: len(group)]
                self._written += len(group)

    def close(self) -> None:
        """Write what is left, and end the thread. May be called again.

        An error is raised if none was before: the caller of a `commit` or `flush` that failed knows it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        is_known = self._has_failed
        try:
            self.flush()
        except Exception:
            if not is_known:
                raise
        finally:
            self._thread.shutdown()

    async def _commit_group(self) -> None:
        try:
            # What others add in this turn of the loop goes along.
            await asyncio.sleep(0)
            if self._is_closed:
                self.flush()
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.flush)
        finally:
            self._group = None


def _retrieve(group: asyncio.Task[None]) -> None:
    """Read the error of a group, which is not lost when all its callers were cancelled: its items stay due."""
    if not group.cancelled():
        group.exception()
