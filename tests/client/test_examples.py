"""Every operation called with its examples, as a reader of its page would do; operations beyond the reference too."""

import inspect
import re
from typing import Any

import pytest

from panelica_async import UNSET, ConflictError, NotFoundError, PanelicaClient, PermissionDeniedError
from panelica_async.api.pagination import Paginator
from panelica_async.errors import BadRequestError
from panelica_async.sandbox.spec import Endpoint, shipped_document

DOCUMENT = shipped_document()
# The examples name objects that are not there, and the sandbox has nothing to restart or to bring back.
REFUSALS = (BadRequestError, ConflictError, NotFoundError, PermissionDeniedError)
NAMED_IN_PATH = re.compile(r"\{(\w+)\}")


def _method(panel: PanelicaClient, operation: str) -> Any:
    found: Any = panel
    for name in operation.split("."):
        found = getattr(found, name)
    return found


def _arguments(endpoint: Endpoint, method: Any) -> dict[str, Any]:
    body = endpoint.body_example or {}
    query = {parameter["name"]: parameter.get("example") for parameter in endpoint.query if parameter.get("required")}
    taken = inspect.signature(method).parameters
    return {name: value for name, value in {**query, **body}.items() if name in taken and value is not None}


@pytest.mark.parametrize("endpoint", DOCUMENT.endpoints, ids=lambda endpoint: endpoint.operation)
async def test_operation_takes_its_example(panel: PanelicaClient, endpoint: Endpoint) -> None:
    method = _method(panel, endpoint.operation)
    ids = ["example" for _ in NAMED_IN_PATH.findall(endpoint.path)]
    call = method(*ids, **_arguments(endpoint, method))
    try:
        await (call.collect() if isinstance(call, Paginator) else call)
    except REFUSALS:
        assert endpoint.path.count("{") or endpoint.body_example or endpoint.query


def _collections() -> list[tuple[Endpoint, Endpoint]]:
    """Return creates and the lists that show what they made, where no parent is needed."""
    found = []
    for endpoint in DOCUMENT.endpoints:
        listing = DOCUMENT.methods_at(endpoint.path).get("GET")
        if endpoint.method == "POST" and listing is not None and listing.item and "{" not in endpoint.path:
            found.append((endpoint, listing))
    return found


@pytest.mark.parametrize(("create", "listing"), _collections(), ids=lambda endpoint: endpoint.operation)
async def test_what_is_created_is_listed(panel: PanelicaClient, create: Endpoint, listing: Endpoint) -> None:
    owner = await panel.accounts.create(username="owner", email="owner@example.net", password="correct horse 9")
    domain = await panel.domains.create(domain="parent.example", user_id=owner.id)
    there = {"user_id": owner.id, "domain_id": domain.id, "domain_ids": [domain.id], "name": "unheard_of"}
    there |= {"plan_id": UNSET, "slug": UNSET, "home_directory": UNSET}
    method = _method(panel, create.operation)
    arguments = _arguments(create, method)
    made = await method(**{name: there.get(name, value) for name, value in arguments.items()})
    rows = await _method(panel, listing.operation)().collect()
    assert made.id in {row.id for row in rows}
