from datetime import timedelta

import pytest

from panelica_async import AuthenticationError, PanelicaClient
from panelica_async.models import RateLimitTier
from panelica_async.sandbox import Sandbox


async def test_api_keys_list(panel: PanelicaClient) -> None:
    created = await panel.api_keys.create(name="Monitoring", scopes=["server:read"], ip_whitelist=["192.0.2.0/24"])
    own, listed = await panel.api_keys.list().collect()
    assert own.scopes == ["*:*"]
    assert (listed.id, listed.name, listed.key_prefix) == (created.id, "Monitoring", created.key_prefix)
    assert (listed.scopes, listed.ip_whitelist, listed.status) == (["server:read"], ["192.0.2.0/24"], "active")


async def test_api_keys_create(panel: PanelicaClient, box: Sandbox) -> None:
    created = await panel.api_keys.create(
        name="Billing", scopes=["domains:read"], rate_limit_tier="business", expires_in=90, environment="test"
    )
    assert created.api_key.startswith(created.key_prefix or "?")
    assert created.rate_limit_tier is RateLimitTier.BUSINESS
    assert created.expires_at is not None
    assert created.created_at is not None
    assert created.expires_at - created.created_at == timedelta(days=90)
    assert created.api_secret not in repr(created)
    async with PanelicaClient(box.base_url, api_key=created.api_key, api_secret=created.api_secret) as other:
        assert (await other.me()).name == "Billing"
        assert await other.domains.list().collect() == []


async def test_api_keys_regenerate(panel: PanelicaClient, box: Sandbox) -> None:
    created = await panel.api_keys.create(name="Billing", scopes=["domains:read"])
    regenerated = await panel.api_keys.regenerate(created.id)
    assert regenerated.api_secret != created.api_secret
    assert regenerated.api_secret not in repr(regenerated)
    async with PanelicaClient(box.base_url, api_key=created.api_key, api_secret=regenerated.api_secret) as other:
        assert (await other.me()).key_id == created.id
    async with PanelicaClient(box.base_url, api_key=created.api_key, api_secret=created.api_secret) as other:
        with pytest.raises(AuthenticationError):
            await other.me()
