"""The sandbox as a current panel: base paths, envelopes, errors, the order of lists, scopes, signatures and aliases."""

import hashlib
import hmac
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.handlers.base import HANDLERS
from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock

DOCUMENT = shipped_document("panel_openapi.json")


def test_handlers_are_for_endpoints_of_the_document() -> None:
    own = {name for name in HANDLERS if " " in name}
    assert own <= {f"{endpoint.method} {endpoint.path}" for endpoint in DOCUMENT.endpoints}


async def test_both_base_paths_are_served(current: PanelClient) -> None:
    data = await current.data("GET", "/v1/me")
    current.prefix = ""
    assert await current.data("GET", "/v1/me") == data


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


async def test_missing_fields_are_validator_texts(current: PanelClient) -> None:
    answer = await current.call("POST", "/v1/domains", {"name": "example.com", "user_id": ""})
    assert answer.status == 400
    assert answer.data == {
        "status": "error",
        "error": "Key: 'CreateDomainRequest.UserID' Error:Field validation for 'UserID' failed on the 'required' tag",
    }
    answer = await current.call("POST", "/v1/accounts", {"username": "john"})
    assert len(answer.data["error"].splitlines()) == 3


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
