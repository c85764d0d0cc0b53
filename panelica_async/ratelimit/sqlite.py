"""Several processes, one host, no server: they share a quota through a file in the user's cache directory."""

import asyncio
import errno
import hashlib
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from panelica_async.core.private_files import private_directory, private_file
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.schedule import SCHEMA, DamagedError, Schedule
from panelica_async.ratelimit.store import Reservation, ReserveRequest

__all__ = ["Ledger"]

# Seconds to wait for another process that writes; a claim takes it a ten-thousandth of that.
_BUSY_TIMEOUT = 1.0

# What SQLite says of a file that is damaged, or has other tables than ours.
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


def _boot_id() -> str:
    """Return a name of this run of the machine; empty where there is none, which delays and never hurries."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Ledger:
    """Answers claims from an SQLite file. It is not thread-safe, and does not wait for the event loop.

    A file that cannot be read, or holds what no member wrote, is thrown away. One that was removed or replaced is
    opened anew.

    Args:
        path: The file; it is made with its folder, both for this user alone.
        monotonic: Seconds of a clock that all processes share and that never goes back while the machine runs.
        wall: Unix time.
        boot: Returns a name of this run of the machine.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], str] = _boot_id,
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._wall = wall
        self._boot = boot
        self._database: sqlite3.Connection | None = None
        self._inode = -1

    def reserve(self, request: ReserveRequest) -> Reservation:
        """Take in what the member says, and give it places.

        Raises:
            sqlite3.Error: The file cannot be written, as on a full disk.
            OSError: The file or its folder cannot be made.
            ConfigurationError: The file or its folder is not this user's own.
        """
        try:
            return self._claim(request)
        except sqlite3.Error as error:
            self.close()
            if not isinstance(error, DamagedError) and getattr(error, "sqlite_errorcode", None) not in _BROKEN:
                raise
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._claim(request)

    def close(self) -> None:
        """Close the file; the next claim opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _claim(self, request: ReserveRequest) -> Reservation:
        with self._transaction() as database:
            return Schedule(database).reserve(
                request, boot=self._boot(), monotonic=self._monotonic(), wall=self._wall()
            )

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.rollback()
            raise
        database.commit()

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            if self._path.exists() and self._path.stat().st_ino == self._inode:
                return self._database
            self.close()
        private_directory(self._path.parent)
        private_file(self._path)
        self._inode = self._path.stat().st_ino
        # It moves between threads, one after the other.
        self._database = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(SCHEMA)
        return self._database


__all__ = ["HostCoordinator"]

# Raised with every change of the tables, so that old and new versions of the package do not meet in one file.
_FORMAT = 2


class HostCoordinator:
    """Shares a quota between all processes of this user on this host.

    Each claim is one short transaction, done in a thread, for a disk can make any of them long. The coordinators of a
    file in one process share thread and connection. One that was made before a fork can be used after it.

    Args:
        key: Names the quota: the API key, of which only a digest is kept.
        directory: Where the file is; by default `panelica_async` in the user's cache directory.
    """

    def __init__(self, key: str, *, directory: str | os.PathLike[str] | None = None) -> None:
        folder = _cache_directory() / "panelica_async" if directory is None else Path(directory)
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._path = folder / f"quota-v{_FORMAT}-{digest}.sqlite3"
        self._file: _File | None = None
        self._closed = False

    def prepare(self) -> None:
        """Make the directory of the file, or make sure that only this user can write to it.

        Not needed before a claim. It tells whether claims can work, before any limiter counts on them.

        Raises:
            ConfigurationError: It is not private to this user.
            OSError: It cannot be made or written to.
        """
        folder = self._path.parent
        private_directory(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "cannot be written", str(folder))

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Take in what the member says, and give it places.

        Raises:
            sqlite3.Error: The file cannot be written, as on a full disk.
            OSError: The file or its folder cannot be made.
            ConfigurationError: The coordinator is closed, or the file or its folder is not this user's own.
        """
        if self._closed:
            raise ConfigurationError("the coordinator of the rate limit is closed")
        if self._file is None or self._file.process != os.getpid():
            self._file = _File.of(self._path)
        file = self._file
        return await asyncio.get_running_loop().run_in_executor(file.thread, file.ledger.reserve, request)

    def close(self) -> None:
        """Release the file; it is closed with the last coordinator of it in this process."""
        self._closed = True
        self._file = None


class _File:
    """The thread and the connection through which this process uses a file."""

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self.ledger = Ledger(path)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panelica-quota")
        self.finalizer: weakref.finalize[..., _File] = weakref.finalize(self, _close, self.thread, self.ledger)
        self.finalizer.atexit = False  # the file is as good when the process just ends

    @classmethod
    def of(cls, path: Path) -> "_File":
        """Return that of a path; it is closed when no coordinator has it any more."""
        with _lock:
            file = _files.get(path)
            if file is None:
                file = _files[path] = cls(path)
            return file


def _close(thread: ThreadPoolExecutor, ledger: Ledger) -> None:
    thread.submit(ledger.close)
    thread.shutdown(wait=False)


_files: weakref.WeakValueDictionary[Path, _File] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_inherited: list[_File] = []


def _after_fork() -> None:
    """Leave the parent's connections as they are: SQLite must not even close them here."""
    global _lock  # noqa: PLW0603  another thread may have held it
    _lock = threading.Lock()
    for file in _files.values():
        file.finalizer.detach()
        _inherited.append(file)
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _cache_directory() -> Path:
    """Return the user's cache directory by the habits of the system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
