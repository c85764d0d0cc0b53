"""Derives how an operation travels in each dialect."""

import re
from collections.abc import Mapping, Sequence

import attrs

from codegen.arguments import Argument, require_argument
from codegen.problems import SpecError
from codegen.yaml_nodes import Node


@attrs.frozen(kw_only=True)
class Wire:
    """Method, path, and where each argument goes under which name; mirrors `panelica_async.core.operation.Wire`."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, str]
    wrapped: tuple[str, ...] = ()
    items: str | None = None


def reference_wire(method: str, path: str, arguments: Sequence[Argument], items: str | None) -> Wire:
    """Return the wire form of the published reference."""
    for argument in arguments:
        if argument.place == "path":
            path = path.replace(f"{{{argument.wire_name}}}", f"{{{argument.name}}}")
    return Wire(
        method=method,
        path=path,
        query={argument.name: argument.wire_name for argument in arguments if argument.place == "query"},
        body={argument.name: argument.wire_name for argument in arguments if argument.place == "body"},
        # The page envelope calls its rows `data`, which every decoder opens anyway.
        items=None if items == "data" else items,
    )


def panel_wire(reference: Wire, operation: Node, arguments: Sequence[Argument]) -> Wire | None:
    """Return the wire form of current panels, or None when they do not have the operation."""
    if "x-panel" not in operation:
        return reference
    panel: Node = operation["x-panel"]
    if panel.get("absent"):
        return None
    path: str = panel.get("path", reference.path)
    in_path = re.findall(r"\{([^}]*)\}", path)
    for field in ("rename", "query", "body", "omit", "wrap"):
        for name in panel.get(field, ()):
            require_argument(name, arguments, panel.where(field), operation)
    for name in in_path:
        require_argument(name, arguments, panel.where("path"), operation)
    places = dict.fromkeys(reference.query, "query") | dict.fromkeys(reference.body, "body")
    places |= dict.fromkeys(panel.get("query", ()), "query") | dict.fromkeys(panel.get("body", ()), "body")
    places |= dict.fromkeys(panel.get("omit", ()), "nowhere") | dict.fromkeys(in_path, "path")
    for argument in arguments:
        if argument.name not in places:
            problem = f"`x-panel` does not say where `{argument.name}` goes"
            raise SpecError(operation.where("x-panel"), problem, "Put it into `path`, `query`, `body` or `omit`")
    names = {**reference.query, **reference.body, **panel.get("rename", {})}
    return Wire(
        method=panel.get("method", reference.method),
        path=path,
        query={name: names.get(name, name) for name, place in places.items() if place == "query"},
        body={name: names.get(name, name) for name, place in places.items() if place == "body"},
        wrapped=tuple(panel.get("wrap", ())),
        items=panel.get("items", reference.items),
    )
