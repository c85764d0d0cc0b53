"""What belongs to accounts and domains on a sandbox of current panels: who sees it, and when it goes."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock

JOB = {"task_name": "nightly", "command": "true"}
GHOST = {"container_name": "blog", "env": {"url": "https://example.com"}}


@pytest.fixture
async def box(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel") as box:
        yield box


@pytest.fixture
def panel(box: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> PanelClient:
    return PanelClient(box, session, clock)


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


async def test_tenant_sees_only_its_own(panel: PanelClient) -> None:
    domain = await panel.domain()
    jane = await as_tenant(panel, (await panel.account("jane"))["id"])
    job = await panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB})
    await deploy(panel, domain["user_id"])
    assert await panel.data("GET", "/v1/cron-jobs") == [job]
    assert len(await containers(panel)) == 2
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
async def test_objects_go_with_their_owner(panel: PanelClient, owner: str) -> None:
    domain = await panel.domain()
    below = f"/v1/domains/{domain['id']}"
    await panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB})
    await panel.data("POST", f"{below}/subdomains", {"subdomain_name": "blog"})
    await panel.data("POST", f"{below}/redirects", {"source_path": "/a", "destination_url": "https://example.com/b"})
    await panel.data("POST", f"{below}/email-forwarders", {"source": "a@example.com", "destination": "b@example.org"})
    await panel.data("POST", f"{below}/dkim/disable")
    await panel.data("PATCH", f"{below}/modsecurity", {"enabled": False})
    assert panel.count("panel_objects") == 6
    await panel.data("DELETE", f"/v1/{owner}/{domain['id' if owner == 'domains' else 'user_id']}")
    assert panel.count("panel_objects") == 0


async def test_setting_of_any_name_is_kept(panel: PanelClient) -> None:
    path = f"/v1/domains/{(await panel.domain())['id']}/modsecurity"
    for fields in ({"kind": "strict"}, {"item": "all", "call": "none"}):
        await panel.data("PATCH", path, fields)
    kept = await panel.data("GET", path)
    assert kept == {"enabled": True, "kind": "strict", "item": "all", "call": "none"}


async def test_cron_job_keeps_what_an_update_leaves_out(panel: PanelClient) -> None:
    domain = await panel.domain()
    job = await panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB, "hour": "3"})
    assert (job["minute"], job["hour"], job["enabled"], job["last_run"]) == ("*", "3", True, None)
    changed = await panel.data("PATCH", f"/v1/cron-jobs/{job['id']}", {"minute": "*/5"})
    assert changed == {**job, "minute": "*/5"}
    assert await panel.data("GET", f"/v1/cron-jobs/{job['id']}/logs") == []
    await panel.data("POST", f"/v1/cron-jobs/{job['id']}/run")
    [run] = await panel.data("GET", f"/v1/cron-jobs/{job['id']}/logs")
    assert run["executed_at"] == (await panel.data("GET", f"/v1/cron-jobs/{job['id']}"))["last_run"] is not None


async def test_containers_of_an_app_share_a_stack(panel: PanelClient) -> None:
    account = await panel.account()
    app = await deploy(panel, account["id"])
    labels = {row["name"]: row["labels"] for row in await containers(panel)}
    assert len({label["panelica.stack"] for label in labels.values()}) == 1
    roles = {name: label["panelica.template.role"] for name, label in labels.items()}
    assert roles == {"/john_blog": "", "/john_blog_database": "database"}
    assert app["credentials"].keys() == {"ADMIN_PASSWORD"}
    assert (
        await panel.call("POST", "/v1/docker/templates/ghost/deploy", {"owner_user_id": account["id"], **GHOST})
    ).status == 409


async def test_apps_have_a_port_each(panel: PanelClient) -> None:
    account = await panel.account()
    for name in ("first", "second", "third"):
        if name == "third":
            await panel.data("DELETE", "/v1/docker/containers/john_first?force=true")
        body = {"owner_user_id": account["id"], "container_name": name, "env": {}}
        await panel.data("POST", "/v1/docker/templates/uptime-kuma/deploy", body)
    ports = [row["ports"][0]["host_port"] for row in await containers(panel)]
    assert len(ports) == len(set(ports)) == 2


async def test_running_container_is_deleted_by_force_only(panel: PanelClient) -> None:
    await deploy(panel, (await panel.account())["id"])
    assert (await panel.call("DELETE", "/v1/docker/containers/john_blog")).status == 409
    await panel.data("DELETE", "/v1/docker/containers/john_blog?force=true")
    await panel.data("POST", "/v1/docker/containers/john_blog_database/stop")
    await panel.data("DELETE", "/v1/docker/containers/john_blog_database")
    assert await containers(panel) == []


async def test_link_needs_the_owner_of_both(panel: PanelClient) -> None:
    domain = await panel.domain()
    jane = (await panel.account("jane"))["id"]
    theirs = (await deploy(panel, jane))["container_id"]
    for owner in (jane, domain["user_id"]):
        body = {"domain_id": domain["id"], "container_id": theirs, "owner_user_id": owner}
        assert (await panel.call("POST", "/v1/docker/domains/link", body)).status == 404
    assert await panel.data("GET", "/v1/docker/domains/linked") == []


async def test_sync_ip_changes_the_root_record_or_adds_it(panel: PanelClient) -> None:
    zone = (await panel.data("GET", "/v1/cloudflare/zones"))[0]
    records = f"/v1/cloudflare/zones/{zone['id']}/dns"
    for address in ("192.0.2.1", "192.0.2.2"):
        body = {"zone_name": zone["name"], "server_ip": address}
        await panel.data("POST", f"/v1/cloudflare/zones/{zone['id']}/sync-ip", body)
        [record] = await panel.data("GET", records)
        assert (record["name"], record["content"], record["proxied"]) == (zone["name"], address, True)
    other = await panel.data("GET", "/v1/cloudflare/zones")
    elsewhere = next(row["id"] for row in other if row["id"] != zone["id"])
    assert (await panel.call("DELETE", f"/v1/cloudflare/zones/{elsewhere}/dns/{record['id']}")).status == 404


async def test_site_without_wordpress_is_none(panel: PanelClient) -> None:
    domain = await panel.domain()
    assert await panel.data("GET", "/v1/wordpress") == []
    assert (await panel.call("POST", f"/v1/wordpress/{domain['id']}/auto-login")).status == 404


async def test_licence_knows_its_features_and_quotas(panel: PanelClient) -> None:
    for part in ("features", "quotas"):
        rows = await panel.data("GET", f"/v1/license/{part}")
        name = next(iter(rows[0].values()))
        assert await panel.data("GET", f"/v1/license/{part}/{name}") == rows[0]
        assert (await panel.call("GET", f"/v1/license/{part}/none")).status == 404
