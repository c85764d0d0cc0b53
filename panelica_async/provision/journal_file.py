"""The file of a journal: its tables, its version, its lock."""

import shutil
import sqlite3
import tempfile
from pathlib import Path

from panelica_async.core.private_files import private_file
from panelica_async.errors import ConfigurationError

VERSION = 4
"""Version of the tables. A journal of a newer version is refused, one of an older version is brought up to date."""

_APPLICATION_ID = 0x706E6C61
_SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    undone_at TEXT,
    base_url TEXT NOT NULL,
    manifest_path TEXT,
    manifest_relative TEXT,
    manifest_digest TEXT NOT NULL,
    manifest_reading TEXT NOT NULL,
    credentials_path TEXT
);
CREATE TABLE step (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id),
    at TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    site TEXT NOT NULL,
    state TEXT NOT NULL,
    parent_id TEXT,
    object_id TEXT,
    reason TEXT,
    code TEXT,
    request_id TEXT
);
"""
_MIGRATIONS = {
    1: "ALTER TABLE run ADD COLUMN manifest_reading TEXT NOT NULL DEFAULT '{}'",
    2: "ALTER TABLE run ADD COLUMN manifest_relative TEXT",
    3: "ALTER TABLE run ADD COLUMN undone_at TEXT",
}
"""What brings tables of a version to the next one."""


def open_journal(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open a journal for writing, made when it does not exist, and lock it against other writers.

    Returns:
        The connection, and the one that holds the lock as long as it is open.

    Raises:
        ConfigurationError: Another process is writing to it, or it cannot be used.
    """
    lock = _lock(path)
    try:
        private_file(path)
        connection = sqlite3.connect(path)
        try:
            prepare(connection, path)
            # Readers do not wait for the writer, and what was written survives a power cut.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    except BaseException as error:
        lock.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise unusable(path, error) from error
        raise
    return connection, lock


def open_snapshot(path: Path) -> sqlite3.Connection:
    """Copy a journal as it is at this moment into memory. It may be in use, or in a place that cannot be written.

    Raises:
        ConfigurationError: There is no such file, or it cannot be used.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no journal {path}", hint="Check the path, and --state-dir.")
    memory = sqlite3.connect(":memory:")
    try:
        try:
            _copy(path, memory)
        except sqlite3.OperationalError:
            # A database with a write-ahead log is read with files beside it, which a read-only place does not allow.
            with tempfile.TemporaryDirectory() as folder:
                for name in (path.name, f"{path.name}-wal"):
                    if path.with_name(name).exists():
                        shutil.copy(path.with_name(name), folder)
                _copy(Path(folder) / path.name, memory)
        prepare(memory, path)
    except BaseException as error:
        memory.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise unusable(path, error) from error
        raise
    return memory


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that a database is a journal of this version; an empty one becomes one, an older one is brought to it.

    Raises:
        ConfigurationError: It is another database, or a journal of a newer version.
        sqlite3.Error: It is no database.
    """
    connection.isolation_level = None
    connection.row_factory = sqlite3.Row
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        changes = f"{_SCHEMA} PRAGMA application_id = {_APPLICATION_ID};"
    elif application != _APPLICATION_ID:
        raise ConfigurationError(f"{path} is a database, but no journal")
    elif version > VERSION:
        raise ConfigurationError(
            f"{path} is a journal of version {version}; this package reads up to version {VERSION}",
            hint="Update panelica_async.",
        )
    else:
        changes = "".join(f"{_MIGRATIONS[step]};" for step in range(version, VERSION))
    if changes:
        connection.executescript(f"BEGIN; {changes} PRAGMA user_version = {VERSION}; COMMIT;")


def _lock(path: Path) -> sqlite3.Connection:
    """Lock a journal against other writers, until the returned connection is closed.

    The lock is on a file beside it, so that others may look on; it does not outlive its process.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        private_file(lock)
        connection = sqlite3.connect(lock, isolation_level=None, timeout=0)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        # A full disk is an error of the same class as a lock.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise unusable(lock, error) from error
        raise ConfigurationError(
            f"{path} is in use by another process", hint="Wait until it has ended; a journal has one writer."
        ) from None
    return connection


def _copy(path: Path, target: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        source.backup(target)
    finally:
        source.close()


def unusable(path: Path, error: sqlite3.Error | OSError) -> ConfigurationError:
    """Return the error for a file that cannot be used as a journal."""
    hint = "Free space, or make it and its directory writable, and run again."
    # sqlite3.DatabaseError itself, and not one of its subclasses, is what a damaged file gives.
    if type(error) is sqlite3.DatabaseError:
        hint = f"Move {path} away and apply again: what exists on the panel is found and left alone."
    return ConfigurationError(f"cannot use {path} as a journal: {error}", hint=hint)
