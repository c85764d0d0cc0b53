import io
import zipfile
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient

ROOT = "/home/john/example.com/public_html"
EVERY_BYTE = bytes(range(256)) * 4 + b"\r\n--x\r\n"


def at(path: str, content: bool = False) -> str:
    return f"/v1/files{'/content' if content else ''}?path={quote(path)}"


async def test_file_is_written_read_and_deleted(panel: SignedClient, clock: Clock) -> None:
    await panel.domain()
    path = f"{ROOT}/şubat + ü.txt"
    assert await panel.ok("PUT", "/v1/files/content", {"path": path, "content": "Merhaba ü"}) == {
        "message": "File written"
    }
    assert await panel.ok("GET", at(ROOT)) == [
        {
            "name": "şubat + ü.txt",
            "type": "file",
            "size": 10,
            "permissions": "0644",
            "owner": "john",
            "group": "john",
            "modified_at": "2026-03-07T12:00:00Z",
        }
    ]
    assert await panel.ok("GET", at(path, content=True)) == {"path": path, "content": "Merhaba ü"}
    clock.advance(60)
    await panel.ok("PUT", "/v1/files/content", {"path": path, "content": ""})
    (entry,) = await panel.ok("GET", at(ROOT))
    assert (entry["size"], entry["modified_at"]) == (0, "2026-03-07T12:01:00Z")
    await panel.ok("DELETE", at(path))
    await panel.refused(404, "DELETE", at(path))
    await panel.refused(404, "GET", at(path, content=True))


async def test_directory_is_listed_by_name(panel: SignedClient) -> None:
    await panel.domain()
    for name in ("b.txt", "a.txt", "c.txt"):
        await panel.ok("PUT", "/v1/files/content", {"path": f"{ROOT}/{name}", "content": name})
    assert [entry["name"] for entry in await panel.ok("GET", at(f"{ROOT}/"))] == ["a.txt", "b.txt", "c.txt"]
    assert [entry["name"] for entry in await panel.ok("GET", at("/home/john"))] == ["example.com"]


@pytest.mark.parametrize(
    "path",
    ["/", "/home", "/etc/passwd", "/home/jane", "/home/john/../../etc", "/home/john/../root2", "//etc", "/homes/john"],
)
async def test_path_outside_every_home_is_403(panel: SignedClient, path: str) -> None:
    await panel.domain()
    for method, target, body in [
        ("GET", at(path), b""),
        ("GET", at(path, content=True), b""),
        ("DELETE", at(path), b""),
        ("PUT", "/v1/files/content", {"path": f"{path}/x", "content": ""}),
    ]:
        assert (await panel.refused(403, method, target, body))["error"] == "Path outside home"


@pytest.mark.parametrize("path", ["/home/john", "/home/john/example.com", ROOT, f"{ROOT}/", f"{ROOT}/x/.."])
async def test_home_and_document_root_cannot_be_deleted(panel: SignedClient, path: str) -> None:
    await panel.domain()
    await panel.refused(403, "DELETE", at(path))
    assert panel.count("files") == 3


async def test_file_used_as_a_directory_is_rejected(panel: SignedClient) -> None:
    await panel.domain()
    path = f"{ROOT}/index.html"
    await panel.ok("PUT", "/v1/files/content", {"path": path, "content": "x"})
    await panel.refused(400, "GET", at(path))
    await panel.refused(400, "GET", at(ROOT, content=True))
    await panel.refused(400, "PUT", "/v1/files/content", {"path": ROOT, "content": "x"})
    await panel.refused(400, "PUT", "/v1/files/content", {"path": "/home/john", "content": "x"})
    await panel.refused(400, "PUT", "/v1/files/content", {"path": f"{path}/y", "content": "x"})
    await panel.refused(404, "PUT", "/v1/files/content", {"path": f"{ROOT}/new/y", "content": "x"})
    await panel.refused(400, "GET", at("home/john"))
    await panel.refused(400, "GET", "/v1/files")
    await panel.refused(400, "GET", "/v1/files?path=")


async def test_directory_when_deleted_loses_its_contents(panel: SignedClient) -> None:
    await panel.domain()
    database = panel.box.database
    database.execute(
        "INSERT INTO files SELECT ?, path, 'logs', 'directory', '', 0, '0755', account_id, domain_id, modified_at"
        " FROM files WHERE path = ?",
        (f"{ROOT}/logs", ROOT),
    )
    await panel.ok("PUT", "/v1/files/content", {"path": f"{ROOT}/logs/today", "content": "x"})
    assert panel.count("files") == 5
    await panel.ok("DELETE", at(f"{ROOT}/logs"))
    assert panel.count("files") == 3


@pytest.fixture
async def john(current_panel: PanelClient) -> str:
    return str((await current_panel.account())["id"])


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


async def test_hidden_files_are_listed_on_request(current_panel: PanelClient, john: str) -> None:
    for name in (".profile", "b.txt", "a.txt"):
        await create(current_panel, john, f"/home/john/{name}")
    assert await names(current_panel, john, "/home/john") == ["a.txt", "b.txt"]
    for true in ("true", "1"):
        shown = await names(current_panel, john, "/home/john", f"&show_hidden={true}&sort_order=desc")
        assert shown == ["b.txt", "a.txt", ".profile"]


async def test_upload_of_any_bytes_comes_back_unchanged(current_panel: PanelClient, john: str) -> None:
    for sent, stored in (('a "b" + ä.bin', 'a "b" + ä.bin'), ("../c.bin", "c.bin")):
        async with await upload(current_panel, john, "/home/john", sent, EVERY_BYTE) as response:
            assert (await response.json())["data"] == {"success": True}
        assert await download(current_panel, john, f"/home/john/{stored}") == EVERY_BYTE


async def test_upload_onto_a_folder_is_refused(current_panel: PanelClient, john: str) -> None:
    await create(current_panel, john, "/home/john/photos", None)
    async with await upload(current_panel, john, "/home/john", "photos", b"x") as response:
        assert response.status == 400


@pytest.mark.parametrize("body", [b"", b"no boundary", b"--x\r\nContent-Disposition: form-data"])
async def test_incomplete_form_is_refused(current_panel: PanelClient, body: bytes) -> None:
    target = f"{current_panel.prefix}/v1/files/upload"
    headers = {**current_panel.headers("POST", target, b""), "Content-Type": "multipart/form-data; boundary=x"}
    async with current_panel.session.post(current_panel.url(target), data=body, headers=headers) as response:
        assert response.status == 400


async def test_form_where_json_belongs_is_refused(current_panel: PanelClient, john: str) -> None:
    assert await status(current_panel, "POST", "/v1/files/upload", {"user_id": john}) == 415
    target = f"{current_panel.prefix}/v1/files"
    with aiohttp.MultipartWriter("form-data") as writer:
        writer.append("{}")
    headers = current_panel.headers("POST", target, b"")
    async with current_panel.session.post(current_panel.url(target), data=writer, headers=headers) as response:
        assert response.status == 415


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
async def test_archive_brings_files_back(current_panel: PanelClient, john: str, form: str) -> None:
    await create(current_panel, john, "/home/john/site", None)
    await create(current_panel, john, "/home/john/site/ä b.txt", "Grüße")
    await create(current_panel, john, "/home/john/site/empty", None)
    archive = f"/home/john/site.{form}"
    packed = {"user_id": john, "source_paths": ["/home/john/site"], "archive_path": archive, "format": form}
    await current_panel.data("POST", "/v1/files/compress", packed)
    info = await current_panel.data("GET", f"/v1/files/archive/info?user_id={john}&path={archive}")
    assert sorted(row["name"] for row in info["files"]) == ["site", "site/empty", "site/ä b.txt"]
    unpacked = {"user_id": john, "archive_path": archive, "destination_path": "/home/john/new/place"}
    await current_panel.data("POST", "/v1/files/extract", unpacked)
    assert await names(current_panel, john, "/home/john/new/place/site") == ["empty", "ä b.txt"]
    assert await download(current_panel, john, "/home/john/new/place/site/ä b.txt") == "Grüße".encode()


@pytest.mark.parametrize("name", ["site/page.txt/note.txt", "site/folder"])
async def test_archive_that_clashes_with_files_is_refused(current_panel: PanelClient, john: str, name: str) -> None:
    await create(current_panel, john, "/home/john/site", None)
    await create(current_panel, john, "/home/john/site/folder", None)
    await create(current_panel, john, "/home/john/site/page.txt", "old")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("site/new.txt", "new")
        archive.writestr(name, "new")
    await upload(current_panel, john, "/home/john", "site.zip", buffer.getvalue())
    body = {"user_id": john, "archive_path": "/home/john/site.zip", "destination_path": "/home/john"}
    assert await status(current_panel, "POST", "/v1/files/extract", body) == 400
    assert await names(current_panel, john, "/home/john/site") == ["folder", "page.txt"]


async def test_archive_that_leaves_the_home_is_refused(current_panel: PanelClient, john: str) -> None:
    await current_panel.account("jane")
    await create(current_panel, john, "/home/john/plain.zip", "not an archive")
    body = {"user_id": john, "archive_path": "/home/john/plain.zip", "destination_path": "/home/john"}
    assert await status(current_panel, "POST", "/v1/files/extract", body) == 400
    assert await status(current_panel, "POST", "/v1/files/extract", {**body, "destination_path": "/home/jane"}) == 403


@pytest.mark.parametrize("mistake", ["encrypted", "damaged"])
async def test_archive_that_cannot_be_unpacked_is_refused(current_panel: PanelClient, john: str, mistake: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "text" * 100)
    content = bytearray(buffer.getvalue())
    if mistake == "encrypted":
        content[content.index(b"PK\x01\x02") + 8] |= 1
    else:
        content[content.index(b"a.txt") + len("a.txt")] ^= 0xFF
    await upload(current_panel, john, "/home/john", "site.zip", bytes(content))
    assert await status(current_panel, "GET", f"/v1/files/archive/info?user_id={john}&path=/home/john/site.zip") == 400


async def test_trash_keeps_folders_and_tenants_apart(current_panel: PanelClient, john: str) -> None:
    jane = (await current_panel.account("jane"))["id"]
    await create(current_panel, john, "/home/john/photos", None)
    await create(current_panel, john, "/home/john/photos/one.jpg")
    await current_panel.data("DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/photos"]})
    [item] = await current_panel.data("GET", f"/v1/files/trash?user_id={john}")
    assert (item["name"], item["type"], item["original_path"]) == ("photos", "folder", "/home/john/photos")
    assert (await current_panel.data("GET", f"/v1/files/trash/stats?user_id={john}"))["total_items"] == 1
    assert await current_panel.data("GET", f"/v1/files/trash?user_id={jane}") == []
    restore = f"/v1/files/trash/{item['id']}/restore"
    assert await status(current_panel, "POST", restore, {"user_id": jane}) == 404
    await create(current_panel, john, "/home/john/photos", None)
    assert await status(current_panel, "POST", restore, {"user_id": john}) == 409
    await current_panel.data(
        "DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/photos"], "permanent": True}
    )
    await current_panel.data("POST", restore, {"user_id": john})
    assert await names(current_panel, john, "/home/john/photos") == ["one.jpg"]
    assert await current_panel.data("GET", f"/v1/files/trash?user_id={john}") == []


async def test_backup_holds_nothing_from_the_trash(current_panel: PanelClient, john: str) -> None:
    domain = await current_panel.domain("example.com", john)
    folder = "/home/john/example.com/photos"
    await create(current_panel, john, folder, None)
    await create(current_panel, john, f"{folder}/one.jpg")
    await current_panel.data("DELETE", "/v1/files", {"user_id": john, "paths": [folder]})
    await current_panel.data("POST", "/v1/backups", {"domain_ids": [domain["id"]]})
    assert current_panel.count("backup_files WHERE name = 'one.jpg'") == 0
    [item] = await current_panel.data("GET", f"/v1/files/trash?user_id={john}")
    await current_panel.data("POST", f"/v1/files/trash/{item['id']}/restore", {"user_id": john})
    await current_panel.data("POST", "/v1/backups", {"domain_ids": [domain["id"]], "backup_name": "again"})
    assert current_panel.count("backup_files WHERE name = 'one.jpg'") == 1


async def test_folder_cannot_go_into_itself(current_panel: PanelClient, john: str) -> None:
    await create(current_panel, john, "/home/john/a", None)
    await create(current_panel, john, "/home/john/a/b", None)
    body = {"user_id": john, "source_paths": ["/home/john/a"], "destination_path": "/home/john/a/b"}
    for verb in ("copy", "move"):
        assert await status(current_panel, "POST", f"/v1/files/{verb}", body) == 400
    assert await names(current_panel, john, "/home/john/a") == ["b"]


@pytest.mark.parametrize("verb", ["copy", "move"])
async def test_files_that_would_get_one_path_stay(current_panel: PanelClient, john: str, verb: str) -> None:
    for folder in ("a", "b", "c"):
        await create(current_panel, john, f"/home/john/{folder}", None)
    for folder in ("a", "b"):
        await create(current_panel, john, f"/home/john/{folder}/page.txt", folder)
    sources = ["/home/john/a/page.txt", "/home/john/b/page.txt"]
    body = {"user_id": john, "source_paths": sources, "destination_path": "/home/john/c"}
    assert await status(current_panel, "POST", f"/v1/files/{verb}", body) == 409
    assert await names(current_panel, john, "/home/john/c") == []
    assert await names(current_panel, john, "/home/john/a") == ["page.txt"]


@pytest.mark.parametrize("permanent", [True, False])
async def test_files_named_twice_are_not_deleted(current_panel: PanelClient, john: str, permanent: bool) -> None:
    await create(current_panel, john, "/home/john/photos", None)
    await create(current_panel, john, "/home/john/photos/one.jpg")
    paths = ["/home/john/photos", "/home/john/photos/one.jpg"]
    body = {"user_id": john, "paths": paths, "permanent": permanent}
    assert await status(current_panel, "DELETE", "/v1/files", body) == 404
    assert await names(current_panel, john, "/home/john/photos") == ["one.jpg"]


async def test_homes_and_document_roots_stay(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    user_id, site = domain["user_id"], "/home/john/example.com"
    for path in ("/home/john", site, f"{site}/public_html"):
        assert await status(current_panel, "DELETE", "/v1/files", {"user_id": user_id, "paths": [path]}) == 403
        rename = {"user_id": user_id, "path": path, "new_name": "other"}
        assert await status(current_panel, "PATCH", "/v1/files/rename", rename) == 403


async def test_files_go_with_their_account(current_panel: PanelClient, john: str) -> None:
    await create(current_panel, john, "/home/john/one.txt")
    await create(current_panel, john, "/home/john/two.txt")
    await current_panel.data("DELETE", "/v1/files", {"user_id": john, "paths": ["/home/john/two.txt"]})
    await current_panel.data("DELETE", f"/v1/accounts/{john}")
    assert (current_panel.count("files WHERE name LIKE '%.txt'"), current_panel.count("trash")) == (0, 0)
