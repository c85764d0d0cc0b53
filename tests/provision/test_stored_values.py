"""Values in journals and password files that no run wrote: clear errors, without blocking the loop."""

import asyncio
import contextlib
import gc
import sqlite3
import sys
import threading
from contextlib import aclosing
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from panelica_async import ConfigurationError, PanelicaClient
from panelica_async.provision import (
    CredentialsFile,
    Journal,
    JournalStatus,
    Manifest,
    Plan,
    RemovalStatus,
    RunFiles,
    State,
    StepKind,
    apply,
    resume,
    search,
    undo,
)
from panelica_async.provision.background import SLICE, Table, open_in_background
from panelica_async.provision.executor import Executor
from panelica_async.provision.journal import journal_at
from panelica_async.provision.journal_records import Record, Records, unique_id
from tests.support.loop_watch import longest_step

MANIFEST = Manifest.from_data([{"domain": "a.example", "owner": "ann", "email": "ann@mail.example"}])
if sys.platform != "win32":
    import resource
LONGEST_STEP = 0.05
"""Seconds of processor time that one pass of the loop may take."""
MANY = 10_000
ODD = ("'x'", "9e999", "-1e18", "x'00ff'", "''")
STATEMENTS = [
    *(f"UPDATE step SET {column} = {value}" for column in ("at", "id", "kind", "site", "state") for value in ODD),
    *(
        f"UPDATE run SET {column} = {value}"
        for column in ("started_at", "base_url", "manifest_digest")
        for value in ODD
    ),
    "UPDATE run SET manifest_reading = '[[[['",
    "UPDATE run SET manifest_reading = replace(hex(zeroblob(50000)), '0', '[')",
]


def change(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(statement)


def add_foreign(journal: Path, number: int, state: str = "CASE WHEN i % 2 THEN 'found' ELSE 'failed' END") -> None:
    """Add records of objects that no manifest names."""
    change(
        journal,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) INSERT INTO step "
        "(run, at, id, kind, site, state, object_id) SELECT 1, '2026-01-01T00:00:00+00:00', 'domain:x' || i, 'domain', "
        f"'x' || i || '.example', {state}, 'd' || i FROM n",
    )


def add_certificates(journal: Path, number: int, state: str) -> None:
    """Add records of certificates in the domain that is there."""
    change(
        journal,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) INSERT INTO step "
        "(run, at, id, kind, site, state, parent_id) SELECT 1, '2026-01-01T00:00:00+00:00', 'certificate:x' || i, "
        f"'certificate', 'x' || i || '.example', '{state}', (SELECT object_id FROM step WHERE id = 'domain:a.example'"
        " AND state = 'done') FROM n",
    )


@pytest.fixture
async def journal(tmp_path: Path, panel: PanelicaClient) -> Path:
    """The journal of a run that is done."""
    path = tmp_path / "run.journal"
    async for _ in apply(panel, MANIFEST, journal=path, credentials=tmp_path / "passwords.csv"):
        pass
    return path


async def step_of_another_run(panel: PanelicaClient, path: Path) -> float:
    over = asyncio.Event()
    watch = asyncio.ensure_future(longest_step(over))
    await asyncio.sleep(0)
    async for _ in apply(panel, MANIFEST, journal=path, credentials=path.parent / "passwords.csv"):
        pass
    over.set()
    return await watch


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_odd_values_raise_configuration_error(panel: PanelicaClient, journal: Path, statement: str) -> None:
    change(journal, statement)
    with contextlib.suppress(ConfigurationError):
        async for _ in apply(panel, MANIFEST, journal=journal):
            pass


@pytest.mark.parametrize("row", [b"\xff\xfe,x,y,z\n", b"account,x.example,x," + b"p" * 200_000 + b"\n", b"a,b,c,d,e\n"])
def test_odd_rows_of_passwords_raise_configuration_error(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path):
        pass
    with path.open("ab") as file:
        file.write(row)
    with pytest.raises(ConfigurationError) as caught:
        CredentialsFile(path)
    assert "ppp" not in str(caught.value)


@pytest.mark.once
async def test_large_journal_does_not_block_the_loop(panel: PanelicaClient, journal: Path) -> None:
    add_foreign(journal, MANY)
    assert await step_of_another_run(panel, journal) < LONGEST_STEP


@pytest.mark.once
async def test_large_file_of_passwords_does_not_block_the_loop(panel: PanelicaClient, journal: Path) -> None:
    with (journal.parent / "passwords.csv").open("ab") as file:
        file.write(b"".join(b"account,x%d.example,x%d,Passw0rd-%d\n" % (i, i, i) for i in range(5 * MANY)))
    assert await step_of_another_run(panel, journal) < LONGEST_STEP


async def test_large_journal_is_read_in_another_thread(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_foreign(journal, MANY)
    threads = set[int]()
    add = Records.add
    monkeypatch.setattr(Records, "add", lambda records, row: (threads.add(threading.get_ident()), add(records, row))[1])
    async with journal_at(journal) as opened_journal:
        assert len(opened_journal.records) > MANY
    assert threads
    assert threading.get_ident() not in threads


async def test_run_reads_only_the_records_of_its_steps(
    panel: PanelicaClient, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_foreign(journal, SLICE)
    read = list[str]()
    from_row = Record.from_row
    monkeypatch.setattr(Record, "from_row", lambda row: (read.append(row[0]), from_row(row))[1])
    async for _ in apply(panel, MANIFEST, journal=journal, credentials=journal.parent / "passwords.csv"):
        pass
    assert {"account:ann", "domain:a.example"} <= {*read}
    assert not [step_id for step_id in read if step_id.startswith("domain:x")]


class Turns:
    """Counts the turns of the loop, and how many records are read in one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.all = self._read = 0
        from_row = Record.from_row
        monkeypatch.setattr(Record, "from_row", lambda row: (self._note(), from_row(row))[1])

    def _note(self) -> None:
        self._read += 1
        self.all += 1
        self.most = max(self.most, self._read)

    async def watch(self) -> None:
        while True:
            self._read = 0
            await asyncio.sleep(0)


@pytest.mark.parametrize("state", ["found", "done", "sent", "uncertain"])
async def test_undo_of_a_large_journal_is_cut_into_slices(
    panel: PanelicaClient, journal: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    number = 10 * SLICE
    add_foreign(journal, number, f"'{state}'")
    turns = Turns(monkeypatch)
    watch = asyncio.ensure_future(turns.watch())
    removals = [removal async for removal in undo(panel, journal)]
    watch.cancel()
    # One pass over the records may end, and the next one begin, in the same turn.
    assert 0 < turns.most <= 3 * SLICE
    assert turns.all <= 12 * (number + 2)
    # What no list shows any more is gone, and the panel need not be asked to delete it.
    assert len(removals) == (number + 2 if state == "done" else 2)
    with Journal.open(journal, read_only=True) as notes:
        states = {record.state for record in notes.records.values()}
    assert states == {State.REMOVED} | ({State.FOUND} if state == "found" else set())


def traversed() -> int:
    """Return how many references a full garbage collection follows."""
    gc.collect()
    return sum(len(gc.get_referents(each)) for each in gc.get_objects())


async def test_work_on_all_sites_is_done_in_another_thread(
    panel: PanelicaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, journal = tmp_path / "sites.csv", tmp_path / "run.journal"
    source.write_text("domain,owner,email\na.example,ann,ann@mail.example\n")
    threads = dict[str, set[int]]()

    def watch(owner: type, name: str) -> None:
        work = getattr(owner, name)

        def watched(*args: Any, **keywords: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return work(*args, **keywords)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((Journal, "load_manifest"), (Journal, "begin"), (Plan, "decide"), (Executor, "__init__")):
        watch(owner, name)
    plan = await Plan.build(panel, Manifest.load(source))
    async for _ in apply(panel, plan, journal=journal, credentials=tmp_path / "passwords.csv"):
        pass
    async for _ in resume(panel, journal):
        pass
    assert threads.keys() == {"load_manifest", "begin", "decide", "__init__"}
    assert threading.get_ident() not in set[int]().union(*threads.values())


async def test_steps_without_a_call_do_not_block_the_loop(
    panel: PanelicaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = {
        "domain": "a.example",
        "owner": "ann",
        "email": "ann@mail.example",
        "mailboxes": [f"m{n}" for n in range(9)],
    }
    files = {"journal": tmp_path / "run.journal", "credentials": tmp_path / "passwords.csv"}
    async for _ in apply(panel, Manifest.from_data([site]), **files):
        pass
    kept, most = 0, 0
    keep = Executor._keep

    def count(executor: Executor, planned: Any) -> Any:
        nonlocal kept, most
        kept += 1
        most = max(most, kept)
        return keep(executor, planned)

    async def watch() -> None:
        nonlocal kept
        while True:
            kept = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(Executor, "_keep", count)
    watching = asyncio.ensure_future(watch())
    async for outcome in apply(panel, Manifest.from_data([site]), **files):
        assert len(outcome.steps) == 11
    watching.cancel()
    assert most == 1


async def held_by_undo(panel: PanelicaClient, journal: Path, number: int, state: str) -> int:
    """Return how many references an undo adds to those that a garbage collection follows."""
    add_foreign(journal, number, f"'{state}'")
    # Certificates are there as long as their domain is, and the API cannot delete them.
    add_certificates(journal, number, state)
    before = traversed()
    async with aclosing(undo(panel, journal)) as removals:
        async for _ in removals:
            return traversed() - before
    raise AssertionError("there was nothing to undo")


@pytest.mark.once
@pytest.mark.parametrize("state", ["done", "sent", "uncertain"])
async def test_memory_of_undo_does_not_grow_with_the_records(panel: PanelicaClient, journal: Path, state: str) -> None:
    # The domain stays, since others have a mailbox in it.
    (domain,) = await panel.domains.list().collect()
    await panel.email.accounts.create(local_part="boss", domain_id=domain.id, password="correct-horse")
    few = await held_by_undo(panel, journal, 2 * SLICE, state)
    assert await held_by_undo(panel, journal, 22 * SLICE, state) - few < 5 * SLICE


async def test_undo_compares_whole_lists_in_a_thread(
    panel: PanelicaClient, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[int]()

    def unique_id_noted(kind: StepKind, object_id: str | None) -> str:
        if kind is not StepKind.DNS_RECORD:
            threads.add(threading.get_ident())
        return unique_id(kind, object_id)

    monkeypatch.setattr(search, "unique_id", unique_id_noted)
    assert [removal.status async for removal in undo(panel, journal)] == [RemovalStatus.REMOVED] * 2
    assert threads
    assert threading.get_ident() not in threads


async def test_rows_of_a_table_are_read_in_slices() -> None:
    table = Table("name, kind", indexed=["kind"])
    for number in range(1, 10 * SLICE + 1):
        table.execute("INSERT INTO item (name, kind) VALUES (?, ?)", (number, number % 2))
    processed = list[int]()
    longest = 0

    def make(row: tuple[int]) -> int:
        processed.append(row[0])
        return row[0]

    async def watch() -> None:
        nonlocal longest
        while True:
            processed_before = len(processed)
            await asyncio.sleep(0)
            longest = max(longest, len(processed) - processed_before)

    watching = asyncio.ensure_future(watch())
    assert [row async for row in table.in_slices("name", make, "kind = 1")] == [*range(1, 10 * SLICE, 2)]
    assert longest == SLICE // 2
    numbers = [*range(2, 10 * SLICE + 1, 2), *range(1, 10 * SLICE, 2)]
    assert [row async for row in table.with_values("kind", (0, 1), "name", make)] == numbers
    assert longest == SLICE
    watching.cancel()
    table.close()


async def test_rows_changed_while_read_come_once() -> None:
    table = Table("name, kind", indexed=["kind"])
    for _ in range(2 * SLICE):
        table.execute("INSERT INTO item (kind) VALUES ('a')")
    seen = list[int]()
    async for number in table.with_values("kind", ["a"], "number", itemgetter(0)):
        seen.append(number)
        table.execute("UPDATE item SET kind = 'b' WHERE number = ?", (number,))
        table.execute("INSERT INTO item (kind) VALUES ('c')")
    assert seen == [*range(1, 2 * SLICE + 1)]
    assert [number async for number in table.with_values("kind", ["b"], "number", itemgetter(0))] == seen
    table.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files on Windows")
def test_records_need_no_disk_but_that_of_the_journal() -> None:
    records = Records()
    row = ("", "domain", "a.example", "done", "2026-01-01T00:00:00+00:00", "a1", "d1", None, None, None, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a machine whose directory for temporary files is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        for number in range(2 * MANY):
            records.add((f"domain:x{number}", *row[1:]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(records) == 2 * MANY
    records.close()


async def test_memory_of_status_does_not_grow_with_the_records(journal: Path) -> None:
    held = list[int]()
    for number in (2 * SLICE, 22 * SLICE):
        add_foreign(journal, number)
        before = traversed()
        status = JournalStatus.read(RunFiles.of_journal(journal))
        held.append(traversed() - before)
        assert status.unresolved[-1] == status.records[f"domain:x{number}"]
        assert [record.key for record in status.unresolved[:2]] == ["x2", "x4"]
        assert len([*status.unresolved]) == number // 2
        assert not status.pending
    assert held[1] - held[0] < SLICE


async def test_status_counts_records_once_in_its_thread(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_foreign(journal, SLICE)
    status = await asyncio.to_thread(JournalStatus.read, RunFiles.of_journal(journal))
    monkeypatch.setattr(Record, "from_row", None)
    assert status.counts[State.FAILED] == len(status.unresolved) == SLICE // 2
    assert status.is_removable
    assert status.is_open


async def test_cancelled_opening_stops_reading_and_closes(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_foreign(journal, MANY)
    begun, go_on, read = threading.Event(), threading.Event(), list[str]()
    add = Records.add

    def add_slowly(records: Records, row: Any) -> None:
        read.append(row[0])
        begun.set()
        go_on.wait(30)
        add(records, row)

    monkeypatch.setattr(Records, "add", add_slowly)
    context = journal_at(journal)
    task = asyncio.ensure_future(context.__aenter__())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(read) == 1
    monkeypatch.undo()
    Journal.open(journal).close()


@pytest.mark.parametrize("is_planned", [False, True])
async def test_journal_stays_open_while_a_thread_reads_it(
    panel: PanelicaClient, journal: Path, monkeypatch: pytest.MonkeyPatch, *, is_planned: bool
) -> None:
    source = await Plan.build(panel, MANIFEST) if is_planned else MANIFEST
    begun, go_on, read = threading.Event(), threading.Event(), list[Record]()
    get = Records.__getitem__

    def get_slowly(records: Records, step_id: str) -> Record:
        begun.set()
        go_on.wait(30)
        read.append(get(records, step_id))
        return read[-1]

    monkeypatch.setattr(Records, "__getitem__", get_slowly)
    task = asyncio.ensure_future(anext(apply(panel, source, journal=journal)))
    await asyncio.to_thread(begun.wait, 30)
    for _ in range(2):
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {record.id for record in read} == {"account:ann", "domain:a.example"}


async def test_file_is_closed_when_it_was_open_before_the_cancel(tmp_path: Path) -> None:
    path, begun, go_on = tmp_path / "passwords.csv", threading.Event(), threading.Event()
    path.write_bytes(bytes(1_000_000))
    file = path.open("rb")

    def open_file(_cancelled: threading.Event, _path: str | Path) -> Any:
        begun.set()
        go_on.wait(30)
        return file

    task = asyncio.ensure_future(open_in_background(open_file, path))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert file.closed
