"""What may stand side by side at one name of a zone."""

import re

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
