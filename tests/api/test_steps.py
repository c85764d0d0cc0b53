"""Calls that take others before or after them: fences, kept settings, exact creates, and what is gone."""

import asyncio
import logging
from typing import Any

import attrs
import pytest

from panelica_async import (
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaClient,
    PartialWriteError,
    PermissionDeniedError,
    RequestTimeoutError,
)
from panelica_async.api.resource import Resource
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Fence, Operation, ReadBack, Repeat, Wire, names
from panelica_async.models import Domain, Plan
from panelica_async.models.shared import Acknowledgement
from tests.conftest import Connect
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
CREATE_PLAN = Operation(
    name="plans.create",
    wires={
        "panel": Wire(
            method="POST",
            path="/v1/plans",
            body=names("name", "slug", "max_domains", "max_databases", disk_space_mb="disk_quota_mb"),
            derived={"slug": "slug_of_name"},
            read_back=ReadBack("plans.update", "plans.list"),
        )
    },
    repeat=Repeat.UNSAFE,
)


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel", max_retries=0)


@pytest.fixture
def resource(panel: PanelicaClient) -> Resource:
    return Resource(panel._runner)


def rows(*data: dict[str, Any]) -> Step:
    return reply(json={"status": "success", "data": list(data), "total": len(data)})


def said(server: RawServer) -> list[str]:
    """Return what was sent: method, path and body."""
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
    await resource._run(DELETE_RECORD, zone_id="z1", record_id=id)
    assert said(server) == ["GET /dns/zones/z1/records", f"DELETE /dns/records/{id}"]


async def test_records_of_a_zone_are_deleted_after_one_look(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0"), a_record("r1")), reply(204), reply(204), rows(a_record("r2")), reply(204))
    for record_id in ("r0", "r1", "r2"):
        await resource._run(DELETE_RECORD, zone_id="z1", record_id=record_id)
    zone = "GET /dns/zones/z1/records"
    assert said(server) == [
        zone,
        "DELETE /dns/records/r0",
        "DELETE /dns/records/r1",
        # It was not there at the first look.
        zone,
        "DELETE /dns/records/r2",
    ]


async def test_record_seen_in_another_zone_is_left_alone(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0"), a_record("r1")), reply(204), rows())
    await resource._run(DELETE_RECORD, zone_id="z1", record_id="r0")
    with pytest.raises(NotFoundError, match="has nothing with the id r1"):
        await resource._run(DELETE_RECORD, zone_id="z2", record_id="r1")
    assert said(server)[-1] == "GET /dns/zones/z2/records"


async def test_record_of_another_zone_is_left_alone(server: RawServer, resource: Resource) -> None:
    server.script(rows(a_record("r0")))
    with pytest.raises(NotFoundError) as caught:
        await resource._run(DELETE_RECORD, zone_id="z1", record_id="r1")
    assert str(caught.value).startswith(
        "DELETE /v1/dns/records/{record_id}: 404: dns.records.delete: dns.records.list(zone_id='z1') has nothing with "
        "the id r1; nothing was changed"
    )
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert said(server) == ["GET /dns/zones/z1/records"]


@pytest.mark.parametrize("step", [reply(403, json={"error": "no"}), reply(body="<html>"), reply(json={"data": 1})])
async def test_nothing_is_written_when_the_fence_cannot_be_checked(
    server: RawServer, resource: Resource, step: Step
) -> None:
    server.script(step)
    with pytest.raises((PermissionDeniedError, DecodeError)):
        await resource._run(DELETE_RECORD, zone_id="z1", record_id="r1")
    assert said(server) == ["GET /dns/zones/z1/records"]


@pytest.mark.parametrize(("other", "is_refused"), [("shop", False), ("blog", True)])
async def test_user_of_one_of_several_databases_is_refused(
    server: RawServer, resource: Resource, other: str, *, is_refused: bool
) -> None:
    server.script(
        rows({"id": "u1", "database_name": "shop"}, {"id": "u2", "database_name": other}), reply(json={"id": "u3"})
    )
    call = resource._run(CREATE_USER, db_id="u1", domain_id="d1", username="jane")
    if not is_refused:
        return await call
    with pytest.raises(ConflictError, match=r"shows several of database_name, .* nothing was changed") as caught:
        await call
    assert (caught.value.from_panel, caught.value.attempts) == (False, 0)
    assert said(server) == ["GET /databases"]
    return None


async def test_steps_share_the_deadline(server: RawServer, connect: Connect) -> None:
    resource = Resource(connect(dialect="panel", deadline=0.3, max_retries=0)._runner)
    server.script(HANG)
    began = asyncio.get_running_loop().time()
    with pytest.raises(RequestTimeoutError):
        await resource._run(DELETE_RECORD, zone_id="z1", record_id="r1")
    assert asyncio.get_running_loop().time() - began < 5
    assert len(server.requests) == 1


async def test_invalid_argument_raises_before_any_step(server: RawServer, resource: Resource) -> None:
    with pytest.raises(ValueError, match="record_id must not contain a slash"):
        await resource._run(DELETE_RECORD, zone_id="z1", record_id="a/b")
    assert server.requests == []


# What is gone

NOT_FOUND = reply(400, json={"details": "user not found", "error": "Suspend Failed", "status": "error"})


async def test_confirmed_400_of_a_delete_is_done(server: RawServer, resource: Resource) -> None:
    server.script(NOT_FOUND, reply(404, json={"status": "error", "error": "Account not found"}))
    assert await resource._run(DELETE, id="u1") is None
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
async def test_confirmed_400_of_a_suspend_is_not_found(server: RawServer, resource: Resource, refusal: Step) -> None:
    server.script(refusal, reply(404, json={"status": "error", "error": "Account not found"}))
    with pytest.raises(NotFoundError) as caught:
        await resource._one(SUSPEND, Acknowledgement, id="u1")
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
async def test_400_that_nothing_confirms_stays(
    server: RawServer, resource: Resource, step: Step, operation: Operation
) -> None:
    server.script(NOT_FOUND, step)
    with pytest.raises(BadRequestError, match="user not found"):
        await resource._one(operation, Acknowledgement, id="u1")


# Settings that a change would reset


async def test_settings_are_sent_again(server: RawServer, resource: Resource) -> None:
    now = {"php_version": "8.1", "memory_limit": "256M", "post_max_size": None, "other": 1}
    server.script(reply(json={"status": "success", "data": now}), reply(json={"status": "success"}))
    changed = await resource._one(UPDATE_PHP, Domain, id="d1", php_version="8.4")
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
        await resource._one(UPDATE_PHP, Domain, id="d1", php_version="8.4")
    assert [request.method for request in server.requests] == ["GET"]


async def test_nothing_to_change_reads_nothing(server: RawServer, resource: Resource) -> None:
    with pytest.raises(ValueError, match="nothing to change"):
        await resource._one(UPDATE_PHP, Domain, id="d1", php_version=UNSET)
    assert server.requests == []


# Exact creates

MADE = reply(201, json={"status": "success", "data": {"id": "p1"}})
DONE = reply(json={"status": "success", "message": "Done"})
PLAN = {"name": "Gold Plus", "max_domains": 0, "max_databases": 5, "disk_space_mb": 0}


def a_plan(**values: object) -> Step:
    row = {
        "id": "p1",
        "name": "Gold Plus",
        "slug": "gold-plus",
        "max_domains": 0,
        "max_databases": 5,
        "disk_quota_mb": 0,
    }
    return rows({"id": "p0", "name": "Other"}, {**row, **values})


async def create(resource: Resource, **changes: object) -> Plan:
    return await resource._one(CREATE_PLAN, Plan, **{**PLAN, **changes})


async def test_zeros_are_set_by_a_second_call_and_read_back(server: RawServer, resource: Resource) -> None:
    server.script(MADE, DONE, a_plan())
    plan = await create(resource)
    assert (plan.id, plan.max_domains, plan.disk_space_mb, plan.slug) == ("p1", 0, 0, "gold-plus")
    assert said(server) == [
        'POST /plans {"name":"Gold Plus","slug":"gold-plus","max_databases":5}',
        'PATCH /plans/p1 {"max_domains":0,"disk_quota_mb":0}',
        "GET /plans",
    ]


async def test_create_without_zeros_is_one_call(server: RawServer, resource: Resource) -> None:
    server.script(MADE)
    plan = await create(resource, max_domains=-1, disk_space_mb=1)
    assert (plan.id, plan.max_domains) == ("p1", -1)
    assert len(server.requests) == 1


async def test_argument_that_the_create_ignores_is_set_afterwards(server: RawServer, resource: Resource) -> None:
    server.script(MADE, DONE, a_plan(max_ftp_accounts=7, max_domains=1, disk_quota_mb=1))
    await create(resource, max_domains=1, disk_space_mb=1, max_ftp_accounts=7)
    assert said(server)[1] == 'PATCH /plans/p1 {"max_ftp_accounts":7}'


async def test_plan_that_differs_in_case_alone_is_as_requested(server: RawServer, resource: Resource) -> None:
    server.script(MADE, DONE, a_plan(slug="gold-plus"))
    assert (await create(resource, slug="Gold-Plus")).slug == "gold-plus"


async def test_plan_that_differs_is_reported(server: RawServer, resource: Resource) -> None:
    server.script(MADE, DONE, a_plan(max_domains=3, max_databases=4))
    with pytest.raises(PartialWriteError) as caught:
        await create(resource)
    error = caught.value
    assert (error.operation, error.id, error.missing) == ("plans.create", "p1", {"max_domains": 0, "max_databases": 5})
    assert str(error) == (
        "plans.create made the object with the id p1, but the panel kept other values; not as requested: max_domains, "
        "max_databases. Hint: Do not create it again: call panel.plans.update('p1', max_domains=0, max_databases=5), "
        "or delete it."
    )


@pytest.mark.parametrize(
    "step", [reply(400, json={"error": "max_domains: too small"}), reply(403, json={"error": "no"})]
)
async def test_failed_change_is_reported_with_what_was_made(server: RawServer, resource: Resource, step: Step) -> None:
    server.script(MADE, step)
    with pytest.raises(
        PartialWriteError, match="made the object with the id p1, but setting the rest failed"
    ) as caught:
        await create(resource)
    assert caught.value.missing == {"max_domains": 0, "disk_space_mb": 0}
    assert caught.value.made.id == "p1"
    assert type(caught.value.__cause__) in {BadRequestError, PermissionDeniedError}


async def test_plan_with_an_id_that_no_call_takes_is_reported(server: RawServer, resource: Resource) -> None:
    server.script(reply(json={"id": "../p1", "name": "Gold"}))
    with pytest.raises(PartialWriteError, match="but the panel shows an id that no call takes: id must not contain"):
        await create(resource)
    assert len(server.requests) == 1


async def test_lost_reply_to_the_change_is_unknown_and_names_the_id(server: RawServer, resource: Resource) -> None:
    server.script(MADE, CLOSE)
    with pytest.raises(OutcomeUnknownError, match="made the object with the id p1, but it is unknown") as caught:
        await create(resource)
    assert (caught.value.operation, caught.value.path) == ("plans.create", "/v1/plans/p1")
    assert "panel.plans.update('p1', max_domains=0, disk_space_mb=0)" in str(caught.value.hint)


async def test_plan_without_an_id_is_reported(server: RawServer, resource: Resource) -> None:
    server.script(DONE)
    with pytest.raises(PartialWriteError, match="made an object, but the panel does not show its id") as caught:
        await create(resource)
    assert caught.value.id is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [reply(403, json={"error": "no"}), rows()])
async def test_plan_that_cannot_be_read_back_is_as_requested(
    server: RawServer, resource: Resource, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(MADE, DONE, step)
    with caplog.at_level(logging.WARNING, "panelica_async"):
        plan = await create(resource)
    assert (plan.id, plan.max_domains, plan.max_databases, plan.disk_space_mb) == ("p1", 0, 5, 0)


async def test_reply_that_is_no_json_to_the_change_is_read_back(server: RawServer, resource: Resource) -> None:
    server.script(MADE, reply(body="OK"), a_plan())
    assert (await create(resource)).max_domains == 0


async def test_change_is_checked_before_the_create_is_sent(
    server: RawServer, panel: PanelicaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = panel._runner
    update = runner.get_operation("plans.update")
    strict = attrs.evolve(update, wires={"panel": attrs.evolve(update.wires["panel"], minimum={"max_domains": 1})})
    real = runner.get_operation
    monkeypatch.setattr(runner, "get_operation", lambda name: strict if name == update.name else real(name))
    with pytest.raises(ValueError, match="max_domains must be at least 1"):
        await create(Resource(runner))
    assert server.requests == []
