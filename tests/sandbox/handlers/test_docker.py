from tests.sandbox.handlers.test_objects import GHOST, containers, deploy
from tests.sandbox.panel_client import PanelClient


async def test_containers_of_an_app_share_a_stack(current_panel: PanelClient) -> None:
    account = await current_panel.account()
    app = await deploy(current_panel, account["id"])
    labels = {row["name"]: row["labels"] for row in await containers(current_panel)}
    assert len({label["panelica.stack"] for label in labels.values()}) == 1
    roles = {name: label["panelica.template.role"] for name, label in labels.items()}
    assert roles == {"/john_blog": "", "/john_blog_database": "database"}
    assert app["credentials"].keys() == {"ADMIN_PASSWORD"}
    assert (
        await current_panel.call("POST", "/v1/docker/templates/ghost/deploy", {"owner_user_id": account["id"], **GHOST})
    ).status == 409


async def test_apps_have_a_port_each(current_panel: PanelClient) -> None:
    account = await current_panel.account()
    for name in ("first", "second", "third"):
        if name == "third":
            await current_panel.data("DELETE", "/v1/docker/containers/john_first?force=true")
        body = {"owner_user_id": account["id"], "container_name": name, "env": {}}
        await current_panel.data("POST", "/v1/docker/templates/uptime-kuma/deploy", body)
    ports = [row["ports"][0]["host_port"] for row in await containers(current_panel)]
    assert len(ports) == len(set(ports)) == 2


async def test_running_container_is_deleted_by_force_only(current_panel: PanelClient) -> None:
    await deploy(current_panel, (await current_panel.account())["id"])
    assert (await current_panel.call("DELETE", "/v1/docker/containers/john_blog")).status == 409
    await current_panel.data("DELETE", "/v1/docker/containers/john_blog?force=true")
    await current_panel.data("POST", "/v1/docker/containers/john_blog_database/stop")
    await current_panel.data("DELETE", "/v1/docker/containers/john_blog_database")
    assert await containers(current_panel) == []


async def test_link_needs_the_owner_of_both(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    jane = (await current_panel.account("jane"))["id"]
    theirs = (await deploy(current_panel, jane))["container_id"]
    for owner in (jane, domain["user_id"]):
        body = {"domain_id": domain["id"], "container_id": theirs, "owner_user_id": owner}
        assert (await current_panel.call("POST", "/v1/docker/domains/link", body)).status == 404
    assert await current_panel.data("GET", "/v1/docker/domains/linked") == []
