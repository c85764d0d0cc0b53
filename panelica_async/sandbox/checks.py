"""Rules for values that the specification leaves open.

Guesses, in the style of what clients are known to check (panel-facts D.2, D.7): forms of names, 8 characters for
passwords. Passwords are checked and forgotten.
"""

import ipaddress
import re

from panelica_async.sandbox.errors import bad_request

_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_DOMAIN = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+{_LABEL}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_USERNAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_LOCAL_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,62}[A-Za-z0-9_+-])?")
_DATABASE_NAME = re.compile(r"[A-Za-z0-9_]{1,32}")
_FTP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ADDRESSES = {"A": ipaddress.IPv4Address, "AAAA": ipaddress.IPv6Address}

MIN_PASSWORD_LENGTH = 8


def domain_name(text: str) -> str:
    """Return a domain name in lower case, or refuse it."""
    return _matching(_DOMAIN, text.lower(), "domain", "must be a name such as example.com")


def username(text: str) -> str:
    """Return a system user name, or refuse it."""
    return _matching(_USERNAME, text, "username", "lower-case letters, digits, _ and -, at most 32 characters")


def email(text: str) -> str:
    """Return an e-mail address, or refuse it."""
    return _matching(_EMAIL, text, "email", "must be an address such as john@example.com")


def local_part(text: str) -> str:
    """Return the part of an address before the @, or refuse it."""
    return _matching(_LOCAL_PART, text, "local_part", "letters, digits and . _ + -, such as info")


def database_name(text: str, field: str) -> str:
    """Return the name of a database or of its user, or refuse it."""
    # "Names [A-Za-z0-9_], at most 32" (panel-facts D.7).
    return _matching(_DATABASE_NAME, text, field, "letters, digits and _, at most 32 characters")


def ftp_name(text: str) -> str:
    """Return the name of an FTP user, or refuse it."""
    return _matching(_FTP_NAME, text, "username", "letters, digits and . _ @ -, at most 64 characters")


def password(text: str) -> None:
    """Refuse a password that is too short: "under 8 characters … the panel would refuse" (panel-facts D.2)."""
    if len(text) < MIN_PASSWORD_LENGTH:
        raise bad_request(f"password: must have at least {MIN_PASSWORD_LENGTH} characters")


def record_content(record_type: str, content: str) -> str:
    """Return the content of a DNS record, or refuse an address of the wrong kind."""
    if record_type in _ADDRESSES:
        try:
            _ADDRESSES[record_type](content)
        except ValueError:
            raise bad_request(f"content: {record_type} needs an address of its kind") from None
    return content


def one_of(text: str, choices: tuple[str, ...], field: str) -> str:
    """Return a value that is one of those there are, or refuse it."""
    if text not in choices:
        raise bad_request(f"{field}: must be one of {', '.join(choices)}")
    return text


def _matching(form: re.Pattern[str], text: str, field: str, meaning: str) -> str:
    if not form.fullmatch(text):
        raise bad_request(f"{field}: {meaning}")
    return text
