"""The file of a journal: its tables, its version, its lock."""

import sqlite3
from pathlib import Path

from panelica_async.errors import ConfigurationError

VERSION = 2
"""Version of the tables. A journal of another version is refused."""

_APPLICATION_ID = 0x706E6C61
_SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    base_url TEXT NOT NULL,
    manifest_path TEXT,
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


def lock_journal(path: Path) -> sqlite3.Connection:
    """Lock a journal against other writers, until the returned connection is closed.

    The lock is on a file beside it, so that others may look on; it does not outlive its process.

    Raises:
        ConfigurationError: Another process is writing to it, or the file cannot be made.
    """
    try:
        connection = sqlite3.connect(f"{path}.lock", isolation_level=None, timeout=0)
    except sqlite3.OperationalError as error:
        raise ConfigurationError(f"cannot use {path} as a journal: {error}") from error
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        connection.close()
        raise ConfigurationError(
            f"{path} is in use by another process", hint="Wait until it has ended; a journal has one writer."
        ) from None
    return connection


def prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    """Make sure that a database is a journal; an empty one becomes one.

    Raises:
        ConfigurationError: It is another database, or a journal of another version.
        sqlite3.Error: It is no database.
    """
    connection.isolation_level = None
    connection.row_factory = sqlite3.Row
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_empty and application != _APPLICATION_ID:
        raise ConfigurationError(f"{path} is a database, but no journal")
    if not is_empty and version != VERSION:
        raise ConfigurationError(f"{path} is a journal of version {version}; this package reads version {VERSION}")
    if read_only:
        return
    # Readers do not wait for the writer, and what was written survives a power cut.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if is_empty:
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
