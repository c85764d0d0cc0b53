"""The state of the panel in SQLite, and the contents of a new panel. Queries run in the event loop, synchronously.

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

_TIME_COLUMNS = frozenset({"created_at", "expires_at", "modified_at", "updated_at"})
_FLAG_COLUMNS = frozenset({"ssl_enabled", "auto_renew", "is_primary", "encrypted", "active", "has_ssl"})
_JSON_COLUMNS = frozenset(
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
_PLAN_LIMITS = (
    "max_domains",
    "max_databases",
    "max_email_accounts",
    "max_ftp_accounts",
    "disk_space_mb",
    "bandwidth_mb",
)
_CLOUDFLARE_ZONES = {
    "023e105f4ecef8ad9ca31a8372d0c353": "example.com",
    "372e67954025e0ba6aaa6d586b9e0b59": "example.org",
}


class Store:
    """Stores objects by kind. The kind `domain` is written to the table `domains` and read from the view `domain`.

    Args:
        path: Database file, or `:memory:`.
        clock: Returns the panel's time in Unix seconds.

    Raises:
        ValueError: The file was written by another version of the sandbox.
        ConfigurationError: The file is not private to this user.
        OSError: The file cannot be created.
        sqlite3.Error: The file is not a database, or belongs to another program.
    """

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._columns: dict[str, frozenset[str]] = {}
        if path != ":memory:":
            ensure_private_file(Path(path))  # it contains API secrets
        self.connection: sqlite3.Connection = sqlite3.connect(path, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.create_function("now", 0, self.now)
        self.connection.create_function("traffic_mb", 2, self._month_traffic_mb)
        try:
            self._open(path)
        except BaseException as error:
            self.connection.close()
            error.add_note(f"The database of the sandbox is {path}.")
            raise

    def _open(self, path: str) -> None:
        """Create a new database, or bring an existing one up to date."""
        # With WAL and synchronous=NORMAL, every commit survives a crash of the process. `trusted_schema` allows the
        # views to call our functions.
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
            self._initialize(path)

    def _initialize(self, path: str) -> None:
        """Create schema and contents in one transaction, so that a file is either empty or complete."""
        # SQLite may be built without serialization, and then cannot copy a database.
        if path == ":memory:" and hasattr(self.connection, "deserialize"):
            self.connection.deserialize(_database_template())
            self.connection.execute("BEGIN")
        else:
            self.connection.executescript(f"BEGIN IMMEDIATE; {_script('schema.sql')} {_view_scripts()}")
        _seed(self)
        self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self.connection.execute("COMMIT")

    def _replace_views(self) -> None:
        """Replace the views of a database by those of this version."""
        views = self.rows("SELECT name FROM sqlite_master WHERE type = 'view'")
        drops = " ".join(f'DROP VIEW "{row["name"]}";' for row in views)
        self.connection.executescript(f"BEGIN IMMEDIATE; {drops} {_view_scripts()} COMMIT;")

    def now(self) -> int:
        """Return the panel's time in whole Unix seconds."""
        return int(self._clock())

    def close(self) -> None:
        """Close the database; one in memory is lost."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit the changes of the block, or undo all of them if it or the commit raises."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            # If a deferred foreign key is broken, this raises and leaves the transaction open.
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise

    def execute(self, sql: str, *values: object, **named: object) -> int:
        """Run a statement and return the number of rows it changed; its placeholders are all `?` or all named."""
        return self.connection.execute(sql, named or values).rowcount

    def rows(self, sql: str, *values: object, **named: object) -> list[Row]:
        """Return the rows of a query as a reply shows them; its placeholders are all `?` or all named."""
        return [_decode_row(row) for row in self.connection.execute(sql, named or values)]

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row; None if there is no row."""
        row = self.connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def exists(self, kind: str, **columns: object) -> bool:
        """Return whether an object has these values in its columns."""
        conditions = " AND ".join(f'"{name}" = ?' for name in columns)
        sql = f'SELECT 1 FROM "{kind}s" WHERE {conditions}'  # noqa: S608 - our own names
        return self.value(sql, *columns.values()) is not None

    def find(self, kind: str, identifier: str, *, key: str = "id") -> Row | None:
        """Return an object as a reply shows it, or None."""
        rows = self.rows(f'SELECT * FROM "{kind}" WHERE "{key}" = ?', identifier)  # noqa: S608 - our own names
        return rows[0] if rows else None

    def get(self, kind: str, identifier: str, *, key: str = "id") -> Row:
        """Return an object as a reply shows it.

        Raises:
            ApiError: 404, there is no such object.
        """
        row = self.find(kind, identifier, key=key)
        if row is None:
            raise not_found(kind, identifier)
        return row

    def insert(self, kind: str, row: Mapping[str, object]) -> None:
        """Add an object.

        Raises:
            ApiError: 409, such an object already exists.
        """
        names = ", ".join(f'"{name}"' for name in row)
        placeholders = ", ".join("?" * len(row))
        sql = f'INSERT INTO "{kind}s" ({names}) VALUES ({placeholders})'  # noqa: S608 - our own names
        self._write(kind, sql, row)

    def update(self, kind: str, identifier: str, changes: Mapping[str, object]) -> None:
        """Change these columns, if any.

        Raises:
            ApiError: 409, such an object already exists.
        """
        if not changes:
            return
        assignments = ", ".join(f'"{name}" = ?' for name in changes)
        sql = f'UPDATE "{kind}s" SET {assignments} WHERE id = ?'  # noqa: S608 - our own names
        self._write(kind, sql, changes, identifier)

    def delete(self, kind: str, identifier: str, *, key: str = "id") -> None:
        """Remove an object with everything that belongs to it.

        Raises:
            ApiError: 404, there is no such object.
        """
        if not self.execute(f'DELETE FROM "{kind}s" WHERE "{key}" = ?', identifier):  # noqa: S608 - our own names
            raise not_found(kind, identifier)

    def columns(self, kind: str) -> frozenset[str]:
        """Return the columns of a view, including those that replies do not show."""
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

    def _month_traffic_mb(self, domain: str, created_at: int) -> int:
        now = self.now()
        return sum(site_traffic(domain, created_at, month_of(now), now)) // _MB

    def _write(self, kind: str, sql: str, row: Mapping[str, object], *where_values: str) -> None:
        values = [_encode(value) for value in row.values()]
        try:
            self.connection.execute(sql, (*values, *where_values))
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode not in {
                sqlite3.SQLITE_CONSTRAINT_UNIQUE,
                sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
            }:
                raise
            raise conflict(kind, _duplicate_values(str(error), row)) from None


def new_id() -> str:
    """Return a new id, a UUID (evidence: ids)."""
    return str(uuid.uuid4())


def timestamp(seconds: float) -> str:
    """Format a time as the panel does, in RFC 3339 with a Z (evidence: times)."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def _database_template() -> bytes:
    """Return an empty database with tables and views, because copying one is faster than creating it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(f"BEGIN; {_script('schema.sql')} {_view_scripts()} COMMIT;")
        return connection.serialize()


def _view_scripts() -> str:
    return _script("views.sql") + _script("panel_views.sql")


def _script(name: str) -> str:
    return files("panelica_async.sandbox").joinpath(name).read_text("utf-8")


def _encode(value: object) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _decode_row(row: sqlite3.Row) -> Row:
    decoded: Row = {}
    for name in row.keys():  # noqa: SIM118 - iterating a Row gives its values
        if name.startswith("_"):
            continue
        value = row[name]
        if value is not None:
            if name in _TIME_COLUMNS:
                value = timestamp(value)
            elif name in _FLAG_COLUMNS:
                value = bool(value)
            elif name in _JSON_COLUMNS:
                value = json.loads(value)
        decoded[name] = value
    return decoded


def _duplicate_values(constraint: str, row: Mapping[str, object]) -> str:
    """Return the values that exist already, from a message such as `UNIQUE constraint failed: accounts.email`."""
    columns = [part.strip().rpartition(".")[2] for part in constraint.rpartition(":")[2].split(",")]
    return ", ".join(f"{column}={row[column]}" for column in columns if column in row)


# The contents of a new panel


def _seed(store: Store) -> None:
    """Add plans, the administrator root, services and Cloudflare zones to a new database."""
    now = store.now()
    booted_at = now - _UPTIME_SECONDS
    store.set_setting(_BOOTED_AT, str(booted_at))
    for name, *limits in _PLANS:
        plan = {"id": new_id(), "name": name, "slug": name.lower(), **dict(zip(_PLAN_LIMITS, limits, strict=True))}
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
    """Add accounts that a client of a current panel must not mistake for customers (evidence: accounts-list)."""
    for role in ("ADMIN", "RESELLER"):
        username = role.lower()
        # The database may have been used with the reference dialect, where a client can create an account of this name.
        if store.value("SELECT 1 FROM accounts WHERE role = ? OR username = ?", role, username) is None:
            account = {"id": new_id(), "username": username, "email": f"{username}@{HOSTNAME}", "role": role}
            store.insert("account", {**account, "full_name": role.title(), "created_at": store.now()})


def root_id(store: Store) -> str:
    """Return the id of the administrator root."""
    return str(store.value("SELECT id FROM accounts WHERE username = ?", ROOT_USERNAME))


def uptime_seconds(store: Store) -> int:
    """Return the seconds since the server started."""
    return store.now() - int(store.setting(_BOOTED_AT) or store.now())


# The traffic of sites


def site_traffic(domain: str, created_at: int, month: str, now: int) -> tuple[int, int]:
    """Return the bytes that a site has received and sent so far in a month, such as `2026-03`.

    Guess: a site receives between 100 and 999 bytes a second and sends four times as much.
    """
    start, end = _month_bounds(month)
    seconds = max(0, min(now, end) - max(created_at, start))
    received = seconds * (100 + crc32(domain.encode()) % 900)
    return received, received * 4


def month_of(now: int) -> str:
    """Return the month of a time in UTC, such as `2026-03`."""
    return _month_of_day(now // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY, UTC).strftime("%Y-%m")


@lru_cache
def _month_bounds(month: str) -> tuple[int, int]:
    """Return the first second of a month and of the next one."""
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    days = monthrange(start.year, start.month)[1]
    return int(start.timestamp()), int(start.timestamp()) + days * _DAY
