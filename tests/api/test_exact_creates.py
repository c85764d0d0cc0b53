"""Creates that a panel carries out only in part: the client sets the rest afterwards, and reads the result back."""

import asyncio
import logging
from typing import Any

import attrs
import pytest

from panelica_async import (
    BadRequestError,
    DecodeError,
    OutcomeUnknownError,
    PanelicaClient,
    PartialWriteError,
    PermissionDeniedError,
)
from panelica_async.api.resource import Resource
from panelica_async.core.operation import Operation, ReadBack, Repeat, Wire, names
from panelica_async.models import Plan
from tests.conftest import Connect
from tests.support.raw_server import CLOSE, HANG, RawServer, Step, reply

BASE = "/api/external/v1"
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

WIRE = CREATE_PLAN.wires["panel"]
WITH_CRON_JOBS = attrs.evolve(
    CREATE_PLAN, wires={"panel": attrs.evolve(WIRE, body={**WIRE.body, "max_cron_jobs": "max_cron_jobs"})}
)
MADE = reply(201, json={"status": "success", "data": {"id": "p1"}})
DONE = reply(json={"status": "success", "message": "Done"})
PLAN = {"name": "Gold Plus", "max_domains": 0, "max_databases": 5, "disk_space_mb": 0}


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel", max_retries=0)


@pytest.fixture
def resource(panel: PanelicaClient) -> Resource:
    return Resource(panel._runner)


def rows(*data: dict[str, Any]) -> Step:
    return reply(json={"status": "success", "data": list(data), "total": len(data)})


def said(server: RawServer) -> list[str]:
    """Return the method, path and body of each request."""
    return [
        " ".join(filter(None, (request.method, request.target.removeprefix(BASE).split("?")[0], request.body.decode())))
        for request in server.requests
    ]


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
    return await resource._call_one(CREATE_PLAN, Plan, **{**PLAN, **changes})


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


async def test_field_unknown_to_the_model_is_compared_too(server: RawServer, resource: Resource) -> None:
    server.script(MADE, DONE, a_plan(max_cron_jobs=3))
    with pytest.raises(PartialWriteError) as caught:
        await resource._call_one(WITH_CRON_JOBS, Plan, **PLAN, max_cron_jobs=5)
    assert caught.value.missing == {"max_cron_jobs": 5}


@pytest.mark.parametrize(
    "step", [reply(400, json={"error": "max_domains: too small"}), reply(403, json={"error": "no"})]
)
async def test_failed_change_names_the_object_that_was_made(server: RawServer, resource: Resource, step: Step) -> None:
    server.script(MADE, step)
    with pytest.raises(
        PartialWriteError, match="made the object with the id p1, but setting the rest failed"
    ) as caught:
        await create(resource)
    assert caught.value.missing == {"max_domains": 0, "disk_space_mb": 0}
    assert caught.value.made.id == "p1"
    assert type(caught.value.__cause__) in {BadRequestError, PermissionDeniedError}


async def test_plan_with_an_unusable_id_is_reported(server: RawServer, resource: Resource) -> None:
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
async def test_plan_that_cannot_be_read_back_is_taken_as_requested(
    server: RawServer, resource: Resource, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(MADE, DONE, step)
    with caplog.at_level(logging.WARNING, "panelica_async"):
        plan = await create(resource)
    assert (plan.id, plan.max_domains, plan.max_databases, plan.disk_space_mb) == ("p1", 0, 5, 0)


async def test_change_with_an_unreadable_reply_is_read_back(server: RawServer, resource: Resource) -> None:
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


@pytest.mark.parametrize(("step", "kind"), [(CLOSE, OutcomeUnknownError), (reply(201, body="OK"), DecodeError)])
async def test_unreadable_create_says_what_was_not_set(
    server: RawServer, resource: Resource, step: Step, kind: type[Exception]
) -> None:
    server.script(step)
    with pytest.raises(
        kind, match=r"If it was made, call panel\.plans\.update\('its id', max_domains=0, disk_space_mb=0\)\."
    ):
        await create(resource)


@pytest.mark.parametrize("replies", [[MADE, HANG], [MADE, DONE, HANG]])
async def test_cancellation_after_the_create_names_the_object(
    server: RawServer, resource: Resource, replies: list[Step]
) -> None:
    server.script(*replies)
    call = asyncio.create_task(create(resource))
    await server.received(len(replies))
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert isinstance(caught.value.__cause__, OutcomeUnknownError)
    assert "plans.create made the object with the id p1" in str(caught.value.__cause__)
    assert "Do not create it again: call panel.plans.update('p1', max_domains=0" in str(caught.value.__cause__)
