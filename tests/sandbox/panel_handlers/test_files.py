"""Files on a sandbox of current panels: the trash, archives, uploads, and the walls between accounts."""

import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock

EVERY_BYTE = bytes(range(256)) * 4 + b"\r\n--x\r\n"


@pytest.fixture
async def box(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel") as box:
        yield box


@pytest.fixture
def panel(box: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> PanelClient:
    return PanelClient(box, session, clock)


@pytest.fixture
async def john(panel: PanelClient) -> str:
    return str((await panel.account())["id"])


async def create(panel: PanelClient, user_id: str, path: str, content: str | None = "text") -> None:
    folder, _, name = path.rpartition("/")
    kind: dict[str, Any] = {"type": "folder"} if content is None else {"type": "file", "content": content}
    await panel.data("POST", "/v1/files", {"user_id": user_id, "path": folder, "name": name, **kind})


async def names(panel: PanelClient, user_id: str, path: str, more: str = "") -> list[str]:
    listed = await panel.data("GET", f"/v1/files?user_id={user_id}&path={quote(path, safe='')}{more}")
    assert listed["path"] == path
    return [row["name"] for row in listed["files"]]


async def status(panel: PanelClient, method: str, path: str, body: Any = None) -> int:
    return (await panel.call(method, path, body)).status


async def upload(panel: PanelClient, user_id: str, folder: str, name: str, content: bytes) -> aiohttp.ClientResponse:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", content, filename=name)
    form.add_field("user_id", user_id)
    form.add_field("target_path", folder)
    target = f"{panel.prefix}/v1/files/upload"
    return await panel.session.post(panel.url(target), data=form, headers=panel.headers("POST", target, b""))


async def download(panel: PanelClient, user_id: str, path: str) -> bytes:
    target = f"{panel.prefix}/v1/files/download?user_id={user_id}&path={quote(path, safe='')}"
    async with panel.session.get(panel.url(target), headers=panel.headers("GET", target, b"")) as response:
        assert response.content_type == "application/octet-stream"
        return await response.read()


async def test_hidden_files_are_listed_on_request(panel: PanelClient, john: str) -> None:
    for name in (".profile", "b.txt", "a.txt"):
        await create(panel, john, f"/home/john/{name}")
    assert await names(panel, john, "/home/john") == ["a.txt", "b.txt"]
    for true in ("true", "1"):
        shown = await names(panel, john, "/home/john", f"&show_hidden={true}&sort_order=desc")
        assert shown == ["b.txt", "a.txt", ".profile"]


async def test_upload_of_any_bytes_comes_back_unchanged(panel: PanelClient, john: str) -> None:
    for sent, kept in (('a "b" + ä.bin', 'a "b" + ä.bin'), ("../c.bin", "c.bin")):
        async with await upload(panel, john, "/home/john", sent, EVERY_BYTE) as response:
            assert (await response.json())["data"] == {"success": True}
        assert await download(panel, john, f"/home/john/{kept}") == EVERY_BYTE


async def test_form_where_json_belongs_is_refused(panel: PanelClient, john: str) -> None:
    assert await status(panel, "POST", "/v1/files/upload", {"user_id": john}) == 415
    target = f"{panel.prefix}/v1/files"
    with aiohttp.MultipartWriter("form-data") as writer:
        writer.append("{}")
    headers = panel.headers("POST", target, b"")
    async with panel.session.post(panel.url(target), data=writer, headers=headers) as response:
        assert response.status == 415


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
async def test_archive_brings_files_back(panel: PanelClient, john: str, form: str) -> None:
    await create(panel, john, "/home/john/site", None)
    await create(panel, john, "/home/john/site/ä b.txt", "Grüße")
    await create(panel, john, "/home/john/site/empty", None)
    archive = f"/home/john/site.{form}"
    packed = {"user_id": john, "source_paths": ["/home/john/site"], "archive_path": archive, "format": form}
    await panel.data("POST", "/v1/files/compress", packed)
    info = await panel.data("GET", f"/v1/files/archive/info?user_id={john}&path={archive}")
    assert sorted(row["name"] for row in info["files"]) == ["site", "site/empty", "site/ä b.txt"]
    unpacked = {"user_id": john, "archive_path": archive, "destination_path": "/home/john/new/place"}
    await panel.data("POST", "/v1/files/extract", unpacked)
    assert await names(panel, john, "/home/john/new/place/site") == ["empty", "ä b.txt"]
    assert await download(panel, john, "/home/john/new/place/site/ä b.txt") == "Grüße".encode()


async def test_archive_that_leaves_the_home_is_refused(panel: PanelClient, john: str) -> None:
    await panel.account("jane")
    await create(panel, john, "/home/john/plain.zip", "not an archive")
    body = {"user_id": john, "archive_path": "/home/john/plain.zip", "destination_path": "/home/john"}
    assert await status(panel, "POST", "/v1/files/extract", body) == 400
    assert await status(panel, "POST", "/v1/files/extract", {**body, "destination_path": "/home/jane"}) == 403


@pytest.mark.parametrize("mistake", ["encrypted", "damaged"])
async def test_archive_that_cannot_be_unpacked_is_refused(panel: PanelClient, john: str, mistake: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "text" * 100)
    content = bytearray(buffer.getvalue())
    if mistake == "encrypted":
        content[content.index(b"PK\x01\x02") + 8] |= 1
    else:
        content[content.index(b"a.txt") + len("a.txt")] ^= 0xFF
    await upload(panel, john, "/home/john", "site.zip", bytes(content))
    assert await status(panel, "GET", f"/v1/files/archive/info?user_id={john}&path=/home/john/site.zip") == 400


async def test_trash_keeps_folders_and_tenants_apart(panel: PanelClient, john: str) -> None:
    jane = (await panel.account("jane"))["id"]
    await create(panel, john, "/home/john/photos", None)
    await create(panel, john, "/home/john/photos/one.jpg")
    await panel.data("DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/photos"]})
    [item] = await panel.data("GET", f"/v1/files/trash?user_id={john}")
    assert (item["name"], item["type"], item["original_path"]) == ("photos", "folder", "/home/john/photos")
    assert (await panel.data("GET", f"/v1/files/trash/stats?user_id={john}"))["total_items"] == 1
    assert await panel.data("GET", f"/v1/files/trash?user_id={jane}") == []
    restore = f"/v1/files/trash/{item['id']}/restore"
    assert await status(panel, "POST", restore, {"user_id": jane}) == 404
    await create(panel, john, "/home/john/photos", None)
    assert await status(panel, "POST", restore, {"user_id": john}) == 409
    await panel.data("DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/photos"], "permanent": True})
    await panel.data("POST", restore, {"user_id": john})
    assert await names(panel, john, "/home/john/photos") == ["one.jpg"]
    assert await panel.data("GET", f"/v1/files/trash?user_id={john}") == []


async def test_backup_holds_nothing_from_the_trash(panel: PanelClient, john: str) -> None:
    domain = await panel.domain("example.com", john)
    folder = "/home/john/example.com/photos"
    await create(panel, john, folder, None)
    await create(panel, john, f"{folder}/one.jpg")
    await panel.data("DELETE", "/v1/files", {"user_id": john, "paths": [folder]})
    await panel.data("POST", "/v1/backups", {"domain_ids": [domain["id"]]})
    assert panel.count("backup_files WHERE name = 'one.jpg'") == 0
    [item] = await panel.data("GET", f"/v1/files/trash?user_id={john}")
    await panel.data("POST", f"/v1/files/trash/{item['id']}/restore", {"user_id": john})
    await panel.data("POST", "/v1/backups", {"domain_ids": [domain["id"]], "backup_name": "again"})
    assert panel.count("backup_files WHERE name = 'one.jpg'") == 1


async def test_folder_cannot_go_into_itself(panel: PanelClient, john: str) -> None:
    await create(panel, john, "/home/john/a", None)
    await create(panel, john, "/home/john/a/b", None)
    body = {"user_id": john, "source_paths": ["/home/john/a"], "destination_path": "/home/john/a/b"}
    for verb in ("copy", "move"):
        assert await status(panel, "POST", f"/v1/files/{verb}", body) == 400
    assert await names(panel, john, "/home/john/a") == ["b"]


async def test_homes_and_document_roots_stay(panel: PanelClient) -> None:
    domain = await panel.domain()
    user_id, site = domain["user_id"], "/home/john/example.com"
    for path in ("/home/john", site, f"{site}/public_html"):
        assert await status(panel, "DELETE", "/v1/files", {"user_id": user_id, "paths": [path]}) == 403
        rename = {"user_id": user_id, "path": path, "new_name": "other"}
        assert await status(panel, "PATCH", "/v1/files/rename", rename) == 403


async def test_files_go_with_their_account(panel: PanelClient, john: str) -> None:
    await create(panel, john, "/home/john/one.txt")
    await create(panel, john, "/home/john/two.txt")
    await panel.data("DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/two.txt"]})
    await panel.data("DELETE", f"/v1/accounts/{john}")
    assert (panel.count("files WHERE name LIKE '%.txt'"), panel.count("trash")) == (0, 0)
