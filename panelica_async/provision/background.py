"""Keeps long work off the event loop: rows in slices, large files and journal notes in threads."""

import asyncio
import os
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

# Bytes: a file of this size takes milliseconds to read.
_LARGE: Final = 256 * 1024
SLICE: Final = 100
"""How many items are processed before the event loop continues; they take milliseconds."""


class _Closeable(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T")
_File = TypeVar("_File", bound=_Closeable)


class Table:
    """A table for rows that may be too many to keep as objects, in memory.

    Each garbage collection that visits a million objects blocks the program; a dict of a million texts blocks it
    whenever it grows. SQLite needs a third of their memory. A temporary file would need less, but where its disk is
    full or cannot be written, a run would fail although the disk of its journal is fine.

    Args:
        columns: The columns of `item` besides `number`, the number of the row from 1. A row is never deleted.
        indexed: Columns to look rows up by.
    """

    def __init__(self, columns: str, indexed: Iterable[str] = ()) -> None:
        # A large file is read in one thread and used in another.
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.execute(f"CREATE TABLE item (number INTEGER PRIMARY KEY, {columns})")
        for name in indexed:
            connection.execute(f"CREATE INDEX by_{name} ON item ({name})")
        self.execute: Callable[..., sqlite3.Cursor] = connection.execute
        self.close: Callable[[], object] = weakref.finalize(self, connection.close)

    def __len__(self) -> int:
        number: int = self.execute("SELECT coalesce(max(number), 0) FROM item").fetchone()[0]
        return number

    def in_slices(self, columns: str, make: Callable[[Any], _T], condition: str = "true") -> AsyncIterator[_T]:
        """Iterate over the rows that meet a condition, and let the event loop go on after each slice of rows."""
        query = f"SELECT {columns} FROM item WHERE number > ? AND number <= ? AND {condition} ORDER BY number"  # noqa: S608 - of callers
        starts = range(0, len(self), SLICE)
        return _Pages([make(row) for row in self.execute(query, (start, start + SLICE))] for start in starts)

    def having(self, column: str, values: Iterable[str], columns: str, make: Callable[[Any], _T]) -> AsyncIterator[_T]:
        """Iterate over the rows with one value after another in an indexed column, in slices as well."""
        query = f"SELECT number, {columns} FROM item WHERE {column} = ? AND number > ? ORDER BY number LIMIT {SLICE}"  # noqa: S608 - of callers

        def pages() -> Iterator[list[_T]]:
            for value in values:
                last = 0
                while rows := self.execute(query, (value, last)).fetchall():
                    last = rows[-1][0]
                    yield [make(row[1:]) for row in rows]

        return _Pages(pages())


class _Pages(AsyncIterator[_T]):
    """Unlike an async generator, this need not be closed when a loop over it is left early."""

    def __init__(self, pages: Iterable[list[_T]]) -> None:
        self._pages = iter(pages)
        self._page: Iterator[_T] = iter(())

    async def __anext__(self) -> _T:
        while True:
            for item in self._page:
                return item
            await asyncio.sleep(0)
            page = next(self._pages, None)
            if page is None:
                raise StopAsyncIteration
            self._page = iter(page)


async def in_thread(function: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """Call a function in a thread; when cancelled, wait for its end, so that nothing is closed while it is used.

    SQLite's module crashes Python when a connection is closed while another thread reads from it.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **options))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        raise


async def opened(open_file: Callable[[threading.Event, str | Path], _File], path: str | Path) -> _File:
    """Open a journal or a file of passwords without blocking the event loop: a large one in a thread.

    Args:
        open_file: Opens and reads the file. When the event is set it may give up with `asyncio.CancelledError`.
        path: The file.
    """
    cancelled = threading.Event()
    if not _is_large(Path(path)):
        return open_file(cancelled, path)
    opening = asyncio.ensure_future(asyncio.to_thread(open_file, cancelled, path))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        cancelled.set()
        opening.add_done_callback(_close_opened)
        # The file is closed before its caller continues, and before a loop ends that would cancel the callback.
        await asyncio.wait([opening])
        raise


def _is_large(path: Path) -> bool:
    # What SQLite has not moved into a database yet is beside it.
    files = (path, Path(f"{path}-wal"))
    try:
        return sum(file.stat().st_size for file in files if file.is_file()) >= _LARGE
    except OSError:
        return False  # Opening it says what is wrong.


def _close_opened(opening: "asyncio.Future[_File]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class GroupCommit(Generic[_T]):
    """Collects items, and forces them to the disk in groups.

    A disk takes milliseconds to confirm a write, whatever its size. Items added while one group is being written make
    up the next one, so any number of callers share a confirmation and the event loop keeps running. Items that could
    not be written stay due: the next attempt writes them, in their order.

    A forked process cannot use it: the items and the open file belong to its parent, and the thread is not there.

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
        self._process = os.getpid()
        self._is_error_known = False
        self._is_closed = False

    def add(self, item: _T) -> None:
        """Add an item. It is on the disk once a later call of `commit` or `flush` has returned.

        Raises:
            RuntimeError: This is a forked process.
        """
        self._require_process()
        self._due.append(item)
        self._added += 1

    async def commit(self) -> None:
        """Wait until all items so far are on the disk.

        Cancelling a caller does not take back what it added.

        Raises:
            RuntimeError: This is a forked process.
        """
        self._require_process()
        due = self._added
        while self._written < due:
            group = self._current_group()
            # Unlike `await group`, this leaves the group alone when the caller is cancelled. A group that is cancelled
            # itself, as all tasks are when a loop ends, leaves its items to the next one.
            await asyncio.wait([group])
            if not group.cancelled():
                self._is_error_known = group.exception() is not None
                group.result()

    def flush(self) -> None:
        """Write all items so far, here and now.

        Raises:
            RuntimeError: This is a forked process.
        """
        self._require_process()
        try:
            self._write_due()
        except Exception:
            self._is_error_known = True
            raise

    def close(self) -> None:
        """Write what is left, and end the thread. May be called again; does nothing in a forked process.

        An error is raised unless it is known already: `commit` or `flush` raised it last time.
        """
        if self._is_closed or self._is_forked:
            return
        self._is_closed = True
        try:
            self._write_due()
        except Exception:
            if not self._is_error_known:
                raise
        finally:
            self._thread.shutdown()

    @property
    def _is_forked(self) -> bool:
        return os.getpid() != self._process

    def _require_process(self) -> None:
        if self._is_forked:
            raise RuntimeError("a forked process cannot write to a file of its parent; open it in the new process")

    def _current_group(self) -> asyncio.Task[None]:
        """Return the group that is being written or about to be; begin one if there is none in this event loop."""
        loop = asyncio.get_running_loop()
        if self._group is None or self._group.done() or self._group.get_loop() is not loop:
            self._group = loop.create_task(self._commit_group())
            self._group.add_done_callback(_retrieve_error)
        return self._group

    async def _commit_group(self) -> None:
        # Items that others add in this turn of the loop join the group.
        await asyncio.sleep(0)
        if self._is_closed:
            self._write_due()
        else:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write_due)

    def _write_due(self) -> None:
        with self._writing:
            # Others may add items meanwhile, which go into the next group.
            if group := self._due[:]:
                self._write(group)
                del self._due[: len(group)]
                self._written += len(group)
            self._is_error_known = False


def _retrieve_error(group: asyncio.Task[None]) -> None:
    """Read the error of a group, which is not lost when all its callers were cancelled: its items stay due."""
    if not group.cancelled():
        group.exception()
