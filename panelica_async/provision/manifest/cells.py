"""How several entries are written in one cell.

- Mailboxes are separated by `,` `;` `|` or line breaks: `info`, `info:password`, `info:password:1024`,
  `info::1024` (the number is the quota in MB).
- FTP users likewise: `deploy`, `deploy:password`, `deploy:password:/htdocs`, `deploy::/htdocs:500`.
- Databases likewise: `shop`, `shop:user`, `shop:user:password`, `shop:first+second`, `postgresql/shop:user`.
- DNS records are separated by `|` or line breaks only, as TXT records hold the other signs:
  `www A 192.0.2.10`, `www 300 A 192.0.2.10` (300 seconds to live), `@ MX 10 mail.example.com`.

A password that is left out is generated. One that holds a separator, a `:` or a `+` cannot be written in a
cell: use YAML or JSON, where an entry may also be a mapping with the keys that the functions here return.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from panelica_async.provision.manifest.problems import InvalidValueError
from panelica_async.provision.manifest.records import PRIORITISED

Entry = Mapping[str, object]

_SEPARATORS = re.compile(r"[,;|\r\n]+")
_RECORD_SEPARATORS = re.compile(r"[|\r\n]+")
_RECORD = re.compile(r"(?P<name>\S+)\s+(?:(?P<ttl>\d+)\s+)?(?:IN\s+)?(?P<type>[A-Za-z]+)\s+(?P<content>\S.*)")
_PRIORITY = re.compile(r"(?P<priority>\d+)\s+(?P<content>\S.*)")


def split(column: str, cell: str) -> list[str]:
    """Split a cell into its entries, without blanks around them and without empty ones.

    Args:
        column: `dns`, `databases`, `mailboxes` or `ftp_users`. TXT records hold commas and semicolons.
        cell: What stands in the cell.
    """
    separators = _RECORD_SEPARATORS if column == "dns" else _SEPARATORS
    return [entry.strip() for entry in separators.split(cell) if entry.strip()]


def mailbox(entry: str) -> Entry:
    """Read `local_part[:password[:quota_mb]]`."""
    return _fields(entry, ("local_part", "password", "quota_mb"))


def ftp_user(entry: str) -> Entry:
    """Read `username[:password[:home_directory[:quota_mb]]]`."""
    return _fields(entry, ("username", "password", "home_directory", "quota_mb"))


def database(entry: str) -> Entry:
    """Read `[type/]name[:user[:password][+user[:password]]...]`."""
    place, _, users = entry.partition(":")
    kind, _, name = place.rpartition("/")
    parts = {"name": name.strip(), "type": kind.strip()}
    database: dict[str, object] = {key: part for key, part in parts.items() if part}
    if users.strip():
        database["users"] = [_fields(user, ("username", "password")) for user in users.split("+")]
    return database


def dns_record(entry: str) -> Entry:
    """Read `name [ttl] [IN] type [priority] content`, as in a zone file."""
    match = _RECORD.fullmatch(entry)
    if not match:
        raise InvalidValueError(
            f"{entry!r} is not a DNS record; write 'www A 192.0.2.10' or '@ MX 10 mail.example.com'"
        )
    record: dict[str, object] = {key: value for key, value in match.groupdict().items() if value is not None}
    prioritised = _PRIORITY.fullmatch(match["content"]) if match["type"].upper() in PRIORITISED else None
    return record | (prioritised.groupdict() if prioritised else {})


READERS: Mapping[str, Callable[[str], Entry]] = {
    "dns": dns_record,
    "databases": database,
    "mailboxes": mailbox,
    "ftp_users": ftp_user,
}
"""Reader of one entry, by column."""


def _fields(entry: str, names: Sequence[str]) -> Entry:
    values = [value.strip() for value in entry.split(":")]
    if len(values) > len(names):
        expected = "".join(f"[:{name}" for name in names[1:]) + "]" * (len(names) - 1)
        raise InvalidValueError(f"{values[0]!r} has too many ':'; write {names[0]}{expected}")
    return {name: value for name, value in zip(names, values, strict=False) if value}
