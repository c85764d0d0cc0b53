from panelica_async.catalog import SERVICES
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient


async def test_services_start_and_stop(panel: SignedClient, clock: Clock) -> None:
    services = await panel.ok("GET", "/v1/server/services")
    assert {row["name"]: row["display_name"] for row in services} == dict(SERVICES)
    path = "/v1/server/services/nginx"

    async def nginx() -> tuple[str, int | None, int | None]:
        (row,) = [row for row in await panel.ok("GET", "/v1/server/services") if row["name"] == "nginx"]
        return row["status"], row["pid"], row["uptime_seconds"]

    first = await nginx()
    assert first == ("running", 1000, 883_800)
    await panel.ok("POST", f"{path}/start")
    assert await nginx() == first
    for _ in range(2):
        await panel.ok("POST", f"{path}/stop", b"[]")
        assert await nginx() == ("stopped", None, None)
    await panel.ok("POST", f"{path}/start")
    clock.advance(5)
    assert await nginx() == ("running", 2001, 5)
    assert await panel.ok("POST", f"{path}/restart") == {"message": "Nginx restarted"}
    assert await nginx() == ("running", 2002, 0)
    for action in ("start", "stop", "restart"):
        await panel.refused(404, "POST", f"/v1/server/services/gone/{action}")


async def test_server_status_follows_clock_and_services(panel: SignedClient, clock: Clock) -> None:
    before = await panel.ok("GET", "/v1/server/status")
    assert (before["status"], before["hostname"]) == ("online", "server1.example.com")
    clock.advance(60)
    await panel.ok("POST", "/v1/server/services/mysql/stop")
    after = await panel.ok("GET", "/v1/server/status")
    assert after["uptime_seconds"] == before["uptime_seconds"] + 60
    assert after["memory"]["used_mb"] < before["memory"]["used_mb"]


async def test_licence_knows_its_features_and_quotas(current_panel: PanelClient) -> None:
    for part in ("features", "quotas"):
        rows = await current_panel.data("GET", f"/v1/license/{part}")
        name = next(iter(rows[0].values()))
        assert await current_panel.data("GET", f"/v1/license/{part}/{name}") == rows[0]
        assert (await current_panel.call("GET", f"/v1/license/{part}/none")).status == 404
