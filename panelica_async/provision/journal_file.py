"""The file of a journal: its tables, its version and its lock."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from panelica_async.core.private_files import ensure_private_file, is_same_file
from panelica_async.errors import ConfigurationError
from panelica_async.provision.journal_records import RECORD_COLUMNS, RUN_COLUMNS, RecordRow, Run

VERSION = 5
"""Version of the tables. A journal of a newer version is refused, one of an older version is migrated."""

Row: TypeAlias = tuple[str, tuple[object, ...]]
"""A row to be written: the table and the values, in the order of its columns."""

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
    credentials_path TEXT,
    dialect TEXT
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
    4: "ALTER TABLE run ADD COLUMN dialect TEXT",
}
"""Statements that bring the tables of a version to the next one."""

_TABLES = {"run": ("id", *RUN_COLUMNS), "step": RECORD_COLUMNS}
"""Columns that a row fills, by table."""


def open_journal(path: Path) -> tuple[sqlite3.Connection, ExitStack]:
    """Open a journal for writing, and lock it against other writers. It is made if it does not exist.

    Returns:
        The connection, and a stack that closes it and releases the lock.

    Raises:
        ConfigurationError: Another process is writing to it, or it cannot be used.
    """
    try:
        if path.is_dir():
            raise ConfigurationError(f"{path} is a directory", hint="Name the file of the journal.")
        _require_database(path)
        with ExitStack() as resources:
            resources.enter_context(closing(_lock(path)))
            ensure_private_file(path)
            # Only one thread at a time writes, but not always the one that opened it.
            connection = resources.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
            prepare(connection, path)
            # Readers do not wait for the writer, and a commit survives a power cut.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return connection, resources.pop_all()
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error


def _require_database(path: Path) -> None:
    """Make sure that an existing file is a database, before its mode is changed and a lock is put beside it.

    Raises:
        sqlite3.DatabaseError: It is something else, such as a manifest.
    """
    if path.is_file():
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0)
        with closing(connection), suppress(sqlite3.OperationalError):  # for example, it is in use
            connection.execute("PRAGMA schema_version")


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """Open a journal to read it as it is now. It may be in use, or on a read-only disk.

    Raises:
        ConfigurationError: There is no such file, or it cannot be used.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no journal {path}", hint="Check the path.")
    with ExitStack() as resources:
        try:
            connection = _open_for_reading(path, resources)
            if not _is_current(connection, path):
                memory = resources.enter_context(closing(sqlite3.connect(":memory:")))
                connection.backup(memory)
                prepare(memory, path)
                connection = memory
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise unusable(path, error) from error


def read_runs(path: Path) -> tuple[Run, ...]:
    """Read the runs of a journal, file_version first, and nothing else. It may be in use.

    Raises:
        ConfigurationError: There is no such file, or it cannot be used.
    """
    with reading(path) as connection, decoding(path):
        return tuple(runs_in(connection))


def runs_in(connection: sqlite3.Connection) -> list[Run]:
    """Return the runs in a journal, file_version first."""
    return [Run.from_row(row) for row in connection.execute("SELECT * FROM run ORDER BY id")]


def record_rows(connection: sqlite3.Connection) -> Iterator[RecordRow]:
    """Yield the rows of all records in a journal, file_version first; later rows of a step replace earlier ones."""
    yield from map(tuple, connection.execute(f"SELECT {', '.join(RECORD_COLUMNS)} FROM step ORDER BY seq"))  # noqa: S608 - our own names


@contextmanager
def decoding(path: Path) -> Generator[None]:
    """Turn errors of reading a journal, such as in a row from a newer package, into one that names the journal.

    Raises:
        ConfigurationError: The journal or one of its rows cannot be read.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} holds a record that this package cannot read: {error}",
            hint="Update panelica_async: a newer one may have written it.",
        ) from None


def is_in_use(path: Path) -> bool:
    """Return whether a journal has a writer now."""
    uri = f"{_lock_path(path).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            connection.execute("SELECT * FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    return False


def _open_for_reading(path: Path, resources: ExitStack) -> sqlite3.Connection:
    try:
        return _begin_reading(path, resources)
    except sqlite3.OperationalError:
        # Reading a write-ahead log needs further files beside the database, which a read-only disk does not allow.
        folder = resources.enter_context(tempfile.TemporaryDirectory())
        for name in (path.name, f"{path.name}-wal"):
            if path.with_name(name).exists():
                shutil.copy(path.with_name(name), folder)
        return _begin_reading(Path(folder) / path.name, resources)


def _begin_reading(path: Path, resources: ExitStack) -> sqlite3.Connection:
    """Open a database and begin to read it: later writes of others are not seen."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    resources.callback(connection.close)
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM sqlite_master").fetchall()
    return connection


def writer(connection: sqlite3.Connection, path: Path) -> Callable[[Sequence[Row]], None]:
    """Return the function that writes rows to an open journal; see `write_rows`."""
    opened = path.stat()

    def write(rows: Sequence[Row]) -> None:
        if not is_same_file(path, opened):
            # Whatever is written now would be lost with the file.
            raise sqlite3.OperationalError("it was moved, removed or replaced during the run")
        write_rows(connection, rows)

    return write


def write_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write rows in one transaction, which is on the disk on return. The row of a run replaces its earlier one.

    Raises:
        sqlite3.Error: They could not be written; none of them was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table, group in groupby(rows, key=itemgetter(0)):
            names = _TABLES[table]
            statement = f"REPLACE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our own names
            connection.executemany(statement, (values for _, values in group))
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to this version of a journal: initialise an empty one, migrate an older one.

    Raises:
        ConfigurationError: It is another database, or a journal of a newer version.
        sqlite3.Error: It is not a database.
    """
    connection.isolation_level = None
    connection.row_factory = sqlite3.Row
    if _is_current(connection, path):
        return
    if _is_empty(connection):
        script = f"{_SCHEMA} PRAGMA application_id = {_APPLICATION_ID};"
    else:
        file_version = _pragma(connection, "user_version")
        script = "".join(f"{_MIGRATIONS[version]};" for version in range(file_version, VERSION))
    connection.executescript(f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;")


def _is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a database is a journal of this version, rather than empty or older.

    Raises:
        ConfigurationError: It is another database, or a journal of a newer version.
    """
    if _is_empty(connection):
        return False
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        raise ConfigurationError(f"{path} is a database, but not a journal")
    version = _pragma(connection, "user_version")
    if version > VERSION:
        raise ConfigurationError(
            f"{path} is a journal of version {version}; this package reads up to version {VERSION}",
            hint="Update panelica_async.",
        )
    return version == VERSION


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT * FROM sqlite_master LIMIT 1").fetchone() is None


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _lock(path: Path) -> sqlite3.Connection:
    """Lock a journal against other writers, until the returned connection is closed.

    The lock is on a file beside it, so that others may read the journal; it does not outlive its process.
    """
    lock_path = _lock_path(path)
    try:
        ensure_private_file(lock_path)
        # The timeout outlasts `is_in_use`, which holds the file for a moment.
        connection = sqlite3.connect(lock_path, isolation_level=None, timeout=0.2, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        # A full disk raises the same class as a lock that is held.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise unusable(lock_path, error) from error
        raise ConfigurationError(
            f"{path} is in use by another process or run", hint="Wait until it has ended; a journal has one writer."
        ) from None
    return connection


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def unusable(path: Path, error: sqlite3.Error | OSError) -> ConfigurationError:
    """Return the error for a file that cannot be used as a journal."""
    hint = "Free space, or make it and its directory writable, and run again."
    # A damaged file raises sqlite3.DatabaseError itself, and none of its subclasses.
    if type(error) is sqlite3.DatabaseError:
        hint = f"Move {path} away and apply again: what exists on the panel is found and left alone."
        if path.suffix.lower() in {".csv", ".yaml", ".yml", ".json"}:
            hint = "Name the journal, not the manifest."
    return ConfigurationError(f"cannot use {path} as a journal: {error}", hint=hint)
