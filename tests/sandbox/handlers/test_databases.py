import pytest

from tests.sandbox.signed_client import USER, SignedClient


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
    refusal = await panel.refused(400, "POST", "/v1/databases", {**body, "username": "app"})
    assert refusal["details"] == "password is required"
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
    refusal = await panel.refused(400, "POST", "/v1/databases", body)
    assert refusal["details"].startswith(f"{field}: ")
