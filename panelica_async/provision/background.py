"""Keeps long work off the event loop: rows in slices, large files and journal notes in threads."""

import asyncio
import os
import sqlite3
import threading
import weakref
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar, overload

_LARGE_FILE: Final = 256 * 1024
"""Bytes of a file that takes milliseconds to read."""
SLICE: Final = 100
"""How many rows are processed before the event loop continues; they take milliseconds."""


class _Closeable(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T")
_File = TypeVar("_File", bound=_Closeable)


class Table:
    """A table in memory, for rows that may be too many to keep as Python objects.

    A garbage collection that visits a million objects blocks the program; so does a dict of a million strings when it
    grows. SQLite needs a third of their memory. A temporary file would need even less, but a full disk for temporary
    files would then fail runs whose journal is on another disk.

    Args:
        columns: The columns of the table `item` besides `number`, which counts the rows from 1. Rows are never deleted.
        indexed: Columns to look rows up by.
    """

    def __init__(self, columns: str, indexed: Iterable[str] = ()) -> None:
        # The thread that reads a large file is not the one that uses its rows.
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
        """Iterate over the rows that meet a condition; the event loop continues after each slice."""
        query = f"SELECT {columns} FROM item WHERE number > ? AND number <= ? AND {condition} ORDER BY number"  # noqa: S608 - our own names
        starts = range(0, len(self), SLICE)
        return _Slices([make(row) for row in self.execute(query, (start, start + SLICE))] for start in starts)

    def with_values(
        self, column: str, values: Iterable[str], columns: str, make: Callable[[Any], _T]
    ) -> AsyncIterator[_T]:
        """Iterate over the rows with each of some values in an indexed column, one value after another, in slices."""
        query = f"SELECT number, {columns} FROM item WHERE {column} = ? AND number > ? ORDER BY number LIMIT {SLICE}"  # noqa: S608 - our own names

        def slices() -> Iterator[list[_T]]:
            for value in values:
                last_number = 0
                while rows := self.execute(query, (value, last_number)).fetchall():
                    last_number = rows[-1][0]
                    yield [make(row[1:]) for row in rows]

        return _Slices(slices())

    def select(self, columns: str, make: Callable[[Any], _T], condition: str) -> Sequence[_T]:
        """Return the rows that meet a condition now. Each is read when it is accessed."""
        query = f"SELECT {columns} FROM item WHERE number = ?"  # noqa: S608 - our own names
        numbers = self.execute(f"SELECT number FROM item WHERE {condition} ORDER BY number")  # noqa: S608 - our own names
        return _Selection(
            array("q", (number for (number,) in numbers)),
            read=lambda number: make(self.execute(query, (number,)).fetchone()),
        )


class _Slices(AsyncIterator[_T]):
    """Iterates over items that come in slices. Unlike an async generator, it need not be closed."""

    def __init__(self, slices: Iterable[list[_T]]) -> None:
        self._slices = iter(slices)
        self._current: Iterator[_T] = iter(())

    async def __anext__(self) -> _T:
        while True:
            for item in self._current:
                return item
            await asyncio.sleep(0)
            following = next(self._slices, None)
            if following is None:
                raise StopAsyncIteration
            self._current = iter(following)


class _Selection(Sequence[_T]):
    """Some rows of a table, known by their numbers."""

    def __init__(self, numbers: "array[int]", read: Callable[[int], _T]) -> None:
        self._numbers = numbers
        self._read = read

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Sequence[_T]:
        if isinstance(index, slice):
            return [self._read(number) for number in self._numbers[index]]
        return self._read(self._numbers[index])


async def in_thread(function: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """Call a function in a thread. When cancelled, wait until it returns, so that nothing is closed while in use.

    Python crashes if an SQLite connection is closed while another thread reads from it.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **options))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        raise


async def open_in_background(open_file: Callable[[threading.Event, str | Path], _File], path: str | Path) -> _File:
    """Open a journal or a file of passwords; a large one in a thread, so that the event loop is not blocked.

    Args:
        open_file: Opens and reads the file. It may give up with `asyncio.CancelledError` once its event is set.
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
        opening.add_done_callback(_close_result)
        # Close the file before the caller continues, or the loop ends and drops the callback.
        await asyncio.wait([opening])
        raise


def _is_large(path: Path) -> bool:
    # The write-ahead log holds what SQLite has not moved into the database yet.
    files = (path, Path(f"{path}-wal"))
    try:
        return sum(file.stat().st_size for file in files if file.is_file()) >= _LARGE_FILE
    except OSError:
        return False  # Opening it will say what is wrong.


def _close_result(opening: "asyncio.Future[_File]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class GroupCommit(Generic[_T]):
    """Collects items and writes them to the disk in groups.

    A disk takes milliseconds to confirm a write, whatever its size. Items added while one group is being written make
    up the next one, so any number of callers share a confirmation and the event loop keeps running. Items that could
    not be written stay due: the next attempt writes them, in their order.

    A forked process cannot use it: the items and the open file belong to its parent, and it has no thread.

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
        self._was_error_raised = False
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

        When a caller is cancelled, what it added is written all the same.

        Raises:
            RuntimeError: This is a forked process.
        """
        self._require_process()
        target = self._added
        while self._written < target:
            group = self._current_group()
            # Unlike `await group`, this does not cancel the group with the caller. If the group itself is cancelled, as
            # all tasks are when a loop ends, its items are left to the next one.
            await asyncio.wait([group])
            if not group.cancelled():
                self._was_error_raised = group.exception() is not None
                group.result()

    def flush(self) -> None:
        """Write all items so far at once, in this thread.

        Raises:
            RuntimeError: This is a forked process.
        """
        self._require_process()
        try:
            self._write_due()
        except Exception:
            self._was_error_raised = True
            raise

    def close(self) -> None:
        """Write the remaining items and end the thread. May be called again; does nothing in a forked process.

        An error is not raised again if `commit` or `flush` has just raised it.
        """
        if self._is_closed or self._is_forked:
            return
        self._is_closed = True
        try:
            self._write_due()
        except Exception:
            if not self._was_error_raised:
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
        """Return the group that is being written or about to be; start one if this event loop has none."""
        loop = asyncio.get_running_loop()
        if self._group is None or self._group.done() or self._group.get_loop() is not loop:
            self._group = loop.create_task(self._commit_group())
            self._group.add_done_callback(_retrieve_error)
        return self._group

    async def _commit_group(self) -> None:
        # Let items that are added in this turn of the loop join the group.
        await asyncio.sleep(0)
        if self._is_closed:
            self._write_due()
        else:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write_due)

    def _write_due(self) -> None:
        with self._writing:
            # Items added meanwhile go into the next group.
            if group := self._due[:]:
                self._write(group)
                del self._due[: len(group)]
                self._written += len(group)
            self._was_error_raised = False


def _retrieve_error(group: asyncio.Task[None]) -> None:
    """Keep asyncio from reporting an error that no caller retrieves; the items of the group stay due."""
    if not group.cancelled():
        group.exception()
