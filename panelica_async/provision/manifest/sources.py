"""Reads CSV, JSON and YAML files into rows: delimiters, header, quotes, and the line of each value."""

import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.provision.manifest.columns import REQUIRED, Columns, Reading, Row, Source, interpret, normalize
from panelica_async.provision.manifest.fields import (
    as_mapping,
    domain_name,
    is_list,
    is_valid,
    trim,
    user_name,
)
from panelica_async.provision.manifest.sites import ManifestError, Problem, Remark

if TYPE_CHECKING:
    import yaml

_DELIMITERS = (";", ",", "\t", "|")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_OTHER_LINE_BREAK = re.compile(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# A row of fewer cells may be a list within one.
_FEWEST_CELLS_OF_A_ROW = 3

# Python refuses to read numbers of more digits; a float of that size is refused where a whole number is expected.
_MAX_DIGITS = 4000

# Quoted text of a file in messages of PyYAML: tags and anchors may be passwords that begin with `!`, `&` or `*`.
_QUOTED_TEXT = re.compile(r" ?(['\"])(?!<)[^'\"]{2,}\1")
_NEED_QUOTES = "; a value that begins with one of ! & * % @ ` must be in quotes"
_TWICE = "appears twice in the same mapping"
_TOO_DEEP = "not usable: lists and mappings are nested too deeply"


def read_csv(text: str, name: str, reading: Reading) -> Source:
    """Read a CSV file with a header line.

    Columns may be in any order and have any name in `columns.FIELDS`. Cells are separated by `;`, `,`, tabs or `|`,
    whichever gives the header more known names; they may be quoted and contain line breaks. Empty lines are skipped.
    After a row with broken quotes, reading continues at the next line.

    Args:
        text: The decoded file.
        name: Name of the file, for messages.
        reading: What the caller says about the columns.

    Raises:
        ManifestError: If there is no header, or a needed column is missing.
    """
    lines = list(io.StringIO(text, newline=""))
    # Excel's own way to name the delimiter is a line before the header.
    first_line = 2 if lines and lines[0][:4].lower() == "sep=" else 1
    lines = lines[first_line - 1 :]
    delimiter = max(_DELIMITERS, key=lambda candidate: _fit(lines, candidate, reading))
    records, problems = _records(lines, delimiter, first_line)
    if not records:
        missing = Problem(first_line, "", "the file is empty; a header line is needed")
        raise ManifestError(name, problems or [missing])
    if len(records) == 1 and (other := _OTHER_LINE_BREAK.search("".join(records[0].cells))):
        message = f"the lines end in U+{ord(other[0]):04X}; save the file with Windows or Linux line endings"
        raise ManifestError(name, [Problem(first_line, "", message)])
    table = _Table(records[0], delimiter, reading)
    if any(field not in table.columns.fields.values() for field in REQUIRED):
        raise ManifestError(name, [*(table.problems or _missing(table)), *problems])
    rows = [row for record in records[1:] if (row := table.row(record)) is not None]
    return Source(
        tuple(rows),
        table.columns.ignored,
        (*problems, *table.problems),
        (*table.remarks, *table.unnamed()),
        frozenset(table.header),
    )


@attrs.frozen
class _Record:
    """A row of the file, which may span several lines."""

    line: int
    """The line it begins on."""
    cells: list[str] = attrs.field(repr=False)


class _Table:
    """The header, and what it makes of each record."""

    def __init__(self, header: _Record, delimiter: str, reading: Reading) -> None:
        self.line = header.line
        self.header = [trim(cell) for cell in header.cells]
        self.columns: Columns = interpret(self.header, reading)
        self.problems: list[Problem] = [Problem(self.line, *problem) for problem in self.columns.problems]
        self.remarks: list[Remark] = [Remark.at(self.line, *remark) for remark in self.columns.remarks]
        self._delimiter = delimiter
        self._skipped = set(map(normalize, reading.ignored))
        self._names = {field: self.header[position] for position, field in self.columns.fields.items()}
        self._position = {field: position for position, field in self.columns.fields.items()}
        self._unnamed: set[int] = set()
        self._report_rows_in_cells(header)

    def row(self, record: _Record) -> Row | None:
        """Return the row of a record; None when its cells are not those of one row."""
        cells = record.cells
        if any(map(trim, cells[len(self.header) :])):
            message = f"has {len(cells)} cells, the header {len(self.header)}; is a quote missing?"
            self.problems.append(Problem(record.line, "", message))
            return None
        if self._report_rows_in_cells(record):
            return None
        self._unnamed.update(
            position
            for position, (name, cell) in enumerate(zip(self.header, cells, strict=False))
            if not name and trim(cell)
        )
        # Spreadsheets leave out empty cells at the end of a line: a short line is fine. A password is taken as it is.
        values = {
            field: cells[position] if field == "password" else trim(cells[position])
            for field, position in self._position.items()
            if position < len(cells)
        }
        return Row(record.line, values, self._names)

    def unnamed(self) -> Iterator[Remark]:
        """Yield a remark for each column that has values and no name."""
        for position in sorted(self._unnamed):
            yield Remark.at(self.line, f"column {position + 1}", "ignored because the column has no name")

    def _report_rows_in_cells(self, record: _Record) -> bool:
        """Report rows that a missing or extra quote made part of a cell; return whether there are any."""
        for position, cell in enumerate(record.cells[: len(self.header)]):
            column = _LINE_BREAK.split(self.header[position])[0]
            if not _LINE_BREAK.search(trim(cell)) or normalize(column) in self._skipped:
                continue
            lines = [_cells(line, self._delimiter) for line in _LINE_BREAK.split(cell)]
            # The first line of the cell is at its column, the others begin a line of the file.
            found = [self._row_in([*[""] * position, *lines[0]]), *map(self._row_in, lines[1:])]
            row = next((domain for domain, is_row in found if is_row), None)
            if row is not None:
                message = f"contains what looks like the row of {row!r}; is there a quote too few or too many?"
                self.problems.append(Problem(record.line, column, message))
                return True
            if any(
                len(cells) >= len(self.header) >= _FEWEST_CELLS_OF_A_ROW or (domain and len(cells) > 1)
                for cells, (domain, _) in zip(lines, found, strict=True)
            ):
                text = "a line of the cell looks like a row of its own; if it is one, a quote is missing"
                self.remarks.append(Remark.at(record.line, column, text))
        return False

    def _row_in(self, cells: Sequence[str]) -> tuple[str, bool]:
        """Return the domain where a row has it, if there is one, and whether the rest also looks like a row."""
        domain, username = (
            trim(cells[position]) if (position := self._position.get(field, len(cells))) < len(cells) else ""
            for field in REQUIRED
        )
        if not is_valid(domain_name, domain):
            return "", False
        return domain, len(cells) == len(self.header) >= _FEWEST_CELLS_OF_A_ROW or is_valid(user_name, username)


def _records(lines: Sequence[str], delimiter: str, first_line: int) -> tuple[list[_Record], list[Problem]]:
    """Return the records that are not empty, and the lines on which a broken one begins."""
    records: list[_Record] = []
    problems: list[Problem] = []
    begins = 0
    while begins < len(lines):
        base = begins
        reader = csv.reader((lines[index] for index in range(base, len(lines))), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if any(map(trim, cells)):
                    records.append(_Record(first_line + begins, cells))
                begins = base + reader.line_num
        except csv.Error as error:
            if "field limit" in str(error):
                message = f"has a cell of more than {csv.field_size_limit():,} characters; is a quote missing?"
            elif "end of data" in str(error):
                message = "a quote is opened in this row but never closed"
            else:
                message = f"not readable as CSV: {error}; write a quote within a quoted cell twice"
            problems.append(Problem(first_line + begins, "", message))
            begins += 1
    return records, problems


def _fit(lines: Sequence[str], delimiter: str, reading: Reading) -> tuple[int, int]:
    """Return how many known names a delimiter gives the header, and how many cells."""
    header = next((line for line in lines if trim(line.replace(delimiter, ""))), "")
    cells = [trim(cell) for cell in _cells(header, delimiter)]
    return len(interpret(cells, reading).fields), len(cells)


def _missing(table: _Table) -> Iterator[Problem]:
    known = table.columns.fields.values()
    if not known or ("domain" not in known and any(is_valid(domain_name, cell) for cell in table.header)):
        # It may be a site, whose password must not be shown.
        yield Problem(table.line, "", "the first line is not a header; it must name the columns: domain,username,…")
        return
    found = ", ".join(map(repr, filter(None, table.header)))
    for field in REQUIRED:
        if field not in known:
            yield Problem(table.line, "", f"no column {field!r} among {found}; name it with --column NAME={field}")


def _cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line."""
    return [cell for cells in csv.reader([line], delimiter=delimiter) for cell in cells]


@attrs.frozen
class Document:
    """The sites of a JSON or YAML document, or of Python data."""

    sites: Iterable[tuple[int, object]]
    """The line on which each site begins, and what should be a mapping of its fields."""
    problems: Sequence[Problem] = ()
    """Keys that appear twice in a mapping; the last value counts."""


def sites_of(document: object, name: str, problems: Iterable[Problem] = ()) -> Sequence[object]:
    """Return the list of sites in a document.

    Raises:
        ManifestError: If there is none; the error also holds the problems found before.
    """
    mapping = as_mapping(document)
    sites = document if mapping is None else mapping.get("sites")
    if not is_list(sites):
        message = "must be a list of sites, or a mapping with the list under 'sites'"
        raise ManifestError(name, [*problems, Problem(1, "", message)])
    return sites


def read_json(text: str, name: str) -> Document:
    """Read a JSON document.

    Raises:
        ManifestError: It is not valid JSON, or there is no list of sites.
    """
    sites: list[tuple[int, object]] = []
    problems: list[Problem] = []
    values: dict[str, int] = {}
    try:
        document = json.loads(text, parse_int=_integer)
        for key, begin, value in _members(text):
            if key in values:
                problems.append(Problem(_line(text, begin), key, _TWICE))
            values[key] = value
        sites_of(document, name, problems)
        for line, site, repeated in _elements(text, values.get("sites", _skip(text, 0))):
            sites.append((line, site))
            problems += (Problem(line, key, _TWICE) for key in repeated)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", _TOO_DEEP)]) from None
    return Document(sites, problems)


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each key of a JSON document that is a mapping, where it begins, and where its value begins."""
    decoder = json.JSONDecoder(parse_int=_integer)
    index = _skip(text, 0)
    if text[index] != "{":
        return
    index = _skip(text, index + 1)
    while text[index] != "}":
        begin = index
        key, index = decoder.raw_decode(text, index)
        value = _skip(text, index, ":")
        yield key, begin, value
        _, index = decoder.raw_decode(text, value)
        index = _skip(text, index, ",")


def _elements(text: str, index: int) -> Iterator[tuple[int, object, list[str]]]:
    """Yield the elements of the JSON list at an index: the line, the value, and the keys that appear twice in it."""
    repeated: list[str] = []

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return found

    decoder = json.JSONDecoder(object_pairs_hook=mapping, parse_int=_integer)
    index = _skip(text, index + 1)
    line = _line(text, index)
    while text[index] != "]":
        value, end = decoder.raw_decode(text, index)
        yield line, value, repeated.copy()
        repeated.clear()
        following = _skip(text, end, ",")
        line += text.count("\n", index, following)
        index = following


def _skip(text: str, index: int, marks: str = "") -> int:
    """Return the index of the next character that is neither a blank nor a mark."""
    while text[index].isspace() or text[index] in marks:
        index += 1
    return index


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def read_yaml(text: str, name: str) -> Document:
    """Read a YAML document.

    Raises:
        ManifestError: It is not valid YAML, or there is no list of sites.
        ConfigurationError: PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - an extra, which only YAML needs
    except ImportError:
        raise ConfigurationError(
            f"{name} is YAML, and PyYAML is not installed",
            hint="Install panelica_async[yaml], or write the manifest as CSV or JSON.",
        ) from None
    problems: list[Problem] = []
    try:
        root, document = _parse_yaml(text, problems.append)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = (error.problem or "not understood").removeprefix("but ")
        shown = _QUOTED_TEXT.sub("", problem)
        message = f"not valid YAML: {shown}{'' if shown == problem else _NEED_QUOTES}"
        raise ManifestError(name, [*problems, Problem(line, "", message)]) from None
    except yaml.YAMLError:
        raise ManifestError(name, [Problem(1, "", "not valid YAML")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", _TOO_DEEP)]) from None
    sites = sites_of(document, name, problems)
    if isinstance(root, yaml.MappingNode):
        # Merged keys (`<<`) come before those of the mapping itself, which win.
        root = next((value for key, value in reversed(root.value) if key.value == "sites"), None)
    lines: Iterable[int] = itertools.count(1)
    if isinstance(root, yaml.SequenceNode):
        lines = (site.start_mark.line + 1 for site in root.value)
    return Document(list(zip(lines, sites, strict=False)), problems)


def _parse_yaml(text: str, report: Callable[[Problem], None]) -> tuple["yaml.Node | None", object]:
    """Return the root of a YAML document, which knows its lines, and the data it stands for.

    Args:
        text: The document.
        report: Called for each key that appears twice.
    """
    import yaml  # noqa: PLC0415

    class Loader(yaml.SafeLoader):
        """Reads what `yaml.safe_load` does, reports keys that appear twice, and has a YAML error for invalid values."""

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node: yaml.MappingNode = cast("Any", super()).compose_mapping_node(anchor)
            keys: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        report(Problem(key.start_mark.line + 1, key.value, _TWICE))
                    keys.add(key.value)
            return node

        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                return cast("Any", super()).construct_object(node, deep=deep)
            except (ValueError, OverflowError, TypeError):
                message = "looks like a number or a date but is not one; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None

    loader: Any = Loader(text)  # The types of PyYAML leave parts open.
    try:
        root: yaml.Node | None = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()
