import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient

TABLES = (
    "accounts",
    "domains",
    "dns_records",
    "certificates",
    "databases",
    "database_users",
    "email_accounts",
    "ftp_accounts",
    "files",
)


async def test_accounts_include_root(panel: SignedClient) -> None:
    (root,) = await panel.ok("GET", "/v1/accounts")
    assert (root["username"], root["role"], root["plan_id"], root["domain_count"]) == ("root", "ROOT", None, 0)
    for action in ("/suspend", ""):
        method = "POST" if action else "DELETE"
        refusal = await panel.refused(403, method, f"/v1/accounts/{root['id']}{action}")
        assert refusal["code"] == "FORBIDDEN"


async def test_account_is_created_changed_and_deleted(panel: SignedClient, clock: Clock) -> None:
    created = await panel.account("john", "Standard", full_name="John Doe", role="reseller")
    assert created == {
        "id": created["id"],
        "username": "john",
        "email": "john@example.net",
        "role": "RESELLER",
        "status": "active",
        "plan_id": created["plan_id"],
        "plan_name": "Standard",
        "domain_count": 0,
        "disk_usage_mb": 0,
        "bandwidth_mb": 0,
        "created_at": "2026-03-07T12:00:00Z",
    }
    path = f"/v1/accounts/{created['id']}"
    assert await panel.ok("GET", path) == created

    starter = next(plan for plan in await panel.ok("GET", "/v1/plans") if plan["name"] == "Starter")
    changed = await panel.ok("PATCH", path, {"plan_id": starter["id"], "email": "jd@example.net", "role": "USER"})
    assert (changed["plan_name"], changed["email"], changed["role"]) == ("Starter", "jd@example.net", "USER")

    await panel.domain("example.com", created["id"])
    assert (await panel.ok("GET", path))["domain_count"] == 1
    await panel.ok("DELETE", path)
    assert (await panel.refused(404, "GET", path))["code"] == "NOT_FOUND"
    await panel.refused(404, "DELETE", path)


async def test_account_without_a_plan_has_role_user(panel: SignedClient) -> None:
    account = await panel.account()
    assert (account["plan_id"], account["plan_name"], account["role"]) == (None, None, "USER")


async def test_username_and_email_when_used_twice_conflict(panel: SignedClient) -> None:
    await panel.account("john")
    refusal = await panel.refused(
        409, "POST", "/v1/accounts", {"username": "john", "email": "other@example.net", "password": PASSWORD}
    )
    assert (refusal["code"], refusal["details"]) == ("CONFLICT", "username=john")
    refusal = await panel.refused(
        409, "POST", "/v1/accounts", {"username": "jane", "email": "JOHN@example.net", "password": PASSWORD}
    )
    assert refusal["details"] == "email=JOHN@example.net"
    jane = await panel.account("jane")
    await panel.refused(409, "PATCH", f"/v1/accounts/{jane['id']}", {"email": "John@Example.net"})
    assert panel.count("accounts") == 3
    # The refused calls left nothing behind.
    assert panel.count("files") == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "John"),
        ("username", "john doe"),
        ("username", "1john"),
        ("username", ""),
        ("email", "john"),
        ("email", "a@b@c"),
        ("password", "short"),
        ("role", "ROOT"),
        ("role", "king"),
        ("plan_id", 5),
    ],
)
async def test_value_when_invalid_is_rejected(panel: SignedClient, field: str, value: object) -> None:
    body = {"username": "john", "email": "john@example.net", "password": PASSWORD, field: value}
    refusal = await panel.refused(400, "POST", "/v1/accounts", body)
    assert refusal["code"] == "BAD_REQUEST"
    assert refusal["details"].startswith(f"{field}: ")


async def test_account_with_an_unknown_plan_is_rejected(panel: SignedClient) -> None:
    body = {"username": "john", "email": "john@example.net", "password": PASSWORD, "plan_id": "gone"}
    refusal = await panel.refused(404, "POST", "/v1/accounts", body)
    assert (refusal["error"], refusal["details"]) == ("Plan not found", "id=gone")


async def test_account_when_suspended_suspends_its_domains(panel: SignedClient) -> None:
    john = await panel.account("john")
    first = await panel.domain("one.example", john["id"])
    second = await panel.domain("two.example", john["id"])
    other = await panel.domain("three.example", (await panel.account("jane"))["id"])
    await panel.ok("POST", f"/v1/domains/{second['id']}/suspend")

    async def states() -> dict[str, str]:
        return {row["domain"]: row["status"] for row in await panel.ok("GET", "/v1/domains")}

    assert await states() == {"one.example": "active", "two.example": "suspended", "three.example": "active"}
    await panel.ok("POST", f"/v1/accounts/{john['id']}/suspend", {"reason": "unpaid"})
    assert (await panel.ok("GET", f"/v1/accounts/{john['id']}"))["status"] == "suspended"
    assert await states() == {"one.example": "suspended", "two.example": "suspended", "three.example": "active"}
    assert [row["id"] for row in await panel.ok("GET", "/v1/domains?status=active")] == [other["id"]]
    # Not while its account is suspended.
    await panel.refused(403, "POST", f"/v1/domains/{first['id']}/unsuspend")
    await panel.refused(403, "POST", "/v1/domains", {"domain": "new.example", "user_id": john["id"]})

    await panel.ok("POST", f"/v1/accounts/{john['id']}/unsuspend")
    assert (await panel.ok("GET", f"/v1/accounts/{john['id']}"))["status"] == "active"
    assert await states() == {"one.example": "active", "two.example": "suspended", "three.example": "active"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b" \n", b'{"reason": "unpaid", "unknown": 1}'])
@pytest.mark.parametrize("action", ["suspend", "unsuspend"])
async def test_action_accepts_any_form_of_an_empty_body(panel: SignedClient, action: str, body: bytes) -> None:
    account = await panel.account()
    for _ in range(2):
        reply = await panel.ok("POST", f"/v1/accounts/{account['id']}/{action}", body)
        assert reply == {"message": f"Account {action}ed"}


async def test_account_when_unknown_is_404(panel: SignedClient) -> None:
    for method, path in [
        ("GET", "/v1/accounts/gone"),
        ("PATCH", "/v1/accounts/gone"),
        ("DELETE", "/v1/accounts/gone"),
        ("POST", "/v1/accounts/gone/suspend"),
        ("POST", "/v1/accounts/gone/unsuspend"),
    ]:
        body = {"email": "a@example.net"} if method == "PATCH" else {}
        assert (await panel.refused(404, method, path, body))["details"] == "id=gone"


async def test_account_when_deleted_loses_everything(panel: SignedClient) -> None:
    before = {table: panel.count(table) for table in TABLES}
    john = await panel.account("john")
    domain = await panel.domain("example.com", john["id"], ssl_type="self_signed")
    await fill(panel, domain)
    assert all(panel.count(table) > before[table] for table in TABLES)
    await panel.ok("DELETE", f"/v1/accounts/{john['id']}")
    assert {table: panel.count(table) for table in TABLES} == before


async def fill(panel: SignedClient, domain: dict) -> None:
    """Create one object of each kind for a domain."""
    domain_id, root = domain["id"], domain["document_root"]
    await panel.ok("POST", f"/v1/dns/zones/{domain_id}/records", {"name": "www", "type": "A", "content": "192.0.2.1"})
    user = {"username": "app", "password": PASSWORD}
    await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": domain_id, **user})
    mailbox = {"local_part": "info", "domain_id": domain_id, "password": PASSWORD}
    await panel.ok("POST", "/v1/email/accounts", mailbox)
    await panel.ok("POST", "/v1/ftp/accounts", {"domain_id": domain_id, **user})
    await panel.ok("PUT", "/v1/files/content", {"path": f"{root}/index.html", "content": "hello"})


async def test_accounts_include_administrators_and_total(current: PanelClient) -> None:
    await current.account()
    body = (await current.call("GET", "/v1/accounts")).data
    assert sorted(row["role"] for row in body["data"]) == ["ADMIN", "RESELLER", "ROOT", "USER"]
    assert body["total"] == 4


async def test_suspend_when_account_is_gone_answers_400(current: PanelClient) -> None:
    path = "/v1/accounts/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f"
    for method, action in (("POST", "/suspend"), ("POST", "/unsuspend"), ("DELETE", "")):
        answer = await current.call(method, path + action)
        assert (answer.status, answer.data["details"]) == (400, "user not found")
    answer = await current.call("GET", path)
    assert (answer.status, answer.data) == (404, {"status": "error", "error": "Account not found"})


async def test_duplicate_email_is_400_in_any_case(current: PanelClient) -> None:
    await current.account("john", email="John@example.net")
    fields = {"username": "jane", "full_name": "J", "password": PASSWORD, "email": "JOHN@example.net"}
    answer = await current.call("POST", "/v1/accounts", fields)
    assert answer.status == 400
    assert answer.data["details"] == "apiErrors.users.emailAlreadyExists"


async def test_sso_link_carries_an_address_of_the_panels_network(current: PanelClient) -> None:
    account = await current.account()
    data = await current.data("POST", f"/v1/accounts/{account['id']}/sso-login", [])
    assert data["url"].startswith("https://10.0.0.12:8443/auto-login?token=")
    assert data["expires_in"] == 300
