from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient


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


async def test_certificate_is_there_a_minute_after_it_was_ordered(current: PanelClient, clock: Clock) -> None:
    path = f"/v1/ssl/domains/{(await current.domain())['id']}"
    for _ in range(2):  # Ordering again changes nothing.
        answer = await current.call("POST", f"{path}/issue", [])
        assert answer.data == {"status": "success", "message": "SSL certificate issuance started"}
        clock.advance(29)
        assert (await current.data("GET", path))["has_ssl"] is False
    clock.advance(2)
    data = await current.data("GET", path)
    assert (data["has_ssl"], data["domain_name"]) == (True, "example.com")
