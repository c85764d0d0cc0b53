"""The state of the panel in SQLite, used synchronously in the event loop; and the contents of a new panel.

Guesses: plans, services and server of a new panel, which follow the examples of the reference; the traffic of sites.
"""

import json
import sqlite3
import uuid
from calendar import monthrange
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from panelica_async.catalog import SERVICES
from panelica_async.core.private_files import ensure_private_file
from panelica_async.sandbox.messages import conflict, not_found

Row: TypeAlias = dict[str, Any]

SCHEMA_VERSION = 2

_TIMES = frozenset({"created_at", "expires_at", "modified_at", "updated_at"})
_FLAGS = frozenset({"ssl_enabled", "auto_renew", "is_primary", "encrypted", "active", "has_ssl"})
_JSON = frozenset(
    {
        "php_versions",
        "scopes",
        "ip_whitelist",
        "events",
        "destination_config",
        "columns",
        "data",
        "php_settings",
        "domain_names",
    }
)
_MB = 1024 * 1024
_DAY = 86400

ROOT_USERNAME = "root"
HOSTNAME = "server1.example.com"
PHP_VERSIONS = ("7.4", "8.0", "8.1", "8.2", "8.3", "8.4", "8.5")
NAME_SERVERS = (f"ns1.{HOSTNAME}", f"ns2.{HOSTNAME}")

_BOOTED_AT = "booted_at"
# The reference's health check shows an uptime of "10d 5h 30m".
_UPTIME_SECONDS = 10 * 86400 + 5 * 3600 + 30 * 60

# Name, then domains, databases, mailboxes, FTP users, disk space and traffic in MB; -1 is unlimited
# (evidence: plans-unlimited).
_PLANS = (
    ("Starter", 10, 20, 100, 20, 10240, 102400),
    ("Standard", 50, 100, 500, 100, 51200, 512000),
    ("Business", -1, -1, -1, -1, -1, -1),
)
_LIMITS = ("max_domains", "max_databases", "max_email_accounts", "max_ftp_accounts", "disk_space_mb", "bandwidth_mb")
_CLOUDFLARE_ZONES = {
    "023e105f4ecef8ad9ca31a8372d0c353": "example.com",
    "372e67954025e0ba6aaa6d586b9e0b59": "example.org",
}


class Store:
    """Objects by kind. The kind `domain` is written to the table `domains` and read from the view `domain`.

    Args:
        path: Database file, or `:memory:`.
        clock: Returns the panel's time in Unix seconds.

    Raises:
        ValueError: The file was written by another version of the sandbox.
        ConfigurationError: The file is not private to this user.
        OSError: The file cannot be created.
        sqlite3.Error: The file is no database, or that of another program.
    """

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._columns: dict[str, frozenset[str]] = {}
        if path != ":memory:":
            ensure_private_file(Path(path))  # it contains API secrets
        self.connection: sqlite3.Connection = sqlite3.connect(path, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.create_function("now", 0, self.now)
        self.connection.create_function("traffic_mb", 2, self._traffic_mb)
        try:
            self._open(path)
        except BaseException as error:
            self.connection.close()
            error.add_note(f"The database of the sandbox is {path}.")
            raise

    def _open(self, path: str) -> None:
        """Make a new database complete, and bring one that exists up to date."""
        # With WAL and synchronous=NORMAL, every commit survives a crash of the process. Views call our functions.
        self.connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            " PRAGMA foreign_keys = ON; PRAGMA trusted_schema = ON;"
        )
        version = self.value("PRAGMA user_version")
        if version not in {0, SCHEMA_VERSION}:
            raise ValueError(f"{path} has the schema {version} of another version: use a new file")
        if version:
            self._replace_views()
        else:
            self._fill(path)

    def _fill(self, path: str) -> None:
        """Make a new database, in one transaction, so that a file is either new or complete."""
        # An SQLite that was built without serialization cannot copy a database.
        if path == ":memory:" and hasattr(self.connection, "deserialize"):
            self.connection.deserialize(_empty_database())
            self.connection.execute("BEGIN")
        else:
            self.connection.executescript(f"BEGIN IMMEDIATE; {_script('schema.sql')} {_views()}")
        _seed(self)
        self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self.connection.execute("COMMIT")

    def _replace_views(self) -> None:
        """Give a database the views of this version of the sandbox."""
        views = self.rows("SELECT name FROM sqlite_master WHERE type = 'view'")
        drops = " ".join(f'DROP VIEW "{row["name"]}";' for row in views)
        self.connection.executescript(f"BEGIN IMMEDIATE; {drops} {_views()} COMMIT;")

    def now(self) -> int:
        """Return the panel's time in whole Unix seconds."""
        return int(self._clock())

    def close(self) -> None:
        """Close the database; one in memory is lost."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Keep all changes of the block, or none if it or the commit raises."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            # Fails, and leaves the transaction open, if a deferred foreign key is broken.
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise

    def execute(self, sql: str, *values: object, **named: object) -> int:
        """Run a statement and return the number of rows it changed; its placeholders are all `?` or all named."""
        return self.connection.execute(sql, named or values).rowcount

    def rows(self, sql: str, *values: object, **named: object) -> list[Row]:
        """Return the rows of a query as a reply shows them; its placeholders are all `?` or all named."""
        return [_decoded(row) for row in self.connection.execute(sql, named or values)]

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row; None if there are no rows."""
        row = self.connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def exists(self, kind: str, **columns: object) -> bool:
        """Return whether there is an object with these values in its columns."""
        tests = " AND ".join(f'"{name}" = ?' for name in columns)
        return self.value(f'SELECT 1 FROM "{kind}s" WHERE {tests}', *columns.values()) is not None  # noqa: S608 - our own names

    def find(self, kind: str, identity: str, *, key: str = "id") -> Row | None:
        """Return an object as a reply shows it, or None."""
        rows = self.rows(f'SELECT * FROM "{kind}" WHERE "{key}" = ?', identity)  # noqa: S608 - our own names
        return rows[0] if rows else None

    def get(self, kind: str, identity: str, *, key: str = "id") -> Row:
        """Return an object as a reply shows it.

        Raises:
            ApiError: 404, there is no such object.
        """
        row = self.find(kind, identity, key=key)
        if row is None:
            raise not_found(kind, identity)
        return row

    def insert(self, kind: str, row: Mapping[str, object]) -> None:
        """Add an object.

        Raises:
            ApiError: 409, such an object already exists.
        """
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        sql = f'INSERT INTO "{kind}s" ({names}) VALUES ({marks})'  # noqa: S608 - our own names
        self._write(kind, sql, row)

    def update(self, kind: str, identity: str, changes: Mapping[str, object]) -> None:
        """Change these columns, if any.

        Raises:
            ApiError: 409, such an object already exists.
        """
        if not changes:
            return
        assignments = ", ".join(f'"{name}" = ?' for name in changes)
        sql = f'UPDATE "{kind}s" SET {assignments} WHERE id = ?'  # noqa: S608 - our own names
        self._write(kind, sql, changes, identity)

    def delete(self, kind: str, identity: str, *, key: str = "id") -> None:
        """Remove an object with everything that belongs to it.

        Raises:
            ApiError: 404, there is no such object.
        """
        if not self.execute(f'DELETE FROM "{kind}s" WHERE "{key}" = ?', identity):  # noqa: S608 - our own names
            raise not_found(kind, identity)

    def columns(self, kind: str) -> frozenset[str]:
        """Return the columns that a view has, hidden ones included."""
        if kind not in self._columns:
            cursor = self.connection.execute(f'SELECT * FROM "{kind}" LIMIT 0')  # noqa: S608 - our own names
            self._columns[kind] = frozenset(column[0] for column in cursor.description)
        return self._columns[kind]

    def setting(self, name: str) -> str | None:
        """Return a setting of the sandbox itself."""
        value = self.value("SELECT value FROM settings WHERE name = ?", name)
        return None if value is None else str(value)

    def set_setting(self, name: str, value: str) -> None:
        """Store a setting of the sandbox itself."""
        self.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

    def _traffic_mb(self, domain: str, created_at: int) -> int:
        now = self.now()
        return sum(traffic(domain, created_at, month_of(now), now)) // _MB

    def _write(self, kind: str, sql: str, row: Mapping[str, object], *identity: str) -> None:
        values = [_encoded(value) for value in row.values()]
        try:
            self.connection.execute(sql, (*values, *identity))
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode not in {
                sqlite3.SQLITE_CONSTRAINT_UNIQUE,
                sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
            }:
                raise
            raise conflict(kind, _taken(str(error), row)) from None


def new_id() -> str:
    """Return a new id, a UUID (evidence: ids)."""
    return str(uuid.uuid4())


def timestamp(seconds: float) -> str:
    """Write a time as the panel does, in RFC 3339 with a Z (evidence: times)."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def _empty_database() -> bytes:
    """Return a database with tables and views; copying it is faster than making another."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(f"BEGIN; {_script('schema.sql')} {_views()} COMMIT;")
        return connection.serialize()


def _views() -> str:
    return _script("views.sql") + _script("panel_views.sql")


def _script(name: str) -> str:
    return files("panelica_async.sandbox").joinpath(name).read_text("utf-8")


def _encoded(value: object) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _decoded(row: sqlite3.Row) -> Row:
    decoded: Row = {}
    for name in row.keys():  # noqa: SIM118 - iterating a Row gives its values
        if name.startswith("_"):
            continue
        value = row[name]
        if value is not None:
            if name in _TIMES:
                value = timestamp(value)
            elif name in _FLAGS:
                value = bool(value)
            elif name in _JSON:
                value = json.loads(value)
        decoded[name] = value
    return decoded


def _taken(constraint: str, row: Mapping[str, object]) -> str:
    """Return the duplicate values, from a message such as `UNIQUE constraint failed: accounts.email`."""
    columns = [part.strip().rpartition(".")[2] for part in constraint.rpartition(":")[2].split(",")]
    return ", ".join(f"{column}={row[column]}" for column in columns if column in row)


# What a new panel has


def _seed(store: Store) -> None:
    """Fill a new database: plans, the administrator root, services, Cloudflare zones."""
    now = store.now()
    booted_at = now - _UPTIME_SECONDS
    store.set_setting(_BOOTED_AT, str(booted_at))
    for name, *limits in _PLANS:
        plan = {"id": new_id(), "name": name, "slug": name.lower(), **dict(zip(_LIMITS, limits, strict=True))}
        store.insert("plan", {**plan, "php_versions": list(PHP_VERSIONS), "created_at": now})
    # The list includes administrators, root too (evidence: accounts-list).
    root = {"id": new_id(), "username": ROOT_USERNAME, "email": f"{ROOT_USERNAME}@{HOSTNAME}", "role": "ROOT"}
    store.insert("account", {**root, "created_at": booted_at})
    for number, (name, display_name) in enumerate(SERVICES.items()):
        service = {"name": name, "display_name": display_name, "pid": 1000 + number, "started_at": booted_at}
        store.insert("service", {**service, "status": "running", "cpu_percent": 0.5, "memory_mb": 128})
    for zone_id, name in _CLOUDFLARE_ZONES.items():
        store.insert("cloudflare_zone", {"id": zone_id, "name": name, "status": "active"})


def seed_panel(store: Store) -> None:
    """Add accounts that a client of a current panel must not take for customers (evidence: accounts-list)."""
    for role in ("ADMIN", "RESELLER"):
        username = role.lower()
        # A database that the reference dialect has filled may have an account of this name.
        if store.value("SELECT 1 FROM accounts WHERE role = ? OR username = ?", role, username) is None:
            account = {"id": new_id(), "username": username, "email": f"{username}@{HOSTNAME}", "role": role}
            store.insert("account", {**account, "full_name": role.title(), "created_at": store.now()})


def root_id(store: Store) -> str:
    """Return the id of the administrator root."""
    return str(store.value("SELECT id FROM accounts WHERE username = ?", ROOT_USERNAME))


def uptime(store: Store) -> int:
    """Return the seconds since the server was started."""
    return store.now() - int(store.setting(_BOOTED_AT) or store.now())


# The traffic of sites


def traffic(domain: str, created_at: int, month: str, now: int) -> tuple[int, int]:
    """Return the bytes a site has received and sent in a month, `YYYY-MM`, so far.

    Guess: a site receives between 100 and 999 bytes a second and sends four times as much.
    """
    start, end = _bounds(month)
    seconds = max(0, min(now, end) - max(created_at, start))
    received = seconds * (100 + crc32(domain.encode()) % 900)
    return received, received * 4


def month_of(now: int) -> str:
    """Return the month of a time, as `YYYY-MM` in UTC."""
    return _month_of_day(now // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY, UTC).strftime("%Y-%m")


@lru_cache
def _bounds(month: str) -> tuple[int, int]:
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    days = monthrange(start.year, start.month)[1]
    return int(start.timestamp()), int(start.timestamp()) + days * _DAY
