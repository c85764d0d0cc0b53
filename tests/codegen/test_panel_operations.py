"""Everything that a panel lists about itself is reachable by name."""

import inspect
import json
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from panelica_async import PanelicaClient
from panelica_async.core.operation import Repeat
from panelica_async.resources.panel_registry import PANEL_MODULES
from panelica_async.resources.registry import MODULES, get_operation
from tests.codegen.shipped import PACKAGE

CATALOGUE = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "panel-catalogue.jsonl").read_text("utf-8").splitlines()
]
ENDPOINTS = json.loads((PACKAGE / "panel_endpoints.json").read_text("utf-8"))
ONLY_PANEL = [get_operation(name) for name in PANEL_MODULES]


def _endpoint(method: str, path: str) -> str:
    """Return an endpoint without the names of its placeholders, which differ."""
    return f"{method} {re.sub(r'{[^}]*}', '{}', path)}"


SERVED = {
    _endpoint(wire.method, wire.path): operation.name
    for operation in map(get_operation, (*MODULES, *PANEL_MODULES))
    if (wire := operation.wires.get("panel")) is not None
}


def _is_websocket(row: dict[str, Any]) -> bool:
    return any(
        endpoint.get("websocket") and _endpoint(endpoint["method"], endpoint["path"]) == _endpoint(**row)
        for endpoint in ENDPOINTS
    )


def _rows() -> list[str]:
    """Return the endpoints of the catalogue that are no WebSockets."""
    rows = [{"method": row["method"], "path": row["path"]} for row in CATALOGUE]
    # The catalogue writes three actions of a container as one path.
    actions = [
        {**row, "path": row["path"].replace("{action}", action)}
        for row in rows
        if row["path"].endswith("/{action}")
        for action in ("start", "stop", "restart")
    ]
    plain = [row for row in rows if not row["path"].endswith("/{action}")]
    return [_endpoint(**row) for row in (*plain, *actions) if not _is_websocket(row)]


@pytest.mark.parametrize("endpoint", _rows())
def test_catalogued_endpoint_has_a_method(endpoint: str) -> None:
    assert callable(attrgetter(SERVED[endpoint])(PanelicaClient))


def test_catalogue_has_no_endpoint_twice() -> None:
    assert len(_rows()) == len(set(_rows())) > 400


@pytest.mark.parametrize("operation", ONLY_PANEL, ids=lambda operation: operation.name)
def test_only_path_parameters_are_positional(operation: Any) -> None:
    _, *parameters = inspect.signature(attrgetter(operation.name)(PanelicaClient)).parameters.values()
    positional = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert tuple(positional) == operation.wire.placeholders
    assert ("fields" in {parameter.name for parameter in parameters}) == (operation.wire.others is not None)


@pytest.mark.parametrize("operation", ONLY_PANEL, ids=lambda operation: operation.name)
def test_docstring_names_endpoint_and_scope(operation: Any) -> None:
    text = " ".join((inspect.getdoc(attrgetter(operation.name)(PanelicaClient)) or "").split())
    assert operation.wire.endpoint in text
    assert "On current panels only." in text
    assert all(f"`{scope}`" in text for scope in operation.wire.scopes)


def test_operation_of_panels_has_no_other_wire() -> None:
    assert all(operation.wires.keys() == {"panel"} for operation in ONLY_PANEL)


def test_get_is_a_read_and_nothing_else_is() -> None:
    assert {operation.wire.method for operation in ONLY_PANEL if operation.repeat is Repeat.READ} == {"GET"}
    assert all(operation.repeat is Repeat.READ for operation in ONLY_PANEL if operation.wire.method == "GET")


def test_toggles_are_never_repeated() -> None:
    toggles = [
        operation for operation in ONLY_PANEL if re.search(r"\.(toggle|run|rename|restart|deploy)$", operation.name)
    ]
    assert len(toggles) >= 8
    assert {operation.repeat for operation in toggles} == {Repeat.UNSAFE}
