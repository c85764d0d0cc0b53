"""Checks of single values: each returns the canonical spelling or raises `InvalidValueError`."""

import re
from collections.abc import Sequence

import idna

from panelica_async.provision.manifest.problems import InvalidValueError

PASSWORD_LENGTH = 8
"""Shortest password; current panels are known to refuse fewer characters (panel-facts D.2)."""

WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
"""The first two by the reference, the others on current panels (panel-facts D.4)."""
DATABASE_TYPES = ("mysql", "postgresql")

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Guess: what a system user may be called on any Linux; panel-facts name no rule.
_USERNAME = re.compile(r"[a-z][a-z0-9_.-]{0,31}", re.IGNORECASE)
# Names `[A-Za-z0-9_]`, at most 32 (panel-facts D.7).
_DATABASE_NAME = re.compile(r"[A-Za-z0-9_]{1,32}")
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.IGNORECASE)
_PHP_VERSION = re.compile(r"(?:php[ -]?)?(\d\.\d{1,2})", re.IGNORECASE)

_YES = frozenset({"1", "on", "true", "y", "yes", "x"})
_NO = frozenset({"", "-", "0", "false", "n", "no", "none", "off"})


def text(value: object) -> str:
    """Return text without surrounding blanks; None is empty, anything but text is refused."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidValueError("must be text; put it in quotes")
    stripped = value.strip()
    if not stripped.isprintable():
        raise InvalidValueError("holds a character that cannot be printed")
    return stripped


def number(value: object, name: str, *, minimum: int, maximum: int) -> int | None:
    """Return a whole number within bounds, or None when there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidValueError(f"{name} must be a whole number from {minimum} to {maximum}")
    return value


def host_name(name: str, *, underscores: bool = False) -> str:
    """Return a host name in ASCII form, lower case and without a trailing dot.

    Args:
        name: Name of one or more labels; other alphabets are converted to punycode (IDNA 2008, after UTS 46).
        underscores: Whether labels such as `_dmarc` are fine, as in DNS records.
    """
    name = name.strip().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise InvalidValueError(f"{name!r} is not an internationalised domain name") from None
    name = name.lower()
    pattern = _SERVICE_LABEL if underscores else _LABEL
    if len(name) > 253 or not all(pattern.fullmatch(label) for label in name.split(".")):
        raise InvalidValueError(f"{name!r} is not a host name")
    return name


def domain_name(name: str) -> str:
    """Return a registrable name or a name below one, as `host_name` does."""
    if "/" in name or ":" in name:
        raise InvalidValueError(f"{name!r} is an address; write the domain alone, such as 'example.com'")
    name = host_name(name)
    if "." not in name:
        raise InvalidValueError(f"{name!r} has no top-level domain")
    if name.rpartition(".")[2].isdecimal():
        raise InvalidValueError(f"{name!r} is not a domain")
    return name


def email_address(address: str) -> str:
    """Return an e-mail address, its domain in canonical spelling."""
    local, at, domain = address.rpartition("@")
    if not at:
        raise InvalidValueError(f"{address!r} is not an e-mail address")
    return f"{local_part(local)}@{domain_name(domain)}"


def local_part(local: str) -> str:
    """Return the part of an address before the `@`."""
    if len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        raise InvalidValueError(f"{local!r} cannot stand before the @ of an e-mail address")
    return local


def user_name(name: str) -> str:
    """Return the name of an account or FTP user."""
    if not _USERNAME.fullmatch(name):
        raise InvalidValueError(
            f"{name!r} is not a user name: a letter, then letters, digits, '.', '_' or '-', at most 32 in all"
        )
    return name


def database_name(name: str) -> str:
    """Return the name of a database or of its user."""
    if not _DATABASE_NAME.fullmatch(name):
        raise InvalidValueError(f"{name!r} may hold letters, digits and '_' only, at most 32 characters")
    return name


def password(value: object) -> str | None:
    """Return a password as it is, or None when there is none and one is to be generated."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidValueError("password must be text; put it in quotes")
    if len(value) < PASSWORD_LENGTH:
        raise InvalidValueError(f"password needs at least {PASSWORD_LENGTH} characters")
    if not value.isprintable() or value != value.strip():
        raise InvalidValueError("password begins or ends with a blank or holds a character that cannot be printed")
    return value


def php_version(value: object) -> str | None:
    """Return a PHP version such as `8.4`; YAML may give it as a number."""
    given = text(str(value) if isinstance(value, float) else value)
    if not given:
        return None
    if not (match := _PHP_VERSION.fullmatch(given)):
        raise InvalidValueError(f"{given!r} is not a PHP version; write it as '8.4'")
    return match[1]


def web_server(value: object) -> str | None:
    """Return one of `WEB_SERVERS`; `nginx+apache` and `Nginx Only` are understood."""
    given = text(value)
    return choice(re.sub(r"[\s+-]+", "_", given.lower()), WEB_SERVERS, shown=given) if given else None


def ssl(value: object) -> str | None:
    """Return `lets_encrypt`, `self_signed` or None; yes and true mean Let's Encrypt."""
    if isinstance(value, bool):
        return "lets_encrypt" if value else None
    given = text(value)
    if given.lower() in _NO:
        return None
    word = re.sub(r"[^a-z0-9]+", "", given.lower())
    if word in _YES or word == "letsencrypt":
        return "lets_encrypt"
    if word == "selfsigned":
        return "self_signed"
    if word == "custom":
        raise InvalidValueError(
            "a certificate of your own cannot be ordered; leave the cell empty and upload it in the panel"
        )
    raise InvalidValueError(f"{given!r} is none of yes, lets_encrypt, self_signed, no")


def choice(word: str, allowed: Sequence[str], *, shown: str | None = None) -> str:
    """Return the word if it is one of the allowed ones."""
    if word not in allowed:
        raise InvalidValueError(f"{word if shown is None else shown!r} is none of {', '.join(allowed)}")
    return word
