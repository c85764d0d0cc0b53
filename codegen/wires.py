"""Derives how an operation travels in each dialect."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from codegen.problems import SpecError
from codegen.source import Node

if TYPE_CHECKING:
    from codegen.operations import Argument


@attrs.frozen(kw_only=True)
class Wire:
    """Method, path, and where each argument goes under which name; mirrors `panelica_async.core.operation.Wire`."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, str]
    wrapped: tuple[str, ...] = ()
    items: str | None = None


def reference_wire(method: str, path: str, arguments: Sequence["Argument"], items: str | None) -> Wire:
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


def panel_wire(reference: Wire, operation: Node, arguments: Sequence["Argument"]) -> Wire | None:
    """Return the wire form of current panels, or None when they do not have the operation."""
    panel: Node | None = operation.get("x-panel")
    if panel is None:
        return reference
    if panel.get("absent"):
        return None
    known = {argument.name for argument in arguments}
    named = [
        *panel.get("rename", ()),
        *panel.get("query", ()),
        *panel.get("body", ()),
        *panel.get("omit", ()),
    ]
    path: str = panel.get("path", reference.path)
    in_path = re.findall(r"\{(\w+)\}", path)
    for name in [*named, *panel.get("wrap", ()), *in_path]:
        if name not in known:
            raise SpecError(
                panel.where(),
                f"`x-panel` names the argument `{name}`",
                f"There are {', '.join(sorted(known))}",
            )
    rename = panel.get("rename", {})
    places = dict.fromkeys(reference.query, "query") | dict.fromkeys(reference.body, "body")
    places |= dict.fromkeys(panel.get("query", ()), "query") | dict.fromkeys(panel.get("body", ()), "body")
    for name in [*panel.get("omit", ()), *in_path]:
        places.pop(name, None)
    names = {**reference.query, **reference.body, **rename}
    return Wire(
        method=panel.get("method", reference.method),
        path=path,
        query={name: names.get(name, name) for name, place in places.items() if place == "query"},
        body={name: names.get(name, name) for name, place in places.items() if place == "body"},
        wrapped=tuple(panel.get("wrap", ())),
        items=panel.get("items", reference.items),
    )
