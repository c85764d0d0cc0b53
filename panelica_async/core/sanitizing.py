"""Makes text of replies safe to show and keep: without secrets, on one line, of bounded length.

Text of a panel can quote the request, move the cursor of a terminal, forge a line of a log, be megabytes long, or not
be text at all. So every text taken from a reply goes through a `Sanitizer` before it reaches an error, a log, a journal
or a screen. It knows the secrets of the request and replaces them, however they are escaped, in any case and over
several lines; it also removes whatever looks like a secret.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from panelica_async.core.escapes import ESCAPES, escaped, plain_forms, plain_text, plain_text_with_places
from panelica_async.core.json_codec import JsonValue, loads
from panelica_async.core.redaction import MAX_DEPTH, REDACTED, is_secret, one_line, redact_text, shorten
from panelica_async.errors import PanelicaError

MOST_KEPT = 2000
"""Characters of a text, or of all texts in a piece of data, that are kept."""
LONGEST_HEADER = 128
"""Characters of a header, such as a request id, that are kept."""

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
_URL_PASSWORD = re.compile(r"://[^\s/?#\"'<>:]*:([^\s/?#\"'<>]+)@")
_LONGEST_NESTED = 65_536
"""Characters of a text that is searched for data within."""


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
            self._plain.update(plain_forms(secret[:_LONGEST_SECRET]))

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
        for escapes in ESCAPES if self._plain else ():
            shown = plain_text(text, escapes)
            if any(plain[:_ANCHOR] in shown for plain in self._plain):
                letters, bounds = plain_text_with_places(text, escapes)
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
        return {plain for secret in self._secrets for plain in plain_forms(secret[:_LONGEST_SECRET])}


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Replace secrets of at least 4 characters in a text by `[redacted]`, however they are escaped."""
    return Sanitizer(secrets).redacted(text)


def clean_error(error: PanelicaError, sanitizer: Sanitizer) -> None:
    """Clean the texts of an error that was made from a reply."""
    for name, value in vars(error).items():
        if isinstance(value, str) and name not in _OURS:
            setattr(error, name, sanitizer.text(value))
    error.args = (error.message, *error.args[1:])


def header_text(value: str | None) -> str | None:
    """Return the printable ASCII characters of a header, at most 128; None when there are none."""
    if value is None:
        return None
    shown = "".join(char for char in value[: LONGEST_HEADER * 2] if " " <= char <= "~")
    return shown[:LONGEST_HEADER].strip() or None


def secret_values(data: JsonValue, *, is_hidden: bool = False) -> Iterator[str]:
    """Yield the values in JSON-like data that stand under the name of a secret, at any depth.

    Data within texts is searched too: JSON, `NAME=value`, and passwords in URLs.

    Args:
        data: The data, such as the body of a request.
        is_hidden: Whether all values in it are secret.
    """
    if isinstance(data, Mapping):
        # {"name": "DB_PASSWORD", "value": …} is a name and a value too.
        title = next((name for key in ("name", "key") if isinstance(name := data.get(key), str)), "")
        for name, value in data.items():
            yield from secret_values(value, is_hidden=is_hidden or is_secret(title if name == "value" else name))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from secret_values(value, is_hidden=is_hidden)
    elif data is not None and not isinstance(data, bool):
        if is_hidden:
            yield str(data)
        if isinstance(data, str) and len(data) <= _LONGEST_NESTED:
            yield from _values_within(data, is_hidden=is_hidden)


def _values_within(text: str, *, is_hidden: bool) -> Iterator[str]:
    """Yield the secrets of what is written within a text."""
    name, equals, value = text.partition("=")
    if equals and is_secret(name):
        yield value
    for password in _URL_PASSWORD.findall(text):
        yield password
        yield unquote(password)
    if text.lstrip()[:1] in {"{", "[", '"'}:
        with suppress(ValueError, RecursionError):
            yield from secret_values(loads(text.encode("utf-8", "replace")), is_hidden=is_hidden)


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
            return self._list(value, depth) if depth else REDACTED
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return REDACTED if is_number and self._sanitizer.is_secret(str(value)) else value

    def _mapping(self, value: Mapping[str, JsonValue], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, entry in value.items():
            if self._left <= 0:
                shown["…"] = "…"
                break
            hides = entry is not None and is_secret(key)
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

    def _text(self, text: str, limit: int) -> str:
        shown = self._sanitizer.text(text, max(1, min(limit, self._left)))
        self._left -= len(shown)
        return shown


def _letters(text: str) -> tuple[str, list[int]]:
    """Return what can be seen of a text, in lower case, and where each letter stands in it.

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
    forms = {_bare(form) for piece in set(_pieces(secret)) for form in escaped(piece)}
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
