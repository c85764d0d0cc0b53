"""Reads `spec/panel/` and the bridge to the reference; no endpoint and no name may be defined twice."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from codegen.checks import (
    check_file,
    check_names,
    check_paths,
    check_references,
    check_required,
    check_schema_names,
    check_scope,
    nodes_of,
    resolve,
)
from codegen.methods import Argument, arguments_of
from codegen.spec import METHODS, Specification, spec_files
from codegen.yaml_nodes import Location, Node, SpecError, read

_FOLDER, _BRIDGE, _EVIDENCE = "panel", Path("dialects") / "panel.yaml", "evidence.md"
STRENGTHS = ("x-strength", "x-scope-strength", "x-roles-strength")
"""Fields that say how certain something is, and its source; generated files do not have them."""
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
    def endpoint(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def location(self) -> Location:
        """Location of its name."""
        return self.node.where("operationId")

    def resolve(self, schema: Node) -> Node:
        """Return the target of a `$ref` in its file, or the schema itself."""
        target: Node = resolve(self.document, schema["$ref"]) if "$ref" in schema else schema
        return target

    @property
    def body(self) -> Node:
        """Schema of its body, which may be a reference; an empty one if nothing is known."""
        if "requestBody" not in self.node:
            return Node(self.location)
        [content] = self.node["requestBody"]["content"].values()
        schema: Node = content["schema"]
        return schema

    @property
    def reply(self) -> Node | None:
        """Schema of its reply; None if nothing is known."""
        for response in self.node["responses"].values():
            for content in response.get("content", {}).values():
                return self.resolve(content["schema"])
        return None

    @property
    def row(self) -> Mapping[str, Node]:
        """Fields of the rows of a list; empty if nothing is known."""
        if (reply := self.reply) is None:
            return {}
        candidates = [reply, *reply.get("properties", {}).values()]
        items = next((self.resolve(schema["items"]) for schema in candidates if schema.get("type") == "array"), None)
        return {} if items is None else items.get("properties", {})


def load_panel(root: Path, specification: Specification) -> tuple[PanelOperation, ...]:
    """Read and check the operations of current panels; raises `SpecError` for the first problem.

    Args:
        root: The folder `spec`.
        specification: The published reference, which has the names of scopes.
    """
    root = root.resolve()
    documents = [_read_file(path, root) for path in spec_files(root / _FOLDER, root)]
    operations = tuple(operation for document in documents for operation in _operations(document))
    _check_unique(operations)
    check_names({operation.name: operation.location for operation in operations})
    _check_scopes(operations, {scope["name"] for scope in specification.catalog["scopes"]})
    anchors = _anchors(root)
    for node in (node for document in documents for node in nodes_of(document)):
        for key in STRENGTHS:
            for names in _CITATION.findall(node.get(key, "")):
                _check_evidence(names, anchors, node.where(key))
    return operations


def _read_file(path: Path, root: Path) -> Node:
    document = read(path, root)
    check_file(document, "panel-file")
    check_references(document)
    check_paths(document)
    check_required(document)
    if "components" in document:
        check_schema_names(document["components"]["schemas"])
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
        # Endpoints that differ only in the names of their placeholders are the same.
        endpoint = re.sub(r"{[^}]*}", "{}", operation.endpoint)
        for key, known in ((operation.name, names), (endpoint, endpoints)):
            if key in known:
                raise SpecError(operation.location, f"`{key}` is already defined at {known[key]}", "Keep one of them")
            known[key] = operation.location


def _check_scopes(operations: Iterable[PanelOperation], known: set[str]) -> None:
    for operation in operations:
        for scope in operation.node["x-scope"]:
            check_scope(scope, known, operation.node.where("x-scope"))


def _anchors(root: Path) -> set[str]:
    """Return the names of the entries of the evidence."""
    file = root / _EVIDENCE
    return set(_ANCHOR.findall(file.read_text(encoding="utf-8"))) if file.is_file() else set()


def _check_evidence(names: str, anchors: set[str], where: Location) -> None:
    for name in names.split(", "):
        if name not in anchors:
            raise SpecError(where, f"`{name}` is not an entry of {_EVIDENCE}", "Add the entry, or cite another one")


@attrs.frozen(kw_only=True)
class Bridge:
    """Maps the operations of the published reference to those of current panels."""

    operations: Node
    """What is particular to an operation, by its name."""
    models: Node
    """How the fields of a model differ on panels, by its name."""
    panel: Mapping[str, PanelOperation]
    reference: Mapping[str, tuple[Argument, ...]]
    """The arguments of each operation of the reference."""
    specification: Specification

    def entry(self, node: Node) -> Node:
        """Return what the bridge says about an operation; if it says nothing, an empty entry at the operation."""
        entry: Node = self.operations.get(node["operationId"], Node(node.where("operationId")))
        return entry


def load_bridge(root: Path, specification: Specification, panel: tuple[PanelOperation, ...]) -> Bridge:
    """Read the bridge and check its names; raises `SpecError` for the first problem.

    Args:
        root: The folder `spec`.
        specification: The published reference.
        panel: The operations of current panels.
    """
    root = root.resolve()
    if not (root / _BRIDGE).is_file():
        where = Location(Path(root.name) / _BRIDGE, 1)
        raise SpecError(where, "the file is missing", "See spec/README.md for what it holds")
    document = read(root / _BRIDGE, root)
    check_file(document, "dialect")
    bridge = Bridge(
        operations=document["operations"],
        models=document["models"],
        panel={operation.name: operation for operation in panel},
        reference={
            node["operationId"]: _arguments(path, item, node, specification)
            for resource in specification.resources
            for path, _, item, node in resource.operations()
        },
        specification=specification,
    )
    anchors = _anchors(root)
    for part in (bridge.operations, bridge.models):
        for entry in part.values():
            for names in _SOURCE.findall(entry["source"]):
                _check_evidence(names, anchors, entry.where("source"))
    _check_operations(bridge)
    _check_models(bridge)
    return bridge


def _arguments(path: str, item: Node, node: Node, specification: Specification) -> tuple[Argument, ...]:
    parameters = [specification.resolve(entry) for entry in (*item.get("parameters", ()), *node.get("parameters", ()))]
    body = node["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in node else None
    return arguments_of(node, path, parameters, body, specification)


def _check_operations(bridge: Bridge) -> None:
    for name, entry in bridge.operations.items():
        _require_known(
            name, bridge.reference, bridge.operations.where(name), "the published reference has no operation"
        )
        if "operation" in entry:
            _require_known(entry["operation"], bridge.panel, entry.where("operation"), "spec/panel has no operation")
        elif "absent" not in entry and name not in bridge.panel:
            problem = f"spec/panel has no operation `{name}`"
            raise SpecError(
                bridge.operations.where(name), problem, "Name another with `operation`, or say why with `absent`"
            )
        # On the client, the name would call the other operation.
        if name in bridge.panel and entry.get("operation", name) != name:
            problem = f"`{name}` of the client is not this operation, according to {entry.where('operation')}"
            raise SpecError(bridge.panel[name].location, problem, "Choose another operationId")
        _check_absence(bridge, name, entry)
        for where, other in _named_operations(entry):
            _require_known(other, bridge.reference, where, "the published reference has no operation")
            if other not in bridge.panel or "absent" in bridge.operations.get(other, {}):
                raise SpecError(where, f"panels do not serve `{other}`", "Name another operation")
        for where, reader in _readers(entry):
            if bridge.panel[reader].method != "GET":
                raise SpecError(where, f"`{reader}` does not read", "Name an operation that gets or lists objects")


def _check_absence(bridge: Bridge, name: str, entry: Node) -> None:
    if name in bridge.panel and "absent" in entry:
        problem = f"`{name}` is absent from panels, according to {entry.where('absent')}"
        raise SpecError(bridge.panel[name].location, problem, "Choose another operationId, or remove that `absent`")
    if "instead" in entry:
        _require_known(entry["instead"], bridge.panel, entry.where("instead"), "spec/panel has no operation")
        if "absent" not in entry:
            problem = f"`{name}` is not absent from panels"
            raise SpecError(entry.where("instead"), problem, "Say why it is with `absent`, or remove `instead`")


def _named_operations(entry: Node) -> Iterator[tuple[Location, str]]:
    """Yield the other operations that an entry names."""
    yield from _readers(entry)
    if "read_back" in entry:
        yield entry["read_back"].where("update"), entry["read_back"]["update"]


def _readers(entry: Node) -> Iterator[tuple[Location, str]]:
    """Yield the operations that an entry names to read something."""
    for name, lookup in entry.get("fence", {}).items():
        yield entry["fence"].where(name), lookup
    if "read_back" in entry:
        yield entry["read_back"].where("lookup"), entry["read_back"]["lookup"]
    if "gone" in entry:
        yield entry.where("gone"), entry["gone"]


def _check_models(bridge: Bridge) -> None:
    schemas = bridge.specification.document["components"]["schemas"]
    for name, entry in bridge.models.items():
        _require_known(name, schemas, bridge.models.where(name), "no resource defines a schema")
        fields = schemas[name].get("properties", {})
        for part in ("rename", "values"):
            for field in entry.get(part, ()):
                _require_known(field, fields, entry[part].where(field), f"`{name}` has no field")
        for field, values in entry.get("values", {}).items():
            if len(set(values.values())) < len(values):
                problem = f"two values of `{field}` have one name on panels, so that a reply can mean either"
                raise SpecError(values.location, problem, "Keep one of them")


def _require_known(name: str, known: Mapping[str, Any], where: Location, problem: str) -> None:
    if name not in known:
        raise SpecError(where, f"{problem} `{name}`", "Correct the name")
