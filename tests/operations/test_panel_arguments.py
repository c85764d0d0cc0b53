"""Every argument of every operation on current panels: it arrives, the client applies it, or it is refused.

The operations and arguments come from the shipped OpenAPI document of the published reference; what is expected of each
from the wire form, and what happens is seen on a panel that only remembers what it was sent.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

import attrs
import pytest
from aiohttp import web

from panelica_async import NotFoundError, PanelicaClient, UnsupportedOperationError
from panelica_async.core.operation import Operation, Wire
from panelica_async.resources.registry import get_operation
from panelica_async.sandbox.spec import Endpoint, sample_value, shipped_document

DOCUMENT = shipped_document()
PAGING = ("page", "limit", "sort", "order")
PREFIX = "/api/external"
HOME = "/home/acme/acme.example/public_html"
CONVERTED = {"below_home": "/acme.example/public_html"}
"""What HOME is on the wire, by the name of the conversion."""


@attrs.frozen
class Case:
    """An argument of an operation that current panels have."""

    endpoint: Endpoint
    name: str
    schema: Mapping[str, Any]
    example: Any

    @property
    def operation(self) -> Operation:
        return get_operation(self.endpoint.operation)

    @property
    def wire(self) -> Wire:
        return self.operation.wires["panel"]

    @property
    def sample(self) -> Any:
        """A value of the argument."""
        if self.name in self.wire.placeholders or self.name in self.operation.wire.placeholders:
            return f"{self.name}-1"
        if self.name in self.wire.converted or self.name == "path":
            return HOME
        if self.name in self.wire.values:
            return next(iter(self.wire.values[self.name]))
        if self.example is not None:
            return self.example
        return sample_value(DOCUMENT, self.schema) or f"{self.name}-1"


def cases_of(endpoint: Endpoint) -> Iterator[Case]:
    wire = get_operation(endpoint.operation).wire
    for name in wire.placeholders:
        yield Case(endpoint, name, {"type": "string"}, None)
    argument_of = {wired: name for name, wired in {**wire.query, **wire.body}.items()}
    for parameter in endpoint.query_parameters:
        yield Case(endpoint, argument_of[parameter["name"]], parameter["schema"], parameter.get("example"))
    for wired, schema in (endpoint.body_schema or {}).get("properties", {}).items():
        if wired in argument_of:
            yield Case(endpoint, argument_of[wired], schema, (endpoint.body_example or {}).get(wired))


SERVED = [endpoint for endpoint in DOCUMENT.endpoints if "panel" in get_operation(endpoint.operation).wires]
CASES = {f"{case.endpoint.operation}({case.name})": case for endpoint in SERVED for case in cases_of(endpoint)}


def chosen(condition: str) -> pytest.MarkDecorator:
    """Parametrize with the cases whose argument is named in an attribute of the wire form."""
    found = {name: case for name, case in CASES.items() if case.name in set(places(case)[condition])}
    return pytest.mark.parametrize("case", found.values(), ids=found)


def places(case: Case) -> dict[str, set[str]]:
    """Return the arguments of a wire form by what is expected of them."""
    wire = case.wire
    arriving = {*wire.placeholders, *wire.query, *wire.body}
    fenced = set[str]()
    if wire.fence is not None:
        lookup = get_operation(wire.fence.lookup).wire
        fenced = {wire.fence.argument, *lookup.placeholders, *lookup.query} - arriving
    return {
        "arriving": arriving,
        "refused": set(wire.refused),
        "filtering": set(wire.filters),
        "paging": set(PAGING) if wire.is_whole else set(),
        "fenced": fenced,
    }


@attrs.define
class Panel:
    """Answers every request with success, and records it."""

    requests: list[tuple[str, str, dict[str, str], Any]] = attrs.field(factory=list)
    """Method, path, query and body of each request."""
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    """The rows of every list."""
    made: dict[str, Any] = attrs.field(factory=dict)
    """The fields sent last; every list shows them too."""

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else None
        path = request.path.removeprefix(PREFIX)
        self.requests.append((request.method, path, dict(request.query), body))
        if request.method == "GET":
            return web.json_response({"status": "success", "data": self._shown(path)})
        if isinstance(body, dict):
            self.made |= body
        return web.json_response({"status": "success", "data": {"id": "new-1"}})

    def _shown(self, path: str) -> Any:
        rows = [*self.rows, {**self.made, "id": "new-1"}] if self.made else self.rows
        is_list = any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", lists.path), path) for lists in LISTS)
        if path == "/v1/files":
            return {"path": HOME, "files": rows}
        return rows if is_list else {**ANYTHING, "id": "id-1"}

    @property
    def writes(self) -> list[tuple[str, str, dict[str, str], Any]]:
        return [request for request in self.requests if request[0] != "GET"]


LISTS = [get_operation(endpoint.operation).wires["panel"] for endpoint in SERVED if endpoint.row_schema]
ANYTHING: dict[str, Any] = {}
"""A row with the required fields of every list."""
for endpoint in SERVED:
    if endpoint.row_schema:
        ANYTHING |= sample_value(DOCUMENT, endpoint.row_schema)
ANYTHING |= {"username": "acme", "user_id": "u1", "domain_id": "d1", "domain": "acme.example", "name": "acme"}
ANYTHING |= {"email": "owner@example.com", "key_prefix": "pk", "scopes": [], "status": "active"}


@asynccontextmanager
async def connected(panel: Panel) -> AsyncIterator[PanelicaClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", panel.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with PanelicaClient(
            f"http://{host}:{port}", api_key="pk_test_1", api_secret="sk_test_1", tier="enterprise", dialect="panel"
        ) as client:
            yield client
    finally:
        await runner.cleanup()


async def call(client: PanelicaClient, case: Case, **arguments: Any) -> Any:
    """Call the operation with an argument and with those that it needs besides."""
    operation, wire = case.operation, case.wire
    needed: dict[str, Any] = {}
    required = (case.endpoint.body_schema or {}).get("required", ())
    for other in cases_of(case.endpoint):
        wired = {**operation.wire.query, **operation.wire.body}.get(other.name)
        is_needed = other.name in operation.wire.placeholders or wired in required
        is_needed |= any(node["name"] == wired and node.get("required") for node in case.endpoint.query_parameters)
        if is_needed or other.name in {*wire.required, *wire.derived}:
            needed[other.name] = other.sample
    if operation.guard and operation.guard.replaces not in arguments:
        needed[operation.guard.argument] = True
    sent = {**needed, **arguments}
    if wire.method == "PATCH" and not sent.keys() & wire.body.keys():
        other = next(other for other in cases_of(case.endpoint) if other.name in wire.body)
        sent[other.name] = other.sample
    ids = [sent.pop(name) for name in operation.wire.placeholders]
    return await attrgetter(case.endpoint.operation)(client)(*ids, **sent)


def fenced_rows(case: Case) -> list[dict[str, Any]]:
    """Return rows in which the object of the call is."""
    fence = case.wire.fence
    return [] if fence is None else [{**ANYTHING, "id": f"{fence.argument}-1"}]


def test_every_argument_is_in_one_of_these_tests() -> None:
    """No argument is left out, and none is expected to go two ways."""
    for name, case in CASES.items():
        assert sum(case.name in arguments for arguments in places(case).values()) == 1, name
    assert len(CASES) > 150


@chosen("arriving")
async def test_argument_arrives(case: Case) -> None:
    panel = Panel(rows=fenced_rows(case))
    async with connected(panel) as client:
        await call(client, case, **{case.name: case.sample})
    pattern = re.sub(r"\{(\w+)\}", lambda match: f"(?P<{match[1]}>[^/]+)", case.wire.path)
    [sent] = [
        request for request in panel.requests if request[0] == case.wire.method and re.fullmatch(pattern, request[1])
    ][:1]
    _, path, query, body = sent
    expected = case.sample
    if case.name in case.wire.values:
        expected = case.wire.values[case.name][expected]
    if case.name in case.wire.converted:
        expected = CONVERTED[case.wire.converted[case.name]]
    if case.name in case.wire.wrapped:
        expected = [expected]
    if case.name in case.wire.body:
        assert body[case.wire.body[case.name]] == expected
    elif case.name in case.wire.query:
        assert query[case.wire.query[case.name]] == str(expected)
    else:
        match = re.fullmatch(pattern, path)
        assert match is not None
        assert match[case.name] == expected


@chosen("refused")
async def test_argument_is_refused_before_anything_is_sent(case: Case) -> None:
    refusal, panel = case.wire.refused[case.name], Panel(rows=fenced_rows(case))
    values = [*case.schema.get("enum", ()), True, False, 7, "something else", ["a", "b"]]
    wrong = [value for value in values if value not in refusal.unless and fits(value, case)]
    assert wrong
    async with connected(panel) as client:
        for value in wrong:
            with pytest.raises(UnsupportedOperationError) as caught:
                await call(client, case, **{case.name: value})
            assert case.name in str(caught.value)
            assert refusal.reason in str(caught.value)
        assert panel.requests == []
        for value in refusal.unless:
            await call(client, case, **{case.name: value})
    for *_, query, body in panel.writes:
        assert case.name not in {*query, *(body or ())}
    assert bool(panel.requests) == bool(refusal.unless)


def fits(value: object, case: Case) -> bool:
    """Return whether a value is of the type of an argument."""
    if "enum" in case.schema:
        return value in case.schema["enum"]
    kinds: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "array": list}
    return type(value) is kinds[case.schema["type"]]


@chosen("filtering")
async def test_client_filters_the_list(case: Case) -> None:
    field = case.wire.filters[case.name]
    rows = [{**ANYTHING, "id": f"r{number}", field: value} for number, value in enumerate(("wanted", "other", None))]
    panel = Panel(rows=rows)
    async with connected(panel) as client:
        found = await (await listed(client, case, **{case.name: "wanted"})).collect()
    assert [getattr(row, field) for row in found] == ["wanted"]
    assert [request[2] for request in panel.requests] == [{}]


async def listed(client: PanelicaClient, case: Case, **arguments: Any) -> Any:
    """Return the list of a call, not yet read."""
    wire = case.operation.wire
    ids = [f"{name}-1" for name in wire.placeholders]
    return attrgetter(case.endpoint.operation)(client)(*ids, **arguments)


@chosen("paging")
async def test_client_pages_and_sorts_the_list(case: Case) -> None:
    panel = Panel(rows=[{**ANYTHING, "id": name} for name in ("r2", "r3", "r1")])
    # Panels have no fixed order, so pages go by the id.
    arguments: dict[str, Any] = {"page": 2, "limit": 2}
    expected = ["r3"]
    if case.name in {"sort", "order"}:
        direction = {"sort": "asc", "order": "desc"}[case.name]
        arguments = {"sort": "id", "order": direction}
        expected = ["r1", "r2", "r3"] if direction == "asc" else ["r3", "r2", "r1"]
    if case.endpoint.operation == "backups.list":
        # A backup is known by its file name there.
        panel.rows = [{**row, "filename": row["id"]} for row in panel.rows]
    async with connected(panel) as client:
        page = await (await listed(client, case, **arguments))
    assert [row.id for row in page.items] == expected
    assert [request[2] for request in panel.requests] == [{}]


@chosen("fenced")
async def test_object_that_is_elsewhere_is_not_touched(case: Case) -> None:
    assert case.wire.fence is not None
    panel = Panel(rows=[{**ANYTHING, "id": "another"}])
    async with connected(panel) as client:
        with pytest.raises(NotFoundError):
            await call(client, case)
    assert panel.writes == []
    lookup = get_operation(case.wire.fence.lookup).wires["panel"]
    for name in lookup.placeholders:
        # It was looked for where the arguments say.
        assert panel.requests[0][1] == lookup.path.replace(f"{{{name}}}", f"{name}-1")
