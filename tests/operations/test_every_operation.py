"""Every operation, called with the examples of the specification: an endpoint that is added brings its tests along.

What is expected comes from the shipped OpenAPI document; the methods and operations under test are generated code.
"""

import inspect
import json
import re
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from panelica_async import (
    UNSET,
    ConflictError,
    MissingScopeError,
    NotFoundError,
    PanelicaClient,
    PermissionDeniedError,
    models,
)
from panelica_async.core.converter import to_wire
from panelica_async.core.model import Model
from panelica_async.errors import BadRequestError
from panelica_async.resources.registry import MODULES, get_operation
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import Endpoint, sample_value, shipped_document
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply

PREFIX = "/api/external"
DOCS = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8").splitlines()
DOCUMENT = shipped_document()
PLACEHOLDER = re.compile(r"\{(\w+)\}")
# The examples name objects that do not exist, and the sandbox has nothing to restart or to restore.
REFUSALS = (BadRequestError, ConflictError, NotFoundError, PermissionDeniedError)
each_operation = pytest.mark.parametrize("endpoint", DOCUMENT.endpoints, ids=lambda endpoint: endpoint.operation)


def query_of(endpoint: Endpoint) -> dict[str, Any]:
    """Return every query parameter with its example."""
    return {
        parameter["name"]: parameter.get("example", sample_value(DOCUMENT, parameter["schema"]))
        for parameter in endpoint.query_parameters
    }


def body_of(endpoint: Endpoint) -> dict[str, Any] | None:
    """Return the example of the body, or the smallest one."""
    if endpoint.body_schema is None:
        return None
    return endpoint.body_example or sample_value(DOCUMENT, endpoint.body_schema)


def reply_of(endpoint: Endpoint) -> Any:
    """Return the example of the reply, or the smallest one; a list has at least a row."""
    if endpoint.reply_schema is None or endpoint.reply_example is not None:
        return endpoint.reply_example
    sample = sample_value(DOCUMENT, endpoint.row_schema or endpoint.reply_schema)
    # An empty text would pass for a missing id.
    sample = {name: name if value == "" else value for name, value in sample.items()}
    if not endpoint.row_schema:
        return sample
    return [sample] if DOCUMENT.resolve(endpoint.reply_schema)["type"] == "array" else {"data": [sample]}


def arguments_of(endpoint: Endpoint, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by argument instead of by name on the wire; each must have an argument."""
    wire = get_operation(endpoint.operation).wire
    argument_of = {name: argument for argument, name in {**wire.query, **wire.body}.items()}
    return {argument_of[name]: value for name, value in sent.items()}


def call(panel: PanelicaClient, endpoint: Endpoint, *ids: str, **arguments: Any) -> Any:
    return attrgetter(endpoint.operation)(panel)(*ids, **arguments)


async def call_with_examples(panel: PanelicaClient, endpoint: Endpoint) -> Any:
    ids = [f"{name}-1" for name in PLACEHOLDER.findall(endpoint.path)]
    sent = {**query_of(endpoint), **(body_of(endpoint) or {})}
    return await call(panel, endpoint, *ids, **arguments_of(endpoint, sent))


def test_every_endpoint_is_an_operation() -> None:
    assert MODULES.keys() == {endpoint.operation for endpoint in DOCUMENT.endpoints}


@each_operation
async def test_request_is_as_specified(server: RawServer, connect: Connect, endpoint: Endpoint) -> None:
    server.script(reply(endpoint.success_status, json=reply_of(endpoint)))
    await call_with_examples(connect(), endpoint)
    request = server.requests[0]
    path, _, query = request.target.partition("?")
    assert (request.method, path) == (endpoint.method, PREFIX + PLACEHOLDER.sub(r"\1-1", endpoint.path))
    assert dict(parse_qsl(query)) == {name: str(value) for name, value in query_of(endpoint).items()}
    assert (json.loads(request.body) if request.body else None) == (body_of(endpoint) or None)
    assert ("X-Signature" in request.headers) == endpoint.signed


@each_operation
async def test_reply_is_returned_as_its_model(server: RawServer, connect: Connect, endpoint: Endpoint) -> None:
    example = reply_of(endpoint)
    server.script(reply(endpoint.success_status, json=example))
    result = await call_with_examples(connect(), endpoint)
    if endpoint.row_schema:
        rows = example if isinstance(example, list) else example["data"]
        assert [shown(row, as_sent) for row, as_sent in zip(result.items, rows, strict=True)] == [*map(filled, rows)]
    elif isinstance(result, Model):
        assert type(result) is getattr(models, (endpoint.reply_schema or {})["$ref"].rsplit("/", 1)[-1])
        assert shown(result, example) == filled(example)
    else:
        assert result == example


def shown(model: Model, example: Mapping[str, Any]) -> Any:
    """Return the fields of a model that an example shows."""
    wire = to_wire(model)
    return {name: value for name, value in wire.items() if name in example}


def filled(example: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null: a model sends no others."""
    return {name: value for name, value in example.items() if value is not None}


@each_operation
async def test_sandbox_serves_the_operation_to_its_scope(
    panel: PanelicaClient, box: Sandbox, endpoint: Endpoint
) -> None:
    narrow = box.add_key(scopes=["terminal:access"])
    async with PanelicaClient(
        box.base_url, api_key=narrow.api_key, api_secret=narrow.api_secret, tier="enterprise"
    ) as without_scope:
        lacking = None
        try:
            await call_with_examples(without_scope, endpoint)
        except MissingScopeError as error:
            lacking = error.required_scope
        except REFUSALS:
            pass
    assert lacking == next(iter(endpoint.scopes), None)
    before = len(box.requests)
    try:
        await call_with_examples(panel, endpoint)
    except REFUSALS:
        assert endpoint.path.count("{") or endpoint.body_example or endpoint.query_parameters
    assert endpoint.operation in {seen.operation for seen in [*box.requests][before:]}


@each_operation
def test_row_of_the_documentation(endpoint: Endpoint) -> None:
    [row] = [row for row in DOCS if row.startswith(f"| `{endpoint.operation}(")]
    scope = f"`{endpoint.scopes[0]}`" if endpoint.scopes else "\N{EN DASH}"
    assert f"| `{endpoint.method} {endpoint.path}` | {scope} |" in row


def collections() -> list[tuple[Endpoint, Endpoint]]:
    """Return each create with the list that shows what it made."""
    found = []
    for endpoint in DOCUMENT.endpoints:
        listing = DOCUMENT.endpoints_at(endpoint.path).get("GET")
        if endpoint.method == "POST" and listing is not None and listing.row_schema:
            found.append((endpoint, listing))
    return found


@pytest.mark.parametrize(("create", "listing"), collections(), ids=lambda endpoint: endpoint.operation)
async def test_object_is_created_listed_read_and_deleted(
    panel: PanelicaClient, create: Endpoint, listing: Endpoint
) -> None:
    owner = await panel.accounts.create(username="owner", email="owner@example.net", password="correct horse 9")
    domain = await panel.domains.create(domain="parent.example", user_id=owner.id)
    parents = {"user_id": owner.id, "domain_id": domain.id, "zone_id": domain.id, "domain_ids": [domain.id]}
    ids = [parents[name] for name in PLACEHOLDER.findall(create.path)]
    arguments = arguments_of(create, body_of(create) or {})
    there = {**parents, "name": "unheard_of", "plan_id": UNSET, "slug": UNSET, "home_directory": UNSET}
    made = await call(panel, create, *ids, **{name: there.get(name, value) for name, value in arguments.items()})

    async def listed() -> set[str]:
        return {row.id for row in await call(panel, listing, *ids).collect()}

    assert made.id in await listed()
    one = next((e for e in DOCUMENT.endpoints if re.fullmatch(re.escape(create.path) + r"/\{\w+\}", e.path)), None)
    methods = DOCUMENT.endpoints_at(one.path) if one else {}
    if "GET" in methods:
        assert (await call(panel, methods["GET"], *ids, made.id)).id == made.id
    if "DELETE" in methods:
        assert await call(panel, methods["DELETE"], *ids, made.id) is None
        assert made.id not in await listed()
        with pytest.raises(NotFoundError):
            await call(panel, methods["DELETE"], *ids, made.id)


@each_operation
def test_method_takes_no_argument_beyond_the_specification(panel: PanelicaClient, endpoint: Endpoint) -> None:
    operation = get_operation(endpoint.operation)
    guard = {operation.guard.argument} if operation.guard else set()
    properties = (endpoint.body_schema or {}).get("properties", {})
    known = {name for name, schema in properties.items() if schema.get("x-argument", True)}
    known |= {parameter["name"] for parameter in endpoint.query_parameters} | set(PLACEHOLDER.findall(endpoint.path))
    taken = inspect.signature(attrgetter(endpoint.operation)(PanelicaClient)).parameters.keys() - {"self"} - guard
    assert {name.rstrip("_") for name in taken} == {name.replace("-", "_") for name in known}
