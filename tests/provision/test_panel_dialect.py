"""Provisioning on current panels: the launch, faults at each kind of call, certificates, and what the plan refuses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from panelica_async.provision import (
    Action,
    Manifest,
    Plan,
    RemovalStatus,
    SiteStatus,
    State,
    StepKind,
    StepStatus,
    apply,
    undo,
)
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_launch import Launch, PanelState
from tests.provision.faulty_panel import Fault, FaultyPanel, first
from tests.provision.launching import client, collect, state
from tests.support.virtual_time import run

LAUNCH = Path(__file__).parents[2] / "examples" / "launch.csv"
OWNER = {"username": "alder", "email": "office@alder.example", "plan": "Starter"}
SITE: dict[str, Any] = {
    "domain": "alder.example",
    "owner": OWNER,
    "php_version": "8.4",
    "web_server": "nginx",
    "ssl": "yes",
    "dns": ["www A 192.0.2.10"],
    "databases": ["shop:reader+writer"],
    "mailboxes": ["info"],
    "ftp_users": ["deploy"],
}
MANIFEST = Manifest.from_data([SITE])
CREATES = {
    "account": "/accounts",
    "domain": "/domains",
    "DNS record": "/records",
    "certificate": "/issue",
    "database": "/databases",
    "database user": "/v1/databases",
    "mailbox": "/email-accounts",
    "FTP user": "/ftp-accounts",
}
FAULTS = [
    Fault.LOST_REQUEST,
    Fault.LOST_REPLY,
    Fault.LATE,
    Fault.GATEWAY_AFTER,
    Fault.SERVER_ERROR_AFTER,
    Fault.THIN_REPLY,
    Fault.HANGS_LATE,
]
"""Faults that leave it open whether the call was carried out, and one that hides what it made."""


def a_panel(**options: Any) -> Sandbox:
    return Sandbox(tier="enterprise", dialect="panel", **options)


@asynccontextmanager
async def launching(directory: Path) -> AsyncIterator[Launch]:
    async with (
        a_panel() as box,
        FaultyPanel(box) as proxy,
        client(box, proxy.base_url, dialect="panel") as panel,
    ):
        yield Launch(box, proxy, panel, directory, MANIFEST)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> PanelState:
    async def main() -> PanelState:
        async with launching(tmp_path_factory.mktemp("undisturbed")) as launch:
            assert set((await launch.apply()).values()) == {StepStatus.CREATED}
            return state(launch.box)

    return run(main())


@pytest.mark.once
async def test_example_when_applied_twice_is_launched_once(tmp_path: Path) -> None:
    manifest = Manifest.load(LAUNCH)
    options = {"journal": tmp_path / "launch.journal", "credentials": tmp_path / "passwords.csv"}
    async with a_panel(strict=True) as box, client(box, dialect="panel") as panel:
        before = state(box)
        plan = await Plan.build(panel, manifest)
        assert not plan.conflicts
        outcomes = await collect(apply(panel, plan, **options))
        assert {outcome.status for outcome in outcomes} == {SiteStatus.DONE}
        assert {step.status for outcome in outcomes for step in outcome.steps} == {StepStatus.CREATED}
        assert sum(outcome.calls for outcome in outcomes) == plan.writes
        assert len(box.requests) <= 1.1 * plan.calls
        launched = state(box)

        for again in (options, {"credentials": tmp_path / "passwords.csv"}):
            box.requests.clear()
            outcomes = await collect(apply(panel, manifest, **again))
            assert {outcome.status for outcome in outcomes} == {SiteStatus.EXISTS}
            assert {request.method for request in box.requests} == {"GET"}
        assert state(box) == launched

        removals = [removal async for removal in undo(panel, options["journal"])]
        assert {removal.status for removal in removals} == {RemovalStatus.REMOVED}
        assert state(box) == before


@pytest.mark.once
async def test_example_has_the_same_objects_in_both_dialects() -> None:
    """A journal belongs to a panel and a manifest, not to a dialect: a run may be resumed in the other one."""
    manifest = Manifest.load(LAUNCH)
    plans: list[Plan] = []
    for dialect in ("reference", "panel"):
        async with Sandbox(tier="enterprise", dialect=dialect) as box, client(box, dialect=dialect) as panel:
            plans.append(await Plan.build(panel, manifest))
    reference, panel_plan = plans
    assert reference.counts == panel_plan.counts
    assert [planned.step.id for planned in reference.steps] == [planned.step.id for planned in panel_plan.steps]
    databases = reference.counts[StepKind.DATABASE][Action.CREATE]
    assert reference.writes - panel_plan.writes == databases


@pytest.mark.once
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("kind", CREATES)
def test_a_fault_at_a_create_then_resume_then_undo(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(first("POST", CREATES[kind], fault))
            reported = await launch.apply()

            assert launch.proxy.reached.is_set()
            await launch.proxy.catch_up()
            if set(reported.values()) != {StepStatus.CREATED}:
                # Whether an order arrived shows only once there is a certificate.
                assert kind == "certificate"
                assert reported["certificate:alder.example"] is StepStatus.UNKNOWN
            assert launch.proxy.used == launch.passwords
            if kind != "certificate":
                launch.assert_complete(undisturbed)
                await launch.assert_undone()

    run(main())


@pytest.mark.once
@pytest.mark.parametrize("fault", [Fault.HANGS_BEFORE, Fault.HANGS_AFTER], ids=["before", "after"])
@pytest.mark.parametrize("resumes", [True, False], ids=["resume", "undo at once"])
@pytest.mark.parametrize("kind", CREATES)
def test_a_kill_at_a_create_then_undo(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault, resumes: bool
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(first("POST", CREATES[kind], fault))
            await launch.kill()
            if resumes:
                await launch.apply()
                if kind != "certificate":
                    launch.assert_complete(undisturbed)
            await launch.undo()
            assert state(launch.box) == launch.before
            assert set(launch.states.values()) == {State.REMOVED}
            assert await launch.undo() == {}

    run(main())
