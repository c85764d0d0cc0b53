"""Work that would block the event loop: large files are read in a thread, many records are processed in slices."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

# Bytes: a file of this size takes milliseconds to read.
_LARGE: Final = 256 * 1024
SLICE: Final = 100
"""How many items are processed before the event loop continues; they take milliseconds."""


class _Closeable(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T")
_File = TypeVar("_File", bound=_Closeable)


def in_slices(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Iterate over items, and let the event loop go on after each slice of them."""
    return _Slices(items)


class _Slices(AsyncIterator[_T]):
    """Unlike an async generator, this need not be closed when a loop over it is left early."""

    def __init__(self, items: Iterable[_T]) -> None:
        self._items = iter(items)
        self._left = SLICE

    async def __anext__(self) -> _T:
        if not self._left:
            await asyncio.sleep(0)
            self._left = SLICE
        self._left -= 1
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None


async def opened(open_file: Callable[[threading.Event, str | Path], _File], path: str | Path) -> _File:
    """Open a journal or a file of passwords without holding up the event loop: a large one in a thread.

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
        opening.add_done_callback(_close)
        # The file is closed before its caller goes on, and before a loop ends that would cancel the callback.
        await asyncio.wait([opening])
        raise


def _is_large(path: Path) -> bool:
    # What SQLite has not moved into a database yet is beside it.
    files = (path, path.with_name(f"{path.name}-wal"))
    try:
        return sum(file.stat().st_size for file in files if file.is_file()) >= _LARGE
    except OSError:
        return False  # Opening it says what is wrong.


def _close(opening: "asyncio.Future[_File]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
