"""Decides which values are secret, and removes them from data, headers and text before they are logged or shown.

In data, the name of a key decides; in free text, what surrounds a value. Other functions shorten text and put it on one
line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from urllib.parse import quote, unquote, unquote_plus

from panelica_async.core.json_codec import JsonValue, loads

REDACTED = "[redacted]"
EXCERPT_LENGTH = 200
"""Characters of a body that an error quotes."""
FILES = "/v1/files"
"""Requests below this path carry the content of customers' files, which may hold passwords anywhere."""
MAX_DEPTH = 50
"""Levels of nesting that `redact` copies; anything deeper is hidden entirely."""

# Webhook destinations carry their credential in the URL (evidence: webhook-destinations); sign-in and
# download links work for anyone who holds them (evidence: sso-login).
_SENSITIVE = (
    r"passw(?:or)?d|passphrase|secret|token|signature|authorization|cookie|credential|ticket|destination_config"
    r"|(?:api|private|access|encryption|license|master|ssh)[_-]?key|(?<!public)(?<!primary)(?<!foreign)[_-]key(?![\w-])"
    r"|(?:webhook|sso|login|download|backup|restore)[_-]?(?:url|link)|(?:recovery|backup)[_-]?codes?"
    r"|(?:pass|pwd)(?![a-z0-9])|(?<![a-z0-9])(?:t?otp|pin|pw|jwt|dsn|bearer)(?![a-z0-9])"
    r"|(?:(?<![a-z0-9])auth|session(?:[_-]?(?:id|key))?)(?![\w-])"
)
_HEADER_LINE = r"(?im)\b((?:proxy-)?authorization|x-api-key|x-signature|(?:set-)?cookie)(\s*:\s*)\S.*$"
# Possessive quantifiers keep the time linear whatever a server sends.
_QUOTED = r"""\\*+(?: "(?:[^"\\]|\\.)*+"? | '(?:[^'\\]|\\.)*+'? )"""
_WORD = r"""[^\s;,"')\]}\[{]++"""
_ASSIGNMENT = rf"""(?isx)
    (?P<name> (?<![\w-]) (?=[\w-]*?(?:{_SENSITIVE})) [\w-]++ (?:\\*+["'])? \s*+ )
    (?:
        (?P<equals> =>?+ \s*+ ) (?! \[redacted\] (?: \Z | [\s&;,"')\]}}] ) ) (?: {_QUOTED} | [^\s&;,"')\]}}]++ )
    |
        # "password: hunter2" and "{{Password:hunter2 User:root}}" hold a value, "password: too short" is a sentence.
        (?P<colon> : \s*+ ) (?: {_QUOTED} | (?<=:) (?!/) {_WORD} | {_WORD} (?= [^\S\n]*+ (?: \Z | [\n;,)\]}}] ) ) )
    )"""
# Lists and objects under such a name in truncated JSON: their end is unknown, so everything that follows is removed.
_CONTAINER = rf"""(?isx) ( (?<![\w-]) (?=[\w-]*?(?:{_SENSITIVE})) [\w-]++ \\*+["'] \s*+ : \s*+ ) [\[{{] .*+"""
_XML_ELEMENT = rf"(?i)(<(?=[\w:-]*?(?:{_SENSITIVE}))[\w:-]++>)[^<]++(?=</)"
_SQL_PASSWORD = rf"(?isx)\b( (?: identified\b [^'\"\n]{{0,80}}? \bby | password ) (?: \s++ \(?+ | \( ) \s*+ ) {_QUOTED}"
_PRIVATE_KEY = r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)"
# Of any scheme: an internal error may quote how the panel reaches its database. Passwords may hold an @.
_USER_INFO = r"(?i)((?<![\w.+-])[a-z][\w.+-]*+://)[^\s/?#\"'<>]+@"
# How Go addresses MySQL: "panel:hunter2@tcp(127.0.0.1:3306)/panel".
_GO_USER_INFO = r"(?<![\w.-])[\w.-]++:(?:[^\s@]{1,100}+@){1,3}?(?=(?:tcp|unix)\()"
_API_CREDENTIAL = r"\b(sk_(?:live_|test_)?|pk_(?:live|test)_|mk_(?=\w{8}))\w[^\s\"'`<>,;&()\[\]{}]*"
# JSON Web Tokens, and tokens of GitHub, GitLab and Slack.
_FOREIGN_CREDENTIAL = r"\b(eyJ(?=[\w-]{8,500}\.eyJ)|gh[pousr]_|github_pat_|glpat-|xox[abeps]-)[\w.-]{8,}"
_BEARER = r"(?i)\b(bearer\s++)(?!\[redacted\])[\w.~+/=-]{8,}"
# Links whose path is a credential: of chat services, and those that sign in.
_CREDENTIAL_LINK = (
    r"(?i)(https://(?:hooks\.slack\.com/services|(?:\w+\.)?discord(?:app)?\.com/api/webhooks|[\w.-]*\bwebhook[\w.-]*)/"
    r"|https://api\.telegram\.org/bot|/(?:auto|magic|one-?time)-?(?:log-?in|link)/)[^\s\"'<>?]+"
)
_URL_CREDENTIAL = r"://[^\s/?#\"'<>:]*:([^\s/?#\"'<>]+)@"
_NAMING_KEYS = ("name", "key", "field", "header", "property")
"""Keys under which an object names what its `value` is, such as an environment variable or an invalid field."""
_MAX_NESTED_LENGTH = 65_536
"""Characters; a longer text is not searched for data within it."""


def redact(value: JsonValue) -> JsonValue:
    """Copy JSON-like data with every secret replaced by `[redacted]`.

    A value is secret when its key says so (password, secret, token, api_key, signature, sign-in and download
    links, webhook destinations); other strings go through `redact_text`. Absent (null) secrets stay null.
    """
    return _redact(value, MAX_DEPTH)


def is_secret(name: str) -> bool:
    """Return whether a value with this name is a secret."""
    return _sensitive_key().search(name) is not None


def is_secret_entry(data: Mapping[str, JsonValue], name: str) -> bool:
    """Return whether an entry of an object is secret, by its own name or by the name that the object states."""
    if name == "value":
        # {"name": "DB_PASSWORD", "value": …}
        name = next((stated for key in _NAMING_KEYS if isinstance(stated := data.get(key), str)), name)
    return is_secret(name)


def secret_values(data: JsonValue, *, is_hidden: bool = False) -> Iterator[str]:
    """Yield the values in JSON-like data that are secret by name, at any depth.

    Texts are searched for data within them: JSON, `NAME=value`, and passwords in URLs.

    Args:
        data: The data, such as the body of a request.
        is_hidden: Whether all of its values are secret.
    """
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from secret_values(value, is_hidden=is_hidden or is_secret_entry(data, name))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from secret_values(value, is_hidden=is_hidden)
    elif data is not None and not isinstance(data, bool):
        if is_hidden:
            yield str(data)
        if isinstance(data, str) and len(data) <= _MAX_NESTED_LENGTH:
            yield from _secrets_within(data, is_hidden=is_hidden)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers with credentials (key, signature, authorization, cookies) replaced by `[redacted]`."""
    return {name: REDACTED if is_secret(name) else redact_text(text) for name, text in headers.items()}


def redact_query(query: str) -> str:
    """Copy the query of a URL with every secret replaced by `[redacted]`; nested names (`filter[token]`) count."""
    return "&".join(map(_redact_parameter, query.split("&")))


def redact_text(text: str) -> str:
    """Replace what looks like a secret inside free text: `password=…`, API credentials, links with tokens, keys."""
    for pattern, replacement in _replacements():
        text = pattern.sub(replacement, text)
    return text


def excerpt(body: bytes | str) -> str:
    """Return the beginning of a body on one line, redacted and at most 200 characters long."""
    # Redact more than is kept, so that a secret at the cut is still recognised.
    text = body[: EXCERPT_LENGTH * 5]
    return shorten(redact_text(text if isinstance(text, str) else text.decode("utf-8", "replace")))


def shorten(text: str, limit: int = EXCERPT_LENGTH) -> str:
    """Put text on one line of at most `limit` characters; end it in `…` if it was longer."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def first_few(names: Sequence[str], limit: int) -> str:
    """Return the first names of a list and the number of the others, as in `a, b and 1,000 more`."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def one_line(text: str) -> str:
    """Replace line breaks, control, bidi and zero-width characters and lone surrogates by spaces, and join those."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _redact(value: JsonValue, depth: int) -> JsonValue:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping | list | tuple) and not depth:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED if entry is not None and is_secret_entry(value, key) else _redact(entry, depth - 1)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact(item, depth - 1) for item in value]
    return value


def _secrets_within(text: str, *, is_hidden: bool) -> Iterator[str]:
    """Yield the secrets in data that is written within a text."""
    name, equals, value = text.partition("=")
    if equals and is_secret(name):
        yield value
    for password in re.findall(_URL_CREDENTIAL, text):
        yield password
        yield unquote(password)
    if text.lstrip()[:1] in {"{", "[", '"'}:
        with suppress(ValueError, RecursionError):
            yield from secret_values(loads(text.encode("utf-8", "replace")), is_hidden=is_hidden)


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if equals and is_secret(unquote_plus(name)):
        return f"{name}={REDACTED}"
    text = unquote_plus(value)
    redacted = redact_text(text)
    # Quote it again: a decoded value could forge a line of a log.
    return parameter if redacted == text else f"{name}={quote(redacted, safe='/:?=@[]')}"


def _hide_assignment(match: re.Match[str]) -> str:
    return f"{match['name']}{match['equals'] or match['colon']}{REDACTED}"


# Compiled on first use: compiling is slow, and many programs neither log nor fail.
@cache
def _sensitive_key() -> re.Pattern[str]:
    return re.compile(_SENSITIVE, re.IGNORECASE)


@cache
def _replacements() -> tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]:
    return (
        (re.compile(_HEADER_LINE), rf"\1\2{REDACTED}"),
        (re.compile(_PRIVATE_KEY), rf"\1{REDACTED}"),
        (re.compile(_CONTAINER), rf"\1{REDACTED}"),
        (re.compile(_ASSIGNMENT), _hide_assignment),
        (re.compile(_XML_ELEMENT), rf"\1{REDACTED}"),
        (re.compile(_SQL_PASSWORD), rf"\1{REDACTED}"),
        (re.compile(_CREDENTIAL_LINK), rf"\1{REDACTED}"),
        (re.compile(_BEARER), rf"\1{REDACTED}"),
        (re.compile(_USER_INFO), rf"\1{REDACTED}@"),
        (re.compile(_GO_USER_INFO), f"{REDACTED}@"),
        (re.compile(_API_CREDENTIAL), rf"\1{REDACTED}"),
        (re.compile(_FOREIGN_CREDENTIAL), rf"\1{REDACTED}"),
    )
