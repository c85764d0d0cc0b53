"""Reads sites given as mappings, wherever they came from.

A document is a list of sites, or a mapping with the list under `sites`. A site has the keys of
`columns.FIELDS`; its owner may also be a mapping with `username`, `email`, `plan` and `password`. Lists hold
mappings, or text as in a cell (see `cells`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from panelica_async.provision.manifest.columns import Reading, understand
from panelica_async.provision.manifest.fields import trim
from panelica_async.provision.manifest.problems import ManifestError, Problem, Remark
from panelica_async.provision.manifest.shapes import as_mapping, is_list
from panelica_async.provision.manifest.sources import Row, Source

_OWNER_KEYS = ("username", "email", "plan", "password")


def read_data(sites: Iterable[object], reading: Reading, lines: Sequence[int] | None = None) -> Source:
    """Read sites given as mappings.

    Args:
        sites: One mapping a site.
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
        problems += (Problem(line, key, "stands in the site and in its owner") for key in twice)
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
