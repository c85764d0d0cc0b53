import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, USER, SignedClient


async def test_databases_are_created_listed_and_deleted(panel: SignedClient) -> None:
    domain = await panel.domain()
    created = await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": domain["id"]})
    assert created == {
        "id": created["id"],
        "name": "app",
        "type": "mysql",
        "size_mb": 0.0,
        "user_count": 0,
        "domain_id": domain["id"],
        "created_at": "2026-03-07T12:00:00Z",
    }
    path = f"/v1/databases/{created['id']}"
    first = await panel.ok("POST", f"{path}/users", USER)
    assert first == {
        "id": first["id"],
        "username": "app",
        "privileges": "ALL",
        "is_primary": True,
        "database_name": "app",
        "domain_id": domain["id"],
        "user_id": domain["user_id"],
    }
    second = await panel.ok("POST", f"{path}/users", {**USER, "username": "reader", "privileges": "SELECT"})
    assert (second["privileges"], second["is_primary"]) == ("SELECT", False)
    await panel.refused(409, "POST", f"{path}/users", USER)
    assert [row["user_count"] for row in await panel.ok("GET", "/v1/databases")] == [2]
    await panel.ok("DELETE", path)
    assert panel.count("database_users") == 0
    await panel.refused(404, "DELETE", path)
    await panel.refused(404, "POST", f"{path}/users", USER)


async def test_database_with_username_has_its_first_user(panel: SignedClient) -> None:
    domain = await panel.domain()
    body = {"name": "app", "domain_id": domain["id"], "type": "postgresql"}
    reply = await panel.refused(400, "POST", "/v1/databases", {**body, "username": "app"})
    assert reply["details"] == "password is required"
    assert panel.count("databases") == 0
    assert (await panel.ok("POST", "/v1/databases", {**body, **USER}))["user_count"] == 1


async def test_database_when_created_twice_conflicts(panel: SignedClient) -> None:
    john = await panel.account()
    first = await panel.domain("one.example", john["id"])
    second = await panel.domain("two.example", john["id"])
    await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": first["id"]})
    await panel.refused(409, "POST", "/v1/databases", {"name": "app", "domain_id": second["id"]})
    await panel.ok("POST", "/v1/databases", {"name": "app", "domain_id": second["id"], "type": "postgresql"})
    assert len(await panel.ok("GET", f"/v1/databases?domain_id={second['id']}")) == 1


@pytest.mark.parametrize("field", ["name", "username"])
@pytest.mark.parametrize("name", ["a-b", "a b", "x" * 33, "ä"])
async def test_database_name_when_invalid_is_rejected(panel: SignedClient, field: str, name: str) -> None:
    domain = await panel.domain()
    body = {"name": "app", "domain_id": domain["id"], **USER, field: name}
    reply = await panel.refused(400, "POST", "/v1/databases", body)
    assert reply["details"].startswith(f"{field}: ")


async def test_database_comes_with_its_user_and_prefixes(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    body = {"domain_id": domain["id"], "username": "shop", "password": PASSWORD}
    created = await current_panel.data("POST", "/v1/databases", body)
    assert created == {
        "id": created["id"],
        "username": "john_shop",
        "role": "dbOwner",
        "is_primary": True,
        "database_name": "john_shop",
        "user_id": domain["user_id"],
        "domain_id": domain["id"],
    }
    assert await current_panel.data("GET", f"/v1/databases?domain_id={domain['id']}") == [created]
    other = await current_panel.domain("other.example", domain["user_id"])
    assert await current_panel.data("GET", f"/v1/databases?domain_id={other['id']}") == []


async def test_rows_of_databases_are_users(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    names = {"database_name": "shop", "database_user": "owner", "password": PASSWORD}
    primary = await current_panel.data("POST", f"/v1/domains/{domain['id']}/databases", names)
    user = {"domain_id": domain["id"], "username": "reader", "password": PASSWORD}
    with_role = await current_panel.data("POST", "/v1/databases", {**user, "role": "read"})
    mysql = await current_panel.data("POST", "/v1/mysql-users", {**user, "username": "writer"})
    rows = {row["username"]: row for row in await current_panel.data("GET", "/v1/databases")}
    assert {name: (row["role"], row["is_primary"]) for name, row in rows.items()} == {
        "john_owner": ("dbOwner", True),
        "john_reader": ("read", False),
        "john_writer": ("readWrite", False),
    }
    assert {row["database_name"] for row in rows.values()} == {"john_shop"}
    assert {row["id"] for row in await current_panel.data("GET", "/v1/mysql-users")} == {
        row["id"] for row in rows.values()
    }

    await current_panel.data("POST", f"/v1/mysql-users/{mysql['id']}/change-password", {"password": PASSWORD})
    await current_panel.data("DELETE", f"/v1/mysql-users/{mysql['id']}")
    assert len(await current_panel.data("GET", "/v1/databases")) == 2
    await current_panel.data("DELETE", f"/v1/databases/{primary['id']}")
    assert (await current_panel.call("GET", f"/v1/databases/{with_role['id']}")).status == 404


async def test_suspended_domain_gets_no_databases_and_users(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    await current_panel.data("POST", f"/v1/domains/{domain['id']}/suspend")
    names = {"database_name": "shop", "database_user": "shop", "password": PASSWORD}
    user = {"domain_id": domain["id"], "username": "shop", "password": PASSWORD}
    calls = [
        ("/v1/databases", user),
        ("/v1/databases", {**user, "role": "read"}),
        ("/v1/mysql-users", user),
        (f"/v1/domains/{domain['id']}/databases", names),
    ]
    for path, body in calls:
        assert (await current_panel.call("POST", path, body)).status == 403, path


async def test_database_is_deleted_by_its_name(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    path = f"/v1/domains/{domain['id']}/databases"
    await current_panel.data("POST", path, {"database_name": "shop", "database_user": "shop", "password": PASSWORD})
    assert (await current_panel.call("DELETE", f"{path}?database_name=shop")).status == 404
    await current_panel.data("DELETE", f"{path}?database_name=john_shop")
    assert await current_panel.data("GET", "/v1/databases") == []
