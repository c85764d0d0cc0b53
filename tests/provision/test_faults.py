"""Each fault in each kind of call: after `resume` and `undo`, the panel is as it was before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from panelica_async.errors import PanelicaError
from panelica_async.provision import Manifest, Plan, RemovalStatus, SiteStatus, State, StepStatus, apply
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_launch import Launch, PanelState
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first
from tests.provision.launching import client, collect, state
from tests.support.virtual_time import run

pytestmark = pytest.mark.once

SITE = {
    "domain": "alder.example",
    "owner": {"username": "alder", "email": "office@alder.example", "plan": "Starter"},
    "ssl": "self_signed",
    "dns": ["www A 192.0.2.10"],
    "databases": ["shop:reader"],
    "mailboxes": ["info"],
    "ftp_users": ["deploy"],
}
MANIFEST = Manifest.from_data([SITE])
CREATES = {
    "account": "/accounts",
    "domain": "/domains",
    "DNS record": "/records",
    "certificate": "/certificates",
    "database": "/databases",
    "database user": "/users",
    "mailbox": "/email",
    "FTP user": "/ftp",
}
LISTS = ["/accounts", "/plans", "/domains", "/certificates", "/databases", "/email/accounts", "/ftp/accounts"]
FAULTS = [
    Fault.LOST_REQUEST,
    Fault.LOST_REPLY,
    Fault.LATE,
    Fault.GATEWAY_BEFORE,
    Fault.GATEWAY_AFTER,
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.SERVER_ERROR,
    Fault.SERVER_ERROR_AFTER,
    Fault.SERVER_ERROR_LATE,
    Fault.OVER_LIMIT_AFTER,
    Fault.MISSING_PAGE,
    Fault.MISSING_PAGE_AFTER,
    Fault.FORBIDDEN_PAGE_AFTER,
    Fault.GARBLED_REPLY,
    Fault.CUT_REPLY,
    Fault.NO_JSON,
    Fault.THIN_REPLY,
    Fault.BAD_HEADER,
    Fault.HANGS_BEFORE,
    Fault.HANGS_AFTER,
    Fault.HANGS_LATE,
]

LEAVING = [Fault.SERVER_ERROR, Fault.SERVER_ERROR_LATE, Fault.MISSING_PAGE]
"""Faults after which the first command may report a failure, and the next one has something left to do."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> PanelState:
    async def main() -> PanelState:
        async with Sandbox(tier="enterprise") as box, client(box) as panel:
            await collect(apply(panel, MANIFEST, credentials=tmp_path_factory.mktemp("undisturbed") / "p.csv"))
            return state(box)

    return run(main())


@asynccontextmanager
async def launching(directory: Path) -> AsyncIterator[Launch]:
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        yield Launch(box, proxy, panel, directory, MANIFEST)


@pytest.mark.parametrize("kind", CREATES)
def test_object_of_a_reply_without_id_is_looked_up(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(fail_first("POST", CREATES[kind], Fault.THIN_REPLY))
            began = asyncio.get_running_loop().time()
            options = {"journal": launch.journal, "credentials": launch.credentials}
            outcomes = await collect(apply(launch.panel, MANIFEST, **options, settle=3600))
            assert {outcome.status for outcome in outcomes} == {SiteStatus.DONE}
            assert asyncio.get_running_loop().time() - began < 3600
            assert set(launch.states.values()) == {State.DONE}

    run(main())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("kind", CREATES)
def test_fault_at_a_create_is_resumed_and_undone(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(fail_first("POST", CREATES[kind], fault))
            reported = await launch.apply()

            assert launch.proxy.reached.is_set()
            await launch.proxy.catch_up()
            if set(reported.values()) != {StepStatus.CREATED}:
                assert StepStatus.FAILED in reported.values()
                assert fault in LEAVING
                assert set((await launch.apply()).values()) <= {StepStatus.CREATED, StepStatus.EXISTS}
            launch.assert_complete(undisturbed)
            await launch.assert_undone()

    run(main())


READ_FAULTS = [
    Fault.LOST_REQUEST,
    Fault.LOST_REPLY,
    Fault.GATEWAY_BEFORE,
    Fault.SERVER_ERROR,
    Fault.MISSING_PAGE,
    Fault.GARBLED_REPLY,
    Fault.CUT_REPLY,
    Fault.NO_JSON,
    Fault.BAD_HEADER,
    Fault.HANGS_BEFORE,
    Fault.OVER_LIMIT,
    Fault.REVOKED,
    Fault.REFUSED,
]


# All lists are read alike: one list is tested with every fault, every list with those that it may treat differently.
@pytest.mark.parametrize(
    ("path", "fault"),
    [
        *(("/databases", fault) for fault in READ_FAULTS),
        *((path, fault) for path in LISTS for fault in (Fault.MISSING_PAGE, Fault.LOST_REPLY) if path != "/databases"),
    ],
)
def test_fault_at_a_list_of_the_plan_sends_nothing(
    tmp_path: Path, undisturbed: PanelState, path: str, fault: Fault
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.read_faults = {path: fault}
            try:
                await launch.apply()
            except PanelicaError:
                assert launch.proxy.writes == 0
                await launch.apply()
            assert launch.proxy.reached.is_set()
            launch.assert_complete(undisturbed)
            await launch.assert_undone()

    run(main())


LOOK_FAULTS = [
    Fault.LOST_REPLY,
    Fault.GATEWAY_BEFORE,
    Fault.SERVER_ERROR,
    Fault.MISSING_PAGE,
    Fault.NO_JSON,
    Fault.BAD_HEADER,
    Fault.REVOKED,
]
LISTED_IN = {**CREATES, "database user": "/databases", "mailbox": "/email/accounts", "FTP user": "/ftp/accounts"}


@pytest.mark.parametrize("fault", LOOK_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("kind", CREATES)
def test_lost_create_with_a_failing_list_is_uncertain(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            plan = await Plan.build(launch.panel, MANIFEST)
            launch.proxy.decide_writes(fail_first("POST", CREATES[kind], Fault.LOST_REPLY))
            launch.proxy.read_faults, launch.proxy.read_faults_persist = {LISTED_IN[kind]: fault}, True
            try:
                reported = await launch.apply(plan)
            except PanelicaError:
                # What every further call would have met: a refused key, a panel that does not answer.
                reported = {}
            uncertain = {step for step, known in launch.states.items() if known in {State.SENT, State.UNKNOWN}}
            if fault is Fault.BAD_HEADER:
                assert not uncertain
            else:
                assert len(uncertain) == 1
                assert {reported.get(step, StepStatus.UNKNOWN) for step in uncertain} == {StepStatus.UNKNOWN}
            launch.proxy.read_faults = {}
            await launch.apply()
            launch.assert_complete(undisturbed)
            await launch.assert_undone()

    run(main())


@pytest.mark.parametrize("fault", [Fault.HANGS_BEFORE, Fault.HANGS_AFTER], ids=["before", "after"])
@pytest.mark.parametrize("resumes", [True, False], ids=["resume", "undo at once"])
@pytest.mark.parametrize("kind", CREATES)
def test_kill_at_a_create_is_undone(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault, resumes: bool
) -> None:
    """The journal is in the state that a process leaves when it is killed before it notes the outcome of the call."""

    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(fail_first("POST", CREATES[kind], fault))
            await launch.kill()
            if resumes:
                await launch.apply()
                launch.assert_complete(undisturbed)
            await launch.undo()
            assert state(launch.box) == launch.before
            assert set(launch.states.values()) == {State.REMOVED}
            assert await launch.undo() == {}

    run(main())


# Account and domain of the first site are there before, so that undo deletes what is in them one by one.
OLD_AND_NEW = Manifest.from_data(
    [
        {**SITE, "owner": "alder", "databases": ["shop"]},
        {"domain": "birch.example", "owner": "alder"},
        {"domain": "cedar.example", "owner": {"username": "cedar", "email": "office@cedar.example"}},
    ]
)
DELETES = {
    "account": "/accounts/",
    "domain": "/domains/",
    "DNS record": "/records/",
    "database": "/databases/",
    "mailbox": "/email/",
    "FTP user": "/ftp/",
}


@asynccontextmanager
async def launched_in_old_ones(directory: Path) -> AsyncIterator[Launch]:
    """A launch into an account and a domain that existed before."""
    async with launching(directory) as launch:
        account = await launch.panel.accounts.create(
            username="alder", email="o@alder.example", password="correct-horse"
        )
        domain = await launch.panel.domains.create(domain="alder.example", user_id=account.id)
        await launch.panel.ssl.certificates.issue(domain_id=domain.id, type="self_signed", auto_renew=True)
        launch.before = state(launch.box)
        assert set((await launch.apply(OLD_AND_NEW)).values()) == {StepStatus.CREATED, StepStatus.EXISTS}
        yield launch


# All kinds are deleted alike: one meets each fault, and each meets those after which something may be left.
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *(("database", fault) for fault in FAULTS),
        *((kind, fault) for kind in DELETES for fault in LEAVING if kind != "database"),
    ],
)
def test_fault_at_a_delete_is_undone_by_a_second_undo(tmp_path: Path, kind: str, fault: Fault) -> None:
    async def main() -> None:
        async with launched_in_old_ones(tmp_path) as launch:
            launch.proxy.decide_writes(fail_first("DELETE", DELETES[kind], fault))
            removals = await launch.undo()

            assert launch.proxy.reached.is_set()
            # Report and journal say what was there at the end, whatever the replies were.
            left = {step_id for step_id, status in removals.items() if status is not RemovalStatus.REMOVED}
            assert left == {step_id for step_id, known in launch.states.items() if known is State.DONE}
            assert bool(left) is (state(launch.box) != launch.before)
            assert not left or fault in LEAVING
            await launch.proxy.catch_up()
            assert set((await launch.undo()).values()) <= {RemovalStatus.REMOVED}
            assert state(launch.box) == launch.before
            assert await launch.undo() == {}

    run(main())
