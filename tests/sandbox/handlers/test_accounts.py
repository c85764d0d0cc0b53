import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import MAILBOX, PASSWORD, USER, Clock, SignedClient

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
        reply = await panel.refused(403, method, f"/v1/accounts/{root['id']}{action}")
        assert reply["code"] == "FORBIDDEN"


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
    reply = await panel.refused(
        409, "POST", "/v1/accounts", {"username": "john", "email": "other@example.net", "password": PASSWORD}
    )
    assert (reply["code"], reply["details"]) == ("CONFLICT", "username=john")
    reply = await panel.refused(
        409, "POST", "/v1/accounts", {"username": "jane", "email": "JOHN@example.net", "password": PASSWORD}
    )
    assert reply["details"] == "email=JOHN@example.net"
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
    reply = await panel.refused(400, "POST", "/v1/accounts", body)
    assert reply["code"] == "BAD_REQUEST"
    assert reply["details"].startswith(f"{field}: ")


async def test_account_with_an_unknown_plan_is_rejected(panel: SignedClient) -> None:
    body = {"username": "john", "email": "john@example.net", "password": PASSWORD, "plan_id": "gone"}
    reply = await panel.refused(404, "POST", "/v1/accounts", body)
    assert (reply["error"], reply["details"]) == ("Plan not found", "id=gone")


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


async def test_accounts_include_administrators_and_total(current_panel: PanelClient) -> None:
    await current_panel.account()
    body = (await current_panel.call("GET", "/v1/accounts")).data
    assert sorted(row["role"] for row in body["data"]) == ["ADMIN", "RESELLER", "ROOT", "USER"]
    assert body["total"] == 4


async def test_suspend_when_account_is_gone_answers_400(current_panel: PanelClient) -> None:
    path = "/v1/accounts/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f"
    for method, action in (("POST", "/suspend"), ("POST", "/unsuspend"), ("DELETE", "")):
        answer = await current_panel.call(method, path + action)
        assert (answer.status, answer.data["details"]) == (400, "user not found")
    answer = await current_panel.call("GET", path)
    assert (answer.status, answer.data) == (404, {"status": "error", "error": "Account not found"})


async def test_duplicate_email_is_400_in_any_case(current_panel: PanelClient) -> None:
    await current_panel.account("john", email="John@example.net")
    fields = {"username": "jane", "full_name": "J", "password": PASSWORD, "email": "JOHN@example.net"}
    answer = await current_panel.call("POST", "/v1/accounts", fields)
    assert answer.status == 400
    assert answer.data["details"] == "apiErrors.users.emailAlreadyExists"


async def test_sso_link_carries_an_address_of_the_panels_network(current_panel: PanelClient) -> None:
    account = await current_panel.account()
    data = await current_panel.data("POST", f"/v1/accounts/{account['id']}/sso-login", [])
    assert data["url"].startswith("https://10.0.0.12:8443/auto-login?token=")
    assert data["expires_in"] == 300


async def test_plans_are_created_listed_and_changed(panel: SignedClient) -> None:
    assert [plan["name"] for plan in await panel.ok("GET", "/v1/plans")] == ["Starter", "Standard", "Business"]
    created = await panel.ok("POST", "/v1/plans", {"name": "Très Grand Plan!", "max_domains": 0})
    assert created == {
        "id": created["id"],
        "name": "Très Grand Plan!",
        "slug": "très-grand-plan",
        "max_domains": 0,
        "max_databases": None,
        "max_email_accounts": None,
        "max_ftp_accounts": None,
        "disk_space_mb": None,
        "bandwidth_mb": None,
        "php_versions": created["php_versions"],
        "user_count": 0,
    }
    await panel.refused(409, "POST", "/v1/plans", {"name": "très grand plan!".title()})
    path = f"/v1/plans/{created['id']}"
    changed = await panel.ok("PATCH", path, {"max_domains": -1, "slug": "big", "php_versions": ["8.4"]})
    assert changed == {**created, "max_domains": -1, "slug": "big", "php_versions": ["8.4"]}
    await panel.refused(409, "PATCH", path, {"name": "starter"})
    await panel.refused(400, "PATCH", path, {})
    await panel.refused(404, "PATCH", "/v1/plans/gone", {"max_domains": 1})
    await panel.account("john", "Starter")
    counts = {plan["name"]: plan["user_count"] for plan in await panel.ok("GET", "/v1/plans")}
    assert (counts["Starter"], counts["Standard"]) == (1, 0)


async def test_object_beyond_the_plan_is_refused(panel: SignedClient) -> None:
    limits = {"max_domains": 1, "max_databases": 1, "max_email_accounts": 1, "max_ftp_accounts": 0}
    plan = await panel.ok("POST", "/v1/plans", {"name": "Tiny", **limits})
    john = await panel.account("john", "Tiny")
    domain = await panel.domain("one.example", john["id"])
    attempts = [
        ("/v1/domains", {"domain": "two.example", "user_id": john["id"]}, "max_domains"),
        ("/v1/databases", {"name": "two", "domain_id": domain["id"]}, "max_databases"),
        ("/v1/email/accounts", {**MAILBOX, "local_part": "two", "domain_id": domain["id"]}, "max_email_accounts"),
        ("/v1/ftp/accounts", {**USER, "domain_id": domain["id"]}, "max_ftp_accounts"),
    ]
    await panel.ok("POST", "/v1/databases", {"name": "one", "domain_id": domain["id"]})
    await panel.ok("POST", "/v1/email/accounts", {**MAILBOX, "domain_id": domain["id"]})
    for path, body, limit in attempts:
        reply = await panel.refused(403, "POST", path, body)
        assert (reply["error"], reply["code"]) == ("Plan limit reached", "FORBIDDEN")
        assert reply["details"] == f"{limit} is {limits[limit]} in the plan Tiny"
    # Other accounts are not affected, and -1 means no limit.
    await panel.domain("three.example", (await panel.account("jane"))["id"])
    await panel.ok("PATCH", f"/v1/plans/{plan['id']}", dict.fromkeys(limits, -1))
    for path, body, _ in attempts:
        await panel.ok("POST", path, body)


async def test_plan_post_drops_zero_and_false_patch_keeps_them(current_panel: PanelClient) -> None:
    fields = {"disk_quota_mb": 0, "max_cron_jobs": 0, "backup_enabled": False, "max_domains": -1, "memory_limit_mb": 7}
    plan = await current_panel.data("POST", "/v1/plans", {"name": "Small", "slug": "small", **fields})
    dropped = {"disk_quota_mb": 5120, "max_cron_jobs": 3, "backup_enabled": True, "max_domains": -1}
    assert plan.items() >= {**dropped, "memory_limit_mb": 512, "process_limit": 50}.items()
    await current_panel.data("PATCH", f"/v1/plans/{plan['id']}", {**fields, "inode_quota": -1, "unheard_of": 1})
    [row] = [row for row in await current_panel.data("GET", "/v1/plans") if row["id"] == plan["id"]]
    assert row.items() >= {**fields, "inode_quota": -1, "slug": "small"}.items()
    assert "unheard_of" not in row


async def test_plan_without_slug_is_refused(current_panel: PanelClient) -> None:
    answer = await current_panel.call("POST", "/v1/plans", {"name": "Small"})
    assert answer.data["error"].endswith("'Slug' failed on the 'required' tag")


async def test_plan_in_use_cannot_be_deleted(current_panel: PanelClient) -> None:
    plan = await current_panel.data("POST", "/v1/plans", {"name": "Small", "slug": "small"})
    account = await current_panel.account(plan_id=plan["id"])
    answer = await current_panel.call("DELETE", f"/v1/plans/{plan['id']}")
    assert (answer.status, answer.data) == (409, {"status": "error", "message": "plan has accounts"})
    await current_panel.data("DELETE", f"/v1/accounts/{account['id']}")
    await current_panel.data("DELETE", f"/v1/plans/{plan['id']}")


async def test_domains_beyond_the_plan_are_403(current_panel: PanelClient) -> None:
    plan = await current_panel.data("POST", "/v1/plans", {"name": "Small", "slug": "small", "max_domains": 1})
    account = await current_panel.account(plan_id=plan["id"])
    await current_panel.domain("one.example", account["id"])
    answer = await current_panel.call("POST", "/v1/domains", {"name": "two.example", "user_id": account["id"]})
    assert (answer.status, answer.data["details"]) == (403, {"limit": "max_domains"})
