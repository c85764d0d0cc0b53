"""The objects of a domain, within its owner's plan: DNS records, certificates, databases, mailboxes, FTP users."""

import pytest

from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient

MAILBOX = {"local_part": "info", "password": PASSWORD}
USER = {"username": "app", "password": PASSWORD}


async def test_dns_records_are_created_changed_and_deleted(panel: SignedClient) -> None:
    domain = await panel.domain()
    path = f"/v1/dns/zones/{domain['id']}/records"
    www = await panel.ok("POST", path, {"name": "www", "type": "A", "content": "192.168.1.100", "priority": 5})
    assert www == {
        "id": www["id"],
        "zone_id": domain["id"],
        "name": "www",
        "type": "A",
        "content": "192.168.1.100",
        "ttl": 3600,
        "priority": None,
    }
    mail = await panel.ok("POST", path, {"name": "@", "type": "MX", "content": "mail.example.com", "ttl": 60})
    assert (mail["ttl"], mail["priority"]) == (60, 10)
    assert (await panel.ok("GET", path))[-2:] == [www, mail]

    changed = await panel.ok("PATCH", f"{path}/{www['id']}", {"name": "web", "ttl": 0, "priority": 5})
    assert changed == {**www, "name": "web", "ttl": 0}
    changed = await panel.ok("PATCH", f"{path}/{mail['id']}", {"priority": 0, "content": "mx.example.com"})
    assert (changed["priority"], changed["content"]) == (0, "mx.example.com")

    await panel.ok("DELETE", f"{path}/{www['id']}")
    await panel.refused(404, "DELETE", f"{path}/{www['id']}")
    await panel.refused(404, "PATCH", f"{path}/{www['id']}", {"ttl": 1})


async def test_record_when_created_twice_conflicts(panel: SignedClient) -> None:
    domain = await panel.domain()
    path = f"/v1/dns/zones/{domain['id']}/records"
    record = {"name": "www", "type": "A", "content": "192.0.2.1"}
    first = await panel.ok("POST", path, record)
    await panel.refused(409, "POST", path, {**record, "name": "WWW", "ttl": 60})
    second = await panel.ok("POST", path, {**record, "content": "192.0.2.2"})
    await panel.refused(409, "PATCH", f"{path}/{second['id']}", {"content": "192.0.2.1"})
    assert (await panel.ok("GET", path))[-2:] == [first, second]


async def test_record_in_another_zone_is_not_found(panel: SignedClient) -> None:
    john = await panel.account()
    first = await panel.domain("one.example", john["id"])
    second = await panel.domain("two.example", john["id"])
    (record, *_) = await panel.ok("GET", f"/v1/dns/zones/{first['id']}/records")
    await panel.refused(404, "DELETE", f"/v1/dns/zones/{second['id']}/records/{record['id']}")
    refusal = await panel.refused(404, "GET", "/v1/dns/zones/gone/records")
    assert refusal["error"] == "Zone not found"
    await panel.refused(404, "POST", "/v1/dns/zones/gone/records", {"name": "www", "type": "A", "content": "192.0.2.1"})


@pytest.mark.parametrize(
    ("kind", "content"), [("A", "::1"), ("A", "www.example.com"), ("AAAA", "192.0.2.1"), ("HINFO", "x"), ("TXT", "")]
)
async def test_record_when_invalid_is_rejected(panel: SignedClient, kind: str, content: str) -> None:
    domain = await panel.domain()
    path = f"/v1/dns/zones/{domain['id']}/records"
    await panel.refused(400, "POST", path, {"name": "www", "type": kind, "content": content})


async def test_record_when_changed_to_invalid_is_rejected(panel: SignedClient) -> None:
    domain = await panel.domain()
    path = f"/v1/dns/zones/{domain['id']}/records"
    record = await panel.ok("POST", path, {"name": "www", "type": "AAAA", "content": "2001:db8::1"})
    await panel.refused(400, "PATCH", f"{path}/{record['id']}", {"content": "192.0.2.1"})


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
    refusal = await panel.refused(400, "POST", "/v1/ssl/certificates", {"domain_id": domain["id"], "type": "golden"})
    assert refusal["details"] == "type: must be one of lets_encrypt, self_signed, custom"


async def test_databases_are_created_listed_and_deleted(panel: SignedClient) -> None:
    domain = await panel.domain()
    created = await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": domain["id"]})
    assert created == {
        "id": created["id"],
        "name": "app",
        "type": "mysql",
        "size_mb": 0.0,
        "user_count": 0,
        "domain_id": domain["id"],
        "created_at": "2026-03-07T12:00:00Z",
    }
    path = f"/v1/databases/{created['id']}"
    first = await panel.ok("POST", f"{path}/users", USER)
    assert first == {
        "id": first["id"],
        "username": "app",
        "privileges": "ALL",
        "is_primary": True,
        "database_name": "app",
        "domain_id": domain["id"],
        "user_id": domain["user_id"],
    }
    second = await panel.ok("POST", f"{path}/users", {**USER, "username": "reader", "privileges": "SELECT"})
    assert (second["privileges"], second["is_primary"]) == ("SELECT", False)
    await panel.refused(409, "POST", f"{path}/users", USER)
    assert [row["user_count"] for row in await panel.ok("GET", "/v1/databases")] == [2]
    await panel.ok("DELETE", path)
    assert panel.count("database_users") == 0
    await panel.refused(404, "DELETE", path)
    await panel.refused(404, "POST", f"{path}/users", USER)


async def test_database_with_username_has_its_first_user(panel: SignedClient) -> None:
    domain = await panel.domain()
    body = {"name": "app", "domain_id": domain["id"], "type": "postgresql"}
    refusal = await panel.refused(400, "POST", "/v1/databases", {**body, "username": "app"})
    assert refusal["details"] == "password is required"
    assert panel.count("databases") == 0
    assert (await panel.ok("POST", "/v1/databases", {**body, **USER}))["user_count"] == 1


async def test_database_when_created_twice_conflicts(panel: SignedClient) -> None:
    john = await panel.account()
    first = await panel.domain("one.example", john["id"])
    second = await panel.domain("two.example", john["id"])
    await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": first["id"]})
    await panel.refused(409, "POST", "/v1/databases", {"name": "app", "domain_id": second["id"]})
    await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": second["id"], "type": "postgresql"})
    assert len(await panel.ok("GET", f"/v1/databases?domain_id={second['id']}")) == 1


@pytest.mark.parametrize("field", ["name", "username"])
@pytest.mark.parametrize("name", ["a-b", "a b", "x" * 33, "ä"])
async def test_database_name_when_invalid_is_rejected(panel: SignedClient, field: str, name: str) -> None:
    domain = await panel.domain()
    body = {"name": "app", "domain_id": domain["id"], **USER, field: name}
    refusal = await panel.refused(400, "POST", "/v1/databases", body)
    assert refusal["details"].startswith(f"{field}: ")


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


async def test_ftp_users_are_created_listed_and_deleted(panel: SignedClient) -> None:
    domain = await panel.domain()
    created = await panel.ok("POST", "/v1/ftp/accounts", {**USER, "domain_id": domain["id"]})
    assert created == {
        "id": created["id"],
        "username": "app",
        "user_id": domain["user_id"],
        "domain_id": domain["id"],
        "home_directory": "/home/john/example.com/public_html",
        "quota_mb": 0,
        "used_mb": 0.0,
        "status": "active",
        "created_at": "2026-03-07T12:00:00Z",
    }
    await panel.refused(409, "POST", "/v1/ftp/accounts", {**USER, "domain_id": domain["id"]})
    assert await panel.ok("GET", "/v1/ftp/accounts") == [created]
    await panel.ok("DELETE", f"/v1/ftp/accounts/{created['id']}")
    await panel.refused(404, "DELETE", f"/v1/ftp/accounts/{created['id']}")


@pytest.mark.parametrize(
    ("directory", "status"),
    [
        ("/home/john", 201),
        ("/home/john/example.com/", 201),
        ("/home/jane", 403),
        ("/home/john/../jane", 403),
        ("/home", 403),
        ("example.com", 400),
    ],
)
async def test_ftp_home_must_be_in_the_owners_home(panel: SignedClient, directory: str, status: int) -> None:
    await panel.account("jane")
    domain = await panel.domain()
    body = {**USER, "domain_id": domain["id"], "home_directory": directory}
    assert (await panel.call("POST", "/v1/ftp/accounts", body)).status == status


@pytest.mark.parametrize("directory", ["/example.com", "/../example.com"])
async def test_ftp_home_may_be_below_the_owners_home(panel: SignedClient, directory: str) -> None:
    body = {**USER, "domain_id": (await panel.domain())["id"], "home_directory": directory}
    user = await panel.call("POST", "/v1/ftp/accounts", body)

    assert user.data["home_directory"] == "/home/john/example.com"


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


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/databases", {"name": "app"}), ("/v1/email/accounts", MAILBOX), ("/v1/ftp/accounts", USER)],
)
async def test_object_of_an_unknown_domain_is_404(panel: SignedClient, path: str, body: dict) -> None:
    refusal = await panel.refused(404, "POST", path, {**body, "domain_id": "gone"})
    assert (refusal["error"], refusal["details"]) == ("Domain not found", "id=gone")
