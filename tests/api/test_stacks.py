"""Apps in Docker: which containers are one app, and which app is meant."""

from typing import Any
from uuid import UUID

import pytest

from panelica_async import ConflictError, NotFoundError, PanelicaClient
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel")


def container(id: str, name: str, *, stack: str = "", owner: str = "u1", role: str = "") -> dict[str, Any]:
    labels = {"panelica.user_id": owner, "panelica.stack": stack, "panelica.template.role": role}
    return {"id": id, "name": f"/{name}", "state": "running", "labels": labels}


APPS = [
    container("a1", "blog-db", stack="blog", role="database"),
    container("a2", "blog", stack="blog"),
    container("b1", "other-blog", stack="blog", owner="u2"),
    container("c1", "flows"),
]


async def test_containers_of_two_accounts_are_two_apps(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": APPS}))
    found = await panel.docker.stacks.list()
    assert [[row.id for row in stack.containers] for stack in found] == [["a2", "a1"], ["b1"], ["c1"]]


async def test_name_of_several_apps_deletes_none(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": APPS}))
    with pytest.raises(ConflictError, match="2 apps are called blog") as caught:
        await panel.docker.stacks.delete("blog")
    assert (caught.value.attempts, caught.value.from_panel) == (0, False)
    assert len(server.requests) == 1


async def test_app_of_a_common_name_is_found_by_its_owner(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": APPS}))
    assert (await panel.docker.stacks.get("blog", owner_user_id="u2")).app.id == "b1"


async def test_owner_may_be_a_uuid(server: RawServer, panel: PanelicaClient) -> None:
    owner: Any = UUID(int=7)
    server.script(reply(json={"status": "success", "data": [container("a1", "blog", owner=str(owner))]}))
    assert [stack.name for stack in await panel.docker.stacks.list(owner_user_id=owner)] == ["blog"]


async def test_missing_app_raises_an_error_of_the_client(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": APPS}))
    with pytest.raises(NotFoundError, match="there is no app shop") as caught:
        await panel.docker.stacks.get("shop")
    assert (caught.value.attempts, caught.value.from_panel) == (0, False)


async def test_wait_for_an_app_ends_when_the_panel_has_no_docker(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(404, json={"status": "error", "message": "not found"}))
    with pytest.raises(NotFoundError, match="not found"):
        await panel.docker.stacks.wait("blog", deadline=3)
    assert len(server.requests) == 1
