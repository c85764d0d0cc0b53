"""Makes text of replies safe to show and keep: without secrets, on one line, of bounded length.

A panel's text can quote the request, move the cursor of a terminal, forge a line of a log, be megabytes long, or not be
text at all. So every text from a reply goes through a `Sanitizer` before it reaches an error, a log, a journal or a
screen. The sanitizer knows the secrets of the request, and replaces them in upper or lower case and across line breaks;
it also removes whatever looks like a secret.

It searches for each form that a secret may take in JSON, a URL, a shell command, HTML, SQL and Base64. But servers also
escape twice, escape in other ways, or write non-ASCII characters in another encoding. For these it removes all escapes
from the text, and searches it for the ASCII letters and digits of the secret.
"""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from unicodedata import normalize
from urllib.parse import quote, quote_plus

from panelica_async.core.json_codec import JsonValue
from panelica_async.core.redaction import MAX_DEPTH, REDACTED, is_secret_entry, one_line, redact_text, shorten
from panelica_async.errors import PanelicaError

MAX_KEPT_LENGTH = 2000
"""Characters of a text, or of all texts in a piece of data, that are kept."""

_MIN_SECRET_LENGTH = 4
# A secret is recognised by its first characters, so that it is found even if the server truncated it.
_ANCHOR_LENGTH = 16
# Of a longer secret, such as the content of a file, a server quotes the beginning or single lines.
_MAX_SECRET_LENGTH = 4096
_MAX_LINES = 100
_MIN_LINE_LENGTH = 8
_MAX_KEY_LENGTH = 100
_OUR_ATTRIBUTES = {"operation", "method", "path", "endpoint"}
"""Attributes of errors that do not come from a reply."""
# Characters beyond the kept ones that are searched, so that a truncated secret is still recognised.
_MARGIN = 200

# Patterns are compiled on first use: in most programs no reply quotes a secret.
# Double and single quotes in HTML, as Python, Go, PHP and XML write them, or unescaped.
_HTML_QUOTES = (
    ('"', "'"),
    ("&quot;", "'"),
    ("&quot;", "&#x27;"),
    ("&quot;", "&#39;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&apos;"),
    ("&#34;", "&#39;"),
)
# Fewer letters and digits may occur in ordinary text; fewer letters alone may be a word, fewer digits alone a date.
_MIN_MIXED_LENGTH = 8
_MIN_UNIFORM_LENGTH = 12
_OTHER_ESCAPES = (
    r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\[ux]\{([0-9A-Fa-f]{1,6})\}|<U\+([0-9A-F]{4,6})>"
    r"|&#[xX]([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});|\\([0-3][0-7]{2})|&[A-Za-z][A-Za-z0-9]{1,30};"
)
_ESCAPES = (rf"%([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}", rf"[%=]([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}")
"""Patterns of escapes: in general, and in mail, where an equals sign may begin one. Elsewhere a value follows it."""
_NOT_PLAIN = r"[^A-Za-z0-9]+"
_MAX_ESCAPE_DEPTH = 3
"""How many times a text may have been escaped."""


class Sanitizer:
    """Cleans texts of replies.

    Args:
        secrets: Values that must not be shown; those of fewer than 4 characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = set(secrets)

    def add(self, secret: str) -> None:
        """Add a value that must not be shown."""
        if secret not in self._secrets:
            self._secrets.add(secret)
            self._forms.update(_escaped_forms(secret))
            self._exact_forms.update(_exact_forms(secret))
            self._plain_forms.update(_plain_forms(secret[:_MAX_SECRET_LENGTH]))

    def __repr__(self) -> str:
        return f"<Sanitizer of {len(self._secrets)} secrets>"

    def redact(self, text: str) -> str:
        """Replace the secrets in a text by `[redacted]`, however they are escaped."""
        return self._redact_start(text, len(text))

    def clean_text(self, text: str, limit: int = MAX_KEPT_LENGTH) -> str:
        """Return a text on one line of at most `limit` characters, without secrets."""
        return shorten(self._clean_start(text, limit), limit)

    def clean_message(self, text: str, limit: int = MAX_KEPT_LENGTH) -> str:
        """Return a text of at most `limit` characters, without secrets, on several lines; errors show it on one."""
        lines = filter(None, map(one_line, self._clean_start(text, limit).split("\n")))
        return "\n".join(lines)[:limit]

    def _clean_start(self, text: str, limit: int) -> str:
        """Return the beginning of a text without secrets, a little more than `limit` characters of it."""
        length = limit + _MARGIN
        start = self._redact_start(text, length)
        if len(text) > length:
            # Drop the last word: it may be the beginning of a secret that is too short to be recognised.
            start = (start.rpartition(" ")[0] or start[:limit]) + "…"
        return redact_text(start)

    def clean_data(self, value: JsonValue) -> Any:
        """Copy JSON-like data without secrets, with texts on one line; leave out what follows 2,000 characters."""
        return _Copier(self).copy(value, MAX_DEPTH)

    def is_secret(self, text: str) -> bool:
        """Return whether a text is one of the secrets."""
        return _visible_chars(text) in self._forms or text in self._exact_forms

    def _redact_start(self, text: str, limit: int) -> str:
        """Replace the secrets in the first `limit` characters of a text, and leave out the rest."""
        if not self._secrets or len(text) < _MIN_SECRET_LENGTH:
            return text[:limit]
        text = text[: limit + _MAX_SECRET_LENGTH]
        pieces: list[str] = []
        position = 0
        for start, end in sorted(self._spans(text)):
            if start >= limit:
                break
            if position <= start:
                pieces += [text[position:start], REDACTED]
            position = max(position, end)
        return "".join([*pieces, text[position:limit]])

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the secrets in a text begin and end."""
        chars, positions = _visible_chars_with_positions(text)
        for form in self._forms:
            for start, end in _occurrences(form, chars):
                yield positions[start], positions[end - 1] + 1
        for secret in self._exact_forms:
            yield from _occurrences(secret, text)
        for escapes in _ESCAPES if self._plain_forms else ():
            plain_text = _plain_text(text, escapes)
            if any(form[:_ANCHOR_LENGTH] in plain_text for form in self._plain_forms):
                plain_text, bounds = _plain_text_with_bounds(text, escapes)
                for form in self._plain_forms:
                    for start, end in _occurrences(form, plain_text):
                        yield bounds[start][0], bounds[end - 1][1]

    @cached_property
    def _forms(self) -> set[str]:
        """Visible characters of everything that the secrets can look like."""
        return {form for secret in self._secrets for form in _escaped_forms(secret)}

    @cached_property
    def _exact_forms(self) -> set[str]:
        """Secrets that have too few visible characters for `_forms`."""
        return {form for secret in self._secrets for form in _exact_forms(secret)}

    @cached_property
    def _plain_forms(self) -> set[str]:
        """ASCII letters and digits of the secrets."""
        return {form for secret in self._secrets for form in _plain_forms(secret[:_MAX_SECRET_LENGTH])}


def clean_error(error: PanelicaError, sanitizer: Sanitizer) -> None:
    """Clean the texts of an error that was made from a reply."""
    for name, value in vars(error).items():
        if isinstance(value, str) and name not in _OUR_ATTRIBUTES:
            setattr(error, name, sanitizer.clean_text(value))
    error.args = (error.message, *error.args[1:])


class _Copier:
    """Copies one piece of data without secrets, until the characters that may be kept are used up."""

    def __init__(self, sanitizer: Sanitizer) -> None:
        self._sanitizer = sanitizer
        self._chars_left = MAX_KEPT_LENGTH

    def copy(self, value: JsonValue, depth: int) -> Any:
        self._chars_left -= 1
        if isinstance(value, str):
            return self._copy_text(value, MAX_KEPT_LENGTH)
        if isinstance(value, Mapping):
            return self._copy_mapping(value, depth) if depth else REDACTED
        if isinstance(value, list | tuple):
            return self._copy_list(value, depth) if depth and not self._spells_secret(value) else REDACTED
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return REDACTED if is_number and self._sanitizer.is_secret(str(value)) else value

    def _copy_mapping(self, mapping: Mapping[str, JsonValue], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, value in mapping.items():
            if self._chars_left <= 0:
                copied["…"] = "…"
                break
            is_hidden = value is not None and is_secret_entry(mapping, key)
            copied[self._copy_text(key, _MAX_KEY_LENGTH)] = REDACTED if is_hidden else self.copy(value, depth - 1)
        return copied

    def _copy_list(self, items: list[JsonValue] | tuple[JsonValue, ...], depth: int) -> list[Any]:
        copied: list[Any] = []
        for item in items:
            if self._chars_left <= 0:
                copied.append("…")
                break
            copied.append(self.copy(item, depth - 1))
        return copied

    def _spells_secret(self, items: list[JsonValue] | tuple[JsonValue, ...]) -> bool:
        """Return whether a list of numbers holds the bytes of a secret."""
        if not items or type(items[0]) is not int:
            return False
        numbers = ", ".join(map(str, items[:MAX_KEPT_LENGTH]))
        return self._sanitizer.redact(numbers) != numbers

    def _copy_text(self, text: str, limit: int) -> str:
        copied = self._sanitizer.clean_text(text, max(1, min(limit, self._chars_left)))
        self._chars_left -= len(copied)
        return copied


def _visible_chars_with_positions(text: str) -> tuple[str, list[int]]:
    """Return the visible characters of a text in lower case, and the position of each.

    Servers break long lines, and some change the case of names or hexadecimal digits.
    """
    positions = [index for index, char in enumerate(text) if char.isprintable() and char != " "]
    return "".join([_to_lower(text[index]) for index in positions]), positions


def _visible_chars(text: str) -> str:
    """Return the visible characters of a text in lower case."""
    if text.isascii() and text.isprintable():
        return text.lower().replace(" ", "")
    return _visible_chars_with_positions(text)[0]


def _to_lower(char: str) -> str:
    # The lower case of a few letters has two characters.
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _occurrences(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a form begins and ends in a text; of a long form, its beginning is enough."""
    anchor = form[:_ANCHOR_LENGTH]
    start = text.find(anchor)
    while start >= 0:
        end = start + _common_length(form, text, start)
        yield start, end
        start = text.find(anchor, end)


def _common_length(form: str, text: str, start: int) -> int:
    if text.startswith(form, start):
        return len(form)
    return next(index for index, char in enumerate(form) if text[start + index : start + index + 1] != char)


def _escaped_forms(secret: str) -> set[str]:
    """Return the visible characters of everything that a secret can look like."""
    forms = {_visible_chars(form) for piece in set(_quotable_pieces(secret)) for form in _escape_variants(piece)}
    return {form for form in forms if len(form) >= _MIN_SECRET_LENGTH}


def _exact_forms(secret: str) -> set[str]:
    """Return a secret that has too few visible characters to be recognised by them."""
    return {secret} if len(secret) >= _MIN_SECRET_LENGTH > len(_visible_chars(secret)) else set()


def _quotable_pieces(secret: str) -> Iterator[str]:
    """Yield a secret, and the parts that a server may quote alone."""
    beginning = secret[:_MAX_SECRET_LENGTH]
    yield beginning
    yield beginning.strip()
    yield one_line(beginning)
    lines = [line.strip() for line in secret[: _MAX_SECRET_LENGTH * 4].splitlines()[:_MAX_LINES]]
    yield from (line for line in lines if len(line) >= _MIN_LINE_LENGTH)


def _escape_variants(value: str) -> Iterator[str]:
    """Yield a value as it looks inside JSON, a URL, a shell command, HTML, SQL and Base64."""
    yield value
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        # Go also escapes these three characters.
        go_text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        for form in (text, go_text):
            yield form
            yield json.dumps(form, ensure_ascii=False)[1:-1]
    for text in (
        quote(value, "", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
    ):
        yield text
        yield re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), text)
    yield shlex.quote(value).strip("'")
    yield value.replace("'", "'\\''")
    yield value.replace("'", "\\'")
    yield value.replace("'", "''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    html_text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _HTML_QUOTES:
        yield html_text.replace('"', double).replace("'", single)
    data = value.encode("utf-8", "replace")
    yield data.hex()
    # Go and Python print bytes as a list of numbers.
    yield " ".join(map(str, data))
    yield ", ".join(map(str, data))
    for text in _base64_variants(data):
        yield text
        yield text.replace("+", "-").replace("/", "_")


def _base64_variants(data: bytes) -> Iterator[str]:
    """Yield bytes in Base64: alone, and inside longer data, at each offset from a group of three bytes.

    Inside longer data, the first and the last letters also depend on the neighbouring bytes, and are left out.
    """
    yield b64encode(data).decode().rstrip("=")
    for offset, shared_letters in ((0, 0), (1, 2), (2, 3)):
        padded = b64encode(bytes(offset) + data).decode()
        text = padded.rstrip("=")
        yield text[shared_letters:] if text == padded else text[shared_letters:-1]


def _plain_forms(secret: str) -> set[str]:
    """Return the ASCII letters and digits of a secret, if they are enough to recognise it."""
    # NFD separates accents, which leaves an ASCII letter.
    forms = {re.sub(_NOT_PLAIN, "", form).lower() for form in (secret, normalize("NFD", secret))}
    return {form for form in forms if _is_distinctive(form)}


def _is_distinctive(form: str) -> bool:
    """Return whether ordinary text is unlikely to contain a form."""
    return len(form) >= (_MIN_UNIFORM_LENGTH if form.isalpha() or form.isdigit() else _MIN_MIXED_LENGTH)


def _plain_text(text: str, escapes: str) -> str:
    """Return the ASCII letters and digits of a text, in lower case and without escapes."""
    for _ in range(_MAX_ESCAPE_DEPTH):
        text = re.sub(escapes, _unescape, text)
    return re.sub(_NOT_PLAIN, "", text).lower()


def _plain_text_with_bounds(text: str, escapes: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the result of `_plain_text`, and where each of its characters begins and ends in the original text."""
    bounds = [(index, index + 1) for index in range(len(text))]
    for _ in range(_MAX_ESCAPE_DEPTH):
        pieces, piece_bounds, position = list[str](), list[tuple[int, int]](), 0
        for match in re.finditer(escapes, text):
            start, end = match.span()
            pieces += [text[position:start], _unescape(match)]
            piece_bounds += [*bounds[position:start], (bounds[start][0], bounds[end - 1][1])]
            position = end
        text, bounds = "".join([*pieces, text[position:]]), [*piece_bounds, *bounds[position:]]
    plain = [index for index, char in enumerate(text) if char.isascii() and char.isalnum()]
    return "".join([text[index] for index in plain]).lower(), [bounds[index] for index in plain]


def _unescape(escape: re.Match[str]) -> str:
    """Return the ASCII character of an escape; `?` for any other character."""
    *hexadecimal, decimal, octal = escape.groups()
    digits = next(filter(None, hexadecimal), None)
    code = int(digits, 16) if digits else int(decimal) if decimal else int(octal or "0", 8)
    if escape[0].startswith("&") and not code:
        return "&"  # which may begin another escape
    return chr(code) if 0 < code < 128 else "?"
