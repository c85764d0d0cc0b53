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
# A line of fewer cells may be a list within one cell.
_MIN_CELLS_OF_A_ROW = 3

# Python refuses to read integers of more digits. As floats they are refused where a whole number is expected.
_MOST_DIGITS = 4000

# What PyYAML quotes from the file in its messages: tags and anchors may be passwords that begin with `!`, `&` or `*`.
_QUOTED_TEXT = re.compile(r" ?(['\"])(?!<)[^'\"]{2,}\1")
_NEED_QUOTES = "; a value that begins with one of ! & * % @ ` must be in quotes"
_REPEATED = "appears twice in the same mapping"
_TOO_DEEP = "not usable: lists and mappings are nested too deeply"


def read_csv(text: str, name: str, reading: Reading) -> Source:
    """Read a CSV file with a header line.

    Columns may be in any order and have any name in `columns.FIELDS`. Cells are separated by `;`, `,`, tabs or `|`,
    whichever gives the header the most known names; they may be quoted and contain line breaks. Empty lines are
    skipped. After a row with broken quotes, reading continues at the next line.

    Args:
        text: The decoded file.
        name: Name of the file, for messages.
        reading: How the caller wants the columns to be read.

    Raises:
        ManifestError: There is no header, or a required column is missing.
    """
    lines = list(io.StringIO(text, newline=""))
    # Excel names the delimiter in a line before the header.
    first_line = 2 if lines and lines[0][:4].lower() == "sep=" else 1
    lines = lines[first_line - 1 :]
    delimiter = max(_DELIMITERS, key=lambda candidate: _header_score(lines, candidate, reading))
    records, problems = _read_records(lines, delimiter, first_line)
    if not records:
        missing = Problem(first_line, "", "the file is empty; a header line is needed")
        raise ManifestError(name, problems or [missing])
    if len(records) == 1 and (other := _OTHER_LINE_BREAK.search("".join(records[0].cells))):
        message = f"the lines end in U+{ord(other[0]):04X}; save the file with Windows or Linux line endings"
        raise ManifestError(name, [Problem(first_line, "", message)])
    table = _Table(records[0], delimiter, reading)
    if any(field not in table.columns.fields.values() for field in REQUIRED):
        raise ManifestError(name, [*(table.problems or _missing_column_problems(table)), *problems])
    rows = [row for record in records[1:] if (row := table.row(record)) is not None]
    return Source(
        tuple(rows),
        table.columns.ignored,
        (*problems, *table.problems),
        (*table.remarks, *table.unnamed_columns()),
        frozenset(table.header),
    )


@attrs.frozen
class _Record:
    """A row of the file, which may span several lines."""

    line: int
    """The line it begins on."""
    cells: list[str] = attrs.field(repr=False)


class _Table:
    """The header, and the rows that records become under it."""

    def __init__(self, header: _Record, delimiter: str, reading: Reading) -> None:
        self.line = header.line
        self.header = [trim(cell) for cell in header.cells]
        self.columns: Columns = interpret(self.header, reading)
        self.problems: list[Problem] = [Problem(self.line, *problem) for problem in self.columns.problems]
        self.remarks: list[Remark] = [Remark.at(self.line, *remark) for remark in self.columns.remarks]
        self._delimiter = delimiter
        self._ignored_by_caller = set(map(normalize, reading.ignored))
        self._names = {field: self.header[position] for position, field in self.columns.fields.items()}
        self._positions = {field: position for position, field in self.columns.fields.items()}
        self._unnamed: set[int] = set()
        self._report_rows_in_cells(header)

    def row(self, record: _Record) -> Row | None:
        """Return the row of a record, or None if its cells are not those of one row."""
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
        # Spreadsheets omit empty cells at the end of a line, so a short line is fine. A password is never trimmed.
        values = {
            field: cells[position] if field == "password" else trim(cells[position])
            for field, position in self._positions.items()
            if position < len(cells)
        }
        return Row(record.line, values, self._names)

    def unnamed_columns(self) -> Iterator[Remark]:
        """Yield a remark for each column that has values but no name."""
        for position in sorted(self._unnamed):
            yield Remark.at(self.line, f"column {position + 1}", "ignored because the column has no name")

    def _report_rows_in_cells(self, record: _Record) -> bool:
        """Report rows that a missing or extra quote made part of a cell; return whether there are any."""
        for position, cell in enumerate(record.cells[: len(self.header)]):
            column = _LINE_BREAK.split(self.header[position])[0]
            if not _LINE_BREAK.search(trim(cell)) or normalize(column) in self._ignored_by_caller:
                continue
            lines = [_split_line(line, self._delimiter) for line in _LINE_BREAK.split(cell)]
            # The first line of the cell starts in its column; each other one starts a line of the file.
            lines_from_start = [[*[""] * position, *lines[0]], *lines[1:]]
            domains = [self._domain_in(cells) for cells in lines_from_start]
            rows = zip(lines_from_start, domains, strict=True)
            if row_domain := next((domain for cells, domain in rows if domain and self._is_row(cells)), ""):
                message = f"contains what looks like the row of {row_domain!r}; is there a quote too few or too many?"
                self.problems.append(Problem(record.line, column, message))
                return True
            if any(
                len(cells) >= len(self.header) >= _MIN_CELLS_OF_A_ROW or (domain and len(cells) > 1)
                for cells, domain in zip(lines, domains, strict=True)
            ):
                text = "a line of the cell looks like a row of its own; if it is one, a quote is missing"
                self.remarks.append(Remark.at(record.line, column, text))
        return False

    def _domain_in(self, cells: Sequence[str]) -> str:
        """Return the domain if the cells have a valid one where a row has it, or else empty text."""
        domain = self._cell(cells, "domain")
        return domain if is_valid(domain_name, domain) else ""

    def _is_row(self, cells: Sequence[str]) -> bool:
        """Return whether cells with a domain have as many cells as the header, or a valid user name."""
        has_all_cells = len(cells) == len(self.header) >= _MIN_CELLS_OF_A_ROW
        return has_all_cells or is_valid(user_name, self._cell(cells, "username"))

    def _cell(self, cells: Sequence[str], field: str) -> str:
        position = self._positions.get(field, len(cells))
        return trim(cells[position]) if position < len(cells) else ""


def _read_records(lines: Sequence[str], delimiter: str, first_line: int) -> tuple[list[_Record], list[Problem]]:
    """Return the records that are not empty, and a problem for each broken one."""
    records: list[_Record] = []
    problems: list[Problem] = []
    start = 0
    while start < len(lines):
        reader_start = start
        following = (lines[index] for index in range(reader_start, len(lines)))
        reader = csv.reader(following, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if any(map(trim, cells)):
                    records.append(_Record(first_line + start, cells))
                start = reader_start + reader.line_num
        except csv.Error as error:
            problems.append(Problem(first_line + start, "", _csv_message(error)))
            start += 1
    return records, problems


def _csv_message(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"has a cell of more than {csv.field_size_limit():,} characters; is a quote missing?"
    if "end of data" in str(error):
        return "a quote is opened in this row but never closed"
    return f"not readable as CSV: {error}; write a quote within a quoted cell twice"


def _header_score(lines: Sequence[str], delimiter: str, reading: Reading) -> tuple[int, int]:
    """Return how many known names a delimiter gives the header, and how many cells; the highest score wins."""
    header = next((line for line in lines if trim(line.replace(delimiter, ""))), "")
    cells = [trim(cell) for cell in _split_line(header, delimiter)]
    return len(interpret(cells, reading).fields), len(cells)


def _missing_column_problems(table: _Table) -> Iterator[Problem]:
    known = table.columns.fields.values()
    if not known or ("domain" not in known and any(is_valid(domain_name, cell) for cell in table.header)):
        # The line may be a site, whose password must not be shown.
        yield Problem(table.line, "", "the first line is not a header; it must name the columns: domain,username,…")
        return
    names = ", ".join(map(repr, filter(None, table.header)))
    for field in REQUIRED:
        if field not in known:
            yield Problem(table.line, "", f"no column {field!r} among {names}; name it with --column NAME={field}")


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line."""
    return [cell for cells in csv.reader([line], delimiter=delimiter) for cell in cells]


@attrs.frozen
class Document:
    """The sites of a JSON or YAML document, or of Python data."""

    sites: Iterable[tuple[int, object]]
    """The line on which each site begins, and its value, which should be a mapping of fields."""
    problems: Sequence[Problem] = ()
    """Keys that appear twice in a mapping; the last value counts."""


def list_of_sites(document: object, name: str, problems: Iterable[Problem] = ()) -> Sequence[object]:
    """Return the list of sites in a document.

    Raises:
        ManifestError: There is none; the error also holds the earlier problems.
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
    value_positions: dict[str, int] = {}
    try:
        document = json.loads(text, parse_int=_parse_integer)
        for key, key_position, value_position in _json_members(text):
            if key in value_positions:
                problems.append(Problem(_line_at(text, key_position), key, _REPEATED))
            value_positions[key] = value_position
        list_of_sites(document, name, problems)
        for line, site, repeated in _json_elements(text, value_positions.get("sites", _skip_blanks(text, 0))):
            sites.append((line, site))
            problems += (Problem(line, key, _REPEATED) for key in repeated)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", _TOO_DEEP)]) from None
    return Document(sites, problems)


def _json_members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each key of a JSON object with its position and that of its value; nothing for another document."""
    decoder = json.JSONDecoder(parse_int=_parse_integer)
    index = _skip_blanks(text, 0)
    if text[index] != "{":
        return
    index = _skip_blanks(text, index + 1)
    while text[index] != "}":
        key, key_end = decoder.raw_decode(text, index)
        value_position = _skip_blanks(text, key_end, ":")
        yield key, index, value_position
        _, value_end = decoder.raw_decode(text, value_position)
        index = _skip_blanks(text, value_end, ",")


def _json_elements(text: str, index: int) -> Iterator[tuple[int, object, list[str]]]:
    """Yield each element of the JSON list at an index: its line, its value, and the keys that appear twice in it."""
    repeated: list[str] = []

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return members

    decoder = json.JSONDecoder(object_pairs_hook=mapping, parse_int=_parse_integer)
    index = _skip_blanks(text, index + 1)
    line = _line_at(text, index)
    while text[index] != "]":
        value, end = decoder.raw_decode(text, index)
        yield line, value, repeated.copy()
        repeated.clear()
        following = _skip_blanks(text, end, ",")
        line += text.count("\n", index, following)
        index = following


def _skip_blanks(text: str, index: int, marks: str = "") -> int:
    """Return the index of the next character that is neither a blank nor a mark."""
    while text[index].isspace() or text[index] in marks:
        index += 1
    return index


def _line_at(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


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
        unquoted = _QUOTED_TEXT.sub("", problem)
        message = f"not valid YAML: {unquoted}{'' if unquoted == problem else _NEED_QUOTES}"
        raise ManifestError(name, [*problems, Problem(line, "", message)]) from None
    except yaml.YAMLError:
        raise ManifestError(name, [Problem(1, "", "not valid YAML")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", _TOO_DEEP)]) from None
    sites = list_of_sites(document, name, problems)
    if isinstance(root, yaml.MappingNode):
        # Merged keys (`<<`) come before those of the mapping itself, which win.
        root = next((value for key, value in reversed(root.value) if key.value == "sites"), None)
    lines: Iterable[int] = itertools.count(1)
    if isinstance(root, yaml.SequenceNode):
        lines = (site.start_mark.line + 1 for site in root.value)
    return Document(list(zip(lines, sites, strict=False)), problems)


def _parse_yaml(text: str, report: Callable[[Problem], None]) -> tuple["yaml.Node | None", object]:
    """Return the root node of a YAML document, which knows its lines, and the data that it stands for.

    Args:
        text: The document.
        report: Called for each key that appears twice.
    """
    import yaml  # noqa: PLC0415

    class Loader(yaml.SafeLoader):
        """Reads what `yaml.safe_load` reads, reports keys that appear twice, and raises YAML errors for bad values."""

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node: yaml.MappingNode = cast("Any", super()).compose_mapping_node(anchor)
            keys: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        report(Problem(key.start_mark.line + 1, key.value, _REPEATED))
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
