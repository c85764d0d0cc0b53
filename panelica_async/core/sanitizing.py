"""Makes text of replies safe to show and keep: without secrets, on one line, of bounded length.

Text of a panel can quote the request, move the cursor of a terminal, forge a line of a log, be megabytes long, or not
be text at all. So every text taken from a reply goes through a `Sanitizer` before it reaches an error, a log, a journal
or a screen. It knows the secrets of the request and replaces them in any case and over several lines; it also removes
whatever looks like a secret.

A secret is looked for in each form it may take in JSON, a URL, a shell command, HTML, SQL and Base64. Servers also
escape twice, in other ways than ours, or write what is not ASCII in another encoding. Then its ASCII letters and digits
are looked for, in a text without escapes.
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

MOST_KEPT = 2000
"""Characters of a text, or of all texts in a piece of data, that are kept."""

_SHORTEST_SECRET = 4
# This many characters of a secret are recognised, even when the server truncated the rest.
_ANCHOR = 16
# A server quotes the beginning or single lines of a longer secret, such as the content of a file.
_LONGEST_SECRET = 4096
_MOST_LINES = 100
_SHORTEST_LINE = 8
_LONGEST_KEY = 100
_OURS = {"operation", "method", "path", "endpoint"}
"""Attributes of errors that do not come from a reply."""
# Characters beyond the kept ones that are searched, so that a truncated secret is still recognised.
_MARGIN = 200

# Patterns are compiled on first use: most programs never quote a secret.
# Python, Go, PHP and XML write quotes in HTML differently, and none need be written.
_HTML_QUOTES = (
    ('"', "'"),
    ("&quot;", "'"),
    ("&quot;", "&#x27;"),
    ("&quot;", "&#39;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&apos;"),
    ("&#34;", "&#39;"),
)
_SHORTEST_PLAIN = 8
# Letters or digits alone may be a word or a date; so many of them are not.
_SHORTEST_WORD = 12
_OTHER_ESCAPES = (
    r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\[ux]\{([0-9A-Fa-f]{1,6})\}|<U\+([0-9A-F]{4,6})>"
    r"|&#[xX]([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});|\\([0-3][0-7]{2})|&[A-Za-z][A-Za-z0-9]{1,30};"
)
_ESCAPES = (rf"%([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}", rf"[%=]([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}")
"""What escapes look like in general, and in mail, where an equals sign begins one too. Elsewhere a value follows it."""
_NOT_PLAIN = r"[^A-Za-z0-9]+"
_MOST_ESCAPED = 3
"""How often a text may have been escaped."""


class Sanitizer:
    """Cleans texts of replies.

    Args:
        secrets: Values that must not be shown; those of fewer than 4 characters are left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = set(secrets)

    def add(self, secret: str) -> None:
        """Add a value that must not be shown."""
        if secret not in self._secrets:
            self._secrets.add(secret)
            self._forms.update(_forms_of(secret))
            self._exact.update(_exact_of(secret))
            self._plain.update(_plain_forms(secret[:_LONGEST_SECRET]))

    def __repr__(self) -> str:
        return f"<Sanitizer of {len(self._secrets)} secrets>"

    def redacted(self, text: str) -> str:
        """Replace the secrets in a text by `[redacted]`, however they are escaped."""
        return self._redacted(text, len(text))

    def text(self, text: str, limit: int = MOST_KEPT) -> str:
        """Return a text on one line of at most `limit` characters, without secrets."""
        return shorten(self._shown(text, limit), limit)

    def message(self, text: str, limit: int = MOST_KEPT) -> str:
        """Return a text of at most `limit` characters that keeps its lines; errors show it on one line."""
        lines = filter(None, map(one_line, self._shown(text, limit).split("\n")))
        return "\n".join(lines)[:limit]

    def _shown(self, text: str, limit: int) -> str:
        """Return the beginning of a text without secrets, and a little more of it than is kept."""
        seen = limit + _MARGIN
        shown = self._redacted(text, seen)
        if len(text) > seen:
            # A secret that begins right before the cut may no longer be recognised.
            shown = (shown.rpartition(" ")[0] or shown[:limit]) + "…"
        return redact_text(shown)

    def data(self, value: JsonValue) -> Any:
        """Copy JSON-like data without secrets, texts on one line; what follows 2,000 characters is left out."""
        return _Copy(self).of(value, MAX_DEPTH)

    def is_secret(self, text: str) -> bool:
        """Return whether a text is one of the secrets."""
        return _bare(text) in self._forms or text in self._exact

    def _redacted(self, text: str, limit: int) -> str:
        """Replace the secrets in the first `limit` characters of a text, and leave out the rest."""
        if not self._secrets or len(text) < _SHORTEST_SECRET:
            return text[:limit]
        text = text[: limit + _LONGEST_SECRET]
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
        letters, places = _letters(text)
        for form in self._forms:
            for start, end in _found(form, letters):
                yield places[start], places[end - 1] + 1
        for secret in self._exact:
            yield from _found(secret, text)
        for escapes in _ESCAPES if self._plain else ():
            shown = _plain_text(text, escapes)
            if any(plain[:_ANCHOR] in shown for plain in self._plain):
                letters, bounds = _plain_text_with_places(text, escapes)
                for plain in self._plain:
                    for start, end in _found(plain, letters):
                        yield bounds[start][0], bounds[end - 1][1]

    @cached_property
    def _forms(self) -> set[str]:
        """Letters of everything that the secrets can look like."""
        return {form for secret in self._secrets for form in _forms_of(secret)}

    @cached_property
    def _exact(self) -> set[str]:
        """Secrets that have too few letters."""
        return {exact for secret in self._secrets for exact in _exact_of(secret)}

    @cached_property
    def _plain(self) -> set[str]:
        """ASCII letters and digits of the secrets."""
        return {plain for secret in self._secrets for plain in _plain_forms(secret[:_LONGEST_SECRET])}


def clean_error(error: PanelicaError, sanitizer: Sanitizer) -> None:
    """Clean the texts of an error that was made from a reply."""
    for name, value in vars(error).items():
        if isinstance(value, str) and name not in _OURS:
            setattr(error, name, sanitizer.text(value))
    error.args = (error.message, *error.args[1:])


class _Copy:
    """Copies one piece of data, within what may be kept of it."""

    def __init__(self, sanitizer: Sanitizer) -> None:
        self._sanitizer = sanitizer
        self._left = MOST_KEPT

    def of(self, value: JsonValue, depth: int) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return self._text(value, MOST_KEPT)
        if isinstance(value, Mapping):
            return self._mapping(value, depth) if depth else REDACTED
        if isinstance(value, list | tuple):
            return self._list(value, depth) if depth and not self._spells_secret(value) else REDACTED
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return REDACTED if is_number and self._sanitizer.is_secret(str(value)) else value

    def _mapping(self, value: Mapping[str, JsonValue], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, entry in value.items():
            if self._left <= 0:
                shown["…"] = "…"
                break
            hides = entry is not None and is_secret_entry(value, key)
            shown[self._text(key, _LONGEST_KEY)] = REDACTED if hides else self.of(entry, depth - 1)
        return shown

    def _list(self, value: list[JsonValue] | tuple[JsonValue, ...], depth: int) -> list[Any]:
        shown: list[Any] = []
        for item in value:
            if self._left <= 0:
                shown.append("…")
                break
            shown.append(self.of(item, depth - 1))
        return shown

    def _spells_secret(self, items: list[JsonValue] | tuple[JsonValue, ...]) -> bool:
        """Return whether a list of numbers holds the bytes of a secret."""
        if not items or type(items[0]) is not int:
            return False
        numbers = ", ".join(map(str, items[:MOST_KEPT]))
        return self._sanitizer.redacted(numbers) != numbers

    def _text(self, text: str, limit: int) -> str:
        shown = self._sanitizer.text(text, max(1, min(limit, self._left)))
        self._left -= len(shown)
        return shown


def _letters(text: str) -> tuple[str, list[int]]:
    """Return the visible characters of a text, in lower case, and where each stands in it.

    A server breaks long lines, and some write names or hexadecimal digits in letters of another case.
    """
    places = [index for index, char in enumerate(text) if char.isprintable() and char != " "]
    return "".join([_in_lower_case(text[index]) for index in places]), places


def _bare(text: str) -> str:
    """Return the letters of a text alone."""
    return text.lower().replace(" ", "") if text.isascii() and text.isprintable() else _letters(text)[0]


def _in_lower_case(char: str) -> str:
    # A few letters would be two.
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _found(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a form, or the beginning of a long one, begins and ends in a text."""
    anchor = form[:_ANCHOR]
    start = text.find(anchor)
    while start >= 0:
        end = start + _common_length(form, text, start)
        yield start, end
        start = text.find(anchor, end)


def _common_length(form: str, text: str, start: int) -> int:
    if text.startswith(form, start):
        return len(form)
    return next(index for index, char in enumerate(form) if text[start + index : start + index + 1] != char)


def _forms_of(secret: str) -> set[str]:
    """Return the letters of everything that a secret can look like."""
    forms = {_bare(form) for piece in set(_pieces(secret)) for form in _escaped(piece)}
    return {form for form in forms if len(form) >= _SHORTEST_SECRET}


def _exact_of(secret: str) -> set[str]:
    """Return a secret that has too few letters to be looked for by them."""
    return {secret} if len(secret) >= _SHORTEST_SECRET > len(_bare(secret)) else set()


def _pieces(secret: str) -> Iterator[str]:
    """Yield a secret, and what a server may quote of it alone."""
    beginning = secret[:_LONGEST_SECRET]
    yield beginning
    yield beginning.strip()
    yield one_line(beginning)
    lines = [line.strip() for line in secret[: _LONGEST_SECRET * 4].splitlines()[:_MOST_LINES]]
    yield from (line for line in lines if len(line) >= _SHORTEST_LINE)


def _escaped(value: str) -> Iterator[str]:
    """Yield a value as it looks inside JSON, a URL, a shell command, HTML, SQL and Base64."""
    yield value
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        # Go escapes these three in JSON.
        go = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        for form in (text, go):
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
    marked = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _HTML_QUOTES:
        yield marked.replace('"', double).replace("'", single)
    data = value.encode("utf-8", "replace")
    yield data.hex()
    # Go and Python show bytes as a list of numbers.
    yield " ".join(map(str, data))
    yield ", ".join(map(str, data))
    for text in _in_base64(data):
        yield text
        yield text.replace("+", "-").replace("/", "_")


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield bytes in Base64: alone, and the letters that only they decide, wherever they stand in what is encoded."""
    yield b64encode(data).decode().rstrip("=")
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        text = b64encode(bytes(before) + data).decode()
        whole = text.rstrip("=")
        yield whole[shared:] if whole == text else whole[shared:-1]


def _plain_forms(secret: str) -> set[str]:
    """Return the ASCII letters and digits of a secret, if they are enough to recognise it."""
    # Without its accent, a letter is ASCII.
    plain = {re.sub(_NOT_PLAIN, "", form).lower() for form in (secret, normalize("NFD", secret))}
    return {form for form in plain if _is_telling(form)}


def _is_telling(form: str) -> bool:
    """Return whether ordinary text is unlikely to have a form."""
    return len(form) >= (_SHORTEST_WORD if form.isalpha() or form.isdigit() else _SHORTEST_PLAIN)


def _plain_text(text: str, escapes: str) -> str:
    """Return the ASCII letters and digits of a text, in lower case and without escapes."""
    for _ in range(_MOST_ESCAPED):
        text = re.sub(escapes, _char_of, text)
    return re.sub(_NOT_PLAIN, "", text).lower()


def _plain_text_with_places(text: str, escapes: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the plain text of a text, and where each of its characters begins and ends there."""
    bounds = [(place, place + 1) for place in range(len(text))]
    for _ in range(_MOST_ESCAPED):
        pieces, kept, position = list[str](), list[tuple[int, int]](), 0
        for match in re.finditer(escapes, text):
            start, end = match.span()
            pieces += [text[position:start], _char_of(match)]
            kept += [*bounds[position:start], (bounds[start][0], bounds[end - 1][1])]
            position = end
        text, bounds = "".join([*pieces, text[position:]]), [*kept, *bounds[position:]]
    places = [place for place, char in enumerate(text) if char.isascii() and char.isalnum()]
    return "".join([text[place] for place in places]).lower(), [bounds[place] for place in places]


def _char_of(escape: re.Match[str]) -> str:
    """Return the ASCII character of an escape, or one that is no letter."""
    *hexadecimal, decimal, octal = escape.groups()
    digits = next(filter(None, hexadecimal), None)
    code = int(digits, 16) if digits else int(decimal) if decimal else int(octal or "0", 8)
    if escape[0].startswith("&") and not code:
        return "&"  # which may begin another escape
    return chr(code) if 0 < code < 128 else "?"
