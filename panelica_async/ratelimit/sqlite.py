"""Shares a quota between the processes of a user on one host, through a SQLite file; no server is needed."""

import asyncio
import errno
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import attrs

from panelica_async.core.private_files import ensure_private_directory, ensure_private_file
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.limit import MAX_WAIT
from panelica_async.ratelimit.store import MEMBER_TTL, Reservation, ReserveRequest, grant, quota_name
from panelica_async.ratelimit.tables import FORMAT, SCHEMA, DamagedError, Members, State, StoredRules

__all__ = ["HostCoordinator", "QuotaFile"]

# Seconds to wait for another process to finish writing; a reservation takes a ten-thousandth of this.
_BUSY_TIMEOUT = 1.0

# Seconds between two attempts to create the tables.
_SETUP_PAUSE = 0.01

# The bits of an error code of SQLite that say what failed; the others say where.
_PRIMARY_CODE = 0xFF

# Errors of SQLite for a file that is damaged or has foreign tables.
_DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})

# Errors of the system for a directory that cannot be used until its permissions, or the path, change.
_UNUSABLE_DIRECTORY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR})
_DIRECTORY_HINT = "Set XDG_CACHE_HOME to a directory that all processes of this user can write to."

_Job = tuple[ReserveRequest, "Future[Reservation]"]


class HostCoordinator:
    """Shares a quota between all processes of this user on this host.

    Each reservation is one short transaction, in a thread because the disk may be slow. The coordinators of a file in
    one process share thread and connection. A coordinator that was created before a fork also works after it.

    Args:
        key: Names the quota: the API key, of which only a digest is kept.
        directory: Where the file is; by default `panelica_async` in the user's cache directory.

    Raises:
        ConfigurationError: `key` or `directory` is empty, or this user has no home directory.
    """

    def __init__(self, key: str, *, directory: str | os.PathLike[str] | None = None) -> None:
        if directory == "":
            raise ConfigurationError("directory must not be empty")
        folder = _cache_directory() / "panelica_async" if directory is None else Path(directory)
        # Absolute: the program may change its working directory, as daemons do.
        self._path = folder.absolute() / f"quota-v{FORMAT}-{quota_name(key)}.sqlite3"
        self._worker: _Worker | None = None
        self._closed = False

    def prepare(self) -> None:
        """Create the directory of the file, or check that only this user can write to it.

        A reservation does this, too. Call it beforehand to check that reservations can work.

        Raises:
            ConfigurationError: The directory is not private to this user.
            OSError: The directory cannot be created or written to.
        """
        folder = self._path.parent
        ensure_private_directory(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "cannot be written", str(folder))

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Record what the member reports, and grant it permits.

        Raises:
            sqlite3.Error: The file cannot be written, as on a full disk.
            OSError: The file or its directory cannot be created, as on a full disk.
            ConfigurationError: The coordinator is closed, or the file or its directory is not private to this user or
                cannot be written.
        """
        if self._closed:
            raise ConfigurationError("the coordinator of the rate limit is closed")
        if self._worker is None or self._worker.process != os.getpid():
            self._worker = _Worker.for_path(self._path)
        return await self._worker.reserve(request)

    def close(self) -> None:
        """Release the file; it is closed with its last coordinator in this process."""
        self._closed = True
        self._worker = None


def _cache_directory() -> Path:
    """Return the user's cache directory, by the conventions of the system."""
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches"
        # By the same conventions, a relative path is ignored: it would depend on the working directory.
        cache_home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return cache_home if cache_home.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        # A container may run as a user that its system does not know.
        raise ConfigurationError("this user has no home directory", hint=_DIRECTORY_HINT) from None


class _Worker:
    """The thread in which this process uses a file; it ends with the last coordinator of the file.

    It is not an executor, because the garbage collector may end it in any thread at any moment, even one that holds the
    lock of all executors. A `SimpleQueue` needs no lock.
    """

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self._file = QuotaFile(path)  # kept in a child process, see `_after_fork`
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.finalizer = weakref.finalize(self, self._jobs.put, None)
        self.finalizer.atexit = False  # the file is safe even if the process ends without closing it
        threading.Thread(target=_serve_jobs, args=(self._file, self._jobs), name="panelica-quota", daemon=True).start()

    @classmethod
    def for_path(cls, path: Path) -> "_Worker":
        """Return the worker of a file."""
        with _workers_lock:
            worker = _workers.get(path)
            if worker is None:
                worker = _workers[path] = cls(path)
            return worker

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Reserve in the thread."""
        answer: Future[Reservation] = Future()
        self._jobs.put((request, answer))
        return await asyncio.wrap_future(answer)


def _serve_jobs(file: "QuotaFile", jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        request, answer = job
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(file.reserve(request))
            except BaseException as error:  # noqa: BLE001  the caller gets it
                answer.set_exception(error)
        del job, request, answer
    file.close()


_workers: weakref.WeakValueDictionary[Path, _Worker] = weakref.WeakValueDictionary()
_workers_lock = threading.Lock()
_inherited_workers: list[_Worker] = []


def _after_fork() -> None:
    """Keep the parent's connections open and unused: SQLite must not even close them in a child."""
    global _workers_lock  # noqa: PLW0603  another thread may have held it
    _workers_lock = threading.Lock()
    for worker in _workers.values():
        worker.finalizer.detach()
        _inherited_workers.append(worker)
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _boot_id() -> str:
    """Return a name of this boot of the machine; empty if the system has none, which at worst delays requests."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class QuotaFile:
    """A store in a SQLite file. It is not thread-safe, and blocks.

    A file that is damaged, or contains data that no member wrote, is replaced. If the file was removed or replaced, the
    new one is opened.

    Args:
        path: The file; it is created with its directory, both private to this user.
        monotonic: Seconds of a clock that all processes share and that never goes back while the machine runs.
        wall: Unix time.
        boot: Returns a name of this boot of the machine.
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
        """Record what the member reports, and grant it permits.

        Raises:
            sqlite3.Error: The file cannot be written, as on a full disk.
            OSError: The file or its directory cannot be created, as on a full disk.
            ConfigurationError: The file or its directory is not private to this user or cannot be written.
        """
        try:
            return self._reserve(request)
        except sqlite3.Error as error:
            self.close()
            if not isinstance(error, DamagedError) and getattr(error, "sqlite_errorcode", None) not in _DAMAGE_CODES:
                raise
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._reserve(request)

    def close(self) -> None:
        """Close the file; the next reservation opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _reserve(self, request: ReserveRequest) -> Reservation:
        with self._transaction() as database:
            state = State.load(database)
            now = state.advance(boot=self._boot(), monotonic=self._monotonic(), wall=self._wall())
            rules = StoredRules(database, state, request.limit)
            rules.add_report(now, request.unrecorded)
            # A member that does not know yet that the store lost its memory must first report what it sent.
            is_up_to_date = request.store in {"", state.store}
            if is_up_to_date:
                rules.add_usage(now, minute=request.minute_usage, hour=request.hour_usage)
            if request.pause or request.refused:
                state.paused_until = max(state.paused_until, now + min(request.pause, MAX_WAIT))
            if request.refused:
                rules.slow_down(now, state.paused_until)
            members = Members(database, request, now)
            delays, opens_in, retry_in = grant(
                rules,
                request if is_up_to_date else attrs.evolve(request, wanted=0),
                now=now,
                paused_until=state.paused_until,
                peers=members.peers,
                rivals=members.rivals,
            )
            if not is_up_to_date:
                retry_in = 0.0
            members.add((delays[-1] if delays else retry_in) + MEMBER_TTL)
            state.save(database, rules.bucket)
            return Reservation(
                delays=delays,
                opens_in=opens_in,
                retry_in=retry_in,
                members=members.count + 1,
                store=state.store,
                minute_used=rules.minute.used(now),
                hour_used=rules.hour.used(now),
                interactive_used=rules.interactive.used(now),
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
        try:
            ensure_private_directory(self._path.parent)
            ensure_private_file(self._path)
        except OSError as error:
            if error.errno not in _UNUSABLE_DIRECTORY:
                raise
            raise ConfigurationError(f"{self._path.parent}: {error.strerror}", hint=_DIRECTORY_HINT) from error
        self._inode = self._path.stat().st_ino
        # Without the check, because the garbage collector may close it in another thread.
        self._database = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        _create_tables(self._database)
        return self._database


def _create_tables(database: sqlite3.Connection) -> None:
    """Create the tables, waiting for other processes that do the same at the same time."""
    gives_up_at = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            # SQLite does not wait when two connections change the journal mode: each would wait for the other.
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > gives_up_at:
                raise
            time.sleep(_SETUP_PAUSE)
        else:
            return
