"""Reads CSV as spreadsheets and billing systems write it."""

import csv
import io
from collections.abc import Iterator

from panelica_async.provision.manifest.columns import REQUIRED, Columns, understand
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.source import Row, Source

_DELIMITERS = (";", ",", "\t")


def read_csv(text: str, name: str) -> Source:
    """Read a CSV file with a header line.

    Columns may stand in any order and be called by any name of `columns.FIELDS`. Cells are separated by `;`,
    `,` or tabs, whichever gives the header more known names; they may be quoted and hold line breaks. Empty
    lines are passed over.

    Args:
        text: The decoded file.
        name: Name of the file, for messages.

    Raises:
        ManifestError: If there is no header, a needed column is missing, or the quoting is broken.
    """
    first_line = 1
    if text[:4].lower() == "sep=":  # Excel's own way to name the delimiter.
        text = text.partition("\n")[2]
        first_line = 2
    delimiter = max(_DELIMITERS, key=lambda candidate: _known_names(text, candidate))
    try:
        lines = list(_lines(text, delimiter, first_line))
    except csv.Error as error:
        raise ManifestError(name, [Problem(first_line, "", f"not readable as CSV: {error}")]) from None
    if not lines:
        raise ManifestError(name, [Problem(first_line, "", "the file is empty; a header line is needed")])
    header_line, header = lines[0]
    columns = understand(header, line=header_line)
    if any(field not in columns.fields.values() for field in REQUIRED):
        raise ManifestError(name, columns.problems or _missing(columns, header_line))
    problems = list(columns.problems)
    rows: list[Row] = []
    for line, cells in lines[1:]:
        if any(cells[len(header) :]):
            problems.append(Problem(line, "", f"has {len(cells)} cells, the header {len(header)}; is a quote missing?"))
            continue
        # Spreadsheets leave out empty cells at the end of a line: a short line is fine.
        values = {
            columns.fields[column]: cell
            for column, cell in zip(header, cells, strict=False)
            if column in columns.fields
        }
        rows.append(Row(line, values, {field: column for column, field in columns.fields.items()}))
    return Source(tuple(rows), columns.ignored, tuple(problems))


def _lines(text: str, delimiter: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, each with the number of the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = first_line
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield begins, stripped
        begins = first_line + reader.line_num


def _known_names(text: str, delimiter: str) -> int:
    try:
        header = next((cells for _, cells in _lines(text, delimiter, 1)), ())
    except csv.Error:
        return 0
    return len(understand(header, line=1).fields)


def _missing(columns: Columns, line: int) -> Iterator[Problem]:
    for field in REQUIRED:
        if field not in columns.fields.values():
            found = ", ".join(map(repr, [*columns.fields, *columns.ignored]))
            yield Problem(line, "", f"no column {field!r} among {found}")
