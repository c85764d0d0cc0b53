import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import MAILBOX, PASSWORD, SignedClient


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
    reply = await panel.refused(
        409, "POST", "/v1/email/accounts", {**MAILBOX, "domain_id": domain["id"], "local_part": "INFO"}
    )
    assert reply["details"] == "email=info@one.example"
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


async def test_mailbox_is_created_by_local_part_or_address(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    for field, value in (("username", "info"), ("email", "sales@example.com")):
        body = {"domain_id": domain["id"], field: value, "password": PASSWORD}
        await current_panel.data("POST", "/v1/email-accounts", body)
    rows = await current_panel.data("GET", "/v1/email-accounts")
    assert {row["email"] for row in rows} == {"info@example.com", "sales@example.com"}
    assert {row["used_quota_mb"] for row in rows} == {0}
    emails = await current_panel.data("GET", f"/v1/accounts/{domain['user_id']}/emails")
    assert {row["email"] for row in emails} == {"info@example.com", "sales@example.com"}


async def test_mailbox_when_address_is_taken_answers_400(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    body = {"domain_id": domain["id"], "username": "info", "password": PASSWORD}
    await current_panel.data("POST", "/v1/email-accounts", body)
    answer = await current_panel.call("POST", "/v1/email-accounts", {**body, "username": "INFO"})
    assert answer.status == 400
    assert answer.data == {
        "status": "error",
        "error": "apiErrors.external.email.createFailed",
        "details": "email address already exists",
    }


async def test_mailboxes_beyond_the_plan_are_403_with_details_only(current_panel: PanelClient) -> None:
    plan = await current_panel.data("POST", "/v1/plans", {"name": "Small", "slug": "small", "max_email_accounts": 1})
    domain = await current_panel.domain(user_id=(await current_panel.account(plan_id=plan["id"]))["id"])
    body = {"domain_id": domain["id"], "username": "info", "password": PASSWORD}
    await current_panel.data("POST", "/v1/email-accounts", body)
    answer = await current_panel.call("POST", "/v1/email-accounts", {**body, "username": "sales"})
    assert (answer.status, answer.data) == (403, {"status": "error", "details": "mailbox limit reached"})
