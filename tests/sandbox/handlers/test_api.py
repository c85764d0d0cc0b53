"""API keys, and calls about the API itself."""

import json
from pathlib import Path

import pytest

from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient


async def test_api_key_is_created_listed_and_regenerated(panel: SignedClient, clock: Clock) -> None:
    body = {
        "name": "New Key",
        "scopes": ["domains:read", "plans:*"],
        "rate_limit_tier": "business",
        "ip_whitelist": ["127.0.0.1"],
        "expires_in": 90,
        "environment": "test",
    }
    created = await panel.ok("POST", "/v1/api-keys", body)
    assert created["api_key"].startswith(f"{created['key_prefix']}")
    assert created["key_prefix"].startswith("pk_test_")
    assert len(created["key_prefix"]) == 16
    assert created["api_secret"].startswith("sk_test_")
    assert created["expires_at"] == "2026-06-05T12:00:00Z"

    listed = (await panel.ok("GET", "/v1/api-keys"))[-1]
    assert not {"api_key", "api_secret"} & set(listed)
    assert (listed["name"], listed["status"], listed["ip_whitelist"]) == ("New Key", "active", ["127.0.0.1"])

    user = panel.with_key(created["api_key"], created["api_secret"])
    me = await user.ok("GET", "/v1/me")
    assert me == {
        "key_id": created["id"],
        "key_prefix": created["key_prefix"],
        "name": "New Key",
        "scopes": ["domains:read", "plans:*"],
        "rate_limit_tier": "business",
        "user": {**me["user"], "username": "root", "role": "ROOT"},
        "status": "active",
        "expires_at": "2026-06-05T12:00:00Z",
    }

    secret = (await panel.ok("POST", f"/v1/api-keys/{created['id']}/regenerate"))["api_secret"]
    assert (await user.call("GET", "/v1/me")).code == "INVALID_SIGNATURE"
    assert (await panel.with_key(created["api_key"], secret).ok("GET", "/v1/me"))["key_id"] == created["id"]
    await panel.refused(404, "POST", "/v1/api-keys/gone/regenerate")


async def test_api_key_without_options_has_defaults(panel: SignedClient) -> None:
    created = await panel.ok("POST", "/v1/api-keys", {"name": "Plain", "scopes": ["*:*"]})
    assert (created["rate_limit_tier"], created["expires_at"]) == ("starter", None)
    assert created["api_key"].startswith("pk_live_")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", []),
        ("scopes", ["domains:fly"]),
        ("rate_limit_tier", "golden"),
        ("ip_whitelist", ["localhost"]),
        ("expires_in", 0),
        ("expires_in", 10**12),
        ("environment", "dream"),
    ],
)
async def test_api_key_when_invalid_is_rejected(panel: SignedClient, field: str, value: object) -> None:
    body = {"name": "Key", "scopes": ["*:*"], field: value}
    assert (await panel.refused(400, "POST", "/v1/api-keys", body))["details"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("field", "value"), [("scopes", ["domains:fly"]), ("rate_limit_tier", "golden"), ("ip_whitelist", ["localhost"])]
)
async def test_api_key_when_changed_stays_valid(current_panel: PanelClient, field: str, value: object) -> None:
    key = await current_panel.data("POST", "/v1/api-keys", {"name": "Key", "scopes": ["*:*"]})
    path = f"/v1/api-keys/{key['id']}"
    assert (await current_panel.call("PATCH", path, {"name": "New", field: value})).status == 400
    assert (await current_panel.data("GET", path))["name"] == "Key"
    changed = await current_panel.data("PATCH", path, {"name": "New", "scopes": ["dns:read"]})
    assert (changed["name"], changed["scopes"]) == ("New", ["dns:read"])
    assert (await current_panel.with_key(key["api_key"], key["api_secret"]).call("GET", "/v1/domains")).status == 403


async def test_health_reports_the_uptime(panel: SignedClient, clock: Clock) -> None:
    clock.advance(2 * 86400 + 3600)
    assert (await panel.ok("GET", "/v1/health"))["uptime"] == "12d 6h 30m"


async def test_health_is_unsigned_bare_and_outside_v1(current_panel: PanelClient) -> None:
    for prefix in ("/api/external", ""):
        async with current_panel.session.get(current_panel.url(prefix + "/health")) as response:
            body = await response.json()
        assert body["service"] == "panelica-external-api"
        assert (body["status"], body["timestamp"]) == ("ok", "2026-03-07T12:00:00Z")
    assert (await current_panel.call("GET", "/v1/health")).status == 404


async def test_me_names_the_owner_of_the_key(current_panel: PanelClient) -> None:
    me = await current_panel.data("GET", "/v1/me")
    root = next(row for row in await current_panel.data("GET", "/v1/accounts") if row["role"] == "ROOT")
    assert me["user_id"] == root["id"]
    assert set(me) == {"user_id", "name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at"}


CATALOGUE = Path(__file__).parents[2] / "data" / "panel-catalogue.jsonl"


async def test_postman_collection_has_every_operation(panel: SignedClient) -> None:
    collection = await panel.ok("GET", "/v1/postman-collection")
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    requests = [item["request"] for folder in collection["item"] for item in folder["item"]]
    in_collection = {(request["method"], request["url"]["raw"].removeprefix("{{base_url}}")) for request in requests}
    documented = {
        (endpoint.method, endpoint.path.replace("{", ":").replace("}", "")) for endpoint in shipped_document().endpoints
    }
    assert in_collection == documented
    assert any("CryptoJS.HmacSHA256" in line for line in collection["event"][0]["script"]["exec"])


async def test_api_spec_is_unsigned_and_lists_the_catalogue(current_panel: PanelClient) -> None:
    async with current_panel.session.get(current_panel.url("/api/external/v1/api-spec")) as response:
        spec = (await response.json())["data"]
    assert spec["generated_at"] == "2026-03-07T12:00:00Z"
    known = [json.loads(line) for line in CATALOGUE.read_text("utf-8").splitlines()]
    listed = {(entry["method"], entry["path"].count("{"), entry["path"].split("{")[0]) for entry in spec["endpoints"]}
    assert len(spec["endpoints"]) == len(known)
    assert listed == {(row["method"], row["path"].count("{"), row["path"].split("{")[0]) for row in known}


async def test_api_spec_shows_fields_scopes_and_roles(current_panel: PanelClient) -> None:
    async with current_panel.session.get(current_panel.url("/api/external/v1/api-spec")) as response:
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
