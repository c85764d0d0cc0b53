import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import SignedClient


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
    reply = await panel.refused(404, "GET", "/v1/dns/zones/gone/records")
    assert reply["error"] == "Zone not found"
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


async def test_records_are_changed_by_their_own_id(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    records = f"/v1/dns/zones/{domain['id']}/records"
    record = await current_panel.data("POST", records, {"type": "MX", "name": "@", "content": "mail.example.com"})
    assert (record["ttl"], record["priority"]) == (3600, 10)
    await current_panel.data("PATCH", f"/v1/dns/records/{record['id']}", {"ttl": 60, "type": "TXT"})
    [changed] = [row for row in await current_panel.data("GET", records) if row["id"] == record["id"]]
    assert changed == {**record, "ttl": 60}
    await current_panel.data("DELETE", f"/v1/dns/records/{record['id']}")
    assert record["id"] not in {row["id"] for row in await current_panel.data("GET", records)}


async def test_private_addresses_are_refused_in_records(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    for content, status in (("192.168.1.5", 400), ("203.0.113.7", 201), ("93.184.216.34", 201)):
        body = {"type": "A", "name": "www", "content": content}
        assert (await current_panel.call("POST", f"/v1/dns/zones/{domain['id']}/records", body)).status == status


async def test_zones_are_listed_and_synced(panel: SignedClient) -> None:
    zones = await panel.ok("GET", "/v1/cloudflare/zones")
    assert [zone["name"] for zone in zones] == ["example.com", "example.org"]
    await panel.domain("example.com")
    path = f"/v1/cloudflare/zones/{zones[0]['id']}/sync"
    assert await panel.ok("POST", path) == {"message": "2 records of example.com are in sync"}
    await panel.refused(404, "POST", "/v1/cloudflare/zones/gone/sync")


async def test_sync_ip_changes_the_root_record_or_adds_it(current_panel: PanelClient) -> None:
    zone = (await current_panel.data("GET", "/v1/cloudflare/zones"))[0]
    records = f"/v1/cloudflare/zones/{zone['id']}/dns"
    for address in ("192.0.2.1", "192.0.2.2"):
        body = {"zone_name": zone["name"], "server_ip": address}
        await current_panel.data("POST", f"/v1/cloudflare/zones/{zone['id']}/sync-ip", body)
        [record] = await current_panel.data("GET", records)
        assert (record["name"], record["content"], record["proxied"]) == (zone["name"], address, True)
    other = await current_panel.data("GET", "/v1/cloudflare/zones")
    elsewhere = next(row["id"] for row in other if row["id"] != zone["id"])
    assert (await current_panel.call("DELETE", f"/v1/cloudflare/zones/{elsewhere}/dns/{record['id']}")).status == 404
