from panelica_async import PanelicaClient
from panelica_async.models import HealthStatus, RateLimitTier
from panelica_async.sandbox import Sandbox


async def test_rate_limit(panel: PanelicaClient, box: Sandbox) -> None:
    key = box.add_key(tier="professional")
    async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, tier="starter") as other:
        await other.me()
        status = await other.rate_limit()
    assert status.tier is RateLimitTier.PROFESSIONAL
    assert (status.requests_per_minute, status.requests_per_hour, status.burst_size) == (300, 10000, 50)
    assert status.current_hour_usage == 2
    assert status.reset_at is not None


async def test_health(panel: PanelicaClient, box: Sandbox) -> None:
    health = await panel.health()
    assert (health.status, health.version) == (HealthStatus.HEALTHY, "1.0.27")
    async with PanelicaClient(box.base_url, api_key="pk_live_unknown", api_secret="sk_live_unknown") as stranger:
        assert (await stranger.health()).status is HealthStatus.HEALTHY


async def test_me(panel: PanelicaClient, box: Sandbox) -> None:
    me = await panel.me()
    assert me.scopes == ["*:*"]
    assert me.rate_limit_tier is RateLimitTier.ENTERPRISE
    assert me.user is not None
    assert (me.user.username, me.user.role) == ("root", "ROOT")
    assert box.api_key.startswith(me.key_prefix)


async def test_postman_collection(panel: PanelicaClient) -> None:
    collection = await panel.postman_collection()
    assert {"info", "item"} <= set(collection)
    assert "v2.1" in collection["info"]["schema"]
