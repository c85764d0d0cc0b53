from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import MAILBOX, USER, SignedClient


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
        refusal = await panel.refused(403, "POST", path, body)
        assert (refusal["error"], refusal["code"]) == ("Plan limit reached", "FORBIDDEN")
        assert refusal["details"] == f"{limit} is {limits[limit]} in the plan Tiny"
    # Other accounts are not affected, and -1 means no limit.
    await panel.domain("three.example", (await panel.account("jane"))["id"])
    await panel.ok("PATCH", f"/v1/plans/{plan['id']}", dict.fromkeys(limits, -1))
    for path, body, _ in attempts:
        await panel.ok("POST", path, body)


async def test_plan_post_drops_zero_and_false_patch_keeps_them(current: PanelClient) -> None:
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
