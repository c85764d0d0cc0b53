"""Reads the bridge, which ties the operations of the published reference to those of current panels."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from codegen.checks import check_file
from codegen.methods import Argument, arguments_of
from codegen.panel import PanelOperation, check_evidence
from codegen.panel_wires import WireBuilder
from codegen.spec import Specification
from codegen.yaml_nodes import Location, Node, SpecError, read
from panelica_async.core.operation import Wire

_FILE = Path("dialects") / "panel.yaml"


@attrs.frozen(kw_only=True)
class Bridge:
    """What ties the operations of the published reference to those of current panels."""

    operations: Node
    """What is particular to an operation, by its name."""
    models: Node
    """How the fields of a model differ on panels, by its name."""
    panel: Mapping[str, PanelOperation]
    reference: Mapping[str, tuple[Argument, ...]]
    """The arguments of each operation of the reference."""
    specification: Specification

    def entry(self, node: Node) -> Node:
        """Return what the bridge says about an operation; errors about an empty entry name the operation itself."""
        found: Node = self.operations.get(node["operationId"], Node(node.where("operationId")))
        return found

    def wire(self, node: Node, reference: Wire, model: str | None, *, is_list: bool) -> Wire | None:
        """Return how an operation travels on current panels; None when they do not have it.

        Args:
            node: The operation in the reference.
            reference: How it travels there.
            model: Name of the model of its result, or of the rows of a list.
            is_list: Whether it is a list.

        Raises:
            SpecError: An argument would be lost, a required field has no source, or a name is not in spec/panel.
        """
        entry = self.entry(node)
        target = self.panel.get(entry.get("operation", node["operationId"]))
        if "absent" in entry or target is None:
            return None
        schema = self.specification.document["components"]["schemas"].get(model, {})
        return WireBuilder(
            name=node["operationId"],
            entry=entry,
            model=self.models.get(model or "", Node(entry.location)),
            row=schema.get("properties", {}).keys(),
            target=target,
            panel=self.panel,
            reference=self.reference,
            is_list=is_list,
        ).build(reference)


def load_bridge(root: Path, specification: Specification, panel: tuple[PanelOperation, ...]) -> Bridge:
    """Read the bridge and check its names; raises `SpecError` for the first problem.

    Args:
        root: The folder `spec`.
        specification: The published reference.
        panel: The operations of current panels.
    """
    root = root.resolve()
    if not (root / _FILE).is_file():
        where = Location(Path(root.name) / _FILE, 1)
        raise SpecError(where, "the file is missing", "See spec/README.md for what it holds")
    document = read(root / _FILE, root)
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
    for part in (bridge.operations, bridge.models):
        for entry in part.values():
            check_evidence(entry, "source", root)
    _check_operations(bridge)
    _check_models(bridge)
    return bridge


def _arguments(path: str, item: Node, node: Node, specification: Specification) -> tuple[Argument, ...]:
    parameters = [specification.resolve(entry) for entry in (*item.get("parameters", ()), *node.get("parameters", ()))]
    body = node["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in node else None
    return arguments_of(node, path, parameters, body, specification)


def _check_operations(bridge: Bridge) -> None:
    for name, entry in bridge.operations.items():
        _require(name, bridge.reference, bridge.operations.where(name), "the published reference has no operation")
        if "operation" in entry:
            _require(entry["operation"], bridge.panel, entry.where("operation"), "spec/panel has no operation")
        elif "absent" not in entry and name not in bridge.panel:
            problem = f"spec/panel has no operation `{name}`"
            raise SpecError(
                bridge.operations.where(name), problem, "Name another with `operation`, or say why with `absent`"
            )
        # Its name on the client would lead elsewhere.
        if name in bridge.panel and entry.get("operation", name) != name:
            problem = f"`{name}` of the client is not this operation, according to {entry.where('operation')}"
            raise SpecError(bridge.panel[name].place, problem, "Choose another operationId")
        _check_absence(bridge, name, entry)
        for where, other in _others(entry):
            _require(other, bridge.reference, where, "the published reference has no operation")
            if other not in bridge.panel or "absent" in bridge.operations.get(other, {}):
                raise SpecError(where, f"panels do not serve `{other}`", "Name another operation")
        for where, reader in _readers(entry):
            if bridge.panel[reader].method != "GET":
                raise SpecError(where, f"`{reader}` does not read", "Name an operation that gets or lists objects")


def _check_absence(bridge: Bridge, name: str, entry: Node) -> None:
    if name in bridge.panel and "absent" in entry:
        problem = f"`{name}` is absent from panels, according to {entry.where('absent')}"
        raise SpecError(bridge.panel[name].place, problem, "Choose another operationId, or remove that `absent`")
    if "instead" in entry:
        _require(entry["instead"], bridge.panel, entry.where("instead"), "spec/panel has no operation")
        if "absent" not in entry:
            problem = f"`{name}` is not absent from panels"
            raise SpecError(entry.where("instead"), problem, "Say why it is with `absent`, or remove `instead`")


def _others(entry: Node) -> Iterator[tuple[Location, str]]:
    """Yield the other operations that an entry names."""
    yield from _readers(entry)
    if "read_back" in entry:
        yield entry["read_back"].where("update"), entry["read_back"]["update"]


def _readers(entry: Node) -> Iterator[tuple[Location, str]]:
    """Yield the operations that an entry names to look at something."""
    for name, lookup in entry.get("fence", {}).items():
        yield entry["fence"].where(name), lookup
    if "read_back" in entry:
        yield entry["read_back"].where("lookup"), entry["read_back"]["lookup"]
    if "gone" in entry:
        yield entry.where("gone"), entry["gone"]


def _check_models(bridge: Bridge) -> None:
    schemas = bridge.specification.document["components"]["schemas"]
    for name, entry in bridge.models.items():
        _require(name, schemas, bridge.models.where(name), "no resource defines a schema")
        fields = schemas[name].get("properties", {})
        for part in ("rename", "values"):
            for field in entry.get(part, ()):
                _require(field, fields, entry[part].where(field), f"`{name}` has no field")
        for field, values in entry.get("values", {}).items():
            if len(set(values.values())) < len(values):
                problem = f"two values of `{field}` have one name on panels, so that a reply can mean either"
                raise SpecError(values.location, problem, "Keep one of them")


def _require(name: str, known: Mapping[str, Any], where: Location, problem: str) -> None:
    if name not in known:
        raise SpecError(where, f"{problem} `{name}`", "Correct the name")
