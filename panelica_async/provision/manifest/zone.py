"""Reads the text of zone files: quoted strings, escapes, parentheses, comments and times (RFC 1035, section 5.1).

Text may also stand without quotes (`@ TXT v=spf1 -all`), as spreadsheets and DNS forms show it.
"""

import re
from collections.abc import Iterator

import attrs

from panelica_async.provision.manifest.fields import InvalidValueError, trim

TTL = r"\d+(?:[smhdw](?:\d+[smhdw])*)?"
"""Pattern of a time to live: seconds, or units as in `1h30m`; for any case."""

OTHER_QUOTES = ("\u201c", "\u201d", "\u201e", "\u00ab", "\u00bb", "\uff02")
"""Quotes that word processors make of `"`."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TOKEN = re.compile(
    r"""\s+|;[^\r\n]*                                    # blanks and comments
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<mark>[()"])                                    # a lone quote is not closed
    | (?P<word>(?:[^\s"();\\]|\\.|\\\Z)(?:[^\s();\\]|\\.|\\\Z)*)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:(?P<code>\d{3})|(?P<char>\D))|(?P<plain>[^\\]+)|\\", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@attrs.frozen
class _Token:
    text: str
    quoted: bool


def split_records(cell: str, *, multiline: bool = True) -> list[str]:
    """Split a cell into records at `|` and line breaks, unless in quotes or, for line breaks, in parentheses.

    Args:
        cell: The text of the cell.
        multiline: Whether parentheses keep lines together.

    Raises:
        InvalidValueError: A quote is not closed, so that it is unclear where records end.
    """
    records: list[str] = []
    begin = position = depth = 0
    while position < len(cell):
        char = cell[position]
        at_token = position == begin or cell[position - 1].isspace() or cell[position - 1] in '()"'
        if char == '"' and at_token:
            if (quoted := _QUOTED.match(cell, position)) is None:
                number = 1 + len([record for record in records if record])
                raise InvalidValueError(f"record {number} opens a quote that is never closed")
            position = quoted.end()
            continue
        if multiline and char in "()" and (at_token or depth):
            depth = max(0, depth + (1 if char == "(" else -1))
        if char == "|" or (char in "\r\n" and not depth):
            records.append(trim(cell[begin:position]))
            begin = position + 1
        position += 1
    if depth:  # A parenthesis within text, or a mistake that reading the record finds.
        return split_records(cell, multiline=False)
    records.append(trim(cell[begin:]))
    return [record for record in records if record and not record.startswith(";")]


def plain(content: str) -> str:
    """Return content on one line, without parentheses and comments.

    Raises:
        InvalidValueError: A quote or parenthesis is not closed.
    """
    return " ".join(f'"{token.text}"' if token.quoted else token.text for token in _tokens(content))


def read_text(content: str) -> str:
    r"""Return the text that the content of a TXT record stands for.

    Content that begins with a quote or a parenthesis is a list of quoted strings, which are joined; other content is
    text as it stands. In both, `\;` is a semicolon and `\195\188` the bytes of an `ü`.

    Raises:
        InvalidValueError: A quote or parenthesis is not closed, text stands beside the quotes, or an escape is none.
    """
    if content.startswith(OTHER_QUOTES) or (len(content) > 1 and content[0] == content[-1] == "'"):
        raise InvalidValueError('quotes must be straight, as in "v=spf1 -all"')
    if not content.startswith(('"', "(")):
        return _unescape(content)
    tokens = list(_tokens(content))
    if len(tokens) > 1 and not all(token.quoted for token in tokens):
        raise InvalidValueError('TXT record has text outside its quotes; put all of it in quotes, as in "one" "two"')
    return _unescape("".join(token.text for token in tokens))


def read_listed_text(content: str) -> str:
    """Return the text of a record in a panel's list, which may show it with or without quotes and escapes."""
    if not content.startswith('"'):
        return content.replace(r"\;", ";")
    try:
        return read_text(content)
    except InvalidValueError:
        return content


def seconds(ttl: str) -> str:
    """Return a time such as `1h30m` as a number of seconds; other text unchanged."""
    if not re.fullmatch(TTL, ttl, re.IGNORECASE) or ttl.isdecimal() or len(ttl) > 40:
        return ttl
    return str(sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)([a-z])", ttl.lower())))


def _tokens(content: str) -> Iterator[_Token]:
    depth = position = 0
    while position < len(content):
        match = _TOKEN.match(content, position)
        if match is None or match["mark"] == '"':
            raise InvalidValueError("a quote is opened but never closed")
        position = match.end()
        if match["mark"]:
            depth += 1 if match["mark"] == "(" else -1
            if depth < 0:
                raise InvalidValueError("a parenthesis is closed but was never opened")
        elif match["quoted"] is not None:
            yield _Token(match["quoted"], quoted=True)
        elif match["word"]:
            yield _Token(match["word"], quoted=False)
    if depth:
        raise InvalidValueError("a parenthesis is opened but never closed")


def _unescape(text: str) -> str:
    data = bytearray()
    for match in _ESCAPE.finditer(text):
        if match["code"] and int(match["code"]) <= 255:
            data.append(int(match["code"]))
        elif match["char"] or match["plain"]:
            data += (match["char"] or match["plain"]).encode(errors="surrogatepass")
        else:
            raise InvalidValueError(
                r"'\' must be followed by a character or a number from 000 to 255; write '\\' for a backslash"
            )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidValueError("the escapes are not UTF-8 text") from None
