"""Reads manifests in YAML, and finds the line of each site. Needs PyYAML, so only a YAML file loads this module."""

import re
from collections.abc import Iterator
from typing import Any, cast

import yaml

from panelica_async.provision.manifest.columns import Reading, Source
from panelica_async.provision.manifest.documents import TOO_DEEP, TWICE, read_data, sites_of
from panelica_async.provision.manifest.sites import ManifestError, Problem

# Quoted text of a file in messages of the parser: tags and anchors may be passwords that begin with `!`, `&` or `*`.
_QUOTED_TEXT = re.compile(r" ?(['\"])(?!<)[^'\"]{2,}\1")
_NEED_QUOTES = "; a value that begins with one of ! & * % @ ` must be in quotes"


def read_yaml(text: str, name: str, reading: Reading) -> Source:
    """Read a YAML document, as `documents.read_data` describes it.

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
        raise ManifestError(name, [Problem(1, "", TOO_DEEP)]) from None
    return read_data(sites_of(document, name), reading, _lines(root))


def _parse(text: str, name: str) -> tuple[yaml.Node | None, object]:
    """Return the root of a document, which knows its lines, and the data it stands for."""
    loader: Any = _Loader(text)  # The types of PyYAML leave parts open.
    try:
        root: yaml.Node | None = loader.get_single_node()
        if problems := list(_duplicate_keys(root)):
            raise ManifestError(name, problems)
        return root, None if root is None else loader.construct_document(root)
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
                        yield Problem(key.start_mark.line + 1, key.value, TWICE)
                    keys.add(key.value)
                pending.append(value)
