"""DNS records of a site: the values that each type may have, and the notation of zone files.

`check_record` checks a record of the manifest. `identity` makes records that a panel lists comparable with it.
`split_records` and `read_record` read the records of a cell, which are written as in a zone file. Unlike there, text
needs no quotes (`@ TXT v=spf1 -all`), because spreadsheets and DNS forms show none.
"""

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

import attrs

from panelica_async.provision.manifest.fields import (
    MAX_NAME_LENGTH,
    InvalidValueError,
    host_name,
    number,
    require_visible,
    trim,
)
from panelica_async.provision.manifest.sites import DnsRecord

_MAX_TTL = 2**31 - 1
"""Largest time to live in seconds (RFC 2181, section 8)."""
_TYPES_WITH_PRIORITY = ("MX", "SRV")
"""Types that have a priority (evidence: dns-records)."""

_NO_HOST = "."
"""Target of an MX or SRV record for a service that does not exist (RFC 7505, RFC 2782)."""

# Their content may hold quoted strings.
_QUOTED_TYPES = frozenset({"TXT", "CAA"})
_CAA = re.compile(
    r"""(?P<flags>\d{1,3})\s+(?P<tag>[a-z0-9]+)\s+(?:"(?P<quoted>[^"\\]*)"\s*(?:;.*)?|(?P<plain>[^\s";\\]+))""",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)


def check_record(*, name: str, type: str, content: str, ttl: object, priority: object, domain: str) -> DnsRecord:
    """Check a record and return it in canonical spelling.

    Args:
        name: Name within the zone, `@`, or a full name that ends in the domain.
        type: Record type, in any case.
        content: Value without the priority; `@` stands for the domain where a host name is expected.
        ttl: Seconds from 1 to 2147483647, or None.
        priority: 0 to 65535; required for MX and SRV, refused for others.
        domain: The zone.

    Raises:
        InvalidValueError: A part is invalid.
    """
    record_type = type.upper()
    if record_type == "SOA":
        raise InvalidValueError("the panel writes the SOA record of a zone itself; leave it out")
    if record_type not in _PARSERS:
        raise InvalidValueError(f"is not one of {', '.join(_PARSERS)}", type)
    if not content:
        raise InvalidValueError(f"{record_type} record has no content")
    preference = _check_priority(record_type, priority, domain)
    relative_name = _relative_name(name, domain)
    if record_type == "CNAME" and relative_name == "@":
        raise InvalidValueError("the domain itself cannot be a CNAME")
    if record_type not in _QUOTED_TYPES:
        content = on_one_line(content)
        require_visible(content)
    value = _PARSERS[record_type](content, domain)
    require_visible(value)
    if record_type == "MX" and value == _NO_HOST and preference != 0:
        raise InvalidValueError("write the MX record for no mail as '@ MX 0 .'")
    if record_type == "CNAME" and value == full_name(relative_name, domain):
        raise InvalidValueError("the CNAME points to itself")
    return DnsRecord(
        name=relative_name,
        type=record_type,
        content=value,
        ttl=number(_to_seconds(ttl) if isinstance(ttl, str) else ttl, "ttl", minimum=1, maximum=_MAX_TTL),
        priority=preference,
    )


def _check_priority(record_type: str, priority: object, domain: str) -> int | None:
    preference = number(priority, "priority", minimum=0, maximum=65535)
    if record_type in _TYPES_WITH_PRIORITY and preference is None:
        example = "@ MX 10 mail" if record_type == "MX" else "_sip._tcp SRV 10 5 5060 sip"
        raise InvalidValueError(f"{record_type} record needs a priority, such as '{example}.{domain or 'example.com'}'")
    if record_type not in _TYPES_WITH_PRIORITY and preference is not None:
        raise InvalidValueError(f"{record_type} record takes no priority")
    return preference


def identity(name: str, type: str, content: str, domain: str) -> tuple[str, str, str]:
    """Return name, type and content of a record that a panel lists, in canonical spelling where possible."""
    record_type = type.upper()
    with contextlib.suppress(InvalidValueError):
        name = _relative_name(name, domain)
    if content := trim(content):
        with contextlib.suppress(KeyError, InvalidValueError):
            content = (_LISTED_PARSERS.get(record_type) or _PARSERS[record_type])(content, domain)
    return name, record_type, content


def full_name(name: str, domain: str) -> str:
    """Return the full name of a record of a zone."""
    return domain if name == "@" else f"{name}.{domain}"


def _relative_name(name: str, domain: str) -> str:
    """Return a name within its zone. An empty domain stands for one that was refused: the full name is returned."""
    if name in {"@", ""}:
        return "@"
    if name == "*":
        return name
    wildcard = "*." if name.startswith("*.") else ""
    full = wildcard + host_name(name.removeprefix(wildcard), underscores=True)
    if full == domain:
        return "@"
    relative = full.removesuffix(f".{domain}") if domain else full
    if name.endswith(".") and relative == full and domain:
        raise InvalidValueError(f"is outside {domain}", name)
    if len(full_name(relative, domain)) > MAX_NAME_LENGTH:
        raise InvalidValueError(f"is too long in {domain}: a full name has at most {MAX_NAME_LENGTH} characters", name)
    return relative


def _parse_ipv4(content: str, _domain: str) -> str:
    try:
        return str(ipaddress.IPv4Address(content))
    except ValueError:
        raise InvalidValueError("is not an IPv4 address", content) from None


def _parse_ipv6(content: str, _domain: str) -> str:
    try:
        address = ipaddress.IPv6Address(content)
    except ValueError:
        raise InvalidValueError("is not an IPv6 address", content) from None
    if address.scope_id is not None:
        raise InvalidValueError("is an address of one network interface ('%'), which DNS cannot hold", content)
    return str(address)


def _parse_host(content: str, domain: str) -> str:
    if content == "@":
        return domain
    try:
        ipaddress.ip_address(content.strip("[]."))
    except ValueError:
        pass
    else:
        raise InvalidValueError("is an IP address; write a host name, and an A or AAAA record for it", content)
    name = host_name(content, underscores=True)
    if "." not in name:
        raise InvalidValueError(f"is not a full host name; write '{name}.{domain or 'example.com'}'", content)
    if name.rpartition(".")[2].isdecimal():
        raise InvalidValueError("is not a host name", content)
    return name


def _parse_mail_host(content: str, domain: str) -> str:
    return _NO_HOST if content == _NO_HOST else _parse_host(content, domain)


def _parse_srv(content: str, domain: str) -> str:
    parts = content.split()
    if len(parts) != 3:
        raise InvalidValueError("SRV record must look like '_sip._tcp SRV priority weight port host'")
    weight = number(parts[0], "weight", minimum=0, maximum=65535)
    port = number(parts[1], "port", minimum=0, maximum=65535)
    return f"{weight} {port} {_parse_mail_host(parts[2], domain)}"


def _parse_txt(content: str, _domain: str) -> str:
    text = read_text(content)
    if not text:
        raise InvalidValueError("TXT record has no content")
    return text


def _parse_caa(content: str, _domain: str) -> str:
    match = _CAA.fullmatch(content)
    if not match or int(match["flags"]) > 255:
        raise InvalidValueError("CAA record must look like '@ CAA 0 issue \"letsencrypt.org\"'")
    value = match["plain"] if match["quoted"] is None else match["quoted"].strip()
    return _format_caa(match["flags"], match["tag"], value)


def _parse_listed_caa(content: str, _domain: str) -> str:
    """Return the content of a CAA record that a panel lists; its value may lack quotes."""
    flags, tag, value = (*content.split(None, 2), "", "", "")[:3]
    return _format_caa(flags, tag, value.strip('" ')) if flags.isdecimal() else content


def _format_caa(flags: str, tag: str, value: str) -> str:
    issuer = value.partition(";")[0].strip()
    if tag.lower() in {"issue", "issuewild"} and issuer:
        value = host_name(issuer) + value[len(issuer) :]
    return f'{int(flags)} {tag.lower()} "{value}"'


def _parse_listed_host(content: str, domain: str) -> str:
    """Return the target of a record that a panel lists; it may be relative, with the priority before it."""
    host = content.rsplit(maxsplit=1)[-1]
    return _parse_mail_host(host if "." in host or host == "@" else f"{host}.{domain}", domain)


def _parse_listed_srv(content: str, domain: str) -> str:
    *numbers, host = content.split()
    return _parse_srv(" ".join([*numbers[-2:], _parse_listed_host(host, domain)]), domain)


def _parse_listed_txt(content: str, _domain: str) -> str:
    """Return the text of a record that a panel lists, with or without quotes and escapes."""
    if not content.startswith('"'):
        return content.replace(r"\;", ";")
    try:
        return read_text(content)
    except InvalidValueError:
        return content


_PARSERS: Mapping[str, Callable[[str, str], str]] = {
    "A": _parse_ipv4,
    "AAAA": _parse_ipv6,
    "CNAME": _parse_host,
    "MX": _parse_mail_host,
    "TXT": _parse_txt,
    "NS": _parse_host,
    "SRV": _parse_srv,
    "CAA": _parse_caa,
    "PTR": _parse_host,
}
# Panels list some types in forms that a manifest may not use.
_LISTED_PARSERS: Mapping[str, Callable[[str, str], str]] = {
    "CNAME": _parse_listed_host,
    "MX": _parse_listed_host,
    "NS": _parse_listed_host,
    "PTR": _parse_listed_host,
    "SRV": _parse_listed_srv,
    "TXT": _parse_listed_txt,
    "CAA": _parse_listed_caa,
}

_TTL_PATTERN = r"\d+(?:[smhdw](?:\d+[smhdw])*)?"
"""A time to live: seconds, or units as in `1h30m`; compiled to ignore case."""

TYPOGRAPHIC_QUOTES = ("\u201c", "\u201d", "\u201e", "\u00ab", "\u00bb", "\uff02")
"""Quotes that word processors put in place of `"`."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_TOKEN = re.compile(
    r"""\s+|;[^\r\n]*                                    # blanks and comments
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<mark>[()"])                                    # a lone quote is not closed
    | (?P<word>(?:[^\s"();\\]|\\.|\\\Z)(?:[^\s();\\]|\\.|\\\Z)*)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:(?P<code>\d{3})|(?P<char>\D))|(?P<plain>[^\\]+)|\\", re.DOTALL)
_RECORD = re.compile(
    rf"(?P<name>\S+)\s+(?:(?P<ttl>{_TTL_PATTERN})\s+(?:IN\s+)?|IN\s+(?:(?P<ttl_after>{_TTL_PATTERN})\s+)?)?"
    r"(?P<type>[A-Za-z]+)\s+(?P<content>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"\$(?:ORIGIN|TTL|INCLUDE|GENERATE)\b", re.IGNORECASE)
_PRIORITY = re.compile(r"(?P<priority>\d+)\s+(?P<content>\S.*)")


@attrs.frozen
class _Token:
    text: str
    quoted: bool


def split_records(cell: str, *, multiline: bool = True) -> list[str]:
    """Split a cell into records at `|` and line breaks, unless in quotes or, for line breaks, in parentheses.

    Args:
        cell: The text of the cell.
        multiline: Whether parentheses keep lines together.

    Raises:
        InvalidValueError: A quote is not closed, so that it is unclear where records end.
    """
    records: list[str] = []
    start = position = depth = 0
    while position < len(cell):
        char = cell[position]
        is_token_start = position == start or cell[position - 1].isspace() or cell[position - 1] in '()"'
        if char == '"' and is_token_start:
            if (quoted := _QUOTED.match(cell, position)) is None:
                count = 1 + len([record for record in records if record])
                raise InvalidValueError(f"record {count} opens a quote that is never closed")
            position = quoted.end()
            continue
        if multiline and char in "()" and (is_token_start or depth):
            depth = max(0, depth + (1 if char == "(" else -1))
        if char == "|" or (char in "\r\n" and not depth):
            records.append(trim(cell[start:position]))
            start = position + 1
        position += 1
    if depth:  # The parenthesis belongs to text, or it is a mistake that `read_record` reports.
        return split_records(cell, multiline=False)
    records.append(trim(cell[start:]))
    return [record for record in records if record and not record.startswith(";")]


def read_record(text: str) -> dict[str, str]:
    """Read `name [ttl] [IN] type [priority] content`, as in a zone file."""
    match = _RECORD.fullmatch(trim(text))
    if not match and (directive := _DIRECTIVE.match(text)):
        raise InvalidValueError(
            f"the zone file directive {directive[0]} is not supported; write full names, and a TTL in each record"
        )
    if not match:
        raise InvalidValueError("is not a DNS record; write 'www A 192.0.2.10' or '@ MX 10 mail.example.com'", text)
    parts = match.groupdict()
    ttl = parts.pop("ttl_after") or parts["ttl"]
    entry = {key: value for key, value in (parts | {"ttl": ttl}).items() if value is not None}
    if match["type"].upper() not in _TYPES_WITH_PRIORITY:
        return entry
    with_priority = _PRIORITY.fullmatch(on_one_line(match["content"]))
    return entry | (with_priority.groupdict() if with_priority else {})


def on_one_line(content: str) -> str:
    """Return content on one line, without parentheses and comments.

    Raises:
        InvalidValueError: A quote or parenthesis is not closed.
    """
    return " ".join(f'"{token.text}"' if token.quoted else token.text for token in _tokens(content))


def read_text(content: str) -> str:
    r"""Return the text that the content of a TXT record stands for.

    Content that begins with a quote or a parenthesis is a list of quoted strings, which are joined; other content is
    the text itself. In both, `\;` is a semicolon and `\195\188` the bytes of an `ü`.

    Raises:
        InvalidValueError: A quote or parenthesis is not closed, text stands outside the quotes, or an escape is
            invalid.
    """
    if content.startswith(TYPOGRAPHIC_QUOTES) or (len(content) > 1 and content[0] == content[-1] == "'"):
        raise InvalidValueError('quotes must be straight, as in "v=spf1 -all"')
    if not content.startswith(('"', "(")):
        return _unescape(content)
    tokens = list(_tokens(content))
    if len(tokens) > 1 and not all(token.quoted for token in tokens):
        raise InvalidValueError('TXT record has text outside its quotes; put all of it in quotes, as in "one" "two"')
    return _unescape("".join(token.text for token in tokens))


def _to_seconds(ttl: str) -> str:
    """Return a time such as `1h30m` in seconds; other text unchanged."""
    if not re.fullmatch(_TTL_PATTERN, ttl, re.IGNORECASE) or ttl.isdecimal() or len(ttl) > 40:
        return ttl
    return str(sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)([a-z])", ttl.lower())))


def _tokens(content: str) -> Iterator[_Token]:
    depth = position = 0
    while position < len(content):
        match = _TOKEN.match(content, position)
        if match is None or match["mark"] == '"':
            raise InvalidValueError("a quote is opened but never closed")
        position = match.end()
        if match["mark"]:
            depth += 1 if match["mark"] == "(" else -1
            if depth < 0:
                raise InvalidValueError("a parenthesis is closed but was never opened")
        elif match["quoted"] is not None:
            yield _Token(match["quoted"], quoted=True)
        elif match["word"]:
            yield _Token(match["word"], quoted=False)
    if depth:
        raise InvalidValueError("a parenthesis is opened but never closed")


def _unescape(text: str) -> str:
    data = bytearray()
    for match in _ESCAPE.finditer(text):
        if match["code"] and int(match["code"]) <= 255:
            data.append(int(match["code"]))
        elif match["char"] or match["plain"]:
            data += (match["char"] or match["plain"]).encode(errors="surrogatepass")
        else:
            raise InvalidValueError(
                r"'\' must be followed by a character or a number from 000 to 255; write '\\' for a backslash"
            )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidValueError("the escapes are not UTF-8 text") from None
