from tests.sandbox.panel_client import PanelClient


async def test_site_without_wordpress_is_none(current: PanelClient) -> None:
    domain = await current.domain()
    assert await current.data("GET", "/v1/wordpress") == []
    assert (await current.call("POST", f"/v1/wordpress/{domain['id']}/auto-login")).status == 404
