"""Endpoints without a handler keep what they create, those that were just added to the specification, too."""

import copy
from collections.abc import AsyncIterator

import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient

GADGETS = {
    "/v1/gadgets": {
        "get": {
            "operationId": "gadgets.list",
            "summary": "List gadgets",
            "tags": ["Gadgets"],
            "x-scope": "gadgets:read",
            "parameters": [{"$ref": "#/components/parameters/Limit"}, {"$ref": "#/components/parameters/Sort"}],
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
        "patch": {
            "operationId": "gadgets.update",
            "summary": "Change a gadget",
            "x-scope": "domains:write",
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {
                "200": {
                    "description": "The gadget.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Gadget"}}},
                }
            },
        },
        "delete": {
            "operationId": "gadgets.delete",
            "summary": "Delete a gadget",
            "x-scope": "domains:delete",
            "responses": {"204": {"description": "Gone."}},
        },
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


async def test_added_endpoint_keeps_created_objects(gadgets: SignedClient) -> None:
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


async def test_id_of_an_added_object_is_unique_and_stays(gadgets: SignedClient) -> None:
    body = {"part": {"name": "x"}, "id": "mine"}
    created = await gadgets.ok("POST", "/v1/gadgets", body)
    await gadgets.refused(409, "POST", "/v1/gadgets", body)
    changed = await gadgets.ok("PATCH", "/v1/gadgets/mine", {"id": "yours", "size": 5})
    assert changed == {**created, "size": 5}
    assert await gadgets.ok("GET", "/v1/gadgets") == [changed]


async def test_list_when_sorted_by_a_number_is_in_its_order(gadgets: SignedClient) -> None:
    for size in (10, 9, None, 100):
        await gadgets.ok("POST", "/v1/gadgets", {"part": {"name": "x"}, "size": size})
    assert [row["size"] for row in await gadgets.ok("GET", "/v1/gadgets?sort=size")] == [None, 9, 10, 100]


async def test_added_endpoint_is_checked_like_every_other(gadgets: SignedClient) -> None:
    reply = await gadgets.refused(400, "POST", "/v1/gadgets", {"part": {"name": 5}})
    assert reply["details"] == "part.name: must be a string"
    await gadgets.refused(400, "GET", "/v1/gadgets?limit=0")
    assert (await gadgets.call("GET", "/v1/gadgets", headers={"X-Signature": "0"})).code == "INVALID_SIGNATURE"
    credentials = gadgets.box.add_key(scopes=["domains:read"])
    user = gadgets.with_key(credentials.api_key, credentials.api_secret)
    assert (await user.refused(403, "GET", "/v1/gadgets"))["required_scope"] == "gadgets:read"
    requests = await gadgets.ok("GET", "/v1/postman-collection")
    assert "Gadgets" in {folder["name"] for folder in requests["item"]}


async def test_id_in_a_body_is_ignored(current_panel: PanelClient) -> None:
    created = [
        await current_panel.data("POST", "/v1/git/repositories", {"name": "site", "id": "mine"}) for _ in range(2)
    ]
    assert len({row["id"] for row in created} | {"mine"}) == 3
    path = f"/v1/git/repositories/{created[0]['id']}"
    assert (await current_panel.data("PUT", path, {"id": "mine", "name": "new"})) == {**created[0], "name": "new"}
    assert (await current_panel.data("GET", path))["id"] == created[0]["id"]


async def test_endpoint_without_a_handler_keeps_its_objects(current_panel: PanelClient) -> None:
    repository = await current_panel.data("POST", "/v1/git/repositories", {"name": "site"})
    below = f"/v1/git/repositories/{repository['id']}/webhooks"
    fields = {"url": "https://example.com/b", "unknown": 1}
    created = await current_panel.data("POST", below, fields)
    assert created.items() >= fields.items()
    assert await current_panel.data("GET", below) == [created]
    await current_panel.data("DELETE", f"{below}/{created['id']}")
    assert await current_panel.data("GET", below) == []
    assert (await current_panel.call("DELETE", f"{below}/{created['id']}")).status == 404
    await current_panel.data("POST", below, fields)
    await current_panel.data("DELETE", f"/v1/git/repositories/{repository['id']}")
    assert await current_panel.data("GET", below) == []
