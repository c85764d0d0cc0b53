"""Reads the YAML files of the specification, remembering the line of every node."""

from pathlib import Path
from typing import Any

import yaml

from codegen.problems import Location, SpecError


class Node(dict[str, Any]):
    """A YAML mapping that knows where it and each of its keys stand."""

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location
        self.lines: dict[str, int] = {}

    def where(self, key: str | None = None) -> Location:
        """Return the place of a key, or of the mapping itself."""
        line = self.lines.get(key, self.location.line) if key is not None else self.location.line
        return Location(self.location.file, line)


class _Loader(yaml.SafeLoader):
    """Safe YAML without implicit timestamps, with mappings as `Node`s and duplicate keys refused."""

    file: Path

    def construct_mapping_node(self, node: yaml.MappingNode) -> Any:
        mapping = Node(Location(self.file, node.start_mark.line + 1))
        yield mapping
        for key_node, value_node in node.value:
            key = str(self.construct_object(key_node, deep=True))
            line = key_node.start_mark.line + 1
            if key in mapping:
                raise SpecError(Location(self.file, line), f"`{key}` stands here twice", "Remove one of the two")
            mapping[key] = self.construct_object(value_node, deep=True)
            mapping.lines[key] = line


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _Loader.construct_mapping_node)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path, root: Path) -> Node:
    """Read one file; locations are relative to the folder that holds `root`."""
    name = path.relative_to(root.parent)
    loader = _Loader(path.read_text(encoding="utf-8"))
    loader.file = name
    try:
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(Location(name, line), f"not valid YAML: {error.problem}", "Correct the syntax") from error
    finally:
        loader.dispose()
    if not isinstance(document, Node):
        raise SpecError(Location(name, 1), "the file holds no mapping", "Start it with `tag`, `paths` and `components`")
    return document
