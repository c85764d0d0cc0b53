"""Checks one value, such as a domain, a name or a password; the rules for names are in `core.values`.

Each function returns the canonical spelling, or raises `InvalidValueError`.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, cast

import idna

from panelica_async.core.values import ACCOUNT_NAME, DATABASE_NAME, FTP_NAME, MAILBOX_NAME

MIN_PASSWORD_LENGTH = 8
"""Characters a password needs; current panels are known to refuse fewer (evidence: passwords)."""

MAX_NAME_LENGTH = 253
"""Most characters of a domain or host name in its ASCII form."""
WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
"""The first two are in the reference, the others on current panels (evidence: domains-create)."""
DATABASE_TYPES = ("mysql", "postgresql")

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Without re.ASCII, `[a-z]` in any case also matches the Turkish i, and `\d` the digits of any script.
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.IGNORECASE | re.ASCII)
# Panels and exports also write `ea-php84`, `PHP-8_4`, `plesk-php84-fpm` and `8.4.11`.
_PHP_VERSION = re.compile(
    r"(?P<php>(?:(?:ea|alt|plesk)-)?php[ _-]?)?"
    r"(?P<major>\d)(?(php)[._]?|\.)(?P<minor>\d{1,2})(?:\.\d{1,2})?(?:[ -]fpm)?",
    re.IGNORECASE | re.ASCII,
)

# No number in a manifest has more. Python refuses to read very long ones.
_MAX_DIGITS = 18
_JOINERS = "\u200c\u200d"
_ZERO_WIDTH = (
    _JOINERS
    + "\u00ad\u200b\u200e\u200f\u2060\ufeff"
    + "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
)
_TRIMMED_CHARACTERS = _ZERO_WIDTH + "".join(filter(str.isspace, map(chr, range(0x3001))))
_CONTROLS = {"\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN"}

PLACEHOLDERS = frozenset(
    {"-", "--", "#n/a", "active", "disabled", "enabled", "false", "n/a", "nil", "no", "none", "null", "off", "on"}
    | {"true", "unlimited", "yes"}
)
"""Words that exports write into a cell to say whether there is something, in lower case; never names."""
_YES = frozenset({"1", "on", "true", "y", "yes", "x"})
_NO = frozenset({"", "-", "0", "false", "n", "no", "none", "off"})

# If a quote is missing, a cell may hold the rest of the file.
_MAX_QUOTED = 300


class InvalidValueError(ValueError):
    """A value of a manifest is of the wrong form.

    Args:
        rule: What is wrong and what is expected, without the value.
        value: The value, which the message quotes before the rule. Omit it if it may be a password.
        within: The entry that the value belongs to, such as the database of a user.
    """

    def __init__(self, rule: str, value: str | None = None, *, within: str = "") -> None:
        self.rule = rule
        self.value = value
        self.within = within
        if value is not None and len(value) > _MAX_QUOTED:
            value = f"{value[:_MAX_QUOTED]}…"
        quoted = rule if value is None else f"{value!r} {rule}"
        super().__init__(f"{within}: {quoted}" if within else quoted)

    def inside(self, name: str) -> "InvalidValueError":
        """Return the error with the name of an entry that the value belongs to."""
        return InvalidValueError(self.rule, self.value, within=f"{name}: {self.within}" if self.within else name)

    def without_value(self, entry: str) -> str:
        """Return the message for a cell that also holds passwords: a wrong value may be a piece of one.

        Args:
            entry: What to name instead of the value, such as `entry 2`.
        """
        return str(self) if self.value is None else f"{entry}: a name {self.rule}"


def trim(value: str) -> str:
    """Return text without the blanks and invisible characters at its ends, which pasting leaves behind."""
    return value.strip(_TRIMMED_CHARACTERS)


def text(value: object) -> str:
    """Return text without surrounding blanks; None becomes empty, and anything but text is refused."""
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = "a mapping" if as_mapping(value) is not None else "a list" if is_list(value) else ""
        raise InvalidValueError(f"must be text, not {kind}" if kind else "must be text; put it in quotes")
    trimmed = trim(value)
    require_visible(trimmed)
    return trimmed


def require_visible(value: str) -> None:
    """Refuse text with an invisible character, and say which and where."""
    if (index := _find_invisible(value)) is not None:
        piece = value[max(0, index - 20) : index + 20]
        raise InvalidValueError(f"contains {_character_name(value[index])} as character {index + 1}", piece)


def number(value: object, name: str, *, minimum: int, maximum: int) -> int | None:
    """Return a whole number within bounds, or None for an empty value."""
    if isinstance(value, str):
        value = trim(value)
        if value.isdecimal() and len(value) <= _MAX_DIGITS:
            value = int(value)
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidValueError(f"{name} must be a whole number from {minimum} to {maximum}")
    return value


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether a value is a list or, as Python callers may pass, a tuple."""
    return isinstance(value, list | tuple)


def as_mapping(value: object) -> dict[str, object] | None:
    """Return a mapping with its keys as text, or None for any other value."""
    if not isinstance(value, Mapping):
        return None
    return {str(key): entry for key, entry in cast("Mapping[object, object]", value).items()}


def host_name(name: str, *, underscores: bool = False) -> str:
    """Return a host name in ASCII form, lower case and without a trailing dot.

    Args:
        name: One or more labels; those in other alphabets are converted to punycode (IDNA 2008, after UTS 46).
        underscores: Whether labels such as `_dmarc` are allowed, as in DNS records.
    """
    name = trim(name)
    try:
        labels = name if name.isascii() else idna.uts46_remap(name, std3_rules=False)
    except (idna.IDNAError, ValueError):
        raise InvalidValueError("is not an internationalised domain name", name) from None
    ascii_labels = [
        label if label.isascii() else _punycode(label, name, underscores=underscores)
        for label in labels.removesuffix(".").lower().split(".")
    ]
    host = ".".join(ascii_labels)
    pattern = _SERVICE_LABEL if underscores else _LABEL
    if len(host) > MAX_NAME_LENGTH or not all(pattern.fullmatch(label) for label in ascii_labels):
        raise InvalidValueError("is not a host name", name.lower().removesuffix(".") or name)
    return host


def domain_name(name: str) -> str:
    """Return a host name that has a top-level domain, in the form of `host_name`."""
    if "/" in name or ":" in name:
        raise InvalidValueError("is an address; write the domain alone, such as 'example.com'", name)
    name = host_name(name)
    if "." not in name:
        raise InvalidValueError("has no top-level domain", name)
    top = name.rpartition(".")[2]
    if top.isdecimal() or len(top) == 1:
        raise InvalidValueError("is not a domain", name)
    return name


def email_address(address: str) -> str:
    """Return an e-mail address with its domain in canonical spelling."""
    local, at, domain = address.rpartition("@")
    if not at:
        raise InvalidValueError("is not an e-mail address", address)
    if len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        raise InvalidValueError("is not allowed before the @ of an e-mail address", local)
    return f"{local}@{domain_name(domain)}"


def user_name(name: str) -> str:
    """Return the name of an account, in lower case: a system user has no capitals."""
    if not ACCOUNT_NAME.allows(name.lower()):
        raise InvalidValueError(f"is not a user name; use {ACCOUNT_NAME.form}", name)
    return name.lower()


def mailbox_name(local: str) -> str:
    """Return the part of a mailbox's address before the `@`, in lower case."""
    if local in {"", "*"}:
        raise InvalidValueError("is a catch-all, not a mailbox; leave it out and set it up in the panel", local or "@")
    if not MAILBOX_NAME.allows(local):
        raise InvalidValueError(f"is not a mailbox name; use {MAILBOX_NAME.form}", local)
    return local.lower()


def database_name(name: str) -> str:
    """Return the name of a database or of its user."""
    if not DATABASE_NAME.allows(name):
        raise InvalidValueError(f"is not a name of a database or its user; use {DATABASE_NAME.form}", name)
    return name


def ftp_name(name: str) -> str:
    """Return the name of an FTP user."""
    if not FTP_NAME.allows(name):
        raise InvalidValueError(f"is not a name of an FTP user; use {FTP_NAME.form}", name)
    return name


def password(value: object) -> str | None:
    """Return a password unchanged, or None if one must be generated.

    A space at an end may or may not belong to the password, so it is refused rather than removed.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise InvalidValueError("password must be text; put it in quotes")
    if len(value) < MIN_PASSWORD_LENGTH:
        raise InvalidValueError(f"password needs at least {MIN_PASSWORD_LENGTH} characters")
    if value != value.strip():
        raise InvalidValueError("password begins or ends with a space")
    if (index := _find_invisible(value)) is not None:
        raise InvalidValueError(f"password contains {_character_name(value[index])} as character {index + 1}")
    return value


def php_version(value: object) -> str | None:
    """Return a PHP version such as `8.4`; accepts a number, as YAML reads it, and `ea-php84` or `8.4.11` of exports."""
    version = text(str(value) if isinstance(value, float) else value)
    if not version:
        return None
    if not (match := _PHP_VERSION.fullmatch(version)):
        raise InvalidValueError("is not a PHP version; write it as '8.4'", version)
    return f"{match['major']}.{match['minor']}"


def home_directory(path: str) -> str:
    """Return the directory of an FTP user with a leading slash: a full path, or one below the home of the account."""
    if "\\" in path or ".." in path.split("/"):
        raise InvalidValueError("is not a directory of the account; write it as '/htdocs', without '..'", path)
    return posixpath.normpath("/" + path.lstrip("/"))


def web_server(value: object) -> str | None:
    """Return one of `WEB_SERVERS`; `nginx+apache` and `Nginx Only` are understood."""
    name = text(value)
    return choice(re.sub(r"[\s+-]+", "_", name.lower()), WEB_SERVERS, original=name) if name else None


def ssl(value: object) -> str | None:
    """Return `lets_encrypt`, `self_signed` or None; yes and true mean Let's Encrypt."""
    if isinstance(value, bool):
        return "lets_encrypt" if value else None
    word = text(value)
    if word.lower() in _NO:
        return None
    letters = re.sub(r"[^a-z0-9]+", "", word.lower())
    if letters in _YES or letters == "letsencrypt":
        return "lets_encrypt"
    if letters == "selfsigned":
        return "self_signed"
    if letters == "custom":
        raise InvalidValueError(
            "a certificate of your own cannot be ordered; leave the cell empty and upload it in the panel"
        )
    raise InvalidValueError("is not one of yes, lets_encrypt, self_signed, no", word)


def is_valid(parse: Callable[[str], str | None], value: object) -> bool:
    """Return whether a value is valid and not empty."""
    try:
        return parse(text(value)) is not None
    except InvalidValueError:
        return False


def canonical_spelling(parse: Callable[[str], str | None], listed: str) -> str:
    """Return a value that a panel lists in the spelling of a manifest; an invalid one unchanged."""
    try:
        return parse(listed) or listed
    except InvalidValueError:
        return listed


def choice(word: str, allowed: Sequence[str], *, original: str | None = None) -> str:
    """Return a word if it is allowed.

    Args:
        word: The word in canonical spelling.
        allowed: The allowed words.
        original: The word as written, for the message.
    """
    if word not in allowed:
        raise InvalidValueError(f"is not one of {', '.join(allowed)}", word if original is None else original)
    return word


def _punycode(label: str, name: str, *, underscores: bool) -> str:
    """Return a label in another alphabet in its `xn--` form."""
    try:
        # IDNA has no underscores, but names of services in DNS do: the check skips them.
        idna.alabel(label.replace("_", "") if underscores else label)
        return "xn--" + label.encode("punycode").decode()
    except (idna.IDNAError, ValueError):
        pass
    symbols = [char for char in label if unicodedata.category(char) == "So"]
    if not symbols:
        require_visible(label)
        raise InvalidValueError("is not an internationalised domain name", name)
    encoded = "xn--" + label.encode("punycode").decode()
    raise InvalidValueError(
        f"is not an internationalised domain name, which has no symbols such as {symbols[0]!r}; "
        f"if it is registered, write its label as {encoded!r}",
        name,
    )


def _find_invisible(value: str) -> int | None:
    """Return the position of the first invisible character, if any; joiners are allowed in scripts such as Persian."""
    if value.isprintable():
        return None
    for index, char in enumerate(value):
        if char.isprintable():
            continue
        neighbours = value[index - 1 : index] + value[index + 1 : index + 2]
        is_joining = char in _JOINERS and len(neighbours) == 2 and not neighbours.isascii()
        if not is_joining:
            return index
    return None


def _character_name(char: str) -> str:
    unnamed = "CONTROL CHARACTER" if unicodedata.category(char) == "Cc" else "UNNAMED CHARACTER"
    return f"U+{ord(char):04X} {_CONTROLS.get(char) or unicodedata.name(char, unnamed)}"
