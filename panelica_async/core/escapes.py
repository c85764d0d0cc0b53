"""How servers escape what they quote, and what is left of it without the escapes.

A secret is looked for in each form it may take in JSON, a URL, a shell command, HTML, SQL and Base64. Servers also
escape twice, in other ways than ours, or write what is not ASCII in another encoding. Then its ASCII letters and digits
are looked for, in a text without escapes.
"""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from unicodedata import normalize
from urllib.parse import quote, quote_plus

_PERCENT_CODE = re.compile(r"%[0-9A-F]{2}")
_SHELL_SPECIAL = re.compile(r"([^\w@%+=:,./-])")
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
    r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|&#[xX]([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});"
    r"|\\[0-3][0-7]{2}|&(?:amp|lt|gt|quot|apos);"
)
ESCAPES = (
    re.compile(rf"%([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}"),
    re.compile(rf"[%=]([0-9A-Fa-f]{{2}})|{_OTHER_ESCAPES}"),
)
"""What escapes look like in general, and in mail, where an equals sign begins one too. Elsewhere a value follows it."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]+")
_MOST_ESCAPED = 3
"""How often a text may have been escaped."""


def escaped(value: str) -> Iterator[str]:
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
        yield _PERCENT_CODE.sub(lambda code: code[0].lower(), text)
    yield shlex.quote(value).strip("'")
    yield value.replace("'", "'\\''")
    yield value.replace("'", "\\'")
    yield value.replace("'", "''")
    yield _SHELL_SPECIAL.sub(r"\\\1", value)
    marked = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _HTML_QUOTES:
        yield marked.replace('"', double).replace("'", single)
    data = value.encode("utf-8", "replace")
    yield data.hex()
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


def plain_forms(secret: str) -> set[str]:
    """Return the ASCII letters and digits of a secret, if they are enough to know it by."""
    # Without its accent, a letter is ASCII.
    plain = {_NOT_PLAIN.sub("", form).lower() for form in (secret, normalize("NFD", secret))}
    return {form for form in plain if _is_telling(form)}


def _is_telling(form: str) -> bool:
    """Return whether ordinary text is unlikely to have a form."""
    return len(form) >= (_SHORTEST_WORD if form.isalpha() or form.isdigit() else _SHORTEST_PLAIN)


def plain_text(text: str, escapes: re.Pattern[str]) -> str:
    """Return the ASCII letters and digits of a text, in lower case and without escapes."""
    for _ in range(_MOST_ESCAPED):
        text = escapes.sub(_char_of, text)
    return _NOT_PLAIN.sub("", text).lower()


def plain_text_with_places(text: str, escapes: re.Pattern[str]) -> tuple[str, list[tuple[int, int]]]:
    """Return the plain text of a text, and where each of its characters begins and ends there."""
    bounds = [(place, place + 1) for place in range(len(text))]
    for _ in range(_MOST_ESCAPED):
        pieces, kept, position = list[str](), list[tuple[int, int]](), 0
        for match in escapes.finditer(text):
            start, end = match.span()
            pieces += [text[position:start], _char_of(match)]
            kept += [*bounds[position:start], (bounds[start][0], bounds[end - 1][1])]
            position = end
        text, bounds = "".join([*pieces, text[position:]]), [*kept, *bounds[position:]]
    places = [place for place, char in enumerate(text) if char.isascii() and char.isalnum()]
    return "".join([text[place] for place in places]).lower(), [bounds[place] for place in places]


def _char_of(escape: re.Match[str]) -> str:
    """Return the ASCII character of an escape, or one that is no letter."""
    digits = escape[1] or escape[2] or escape[3] or escape[4]
    code = int(digits, 16) if digits else int(escape[5] or 0)
    if escape[0].startswith("&") and not code:
        return "&"  # which may begin another escape
    return chr(code) if 0 < code < 128 else "?"
