"""Builds what belongs to a site from single entries: mappings as `cells` returns them, or of YAML and JSON.

Every function raises `InvalidValueError` when the entry is invalid. An empty domain stands for one that was refused:
nothing is compared with it.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager

from panelica_async.provision.manifest import cells, fields
from panelica_async.provision.manifest.dns import record
from panelica_async.provision.manifest.problems import InvalidValueError
from panelica_async.provision.manifest.sites import ALL, Database, DatabaseUser, DnsRecord, FtpUser, Mailbox

# Guess: what fits the integer column of any panel.
_MAX_QUOTA_MB = 2**31 - 1


def read(column: str, raw: object) -> cells.Entry:
    """Return an entry as a mapping, whether it is one already or text as in a cell."""
    return cells.READERS[column](raw) if isinstance(raw, str) else _mapping(raw)


def dns_record(entry: cells.Entry, domain: str) -> DnsRecord:
    """Build a record of the zone of a domain."""
    _expect(entry, ("name", "type", "content", "ttl", "priority"))
    name = fields.text(entry.get("name"))
    with _about(name):
        content = entry.get("content")
        return record(
            name=name,
            type=fields.text(entry.get("type")),
            # Text in parentheses may span several lines.
            content=fields.trim(content) if isinstance(content, str) else fields.text(content),
            ttl=entry.get("ttl"),
            priority=entry.get("priority"),
            domain=domain,
        )


def database(entry: cells.Entry, _domain: str) -> Database:
    """Build a database with its users."""
    _expect(entry, ("name", "type", "users"))
    name = fields.database_name(fields.text(entry.get("name")))
    with _about(name):
        users = entry.get("users") or ()
        if not fields.is_list(users):
            raise InvalidValueError("users must be a list")
        return Database(
            name=name,
            type=fields.choice(fields.text(entry.get("type")).lower() or "mysql", fields.DATABASE_TYPES),
            users=_distinct(map(_database_user, users)),
        )


def mailbox(entry: cells.Entry, domain: str) -> Mailbox:
    """Build a mailbox; its name may also be the full address."""
    _expect(entry, ("local_part", "password", "quota_mb"))
    address = fields.text(entry.get("local_part"))
    local, _, host = address.partition("@")
    if host and fields.domain_name(host) != domain and domain:
        raise InvalidValueError(f"is not an address of {domain}", address)
    local = fields.mailbox_name(local)
    with _about(local):
        return Mailbox(
            local_part=local,
            password=fields.password(entry.get("password")),
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=1, maximum=_MAX_QUOTA_MB),
        )


def ftp_user(entry: cells.Entry, _domain: str) -> FtpUser:
    """Build an FTP user."""
    _expect(entry, ("username", "password", "home_directory", "quota_mb"))
    username = fields.ftp_name(fields.text(entry.get("username")))
    with _about(username):
        home = fields.text(entry.get("home_directory"))
        return FtpUser(
            username=username,
            password=fields.password(entry.get("password")),
            home_directory=fields.home_directory(home) if home else None,
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=0, maximum=_MAX_QUOTA_MB),
        )


def _database_user(entry: object) -> DatabaseUser:
    user: Mapping[str, object] = {"username": entry} if isinstance(entry, str) else _mapping(entry)
    _expect(user, ("username", "password", "privileges"))
    username = fields.database_name(fields.text(user.get("username")))
    with _about(username):
        return DatabaseUser(
            username=username,
            password=fields.password(user.get("password")),
            privileges=fields.text(user.get("privileges")) or ALL,
        )


def _distinct(users: Iterable[DatabaseUser]) -> tuple[DatabaseUser, ...]:
    by_name: dict[str, DatabaseUser] = {}
    for user in users:
        if by_name.setdefault(user.username, user) is not user:
            raise InvalidValueError(f"user {user.username!r} appears twice")
    return tuple(by_name.values())


def _mapping(raw: object) -> cells.Entry:
    mapping = fields.as_mapping(raw)
    if mapping is None:
        raise InvalidValueError("an entry must be text or a mapping; put numbers and words such as yes in quotes")
    return mapping


def _expect(entry: cells.Entry, keys: Collection[str]) -> None:
    unknown = [key for key in entry if key not in keys]
    if unknown:
        raise InvalidValueError(f"unknown key {unknown[0]!r}; expected one of {', '.join(keys)}")


@contextmanager
def _about(name: str) -> Generator[None]:
    """Put the name of the entry before the error."""
    try:
        yield
    except InvalidValueError as error:
        raise error.inside(name) from None
