"""Arguments that panels need and the caller left out: derived from the others, before anything is written."""

import asyncio
from typing import Any

import pytest

from panelica_async import DecodeError, NotFoundError, PanelicaClient, PermissionDeniedError, RequestTimeoutError
from panelica_async.api.resource import Resource
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Operation, Repeat, Wire, names
from panelica_async.models import DatabaseUser, FileEntry, FtpAccount, Plan
from tests.conftest import Connect
from tests.support.raw_server import HANG, RawServer, Step, reply


def creating(name: str, path: str, *arguments: str, **derived: str) -> Operation:
    wire = Wire(method="POST", path=path, body=names(*arguments), derived=derived)
    return Operation(name=name, wires={"panel": wire}, repeat=Repeat.UNSAFE)


PLAN = creating("plans.create", "/v1/plans", "name", "slug", slug="slug_of_name")
FTP = creating("ftp.accounts.create", "/v1/ftp-accounts", "username", "user_id", "domain_id", user_id="owner_of_domain")
USER = creating("databases.users.create", "/v1/mysql-users", "username", "domain_id", domain_id="domain_of_database")
FILES = Operation(
    name="files.list",
    wires={
        "panel": Wire(
            method="GET",
            path="/v1/files",
            query=names("path", "user_id"),
            items="files",
            derived={"user_id": "owner_of_path"},
            is_whole=True,
        )
    },
    repeat=Repeat.READ,
)


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel", max_retries=0)


@pytest.fixture
def resource(panel: PanelicaClient) -> Resource:
    return Resource(panel._runner)


def rows(*data: Any) -> Step:
    return reply(json={"status": "success", "data": list(data), "total": len(data)})


def one(**data: Any) -> Step:
    return reply(json={"status": "success", "data": data})


MADE = one(id="new")
LISTING = one(files=[{"name": "index.php"}])


def targets(server: RawServer) -> list[str]:
    return [
        f"{request.method} {request.target.removeprefix('/api/external/v1').partition('?')[0]}"
        for request in server.requests
    ]


# From a name


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Gold Plus", "gold-plus"), ("  Çok Ucuz!! ", "cok-ucuz"), ("a__b", "a-b"), ("5 GB", "5-gb")],
)
async def test_slug_comes_from_the_name(server: RawServer, resource: Resource, name: str, slug: str) -> None:
    server.script(MADE)
    await resource._one(PLAN, Plan, name=name)
    assert f'"slug":"{slug}"'.encode() in server.requests[0].body


async def test_what_the_caller_passes_is_taken(server: RawServer, resource: Resource) -> None:
    server.script(MADE, MADE)
    await resource._one(PLAN, Plan, name="Gold", slug="mine")
    await resource._one(FTP, FtpAccount, username="a", domain_id="d1", user_id="u9")
    assert b'"slug":"mine"' in server.requests[0].body
    assert b'"user_id":"u9"' in server.requests[1].body


async def test_name_without_a_slug_asks_for_one(server: RawServer, resource: Resource) -> None:
    with pytest.raises(
        ValueError, match=r"^plans\.create: slug cannot be derived: '套餐' has no ASCII letters .* pass slug=$"
    ):
        await resource._one(PLAN, Plan, name="套餐", slug=UNSET)
    assert server.requests == []


# From a domain


async def ftp(resource: Resource, domain_id: str = "d1") -> FtpAccount:
    return await resource._one(FTP, FtpAccount, username="a", domain_id=domain_id)


async def test_owner_of_a_domain_is_kept(server: RawServer, resource: Resource, panel: PanelicaClient) -> None:
    server.script(one(id="d1", user_id="u1"), MADE, MADE, one(id="d2", user_id="u2"), MADE)
    await ftp(resource)
    # A variant of the client knows it, too.
    await ftp(Resource(panel.with_options(max_retries=1)._runner))
    await ftp(resource, "d2")
    assert targets(server) == [
        "GET /domains/d1",
        "POST /ftp-accounts",
        "POST /ftp-accounts",
        "GET /domains/d2",
        "POST /ftp-accounts",
    ]
    assert b'"user_id":"u1"' in server.requests[2].body


@pytest.mark.parametrize("step", [one(id="d1"), reply(404, json={"error": "not found"}), reply(json=[1])])
async def test_owner_is_in_the_list_when_the_domain_does_not_show_it(
    server: RawServer, resource: Resource, step: Step
) -> None:
    server.script(step, rows({"id": "d0", "user_id": "u0"}, {"id": []}, {"id": "d1", "user_id": "u1"}), MADE)
    await ftp(resource)
    assert targets(server) == ["GET /domains/d1", "GET /domains", "POST /ftp-accounts"]
    assert b'"user_id":"u1"' in server.requests[2].body


async def test_owner_that_no_reply_shows_is_an_error(server: RawServer, resource: Resource) -> None:
    server.script(one(id="d1"), rows({"id": "d1"}))
    with pytest.raises(DecodeError, match=r"does not show the owner of the domain d1") as caught:
        await ftp(resource)
    assert caught.value.hint == "Pass user_id= to avoid the read."
    server.script(reply(404, json={"error": "not found"}), rows())
    with pytest.raises(NotFoundError):
        await ftp(resource)
    assert "POST" not in " ".join(targets(server))


async def test_failed_read_says_what_it_was_for(server: RawServer, resource: Resource) -> None:
    server.script(reply(403, json={"error": "no"}))
    with pytest.raises(PermissionDeniedError) as caught:
        await ftp(resource)
    assert caught.value.__notes__ == [
        "ftp.accounts.create needs this read to find out user_id. Pass user_id= to avoid the read."
    ]
    assert targets(server) == ["GET /domains/d1"]


async def test_calls_at_once_share_the_read(server: RawServer, resource: Resource) -> None:
    server.script(one(id="d1", user_id="u1"), *[MADE] * 20)
    await asyncio.gather(*[ftp(resource) for _ in range(20)])
    assert targets(server).count("GET /domains/d1") == 1


async def test_call_that_ends_does_not_end_the_read_of_others(server: RawServer, panel: PanelicaClient) -> None:
    arrived = asyncio.Event()
    server.script(Step(one(id="d1", user_id="u1").sent, after=arrived), MADE)
    impatient = Resource(panel.with_options(deadline=0.05)._runner)
    first = asyncio.create_task(ftp(impatient))
    await server.received(1)
    second = asyncio.create_task(ftp(Resource(panel._runner)))
    with pytest.raises(RequestTimeoutError, match=r"the deadline of 0\.05 s passed before the request was sent"):
        await first
    arrived.set()
    assert (await second).id == "new"
    assert targets(server) == ["GET /domains/d1", "POST /ftp-accounts"]


async def test_read_ends_with_the_last_call_that_waits(server: RawServer, panel: PanelicaClient) -> None:
    server.script(HANG)
    call = asyncio.create_task(ftp(Resource(panel._runner)))
    await server.received(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "ask" in repr(task.get_coro())]


async def test_owner_is_read_again_after_an_error(server: RawServer, resource: Resource) -> None:
    server.script(one(id="d1", user_id="u1"), reply(400, json={"error": "no such user"}))
    with pytest.raises(Exception, match="no such user"):
        await ftp(resource)
    server.script(one(id="d1", user_id="u2"), MADE)
    await ftp(resource)
    assert b'"user_id":"u2"' in server.requests[-1].body


# From a database


async def test_domain_of_a_database_is_in_its_row(server: RawServer, resource: Resource) -> None:
    server.script(rows({"id": "b0", "domain_id": "d0"}, {"id": 7, "domain_id": "d1"}), MADE)
    await resource._one(USER, DatabaseUser, db_id="7", username="a")
    assert targets(server) == ["GET /databases", "POST /mysql-users"]
    assert b'"domain_id":"d1"' in server.requests[1].body


@pytest.mark.parametrize(("found", "kind"), [(rows(), NotFoundError), (rows({"id": "b1"}), DecodeError)])
async def test_database_without_a_domain_is_an_error(
    server: RawServer, resource: Resource, found: Step, kind: type[Exception]
) -> None:
    server.script(found)
    with pytest.raises(kind):
        await resource._one(USER, DatabaseUser, db_id="b1", username="a")
    assert targets(server) == ["GET /databases"]


# From a path

ACCOUNTS = rows(
    {"id": "u0", "username": "john", "role": "ROOT"},
    {"id": "u1", "username": "john", "role": "user"},
    {"id": "u2", "username": "johnny", "role": "USER"},
    {"id": "u3", "username": "old"},
)


@pytest.mark.parametrize(
    ("path", "owner"),
    [("/home/john", "u1"), ("/home/john/a b/c", "u1"), ("/home/johnny/", "u2"), ("/home/old/x", "u3")],
)
async def test_owner_of_a_path_is_the_user_of_its_home(
    server: RawServer, resource: Resource, path: str, owner: str
) -> None:
    server.script(ACCOUNTS, LISTING)
    page = await resource._pages(FILES, FileEntry, path=path)
    assert [entry.name for entry in page.items] == ["index.php"]
    assert targets(server) == ["GET /accounts", "GET /files"]
    assert server.requests[1].target.endswith(f"user_id={owner}")


@pytest.mark.parametrize("path", ["/etc/passwd", "/home", "/home/", "home/john", "/home/john/../johnny", "/home/.."])
async def test_path_outside_a_home_asks_for_the_owner(server: RawServer, resource: Resource, path: str) -> None:
    with pytest.raises(ValueError, match=r"^files\.list: user_id cannot be derived: .* pass user_id=$"):
        await resource._pages(FILES, FileEntry, path=path)
    assert server.requests == []


@pytest.mark.parametrize("username", ["root", "nobody", "JOHN"])
async def test_home_without_its_user_is_an_error(server: RawServer, resource: Resource, username: str) -> None:
    server.script(ACCOUNTS)
    with pytest.raises(NotFoundError, match=f"no account with the role USER has the user name {username}") as caught:
        await resource._pages(FILES, FileEntry, path=f"/home/{username}/x")
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert targets(server) == ["GET /accounts"]


async def test_list_with_an_owner_reads_no_accounts(server: RawServer, resource: Resource) -> None:
    server.script(LISTING)
    await resource._pages(FILES, FileEntry, path="/etc", user_id="u1")
    assert targets(server) == ["GET /files"]


async def test_account_that_is_newer_than_a_shared_list_is_found(server: RawServer, panel: PanelicaClient) -> None:
    arrived = asyncio.Event()
    new = rows({"id": "u2", "username": "mary"})
    server.script(Step(rows({"id": "u1", "username": "john"}).sent, after=arrived), new, LISTING)
    listed = [
        asyncio.create_task(Resource(panel._runner)._pages(FILES, FileEntry, path="/home/mary").collect())
        for _ in range(2)
    ]
    await server.received(1)
    arrived.set()
    first, second = await asyncio.gather(*listed, return_exceptions=True)
    assert isinstance(first, NotFoundError)
    assert not isinstance(second, BaseException)
    assert targets(server) == ["GET /accounts", "GET /accounts", "GET /files"]
