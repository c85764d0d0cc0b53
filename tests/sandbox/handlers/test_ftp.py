import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, USER, SignedClient


async def test_ftp_users_are_created_listed_and_deleted(panel: SignedClient) -> None:
    domain = await panel.domain()
    created = await panel.ok("POST", "/v1/ftp/accounts", {**USER, "domain_id": domain["id"]})
    assert created == {
        "id": created["id"],
        "username": "app",
        "user_id": domain["user_id"],
        "domain_id": domain["id"],
        "home_directory": "/home/john/example.com/public_html",
        "quota_mb": 0,
        "used_mb": 0.0,
        "status": "active",
        "created_at": "2026-03-07T12:00:00Z",
    }
    await panel.refused(409, "POST", "/v1/ftp/accounts", {**USER, "domain_id": domain["id"]})
    assert await panel.ok("GET", "/v1/ftp/accounts") == [created]
    await panel.ok("DELETE", f"/v1/ftp/accounts/{created['id']}")
    await panel.refused(404, "DELETE", f"/v1/ftp/accounts/{created['id']}")


@pytest.mark.parametrize(
    ("directory", "status"),
    [
        ("/home/john", 201),
        ("/home/john/example.com/", 201),
        ("/home/jane", 403),
        ("/home/john/../jane", 403),
        ("/home", 403),
        ("example.com", 400),
    ],
)
async def test_ftp_home_must_be_in_the_owners_home(panel: SignedClient, directory: str, status: int) -> None:
    await panel.account("jane")
    domain = await panel.domain()
    body = {**USER, "domain_id": domain["id"], "home_directory": directory}
    assert (await panel.call("POST", "/v1/ftp/accounts", body)).status == status


@pytest.mark.parametrize("directory", ["/example.com", "/../example.com"])
async def test_ftp_home_may_be_below_the_owners_home(panel: SignedClient, directory: str) -> None:
    body = {**USER, "domain_id": (await panel.domain())["id"], "home_directory": directory}
    user = await panel.call("POST", "/v1/ftp/accounts", body)

    assert user.data["home_directory"] == "/home/john/example.com"


@pytest.mark.parametrize("field", ["home_directory", "directory"])
async def test_ftp_user_has_a_prefix_and_a_home_below_the_accounts(current_panel: PanelClient, field: str) -> None:
    domain = await current_panel.domain()
    body = {"user_id": domain["user_id"], "ftp_username": "web", "password": PASSWORD}
    created = await current_panel.data("POST", "/v1/ftp-accounts", {**body, field: "/example.com"})
    assert (created["ftp_username"], created["home_directory"]) == ("john_web", "/example.com")
    assert (created["domain_id"], created["quota_mb"]) == (domain["id"], 0)
    home = await current_panel.data("POST", "/v1/ftp-accounts", {**body, "ftp_username": "all"})
    assert (home["home_directory"], home["domain_id"]) == ("/", None)


async def test_ftp_user_is_suspended_and_changed(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    body = {"user_id": domain["user_id"], "domain_id": domain["id"], "ftp_username": "web", "password": PASSWORD}
    path = f"/v1/ftp-accounts/{(await current_panel.data('POST', '/v1/ftp-accounts', body))['id']}"
    await current_panel.data("POST", f"{path}/suspend")
    assert (await current_panel.data("GET", path))["status"] == "suspended"
    await current_panel.data("POST", f"{path}/unsuspend", {})
    await current_panel.data("PATCH", path, {"quota_mb": 7})
    assert (await current_panel.data("GET", path)).items() >= {"status": "active", "quota_mb": 7}.items()
    answer = await current_panel.call("POST", f"{path}/change-password", {"password": "short"})
    assert answer.data["error"].endswith("'Password' failed on the 'min' tag")
