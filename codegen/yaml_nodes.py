"""Reads the YAML files of the specification, remembering the line of every node."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import yaml

try:
    from yaml import CSafeLoader as _FastBaseLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _FastBaseLoader  # type: ignore[assignment]


@attrs.frozen
class Location:
    """A place in a specification file."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file.as_posix()}:{self.line}"


class SpecError(Exception):
    """The specification is wrong; the message says where, and what to do."""

    def __init__(self, location: Location, problem: str, remedy: str) -> None:
        super().__init__(f"{location}: {problem}. {remedy}.")
        self.location = location


class Node(dict[str, Any]):
    """A YAML mapping that remembers its location and that of each key."""

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location
        self.locations: dict[str, Location] = {}

    @classmethod
    def like(cls, other: "Node") -> "Node":
        """Return a shallow copy that may be changed."""
        node = cls(other.location)
        node.update(other)
        node.locations.update(other.locations)
        return node

    def put(self, key: str, value: Any, where: Location) -> None:
        """Set a key and remember its location."""
        self[key] = value
        self.locations[key] = where

    def where(self, key: str | None = None) -> Location:
        """Return the location of a key, or of the mapping itself."""
        return self.location if key is None else self.locations.get(key, self.location)

    def locate(self, path: Iterable[str | int]) -> Location:
        """Return the location of a path of keys and indices, or of its nearest parent with a known location."""
        where, value = self.where(), self
        for part in path:
            try:
                child = value[part]  # type: ignore[index]  # the path comes from this document
            except (KeyError, IndexError, TypeError):
                break
            if isinstance(value, Node):
                where = value.where(str(part))
            elif isinstance(child, Node):
                where = child.where()
            value = child
        return where


class _NodeConstructor(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Safe YAML with the scalars of JSON and with mappings as `Node`s; duplicate keys are refused.

    OpenAPI allows no other scalars (3.1.0, section 4.3), and those of YAML 1.1 surprise: `on` is true, `0644` is 420.
    """

    file: Path
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the base class has it

    def construct_mapping_node(self, node: yaml.MappingNode) -> Any:
        mapping = Node(Location(self.file, node.start_mark.line + 1))
        yield mapping
        for key_node, value_node in node.value:
            where = Location(self.file, key_node.start_mark.line + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(where, "a key is a list or a mapping", "Write a name")
            key = str(key_node.value)
            if key in mapping:
                raise SpecError(where, f"`{key}` is defined twice", "Remove one of them")
            try:
                mapping.put(key, self.construct_object(value_node, deep=True), where)
            except ValueError as error:
                raise SpecError(where, f"the value of `{key}` cannot be read: {error}", "Correct it") from error


_INTEGER = r"-?(0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", _INTEGER, [*"-0123456789"]),
    ("float", _INTEGER + r"(\.[0-9]+)?([eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    _NodeConstructor.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_NodeConstructor.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
    _NodeConstructor.construct_mapping_node,  # type: ignore[type-var]  # the stubs expect a whole loader
)


class _FastLoader(_NodeConstructor, _FastBaseLoader):
    """Parses in C."""


class _PreciseLoader(_NodeConstructor, yaml.SafeLoader):
    """Parses in Python, five times slower, with better error messages."""


def read(path: Path, root: Path | None = None) -> Node:
    """Read a file. Locations show its path relative to the parent of `root`, by default the folder of the file."""
    name = path.relative_to((root or path.parent).parent)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        where = Location(name, error.object.count(b"\n", 0, error.start) + 1)
        raise SpecError(where, f"the file is not UTF-8: {error.reason}", "Save it as UTF-8") from error
    except OSError as error:
        raise SpecError(Location(name, 1), f"the file cannot be read: {error.strerror}", "Replace it") from error
    try:
        document = _parse(text, name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = f"{error.context}, {error.problem}" if error.context else str(error.problem)
        raise SpecError(Location(name, line), f"not valid YAML: {problem}", "Correct the syntax") from error
    except yaml.reader.ReaderError as error:
        where = Location(name, text.count("\n", 0, error.position) + 1)
        problem = f"the character U+{error.character:04X} is not allowed in YAML"
        raise SpecError(where, problem, "Remove it, or escape it in double quotes") from error
    if not isinstance(document, Node):
        raise SpecError(Location(name, 1), "the file is not a mapping", "See spec/README.md for what it holds")
    return document


def _parse(text: str, file: Path) -> Any:
    try:
        return _construct(_FastLoader(text), file)
    except yaml.YAMLError:
        return _construct(_PreciseLoader(text), file)


def _construct(loader: _FastLoader | _PreciseLoader, file: Path) -> Any:
    loader.file = file
    return loader.get_single_data()
