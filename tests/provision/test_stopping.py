"""A graceful stop: calls in flight finish, and waiting calls are not sent."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from panelica_async import PanelicaClient
from panelica_async.provision import (
    Journal,
    Manifest,
    Plan,
    Record,
    RemovalStatus,
    SiteOutcome,
    SiteStatus,
    State,
    StepKind,
    StepStatus,
    apply,
    undo,
)
from panelica_async.provision.objects import DomainStep, Step
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Done, Event, Retried, Sent
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first
from tests.provision.killing import MANIFEST, STEPS, killed_at
from tests.provision.launching import SITES, client, collect, state
from tests.support import virtual_time

pytestmark = pytest.mark.once

THREE_SITES = Manifest.from_data(SITES)


class Files:
    def __init__(self, directory: Path) -> None:
        self.journal, self.credentials = directory / "run.journal", directory / "p.csv"

    async def apply(
        self, panel: PanelicaClient, source: Manifest | Plan = MANIFEST, stop: asyncio.Event | None = None
    ) -> list[SiteOutcome]:
        run = apply(panel, source, journal=self.journal, credentials=self.credentials, settle=0, stop=stop)
        return await collect(run)

    @property
    def records(self) -> dict[str, Record]:
        with Journal.open(self.journal, read_only=True) as journal:
            return dict(journal.records)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def no_listener_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def limited(box: Sandbox, per_hour: int) -> tuple[PanelicaClient, RateLimiter]:
    """A client that waits for minutes once its quota is used up."""
    limiter = RateLimiter(RateLimit(per_hour=per_hour), learn=False)
    return PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, limiter=limiter), limiter


def writes(box: Sandbox) -> int:
    return sum(request.method != "GET" for request in box.requests)


def test_calls_that_wait_for_quota_are_not_sent(files: Files) -> None:
    async def main() -> tuple[list[SiteOutcome], float, int]:
        async with Sandbox(tier="enterprise") as box, limited(box, per_hour=20)[0] as panel:
            stop = asyncio.Event()
            run = asyncio.create_task(files.apply(panel, THREE_SITES, stop))
            await asyncio.sleep(60)
            sent, stopped_at = writes(box), virtual_time.now()
            stop.set()
            outcomes = await run
            seconds = virtual_time.now() - stopped_at
            assert writes(box) == sent
            with Journal.open(files.journal, read_only=True) as journal:
                records, counts = dict(journal.records), journal.records.counts
                assert ([*journal.records.unresolved], counts[State.FAILED]) == ([], 0)
            async with client(box) as fast:
                await files.apply(fast, THREE_SITES)
            created = state(box)
        async with Sandbox(tier="enterprise") as box, client(box) as fast:
            await collect(apply(fast, THREE_SITES, credentials=files.credentials.with_name("other.csv")))
            assert created == state(box)
        states = Counter(record.state for record in records.values())
        assert states[State.DONE] >= sent > 0
        unsent = [record for record in records.values() if record.state is not State.DONE]
        assert {(record.state, record.reason) for record in unsent} == {(State.FAILED, "cancelled before it was sent")}
        return outcomes, seconds, len(unsent)

    outcomes, seconds, unsent = virtual_time.run(main())
    assert seconds < 1
    assert unsent >= 1
    assert {(outcome.status, outcome.reason) for outcome in outcomes if outcome.status is not SiteStatus.DONE} == {
        (SiteStatus.SKIPPED, "the run was interrupted")
    }
    assert {step.status for outcome in outcomes for step in outcome.steps} <= {StepStatus.CREATED, StepStatus.EXISTS}


@pytest.mark.parametrize("event_type", [Sent, Done])
@pytest.mark.parametrize("step", STEPS, ids=[step.kind.value for step in STEPS])
async def test_stop_at_any_event_leaves_nothing_uncertain(tmp_path: Path, event_type: type[Event], step: Step) -> None:
    """A call is sent and answered, or not sent."""
    number = STEPS.index(step) + 1
    files, stop, seen = Files(tmp_path), asyncio.Event(), 0

    def stop_at(event: Event) -> None:
        nonlocal seen
        if event.method == "POST" and isinstance(event, event_type):
            seen += 1
            if seen == number:
                stop.set()

    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        panel.subscribe(stop_at)
        await files.apply(panel, stop=stop)
        done = sum(record.state is State.DONE for record in files.records.values())
        assert done == writes(box) == number
        assert not any(record.is_unanswered for record in files.records.values())


@pytest.mark.parametrize("fault", [Fault.OVER_LIMIT, Fault.UNAVAILABLE_RETRY_AFTER])
async def test_refused_call_is_not_sent_again(files: Files, fault: Fault) -> None:
    """A few panels carry out what they refuse so: the step is uncertain until the next run looks."""
    stop = asyncio.Event()

    def stop_at(event: Event) -> None:
        if isinstance(event, Retried):
            stop.set()

    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        proxy.decide_writes(fail_first("POST", "/domains", fault))
        panel.subscribe(stop_at)
        [outcome] = await files.apply(panel, stop=stop)
        sent = proxy.writes
        assert (outcome.status, files.records["domain:alder.example"].state) == (SiteStatus.UNKNOWN, State.UNKNOWN)
        [outcome] = await files.apply(panel)
    assert (sent, outcome.status) == (2, SiteStatus.DONE)


async def test_call_without_a_connection_was_not_sent(files: Files) -> None:
    stop = asyncio.Event()

    def stop_at(event: Event) -> None:
        if isinstance(event, Retried):
            stop.set()

    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        await box.stop()
        panel.subscribe(stop_at)
        [outcome] = await files.apply(panel, plan, stop=stop)
    [record] = files.records.values()
    assert (record.state, record.reason) == (State.FAILED, "cancelled before it was sent")
    assert outcome.status is SiteStatus.SKIPPED


async def test_unanswered_call_stays_unknown(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have created the object, whatever becomes of its repetition."""
    stop = asyncio.Event()

    async def wait(*_: object) -> None:
        stop.set()
        await asyncio.Event().wait()

    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        await killed_at(StepKind.DOMAIN, panel, proxy, files.journal, files.credentials, Fault.HANGS_BEFORE)
        monkeypatch.setattr(DomainStep, "create", wait)
        [outcome] = await files.apply(panel, stop=stop)
    record = files.records["domain:alder.example"]
    assert (record.state, record.reason) == (State.UNKNOWN, "an earlier call has no known outcome")
    assert outcome.status is SiteStatus.UNKNOWN


def test_deletions_that_wait_for_quota_are_not_sent(files: Files) -> None:
    async def main() -> tuple[Counter[RemovalStatus], float, int, int]:
        async with Sandbox(tier="enterprise") as box:
            async with client(box) as fast:
                await files.apply(fast, THREE_SITES)
            created = writes(box)
            slow, limiter = limited(box, per_hour=1000)
            async with slow as panel:
                stop = asyncio.Event()

                def use_up_quota(event: Event) -> None:
                    if isinstance(event, Sent) and event.method == "DELETE":
                        while limiter.try_acquire():
                            pass

                panel.subscribe(use_up_quota)

                async def remove() -> Counter[RemovalStatus]:
                    return Counter([removal.status async for removal in undo(panel, files.journal, stop=stop)])

                removing = asyncio.create_task(remove())
                await asyncio.sleep(60)
                sent, stopped_at = writes(box) - created, virtual_time.now()
                stop.set()
                statuses = await removing
                seconds = virtual_time.now() - stopped_at
                assert writes(box) - created == sent
            async with client(box) as fast:
                left_over = Counter([removal.status async for removal in undo(fast, files.journal)])
            assert set(left_over) == {RemovalStatus.REMOVED}
            return statuses, seconds, sent, left_over.total()

    statuses, seconds, sent, left_over = virtual_time.run(main())
    assert seconds < 1
    assert sent >= 1
    assert set(statuses) == {RemovalStatus.REMOVED, RemovalStatus.SKIPPED}
    assert left_over == statuses[RemovalStatus.SKIPPED]


def test_undo_stopped_while_it_reads_skips_everything(files: Files) -> None:
    async def main() -> tuple[set[RemovalStatus], float]:
        async with Sandbox(tier="enterprise") as box:
            async with client(box) as fast:
                await files.apply(fast)
            async with limited(box, per_hour=2)[0] as panel:
                stop = asyncio.Event()
                asyncio.get_running_loop().call_later(60, stop.set)
                began = virtual_time.now()
                statuses = {removal.status async for removal in undo(panel, files.journal, stop=stop)}
                return statuses, virtual_time.now() - began

    statuses, seconds = virtual_time.run(main())
    assert statuses == {RemovalStatus.SKIPPED}
    assert seconds < 61
