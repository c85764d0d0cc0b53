"""A manifest as read, before the checks: rows of raw values, whatever the format was."""

import codecs
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeGuard, TypeVar, cast

import attrs

from panelica_async.provision.manifest.columns import LISTS, MACHINE, WEAK, Reading, simple, understand
from panelica_async.provision.manifest.fields import domain_name, text, trim, user_name, web_server
from panelica_async.provision.manifest.problems import InvalidValueError, ManifestError, Problem, Remark

_T = TypeVar("_T")

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@attrs.frozen
class Row:
    """One site as the source has it."""

    line: int
    """Line it begins on, from 1; for Python data, its position."""
    values: Mapping[str, object] = attrs.field(repr=False)
    """Raw values by field of a site. May hold passwords."""
    columns: Mapping[str, str]
    """Field of a site to its name in the source."""

    def column(self, field: str) -> str:
        """Return what the source calls a field."""
        return self.columns.get(field, field)

    def without(self, names: "set[str]") -> "Row":
        """Return the row without columns of these names."""
        dropped = {field for field, name in self.columns.items() if name in names}
        return Row(self.line, _without(self.values, dropped), _without(self.columns, dropped)) if dropped else self


@attrs.frozen
class Source:
    """A manifest as read."""

    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    """Names of columns that mean nothing here, in the order met."""
    problems: tuple[Problem, ...] = ()
    """Problems found while reading."""
    remarks: tuple[Remark, ...] = ()
    """Not problems, but worth knowing."""
    names: frozenset[str] = frozenset()
    """Every name of a column, as the source spells it."""

    def settled(self, reading: Reading) -> "Source":
        """Return the source with columns dropped or reported whose values show that they mean something else."""
        said = set(map(simple, reading.columns))
        columns: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            for field, name in row.columns.items():
                if simple(name) not in said and row.values.get(field):
                    columns.setdefault((field, name), []).append(row)
        machines = {
            name
            for (field, name), rows in columns.items()
            if simple(name) == MACHINE and not any(_is_web_server(row.values[field]) for row in rows)
        }
        counts = list(_counts(columns))
        misread = machines | {problem.column for problem in counts}
        others = list(_other_things(columns))
        return attrs.evolve(
            self,
            # Without a domain or an owner in any row there is nothing to say about single ones.
            rows=() if others else tuple(row.without(misread) for row in self.rows),
            ignored_columns=tuple(dict.fromkeys((*self.ignored_columns, *sorted(machines)))),
            problems=(*self.problems, *counts, *others, *self._unknown(reading)),
        )

    def _unknown(self, reading: Reading) -> Iterator[Problem]:
        """Yield the columns that the caller names and that are not there."""
        known = set(map(simple, self.names))
        for name in reading.names:
            if simple(name) not in known:
                yield Problem(1, name, "there is no such column")


def decode(data: bytes, name: str) -> str:
    """Return the text of a file: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        ManifestError: It is neither; guessing would corrupt names silently.
    """
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not {encoding.removesuffix('-sig').upper()} text; save the file as 'CSV UTF-8' or in UTF-8"
        raise ManifestError(name, [Problem(line, "", message)]) from None


def _without(mapping: Mapping[str, _T], keys: set[str]) -> Mapping[str, _T]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _is_web_server(value: object) -> bool:
    return _is_valid(web_server, value)


def _is_valid(parse: Callable[[str], object], value: object) -> bool:
    try:
        return parse(text(value)) is not None
    except InvalidValueError:
        return False


def _counts(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield columns that hold numbers where names are expected: exports count mailboxes and databases."""
    for (field, name), rows in columns.items():
        values = [row.values[field] for row in rows]
        if field in LISTS and all(isinstance(value, str) and trim(value).isdecimal() for value in values):
            message = "holds only numbers, like a count; ignore it with --ignore-column, or put numeric names in quotes"
            yield Problem(rows[0].line, name, message)


def _other_things(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield columns that hold no domain or user name in any row, and whose name may mean something else."""
    for (field, name), rows in columns.items():
        parse = _REQUIRED_FORMS.get(field)
        if parse is None or simple(name) not in WEAK or len(rows) < _FEWEST_ROWS:
            continue
        if any(_is_valid(parse, row.values[field]) for row in rows):
            continue
        try:
            parse(text(rows[0].values[field]))
        except InvalidValueError as error:
            advice = f"no row has a valid one; if another column has it, name it with --column NAME={field}"
            yield Problem(rows[0].line, name, f"{error}; {advice}")


_REQUIRED_FORMS: Mapping[str, Callable[[str], str]] = {"domain": domain_name, "username": user_name}
# A single row may just be wrong.
_FEWEST_ROWS = 2


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether a value is a list or, as Python callers may pass, a tuple."""
    return isinstance(value, list | tuple)


def as_mapping(value: object) -> dict[str, object] | None:
    """Return a mapping with its keys as text; None for anything else."""
    if not isinstance(value, Mapping):
        return None
    return {str(key): entry for key, entry in cast("Mapping[object, object]", value).items()}


_OWNER_KEYS = ("username", "email", "plan", "password")


def read_data(sites: Iterable[object], reading: Reading, lines: Sequence[int] | None = None) -> Source:
    """Read sites from mappings.

    Args:
        sites: One mapping per site.
        reading: What the caller says about the keys.
        lines: Line each site begins on; their positions from 1 when left out.
    """
    rows: list[Row] = []
    ignored: dict[str, None] = {}
    problems: list[Problem] = []
    remarks: list[Remark] = []
    names: set[str] = set()
    for index, site in enumerate(sites):
        line = lines[index] if lines else index + 1
        mapping = as_mapping(site)
        if mapping is None:
            problems.append(Problem(line, "", "a site must be a mapping with 'domain' and 'owner'"))
            continue
        if _has_more_cells(site):
            problems.append(Problem(line, "", "has more cells than the header; is a quote missing?"))
            continue
        flat, twice = _with_flat_owner(mapping)
        problems += (Problem(line, key, "is set both in the site and in its owner") for key in twice)
        keys = list(flat)
        columns = understand(keys, reading)
        problems += (Problem(line, *problem) for problem in columns.problems)
        remarks += (Remark.at(line, *remark) for remark in columns.remarks)
        ignored |= dict.fromkeys(columns.ignored)
        names |= flat.keys()
        fields = {field: keys[position] for position, field in columns.fields.items()}
        rows.append(Row(line, {field: _or_none(flat[key]) for field, key in fields.items()}, fields))
    return Source(tuple(rows), tuple(ignored), tuple(problems), tuple(remarks), frozenset(names))


def sites_of(document: object, name: str) -> Sequence[object]:
    """Return the list of sites in a document.

    Raises:
        ManifestError: If there is none.
    """
    mapping = as_mapping(document)
    sites = document if mapping is None else mapping.get("sites")
    if not is_list(sites):
        message = "must be a list of sites, or a mapping with the list under 'sites'"
        raise ManifestError(name, [Problem(1, "", message)])
    return sites


def _has_more_cells(site: object) -> bool:
    """Return whether `csv.DictReader` met more cells than the header has: it keeps them under None."""
    more: object = cast("Mapping[object, object]", site).get(None) if isinstance(site, Mapping) else None
    return is_list(more) and any(isinstance(cell, str) and trim(cell) for cell in more)


def _or_none(value: object) -> object:
    """Return a value, or None for the NaN that tables of numbers hold where a cell is empty."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_flat_owner(site: Mapping[str, object]) -> tuple[Mapping[str, object], list[str]]:
    """Return a site with the keys of its owner among its own, and the keys that were there already."""
    owner = as_mapping(site.get("owner"))
    if owner is None:
        return site, []
    own = {key: value for key, value in site.items() if key != "owner"}
    of_owner = {key if key in _OWNER_KEYS else f"owner.{key}": value for key, value in owner.items()}
    return own | of_owner, sorted(own.keys() & of_owner.keys())
