import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient


async def two_sites(panel: SignedClient) -> tuple[dict, dict]:
    first = await panel.domain("one.example", (await panel.account("john"))["id"])
    second = await panel.domain("two.example", (await panel.account("jane"))["id"])
    return first, second


async def test_backup_goes_from_pending_to_completed(panel: SignedClient, clock: Clock) -> None:
    first, _ = await two_sites(panel)
    body = {
        "name": "manual",
        "type": "full",
        "encryption": "panel_key",
        "compression_level": 9,
        "domain_ids": [first["id"], first["id"]],
    }
    started = await panel.ok("POST", "/v1/backups", body)
    assert started == {
        "id": started["id"],
        "name": "manual",
        "type": "full",
        "status": "pending",
        "size_bytes": None,
        "domains_count": 1,
        "encrypted": True,
        "compression_level": 9,
        "created_at": "2026-03-07T12:00:00Z",
    }
    restore = f"/v1/backups/{started['id']}/restore"
    states = []
    for seconds in (0, 2, 10, 1, 0):
        clock.advance(seconds)
        (backup,) = await panel.ok("GET", "/v1/backups")
        states.append(backup["status"])
        assert (backup["size_bytes"] is None) == (backup["status"] != "completed")
        assert (await panel.call("POST", restore)).status == (200 if backup["status"] == "completed" else 400)
    assert states == ["pending", "running", "running", "completed", "completed"]

    assert await panel.ok("GET", "/v1/backups?status=completed&type=full") == [backup]
    assert await panel.ok("GET", "/v1/backups?status=running") == []
    assert await panel.ok("GET", "/v1/backups?type=incremental") == []
    await panel.ok("DELETE", f"/v1/backups/{started['id']}")
    await panel.refused(404, "DELETE", f"/v1/backups/{started['id']}")
    await panel.refused(404, "POST", restore)
    assert panel.count("backup_files") == 0


async def test_backup_without_domains_archives_everything(panel: SignedClient) -> None:
    await two_sites(panel)
    for body in (b"{}", b"[]"):
        assert (await panel.ok("POST", "/v1/backups", body))["domains_count"] == 2
    backup = await panel.ok("POST", "/v1/backups", {})
    assert (backup["name"], backup["encrypted"]) == ("backup-2026-03-07T12:00:00Z", False)


async def test_backup_when_invalid_is_rejected(panel: SignedClient) -> None:
    await panel.refused(404, "POST", "/v1/backups", {"domain_ids": ["gone"]})
    await panel.refused(400, "POST", "/v1/backups", {"type": "half"})
    await panel.refused(400, "POST", "/v1/backups", {"domain_ids": []})
    await panel.refused(400, "POST", "/v1/backups", b"")
    assert panel.count("backups") == 0


async def test_restore_brings_files_back(panel: SignedClient, clock: Clock) -> None:
    first, second = await two_sites(panel)
    paths = [f"{site['document_root']}/index.html" for site in (first, second)]

    async def write(text: str) -> None:
        for path in paths:
            await panel.ok("PUT", "/v1/files/content", {"path": path, "content": text})

    async def read() -> list[str]:
        return [(await panel.ok("GET", f"/v1/files/content?path={path}"))["content"] for path in paths]

    await write("old")
    backup = await panel.ok("POST", "/v1/backups", {})
    without_files = await panel.ok("POST", "/v1/backups", {"include_web": False})
    await write("new")
    later = f"{first['document_root']}/later.html"
    await panel.ok("PUT", "/v1/files/content", {"path": later, "content": "later"})
    clock.advance(60)

    await panel.ok("POST", f"/v1/backups/{without_files['id']}/restore")
    path = f"/v1/backups/{backup['id']}/restore"
    await panel.ok("POST", path, {"include_web": False})
    assert await read() == ["new", "new"]
    await panel.ok("POST", path, {"domain_ids": [first["id"]], "conflict_action": "overwrite"})
    assert await read() == ["old", "new"]
    await panel.refused(404, "GET", f"/v1/files/content?path={later}")
    await panel.ok("POST", path, {"create_pre_restore_backup": True})
    assert await read() == ["old", "old"]
    (*_, before) = await panel.ok("GET", "/v1/backups")
    assert (before["name"], before["domains_count"]) == ("pre-restore-2026-03-07T12:01:00Z", 2)

    await panel.refused(400, "POST", path, {"domain_ids": ["gone"]})
    await panel.refused(400, "POST", path, {"conflict_action": "pray"})

    # A site that is gone stays gone; the archive does not need it.
    await panel.ok("DELETE", f"/v1/domains/{second['id']}")
    await panel.ok("POST", path)
    assert panel.count("domains") == 1


async def test_backup_goes_by_a_file_name_with_spaces(current_panel: PanelClient, clock: Clock) -> None:
    domain = await current_panel.domain()
    body = {"domain_ids": [domain["id"]], "backup_name": "acme nightly + 1"}
    started = await current_panel.data("POST", "/v1/backups", body)
    assert "filename" not in started
    [row] = await current_panel.data("GET", "/v1/backups")
    assert row["filename"] == "acme nightly + 1_20260307_120000.tar.gz"
    path = "/v1/backups/acme%20nightly%20%2B%201_20260307_120000.tar.gz"
    assert (await current_panel.call("POST", f"{path}/restore", [])).status == 400
    clock.advance(60)
    row = await current_panel.data("GET", path)
    assert (row["status"], row["domain_names"], row["domain_count"]) == ("completed", ["example.com"], 1)
    assert isinstance(row["size_mb"], float)
    await current_panel.data("POST", f"{path}/restore", {})
    await current_panel.data("DELETE", path)
    assert (await current_panel.call("GET", path)).status == 404


@pytest.mark.parametrize("body", [None, [], {}, {"domain_ids": []}])
async def test_backup_without_domains_is_of_everything(current_panel: PanelClient, body: object) -> None:
    owner = (await current_panel.domain("one.example"))["user_id"]
    await current_panel.domain("two.example", owner)
    await current_panel.data("POST", "/v1/backups", body)
    [row] = await current_panel.data("GET", "/v1/backups")
    assert sorted(row["domain_names"]) == ["one.example", "two.example"]


async def test_backup_name_of_another_form_is_refused(current_panel: PanelClient) -> None:
    answer = await current_panel.call("GET", "/v1/backups/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f")
    assert (answer.status, answer.data["error"]) == (400, "Invalid filename")


async def test_backup_is_deleted_with_the_scope_to_restore(current_panel: PanelClient, current_box: Sandbox) -> None:
    for scope, status in (("backups:write", 403), ("backups:restore", 404)):
        key = current_box.add_key(scopes=[scope])
        client = current_panel.with_key(key.api_key, key.api_secret)
        assert (await client.call("DELETE", "/v1/backups/a.tar.gz")).status == status
