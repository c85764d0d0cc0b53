"""Calls that need other calls before or after them: fences, kept settings, missing objects, derived arguments."""

import asyncio
from typing import Any

import pytest

from panelica_async import (
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    PanelicaClient,
    PermissionDeniedError,
    RequestTimeoutError,
)
from panelica_async.api.resource import Resource
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Fence, Operation, Repeat, Wire, names
from panelica_async.models import DatabaseUser, Domain, FileEntry, FtpAccount, Plan
from panelica_async.models.shared import Acknowledgement
from tests.conftest import Advance, Connect
from tests.support.raw_server import CLOSE, HANG, RawServer, Step, reply

BASE = "/api/external/v1"
DELETE_RECORD = Operation(
    name="dns.records.delete",
    wires={
        "panel": Wire(method="DELETE", path="/v1/dns/records/{record_id}", fence=Fence("dns.records.list", "record_id"))
    },
    repeat=Repeat.IDEMPOTENT,
)
CREATE_USER = Operation(
    name="databases.users.create",
    wires={
        "panel": Wire(
            method="POST",
            path="/v1/databases",
            body=names("domain_id", "username"),
            fence=Fence("databases.list", "db_id", "database_name"),
        )
    },
    repeat=Repeat.UNSAFE,
)
SUSPEND = Operation(
    name="accounts.suspend",
    wires={"panel": Wire(method="POST", path="/v1/accounts/{id}/suspend", gone="accounts.get")},
    repeat=Repeat.IDEMPOTENT,
)
DELETE = Operation(
    name="accounts.delete",
    wires={"panel": Wire(method="DELETE", path="/v1/accounts/{id}", gone="accounts.get")},
    repeat=Repeat.IDEMPOTENT,
)
UPDATE_PHP = Operation(
    name="domains.update",
    wires={
        "panel": Wire(
            method="PATCH",
            path="/v1/domains/{id}/php",
            body=names("php_version"),
            values={"php_version": {"8.4": "84"}},
            keeps=("php_version", "memory_limit", "post_max_size"),
        )
    },
    repeat=Repeat.IDEMPOTENT,
)


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel", max_retries=0)


@pytest.fixture
def resource(panel: PanelicaClient) -> Resource:
    return Resource(panel._runner)


def rows(*data: Any) -> Step:
    return reply(json={"status": "success", "data": list(data), "total": len(data)})


def said(server: RawServer) -> list[str]:
    """Return the method, path and body of each request."""
    return [
        " ".join(filter(None, (request.method, request.target.removeprefix(BASE).split("?")[0], request.body.decode())))
        for request in server.requests
    ]


# Fences


def a_record(id: object) -> dict[str, Any]:
    return {"id": id, "name": "www", "type": "A", "content": "192.0.2.1"}


@pytest.mark.parametrize("id", ["r1", 17])
async def test_record_of_the_zone_is_deleted(server: RawServer, resource: Resource, id: object) -> None:
    server.script(rows(a_record("r0"), {"type": []}, a_record(id)), reply(204))
    await resource._call(DELETE_RECORD, zone_id="z1", record_id=id)
    assert said(server) == ["GET /dns/zones/z1/records", f"DELETE /dns/records/{id}"]


async def test_records_of_a_zone_are_deleted_after_one_read(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0"), a_record("r1")), reply(204), reply(204), rows(a_record("r2")), reply(204))
    for record_id in ("r0", "r1", "r2"):
        await resource._call(DELETE_RECORD, zone_id="z1", record_id=record_id)
    zone = "GET /dns/zones/z1/records"
    assert said(server) == [
        zone,
        "DELETE /dns/records/r0",
        "DELETE /dns/records/r1",
        # The first read did not show it.
        zone,
        "DELETE /dns/records/r2",
    ]


async def test_record_seen_in_another_zone_is_left_alone(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0"), a_record("r1")), reply(204), rows())
    await resource._call(DELETE_RECORD, zone_id="z1", record_id="r0")
    with pytest.raises(NotFoundError, match="has nothing with the id r1"):
        await resource._call(DELETE_RECORD, zone_id="z2", record_id="r1")
    assert said(server)[-1] == "GET /dns/zones/z2/records"


async def test_record_of_another_zone_is_left_alone(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0")))
    with pytest.raises(NotFoundError) as caught:
        await resource._call(DELETE_RECORD, zone_id="z1", record_id="r1")
    assert str(caught.value).startswith(
        "DELETE /v1/dns/records/{record_id}: 404: dns.records.delete: dns.records.list(zone_id='z1') has nothing with "
        "the id r1; nothing was changed"
    )
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert said(server) == ["GET /dns/zones/z1/records"]


@pytest.mark.parametrize("step", [reply(403, json={"error": "no"}), reply(body="<html>"), reply(json={"data": 1})])
async def test_nothing_is_written_when_the_fence_is_unreadable(
    server: RawServer, resource: Resource, step: Step
) -> None:
    server.script(step)
    with pytest.raises((PermissionDeniedError, DecodeError)):
        await resource._call(DELETE_RECORD, zone_id="z1", record_id="r1")
    assert said(server) == ["GET /dns/zones/z1/records"]


@pytest.mark.parametrize(("other", "is_refused"), [("shop", False), ("blog", True)])
async def test_user_of_one_of_several_databases_is_refused(
    server: RawServer, resource: Resource, other: str, *, is_refused: bool
) -> None:
    server.script(
        rows({"id": "u1", "database_name": "shop"}, {"id": "u2", "database_name": other}), reply(json={"id": "u3"})
    )
    call = resource._call(CREATE_USER, db_id="u1", domain_id="d1", username="jane")
    if not is_refused:
        return await call
    with pytest.raises(ConflictError, match=r"shows several of database_name, .* nothing was changed") as caught:
        await call
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert said(server) == ["GET /databases"]
    return None


async def test_steps_share_the_deadline(server: RawServer, connect: Connect, advance: Advance) -> None:
    resource = Resource(connect(dialect="panel", deadline=20, max_retries=0)._runner)
    server.script(HANG)
    call = asyncio.ensure_future(resource._call(DELETE_RECORD, zone_id="z1", record_id="r1"))
    await server.received(1)
    advance(21)
    with pytest.raises(RequestTimeoutError, match="the deadline of 20 s has passed"):
        await call
    assert len(server.requests) == 1


async def test_invalid_argument_raises_before_any_step(server: RawServer, resource: Resource) -> None:
    with pytest.raises(ValueError, match="record_id must not contain a slash"):
        await resource._call(DELETE_RECORD, zone_id="z1", record_id="a/b")
    assert server.requests == []


# Missing objects

NOT_FOUND = reply(400, json={"details": "user not found", "error": "Suspend Failed", "status": "error"})


async def test_delete_with_400_is_done_if_the_object_is_gone(server: RawServer, resource: Resource) -> None:
    server.script(NOT_FOUND, reply(404, json={"status": "error", "error": "Account not found"}))
    assert await resource._call(DELETE, id="u1") is None
    assert said(server) == ["DELETE /accounts/u1", "GET /accounts/u1"]


@pytest.mark.parametrize(
    "refusal",
    [
        NOT_FOUND,
        reply(400, json={"details": "Benutzer nicht gefunden", "error": "Sperren fehlgeschlagen", "status": "error"}),
        reply(400, json={"error": "apiErrors.users.notFound", "status": "error"}),
    ],
    ids=["English", "German", "key"],
)
async def test_suspend_with_400_is_not_found_if_the_object_is_gone(
    server: RawServer, resource: Resource, refusal: Step
) -> None:
    server.script(refusal, reply(404, json={"status": "error", "error": "Account not found"}))
    with pytest.raises(NotFoundError) as caught:
        await resource._call_one(SUSPEND, Acknowledgement, id="u1")
    assert (caught.value.status, caught.value.path) == (404, "/v1/accounts/u1/suspend")
    assert isinstance(caught.value.__cause__, BadRequestError)


@pytest.mark.parametrize(
    "step",
    [
        reply(json={"status": "success", "data": {"id": "u1"}}),
        reply(403, json={"error": "no"}),
        reply(500, json={"error": "down"}),
        reply(404, body="<html>", content_type="text/html"),
        CLOSE,
    ],
)
@pytest.mark.parametrize("operation", [SUSPEND, DELETE], ids=lambda operation: operation.name)
async def test_400_is_raised_while_the_object_exists(
    server: RawServer, resource: Resource, step: Step, operation: Operation
) -> None:
    server.script(NOT_FOUND, step)
    with pytest.raises(BadRequestError, match="user not found"):
        await resource._call_one(operation, Acknowledgement, id="u1")


# Settings that a change would reset


async def test_settings_the_caller_left_out_are_sent_again(server: RawServer, resource: Resource) -> None:
    now = {"php_version": "8.1", "memory_limit": "256M", "post_max_size": None, "other": 1}
    server.script(reply(json={"status": "success", "data": now}), reply(json={"status": "success"}))
    changed = await resource._call_one(UPDATE_PHP, Domain, id="d1", php_version="8.4")
    assert said(server) == [
        "GET /domains/d1/php",
        'PATCH /domains/d1/php {"php_version":"84","memory_limit":"256M"}',
    ]
    assert (changed.id, changed.php_version) == ("d1", "8.4")


@pytest.mark.parametrize("step", [reply(404, json={"error": "not found"}), reply(json=[]), reply(json={"data": None})])
async def test_nothing_changes_when_the_settings_cannot_be_read(
    server: RawServer, resource: Resource, step: Step
) -> None:
    server.script(step)
    with pytest.raises((NotFoundError, DecodeError)):
        await resource._call_one(UPDATE_PHP, Domain, id="d1", php_version="8.4")
    assert [request.method for request in server.requests] == ["GET"]


async def test_update_without_changes_reads_nothing(server: RawServer, resource: Resource) -> None:
    with pytest.raises(ValueError, match="nothing to change"):
        await resource._call_one(UPDATE_PHP, Domain, id="d1", php_version=UNSET)
    assert server.requests == []


# Derived arguments: what panels need and the caller left out


def creating(name: str, path: str, *arguments: str, **derived: str) -> Operation:
    wire = Wire(method="POST", path=path, body=names(*arguments), derived=derived)
    return Operation(name=name, wires={"panel": wire}, repeat=Repeat.UNSAFE)


SLUGGED_PLAN = creating("plans.create", "/v1/plans", "name", "slug", slug="slug_of_name")
CREATE_FTP = creating(
    "ftp.accounts.create", "/v1/ftp-accounts", "username", "user_id", "domain_id", user_id="owner_of_domain"
)
CREATE_OWN_USER = creating(
    "databases.users.create", "/v1/mysql-users", "username", "domain_id", domain_id="domain_of_database"
)
LIST_FILES = Operation(
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
async def test_slug_is_derived_from_the_name(server: RawServer, resource: Resource, name: str, slug: str) -> None:
    server.script(MADE)
    await resource._call_one(SLUGGED_PLAN, Plan, name=name)
    assert f'"slug":"{slug}"'.encode() in server.requests[0].body


async def test_argument_of_the_caller_replaces_the_derived_one(server: RawServer, resource: Resource) -> None:
    server.script(MADE, MADE)
    await resource._call_one(SLUGGED_PLAN, Plan, name="Gold", slug="mine")
    await resource._call_one(CREATE_FTP, FtpAccount, username="a", domain_id="d1", user_id="u9")
    assert b'"slug":"mine"' in server.requests[0].body
    assert b'"user_id":"u9"' in server.requests[1].body


async def test_name_that_yields_no_slug_asks_for_one(server: RawServer, resource: Resource) -> None:
    with pytest.raises(
        ValueError, match=r"^plans\.create: slug cannot be derived: '套餐' has no ASCII letters .* pass slug=$"
    ):
        await resource._call_one(SLUGGED_PLAN, Plan, name="套餐", slug=UNSET)
    assert server.requests == []


# From a domain


async def ftp(resource: Resource, domain_id: str = "d1") -> FtpAccount:
    return await resource._call_one(CREATE_FTP, FtpAccount, username="a", domain_id=domain_id)


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


@pytest.mark.parametrize(
    "step",
    [
        one(id="d1"),
        one(id="d1", user_id="00000000-0000-0000-0000-000000000000"),
        reply(404, json={"error": "not found"}),
        reply(json=[1]),
    ],
)
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


async def test_failed_read_says_what_it_was_needed_for(server: RawServer, resource: Resource) -> None:
    server.script(reply(403, json={"error": "no"}))
    with pytest.raises(PermissionDeniedError) as caught:
        await ftp(resource)
    assert caught.value.__notes__ == [
        "ftp.accounts.create needs this read to find out user_id. Pass user_id= to avoid the read."
    ]
    assert targets(server) == ["GET /domains/d1"]


async def test_concurrent_calls_share_the_read(server: RawServer, resource: Resource) -> None:
    server.script(one(id="d1", user_id="u1"), *[MADE] * 20)
    await asyncio.gather(*[ftp(resource) for _ in range(20)])
    assert targets(server).count("GET /domains/d1") == 1


async def test_call_past_its_deadline_does_not_end_the_read_of_others(
    server: RawServer, panel: PanelicaClient, advance: Advance
) -> None:
    arrived = asyncio.Event()
    server.script(Step(one(id="d1", user_id="u1").sent, after=arrived), MADE)
    impatient = Resource(panel.with_options(deadline=20)._runner)
    first = asyncio.create_task(ftp(impatient))
    await server.received(1)
    second = asyncio.create_task(ftp(Resource(panel._runner)))
    await asyncio.sleep(0)
    advance(21)
    with pytest.raises(RequestTimeoutError, match="the deadline of 20 s passed before the request was sent"):
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
    await resource._call_one(CREATE_OWN_USER, DatabaseUser, db_id="7", username="a")
    assert targets(server) == ["GET /databases", "POST /mysql-users"]
    assert b'"domain_id":"d1"' in server.requests[1].body


@pytest.mark.parametrize(("found", "kind"), [(rows(), NotFoundError), (rows({"id": "b1"}), DecodeError)])
async def test_database_without_a_domain_is_an_error(
    server: RawServer, resource: Resource, found: Step, kind: type[Exception]
) -> None:
    server.script(found)
    with pytest.raises(kind):
        await resource._call_one(CREATE_OWN_USER, DatabaseUser, db_id="b1", username="a")
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
    page = await resource._paginate(LIST_FILES, FileEntry, path=path)
    assert [entry.name for entry in page.items] == ["index.php"]
    assert targets(server) == ["GET /accounts", "GET /files"]
    assert server.requests[1].target.endswith(f"user_id={owner}")


@pytest.mark.parametrize("path", ["/etc/passwd", "/home", "/home/", "home/john", "/home/john/../johnny", "/home/.."])
async def test_path_outside_a_home_asks_for_the_owner(server: RawServer, resource: Resource, path: str) -> None:
    with pytest.raises(ValueError, match=r"^files\.list: user_id cannot be derived: .* pass user_id=$"):
        await resource._paginate(LIST_FILES, FileEntry, path=path)
    assert server.requests == []


@pytest.mark.parametrize("username", ["root", "nobody", "JOHN"])
async def test_home_without_its_user_is_an_error(server: RawServer, resource: Resource, username: str) -> None:
    server.script(ACCOUNTS)
    with pytest.raises(NotFoundError, match=f"no account with the role USER has the user name {username}") as caught:
        await resource._paginate(LIST_FILES, FileEntry, path=f"/home/{username}/x")
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert targets(server) == ["GET /accounts"]


async def test_list_with_an_owner_reads_no_accounts(server: RawServer, resource: Resource) -> None:
    server.script(LISTING)
    await resource._paginate(LIST_FILES, FileEntry, path="/etc", user_id="u1")
    assert targets(server) == ["GET /files"]


async def test_account_newer_than_a_shared_list_is_found(server: RawServer, panel: PanelicaClient) -> None:
    arrived = asyncio.Event()
    new = rows({"id": "u2", "username": "mary"})
    server.script(Step(rows({"id": "u1", "username": "john"}).sent, after=arrived), new, LISTING)
    listed = [
        asyncio.create_task(Resource(panel._runner)._paginate(LIST_FILES, FileEntry, path="/home/mary").collect())
        for _ in range(2)
    ]
    await server.received(1)
    arrived.set()
    first, second = await asyncio.gather(*listed, return_exceptions=True)
    assert isinstance(first, NotFoundError)
    assert not isinstance(second, BaseException)
    assert targets(server) == ["GET /accounts", "GET /accounts", "GET /files"]
