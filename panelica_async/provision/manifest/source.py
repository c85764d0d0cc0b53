"""What a manifest looks like once read, before it is checked: rows of raw values, whatever the format was."""

import codecs
from collections.abc import Mapping

import attrs

from panelica_async.provision.manifest.problems import ManifestError, Problem

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@attrs.frozen
class Row:
    """One site as it stands in the source."""

    line: int
    """Line it begins on, from 1; for Python data, its position."""
    values: Mapping[str, object] = attrs.field(repr=False)
    """Raw values by field of a site. May hold passwords."""
    columns: Mapping[str, str]
    """Field of a site to its name in the source."""

    def column(self, field: str) -> str:
        """Return what the source calls a field."""
        return self.columns.get(field, field)


@attrs.frozen
class Source:
    """A manifest as read."""

    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    """Names of columns that mean nothing here, in the order met."""
    problems: tuple[Problem, ...]
    """What was wrong already while reading."""


def decode(data: bytes, name: str) -> str:
    """Return the text of a file: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        ManifestError: If it is neither; guessing would spoil names silently.
    """
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not {encoding.removesuffix('-sig').upper()} text; save the file as 'CSV UTF-8' or in UTF-8"
        raise ManifestError(name, [Problem(line, "", message)]) from None
