"""DNS records: what each type may hold, and one spelling for comparing."""

import ipaddress
import re
from collections.abc import Callable, Mapping

from panelica_async.provision.manifest.fields import host_name, number
from panelica_async.provision.manifest.problems import InvalidValueError
from panelica_async.provision.manifest.sites import DnsRecord

MAX_TTL = 2**31 - 1
"""Largest time to live in seconds (RFC 2181, section 8)."""
PRIORITISED = ("MX", "SRV")
"""Types that have a priority (panel-facts D.6)."""

_CAA = re.compile(r"""(\d{1,3})\s+([a-z0-9]+)\s+"?([^"]*)"?""", re.IGNORECASE)


def record(*, name: str, type: str, content: str, ttl: object, priority: object, domain: str) -> DnsRecord:
    """Check a record and bring it to canonical spelling.

    Args:
        name: Name within the zone, `@`, or a full name that ends in the domain.
        type: Record type, in any case.
        content: Value without the priority; `@` stands for the domain where a host name is expected.
        ttl: Seconds from 1 to 2147483647, or None.
        priority: 0 to 65535; needed for MX and SRV, refused for others.
        domain: The zone.

    Raises:
        InvalidValueError: If a part is not right.
    """
    kind = type.upper()
    if kind not in _CONTENT:
        raise InvalidValueError(f"{type!r} is none of {', '.join(_CONTENT)}")
    if not content:
        raise InvalidValueError(f"{kind} record has no content")
    rank = number(priority, "priority", minimum=0, maximum=65535)
    if kind in PRIORITISED and rank is None:
        raise InvalidValueError(f"{kind} record needs a priority, such as '@ MX 10 mail.{domain}'")
    if kind not in PRIORITISED and rank is not None:
        raise InvalidValueError(f"{kind} record has no priority")
    relative = _relative(name, domain)
    if kind == "CNAME" and relative == "@":
        raise InvalidValueError("the domain itself cannot be a CNAME")
    return DnsRecord(
        name=relative,
        type=kind,
        content=_CONTENT[kind](content, domain),
        ttl=number(ttl, "ttl", minimum=1, maximum=MAX_TTL),
        priority=rank,
    )


def identity(name: str, type: str, content: str, domain: str) -> tuple[str, str, str]:
    """Return what makes a record the same record, whatever way a panel spells it."""
    kind = type.upper()
    try:
        return _relative(name, domain), kind, _CONTENT[kind](content, domain)
    except (KeyError, InvalidValueError):
        return name, kind, content


def _relative(name: str, domain: str) -> str:
    full = name.lower().removesuffix(".")
    if full in {"@", "", domain}:
        return "@"
    full = full.removesuffix(f".{domain}")
    if name.endswith(".") and name.lower().removesuffix(".") == full:
        raise InvalidValueError(f"{name!r} is outside of {domain}")
    if full == "*":
        return full
    star = "*." if full.startswith("*.") else ""
    return star + host_name(full.removeprefix("*."), underscores=True)


def _ipv4(content: str, _domain: str) -> str:
    try:
        return str(ipaddress.IPv4Address(content))
    except ValueError:
        raise InvalidValueError(f"{content!r} is not an IPv4 address") from None


def _ipv6(content: str, _domain: str) -> str:
    try:
        return str(ipaddress.IPv6Address(content))
    except ValueError:
        raise InvalidValueError(f"{content!r} is not an IPv6 address") from None


def _host(content: str, domain: str) -> str:
    if content == "@":
        return domain
    name = host_name(content, underscores=True)
    if "." not in name:
        raise InvalidValueError(f"{content!r} is not a full host name; write '{name}.{domain}'")
    return name


def _service(content: str, domain: str) -> str:
    parts = content.split()
    if len(parts) != 3:
        raise InvalidValueError("SRV record is written as '_sip._tcp SRV priority weight port host'")
    weight = number(parts[0], "weight", minimum=0, maximum=65535)
    port = number(parts[1], "port", minimum=0, maximum=65535)
    return f"{weight} {port} {_host(parts[2], domain)}"


def _text(content: str, _domain: str) -> str:
    inner = content[1:-1] if len(content) > 1 and content[0] == content[-1] == '"' else content
    return content if '"' in inner else inner


def _authority(content: str, _domain: str) -> str:
    match = _CAA.fullmatch(content)
    if not match or int(match[1]) > 255:
        raise InvalidValueError("CAA record is written as '@ CAA 0 issue \"letsencrypt.org\"'")
    return f'{int(match[1])} {match[2].lower()} "{match[3].strip()}"'


_CONTENT: Mapping[str, Callable[[str, str], str]] = {
    "A": _ipv4,
    "AAAA": _ipv6,
    "CNAME": _host,
    "MX": _host,
    "TXT": _text,
    "NS": _host,
    "SRV": _service,
    "CAA": _authority,
    "PTR": _host,
}
