import json
from pathlib import Path

from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import SignedClient

CATALOGUE = Path(__file__).parents[2] / "data" / "panel-catalogue.jsonl"


async def test_postman_collection_has_every_operation(panel: SignedClient) -> None:
    collection = await panel.ok("GET", "/v1/postman-collection")
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    requests = [item["request"] for folder in collection["item"] for item in folder["item"]]
    shown = {(request["method"], request["url"]["raw"].removeprefix("{{base_url}}")) for request in requests}
    documented = {
        (endpoint.method, endpoint.path.replace("{", ":").replace("}", "")) for endpoint in shipped_document().endpoints
    }
    assert shown == documented
    assert any("CryptoJS.HmacSHA256" in line for line in collection["event"][0]["script"]["exec"])


async def test_api_spec_is_unsigned_and_lists_the_catalogue(current: PanelClient) -> None:
    async with current.session.get(current.url("/api/external/v1/api-spec")) as response:
        spec = (await response.json())["data"]
    assert spec["generated_at"] == "2026-03-07T12:00:00Z"
    known = [json.loads(line) for line in CATALOGUE.read_text("utf-8").splitlines()]
    listed = {(entry["method"], entry["path"].count("{"), entry["path"].split("{")[0]) for entry in spec["endpoints"]}
    assert len(spec["endpoints"]) == len(known)
    assert listed == {(row["method"], row["path"].count("{"), row["path"].split("{")[0]) for row in known}


async def test_api_spec_shows_fields_scopes_and_roles(current: PanelClient) -> None:
    async with current.session.get(current.url("/api/external/v1/api-spec")) as response:
        entries = {(entry["method"], entry["path"]): entry for entry in (await response.json())["data"]["endpoints"]}
    suspend = entries["POST", "/v1/accounts/{id}/unsuspend"]
    assert suspend["request"]["body"] == {"content_type": "none", "required": False, "fields": []}
    create = entries["POST", "/v1/domains"]["request"]["body"]["fields"]
    assert {field["name"] for field in create if field["required"]} == {"name", "user_id"}
    assert [field["enum"] for field in create if field["name"] == "web_server"] == [["nginx_apache", "nginx_only"]]
    restart = entries["POST", "/v1/server/services/{name}/restart"]["auth"]
    assert restart["scope_rule"] == "one of services:restart, server:write"
    assert entries["POST", "/v1/plans"]["auth"]["roles"] == ["ROOT", "ADMIN"]
    assert entries["GET", "/health"]["auth"]["required"] is False
    assert entries["GET", "/v1/domains"]["response"]["data_type"] == "array"
