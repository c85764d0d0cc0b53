"""Single steps: what they note, which objects they claim, and which passwords stay valid."""

import asyncio
import csv
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from panelica_async import PanelicaClient
from panelica_async.errors import AuthenticationError, RateLimitedError
from panelica_async.provision import Journal, Manifest, Plan, Record, State, StepKind, StepOutcome, StepStatus, apply
from panelica_async.provision.objects import Step
from panelica_async.ratelimit import RateLimit
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first
from tests.provision.killing import MANIFEST, PATHS, STEP_OF, TABLES, WITH_PASSWORD, killed_at, make
from tests.provision.launching import client, collect
from tests.support import virtual_time

# A slow matrix that gives the same result on every Python.
pytestmark = pytest.mark.once


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


def records_of(path: Path) -> dict[str, Record]:
    with Journal.open(path, read_only=True) as journal:
        return dict(journal.records)


class Files:
    def __init__(self, directory: Path) -> None:
        self.journal, self.credentials = directory / "run.journal", directory / "p.csv"

    async def apply(
        self, panel: PanelicaClient, source: Manifest | Plan = MANIFEST, settle: float = 0
    ) -> list[StepOutcome]:
        run = apply(panel, source, journal=self.journal, credentials=self.credentials, settle=settle)
        return [step for outcome in await collect(run) for step in outcome.steps]

    def record(self, step: Step) -> Record:
        return records_of(self.journal)[step.id]

    def password(self, step: Step) -> str | None:
        """Return the valid password of a step according to the file."""
        with self.credentials.open(newline="") as file:
            rows = {f"{row['kind']}:{row['name']}": row["password"] for row in csv.DictReader(file)}
        return rows.get(step.id) or None


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def outcome_of(step: Step, outcomes: list[StepOutcome]) -> StepOutcome:
    return next(outcome for outcome in outcomes if outcome.step.id == step.id)


@pytest.mark.parametrize("kind", TABLES)
async def test_object_found_after_a_kill_is_ours_by_its_time(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_AFTER)
        outcome = outcome_of(step, await files.apply(panel))

    assert (outcome.status, outcome.remark) == (StepStatus.CREATED, None)
    assert files.record(step).state is State.DONE
    assert (files.password(step) is not None) is step.password_needed


@pytest.mark.parametrize(("minutes", "state"), [(-10, State.FOUND), (10, State.UNCERTAIN)], ids=["older", "much later"])
@pytest.mark.parametrize("kind", TABLES)
async def test_object_of_others_is_not_claimed(
    box: Sandbox, files: Files, kind: StepKind, minutes: int, state: State
) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_BEFORE)
        await make(direct, kind)
        box.database.execute(f"UPDATE {TABLES[kind]} SET created_at = created_at + ?", (minutes * 60,))
        box.database.commit()
        outcome = outcome_of(step, await files.apply(panel))
        again = outcome_of(step, await files.apply(panel))

    assert files.record(step).state is state
    assert (outcome.status, again.status) == (StepStatus.EXISTS, StepStatus.EXISTS)
    assert outcome.object_id is not None
    what = "its password is the one in the file" if step.password_needed else "this run created it"
    remark = f"found; whether {what} is uncertain" if state is State.UNCERTAIN else None
    assert (outcome.remark, outcome.hint is None) == (remark, remark is None)
    assert remark is None or ("password" in str(outcome.hint)) is step.password_needed


def without_created_at(request: web.Request, response: web.Response) -> web.Response:
    """Answer as a panel whose lists do not say when an object was made."""
    if request.method != "GET":
        return response
    assert isinstance(response.body, bytes)
    text = response.body.decode().replace('"created_at"', '"made_at"')
    return web.Response(status=response.status, text=text, headers={"Date": response.headers.get("Date", "")})


@pytest.mark.parametrize("minutes", [1, 3], ids=["soon", "late"])
@pytest.mark.parametrize("kind", PATHS)
async def test_password_of_an_object_without_a_time_is_uncertain(
    box: Sandbox, files: Files, kind: StepKind, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = STEP_OF[kind]
    forward = FaultyPanel.forward
    killed_when = datetime.now(UTC) - timedelta(minutes=minutes)

    async def timeless(self: FaultyPanel, request: web.Request) -> web.Response:
        return without_created_at(request, await forward(self, request))

    monkeypatch.setattr(FaultyPanel, "forward", timeless)
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        with monkeypatch.context() as patch:
            patch.setattr("panelica_async.provision.journal._now", lambda: killed_when)
            await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_AFTER)
        outcome = outcome_of(step, await files.apply(panel))

    is_seen_with_password = kind in {StepKind.ACCOUNT, StepKind.MAILBOX, StepKind.FTP_USER}
    is_uncertain = is_seen_with_password and minutes > 2
    assert files.record(step).state is (State.UNCERTAIN if is_uncertain else State.DONE)
    # No list shows the user of a database at all.
    assert (outcome.remark is not None) is (is_uncertain or kind is StepKind.DATABASE_USER)


@pytest.mark.parametrize("kind", [StepKind.ACCOUNT, StepKind.DOMAIN])
async def test_object_found_after_a_clock_change_stays_ours(
    box: Sandbox, files: Files, kind: StepKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = STEP_OF[kind]
    ahead = datetime.now(UTC) + timedelta(hours=1)
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        with monkeypatch.context() as patch:
            patch.setattr("panelica_async.provision.journal._now", lambda: ahead)
            await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_AFTER)
        await files.apply(panel)

    assert files.record(step).state is (State.UNCERTAIN if step.password_needed else State.DONE)
    assert (files.password(step) is not None) is step.password_needed


@pytest.mark.parametrize("kind", WITH_PASSWORD)
async def test_429_at_the_last_attempt_leaves_the_step_open(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy:
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.OVER_LIMIT_AFTER))
        async with client(box, proxy.base_url, max_retries=0) as panel:
            with pytest.raises(RateLimitedError):
                await files.apply(panel)
        assert files.record(step).state is State.UNKNOWN
        async with client(box, proxy.base_url) as panel:
            outcome = outcome_of(step, await files.apply(panel))
        assert files.password(step) in proxy.used_passwords

    assert outcome.status is StepStatus.CREATED
    assert files.record(step).state is State.DONE


@pytest.mark.parametrize("kind", [StepKind.ACCOUNT, StepKind.MAILBOX, StepKind.FTP_USER])
async def test_lost_call_beside_an_object_of_others_drops_password(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        plan = await Plan.build(panel, MANIFEST)
        await make(direct, kind)
        box.database.execute(f"UPDATE {TABLES[kind]} SET created_at = created_at - 600")
        box.database.commit()
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.LOST_REQUEST))
        outcome = outcome_of(step, await files.apply(panel, plan))

    assert (outcome.status, files.record(step).state) == (StepStatus.EXISTS, State.FOUND)
    assert files.password(step) is None


@pytest.mark.parametrize("kind", WITH_PASSWORD)
async def test_refused_call_drops_its_password_at_once(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.REFUSED, times=2))
        refused = outcome_of(step, await files.apply(panel))
        assert (refused.status, refused.code) == (StepStatus.FAILED, "FORBIDDEN")
        assert files.record(step).state is State.FAILED
        assert files.password(step) is None

        await make(direct, kind)
        outcome = outcome_of(step, await files.apply(panel))
        assert outcome.status is StepStatus.EXISTS
        assert files.record(step).state is State.FOUND
        assert files.password(step) is None


@pytest.mark.parametrize("kind", PATHS)
async def test_object_that_appears_after_a_500_is_ours(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.SERVER_ERROR_LATE))
        # Nothing is sent after it, so that the panel is late until the run has ended.
        await files.apply(panel, settle=0)
        record = files.record(step)
        if kind in {StepKind.ACCOUNT, StepKind.DOMAIN, StepKind.FTP_USER}:
            assert (record.state, record.reason) == (State.UNKNOWN, "Internal error")
        await proxy.catch_up()
        assert outcome_of(step, await files.apply(panel)).status is not StepStatus.FAILED
        assert files.record(step).state is State.DONE
        assert proxy.used_passwords >= ({files.password(step)} if step.password_needed else set())


@pytest.mark.parametrize("kind", PATHS)
async def test_refusal_is_noted_before_the_look_up(box: Sandbox, files: Files, kind: StepKind) -> None:
    """A process killed during the look-up leaves no call with an unknown outcome."""
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        if step.parents:
            await make(direct, step.parents[0].kind)
        plan = await Plan.build(panel, MANIFEST)
        await make(direct, kind)
        proxy.read_faults = {PATHS[kind].replace("/users", "/databases"): Fault.HANGS_BEFORE}
        with Journal.open(files.journal) as journal:
            run = asyncio.create_task(collect(apply(panel, plan, journal=journal, credentials=files.credentials)))
            await proxy.reached.wait()
            with Journal.open(files.journal, read_only=True) as on_disk:
                state = on_disk.records[step.id].state
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    assert state is State.FAILED


@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.LOST_REPLY], ids=["refused", "lost"])
async def test_key_rejected_during_the_look_up_ends_the_run(box: Sandbox, files: Files, fault: Fault) -> None:
    async with FaultyPanel(box, fail_first("POST", "/domains", fault)) as proxy, client(box, proxy.base_url) as panel:
        plan = await Plan.build(panel, MANIFEST)
        proxy.read_faults, proxy.read_faults_persist = {"/domains": Fault.REVOKED}, True
        with pytest.raises(AuthenticationError):
            await files.apply(panel, plan)

    assert proxy.writes == 2


def test_reason_is_noted_while_the_panel_settles(tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def main() -> None:
        async with (
            Sandbox(tier="enterprise") as box,
            FaultyPanel(box, fail_first("POST", "/domains", Fault.LOST_REPLY)) as proxy,
            client(box, proxy.base_url) as panel,
        ):
            run = asyncio.create_task(files.apply(panel, settle=3600))
            await asyncio.sleep(60)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    virtual_time.run(main())
    record = files.record(STEP_OF[StepKind.DOMAIN])
    assert record.state is State.UNKNOWN
    assert "no complete reply came back" in (record.reason or "")


@pytest.mark.parametrize("acted", [False, True], ids=["before it was sent", "after the panel acted"])
@pytest.mark.parametrize("kind", PATHS)
async def test_value_error_is_a_refusal_only_before_sending(
    box: Sandbox, files: Files, kind: StepKind, acted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = STEP_OF[kind]
    create = type(step).create

    async def unreadable(self: Any, *arguments: Any) -> None:
        if acted:
            await create(self, *arguments)
        raise ValueError("Exceeds the limit (4300 digits) for integer string conversion")

    monkeypatch.setattr(type(step), "create", unreadable)
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        outcome = outcome_of(step, await files.apply(panel))

    assert outcome.status is (StepStatus.CREATED if acted else StepStatus.FAILED)
    assert files.record(step).state is (State.DONE if acted else State.FAILED)
    assert outcome.calls == 1
    assert (files.password(step) is not None) is (acted and step.password_needed)


def test_call_cancelled_while_waiting_for_quota_is_not_sent(tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def main() -> int:
        limit = RateLimit(per_hour=20)
        async with (
            Sandbox(tier="enterprise") as box,
            PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, limiter=limit) as panel,
        ):
            for _ in range(8):
                await panel.me()
            run = asyncio.create_task(files.apply(panel))
            await asyncio.sleep(60)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            return sum(request.method == "POST" for request in box.requests)

    writes = virtual_time.run(main())
    *sent, last = records_of(files.journal).values()
    assert [record.state for record in sent] == [State.DONE] * writes
    assert writes > 0
    assert (last.state, last.reason) == (State.FAILED, "cancelled before it was sent")
    assert files.password(STEP_OF[last.kind]) is None


@pytest.mark.parametrize("kind", [StepKind.ACCOUNT, StepKind.MAILBOX])
async def test_password_of_an_earlier_run_is_kept(box: Sandbox, files: Files, kind: StepKind) -> None:
    """It may be the one that works: the object that was found may hide what the killed run created."""
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_BEFORE)
        with Journal.open(files.journal, read_only=True) as journal:
            plan = await Plan.build(panel, MANIFEST, journal=journal)
        await make(direct, kind)
        box.database.execute(f"UPDATE {TABLES[kind]} SET created_at = created_at - 600")
        box.database.commit()
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.LOST_REQUEST))
        password = files.password(step)
        outcome = outcome_of(step, await files.apply(panel, plan))

    assert (outcome.status, files.record(step).state) == (StepStatus.EXISTS, State.FOUND)
    assert password is not None
    assert files.password(step) == password


@pytest.mark.parametrize("kind", [StepKind.ACCOUNT, StepKind.CERTIFICATE, StepKind.MAILBOX])
async def test_call_stays_open_when_repetition_is_cancelled_unsent(
    box: Sandbox, files: Files, kind: StepKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call of the killed run may still take effect, and with the password that it sent."""
    step, waits = STEP_OF[kind], asyncio.Event()

    async def wait(*_: Any) -> None:
        waits.set()
        await asyncio.Event().wait()

    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        await killed_at(kind, panel, proxy, files.journal, files.credentials, Fault.HANGS_BEFORE)
        password = files.password(step)
        monkeypatch.setattr(type(step), "create", wait)
        run = asyncio.create_task(files.apply(panel))
        await waits.wait()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    assert files.record(step).state is State.UNKNOWN
    assert files.password(step) == password
    assert (password is not None) is step.password_needed


@pytest.mark.parametrize("kind", PATHS)
async def test_step_with_a_408_is_looked_up(box: Sandbox, files: Files, kind: StepKind) -> None:
    step = STEP_OF[kind]
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        proxy.decide_writes(fail_first("POST", PATHS[kind], Fault.TIMED_OUT_AFTER))
        outcome = outcome_of(step, await files.apply(panel))
    assert outcome.status is StepStatus.CREATED
    assert files.record(step).state is State.DONE
