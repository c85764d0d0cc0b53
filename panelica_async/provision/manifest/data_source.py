"""Reads sites given as mappings, wherever they came from.

A document is a list of sites, or a mapping with the list under `sites`. A site has the keys of
`columns.FIELDS`; its owner may also be a mapping with `username`, `email`, `plan` and `password`. Lists hold
mappings, or text as in a cell (see `cells`).
"""

from collections.abc import Iterable, Mapping, Sequence

from panelica_async.provision.manifest.columns import understand
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.shapes import as_mapping, is_list
from panelica_async.provision.manifest.source import Row, Source

_OWNER_KEYS = ("username", "email", "plan", "password")


def read_data(sites: Iterable[object], lines: Sequence[int] | None = None) -> Source:
    """Read sites given as mappings.

    Args:
        sites: One mapping a site.
        lines: Line each site begins on; their positions from 1 when left out.
    """
    rows: list[Row] = []
    ignored: dict[str, None] = {}
    problems: list[Problem] = []
    for index, site in enumerate(sites):
        line = lines[index] if lines else index + 1
        mapping = as_mapping(site)
        if mapping is None:
            problems.append(Problem(line, "", "a site must be a mapping with 'domain' and 'owner'"))
            continue
        values = _with_flat_owner(mapping)
        columns = understand(values, line=line)
        problems += columns.problems
        ignored |= dict.fromkeys(columns.ignored)
        names = {field: key for key, field in columns.fields.items()}
        rows.append(Row(line, {field: values[key] for field, key in names.items()}, names))
    return Source(tuple(rows), tuple(ignored), tuple(problems))


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


def _with_flat_owner(site: Mapping[str, object]) -> Mapping[str, object]:
    owner = as_mapping(site.get("owner"))
    if owner is None:
        return site
    flat = {key: value for key, value in site.items() if key != "owner"}
    return flat | {key if key in _OWNER_KEYS else f"owner.{key}": value for key, value in owner.items()}
