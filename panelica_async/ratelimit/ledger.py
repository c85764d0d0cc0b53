"""The store of claims of one host: an SQLite file that all processes open.

Time is that of the system's monotonic clock, which every process sees alike and nobody can set. What happens
when it starts anew is the business of `schedule`.
"""

import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from panelica_async.core.private_files import private_directory, private_file
from panelica_async.ratelimit.schedule import SCHEMA, Schedule
from panelica_async.ratelimit.store import Claim, Request

__all__ = ["Ledger"]

# Seconds to wait for another process that writes; a claim takes it a ten-thousandth of that.
_BUSY_TIMEOUT = 1.0


def _boot_id() -> str:
    """Return a name of this run of the machine; empty where there is none, which delays and never hurries."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Ledger:
    """Answers claims from an SQLite file. It is not thread-safe, and does not wait for the event loop.

    A file that cannot be read is thrown away. One that was removed or replaced is opened anew.

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

    def claim(self, request: Request) -> Claim:
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
            if getattr(error, "sqlite_errorcode", None) not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._claim(request)

    def close(self) -> None:
        """Close the file; the next claim opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _claim(self, request: Request) -> Claim:
        with self._transaction() as database:
            return Schedule(database).claim(request, boot=self._boot(), monotonic=self._monotonic(), wall=self._wall())

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
