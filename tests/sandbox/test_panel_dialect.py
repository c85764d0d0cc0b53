"""The sandbox as a current panel: the key, envelopes, errors, accounts, plans, domains and DNS."""

import hashlib
import hmac
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.handlers.base import HANDLERS
from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock

DOCUMENT = shipped_document("panel_openapi.json")


def test_handlers_are_for_endpoints_of_the_document() -> None:
    own = {name for name in HANDLERS if " " in name}
    assert own <= {f"{endpoint.method} {endpoint.path}" for endpoint in DOCUMENT.endpoints}


async def test_health_is_unsigned_bare_and_outside_v1(current: PanelClient) -> None:
    for prefix in ("/api/external", ""):
        async with current.session.get(current.url(prefix + "/health")) as response:
            body = await response.json()
        assert body["service"] == "panelica-external-api"
        assert (body["status"], body["timestamp"]) == ("ok", "2026-03-07T12:00:00Z")
    assert (await current.call("GET", "/v1/health")).status == 404


async def test_both_base_paths_are_served(current: PanelClient) -> None:
    data = await current.data("GET", "/v1/me")
    current.prefix = ""
    assert await current.data("GET", "/v1/me") == data


async def test_me_names_the_owner_of_the_key(current: PanelClient) -> None:
    me = await current.data("GET", "/v1/me")
    root = next(row for row in await current.data("GET", "/v1/accounts") if row["role"] == "ROOT")
    assert me["user_id"] == root["id"]
    assert set(me) == {"user_id", "name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at"}


async def test_accounts_include_administrators_and_total(current: PanelClient) -> None:
    await current.account()
    body = (await current.call("GET", "/v1/accounts")).data
    assert sorted(row["role"] for row in body["data"]) == ["ADMIN", "RESELLER", "ROOT", "USER"]
    assert body["total"] == 4


async def test_lists_come_in_changing_order_and_whole(current: PanelClient) -> None:
    account = await current.account()
    for number in range(4):
        await current.domain(f"site{number}.example", account["id"])
    orders = set()
    for _ in range(10):
        rows = await current.data("GET", "/v1/domains?page=2&limit=1")
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
async def test_actions_take_no_body_an_object_or_a_list(current: PanelClient, body: Any) -> None:
    account = await current.account()
    for action in ("suspend", "unsuspend"):
        answer = await current.call("POST", f"/v1/accounts/{account['id']}/{action}", body)
        assert answer.data == {"status": "success", "message": f"Account {action}ed"}


async def test_suspend_when_account_is_gone_answers_400(current: PanelClient) -> None:
    path = "/v1/accounts/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f"
    for method, action in (("POST", "/suspend"), ("POST", "/unsuspend"), ("DELETE", "")):
        answer = await current.call(method, path + action)
        assert (answer.status, answer.data["details"]) == (400, "user not found")
    answer = await current.call("GET", path)
    assert (answer.status, answer.data) == (404, {"status": "error", "error": "Account not found"})


async def test_missing_fields_are_validator_texts(current: PanelClient) -> None:
    answer = await current.call("POST", "/v1/domains", {"name": "example.com", "user_id": ""})
    assert answer.status == 400
    assert answer.data == {
        "status": "error",
        "error": "Key: 'CreateDomainRequest.UserID' Error:Field validation for 'UserID' failed on the 'required' tag",
    }
    answer = await current.call("POST", "/v1/accounts", {"username": "john"})
    assert len(answer.data["error"].splitlines()) == 3


async def test_duplicate_email_is_400_in_any_case(current: PanelClient) -> None:
    await current.account("john", email="John@example.net")
    fields = {"username": "jane", "full_name": "J", "password": PASSWORD, "email": "JOHN@example.net"}
    answer = await current.call("POST", "/v1/accounts", fields)
    assert answer.status == 400
    assert answer.data["details"] == "apiErrors.users.emailAlreadyExists"


async def test_missing_scope_is_an_error_object(current: PanelClient, current_box: Sandbox) -> None:
    key = current_box.add_key(scopes=["domains:read"])
    answer = await current.with_key(key.api_key, key.api_secret).call("GET", "/v1/accounts")
    assert answer.status == 403
    assert answer.data["error"]["code"] == "apiErrors.external.insufficientScope"
    assert answer.data["error"]["required_scope"] == "accounts:read"
    assert answer.data["error"]["available_scopes"] == ["domains:read"]
    assert answer.data["request_id"].startswith("req_")


async def test_one_of_several_scopes_is_enough(current: PanelClient, current_box: Sandbox) -> None:
    endpoint = next(one for one in DOCUMENT.endpoints if one.path == "/v1/server/services/{name}/restart")
    assert endpoint.scopes == ("services:restart", "server:write")
    for scope, allowed in (
        ("services:restart", True),
        ("server:write", True),
        ("*:write", True),
        ("server:read", False),
    ):
        key = current_box.add_key(scopes=[scope])
        answer = await current.with_key(key.api_key, key.api_secret).call("POST", "/v1/server/services/nginx/restart")
        assert (answer.status != 403) is allowed


async def test_wrong_signature_is_an_error_object(current: PanelClient) -> None:
    answer = await current.with_key(current.api_key, "sk_live_wrong").call("GET", "/v1/me")
    assert (answer.status, answer.data["error"]["code"]) == (401, "INVALID_SIGNATURE")


async def test_delete_takes_a_body_that_is_not_signed(current: PanelClient) -> None:
    domain = await current.domain()
    body, target = b'{"force": true}', f"/api/external/v1/domains/{domain['id']}"
    timestamp = str(int(current.clock()))
    for signed_body, status in ((body, 401), (b"", 200)):
        text = "DELETE" + target.removeprefix("/api/external") + timestamp + signed_body.decode()
        signature = hmac.new(current.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        headers = {"X-API-Key": current.api_key, "X-Timestamp": timestamp, "X-Signature": signature}
        async with current.session.delete(current.url(target), data=body, headers=headers) as response:
            assert response.status == status


async def test_plan_drops_zero_and_false_on_post_and_keeps_them_on_patch(current: PanelClient) -> None:
    wanted = {"disk_quota_mb": 0, "max_cron_jobs": 0, "backup_enabled": False, "max_domains": -1, "memory_limit_mb": 7}
    plan = await current.data("POST", "/v1/plans", {"name": "Small", "slug": "small", **wanted})
    dropped = {"disk_quota_mb": 5120, "max_cron_jobs": 3, "backup_enabled": True, "max_domains": -1}
    assert plan.items() >= {**dropped, "memory_limit_mb": 512, "process_limit": 50}.items()
    await current.data("PATCH", f"/v1/plans/{plan['id']}", {**wanted, "inode_quota": -1, "unheard_of": 1})
    [row] = [row for row in await current.data("GET", "/v1/plans") if row["id"] == plan["id"]]
    assert row.items() >= {**wanted, "inode_quota": -1, "slug": "small"}.items()
    assert "unheard_of" not in row


async def test_plan_without_slug_is_refused(current: PanelClient) -> None:
    answer = await current.call("POST", "/v1/plans", {"name": "Small"})
    assert answer.data["error"].endswith("'Slug' failed on the 'required' tag")


async def test_plan_in_use_cannot_be_deleted(current: PanelClient) -> None:
    plan = await current.data("POST", "/v1/plans", {"name": "Small", "slug": "small"})
    account = await current.account(plan_id=plan["id"])
    answer = await current.call("DELETE", f"/v1/plans/{plan['id']}")
    assert (answer.status, answer.data) == (409, {"status": "error", "message": "plan has accounts"})
    await current.data("DELETE", f"/v1/accounts/{account['id']}")
    await current.data("DELETE", f"/v1/plans/{plan['id']}")


async def test_domains_beyond_the_plan_are_403(current: PanelClient) -> None:
    plan = await current.data("POST", "/v1/plans", {"name": "Small", "slug": "small", "max_domains": 1})
    account = await current.account(plan_id=plan["id"])
    await current.domain("one.example", account["id"])
    answer = await current.call("POST", "/v1/domains", {"name": "two.example", "user_id": account["id"]})
    assert (answer.status, answer.data["details"]) == (403, {"limit": "max_domains"})


async def test_partial_change_of_php_resets_the_rest(current: PanelClient) -> None:
    domain = await current.domain()
    path = f"/v1/domains/{domain['id']}/php"
    before = await current.data("GET", path)
    await current.data("PATCH", path, {"memory_limit": "1G", "post_max_size": "1G"})
    await current.data("PATCH", path, {"php_version": "8.4", "post_max_size": "2G"})
    assert await current.data("GET", path) == {**before, "php_version": "8.4", "post_max_size": "2G"}


async def test_records_are_changed_by_their_own_id(current: PanelClient) -> None:
    domain = await current.domain()
    records = f"/v1/dns/zones/{domain['id']}/records"
    record = await current.data("POST", records, {"type": "MX", "name": "@", "content": "mail.example.com"})
    assert (record["ttl"], record["priority"]) == (3600, 10)
    await current.data("PATCH", f"/v1/dns/records/{record['id']}", {"ttl": 60, "type": "TXT"})
    [changed] = [row for row in await current.data("GET", records) if row["id"] == record["id"]]
    assert changed == {**record, "ttl": 60}
    await current.data("DELETE", f"/v1/dns/records/{record['id']}")
    assert record["id"] not in {row["id"] for row in await current.data("GET", records)}


async def test_private_addresses_are_refused_in_records(current: PanelClient) -> None:
    domain = await current.domain()
    for content, status in (("192.168.1.5", 400), ("203.0.113.7", 201), ("93.184.216.34", 201)):
        body = {"type": "A", "name": "www", "content": content}
        assert (await current.call("POST", f"/v1/dns/zones/{domain['id']}/records", body)).status == status


async def test_sso_link_carries_an_address_of_the_panels_network(current: PanelClient) -> None:
    account = await current.account()
    data = await current.data("POST", f"/v1/accounts/{account['id']}/sso-login", [])
    assert data["url"].startswith("https://10.0.0.12:8443/auto-login?token=")
    assert data["expires_in"] == 300


async def test_endpoints_without_a_handler_keep_what_they_create(current: PanelClient) -> None:
    repository = await current.data("POST", "/v1/git/repositories", {"name": "site"})
    below = f"/v1/git/repositories/{repository['id']}/webhooks"
    fields = {"url": "https://example.com/b", "unknown": 1}
    created = await current.data("POST", below, fields)
    assert created.items() >= fields.items()
    assert await current.data("GET", below) == [created]
    await current.data("DELETE", f"{below}/{created['id']}")
    assert await current.data("GET", below) == []
    assert (await current.call("DELETE", f"{below}/{created['id']}")).status == 404


async def test_alias_of_a_required_field_is_accepted(current: PanelClient) -> None:
    domain = await current.domain()
    for field, name in (("name", "shop"), ("subdomain_name", "blog")):
        created = await current.data("POST", f"/v1/domains/{domain['id']}/subdomains", {field: name})
        assert created["subdomain_name"] == name
