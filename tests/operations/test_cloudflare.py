import pytest

from panelica_async import NotFoundError, PanelicaClient


async def test_cloudflare_zones_list(panel: PanelicaClient) -> None:
    zones = await panel.cloudflare.zones.list().collect()
    assert [zone.name for zone in zones] == ["example.com", "example.org"]
    assert {zone.status for zone in zones} == {"active"}
    assert all(zone.id for zone in zones)


async def test_cloudflare_zones_sync(panel: PanelicaClient) -> None:
    [zone, _] = await panel.cloudflare.zones.list().collect()
    assert (await panel.cloudflare.zones.sync(zone.id)).message == "0 records of example.com are in sync"
    with pytest.raises(NotFoundError):
        await panel.cloudflare.zones.sync("gone")
