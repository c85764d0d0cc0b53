"""Provisioning on current panels: the launch, faults at each kind of call, certificates, and what the plan refuses."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from panelica_async import ConfigurationError
from panelica_async.provision import (
    Action,
    Event,
    Journal,
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
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first
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
CERTIFICATE = "certificate:alder.example"
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


class Clock:
    """The panel's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


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
    clock = Clock()
    async with a_panel(strict=True, clock=clock) as box, client(box, dialect="panel") as panel:
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
            # Without a journal, only a certificate that is there shows that it was ordered.
            clock.ahead = 90
        assert state(box) == launched

        removals = [removal async for removal in undo(panel, options["journal"])]
        assert {removal.status for removal in removals} == {RemovalStatus.REMOVED}
        assert state(box) == before


@pytest.mark.once
async def test_example_has_the_same_objects_in_both_dialects() -> None:
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
                # Whether an order arrived shows only once there is a certificate.
                assert kind == "certificate"
                assert reported[CERTIFICATE] is StepStatus.UNKNOWN
            assert launch.proxy.used_passwords == launch.passwords
            if kind != "certificate":
                launch.assert_complete(undisturbed)
                await launch.assert_undone()

    run(main())


@pytest.mark.once
@pytest.mark.parametrize("fault", [Fault.HANGS_BEFORE, Fault.HANGS_AFTER], ids=["before", "after"])
@pytest.mark.parametrize("resumes", [True, False], ids=["resume", "undo at once"])
@pytest.mark.parametrize("kind", CREATES)
def test_kill_at_a_create_is_undone(
    tmp_path: Path, undisturbed: PanelState, kind: str, fault: Fault, resumes: bool
) -> None:
    async def main() -> None:
        async with launching(tmp_path) as launch:
            launch.proxy.decide_writes(fail_first("POST", CREATES[kind], fault))
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


async def test_order_without_a_reply_waits_for_the_certificate(tmp_path: Path) -> None:
    clock = Clock()
    async with a_panel(clock=clock) as box, FaultyPanel(box) as proxy, client(box, dialect="panel") as direct:
        async with client(box, proxy.base_url, dialect="panel") as panel:
            launch = Launch(box, proxy, panel, tmp_path, MANIFEST)
            proxy.decide_writes(fail_first("POST", "/issue", Fault.LOST_REPLY))
            assert (await launch.apply())[CERTIFICATE] is StepStatus.UNKNOWN
            assert (await launch.apply())[CERTIFICATE] is StepStatus.UNKNOWN
            clock.ahead = 61
            assert (await launch.apply())[CERTIFICATE] is StepStatus.CREATED
        (domain,) = await direct.domains.list().collect()
        assert (await direct.ssl.certificates.get(domain.id)).has_ssl
    assert [request.operation for request in box.requests].count("ssl.certificates.issue") == 1


def age(journal: Path, minutes: float) -> None:
    """Make the notes of a journal older."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        connection.execute("UPDATE step SET at = ?", (at.isoformat(),))


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, None], ids=["lost", "answered"])
async def test_order_is_sent_again_when_no_certificate_follows(tmp_path: Path, fault: Fault | None) -> None:
    async with a_panel() as box, FaultyPanel(box) as proxy, client(box, proxy.base_url, dialect="panel") as panel:
        launch = Launch(box, proxy, panel, tmp_path, MANIFEST)
        if fault is not None:
            proxy.decide_writes(fail_first("POST", "/issue", fault))
        ordered = await launch.apply()
        assert ordered[CERTIFICATE] is (StepStatus.CREATED if fault is None else StepStatus.UNKNOWN)
        orders = proxy.writes
        age(launch.journal, 14)
        waiting = await launch.apply()
        assert waiting[CERTIFICATE] is (StepStatus.EXISTS if fault is None else StepStatus.UNKNOWN)
        assert proxy.writes == orders

        age(launch.journal, 16)
        with Journal.open(launch.journal, read_only=True) as journal:
            plan = await Plan.build(panel, MANIFEST, journal=journal)
        reason = "it was ordered more than 15 minutes ago, and is still not there"
        assert f"the certificate is ordered again: {reason}" in {remark.text for remark in plan.remarks}
        assert plan.writes == 1
        assert (await launch.apply())[CERTIFICATE] is StepStatus.CREATED
        assert proxy.writes == orders + 1
        assert (await launch.apply())[CERTIFICATE] is StepStatus.EXISTS
        assert proxy.writes == orders + 1


async def test_plan_without_a_journal_notes_that_orders_are_hidden(tmp_path: Path) -> None:
    async with a_panel() as box, client(box, dialect="panel") as panel:
        fresh = await Plan.build(panel, MANIFEST)
        await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv"))
        again = await Plan.build(panel, MANIFEST)
    text = "the panel does not show certificate orders: a certificate that is still being issued is ordered again"
    assert [text in {remark.text for remark in plan.remarks} for plan in (fresh, again)] == [False, True]


async def test_plan_of_a_stopped_run_has_no_note_on_orders(tmp_path: Path) -> None:
    """The journal knows that the run created the domain, and had not come to its certificate."""
    stop = asyncio.Event()

    def stop_after_domain(event: Event) -> None:
        if event.step is not None and event.step.step.kind is StepKind.DOMAIN:
            stop.set()

    async with a_panel() as box, client(box, dialect="panel") as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(
                apply(
                    panel,
                    MANIFEST,
                    journal=journal,
                    credentials=tmp_path / "p.csv",
                    concurrency=1,
                    stop=stop,
                    on_event=stop_after_domain,
                )
            )
            plan = await Plan.build(panel, MANIFEST, journal=journal)
    assert any(planned.step.id == CERTIFICATE for planned in plan.new)
    assert plan.remarks == ()


async def test_plan_reads_only_certificates_that_may_be_missing(tmp_path: Path) -> None:
    clock = Clock()
    async with a_panel(clock=clock) as box, client(box, dialect="panel") as panel:
        journal, credentials = tmp_path / "run.journal", tmp_path / "p.csv"

        async def next_run() -> tuple[int, bool]:
            """Return how many domains the next run asks for, and whether an order is pending after it."""
            box.requests.clear()
            outcomes = await collect(apply(panel, MANIFEST, journal=journal, credentials=credentials))
            pending = any(step.is_pending for outcome in outcomes for step in outcome.steps)
            return [request.operation for request in box.requests].count("ssl.certificates.get"), pending

        assert await next_run() == (0, True)
        assert await next_run() == (1, True)
        clock.ahead = 61
        # The row of the domain shows it.
        assert await next_run() == (0, False)


@pytest.mark.parametrize(
    ("changes", "step", "reason"),
    [
        (
            {"databases": ["shop"]},
            "database:mysql/shop",
            "the panel makes a database with its first user; name one, such as shop:shop_user",
        ),
        (
            {"databases": [{"name": "shop", "users": [{"username": "reader", "privileges": "read"}]}]},
            "database:mysql/shop",
            "the first user of a database may do everything in it, not only read",
        ),
        (
            {"databases": ["shop:first+second", "blog:third+fourth"]},
            "database_user:mysql/blog:fourth",
            "the panel adds a user to a domain, which has several databases; give each of the others one user",
        ),
        (
            {"databases": [{"name": "shop", "users": ["first", {"username": "second", "privileges": "SELECT"}]}]},
            "database_user:mysql/shop:second",
            "privileges must be one of ALL, read, readWrite, dbAdmin, dbOwner, not 'SELECT'",
        ),
        (
            {"databases": ["postgresql/shop:reader"]},
            "database:postgresql/shop",
            "the panel does not support type 'postgresql': panels create MySQL databases",
        ),
        (
            {"ssl": "self_signed"},
            "certificate:alder.example",
            "the panel does not support type 'self_signed': panels issue Let's Encrypt certificates",
        ),
    ],
    ids=["no user", "rights of the first", "second database", "rights of the second", "PostgreSQL", "self-signed"],
)
async def test_option_that_panels_lack_conflicts_in_the_plan(changes: dict[str, Any], step: str, reason: str) -> None:
    manifest = Manifest.from_data([SITE | changes])
    async with a_panel() as box, client(box, dialect="panel") as panel:
        plan = await Plan.build(panel, manifest)
    assert {planned.step.id: planned.reason for planned in plan.conflicts} == {step: reason}
    assert {request.method for request in box.requests} == {"GET"}


async def test_user_of_others_keeps_a_database_and_its_domain(tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    async with a_panel() as box, client(box, dialect="panel") as panel:
        await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))
        (shop,) = {row.id for row in await panel.databases.list().collect() if row.is_primary}
        await panel.databases.users.create(shop, username="theirs", password="correct-horse", privileges="read")
        removals = {removal.record.id: removal async for removal in undo(panel, journal)}

        reason = "it holds objects that these runs did not create: database user alder_theirs"
        kept = {step_id for step_id, removal in removals.items() if removal.reason == reason}
        assert kept == {"account:alder", "domain:alder.example", "database:mysql/shop"}
        assert removals["mailbox:info@alder.example"].status is RemovalStatus.REMOVED
        assert [row.username for row in await panel.databases.list().collect() if not row.is_primary] == [
            "alder_writer",
            "alder_theirs",
        ]


async def test_deleted_user_is_created_again(tmp_path: Path) -> None:
    options = {"journal": tmp_path / "run.journal", "credentials": tmp_path / "p.csv"}
    async with a_panel() as box, client(box, dialect="panel") as panel:
        await collect(apply(panel, MANIFEST, **options))
        (writer,) = [row for row in await panel.databases.list().collect() if row.username == "alder_writer"]
        await panel.databases.users.delete(writer.id)
        (outcome,) = await collect(apply(panel, MANIFEST, **options))
    created = [step.step.id for step in outcome.steps if step.status is StepStatus.CREATED]
    assert created == ["database_user:mysql/shop:writer"]


async def test_first_user_of_an_existing_database_takes_a_call(tmp_path: Path) -> None:
    """Only the call that creates a database also creates its first user."""
    async with a_panel() as box, client(box, dialect="panel") as panel:
        bare = Manifest.from_data([SITE | {"databases": []}])
        await collect(apply(panel, bare, credentials=tmp_path / "p.csv"))
        (domain,) = await panel.domains.list().collect()
        await panel.databases.create(name="shop", domain_id=domain.id, username="theirs", password="correct horse 9")
        plan = await Plan.build(panel, MANIFEST)
        await collect(apply(panel, plan, credentials=tmp_path / "p.csv"))
        users = {row.username for row in await panel.databases.list().collect()}
    writes = {planned.step.id: planned.writes for planned in plan.steps}
    assert [writes[f"database_user:mysql/shop:{name}"] for name in ("reader", "writer")] == [1, 1]
    assert users == {"alder_theirs", "alder_reader", "alder_writer"}


async def test_journal_is_refused_in_the_other_dialect(tmp_path: Path) -> None:
    """Ids of databases differ: on panels, they are those of their users."""
    options = {"journal": tmp_path / "run.journal", "credentials": tmp_path / "p.csv"}
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        manifest = Manifest.from_data([SITE | {"databases": []}])
        await collect(apply(panel, manifest, **options))
        box.requests.clear()
        async with client(box, dialect="panel") as other:
            expected = "is the journal of runs in the dialect reference, not panel"
            with pytest.raises(ConfigurationError, match=expected):
                await collect(apply(other, manifest, **options))
            with pytest.raises(ConfigurationError, match=expected):
                await anext(undo(other, options["journal"]))
    assert not box.requests
