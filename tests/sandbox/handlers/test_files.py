from urllib.parse import quote

import pytest

from tests.sandbox.signed_client import USER, Clock, SignedClient

ROOT = "/home/john/example.com/public_html"


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
