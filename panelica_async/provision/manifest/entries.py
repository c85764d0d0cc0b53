"""Several mailboxes, FTP users, databases or DNS records in one cell: how they are written, split and checked.

- Mailboxes are separated by `,` `;` `|` or line breaks: `info`, `info:password`, `info::1024` (the number is the
  quota in MB), `info:"password":1024`.
- FTP users likewise: `deploy`, `deploy:password`, `deploy::/htdocs:500`, `deploy:"password":/htdocs`.
- Databases likewise: `shop`, `shop:user`, `shop:user:password`, `shop:first+second`, `postgresql/shop:user`.
- DNS records are separated by `|` or line breaks only, because TXT records contain the other separators, and are
  written as in a zone file: `www A 192.0.2.10`, `www 300 IN A 192.0.2.10`, `www 1h A 192.0.2.10`,
  `@ MX 10 mail.example.com`.

A password that is omitted is generated. Without quotes, a password ends at a line break, or at a separator and a blank
before a valid entry with a password of at least 8 characters: `info:hunter22, sales:hunter33`. Put a password in quotes
if anything else follows it in the cell, or it is unclear where it ends: `info:"a,b", sales`. Within quotes, `""` is a
quote. Quotes around a whole entry keep it together too: `"info:a,b"; sales`.

In YAML and JSON, an entry may also be a mapping with the keys that the functions here read from a cell.
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
_THOUSANDS = re.compile(r"\d{1,3}")
_MARKS = {"databases": ":+", "mailboxes": ":", "ftp_users": ":"}
_NAME_RULES = {"databases": DATABASE_NAME, "mailboxes": MAILBOX_NAME, "ftp_users": FTP_NAME}
# Guess: what fits the integer column of any panel.
_MAX_QUOTA_MB = 2**31 - 1
_UNCLEAR = 'it is unclear where its password ends; put the password in quotes, as in name:"password"'


@attrs.frozen
class _Part:
    """A part of an entry."""

    mark: str
    """The separator, colon or plus before it."""
    text: str = attrs.field(repr=False)
    quoted: bool
    start: int
    """Where it starts in the cell, after its mark."""
    end: int

    @property
    def may_continue(self) -> bool:
        """Whether it may be a password that contains the next mark."""
        return bool(self.text) and not self.quoted

    @property
    def is_omitted(self) -> bool:
        """Whether it is empty, so that the next mark may be its first character."""
        return not self.text and not self.quoted


def unpack(column: str, value: object) -> Sequence[object]:
    """Return the entries of a column: the elements of a list, or the parts of a cell; errors are those of `split`."""
    if isinstance(value, str):
        return split(column, value)
    if not fields.is_list(value):
        raise InvalidValueError("must be a list")
    return value


def split(column: str, cell: str) -> list[str]:
    """Split a cell into its entries, without blanks around them and without empty ones.

    Args:
        column: `dns`, `databases`, `mailboxes` or `ftp_users`. TXT records hold commas and semicolons.
        cell: The text of the cell.

    Raises:
        InvalidValueError: It is unclear where an entry ends: a quote is not closed, or a password without quotes is
            followed by anything but an entry with a password. Or the cell is a word such as `none`.
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
    texts = [trim(cell[parts[0].start : parts[-1].end]) for parts in entries]
    for number, (entry, following) in enumerate(itertools.pairwise(entries), start=1):
        start = following[0].start
        is_after_blank = cell[start : start + 1].isspace()
        ends_here = is_after_blank and not entry[-1].is_omitted and _is_entry_with_password(column, texts[number])
        if not ends_here and following[0].mark not in _LINE_BREAKS:
            _require_clear_end(column, entry, f"entry {number}: {_UNCLEAR}")
        if _is_quota_with_comma(entry, following, texts[number]):
            raise InvalidValueError(f"entry {number}: a quota must be a whole number without ','")
    return [text for text in texts if text]


def _read_mailbox(entry: str) -> Entry:
    """Read `local_part[:password[:quota_mb]]`."""
    return _read_login("mailboxes", entry, ("local_part", "password", "quota_mb"))


def _read_ftp_user(entry: str) -> Entry:
    """Read `username[:password[:home_directory[:quota_mb]]]`."""
    return _read_login("ftp_users", entry, ("username", "password", "home_directory", "quota_mb"))


def _read_database(entry: str) -> Entry:
    """Read `[type/]name[:user[:password][+user[:password]]...]`."""
    head, *user_parts = _split_entry("databases", entry)
    kind, _, name = head.text.rpartition("/")
    database: dict[str, object] = {key: text for key, text in {"name": trim(name), "type": trim(kind)}.items() if text}
    if any(part.text for part in user_parts):
        users = _group_by_user(user_parts)
        database["users"] = [_to_mapping(user, ("username", "password"), "name:user:password") for user in users]
    return database


def _read_login(column: str, entry: str, names: Sequence[str]) -> Entry:
    """Read an entry whose parts have these names, in this order; only the first is required."""
    expected = names[0] + "".join(f"[:{name}" for name in names[1:]) + "]" * (len(names) - 1)
    return _to_mapping(_split_entry(column, entry), names, expected)


def _to_mapping(parts: Sequence[_Part], names: Sequence[str], expected: str) -> Entry:
    """Return the text of each part by its name; parts without text are omitted."""
    if len(parts) > 2 and parts[1].may_continue:
        raise InvalidValueError(_UNCLEAR)
    if len(parts) > len(names):
        raise InvalidValueError(f"has too many ':'; write {expected}", parts[0].text)
    return {name: part.text for name, part in zip(names, parts, strict=False) if part.text}


def _split_entry(column: str, entry: str) -> list[_Part]:
    """Split an entry into its parts, after removing quotes around the whole entry."""
    parts = list(_scan(entry, _MARKS[column]))
    if len(parts) == 1 and parts[0].quoted:
        parts = list(_scan(parts[0].text, _MARKS[column]))
    if column == "databases":
        for user in _group_by_user(parts[1:])[:-1]:
            _require_clear_end(column, [parts[0], *user], _UNCLEAR)
    return parts


def _group_by_user(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Group the parts that follow the name of a database by user."""
    users: list[list[_Part]] = []
    for part in parts:
        if not users or part.mark == "+":
            users.append([])
        users[-1].append(part)
    return users


def _is_entry_with_password(column: str, entry: str) -> bool:
    """Return whether an entry is valid and has a password, which a piece of another password rarely is."""
    try:
        parts = _split_entry(column, entry)
    except InvalidValueError:
        return False
    logins = [parts]
    if column == "databases":
        kind, _, name = parts[0].text.rpartition("/")
        if kind.strip().lower() not in {"", *fields.DATABASE_TYPES} or not DATABASE_NAME.allows(name.strip()):
            return False
        logins = _group_by_user(parts[1:])
    has_valid_names = all(_NAME_RULES[column].allows(login[0].text.partition("@")[0]) for login in logins)
    return has_valid_names and any(
        len(part.text) >= fields.MIN_PASSWORD_LENGTH for login in logins for part in login[1:2]
    )


def _is_quota_with_comma(entry: Sequence[_Part], following: Sequence[_Part], text: str) -> bool:
    """Return whether the comma after an entry is part of its quota, as in `1,024`."""
    has_quota = len(entry) > 2 and entry[-1].text.isdecimal()
    return has_quota and following[0].mark == "," and _THOUSANDS.fullmatch(text) is not None


def _require_clear_end(column: str, parts: Sequence[_Part], message: str) -> None:
    """Refuse an entry that is followed by another one if the mark between them may be part of a password."""
    if len(parts) == 1:
        return
    logins = _group_by_user(parts[1:]) if column == "databases" else [parts]
    if any(login[1:2] and login[1].may_continue for login in logins) or any(login[-1].is_omitted for login in logins):
        raise InvalidValueError(message)


def _scan(text: str, marks: str) -> Iterator[_Part]:
    """Yield the parts of a text between marks that are not in quotes."""
    position, mark, entry = 0, "", 1
    while True:
        start = position
        if quoted := _QUOTED.match(text, start):
            position = quoted.end()
            if position < len(text) and text[position] not in marks:
                raise InvalidValueError(
                    f'entry {entry}: unexpected text after a closing quote; within quotes, write a quote as ""'
                )
            yield _Part(mark, quoted[1].replace('""', '"'), quoted=True, start=start, end=position)
        else:
            while position < len(text) and text[position] not in marks:
                position += 1
            unquoted = text[start:position].strip()
            if unquoted.startswith('"'):
                raise InvalidValueError(f"entry {entry}: a quote is opened but never closed")
            if unquoted.startswith(dns.TYPOGRAPHIC_QUOTES):
                raise InvalidValueError(f'entry {entry}: quotes must be straight, as in name:"password"')
            yield _Part(mark, unquoted, quoted=False, start=start, end=position)
        if position >= len(text):
            return
        mark = text[position]
        entry += mark in _SEPARATORS
        position += 1


def _build_dns_record(entry: Entry, domain: str) -> DnsRecord:
    """Build a record in the zone of a domain; an empty domain stands for one that was refused."""
    _reject_unknown_keys(entry, ("name", "type", "content", "ttl", "priority"))
    name = fields.text(entry.get("name"))
    with _errors_inside(name):
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
    _reject_unknown_keys(entry, ("name", "type", "users"))
    name = fields.database_name(fields.text(entry.get("name")))
    with _errors_inside(name):
        users = entry.get("users") or ()
        if not fields.is_list(users):
            raise InvalidValueError("users must be a list")
        return Database(
            name=name,
            type=fields.choice(fields.text(entry.get("type")).lower() or "mysql", fields.DATABASE_TYPES),
            users=_unique_users(map(_build_database_user, users)),
        )


def _build_mailbox(entry: Entry, domain: str) -> Mailbox:
    """Build a mailbox; its name may also be the full address."""
    _reject_unknown_keys(entry, ("local_part", "password", "quota_mb"))
    address = fields.text(entry.get("local_part"))
    local, _, host = address.partition("@")
    if host and fields.domain_name(host) != domain and domain:
        raise InvalidValueError(f"is not an address of {domain}", address)
    local = fields.mailbox_name(local)
    with _errors_inside(local):
        return Mailbox(
            local_part=local,
            password=fields.password(entry.get("password")),
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=1, maximum=_MAX_QUOTA_MB),
        )


def _build_ftp_user(entry: Entry, _domain: str) -> FtpUser:
    """Build an FTP user."""
    _reject_unknown_keys(entry, ("username", "password", "home_directory", "quota_mb"))
    username = fields.ftp_name(fields.text(entry.get("username")))
    with _errors_inside(username):
        home = fields.text(entry.get("home_directory"))
        return FtpUser(
            username=username,
            password=fields.password(entry.get("password")),
            home_directory=fields.home_directory(home) if home else None,
            quota_mb=fields.number(entry.get("quota_mb"), "quota_mb", minimum=0, maximum=_MAX_QUOTA_MB),
        )


def _build_database_user(entry: object) -> DatabaseUser:
    user: Mapping[str, object] = {"username": entry} if isinstance(entry, str) else _require_mapping(entry)
    _reject_unknown_keys(user, ("username", "password", "privileges"))
    username = fields.database_name(fields.text(user.get("username")))
    with _errors_inside(username):
        return DatabaseUser(
            username=username,
            password=fields.password(user.get("password")),
            privileges=fields.text(user.get("privileges")) or ALL,
        )


def _unique_users(users: Iterable[DatabaseUser]) -> tuple[DatabaseUser, ...]:
    by_name: dict[str, DatabaseUser] = {}
    for user in users:
        if by_name.setdefault(user.username, user) is not user:
            raise InvalidValueError(f"user {user.username!r} appears twice")
    return tuple(by_name.values())


def _require_mapping(raw: object) -> Entry:
    mapping = fields.as_mapping(raw)
    if mapping is None:
        raise InvalidValueError("an entry must be text or a mapping; put numbers and words such as yes in quotes")
    return mapping


def _reject_unknown_keys(entry: Entry, keys: Collection[str]) -> None:
    unknown = [key for key in entry if key not in keys]
    if unknown:
        names = f"key{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}"
        raise InvalidValueError(f"unknown {names}; expected one of {', '.join(keys)}")


@contextmanager
def _errors_inside(name: str) -> Generator[None]:
    """Put the name of an entry before the errors of the block."""
    try:
        yield
    except InvalidValueError as error:
        raise error.inside(name) from None


def has_password(entry: Entry) -> bool:
    """Return whether an entry or one of its users has a password, also within another value, as in `info:password`."""
    users = entry.get("users")
    return any(map(_has_own_password, [entry, *(users if fields.is_list(users) else ())]))


def _has_own_password(login: object) -> bool:
    mapping = fields.as_mapping(login) or {"name": login}
    return "password" in mapping or any(isinstance(value, str) and ":" in value for value in mapping.values())


@attrs.frozen(kw_only=True)
class EntryKind(Generic[_T]):
    """How the entries of a column are read and built."""

    column: str
    """Field of the site."""
    read: Callable[[str], Entry]
    """Reads one entry of a cell."""
    build: Callable[[Entry, str], _T]
    """Builds the object from an entry and the domain of the site."""
    key: Callable[[_T], Hashable]
    """What must be unique within a site."""
    label: Callable[[_T], str]
    """What to call it in a message."""

    def to_mapping(self, raw: object) -> Entry:
        """Return an entry as a mapping, whether it is one already or the text of a cell."""
        return self.read(raw) if isinstance(raw, str) else _require_mapping(raw)


DNS = EntryKind[DnsRecord](
    column="dns",
    read=dns.read_record,
    build=_build_dns_record,
    key=lambda record: (record.name, record.type, record.content),
    label=lambda record: f"{record.name} {record.type} {record.content}",
)
DATABASES = EntryKind[Database](
    column="databases",
    read=_read_database,
    build=_build_database,
    key=lambda database: (database.type, database.name.lower()),
    label=lambda database: database.name,
)
MAILBOXES = EntryKind[Mailbox](
    column="mailboxes",
    read=_read_mailbox,
    build=_build_mailbox,
    key=lambda mailbox: mailbox.local_part,
    label=lambda mailbox: mailbox.local_part,
)
FTP_USERS = EntryKind[FtpUser](
    column="ftp_users",
    read=_read_ftp_user,
    build=_build_ftp_user,
    key=lambda user: user.username.lower(),
    label=lambda user: user.username,
)
