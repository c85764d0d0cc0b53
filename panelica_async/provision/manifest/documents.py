"""Reads manifests in JSON, and knows the line of each site."""

import json
from collections.abc import Iterator

from panelica_async.provision.manifest.columns import Reading
from panelica_async.provision.manifest.data_source import read_data, sites_of
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.sources import Source

# Python refuses to read numbers of more digits; a float of that size is refused where a whole number is expected.
_MOST_DIGITS = 4000


def read_json(text: str, name: str, reading: Reading) -> Source:
    """Read a JSON document, as `data_source` describes it.

    Raises:
        ManifestError: If it is not valid JSON, a mapping names a key twice, or there is no list of sites.
    """
    try:
        sites_of(json.loads(text, parse_int=_integer), name)
        return _read(text, name, reading)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", "not usable: lists and mappings are nested too deep")]) from None


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
            problems.append(Problem(line, str(error), _TWICE))
    if problems:
        raise ManifestError(name, problems)
    return read_data(sites, reading, lines)


def _starts(text: str, problems: list[Problem]) -> Iterator[int]:
    """Yield where each site begins in a document that is known to be valid and to hold a list of sites.

    Keys that stand twice at the top are added to the problems.
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
                problems.append(Problem(_line(text, begin), key, _TWICE))
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


_TWICE = "stands twice in the same mapping"


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key, value in pairs:
        if key in mapping:
            raise _DuplicateKeyError(key)
        mapping[key] = value
    return mapping
