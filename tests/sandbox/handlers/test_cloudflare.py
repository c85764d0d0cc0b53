from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import SignedClient


async def test_zones_are_listed_and_synced(panel: SignedClient) -> None:
    zones = await panel.ok("GET", "/v1/cloudflare/zones")
    assert [zone["name"] for zone in zones] == ["example.com", "example.org"]
    await panel.domain("example.com")
    path = f"/v1/cloudflare/zones/{zones[0]['id']}/sync"
    assert await panel.ok("POST", path) == {"message": "2 records of example.com are in sync"}
    await panel.refused(404, "POST", "/v1/cloudflare/zones/gone/sync")


async def test_sync_ip_changes_the_root_record_or_adds_it(current: PanelClient) -> None:
    zone = (await current.data("GET", "/v1/cloudflare/zones"))[0]
    records = f"/v1/cloudflare/zones/{zone['id']}/dns"
    for address in ("192.0.2.1", "192.0.2.2"):
        body = {"zone_name": zone["name"], "server_ip": address}
        await current.data("POST", f"/v1/cloudflare/zones/{zone['id']}/sync-ip", body)
        [record] = await current.data("GET", records)
        assert (record["name"], record["content"], record["proxied"]) == (zone["name"], address, True)
    other = await current.data("GET", "/v1/cloudflare/zones")
    elsewhere = next(row["id"] for row in other if row["id"] != zone["id"])
    assert (await current.call("DELETE", f"/v1/cloudflare/zones/{elsewhere}/dns/{record['id']}")).status == 404
