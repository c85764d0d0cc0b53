import pytest

from tests.sandbox.signed_client import MAILBOX, SignedClient


async def test_mailboxes_are_created_listed_and_deleted(panel: SignedClient) -> None:
    john = await panel.account()
    domain = await panel.domain("one.example", john["id"])
    other = await panel.domain("two.example", john["id"])
    created = await panel.ok("POST", "/v1/email/accounts", {**MAILBOX, "domain_id": domain["id"]})
    assert created == {
        "id": created["id"],
        "email": "info@one.example",
        "domain_id": domain["id"],
        "quota_mb": 1024,
        "used_mb": 0.0,
        "status": "active",
        "created_at": "2026-03-07T12:00:00Z",
    }
    refusal = await panel.refused(
        409, "POST", "/v1/email/accounts", {**MAILBOX, "domain_id": domain["id"], "local_part": "INFO"}
    )
    assert refusal["details"] == "email=info@one.example"
    await panel.ok("POST", "/v1/email/accounts", {**MAILBOX, "domain_id": other["id"], "quota_mb": 5})
    assert len(await panel.ok("GET", "/v1/email/accounts")) == 2
    assert await panel.ok("GET", f"/v1/email/accounts?domain_id={domain['id']}") == [created]
    await panel.ok("DELETE", f"/v1/email/accounts/{created['id']}")
    await panel.refused(404, "DELETE", f"/v1/email/accounts/{created['id']}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("local_part", "a@b"), ("local_part", ".info"), ("local_part", "a b"), ("password", "short"), ("quota_mb", 0)],
)
async def test_mailbox_when_invalid_is_rejected(panel: SignedClient, field: str, value: object) -> None:
    domain = await panel.domain()
    body = {**MAILBOX, "domain_id": domain["id"], field: value}
    assert (await panel.refused(400, "POST", "/v1/email/accounts", body))["details"].startswith(f"{field}: ")
