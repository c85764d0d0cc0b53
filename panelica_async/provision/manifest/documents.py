"""Reads manifests in JSON and from Python data."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from panelica_async.provision.manifest.columns import Reading, Row, Source, understand
from panelica_async.provision.manifest.fields import as_mapping, is_list, trim
from panelica_async.provision.manifest.sites import ManifestError, Problem, Remark

TWICE = "appears twice in the same mapping"
TOO_DEEP = "not usable: lists and mappings are nested too deeply"

# Python refuses to read numbers of more digits; a float of that size is refused where a whole number is expected.
_MOST_DIGITS = 4000
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


def read_json(text: str, name: str, reading: Reading) -> Source:
    """Read a JSON document, as `read_data` describes it.

    Raises:
        ManifestError: It is not valid JSON, a mapping names a key twice, or there is no list of sites.
    """
    try:
        sites_of(json.loads(text, parse_int=_integer), name)
        return _read(text, name, reading)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", TOO_DEEP)]) from None


def _read(text: str, name: str, reading: Reading) -> Source:
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_int=_integer)
    sites: list[object] = []
    lines: list[int] = []
    problems: list[Problem] = []
    for start in _starts(text, problems):
        line = _line(text, start)
        try:
            sites.append(decoder.raw_decode(text, start)[0])
            lines.append(line)
        except _DuplicateKeyError as error:
            problems.append(Problem(line, str(error), TWICE))
    if problems:
        raise ManifestError(name, problems)
    return read_data(sites, reading, lines)


def _starts(text: str, problems: list[Problem]) -> Iterator[int]:
    """Yield where each site begins in a document that is known to be valid and to hold a list of sites.

    Keys that appear twice at the top level are added to the problems.
    """
    decoder = json.JSONDecoder(parse_int=_integer)
    index = _skip(text, 0)
    sites = index
    if text[index] == "{":
        keys: set[str] = set()
        index = _skip(text, index + 1)
        while text[index] != "}":
            begin = index
            key, index = decoder.raw_decode(text, index)
            if key in keys:
                problems.append(Problem(_line(text, begin), key, TWICE))
            keys.add(key)
            index = _skip(text, index, ":")
            if key == "sites":
                sites = index
            _, index = decoder.raw_decode(text, index)
            index = _skip(text, index, ",")
    index = _skip(text, sites + 1)
    # Of several lists, the first ones may be anything.
    while not problems and text[index] != "]":
        yield index
        _, index = decoder.raw_decode(text, index)
        index = _skip(text, index, ",")


def _skip(text: str, index: int, marks: str = "") -> int:
    while text[index].isspace() or text[index] in marks:
        index += 1
    return index


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key, value in pairs:
        if key in mapping:
            raise _DuplicateKeyError(key)
        mapping[key] = value
    return mapping
