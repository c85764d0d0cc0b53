"""Notes are written in groups, in another thread, and none is lost."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from panelica_async.provision import CredentialsFile, Journal, Manifest, State, apply
from panelica_async.provision.background import GroupCommit
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import FaultyPanel
from tests.provision.launching import SITES, WRITES, client, collect, statuses

MANIFEST = Manifest.from_data(SITES)


class Disk:
    """A disk that confirms a write when it is released, or fails it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Event()
        self.released = threading.Event()
        self.error: Exception | None = None

    def write(self, items: Sequence[int]) -> None:
        self.begun.set()
        assert self.released.wait(60)
        if self.error is not None:
            raise self.error
        self.groups.append(list(items))

    @property
    def items(self) -> list[int]:
        return [item for group in self.groups for item in group]


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def begun(disk: Disk) -> None:
    """Wait until the disk is asked to write; the event loop goes on."""
    assert await asyncio.to_thread(disk.begun.wait, 60)


def commit_of(log: GroupCommit[int], *items: int) -> asyncio.Task[None]:
    async def commit() -> None:
        for item in items:
            log.add(item)
        await log.commit()

    return asyncio.create_task(commit())


async def test_items_of_one_turn_are_written_together(disk: Disk) -> None:
    disk.released.set()
    log = GroupCommit(disk.write)
    await asyncio.gather(*(commit_of(log, number) for number in range(50)))
    assert disk.groups == [list(range(50))]
    log.close()


async def test_loop_continues_while_the_disk_confirms(disk: Disk) -> None:
    log = GroupCommit(disk.write)
    first = commit_of(log, 1)
    await begun(disk)
    later = [commit_of(log, number) for number in range(2, 9)]
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not first.done()
    assert not any(task.done() for task in later)
    disk.released.set()
    await asyncio.gather(first, *later)
    assert disk.groups == [[1], list(range(2, 9))]
    log.close()


async def test_caller_returns_after_its_item_is_written(disk: Disk) -> None:
    log = GroupCommit(disk.write)
    first = commit_of(log, 1)
    await begun(disk)
    second = commit_of(log, 2)
    second.add_done_callback(lambda _: order.append(disk.items[:]))
    first.add_done_callback(lambda _: order.append(disk.items[:]))
    order: list[list[int]] = []
    disk.released.set()
    await asyncio.gather(first, second)
    assert 1 in order[0]
    assert order[1] == [1, 2]
    log.close()


async def test_cancelled_caller_loses_no_item(disk: Disk) -> None:
    log = GroupCommit(disk.write)
    cancelled, other = commit_of(log, 1), commit_of(log, 2)
    await begun(disk)
    waiting = commit_of(log, 3)
    await asyncio.sleep(0)
    cancelled.cancel()
    waiting.cancel()
    await asyncio.wait({cancelled, waiting})
    assert not other.done()
    disk.released.set()
    await other
    log.close()
    assert disk.items == [1, 2, 3]


async def test_error_reaches_each_caller_and_items_stay_due(disk: Disk) -> None:
    disk.released.set()
    disk.error = sqlite3.OperationalError("disk full")
    log = GroupCommit(disk.write)
    results = await asyncio.gather(*(commit_of(log, number) for number in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["disk full"] * 3
    with pytest.raises(sqlite3.OperationalError, match="disk full"):
        log.flush()
    disk.error = None
    await commit_of(log, 3)
    assert disk.groups == [[0, 1, 2, 3]]
    log.close()


async def test_close_raises_only_a_new_error(disk: Disk) -> None:
    disk.released.set()
    disk.error = sqlite3.OperationalError("disk full")
    log = GroupCommit(disk.write)
    log.add(1)
    with pytest.raises(sqlite3.OperationalError, match="disk full"):
        log.close()
    log.close()

    log = GroupCommit(disk.write)
    with pytest.raises(sqlite3.OperationalError):
        await commit_of(log, 1)
    log.close()


async def test_error_with_all_callers_cancelled_is_not_logged(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.error = sqlite3.OperationalError("disk full")
    log = GroupCommit(disk.write)
    task = commit_of(log, 1)
    await begun(disk)
    task.cancel()
    await asyncio.wait({task})
    disk.released.set()
    with pytest.raises(sqlite3.OperationalError):
        await log.commit()
    disk.error = None
    log.close()
    assert disk.items == [1]
    assert caplog.records == []


async def test_close_raises_the_error_of_a_cancelled_commit(disk: Disk) -> None:
    disk.error = sqlite3.OperationalError("disk full")
    log = GroupCommit(disk.write)
    task = commit_of(log, 1)
    await begun(disk)
    task.cancel()
    await asyncio.wait({task})
    closing = asyncio.create_task(asyncio.to_thread(log.close))
    disk.released.set()
    with pytest.raises(sqlite3.OperationalError, match="disk full"):
        await closing


@pytest.mark.parametrize("turns", range(4))
async def test_commit_writes_when_its_group_was_cancelled(disk: Disk, turns: int) -> None:
    """Programs that shut down cancel all tasks, those of the package included."""
    disk.released.set()
    log = GroupCommit(disk.write)
    task = commit_of(log, 1)
    for _ in range(turns):
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert task.done()
    await commit_of(log, 2)
    assert disk.items[-1] == 2
    log.close()


async def test_commit_survives_when_its_group_alone_is_cancelled(disk: Disk) -> None:
    log = GroupCommit(disk.write)
    task = commit_of(log, 1)
    await begun(disk)
    assert log._group is not None
    log._group.cancel()
    disk.released.set()
    await task
    assert disk.items == [1]
    log.close()


def test_commit_works_when_an_earlier_loop_ended_within_it(disk: Disk) -> None:
    log = GroupCommit(disk.write)
    loop = asyncio.new_event_loop()
    task = loop.create_task(log.commit())
    log.add(1)
    loop.run_until_complete(asyncio.sleep(0))
    disk.released.set()
    asyncio.run(asyncio.wait_for(log.commit(), 60))
    assert disk.items == [1]
    loop.run_until_complete(task)
    loop.close()
    log.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads
def test_forked_process_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    journal = Journal.open(path)
    journal.begin(base_url="https://panel.example.com", manifest=MANIFEST, credentials_path=None)
    asyncio.run(journal.commit())  # the thread is there
    journal.finish()
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (journal.finish, journal.flush, lambda: asyncio.run(journal.commit())):
            try:
                use()
            except RuntimeError as error:
                refused += "forked process" in str(error)
        journal.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    with Journal.open(path, read_only=True) as seen:
        assert [run.finished_at for run in seen.runs] == [None]
    journal.close()
    with Journal.open(path, read_only=True) as seen:
        assert [run.finished_at for run in seen.runs] == [journal.runs[0].finished_at]


def test_log_serves_several_event_loops(disk: Disk) -> None:
    disk.released.set()
    log = GroupCommit(disk.write)

    async def write(start: int) -> None:
        await asyncio.gather(*(commit_of(log, start + number) for number in range(5)))

    for start in (0, 10):
        asyncio.run(write(start))
    log.close()
    assert [len(group) for group in disk.groups] == [5, 5]


async def test_closed_log_raises_on_commit(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run.journal")
    journal.close()
    journal.begin(base_url="https://panel.example.com", manifest=MANIFEST, credentials_path=None)
    with pytest.raises(sqlite3.ProgrammingError):
        await journal.commit()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.flush()


async def ticks(count: list[int]) -> None:
    while True:
        count[0] += 1
        await asyncio.sleep(0)


async def test_run_never_blocks_the_loop_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk delays the calls, not what else the program does."""
    counts: list[int] = []
    count = [0]
    loop_thread = threading.get_ident()
    write = GroupCommit._write_due

    def slow_write(log: "GroupCommit[object]") -> None:
        if threading.get_ident() == loop_thread:
            assert not log._due, "a write in the thread of the event loop"
            return
        before = count[0]
        # It waits for the loop: were the loop to wait for it, both would for ever.
        while log._due and count[0] < before + 20:
            threading.Event().wait(0.001)
        counts.append(count[0] - before)
        write(log)

    monkeypatch.setattr(GroupCommit, "_write_due", slow_write)
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        ticker = asyncio.create_task(ticks(count))
        outcomes = await collect(
            apply(panel, MANIFEST, journal=tmp_path / "run.journal", credentials=tmp_path / "passwords.csv")
        )
        ticker.cancel()
    assert set(statuses(outcomes).values()) == {"done"}
    assert len([each for each in counts if each >= 20]) > WRITES


async def test_note_is_on_the_disk_before_its_call_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, credentials = tmp_path / "run.journal", tmp_path / "passwords.csv"
    seen: list[State] = []

    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        serve = proxy.forward

        async def forward(request: object) -> object:
            if request.method != "GET":  # type: ignore[attr-defined]
                # Read as another process would: what is not committed is not there.
                with Journal.open(path, read_only=True) as journal:
                    seen.append(max(journal.records.values(), key=lambda record: record.at).state)
                    sent = [record for record in journal.records.values() if record.state is State.SENT]
                assert sent
                body = await request.read()  # type: ignore[attr-defined]
                if b'"password":"correct-horse"' not in body and b'"password"' in body:
                    password = body.partition(b'"password":"')[2].partition(b'"')[0]
                    assert password in credentials.read_bytes()
            return await serve(request)  # type: ignore[arg-type]

        monkeypatch.setattr(proxy, "forward", forward)
        outcomes = await collect(apply(panel, MANIFEST, journal=path, credentials=credentials, concurrency=1))
    assert set(statuses(outcomes).values()) == {"done"}
    assert seen == [State.SENT] * WRITES


@pytest.mark.parametrize("at", range(1, 8))
async def test_cancellation_before_the_commit_means_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    path, credentials = tmp_path / "run.journal", tmp_path / "passwords.csv"
    commit, commits = Journal.commit, 0

    async def stopping(journal: Journal) -> None:
        nonlocal commits
        commits += any(record.state is State.SENT for record in journal.records.values())
        if commits == at:
            run.cancel()
        await commit(journal)

    monkeypatch.setattr(Journal, "commit", stopping)
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        run = asyncio.create_task(collect(apply(panel, MANIFEST, journal=path, credentials=credentials, concurrency=1)))
        with contextlib.suppress(asyncio.CancelledError):
            await run
        assert proxy.writes == at - 1
        with Journal.open(path, read_only=True) as journal:
            states = [record.state for record in journal.records.values()]
            assert states == [State.DONE] * (at - 1) + [State.FAILED]
            assert list(journal.records.values())[-1].reason == "cancelled before it was sent"
        monkeypatch.undo()
        outcomes = await collect(apply(panel, MANIFEST, journal=path, credentials=credentials))
        assert set(statuses(outcomes).values()) <= {"done", "exists"}
        assert proxy.writes == WRITES


@pytest.mark.parametrize("file", [Journal, CredentialsFile])
@pytest.mark.parametrize("at", [2, 9])
async def test_failing_disk_ends_the_run_before_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: type, at: int
) -> None:
    """A call whose note cannot be written is not sent; the next run knows the notes written before."""
    path, credentials = tmp_path / "run.journal", tmp_path / "passwords.csv"
    error = sqlite3.OperationalError("database or disk is full") if file is Journal else OSError(28, "No space left")
    commit, writes, failed_at = file.commit, 0, []

    async def full(each: Journal) -> None:
        nonlocal writes
        writes += 1
        if writes >= at + 1:
            failed_at.append(proxy.writes)
            raise error
        await commit(each)

    monkeypatch.setattr(file, "commit", full)
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        with pytest.raises(type(error), match=r"full|No space"):
            await collect(apply(panel, MANIFEST, journal=path, credentials=credentials, concurrency=1))
        assert proxy.writes == failed_at[0]
        monkeypatch.undo()
        outcomes = await collect(apply(panel, MANIFEST, journal=path, credentials=credentials, settle=0))
        assert set(statuses(outcomes).values()) <= {"done", "exists"}
        assert proxy.writes == WRITES
