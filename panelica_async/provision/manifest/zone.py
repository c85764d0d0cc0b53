"""What may stand side by side in a zone."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from panelica_async.provision.manifest.dns import full_name
from panelica_async.provision.manifest.sites import DnsRecord

# One record of each at a name: receivers ignore all of them when there are two, or take any (RFC 7208 section 4.5,
# RFC 7489 section 6.6.3, RFC 8461 section 3.1, RFC 8460 section 3, RFC 6376 section 3.6.2.2).
_SOLE_TEXTS = {"spf1": "SPF", "dmarc1": "DMARC", "stsv1": "MTA-STS", "tlsrptv1": "TLS-RPT", "dkim1": "DKIM"}
_VERSION = re.compile(r"\s*v\s*=\s*(\w+)\s*(?:[\s;]|$)", re.IGNORECASE)


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
        return "a name can have one CNAME"
    if "CNAME" in {type, other_type}:
        return "a CNAME can have no other record beside it"
    if type == other_type == "MX" and "." in {content, other_content}:
        return "a null MX, which says that there is no mail, can have no other MX beside it"
    if type == other_type == "TXT":
        kind = _sole_text(name, content)
        if kind is not None and kind == _sole_text(name, other_content):
            return f"a name can have one {kind} record"
    return None


def are_of_one_purpose(name: str, type: str, content: str, other_type: str, other_content: str) -> bool:
    """Return whether one of two records may be meant to replace the other: texts must begin with the same key."""
    if type != other_type:
        return False
    return type != "TXT" or _purpose(name, content) == _purpose(name, other_content)


def contradictions(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    """Yield what cannot stand in one zone together, in words.

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
            yield f"the {kind} records have different times to live, {low} and {high}; one name and type has one"


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
            yield f"the CNAMEs {' -> '.join([*chain, start])} go round in a circle"


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
