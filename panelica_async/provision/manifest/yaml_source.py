"""Reads manifests in YAML, and knows the line of each site. Needs the extra `yaml`."""

from collections.abc import Iterator

import yaml

from panelica_async.provision.manifest.data_source import read_data, sites_of
from panelica_async.provision.manifest.problems import ManifestError, Problem
from panelica_async.provision.manifest.source import Source


def read_yaml(text: str, name: str) -> Source:
    """Read a YAML document, as `data_source` describes it.

    Raises:
        ManifestError: If it is not valid YAML, names a key twice in a mapping, or there is no list of sites.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(name, [Problem(line, "", f"not valid YAML: {error.problem}")]) from None
    except yaml.YAMLError:
        raise ManifestError(name, [Problem(1, "", "not valid YAML")]) from None
    if problems := list(_duplicate_keys(root)):
        raise ManifestError(name, problems)
    return read_data(sites_of(document, name), _lines(root))


def _lines(root: yaml.Node | None) -> list[int]:
    if isinstance(root, yaml.MappingNode):
        root = next(value for key, value in root.value if key.value == "sites")
    return [site.start_mark.line + 1 for site in root.value] if root else []


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
                        yield Problem(key.start_mark.line + 1, key.value, "stands twice in the same mapping")
                    keys.add(key.value)
                pending.append(value)
