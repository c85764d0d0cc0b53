import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.handlers.test_accounts import TABLES, fill
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import MAILBOX, USER, Clock, SignedClient


async def test_domain_is_created_changed_and_deleted(panel: SignedClient) -> None:
    owner = await panel.account("john")
    created = await panel.domain("Example.COM", owner["id"], php_version="8.4", web_server="apache")
    assert created == {
        "id": created["id"],
        "domain": "example.com",
        "user_id": owner["id"],
        "status": "active",
        "php_version": "8.4",
        "web_server": "apache",
        "document_root": "/home/john/example.com/public_html",
        "ssl_enabled": False,
        "disk_usage_mb": 0,
        "bandwidth_mb": 0,
        "created_at": "2026-03-07T12:00:00Z",
    }
    path = f"/v1/domains/{created['id']}"
    assert await panel.ok("GET", path) == created
    changed = await panel.ok("PATCH", path, {"php_version": "8.3"})
    assert changed == {**created, "php_version": "8.3"}
    await panel.ok("DELETE", path)
    await panel.refused(404, "GET", path)
    await panel.refused(404, "DELETE", path)


async def test_domain_without_options_has_defaults(panel: SignedClient) -> None:
    domain = await panel.domain()
    assert (domain["php_version"], domain["web_server"], domain["ssl_enabled"]) == ("8.3", "nginx", False)


async def test_domain_when_created_has_zone_and_directories(panel: SignedClient) -> None:
    domain = await panel.domain("example.com")
    records = await panel.ok("GET", f"/v1/dns/zones/{domain['id']}/records")
    assert {(row["name"], row["type"], row["zone_id"]) for row in records} == {("@", "NS", domain["id"])}
    (entry,) = await panel.ok("GET", "/v1/files?path=/home/john/example.com")
    assert (entry["name"], entry["type"], entry["owner"]) == ("public_html", "directory", "john")


async def test_administrators_may_have_domains(panel: SignedClient, current_panel: PanelClient) -> None:
    [root] = await panel.ok("GET", "/v1/accounts")
    assert (await panel.domain("example.com", root["id"]))["document_root"] == "/home/root/example.com/public_html"
    for account in await current_panel.data("GET", "/v1/accounts"):
        await current_panel.domain(f"{account['username']}.example.com", account["id"])
    assert len(await current_panel.data("GET", "/v1/domains")) == 3


async def test_domain_when_created_twice_conflicts(panel: SignedClient) -> None:
    await panel.domain("example.com")
    jane = await panel.account("jane")
    reply = await panel.refused(409, "POST", "/v1/domains", {"domain": "EXAMPLE.com", "user_id": jane["id"]})
    assert (reply["code"], reply["details"]) == ("CONFLICT", "domain=example.com")
    assert panel.count("domains") == 1


async def test_domain_of_an_unknown_owner_is_404(panel: SignedClient) -> None:
    reply = await panel.refused(404, "POST", "/v1/domains", {"domain": "example.com", "user_id": "gone"})
    assert reply["error"] == "Account not found"


@pytest.mark.parametrize(
    "name",
    ["example", "-a.example", "a-.example", "a..example", ".example", "a b.example", "a_b.example", "a/b.example",
     "x" * 64 + ".example", "a." * 130 + "example", "..", "example.com/"],
)  # fmt: skip
async def test_domain_name_when_invalid_is_rejected(panel: SignedClient, name: str) -> None:
    owner = await panel.account()
    reply = await panel.refused(400, "POST", "/v1/domains", {"domain": name, "user_id": owner["id"]})
    assert reply["details"] == "domain: must be a name such as example.com"


@pytest.mark.parametrize(
    "name", ["a.example", "xn--mnchen-3ya.example", "münchen.example", "a-b.c-d.example", "1.example"]
)
async def test_domain_name_when_valid_is_accepted(panel: SignedClient, name: str) -> None:
    assert (await panel.domain(name))["domain"] == name


@pytest.mark.parametrize(
    ("field", "value"), [("php_version", "4.0"), ("web_server", "iis"), ("ssl_type", "golden"), ("user_id", "")]
)
async def test_value_when_invalid_is_rejected(panel: SignedClient, field: str, value: str) -> None:
    owner = await panel.account()
    body = {"domain": "example.com", "user_id": owner["id"], field: value}
    reply = await panel.refused(400, "POST", "/v1/domains", body)
    assert reply["details"].startswith(f"{field}: ")
    assert panel.count("domains") == 0


async def test_php_version_must_be_in_the_plan(panel: SignedClient) -> None:
    await panel.ok("POST", "/v1/plans", {"name": "Old", "php_versions": ["7.4", "8.1"]})
    owner = await panel.account("john", "Old")
    await panel.refused(
        400, "POST", "/v1/domains", {"domain": "a.example", "user_id": owner["id"], "php_version": "8.3"}
    )
    domain = await panel.domain("a.example", owner["id"])
    assert domain["php_version"] == "8.1"
    await panel.refused(400, "PATCH", f"/v1/domains/{domain['id']}", {"php_version": "8.2"})


async def test_domain_can_be_suspended_and_unsuspended(panel: SignedClient) -> None:
    domain = await panel.domain()
    await fill(panel, domain)
    path = f"/v1/domains/{domain['id']}"
    for _ in range(2):
        assert await panel.ok("POST", f"{path}/suspend") == {"message": "Domain suspended"}
    assert (await panel.ok("GET", path))["status"] == "suspended"
    for listing in ("/v1/email/accounts", "/v1/ftp/accounts"):
        assert [row["status"] for row in await panel.ok("GET", listing)] == ["suspended"]
    reply = await panel.refused(403, "POST", "/v1/databases", {"name": "late", "domain_id": domain["id"]})
    assert reply["error"] == "Domain suspended"
    await panel.ok("POST", f"{path}/unsuspend")
    assert (await panel.ok("GET", path))["status"] == "active"
    await panel.refused(404, "POST", "/v1/domains/gone/suspend")
    await panel.refused(404, "POST", "/v1/domains/gone/unsuspend")


async def test_domain_when_deleted_loses_its_objects(panel: SignedClient) -> None:
    john = await panel.account("john")
    kept = await panel.domain("kept.example", john["id"])
    before = {table: panel.count(table) for table in TABLES}
    gone = await panel.domain("gone.example", john["id"], ssl_type="self_signed")
    await fill(panel, gone)
    await panel.ok("DELETE", f"/v1/domains/{gone['id']}")
    assert {table: panel.count(table) for table in TABLES} == before
    assert [row["id"] for row in await panel.ok("GET", "/v1/domains")] == [kept["id"]]
    # The name is free again.
    await panel.domain("gone.example", john["id"])


async def test_traffic_grows_with_the_clock_in_every_reply(panel: SignedClient, clock: Clock) -> None:
    domain = await panel.domain("example.com")
    assert (await panel.ok("GET", "/v1/bandwidth"))["total_bytes_in"] == 0
    clock.advance(86400)
    usage = await panel.ok("GET", "/v1/bandwidth?period=monthly&month=2026-03")
    assert usage == await panel.ok("GET", "/v1/bandwidth")
    (row,) = usage["domains"]
    assert (usage["period"], row["domain"]) == ("2026-03", "example.com")
    assert (usage["total_bytes_in"], usage["total_bytes_out"]) == (row["bytes_in"], row["bytes_out"])
    assert row["bytes_in"] >= 86400 * 100
    megabytes = (row["bytes_in"] + row["bytes_out"]) // 1024**2
    assert (await panel.ok("GET", f"/v1/domains/{domain['id']}"))["bandwidth_mb"] == megabytes
    assert (await panel.ok("GET", f"/v1/accounts/{domain['user_id']}"))["bandwidth_mb"] == megabytes
    for month in ("2026-02", "2026-04", "2027-03"):
        assert (await panel.ok("GET", f"/v1/bandwidth?month={month}"))["total_bytes_out"] == 0
    clock.advance(30 * 86400)
    assert (await panel.ok("GET", "/v1/bandwidth"))["period"] == "2026-04"
    assert (await panel.ok("GET", "/v1/bandwidth?month=9999-12"))["total_bytes_out"] == 0
    await panel.refused(400, "GET", "/v1/bandwidth?month=0000-12")
    await panel.refused(400, "GET", "/v1/bandwidth?month=2026-13")
    await panel.refused(400, "GET", "/v1/bandwidth?period=weekly")


async def test_disk_usage_counts_the_files(panel: SignedClient, box: Sandbox) -> None:
    domain = await panel.domain()
    body = {"path": f"{domain['document_root']}/big.txt", "content": "x" * (3 * 1024**2 + 1)}
    await panel.ok("PUT", "/v1/files/content", body)
    assert (await panel.ok("GET", f"/v1/domains/{domain['id']}"))["disk_usage_mb"] == 4
    assert (await panel.ok("GET", f"/v1/accounts/{domain['user_id']}"))["disk_usage_mb"] == 4


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/databases", {"name": "app"}), ("/v1/email/accounts", MAILBOX), ("/v1/ftp/accounts", USER)],
)
async def test_object_of_an_unknown_domain_is_404(panel: SignedClient, path: str, body: dict) -> None:
    reply = await panel.refused(404, "POST", path, {**body, "domain_id": "gone"})
    assert (reply["error"], reply["details"]) == ("Domain not found", "id=gone")


async def test_partial_change_of_php_resets_the_rest(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    path = f"/v1/domains/{domain['id']}/php"
    before = await current_panel.data("GET", path)
    await current_panel.data("PATCH", path, {"memory_limit": "1G", "post_max_size": "1G"})
    await current_panel.data("PATCH", path, {"php_version": "8.4", "post_max_size": "2G"})
    assert await current_panel.data("GET", path) == {**before, "php_version": "8.4", "post_max_size": "2G"}


async def test_certificate_when_ordered_is_pending_first(panel: SignedClient, clock: Clock) -> None:
    domain = await panel.domain()
    ordered = await panel.ok("POST", "/v1/ssl/certificates", {"domain_id": domain["id"]})
    assert ordered == {
        "id": ordered["id"],
        "domain_id": domain["id"],
        "domain": "example.com",
        "type": "lets_encrypt",
        "status": "pending",
        "issuer": "Let's Encrypt",
        "expires_at": "2026-06-05T12:00:00Z",
        "auto_renew": True,
        "created_at": "2026-03-07T12:00:00Z",
    }

    async def state() -> tuple[str, bool]:
        (certificate,) = await panel.ok("GET", "/v1/ssl/certificates")
        return certificate["status"], (await panel.ok("GET", f"/v1/domains/{domain['id']}"))["ssl_enabled"]

    assert await state() == ("pending", False)
    clock.advance(59)
    assert await state() == ("pending", False)
    clock.advance(1)
    assert await state() == ("active", True)
    await panel.refused(409, "POST", "/v1/ssl/certificates", {"domain_id": domain["id"]})

    renew = f"/v1/ssl/certificates/{ordered['id']}/renew"
    clock.advance(86400)
    renewed = await panel.ok("POST", renew)
    assert (renewed["status"], renewed["expires_at"]) == ("pending", "2026-06-06T12:01:00Z")
    assert await state() == ("pending", True)
    clock.advance(60)
    assert await state() == ("active", True)

    clock.advance(90 * 86400)
    assert await state() == ("expired", False)
    await panel.ok("POST", renew)
    assert await state() == ("pending", False)
    clock.advance(60)
    assert await state() == ("active", True)
    await panel.refused(404, "POST", "/v1/ssl/certificates/gone/renew")


async def test_certificate_when_expired_can_be_reordered(panel: SignedClient, clock: Clock) -> None:
    domain = await panel.domain(ssl_type="self_signed")
    assert domain["ssl_enabled"] is True
    clock.advance(365 * 86400)
    ordered = await panel.ok("POST", "/v1/ssl/certificates", {"domain_id": domain["id"], "type": "custom"})
    assert [row["id"] for row in await panel.ok("GET", "/v1/ssl/certificates")] == [ordered["id"]]
    assert ordered["status"] == "active"


async def test_domain_with_ssl_type_has_a_certificate(panel: SignedClient, clock: Clock) -> None:
    domain = await panel.domain(ssl_type="lets_encrypt")
    assert domain["ssl_enabled"] is False
    clock.advance(60)
    assert (await panel.ok("GET", f"/v1/domains/{domain['id']}"))["ssl_enabled"] is True


async def test_certificate_order_when_invalid_is_rejected(panel: SignedClient) -> None:
    domain = await panel.domain()
    await panel.refused(404, "POST", "/v1/ssl/certificates", {"domain_id": "gone"})
    reply = await panel.refused(400, "POST", "/v1/ssl/certificates", {"domain_id": domain["id"], "type": "golden"})
    assert reply["details"] == "type: must be one of lets_encrypt, self_signed, custom"


async def test_certificate_is_there_a_minute_after_it_was_ordered(current_panel: PanelClient, clock: Clock) -> None:
    path = f"/v1/ssl/domains/{(await current_panel.domain())['id']}"
    for _ in range(2):  # Ordering again changes nothing.
        answer = await current_panel.call("POST", f"{path}/issue", [])
        assert answer.data == {"status": "success", "message": "SSL certificate issuance started"}
        clock.advance(29)
        assert (await current_panel.data("GET", path))["has_ssl"] is False
    clock.advance(2)
    data = await current_panel.data("GET", path)
    assert (data["has_ssl"], data["domain_name"]) == (True, "example.com")
