"""The generated parts of the package: the merged document and the operations."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from panelica_async.resources.panel_registry import PANEL_MODULES
from panelica_async.resources.registry import MODULES, get_operation

PACKAGE = Path(__file__).parents[2] / "panelica_async"
DOCUMENT = json.loads((PACKAGE / "openapi.json").read_text(encoding="utf-8"))
PANEL = json.loads((PACKAGE / "panel_openapi.json").read_text(encoding="utf-8"))
RESOURCES = sorted({*MODULES.values(), *PANEL_MODULES.values()})


def resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of a reference in the document, or the node itself."""
    if "$ref" not in node:
        return node
    found = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def endpoints() -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Mapping[str, Any]]]]:
    """Yield method, path, operation and its parameters by name."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                nodes = [*item.get("parameters", ()), *operation.get("parameters", ())]
                parameters = [resolve(node) for node in nodes]
                yield method.upper(), path, operation, {parameter["name"]: parameter for parameter in parameters}


OPERATIONS = {name: get_operation(name) for name in MODULES}
