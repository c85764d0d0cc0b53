"""How several entries are written in one cell.

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

In YAML and JSON, an entry may also be a mapping with the keys that the functions here return.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from panelica_async.core.names import DATABASE_NAME, FTP_NAME, MAILBOX_NAME
from panelica_async.provision.manifest import zone
from panelica_async.provision.manifest.dns import PRIORITISED
from panelica_async.provision.manifest.fields import DATABASE_TYPES, NO_NAMES, PASSWORD_LENGTH, InvalidValueError, trim

Entry = Mapping[str, object]

_SEPARATORS = ",;|\r\n"
_LINE_BREAKS = "\r\n"
_QUOTED = re.compile(r'[^\S\r\n]*"((?:[^"]|"")*)"[^\S\r\n]*')
_RECORD = re.compile(
    rf"(?P<name>\S+)\s+(?:(?P<ttl>{zone.TTL})\s+(?:IN\s+)?|IN\s+(?:(?P<ttl_after>{zone.TTL})\s+)?)?"
    r"(?P<type>[A-Za-z]+)\s+(?P<content>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"\$(?:ORIGIN|TTL|INCLUDE|GENERATE)\b", re.IGNORECASE)
_PRIORITY = re.compile(r"(?P<priority>\d+)\s+(?P<content>\S.*)")
_END_OF_NUMBER = re.compile(r"\d{1,3}")
_UNCLEAR = 'it is unclear where its password ends; put the password in quotes, as in name:"password"'


@attrs.frozen
class _Field:
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
    if trim(cell).lower() in NO_NAMES:
        raise InvalidValueError("is not a name; leave the cell empty, or put the name in quotes", trim(cell))
    if column == "dns":
        return zone.split_records(cell)
    entries: list[list[_Field]] = []
    for field in _scan(cell, _SEPARATORS + _MARKS[column]):
        if not entries or field.mark in _SEPARATORS:
            entries.append([])
        entries[-1].append(field)
    raw = [trim(cell[parts[0].begin : parts[-1].end]) for parts in entries]
    for number, (entry, following) in enumerate(itertools.pairwise(entries), start=1):
        begin = following[0].begin
        is_end = cell[begin : begin + 1].isspace() and not entry[-1].is_left_out and _is_login(column, raw[number])
        if not is_end and following[0].mark not in _LINE_BREAKS:
            _require_end(column, entry, f"entry {number}: {_UNCLEAR}")
        if _is_number_with_comma(entry, following, raw[number]):
            raise InvalidValueError(f"entry {number}: a quota must be a whole number without ','")
    return [entry for entry in raw if entry]


def mailbox(entry: str) -> Entry:
    """Read `local_part[:password[:quota_mb]]`."""
    return _account("mailboxes", entry, ("local_part", "password", "quota_mb"))


def ftp_user(entry: str) -> Entry:
    """Read `username[:password[:home_directory[:quota_mb]]]`."""
    return _account("ftp_users", entry, ("username", "password", "home_directory", "quota_mb"))


def database(entry: str) -> Entry:
    """Read `[type/]name[:user[:password][+user[:password]]...]`."""
    place, *rest = _fields("databases", entry)
    kind, _, name = place.text.rpartition("/")
    parts = {"name": trim(name), "type": trim(kind)}
    database: dict[str, object] = {key: part for key, part in parts.items() if part}
    if any(field.text for field in rest):
        database["users"] = [_named(user, ("username", "password"), "name:user:password") for user in _users(rest)]
    return database


def dns_record(entry: str) -> Entry:
    """Read `name [ttl] [IN] type [priority] content`, as in a zone file."""
    match = _RECORD.fullmatch(trim(entry))
    if not match and (directive := _DIRECTIVE.match(entry)):
        raise InvalidValueError(
            f"the zone file directive {directive[0]} is not supported; write full names, and a TTL in each record"
        )
    if not match:
        raise InvalidValueError("is not a DNS record; write 'www A 192.0.2.10' or '@ MX 10 mail.example.com'", entry)
    parts = match.groupdict()
    ttl = parts.pop("ttl_after") or parts["ttl"]
    record: dict[str, object] = {key: value for key, value in (parts | {"ttl": ttl}).items() if value is not None}
    if match["type"].upper() not in PRIORITISED:
        return record
    prioritised = _PRIORITY.fullmatch(zone.plain(match["content"]))
    return record | (prioritised.groupdict() if prioritised else {})


READERS: Mapping[str, Callable[[str], Entry]] = {
    "dns": dns_record,
    "databases": database,
    "mailboxes": mailbox,
    "ftp_users": ftp_user,
}
"""Reader of one entry, by column."""
_MARKS = {"databases": ":+", "mailboxes": ":", "ftp_users": ":"}
_NAMES = {"databases": DATABASE_NAME, "mailboxes": MAILBOX_NAME, "ftp_users": FTP_NAME}
"""Rule for the names in a column."""


def _account(column: str, entry: str, names: Sequence[str]) -> Entry:
    expected = names[0] + "".join(f"[:{name}" for name in names[1:]) + "]" * (len(names) - 1)
    return _named(_fields(column, entry), names, expected)


def _named(fields: Sequence[_Field], names: Sequence[str], expected: str) -> Entry:
    """Return the fields of an entry by name."""
    if len(fields) > 2 and fields[1].is_open:
        raise InvalidValueError(_UNCLEAR)
    if len(fields) > len(names):
        raise InvalidValueError(f"has too many ':'; write {expected}", fields[0].text)
    return {name: field.text for name, field in zip(names, fields, strict=False) if field.text}


def _fields(column: str, entry: str) -> list[_Field]:
    """Split an entry into its fields. Quotes around the whole entry are removed first."""
    fields = list(_scan(entry, _MARKS[column]))
    if len(fields) == 1 and fields[0].quoted:
        fields = list(_scan(fields[0].text, _MARKS[column]))
    if column == "databases":
        for user in _users(fields[1:])[:-1]:
            _require_end(column, [fields[0], *user], _UNCLEAR)
    return fields


def _users(fields: Sequence[_Field]) -> list[list[_Field]]:
    """Group the fields after a database by user."""
    users: list[list[_Field]] = []
    for field in fields:
        if not users or field.mark == "+":
            users.append([])
        users[-1].append(field)
    return users


def _is_login(column: str, entry: str) -> bool:
    """Return whether an entry is valid and has a password, unlike most pieces of another password."""
    try:
        place, *rest = _fields(column, entry)
    except InvalidValueError:
        return False
    users = [[place, *rest]]
    if column == "databases":
        kind, _, name = place.text.rpartition("/")
        if kind.strip().lower() not in {"", *DATABASE_TYPES} or not DATABASE_NAME.allows(name.strip()):
            return False
        users = _users(rest)
    has_names = all(_NAMES[column].allows(user[0].text.partition("@")[0]) for user in users)
    return has_names and any(len(field.text) >= PASSWORD_LENGTH for user in users for field in user[1:2])


def _is_number_with_comma(entry: Sequence[_Field], following: Sequence[_Field], text: str) -> bool:
    """Return whether a comma split a quota as spreadsheets write it: `1,024`."""
    has_quota = len(entry) > 2 and entry[-1].text.isdecimal()
    return has_quota and following[0].mark == "," and _END_OF_NUMBER.fullmatch(text) is not None


def _require_end(column: str, fields: Sequence[_Field], message: str) -> None:
    """Refuse an entry before another one if the separator between them may be part of a password."""
    users = _users(fields[1:]) if column == "databases" else [fields] if len(fields) > 1 else []
    if any(user[1:2] and user[1].is_open for user in users) or any(user[-1].is_left_out for user in users):
        raise InvalidValueError(message)


def _scan(text: str, marks: str) -> Iterator[_Field]:
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
            yield _Field(mark, quoted[1].replace('""', '"'), quoted=True, begin=begin, end=position)
        else:
            while position < len(text) and text[position] not in marks:
                position += 1
            part = text[begin:position].strip()
            if part.startswith('"'):
                raise InvalidValueError(f"entry {entry}: a quote is opened but never closed")
            if part.startswith(zone.OTHER_QUOTES):
                raise InvalidValueError(f'entry {entry}: quotes must be straight, as in name:"password"')
            yield _Field(mark, part, quoted=False, begin=begin, end=position)
        if position >= len(text):
            return
        mark = text[position]
        entry += mark in _SEPARATORS
        position += 1
