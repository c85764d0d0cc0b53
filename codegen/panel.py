"""Reads the files of `spec/panel/` on current panels, and checks them against the rest of `spec/`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from codegen.checks import (
    check_file,
    check_names,
    check_paths,
    check_references,
    check_required,
    check_scope,
    nodes_of,
    resolve,
)
from codegen.spec import METHODS, Specification
from codegen.yaml_nodes import Location, Node, SpecError, read

_FOLDER, _EVIDENCE = "panel", "evidence.md"
STRENGTHS = ("x-strength", "x-scope-strength", "x-roles-strength")
"""Fields that say how sure something is, and from where; only `spec/` has them."""
_ANCHOR = re.compile(r'^### <a id="([^"]*)"></a>', re.MULTILINE)
_CITATION = re.compile(r"^known \(\w+: (.*)\)$")
_SOURCE = re.compile(r"\b[e]vidence: ([a-z0-9-]+(?:, [a-z0-9-]+)*)")


@attrs.frozen(kw_only=True)
class PanelOperation:
    """An operation of current panels."""

    method: str
    path: str
    category: str
    node: Node
    parameters: tuple[Node, ...]
    """Its own parameters, and those of its path."""
    module: str
    """Name of its file."""
    document: Node
    """The file it is in."""

    @property
    def name(self) -> str:
        """Attribute path on the client."""
        return str(self.node["operationId"])

    @property
    def place(self) -> Location:
        """Location of its name."""
        return self.node.where("operationId")

    def resolve(self, schema: Node) -> Node:
        """Return the target of a `$ref` of its file, or the schema itself."""
        found: Node = resolve(self.document, schema["$ref"]) if "$ref" in schema else schema
        return found


def load_panel(root: Path, specification: Specification) -> tuple[PanelOperation, ...]:
    """Read and check the operations of current panels; raises `SpecError` for the first problem.

    Args:
        root: The folder `spec`.
        specification: The published reference, which has the names of scopes.
    """
    root = root.resolve()
    documents = [_document(path, root) for path in sorted((root / _FOLDER).glob("*.y*ml"))]
    operations = tuple(operation for document in documents for operation in _operations(document))
    _check_unique(operations)
    check_names({operation.name: operation.place for operation in operations})
    _check_scopes(operations, {scope["name"] for scope in specification.catalog["scopes"]})
    _check_citations(documents, root / _EVIDENCE)
    return operations


def _document(path: Path, root: Path) -> Node:
    if path.suffix != ".yaml" or not path.stem.isidentifier():
        where = Location(path.relative_to(root.parent), 1)
        raise SpecError(where, "the name of the file is not a module name", "Name it like `api_keys.yaml`")
    document = read(path, root)
    check_file(document, "panel-file")
    check_references(document)
    check_paths(document)
    check_required(document)
    return document


def _operations(document: Node) -> Iterator[PanelOperation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                node = item[method]
                yield PanelOperation(
                    method=method.upper(),
                    path=path,
                    category=document["info"]["title"],
                    node=node,
                    parameters=(*item.get("parameters", ()), *node.get("parameters", ())),
                    module=document.location.file.stem,
                    document=document,
                )


def _check_unique(operations: Iterable[PanelOperation]) -> None:
    """Check that no name and no endpoint is defined twice."""
    names: dict[str, Location] = {}
    endpoints: dict[str, Location] = {}
    for operation in operations:
        endpoint = _endpoint(operation.method, operation.path)
        for key, known in ((operation.name, names), (endpoint, endpoints)):
            if key in known:
                raise SpecError(operation.place, f"`{key}` is already defined at {known[key]}", "Keep one of them")
            known[key] = operation.place


def _check_scopes(operations: Iterable[PanelOperation], known: set[str]) -> None:
    for operation in operations:
        for scope in operation.node["x-scope"]:
            check_scope(scope, known, operation.node.where("x-scope"))


def _check_citations(documents: Iterable[Node], file: Path) -> None:
    """Check that every `known` cites existing entries."""
    anchors = _anchors(file)
    for node in (node for document in documents for node in nodes_of(document)):
        for key in STRENGTHS:
            for names in _CITATION.findall(node.get(key, "")):
                _check_cited(names, anchors, node.where(key))


def check_evidence(entry: Node, key: str, root: Path) -> None:
    """Check that a text such as `evidence: dns-records; a remark` cites existing entries."""
    for names in _SOURCE.findall(entry[key]):
        _check_cited(names, _anchors(root / _EVIDENCE), entry.where(key))


def _anchors(file: Path) -> set[str]:
    return set(_ANCHOR.findall(file.read_text(encoding="utf-8"))) if file.is_file() else set()


def _check_cited(names: str, anchors: set[str], where: Location) -> None:
    for name in names.split(", "):
        if name not in anchors:
            raise SpecError(where, f"`{name}` is not an entry of {_EVIDENCE}", "Add the entry, or cite another one")


def _endpoint(method: str, path: str) -> str:
    """Return an endpoint without the names of its placeholders, which may differ."""
    return f"{method} {re.sub(r'{[^}]*}', '{}', path)}"
