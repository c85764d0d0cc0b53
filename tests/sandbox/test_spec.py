"""Routing and validation by the specification, also of operations without a handler."""

import copy
import json
from collections.abc import AsyncIterator

import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.handlers.base import HANDLERS
from panelica_async.sandbox.spec import instance, shipped_document
from tests.codegen.test_spec_reference import NAMES
from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient

DOCUMENT = shipped_document()


def test_operations_of_the_reference_have_handlers() -> None:
    """Operations outside the reference need no handler: `default.py` serves them."""
    own = {name for name in HANDLERS if " " not in name}
    assert set(NAMES) <= own <= {endpoint.operation for endpoint in shipped_document().endpoints}


@pytest.mark.parametrize("endpoint", shipped_document().endpoints, ids=lambda endpoint: endpoint.operation)
def test_every_path_is_routed_to_its_operation(endpoint) -> None:
    path = endpoint.path.replace("{", "<").replace("}", ">")
    found = DOCUMENT.find(endpoint.method, path)
    assert found is not None
    assert found[0] is endpoint
    assert all(value == f"<{name}>" for name, value in found[1].items())
    assert len(found[1]) == endpoint.path.count("{")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/v1"),
        ("GET", "/v1/domains/"),
        ("GET", "//v1/domains"),
        ("GET", "/v1/domains/a/b"),
        ("PUT", "/v1/domains"),
        ("OPTIONS", "/v1/domains"),
        ("GET", "/v1/accounts/events/logs"),
        ("GET", "/v2/domains"),
    ],
)
def test_path_when_unknown_has_no_operation(method: str, path: str) -> None:
    assert DOCUMENT.find(method, path) is None


def test_literal_segment_wins_over_a_parameter() -> None:
    for path, operation in [
        ("events", "webhooks.events"),
        ("stats", "webhooks.stats"),
        ("events/logs", "webhooks.logs"),
    ]:
        found = DOCUMENT.find("GET", f"/v1/webhooks/{path}")
        assert found is not None
        assert found[0].operation == operation


async def test_endpoint_when_unknown_is_404(panel: SignedClient, box: Sandbox) -> None:
    answer = await panel.call("GET", "/v1/nothing", headers={"X-API-Key": None})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert box.requests[-1].operation is None


@pytest.mark.parametrize(
    ("body", "error", "details"),
    [
        (b"{", "Invalid JSON", "not valid JSON near character 1"),
        (b'"text"', "Invalid request", "the body: must be an object"),
        (b"", "Invalid request", "the body: must be an object"),
        (b"[]", "Invalid request", None),
        (b'{"username": NaN}', "Invalid JSON", None),
        (b"\xff", "Invalid JSON", None),
        (b"[" * 100_000, "Invalid JSON", None),
        (b'{"username": "\\ud800", "email": "a@b", "password": "correct horse"}', "Invalid JSON", None),
    ],
)
async def test_body_that_is_not_a_json_object_is_rejected(
    panel: SignedClient, body: bytes, error: str, details: str | None
) -> None:
    refusal = await panel.refused(400, "POST", "/v1/accounts", body)
    assert (refusal["error"], refusal["code"]) == (error, "BAD_REQUEST")
    assert details is None or refusal["details"] == details


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, "is required"),
        ({"username": "a", "email": "b"}, "password is required"),
        ({"username": 1, "email": "b", "password": PASSWORD}, "username: must be a text"),
        ({"username": "a", "email": "b", "password": None}, "password: must be a text"),
        ({"username": "a", "email": "", "password": PASSWORD}, "email: must not be empty"),
    ],
)
async def test_body_when_invalid_is_rejected(panel: SignedClient, body: object, details: str) -> None:
    refusal = await panel.refused(400, "POST", "/v1/accounts", body)
    assert refusal["details"].endswith(details)


async def test_refusal_does_not_quote_the_body(panel: SignedClient) -> None:
    for password in (12345678901, ["sesame-open"], {"a": "sesame-open"}, "sesame"):
        body = {"username": "a", "email": "a@b.example", "password": password}
        text = json.dumps(await panel.refused(400, "POST", "/v1/accounts", body))
        assert "sesame" not in text
        assert "1234" not in text


async def test_unknown_fields_are_accepted(panel: SignedClient) -> None:
    assert (await panel.account(colour="red"))["username"] == "john"


@pytest.mark.parametrize("number", [2**31, 10**30, -1, 1.5, True])
async def test_number_when_invalid_is_rejected(panel: SignedClient, number: float) -> None:
    domain = await panel.domain()
    record = {"name": "www", "type": "A", "content": "192.0.2.1", "ttl": number}
    await panel.refused(400, "POST", f"/v1/dns/zones/{domain['id']}/records", record)


async def test_number_too_large_to_store_is_rejected(panel: SignedClient) -> None:
    domain = await panel.domain()
    mailbox = {"local_part": "info", "domain_id": domain["id"], "password": PASSWORD, "quota_mb": 2**63}
    refusal = await panel.refused(400, "POST", "/v1/email/accounts", mailbox)
    assert refusal["details"] == "a value cannot be stored"


async def test_path_that_is_not_utf_8_is_rejected(panel: SignedClient) -> None:
    answer = await panel.call("GET", "/v1/domains/%ff")
    assert answer.status in {400, 401, 404}


# ---- an endpoint that was just added to the specification


GADGETS = {
    "/v1/gadgets": {
        "get": {
            "operationId": "gadgets.list",
            "summary": "List gadgets",
            "tags": ["Gadgets"],
            "x-scope": "gadgets:read",
            "parameters": [{"$ref": "#/components/parameters/Limit"}],
            "responses": {
                "200": {
                    "description": "The gadgets.",
                    "content": {
                        "application/json": {
                            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Gadget"}},
                            "example": [{"id": "g1", "size": 3}],
                        }
                    },
                }
            },
        },
        "post": {
            "operationId": "gadgets.create",
            "summary": "Create a gadget",
            "tags": ["Gadgets"],
            "x-scope": "domains:write",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["part"],
                            "properties": {"part": {"$ref": "#/components/schemas/Part"}},
                        }
                    }
                },
            },
            "responses": {
                "201": {
                    "description": "The gadget.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Gadget"}}},
                }
            },
        },
    },
    "/v1/gadgets/{id}": {
        "delete": {
            "operationId": "gadgets.delete",
            "summary": "Delete a gadget",
            "x-scope": "domains:delete",
            "responses": {"204": {"description": "Gone."}},
        }
    },
}
SCHEMAS = {
    "Gadget": {
        "type": "object",
        "required": ["id", "size", "made_at", "parts", "state", "spare"],
        "properties": {
            "id": {"type": "string", "minLength": 3},
            "size": {"type": ["integer", "null"], "minimum": 2},
            "made_at": {"type": "string", "format": "date-time"},
            "parts": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Part"}},
            "state": {"type": "string", "x-known-values": ["new"]},
            "spare": {"oneOf": [{"$ref": "#/components/schemas/Part"}, {"type": "null"}]},
            "note": {"type": "string"},
        },
    },
    "Part": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "example": "wheel"}}},
}


@pytest.fixture
async def gadgets(session, clock: Clock) -> AsyncIterator[SignedClient]:
    content = copy.deepcopy(dict(shipped_document().content))
    content["paths"].update(GADGETS)
    content["components"]["schemas"].update(SCHEMAS)
    async with Sandbox(tier="enterprise", clock=clock, document=content) as box:
        yield SignedClient(box, session, clock)


async def test_added_endpoint_keeps_what_is_created(gadgets: SignedClient) -> None:
    assert await gadgets.ok("GET", "/v1/gadgets") == []
    created = await gadgets.ok("POST", "/v1/gadgets", {"part": {"name": "x"}, "note": "mine", "password": PASSWORD})
    assert created == {
        "id": created["id"],
        "size": 2,
        "made_at": "1970-01-01T00:00:00Z",
        "parts": [{"name": "wheel"}],
        "state": "new",
        "spare": {"name": "wheel"},
        "note": "mine",
    }
    other = await gadgets.ok("POST", "/v1/gadgets", {"part": {"name": "y"}})
    assert await gadgets.ok("GET", "/v1/gadgets") == [created, other]
    assert await gadgets.ok("GET", "/v1/gadgets?limit=1") == [created]
    assert gadgets.box.requests[-1].operation == "gadgets.list"
    assert (await gadgets.call("DELETE", f"/v1/gadgets/{created['id']}")).status == 204
    assert await gadgets.ok("GET", "/v1/gadgets") == [other]
    await gadgets.refused(404, "DELETE", f"/v1/gadgets/{created['id']}")


async def test_added_endpoint_is_checked_like_every_other(gadgets: SignedClient) -> None:
    refusal = await gadgets.refused(400, "POST", "/v1/gadgets", {"part": {"name": 5}})
    assert refusal["details"] == "part.name: must be a text"
    await gadgets.refused(400, "GET", "/v1/gadgets?limit=0")
    assert (await gadgets.call("GET", "/v1/gadgets", headers={"X-Signature": "0"})).code == "INVALID_SIGNATURE"
    credentials = gadgets.box.add_key(scopes=["domains:read"])
    user = gadgets.with_key(credentials.api_key, credentials.api_secret)
    assert (await user.refused(403, "GET", "/v1/gadgets"))["required_scope"] == "gadgets:read"
    requests = await gadgets.ok("GET", "/v1/postman-collection")
    assert "Gadgets" in {folder["name"] for folder in requests["item"]}


@pytest.mark.parametrize("endpoint", shipped_document().endpoints, ids=lambda endpoint: endpoint.operation)
def test_smallest_value_matches_its_schema(endpoint) -> None:
    if endpoint.reply is not None:
        document = shipped_document()
        document.validator(endpoint.reply).validate(instance(document, endpoint.reply))


async def test_update_to_an_existing_name_is_409_as_documented(panel: SignedClient) -> None:
    """The client checks the status of each reply against the specification."""
    owners = [
        await panel.ok(
            "POST",
            "/v1/accounts",
            {"username": name, "email": f"{name}@mail.example", "password": PASSWORD, "role": "USER"},
        )
        for name in ("carol", "david")
    ]
    await panel.refused(409, "PATCH", f"/v1/accounts/{owners[0]['id']}", {"email": "david@mail.example"})
    domain = await panel.ok("POST", "/v1/domains", {"domain": "a.example", "user_id": owners[0]["id"]})
    path = f"/v1/dns/zones/{domain['id']}/records"
    records = [
        await panel.ok("POST", path, {"name": "x", "type": "A", "content": f"192.0.2.{number}"}) for number in (1, 2)
    ]
    await panel.refused(409, "PATCH", f"{path}/{records[0]['id']}", {"content": "192.0.2.2"})
    for operation in ("accounts.update", "dns.records.update", "plans.update"):
        (endpoint,) = [each for each in shipped_document().endpoints if each.operation == operation]
        assert "409" in shipped_document().content["paths"][endpoint.path][endpoint.method.lower()]["responses"]
