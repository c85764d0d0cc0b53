import pytest

from panelica_async.core.operation import allows
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.auth import is_scope
from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.signed_client import SignedClient


@pytest.mark.parametrize(
    ("granted", "required", "allowed"),
    [
        (["*:*"], "domains:write", True),
        (["domains:*"], "domains:write", True),
        (["*:write"], "domains:write", True),
        (["domains:write"], "domains:write", True),
        (["domains:read", "dns:*", "*:read"], "domains:write", False),
        (["domains:write"], "domains:read", False),
        (["*:read", "domains:*"], "*:*", False),
        (["*:*"], "*:*", True),
        ([], None, True),
        ([], "domains:read", False),
    ],
)
def test_scope_covers_its_wildcards(granted: list[str], required: str | None, allowed: bool) -> None:
    assert allows(granted, required) is allowed


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
