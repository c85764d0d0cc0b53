import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.auth import Grants, authenticate, create_key, is_scope, require_scope
from panelica_async.sandbox.messages import ApiError, HttpRequest
from panelica_async.sandbox.spec import shipped_document
from panelica_async.sandbox.store import Store, root_id
from tests.core.test_operation import SCOPES
from tests.sandbox.signed_client import PREFIX, Clock, SignedClient, signature

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "signing-vectors.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("X-API-Key", "MISSING_API_KEY"),
        ("X-Timestamp", "MISSING_TIMESTAMP"),
        ("X-Signature", "MISSING_SIGNATURE"),
    ],
)
@pytest.mark.parametrize("value", [None, ""])
async def test_header_when_missing_is_401(panel: SignedClient, header: str, code: str, value: str | None) -> None:
    answer = await panel.call("GET", "/v1/me", headers={header: value})
    assert (answer.status, answer.code) == (401, code)


@pytest.mark.parametrize(
    "key", ["pk_live", "live_0123456789", "sk_live_0123456789", "pk_prod_0123456789", "pk_live_a b"]
)
async def test_key_of_another_form_is_401(panel: SignedClient, key: str) -> None:
    answer = await panel.call("GET", "/v1/me", headers={"X-API-Key": key})
    assert (answer.status, answer.code) == (401, "INVALID_KEY_FORMAT")


async def test_key_when_unknown_is_401(panel: SignedClient) -> None:
    answer = await panel.with_key("pk_live_0123456789", panel.api_secret).call("GET", "/v1/me")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("offset", [-301, 301, -100_000])
async def test_timestamp_outside_the_window_is_401(panel: SignedClient, clock: Clock, offset: int) -> None:
    clock.advance(offset)
    headers = panel.headers("GET", f"{PREFIX}/v1/me", b"")
    clock.advance(-offset)
    answer = await panel.call("GET", "/v1/me", headers=headers)
    assert (answer.status, answer.code) == (401, "INVALID_TIMESTAMP")


@pytest.mark.parametrize("offset", [-300, 0, 300])
async def test_timestamp_within_the_window_is_accepted(panel: SignedClient, clock: Clock, offset: int) -> None:
    clock.advance(offset)
    headers = panel.headers("GET", f"{PREFIX}/v1/me", b"")
    clock.advance(-offset)
    assert (await panel.call("GET", "/v1/me", headers=headers)).status == 200


@pytest.mark.parametrize("text", ["now", "1772884800.0", "-1", "9" * 30, "٣"])
async def test_timestamp_that_is_not_a_number_is_401(panel: SignedClient, text: str) -> None:
    answer = await panel.call("GET", "/v1/me", headers={"X-Timestamp": text})
    assert (answer.status, answer.code) == (401, "INVALID_TIMESTAMP")


async def test_signature_by_a_wrong_secret_is_401(panel: SignedClient) -> None:
    answer = await panel.with_key(panel.api_key, "sk_live_wrong").call("GET", "/v1/me")
    assert (answer.status, answer.code) == (401, "INVALID_SIGNATURE")


async def test_signature_of_the_prefix_is_401(panel: SignedClient, clock: Clock) -> None:
    stamp = str(int(clock()))
    wrong = signature(panel.api_secret, "GET", PREFIX + PREFIX + "/v1/me", stamp, b"")
    answer = await panel.call("GET", "/v1/me", headers={"X-Signature": wrong, "X-Timestamp": stamp})
    assert (answer.status, answer.code) == (401, "INVALID_SIGNATURE")


async def test_key_when_revoked_is_401(panel: SignedClient, box: Sandbox) -> None:
    credentials = box.add_key()
    box.database.execute("UPDATE api_keys SET revoked = 1 WHERE id = ?", (credentials.key_id,))
    answer = await panel.with_key(credentials.api_key, credentials.api_secret).call("GET", "/v1/me")
    assert (answer.status, answer.code, answer.data["error"]) == (401, "UNAUTHORIZED", "API key revoked")


async def test_key_when_expired_is_401(panel: SignedClient, box: Sandbox, clock: Clock) -> None:
    credentials = box.add_key(expires_at=datetime.fromtimestamp(clock() + 60, UTC))
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    assert (await user.ok("GET", "/v1/me"))["expires_at"] == "2026-03-07T12:01:00Z"
    clock.advance(60)
    answer = await user.call("GET", "/v1/me")
    assert (answer.status, answer.code, answer.data["error"]) == (401, "UNAUTHORIZED", "API key expired")


@pytest.mark.parametrize(
    ("whitelist", "status"),
    [
        (["127.0.0.1"], 200),
        (["203.0.113.50", "127.0.0.0/8"], 200),
        (["203.0.113.50"], 403),
        (["::1"], 403),
        ([], 200),
    ],
)
async def test_key_is_limited_to_its_whitelist(
    panel: SignedClient, box: Sandbox, whitelist: list[str], status: int
) -> None:
    credentials = box.add_key(ip_whitelist=whitelist)
    answer = await panel.with_key(credentials.api_key, credentials.api_secret).call("GET", "/v1/me")
    assert answer.status == status


async def test_path_without_prefix_is_served(panel: SignedClient) -> None:
    panel.prefix = ""
    assert (await panel.ok("GET", "/v1/me"))["name"] == "Sandbox"


async def test_health_needs_no_key(panel: SignedClient) -> None:
    nothing: dict[str, str | None] = {"X-API-Key": None, "X-Timestamp": None, "X-Signature": None}
    answer = await panel.call("GET", "/v1/health", headers=nothing)
    assert answer.data == {"status": "healthy", "version": "1.0.27", "uptime": "10d 5h 30m"}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_panel_accepts_the_vectors_and_no_wrong_variant(vector: dict[str, Any]) -> None:
    """The panel accepts each vector and none of its wrong variants."""
    store = Store(":memory:", lambda: float(VECTORS["timestamp"]))
    credentials = create_key(
        store,
        Grants(scopes=["*:*"], tier="enterprise", ip_whitelist=[]),
        user_id=root_id(store),
        name="Vectors",
        api_key="pk_test_vectors",
        api_secret=VECTORS["secret"],
    )
    raw_path, _, raw_query = vector["wire_target"].partition("?")

    def request(text: str) -> HttpRequest:
        headers = {"X-API-Key": "pk_test_vectors", "X-Timestamp": vector["timestamp"], "X-Signature": text}
        if "multipart" in vector["name"]:
            headers["Content-Type"] = "multipart/form-data; boundary=x"
        return HttpRequest(
            method=vector["method"],
            raw_path=raw_path,
            raw_query=raw_query,
            headers=headers,
            body=vector["wire_body"].encode(),
        )

    assert authenticate(request(vector["signature"]), PREFIX, store).id == credentials.key_id
    for wrong in vector["wrong"].values():
        with pytest.raises(ApiError, match="Invalid signature"):
            authenticate(request(wrong["signature"]), PREFIX, store)
    store.close()


async def test_repr_shows_no_secrets(box: Sandbox, panel: SignedClient) -> None:
    credentials = box.add_key()
    assert credentials.api_secret not in repr(credentials)
    assert box.api_secret not in repr(box)
    await panel.account()
    assert "correct horse" not in repr(box.requests)
    assert not [row for row in box.database.iterdump() if "correct horse" in row]


@pytest.mark.parametrize(("granted", "required", "allowed"), SCOPES)
def test_scope_covers_its_wildcards(granted: list[str], required: str | None, allowed: bool) -> None:
    with nullcontext() if allowed else pytest.raises(ApiError, match="Insufficient scope"):
        require_scope(tuple(granted), () if required is None else (required,))


@pytest.mark.parametrize("scope", ["*:*", "domains:*", "services:*", "*:read", "*:delete", "backups:restore"])
def test_scope_when_valid_is_accepted(scope: str) -> None:
    assert is_scope(scope)


@pytest.mark.parametrize("scope", ["", "*", "domains", "domains:fly", "*:restore", "planes:*", "domains:read:write"])
def test_scope_when_invalid_is_rejected(scope: str) -> None:
    assert not is_scope(scope)


async def test_call_without_its_scope_is_403(panel: SignedClient, box: Sandbox) -> None:
    credentials = box.add_key(scopes=["domains:read", "dns:*"])
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    assert await user.ok("GET", "/v1/domains") == []
    answer = await user.call("POST", "/v1/domains", {"domain": "example.com", "user_id": "1"})
    assert (answer.status, answer.code) == (403, "apiErrors.external.insufficientScope")
    assert answer.data["required_scope"] == "domains:write"
    assert answer.data["available_scopes"] == ["domains:read", "dns:*"]


@pytest.mark.parametrize("endpoint", shipped_document().endpoints, ids=lambda endpoint: endpoint.operation)
async def test_every_operation_requires_its_scope(panel: SignedClient, box: Sandbox, endpoint) -> None:
    credentials = box.add_key(scopes=["terminal:access"])
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    answer = await user.call(endpoint.method, endpoint.path.replace("{", "").replace("}", ""))
    if not endpoint.scopes:
        assert answer.status == 200
    else:
        assert answer.status == 403
        assert answer.data["required_scope"] == endpoint.scopes[0]


def test_add_key_when_invalid_raises(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="'domains:fly' is not a scope"):
        box.add_key(scopes=["domains:fly"])
    with pytest.raises(ValueError, match="rate_limit_tier"):
        box.add_key(tier="golden")
    with pytest.raises(ValueError, match="ip_whitelist"):
        box.add_key(ip_whitelist=["localhost"])
