"""The sandbox as a current panel: databases, mailboxes, FTP users, certificates and backups of sites."""

import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock

# Databases


async def test_database_comes_with_its_user_and_prefixes(current: PanelClient) -> None:
    domain = await current.domain()
    body = {"domain_id": domain["id"], "username": "shop", "password": PASSWORD}
    created = await current.data("POST", "/v1/databases", body)
    assert created == {
        "id": created["id"],
        "username": "john_shop",
        "role": "dbOwner",
        "is_primary": True,
        "database_name": "john_shop",
        "user_id": domain["user_id"],
        "domain_id": domain["id"],
    }
    assert await current.data("GET", f"/v1/databases?domain_id={domain['id']}") == [created]
    other = await current.domain("other.example", domain["user_id"])
    assert await current.data("GET", f"/v1/databases?domain_id={other['id']}") == []


async def test_rows_of_databases_are_users(current: PanelClient) -> None:
    domain = await current.domain()
    names = {"database_name": "shop", "database_user": "owner", "password": PASSWORD}
    primary = await current.data("POST", f"/v1/domains/{domain['id']}/databases", names)
    user = {"domain_id": domain["id"], "username": "reader", "password": PASSWORD}
    with_role = await current.data("POST", "/v1/databases", {**user, "role": "read"})
    mysql = await current.data("POST", "/v1/mysql-users", {**user, "username": "writer"})
    rows = {row["username"]: row for row in await current.data("GET", "/v1/databases")}
    assert {name: (row["role"], row["is_primary"]) for name, row in rows.items()} == {
        "john_owner": ("dbOwner", True),
        "john_reader": ("read", False),
        "john_writer": ("readWrite", False),
    }
    assert {row["database_name"] for row in rows.values()} == {"john_shop"}
    assert {row["id"] for row in await current.data("GET", "/v1/mysql-users")} == {row["id"] for row in rows.values()}

    await current.data("POST", f"/v1/mysql-users/{mysql['id']}/change-password", {"password": PASSWORD})
    await current.data("DELETE", f"/v1/mysql-users/{mysql['id']}")
    assert len(await current.data("GET", "/v1/databases")) == 2
    await current.data("DELETE", f"/v1/databases/{primary['id']}")
    assert (await current.call("GET", f"/v1/databases/{with_role['id']}")).status == 404


async def test_database_is_deleted_by_its_name(current: PanelClient) -> None:
    domain = await current.domain()
    path = f"/v1/domains/{domain['id']}/databases"
    await current.data("POST", path, {"database_name": "shop", "database_user": "shop", "password": PASSWORD})
    assert (await current.call("DELETE", f"{path}?database_name=shop")).status == 404
    await current.data("DELETE", f"{path}?database_name=john_shop")
    assert await current.data("GET", "/v1/databases") == []


# Mailboxes


async def test_mailbox_is_created_by_local_part_or_address(current: PanelClient) -> None:
    domain = await current.domain()
    for field, value in (("username", "info"), ("email", "sales@example.com")):
        body = {"domain_id": domain["id"], field: value, "password": PASSWORD}
        await current.data("POST", "/v1/email-accounts", body)
    rows = await current.data("GET", "/v1/email-accounts")
    assert {row["email"] for row in rows} == {"info@example.com", "sales@example.com"}
    assert {row["used_quota_mb"] for row in rows} == {0}
    emails = await current.data("GET", f"/v1/accounts/{domain['user_id']}/emails")
    assert {row["email"] for row in emails} == {"info@example.com", "sales@example.com"}


async def test_mailbox_when_address_is_taken_answers_400(current: PanelClient) -> None:
    domain = await current.domain()
    body = {"domain_id": domain["id"], "username": "info", "password": PASSWORD}
    await current.data("POST", "/v1/email-accounts", body)
    answer = await current.call("POST", "/v1/email-accounts", {**body, "username": "INFO"})
    assert answer.status == 400
    assert answer.data == {
        "status": "error",
        "error": "apiErrors.external.email.createFailed",
        "details": "email address already exists",
    }


async def test_mailboxes_beyond_the_plan_are_403_with_details_only(current: PanelClient) -> None:
    plan = await current.data("POST", "/v1/plans", {"name": "Small", "slug": "small", "max_email_accounts": 1})
    domain = await current.domain(user_id=(await current.account(plan_id=plan["id"]))["id"])
    body = {"domain_id": domain["id"], "username": "info", "password": PASSWORD}
    await current.data("POST", "/v1/email-accounts", body)
    answer = await current.call("POST", "/v1/email-accounts", {**body, "username": "sales"})
    assert (answer.status, answer.data) == (403, {"status": "error", "details": "mailbox limit reached"})


# FTP users


@pytest.mark.parametrize("field", ["home_directory", "directory"])
async def test_ftp_user_has_a_prefix_and_a_home_below_the_accounts(current: PanelClient, field: str) -> None:
    domain = await current.domain()
    body = {"user_id": domain["user_id"], "ftp_username": "web", "password": PASSWORD}
    created = await current.data("POST", "/v1/ftp-accounts", {**body, field: "/example.com"})
    assert (created["ftp_username"], created["home_directory"]) == ("john_web", "/example.com")
    assert (created["domain_id"], created["quota_mb"]) == (domain["id"], 0)
    home = await current.data("POST", "/v1/ftp-accounts", {**body, "ftp_username": "all"})
    assert (home["home_directory"], home["domain_id"]) == ("/", None)


async def test_ftp_user_is_suspended_and_changed(current: PanelClient) -> None:
    domain = await current.domain()
    body = {"user_id": domain["user_id"], "domain_id": domain["id"], "ftp_username": "web", "password": PASSWORD}
    path = f"/v1/ftp-accounts/{(await current.data('POST', '/v1/ftp-accounts', body))['id']}"
    await current.data("POST", f"{path}/suspend")
    assert (await current.data("GET", path))["status"] == "suspended"
    await current.data("POST", f"{path}/unsuspend", {})
    await current.data("PATCH", path, {"quota_mb": 7})
    assert (await current.data("GET", path)).items() >= {"status": "active", "quota_mb": 7}.items()
    answer = await current.call("POST", f"{path}/change-password", {"password": "short"})
    assert answer.data["error"].endswith("'Password' failed on the 'min' tag")


# Certificates


async def test_certificate_is_there_a_minute_after_it_was_ordered(current: PanelClient, clock: Clock) -> None:
    path = f"/v1/ssl/domains/{(await current.domain())['id']}"
    for _ in range(2):  # Ordering again changes nothing.
        answer = await current.call("POST", f"{path}/issue", [])
        assert answer.data == {"status": "success", "message": "SSL certificate issuance started"}
        clock.advance(29)
        assert (await current.data("GET", path))["has_ssl"] is False
    clock.advance(2)
    data = await current.data("GET", path)
    assert (data["has_ssl"], data["domain_name"]) == (True, "example.com")


# Backups


async def test_backup_goes_by_a_file_name_with_spaces(current: PanelClient, clock: Clock) -> None:
    domain = await current.domain()
    body = {"domain_ids": [domain["id"]], "backup_name": "acme nightly + 1"}
    started = await current.data("POST", "/v1/backups", body)
    assert "filename" not in started
    [row] = await current.data("GET", "/v1/backups")
    assert row["filename"] == "acme nightly + 1_20260307_120000.tar.gz"
    path = "/v1/backups/acme%20nightly%20%2B%201_20260307_120000.tar.gz"
    assert (await current.call("POST", f"{path}/restore", [])).status == 400
    clock.advance(60)
    row = await current.data("GET", path)
    assert (row["status"], row["domain_names"], row["domain_count"]) == ("completed", ["example.com"], 1)
    assert isinstance(row["size_mb"], float)
    await current.data("POST", f"{path}/restore", {})
    await current.data("DELETE", path)
    assert (await current.call("GET", path)).status == 404


@pytest.mark.parametrize("body", [None, [], {}, {"domain_ids": []}])
async def test_backup_without_domains_is_of_everything(current: PanelClient, body: object) -> None:
    owner = (await current.domain("one.example"))["user_id"]
    await current.domain("two.example", owner)
    await current.data("POST", "/v1/backups", body)
    [row] = await current.data("GET", "/v1/backups")
    assert sorted(row["domain_names"]) == ["one.example", "two.example"]


async def test_backup_name_of_another_form_is_refused(current: PanelClient) -> None:
    answer = await current.call("GET", "/v1/backups/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f")
    assert (answer.status, answer.data["error"]) == (400, "Invalid filename")


async def test_backup_is_deleted_with_the_scope_to_restore(current: PanelClient, current_box: Sandbox) -> None:
    for scope, status in (("backups:write", 403), ("backups:restore", 404)):
        key = current_box.add_key(scopes=[scope])
        client = current.with_key(key.api_key, key.api_secret)
        assert (await client.call("DELETE", "/v1/backups/a.tar.gz")).status == status
