"""DNS records of a site: their values, and which records can coexist in a zone."""

import contextlib
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from panelica_async.provision.manifest import zone
from panelica_async.provision.manifest.fields import (
    LONGEST_NAME,
    InvalidValueError,
    host_name,
    number,
    require_visible,
    trim,
)
from panelica_async.provision.manifest.sites import DnsRecord

MAX_TTL = 2**31 - 1
"""Largest time to live in seconds (RFC 2181, section 8)."""
PRIORITISED = ("MX", "SRV")
"""Types that have a priority (evidence: dns-records)."""

NO_HOST = "."
"""Target of an MX or SRV record that says: there is none (RFC 7505, RFC 2782)."""

# Types whose content may hold quoted strings.
_WITH_QUOTES = frozenset({"TXT", "CAA"})
_CAA = re.compile(
    r"""(?P<flags>\d{1,3})\s+(?P<tag>[a-z0-9]+)\s+(?:"(?P<quoted>[^"\\]*)"\s*(?:;.*)?|(?P<plain>[^\s";\\]+))""",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
# One record of each at a name: receivers ignore all of them when there are two, or take any (RFC 7208 section 4.5,
# RFC 7489 section 6.6.3, RFC 8461 section 3.1, RFC 8460 section 3, RFC 6376 section 3.6.2.2).
_SOLE_TEXTS = {"spf1": "SPF", "dmarc1": "DMARC", "stsv1": "MTA-STS", "tlsrptv1": "TLS-RPT", "dkim1": "DKIM"}
_VERSION = re.compile(r"\s*v\s*=\s*(\w+)\s*(?:[\s;]|$)", re.IGNORECASE)


def record(*, name: str, type: str, content: str, ttl: object, priority: object, domain: str) -> DnsRecord:
    """Check a record and return it in canonical spelling.

    Args:
        name: Name within the zone, `@`, or a full name that ends in the domain.
        type: Record type, in any case.
        content: Value without the priority; `@` stands for the domain where a host name is expected.
        ttl: Seconds from 1 to 2147483647, or None.
        priority: 0 to 65535; needed for MX and SRV, refused for others.
        domain: The zone.

    Raises:
        InvalidValueError: A part is invalid.
    """
    kind = type.upper()
    if kind == "SOA":
        raise InvalidValueError("the panel writes the SOA record of a zone itself; leave it out")
    if kind not in _CONTENT:
        raise InvalidValueError(f"is not one of {', '.join(_CONTENT)}", type)
    if not content:
        raise InvalidValueError(f"{kind} record has no content")
    rank = number(priority, "priority", minimum=0, maximum=65535)
    if kind in PRIORITISED and rank is None:
        example = "@ MX 10 mail" if kind == "MX" else "_sip._tcp SRV 10 5 5060 sip"
        raise InvalidValueError(f"{kind} record needs a priority, such as '{example}.{domain or 'example.com'}'")
    if kind not in PRIORITISED and rank is not None:
        raise InvalidValueError(f"{kind} record takes no priority")
    relative = _relative(name, domain)
    if kind == "CNAME" and relative == "@":
        raise InvalidValueError("the domain itself cannot be a CNAME")
    if kind not in _WITH_QUOTES:
        content = zone.plain(content)
        require_visible(content)
    value = _CONTENT[kind](content, domain)
    require_visible(value)
    if kind == "MX" and value == NO_HOST and rank != 0:
        raise InvalidValueError("write the MX record for no mail as '@ MX 0 .'")
    if kind == "CNAME" and value == full_name(relative, domain):
        raise InvalidValueError("the CNAME points to itself")
    return DnsRecord(
        name=relative,
        type=kind,
        content=value,
        ttl=number(zone.seconds(ttl) if isinstance(ttl, str) else ttl, "ttl", minimum=1, maximum=MAX_TTL),
        priority=rank,
    )


def identity(name: str, type: str, content: str, domain: str) -> tuple[str, str, str]:
    """Return what identifies a record of a panel's list, however the panel spells it."""
    kind = type.upper()
    with contextlib.suppress(InvalidValueError):
        name = _relative(name, domain)
    if content := trim(content):
        with contextlib.suppress(KeyError, InvalidValueError):
            content = (_LISTED.get(kind) or _CONTENT[kind])(content, domain)
    return name, kind, content


def full_name(name: str, domain: str) -> str:
    """Return the full name of a record of a zone."""
    return domain if name == "@" else f"{name}.{domain}"


def _relative(name: str, domain: str) -> str:
    """Return a name within its zone; unchanged without a domain, which was refused already."""
    if name in {"@", ""}:
        return "@"
    if name == "*":
        return name
    star = "*." if name.startswith("*.") else ""
    full = star + host_name(name.removeprefix(star), underscores=True)
    if full == domain:
        return "@"
    relative = full.removesuffix(f".{domain}") if domain else full
    if name.endswith(".") and relative == full and domain:
        raise InvalidValueError(f"is outside {domain}", name)
    if len(full_name(relative, domain)) > LONGEST_NAME:
        raise InvalidValueError(f"is too long in {domain}: a full name has at most {LONGEST_NAME} characters", name)
    return relative


def _ipv4(content: str, _domain: str) -> str:
    try:
        return str(ipaddress.IPv4Address(content))
    except ValueError:
        raise InvalidValueError("is not an IPv4 address", content) from None


def _ipv6(content: str, _domain: str) -> str:
    try:
        address = ipaddress.IPv6Address(content)
    except ValueError:
        raise InvalidValueError("is not an IPv6 address", content) from None
    if address.scope_id is not None:
        raise InvalidValueError("is an address of one network interface ('%'), which DNS cannot hold", content)
    return str(address)


def _host(content: str, domain: str) -> str:
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


def _mail_host(content: str, domain: str) -> str:
    return NO_HOST if content == NO_HOST else _host(content, domain)


def _service(content: str, domain: str) -> str:
    parts = content.split()
    if len(parts) != 3:
        raise InvalidValueError("SRV record must look like '_sip._tcp SRV priority weight port host'")
    weight = number(parts[0], "weight", minimum=0, maximum=65535)
    port = number(parts[1], "port", minimum=0, maximum=65535)
    return f"{weight} {port} {_mail_host(parts[2], domain)}"


def _text(content: str, _domain: str) -> str:
    text = zone.read_text(content)
    if not text:
        raise InvalidValueError("TXT record has no content")
    return text


def _authority(content: str, _domain: str) -> str:
    match = _CAA.fullmatch(content)
    if not match or int(match["flags"]) > 255:
        raise InvalidValueError("CAA record must look like '@ CAA 0 issue \"letsencrypt.org\"'")
    value = match["plain"] if match["quoted"] is None else match["quoted"].strip()
    return _authority_of(match["flags"], match["tag"], value)


def _listed_authority(content: str, _domain: str) -> str:
    """Return the content of a record in a panel's list, where parameters may stand without quotes."""
    flags, tag, value = (*content.split(None, 2), "", "", "")[:3]
    return _authority_of(flags, tag, value.strip('" ')) if flags.isdecimal() else content


def _authority_of(flags: str, tag: str, value: str) -> str:
    issuer = value.partition(";")[0].strip()
    if tag.lower() in {"issue", "issuewild"} and issuer:
        value = host_name(issuer) + value[len(issuer) :]
    return f'{int(flags)} {tag.lower()} "{value}"'


def _listed_host(content: str, domain: str) -> str:
    """Return the target of a record in a panel's list, which may be relative, with the priority before it."""
    host = content.rsplit(maxsplit=1)[-1]
    return _mail_host(host if "." in host or host == "@" else f"{host}.{domain}", domain)


def _listed_service(content: str, domain: str) -> str:
    *numbers, host = content.split()
    return _service(" ".join([*numbers[-2:], _listed_host(host, domain)]), domain)


def _listed_text(content: str, _domain: str) -> str:
    return zone.read_listed_text(content)


_CONTENT: Mapping[str, Callable[[str, str], str]] = {
    "A": _ipv4,
    "AAAA": _ipv6,
    "CNAME": _host,
    "MX": _mail_host,
    "TXT": _text,
    "NS": _host,
    "SRV": _service,
    "CAA": _authority,
    "PTR": _host,
}
# How a panel may list what is written more strictly in a manifest.
_LISTED: Mapping[str, Callable[[str, str], str]] = {
    "CNAME": _listed_host,
    "MX": _listed_host,
    "NS": _listed_host,
    "PTR": _listed_host,
    "SRV": _listed_service,
    "TXT": _listed_text,
    "CAA": _listed_authority,
}


def clash(name: str, type: str, content: str, other_type: str, other_content: str) -> str | None:
    """Return why a name cannot have two different records at once, or None when it can.

    Args:
        name: The name within the zone.
        type: Type of one record, in upper case.
        content: Its content.
        other_type: Type of the other record, in upper case.
        other_content: Its content.
    """
    if type == other_type == "CNAME":
        return "a name can have only one CNAME"
    if "CNAME" in {type, other_type}:
        return "a CNAME cannot have another record beside it"
    if type == other_type == "MX" and "." in {content, other_content}:
        return "a null MX, which means no mail, cannot have another MX beside it"
    if type == other_type == "TXT":
        kind = _sole_text(name, content)
        if kind is not None and kind == _sole_text(name, other_content):
            return f"a name can have only one {kind} record"
    return None


def are_of_one_purpose(name: str, type: str, content: str, other_type: str, other_content: str) -> bool:
    """Return whether one of two records may be meant to replace the other: texts must begin with the same key."""
    if type != other_type:
        return False
    return type != "TXT" or _purpose(name, content) == _purpose(name, other_content)


def contradictions(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield, in words, which records cannot coexist in a zone.

    Args:
        records: All records of the zone.
        domain: The zone.
    """
    by_name: dict[str, list[DnsRecord]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    for name, same_name in by_name.items():
        pairs = itertools.combinations(same_name, 2)
        clashes = (clash(name, one.type, one.content, other.type, other.content) for one, other in pairs)
        for reason in dict.fromkeys(filter(None, clashes)):
            yield f"{name}: {reason}"
        yield from (f"{name}: {message}" for message in _different_times(same_name))
    yield from _alias_loops(by_name, domain)


def targets_that_are_aliases(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield the records of mail and name servers that are a CNAME themselves (RFC 2181 section 10.3)."""
    aliases = {full_name(record.name, domain) for record in records if record.type == "CNAME"}
    for record in records:
        if record.type in {"MX", "NS"} and record.content in aliases:
            yield f"{record.name} {record.type} {record.content}"


def _different_times(records: Sequence[DnsRecord]) -> Iterator[str]:
    """Yield types whose records have different times to live, which RFC 2181 section 5.2 rules out."""
    times: dict[str, set[int]] = {}
    for record in records:
        if record.ttl is not None:
            times.setdefault(record.type, set()).add(record.ttl)
    for kind, values in times.items():
        if len(values) > 1:
            low, high = min(values), max(values)
            yield f"the {kind} records have different TTLs, {low} and {high}; records of one name and type share one"


def _alias_loops(by_name: Mapping[str, Sequence[DnsRecord]], domain: str) -> Iterator[str]:
    target = {
        full_name(name, domain): records[0].content
        for name, records in by_name.items()
        if records[0].type == "CNAME" and len(records) == 1
    }
    reported: set[str] = set()
    for start in target:
        chain = [start]
        while (follow := target.get(chain[-1])) is not None and follow not in chain:
            chain.append(follow)
        if follow == start and start not in reported:
            reported.update(chain)
            yield f"the CNAMEs {' -> '.join([*chain, start])} form a loop"


def _sole_text(name: str, content: str) -> str | None:
    """Return what a text is, if a name can have only one of its kind."""
    labels = name.lower().split(".")
    # A key may do without its version.
    if "_domainkey" in labels[1:]:
        return "DKIM"
    version = _VERSION.match(content)
    return _SOLE_TEXTS.get(version[1].lower()) if version else None


def _purpose(name: str, content: str) -> str:
    key, equals, _ = content.partition("=")
    return _sole_text(name, content) or (key.strip().lower() if equals else "")
