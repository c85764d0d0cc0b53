from tests.sandbox.handlers.test_objects import GHOST, containers, deploy
from tests.sandbox.panel_client import PanelClient


async def test_containers_of_an_app_share_a_stack(current: PanelClient) -> None:
    account = await current.account()
    app = await deploy(current, account["id"])
    labels = {row["name"]: row["labels"] for row in await containers(current)}
    assert len({label["panelica.stack"] for label in labels.values()}) == 1
    roles = {name: label["panelica.template.role"] for name, label in labels.items()}
    assert roles == {"/john_blog": "", "/john_blog_database": "database"}
    assert app["credentials"].keys() == {"ADMIN_PASSWORD"}
    assert (
        await current.call("POST", "/v1/docker/templates/ghost/deploy", {"owner_user_id": account["id"], **GHOST})
    ).status == 409


async def test_apps_have_a_port_each(current: PanelClient) -> None:
    account = await current.account()
    for name in ("first", "second", "third"):
        if name == "third":
            await current.data("DELETE", "/v1/docker/containers/john_first?force=true")
        body = {"owner_user_id": account["id"], "container_name": name, "env": {}}
        await current.data("POST", "/v1/docker/templates/uptime-kuma/deploy", body)
    ports = [row["ports"][0]["host_port"] for row in await containers(current)]
    assert len(ports) == len(set(ports)) == 2


async def test_running_container_is_deleted_by_force_only(current: PanelClient) -> None:
    await deploy(current, (await current.account())["id"])
    assert (await current.call("DELETE", "/v1/docker/containers/john_blog")).status == 409
    await current.data("DELETE", "/v1/docker/containers/john_blog?force=true")
    await current.data("POST", "/v1/docker/containers/john_blog_database/stop")
    await current.data("DELETE", "/v1/docker/containers/john_blog_database")
    assert await containers(current) == []


async def test_link_needs_the_owner_of_both(current: PanelClient) -> None:
    domain = await current.domain()
    jane = (await current.account("jane"))["id"]
    theirs = (await deploy(current, jane))["container_id"]
    for owner in (jane, domain["user_id"]):
        body = {"domain_id": domain["id"], "container_id": theirs, "owner_user_id": owner}
        assert (await current.call("POST", "/v1/docker/domains/link", body)).status == 404
    assert await current.data("GET", "/v1/docker/domains/linked") == []
