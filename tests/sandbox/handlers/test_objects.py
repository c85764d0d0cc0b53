"""What belongs to accounts and domains on current panels: who sees it, and when it goes."""

from typing import Any

import pytest

from tests.sandbox.panel_client import PanelClient

JOB = {"task_name": "nightly", "command": "true"}
GHOST = {"container_name": "blog", "env": {"url": "https://example.com"}}


async def deploy(panel: PanelClient, user_id: str) -> dict[str, Any]:
    deployed: dict[str, Any] = await panel.data(
        "POST", "/v1/docker/templates/ghost/deploy", {"owner_user_id": user_id, **GHOST}
    )
    return deployed


async def containers(panel: PanelClient) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await panel.data("GET", "/v1/docker/containers"))["containers"]
    return rows


async def as_tenant(panel: PanelClient, user_id: str) -> PanelClient:
    key = await panel.data("POST", "/v1/api-keys", {"name": "tenant", "scopes": ["*:*"]})
    panel.box.database.execute("UPDATE api_keys SET user_id = ? WHERE id = ?", (user_id, key["id"]))
    return panel.with_key(key["api_key"], key["api_secret"])


async def test_tenant_sees_only_its_own(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    jane = await as_tenant(current_panel, (await current_panel.account("jane"))["id"])
    job = await current_panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB})
    await deploy(current_panel, domain["user_id"])
    assert await current_panel.data("GET", "/v1/cron-jobs") == [job]
    assert len(await containers(current_panel)) == 2
    assert await jane.data("GET", "/v1/cron-jobs") == []
    assert await containers(jane) == []
    for method, path in (
        ("GET", f"/v1/cron-jobs/{job['id']}"),
        ("POST", f"/v1/cron-jobs/{job['id']}/toggle"),
        ("DELETE", f"/v1/cron-jobs/{job['id']}"),
        ("GET", f"/v1/domains/{domain['id']}/subdomains"),
        ("GET", f"/v1/files?user_id={domain['user_id']}"),
    ):
        assert (await jane.call(method, path)).status == 404, path


@pytest.mark.parametrize("owner", ["domains", "accounts"])
async def test_objects_go_with_their_owner(current_panel: PanelClient, owner: str) -> None:
    domain = await current_panel.domain()
    below = f"/v1/domains/{domain['id']}"
    await current_panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB})
    await current_panel.data("POST", f"{below}/subdomains", {"subdomain_name": "blog"})
    await current_panel.data(
        "POST", f"{below}/redirects", {"source_path": "/a", "destination_url": "https://example.com/b"}
    )
    await current_panel.data(
        "POST", f"{below}/email-forwarders", {"source": "a@example.com", "destination": "b@example.org"}
    )
    await current_panel.data("POST", f"{below}/dkim/disable")
    await current_panel.data("PATCH", f"{below}/modsecurity", {"enabled": False})
    assert current_panel.count("panel_objects") == 6
    await current_panel.data("DELETE", f"/v1/{owner}/{domain['id' if owner == 'domains' else 'user_id']}")
    assert current_panel.count("panel_objects") == 0


async def test_setting_of_any_name_is_kept(current_panel: PanelClient) -> None:
    path = f"/v1/domains/{(await current_panel.domain())['id']}/modsecurity"
    for fields in ({"kind": "strict"}, {"item": "all", "call": "none"}):
        await current_panel.data("PATCH", path, fields)
    settings = await current_panel.data("GET", path)
    assert settings == {"enabled": True, "kind": "strict", "item": "all", "call": "none"}
