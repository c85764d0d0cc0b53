"""Several mailboxes, FTP users, databases or DNS records in one cell: how they are written, split and checked.

- Mailboxes are separated by `,` `;` `|` or line breaks: `info`, `info:password`, `info::1024` (the number is the
  quota in MB), `info:"password":1024`.
- FTP users likewise: `deploy`, `deploy:password`, `deploy::/htdocs:500`, `deploy:"password":/htdocs`.
- Databases likewise: `shop`, `shop:user`, `shop:user:password`, `shop:first+second`, `postgresql/shop:user`.
- DNS records are separated by `|` or line breaks only, because TXT records contain the other separators, and are
  written as in a zone file: `www A 192.0.2.10`, `www 300 IN A 192.0.2.10`, `www 1h A 192.0.2.10`,
  `@ MX 10 mail.example.com`.

A password that is left out is generated. Without quotes, a password ends at a line break, or at a separator and a blank
before a valid entry with a password of at least 8 characters: `info:hunter22, sales:hunter33`. Put a password in quotes
when anything else follows it in the cell, or it is unclear where it ends: `info:"a,b", sales`. Within quotes, `""` is a
quote. Quotes around a whole entry keep it together too: `"info:a,b"; sales`.

In YAML and JSON, an entry may also be a mapping, with the keys that the functions here read from a cell.
"""

import itertools
import re
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs

from panelica_async.core.values import DATABASE_NAME, FTP_NAME, MAILBOX_NAME
from panelica_async.provision.manifest import dns, fields
from panelica_async.provision.manifest.fields import InvalidValueError, trim
from panelica_async.provision.manifest.sites import ALL, Database, DatabaseUser, DnsRecord, FtpUser, Mailbox

_T = TypeVar("_T")

Entry = Mapping[str, object]

_SEPARATORS = ",;|\r\n"
_LINE_BREAKS = "\r\n"
_QUOTED = re.compile(r'[^\S\r\n]*"((?:[^"]|"")*)"[^\S\r\n]*')
_END_OF_NUMBER = re.compile(r"\d{1,3}")
_MARKS = {"databases": ":+", "mailboxes": ":", "ftp_users": ":"}
# Rule for the names in a column.
_NAMES = {"databases": DATABASE_NAME, "mailboxes": MAILBOX_NAME, "ftp_users": FTP_NAME}
# Guess: what fits the integer column of any panel.
_MAX_QUOTA_MB = 2**31 - 1
_UNCLEAR = 'it is unclear where its password ends; put the password in quotes, as in name:"password"'


@attrs.frozen
class _Part:
    """A part of an entry, with the separator before it."""

    mark: str
    text: str = attrs.field(repr=False)
    quoted: bool
    begin: int
    """Where it begins in the cell, after its mark."""
    end: int

    @property
    def is_open(self) -> bool:
        """Whether it could, as a password, continue after the next separator."""
        return bool(self.text) and not self.quoted

    @property
    def is_left_out(self) -> bool:
        """Whether it is empty, so that the next separator may be its first character."""
        return not self.text and not self.quoted


def split(column: str, cell: str) -> list[str]:
    """Split a cell into its entries, without blanks around them and without empty ones.

    Args:
        column: `dns`, `databases`, `mailboxes` or `ftp_users`. TXT records hold commas and semicolons.
        cell: The text of the cell.

    Raises:
        InvalidValueError: It is unclear where an entry ends: a quote is not closed, or something other than an
            entry with a password follows a password without quotes. Or the cell says that there is none.
    """
    if trim(cell).lower() in fields.PLACEHOLDERS:
        raise InvalidValueError("is not a name; leave the cell empty, or put the name in quotes", trim(cell))
    if column == "dns":
        return dns.split_records(cell)
    entries: list[list[_Part]] = []
    for part in _scan(cell, _SEPARATORS + _MARKS[column]):
        if not entries or part.mark in _SEPARATORS:
            entries.append([])
        entries[-1].append(part)
    raw = [trim(cell[parts[0].begin : parts[-1].end]) for parts in entries]
    for number, (entry, following) in enumerate(itertools.pairwise(entries), start=1):
        begin = following[0].begin
        is_end = cell[begin : begin + 1].isspace() and not entry[-1].is_left_out and _is_login(column, raw[number])
        if not is_end and following[0].mark not in _LINE_BREAKS:
            _require_end(column, entry, f"entry {number}: {_UNCLEAR}")
        if _is_number_with_comma(entry, following, raw[number]):
            raise InvalidValueError(f"entry {number}: a quota must be a whole number without ','")
    return [entry for entry in raw if entry]


def _read_mailbox(entry: str) -> Entry:
    """Read `local_part[:password[:quota_mb]]`."""
    return _account("mailboxes", entry, ("local_part", "password", "quota_mb"))


def _read_ftp_user(entry: str) -> Entry:
    """Read `username[:password[:home_directory[:quota_mb]]]`."""
    return _account("ftp_users", entry, ("username", "password", "home_directory", "quota_mb"))


def _read_database(entry: str) -> Entry:
    """Read `[type/]name[:user[:password][+user[:password]]...]`."""
    place, *rest = _parts("databases", entry)
    kind, _, name = place.text.rpartition("/")
    database: dict[str, object] = {key: text for key, text in {"name": trim(name), "type": trim(kind)}.items() if text}
    if any(part.text for part in rest):
        database["users"] = [_named(user, ("username", "password"), "name:user:password") for user in _users(rest)]
    return database


def _account(column: str, entry: str, names: Sequence[str]) -> Entry:
    expected = names[0] + "".join(f"[:{name}" for name in names[1:]) + "]" * (len(names) - 1)
    return _named(_parts(column, entry), names, expected)


def _named(parts: Sequence[_Part], names: Sequence[str], expected: str) -> Entry:
    """Return the parts of an entry by name."""
    if len(parts) > 2 and parts[1].is_open:
        raise InvalidValueError(_UNCLEAR)
    if len(parts) > len(names):
        raise InvalidValueError(f"has too many ':'; write {expected}", parts[0].text)
    return {name: part.text for name, part in zip(names, parts, strict=False) if part.text}


def _parts(column: str, entry: str) -> list[_Part]:
    """Split an entry into its parts. Quotes around the whole entry are removed first."""
    parts = list(_scan(entry, _MARKS[column]))
    if len(parts) == 1 and parts[0].quoted:
        parts = list(_scan(parts[0].text, _MARKS[column]))
    if column == "databases":
        for user in _users(parts[1:])[:-1]:
            _require_end(column, [parts[0], *user], _UNCLEAR)
    return parts


def _users(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Group the parts after a database by user."""
    users: list[list[_Part]] = []
    for part in parts:
        if not users or part.mark == "+":
            users.append([])
        users[-1].append(part)
    return users


def _is_login(column: str, entry: str) -> bool:
    """Return whether an entry is valid and has a password, unlike most pieces of another password."""
    try:
        place, *rest = _parts(column, entry)
    except InvalidValueError:
        return False
    users = [[place, *rest]]
    if column == "databases":
        kind, _, name = place.text.rpartition("/")
        if kind.strip().lower() not in {"", *fields.DATABASE_TYPES} or not DATABASE_NAME.allows(name.strip()):
            return False
        users = _users(rest)
    has_names = all(_NAMES[column].allows(user[0].text.partition("@")[0]) for user in users)
    return has_names and any(len(part.text) >= fields.MIN_PASSWORD_LENGTH for user in users for part in user[1:2])


def _is_number_with_comma(entry: Sequence[_Part], following: Sequence[_Part], text: str) -> bool:
    """Return whether a comma split a quota as spreadsheets write it: `1,024`."""
    has_quota = len(entry) > 2 and entry[-1].text.isdecimal()
    return has_quota and following[0].mark == "," and _END_OF_NUMBER.fullmatch(text) is not None


def _require_end(column: str, parts: Sequence[_Part], message: str) -> None:
    """Refuse an entry before another one if the separator between them may be part of a password."""
    users = _users(parts[1:]) if column == "databases" else [parts] if len(parts) > 1 else []
    if any(user[1:2] and user[1].is_open for user in users) or any(user[-1].is_left_out for user in users):
        raise InvalidValueError(message)


def _scan(text: str, marks: str) -> Iterator[_Part]:
    """Yield the parts of text between marks. Marks in quotes do not count."""
    position, mark, entry = 0, "", 1
    while True:
        begin = position
        if quoted := _QUOTED.match(text, begin):
            position = quoted.end()
            if position < len(text) and text[position] not in marks:
                raise InvalidValueError(
                    f'entry {entry}: unexpected text after a closing quote; within quotes, write a quote as ""'
                )
            yield _Part(mark, quoted[1].replace('""', '"'), quoted=True, begin=begin, end=position)
        else:
            while position < len(text) and text[position] not in marks:
                position += 1
            unquoted = text[begin:position].strip()
            if unquoted.startswith('"'):
                raise InvalidValueError(f"entry {entry}: a quote is opened but never closed")
            if unquoted.startswith(dns.TYPOGRAPHIC_QUOTES):
                raise InvalidValueError(f'entry {entry}: quotes must be straight, as in name:"password"')
            yield _Part(mark, unquoted, quoted=False, begin=begin, end=position)
        if position >= len(text):
            return
        mark = text[position]
        entry += mark in _SEPARATORS
        position += 1


def _build_dns_record(entry: Entry, domain: str) -> DnsRecord:
    """Build a record of the zone of a domain; an empty domain stands for one that was refused."""
    _expect(entry, ("name", "type", "content", "ttl", "priority"))
    name = fields.text(entry.get("name"))
    with _about(name):
        content = entry.get("content")
        return dns.check_record(
            name=name,
            type=fields.text(entry.get("type")),
            # Text in parentheses may span several lines.
            content=trim(content) if isinstance(content, str) else fields.text(content),
            ttl=entry.get("ttl"),
            priority=entry.get("priority"),
            domain=domain,
        )


def _build_database(entry: Entry, _domain: str) -> Database:
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
            users=_distinct(map(_build_database_user, users)),
        )


def _build_mailbox(entry: Entry, domain: str) -> Mailbox:
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


def _build_ftp_user(entry: Entry, _domain: str) -> FtpUser:
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


def _build_database_user(entry: object) -> DatabaseUser:
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


def _mapping(raw: object) -> Entry:
    mapping = fields.as_mapping(raw)
    if mapping is None:
        raise InvalidValueError("an entry must be text or a mapping; put numbers and words such as yes in quotes")
    return mapping


def _expect(entry: Entry, keys: Collection[str]) -> None:
    unknown = [key for key in entry if key not in keys]
    if unknown:
        names = f"key{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}"
        raise InvalidValueError(f"unknown {names}; expected one of {', '.join(keys)}")


@contextmanager
def _about(name: str) -> Generator[None]:
    """Put the name of the entry before the error."""
    try:
        yield
    except InvalidValueError as error:
        raise error.inside(name) from None


def has_password(entry: Entry) -> bool:
    """Return whether an entry, or a user in it, has a password, which may also be in a name: `info:password`."""
    users = entry.get("users")
    return any(map(_has_password, [entry, *(users if fields.is_list(users) else ())]))


def _has_password(login: object) -> bool:
    mapping = fields.as_mapping(login) or {"name": login}
    return "password" in mapping or any(isinstance(value, str) and ":" in value for value in mapping.values())


@attrs.frozen(kw_only=True)
class Kind(Generic[_T]):
    """A kind of objects that a site has several of."""

    column: str
    """Field of the site."""
    read: Callable[[str], Entry]
    """Reads one entry of a cell."""
    build: Callable[[Entry, str], _T]
    """Builds the object of a site with this domain."""
    key: Callable[[_T], Hashable]
    """What a site may have only once."""
    name: Callable[[_T], str]
    """What to call it in a message."""

    def entry(self, raw: object) -> Entry:
        """Return an entry as a mapping, whether it is one already or text as in a cell."""
        return self.read(raw) if isinstance(raw, str) else _mapping(raw)


DNS = Kind[DnsRecord](
    column="dns",
    read=dns.read_record,
    build=_build_dns_record,
    key=lambda record: (record.name, record.type, record.content),
    name=lambda record: f"{record.name} {record.type} {record.content}",
)
DATABASES = Kind[Database](
    column="databases",
    read=_read_database,
    build=_build_database,
    key=lambda database: (database.type, database.name.lower()),
    name=lambda database: database.name,
)
MAILBOXES = Kind[Mailbox](
    column="mailboxes",
    read=_read_mailbox,
    build=_build_mailbox,
    key=lambda mailbox: mailbox.local_part,
    name=lambda mailbox: mailbox.local_part,
)
FTP_USERS = Kind[FtpUser](
    column="ftp_users",
    read=_read_ftp_user,
    build=_build_ftp_user,
    key=lambda user: user.username.lower(),
    name=lambda user: user.username,
)
