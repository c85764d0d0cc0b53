"""Reads manifests in JSON, and knows the line of each site."""

import json
from collections.abc import Iterator

from panelica_async.provision.manifest.data_source import read_data, sites_of
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.source import Source


def read_json(text: str, name: str) -> Source:
    """Read a JSON document, as `data_source` describes it.

    Raises:
        ManifestError: If it is not valid JSON, a site names a key twice, or there is no list of sites.
    """
    try:
        sites_of(json.loads(text), name)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates)
    sites: list[object] = []
    lines: list[int] = []
    problems: list[Problem] = []
    for start in _starts(text):
        line = text.count("\n", 0, start) + 1
        try:
            sites.append(decoder.raw_decode(text, start)[0])
            lines.append(line)
        except _DuplicateKeyError as error:
            problems.append(Problem(line, str(error), "stands twice in the same mapping"))
    if problems:
        raise ManifestError(name, problems)
    return read_data(sites, lines)


def _starts(text: str) -> Iterator[int]:
    """Yield where each site begins in a document that is known to be valid and to hold a list of sites."""
    decoder = json.JSONDecoder()
    index = _skip(text, 0)
    if text[index] == "{":
        key = None
        while key != "sites":
            if key is not None:
                _, index = decoder.raw_decode(text, index)
            key, index = decoder.raw_decode(text, _skip(text, index, "{,"))
            index = _skip(text, index, ":")
    index = _skip(text, index + 1)
    while text[index] != "]":
        yield index
        _, index = decoder.raw_decode(text, index)
        index = _skip(text, index, ",")


def _skip(text: str, index: int, marks: str = "") -> int:
    while text[index].isspace() or text[index] in marks:
        index += 1
    return index


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key, value in pairs:
        if key in mapping:
            raise _DuplicateKeyError(key)
        mapping[key] = value
    return mapping
