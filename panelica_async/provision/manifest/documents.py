"""Reads manifests in JSON and YAML, and finds the line of each site."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import yaml

from panelica_async.provision.manifest.columns import Reading
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.sources import Source, read_data, sites_of

# Python refuses to read numbers of more digits; a float of that size is refused where a whole number is expected.
_MOST_DIGITS = 4000


def read_json(text: str, name: str, reading: Reading) -> Source:
    """Read a JSON document, as `sources.read_data` describes it.

    Raises:
        ManifestError: It is not valid JSON, a mapping names a key twice, or there is no list of sites.
    """
    try:
        sites_of(json.loads(text, parse_int=_integer), name)
        return _read(text, name, reading)
    except json.JSONDecodeError as error:
        raise ManifestError(name, [Problem(error.lineno, "", f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", "not usable: lists and mappings are nested too deeply")]) from None


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


_TWICE = "appears twice in the same mapping"


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key, value in pairs:
        if key in mapping:
            raise _DuplicateKeyError(key)
        mapping[key] = value
    return mapping


# Quoted text of a file in messages of the parser: tags and anchors may be passwords that begin with `!`, `&` or `*`.
_QUOTED_TEXT = re.compile(r" ?(['\"])(?!<)[^'\"]{2,}\1")
_NEED_QUOTES = "; a value that begins with one of ! & * % @ ` must be in quotes"


def read_yaml(text: str, name: str, reading: Reading) -> Source:
    """Read a YAML document, as `sources.read_data` describes it.

    Raises:
        ManifestError: It is not valid YAML, names a key twice in a mapping, or there is no list of sites.
    """
    try:
        root, document = _parse(text, name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(name, [Problem(line, "", f"not valid YAML: {_explained(error)}")]) from None
    except yaml.YAMLError:
        raise ManifestError(name, [Problem(1, "", "not valid YAML")]) from None
    except RecursionError:
        raise ManifestError(name, [Problem(1, "", "not usable: lists and mappings are nested too deeply")]) from None
    return read_data(sites_of(document, name), reading, _lines(root))


def _parse(text: str, name: str) -> tuple[yaml.Node | None, object]:
    """Return the root of a document, which knows its lines, and the data it stands for."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if problems := list(_duplicate_keys(root)):
            raise ManifestError(name, problems)
        # The types of PyYAML leave parts open.
        return root, None if root is None else cast("Any", loader).construct_document(root)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Reads what `yaml.safe_load` does, with a YAML error for every value that is invalid."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build the value of a node."""
        try:
            return cast("Any", super()).construct_object(node, deep=deep)
        except (ValueError, OverflowError, TypeError):
            message = "looks like a number or a date but is not one; put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None


def _explained(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not understood"
    shown = _QUOTED_TEXT.sub("", problem)
    return shown if shown == problem else shown + _NEED_QUOTES


def _lines(root: yaml.Node | None) -> list[int] | None:
    """Return the line of each site; None when the sites are not where they are looked for."""
    if isinstance(root, yaml.MappingNode):
        # Merged keys (`<<`) come before those of the mapping itself, which win.
        root = next((value for key, value in reversed(root.value) if key.value == "sites"), None)
    return [site.start_mark.line + 1 for site in root.value] if isinstance(root, yaml.SequenceNode) else None


def _duplicate_keys(root: yaml.Node | None) -> Iterator[Problem]:
    pending = [root]
    visited: set[int] = set()  # An anchor may be used again, even inside itself.
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        yield Problem(key.start_mark.line + 1, key.value, _TWICE)
                    keys.add(key.value)
                pending.append(value)
