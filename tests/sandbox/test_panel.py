"""A panel in either dialect: base paths, envelopes, errors, order, owners, roles, thin replies."""

import hashlib
import hmac
import json
import random
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.handlers.base import HANDLERS
from tests.sandbox.panel_client import DOCUMENT, PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient

ODD_VALUES: tuple[Any, ...] = (
    "", "x", "../..", "/home", -1, 0, 3.5, 10**30, True, None, [], {}, ["x"], {"a": 1}, "\u0000", "\ud800", "a" * 99,
)  # fmt: skip


def test_handlers_are_for_endpoints_of_the_document() -> None:
    endpoints = {name for name in HANDLERS if " " in name}
    assert endpoints <= {f"{endpoint.method} {endpoint.path}" for endpoint in DOCUMENT.endpoints}


async def test_both_base_paths_are_served(current_panel: PanelClient) -> None:
    data = await current_panel.data("GET", "/v1/me")
    current_panel.prefix = ""
    assert await current_panel.data("GET", "/v1/me") == data


async def test_lists_come_in_changing_order_and_whole(current_panel: PanelClient) -> None:
    account = await current_panel.account()
    for number in range(4):
        await current_panel.domain(f"site{number}.example", account["id"])
    orders = set()
    for _ in range(10):
        rows = await current_panel.data("GET", "/v1/domains?page=2&limit=1")
        assert len(rows) == 4
        orders.add(tuple(row["domain_name"] for row in rows))
    assert len(orders) > 1


async def test_order_of_lists_is_the_same_in_every_run(clock: Clock, session: aiohttp.ClientSession) -> None:
    orders = []
    for _ in range(2):
        async with Sandbox(tier="enterprise", clock=clock, dialect="panel") as box:
            panel = PanelClient(box, session, clock)
            orders.append([[row["role"] for row in await panel.data("GET", "/v1/accounts")] for _ in range(5)])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("body", [None, {}, []])
async def test_actions_take_no_body_an_object_or_a_list(current_panel: PanelClient, body: Any) -> None:
    account = await current_panel.account()
    for action in ("suspend", "unsuspend"):
        answer = await current_panel.call("POST", f"/v1/accounts/{account['id']}/{action}", body)
        assert answer.data == {"status": "success", "message": f"Account {action}ed"}


async def test_missing_scope_is_an_error_object(current_panel: PanelClient, current_box: Sandbox) -> None:
    key = current_box.add_key(scopes=["domains:read"])
    answer = await current_panel.with_key(key.api_key, key.api_secret).call("GET", "/v1/accounts")
    assert answer.status == 403
    assert answer.data["error"]["code"] == "apiErrors.external.insufficientScope"
    assert answer.data["error"]["required_scope"] == "accounts:read"
    assert answer.data["error"]["available_scopes"] == ["domains:read"]
    assert answer.data["request_id"].startswith("req_")


async def test_one_of_several_scopes_is_enough(current_panel: PanelClient, current_box: Sandbox) -> None:
    endpoint = next(node for node in DOCUMENT.endpoints if node.path == "/v1/server/services/{name}/restart")
    assert endpoint.scopes == ("services:restart", "server:write")
    for scope, allowed in (
        ("services:restart", True),
        ("server:write", True),
        ("*:write", True),
        ("server:read", False),
    ):
        key = current_box.add_key(scopes=[scope])
        answer = await current_panel.with_key(key.api_key, key.api_secret).call(
            "POST", "/v1/server/services/nginx/restart"
        )
        assert (answer.status != 403) is allowed


async def test_wrong_signature_is_an_error_object(current_panel: PanelClient) -> None:
    answer = await current_panel.with_key(current_panel.api_key, "sk_live_wrong").call("GET", "/v1/me")
    assert (answer.status, answer.data["error"]["code"]) == (401, "INVALID_SIGNATURE")


async def test_delete_accepts_a_body_that_is_not_signed(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    body, target = b'{"force": true}', f"/api/external/v1/domains/{domain['id']}"
    timestamp = str(int(current_panel.clock()))
    for signed_body, status in ((body, 401), (b"", 200)):
        text = "DELETE" + target.removeprefix("/api/external") + timestamp + signed_body.decode()
        signature = hmac.new(current_panel.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        headers = {"X-API-Key": current_panel.api_key, "X-Timestamp": timestamp, "X-Signature": signature}
        async with current_panel.session.delete(current_panel.url(target), data=body, headers=headers) as response:
            assert response.status == status


async def test_errors_have_every_shape_that_panels_send(
    current_panel: PanelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shape has its fields, and its key or sentence in its place (evidence: error-shapes)."""

    def fail(_call: object) -> None:
        raise RuntimeError("for this test")

    monkeypatch.setitem(HANDLERS, "GET /v1/plans", fail)
    account = await current_panel.account()
    await current_panel.domain("example.com", account["id"])
    person = {"username": "john", "email": "other@example.net", "full_name": "John", "password": PASSWORD}
    both_keys = {
        "error": "apiErrors.external.account.createFailed",
        "details": "apiErrors.users.usernameAlreadyExists",
    }
    expected: list[tuple[str, str, int, dict[str, str]]] = [
        ("GET", "/v1/plans/x", 404, {"error": "Plan not found", "details": "id=x", "code": "NOT_FOUND"}),
        ("GET", "/v1/accounts/x", 404, {"error": "Account not found"}),
        ("POST", "/v1/accounts", 400, both_keys),
    ]
    for method, path, status, body in expected:
        answer = await current_panel.call(method, path, person if method == "POST" else None)
        assert (answer.status, answer.data) == (status, {"status": "error", **body})
    answer = await current_panel.call("GET", "/v1/email-accounts/x")
    assert (answer.status, answer.data) == (404, {"error": "not found"})
    answer = await current_panel.call("GET", "/v1/plans")
    assert (answer.status, answer.data.keys()) == (500, {"status", "error", "details", "request_id"})
    assert "SQLSTATE 42703" in answer.data["details"]


@pytest.mark.parametrize("seed", range(3))
async def test_odd_input_never_causes_a_500(current_panel: PanelClient, seed: int) -> None:
    chance = random.Random(seed)
    domain = await current_panel.domain()
    ids = [domain["id"], domain["user_id"], "x", "a.tar.gz", "nginx", "%00", "%ff"]
    for endpoint in DOCUMENT.endpoints:
        path = re.sub(r"\{\w+\}", lambda _: chance.choice(ids), endpoint.path)
        query = "&".join(f"{parameter['name']}={chance.choice(ids)}" for parameter in endpoint.query_parameters)
        fields = (endpoint.body_schema or {}).get("properties", {"name": {}, "path": {}})
        body = {name: chance.choice((*ODD_VALUES, *ids)) for name in fields if chance.random() < 0.8}
        answer = await current_panel.call(
            endpoint.method, f"{path}?{query}", None if endpoint.method == "GET" else body
        )
        assert answer.status < 500, (endpoint.operation, path, query, body)


async def test_replies_of_every_endpoint_are_as_described(current_panel: PanelClient) -> None:
    """`PanelClient` checks each success. What handlers refuse here is checked where they are tested."""
    domain = await current_panel.domain()
    ids = {"domain_id": domain["id"], "user_id": domain["user_id"], "owner_user_id": domain["user_id"]}
    created_ids = {"accounts": domain["user_id"], "domains": domain["id"], "zones": domain["id"]}

    def one_of(collection: str) -> str:
        return created_ids.get(collection) or created_ids.get(collection.rpartition("/")[2], "x")

    refused = set()
    for method in ("POST", "GET", "PUT", "PATCH", "DELETE"):
        # Parents are created first and deleted last.
        for endpoint in sorted(
            DOCUMENT.endpoints, key=lambda endpoint: endpoint.path.count("/"), reverse=method == "DELETE"
        ):
            if endpoint.method != method or endpoint.operation in {"accounts.suspend", "files.download"}:
                continue
            target = re.sub(r"/\{\w+\}", lambda match: f"/{one_of(match.string[: match.start()])}", endpoint.path)
            if required := [node["name"] for node in endpoint.query_parameters if "required" in node]:
                target += "?" + "&".join(f"{name}={ids.get(name, '/')}" for name in required)
            body = endpoint.body_example or {}
            answer = await current_panel.call(method, target, body | {name: ids[name] for name in body.keys() & ids})
            if answer.status >= 400:
                refused.add(endpoint.operation)
            elif method == "POST" and "id" in (data := answer.data.get("data", ())):
                created_ids[endpoint.path] = data["id"]
                created_ids.setdefault(endpoint.path.rpartition("/")[2], data["id"])
    default = {
        endpoint.operation for endpoint in DOCUMENT.endpoints if f"{endpoint.method} {endpoint.path}" not in HANDLERS
    }
    # Nothing that is created here goes by their ids.
    assert refused & default == {"antivirus.scans.get", "databases.users.update", "logs.categories.clear"}


async def test_429_says_in_the_body_how_long_to_wait(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Sandbox(tier="starter", clock=clock, dialect="panel") as box:
        panel = PanelClient(box, session, clock)
        for _ in range(60):
            assert (await panel.call("GET", "/v1/me")).status == 200
        clock.advance(18)
        answer = await panel.call("GET", "/v1/me")
        assert answer.status == 429
        assert answer.data == {
            "status": "error",
            "error": {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Rate limit exceeded for this API key (minute window)",
                "limit": 60,
                "retry_after": 42,
                "window": "minute",
            },
        }
        assert "Retry-After" not in answer.headers
        assert answer.headers["X-RateLimit-Remaining-Minute"] == "0"


async def test_unsigned_calls_are_not_counted(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Sandbox(tier="starter", clock=clock, dialect="panel") as box:
        panel = PanelClient(box, session, clock)
        for _ in range(61):
            async with session.get(panel.url("/api/external/health")) as response:
                assert response.status == 200
        assert (await panel.call("GET", "/v1/me")).status == 200


@pytest.fixture
async def tenant(current_panel: PanelClient, current_box: Sandbox) -> PanelClient:
    """A client with the key of a customer."""
    key = current_box.add_key(user_id=(await current_panel.account("jane"))["id"])
    return current_panel.with_key(key.api_key, key.api_secret)


async def test_key_of_a_customer_sees_only_its_own(current_panel: PanelClient, tenant: PanelClient) -> None:
    me = (await tenant.data("GET", "/v1/me"))["user_id"]
    own_domain = await current_panel.domain("jane.example", me)
    foreign_domain = await current_panel.domain("john.example")
    assert [row["id"] for row in await tenant.data("GET", "/v1/domains")] == [own_domain["id"]]
    assert [row["id"] for row in await tenant.data("GET", "/v1/accounts")] == [me]
    assert (await tenant.call("DELETE", f"/v1/domains/{foreign_domain['id']}")).status == 404
    await tenant.data("DELETE", f"/v1/domains/{own_domain['id']}")


async def test_role_too_low_is_403_without_a_scope(tenant: PanelClient) -> None:
    me = (await tenant.data("GET", "/v1/me"))["user_id"]
    for path, body in (("/v1/plans", {"name": "Gold", "slug": "gold"}), (f"/v1/accounts/{me}/sso-login", {})):
        answer = await tenant.call("POST", path, body)
        assert (answer.status, answer.data["error"]) == (403, "Role not allowed")


async def test_key_of_an_unknown_account_is_refused(current_box: Sandbox) -> None:
    with pytest.raises(ValueError, match="user_id must be the id of an account, not 'gone'"):
        current_box.add_key(user_id="gone")


async def test_database_file_serves_both_dialects(tmp_path: Path, clock: Clock, session: aiohttp.ClientSession) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db, tier="enterprise", clock=clock) as box:
        panel = SignedClient(box, session, clock)
        admin = await panel.account("admin")  # as the panel's own administrator is called
        domain = await panel.domain("example.com", admin["id"], web_server="nginx")
        await panel.ok("POST", f"/v1/dns/zones/{domain['id']}/records", {"type": "TXT", "name": "@", "content": "a"})
    async with Sandbox(db=db, tier="enterprise", clock=clock, dialect="panel") as box:
        current_panel = PanelClient(box, session, clock)
        [row] = await current_panel.data("GET", "/v1/domains")
        assert (row["id"], row["domain_name"], row["web_server"]) == (domain["id"], "example.com", "nginx_only")
        contents = {row["content"] for row in await current_panel.data("GET", f"/v1/dns/zones/{domain['id']}/records")}
        assert "a" in contents
        other = await current_panel.domain("other.example", domain["user_id"])
    async with Sandbox(db=db, tier="enterprise", clock=clock) as box:
        rows = await SignedClient(box, session, clock).ok("GET", "/v1/domains")
        assert [row["id"] for row in rows] == [domain["id"], other["id"]]


async def test_database_without_its_key_gets_another(
    tmp_path: Path, clock: Clock, session: aiohttp.ClientSession
) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db, tier="enterprise", clock=clock, dialect="panel") as box:
        panel, old = PanelClient(box, session, clock), box.api_key
        [key] = await panel.data("GET", "/v1/api-keys")
        await panel.data("DELETE", f"/v1/api-keys/{key['id']}")
    async with Sandbox(db=db, tier="enterprise", clock=clock, dialect="panel") as box:
        assert box.api_key != old
        assert len(await PanelClient(box, session, clock).data("GET", "/v1/api-keys")) == 1


async def test_thin_replies_hold_an_id_or_a_message(clock: Clock, session: aiohttp.ClientSession) -> None:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel", thin_replies=True) as box:
        panel = PanelClient(box, session, clock)
        account = await panel.account()
        assert set(account) == {"id"}
        path = f"/v1/accounts/{account['id']}"
        assert (await panel.call("POST", f"{path}/suspend")).data.keys() == {"status", "message"}
        assert (await panel.call("PATCH", path, {"full_name": "J"})).data["data"] == account
        assert (await panel.call("POST", "/v1/backups")).data.keys() == {"status", "message"}
        assert (await panel.data("GET", path))["status"] == "suspended"


async def test_thin_replies_of_the_reference_are_bare(clock: Clock, session: aiohttp.ClientSession) -> None:
    async with Sandbox(tier="enterprise", clock=clock, thin_replies=True) as box:
        url = box.base_url + "/v1/accounts"
        client = SignedClient(box, session, clock)
        raw = json.dumps({"username": "john", "email": "j@example.net", "password": PASSWORD}).encode()
        headers = client.headers("POST", "/api/external/v1/accounts", raw)
        async with session.post(url, data=raw, headers={**headers, "Content-Type": "application/json"}) as response:
            assert response.status == 201
            assert set(await response.json()) == {"id"}
