import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from panelica_async.errors import ConfigurationError
from panelica_async.provision import CredentialsFile, Journal, Manifest, Record, State, Step
from panelica_async.provision.journal import journal_at
from panelica_async.provision.journal_file import open_journal
from panelica_async.provision.objects import steps_of

MANIFEST = Manifest.from_data(
    [{"domain": "alder.example", "owner": "alder", "mailboxes": "info", "databases": "shop:u", "ftp_users": "f"}]
)
STEPS: tuple[Step, ...] = steps_of(MANIFEST)[0][1]
PANEL = "https://panel.example.com:8443"


def begin(journal: Journal, manifest: Manifest = MANIFEST) -> None:
    journal.begin(base_url=PANEL, manifest=manifest, credentials_path=None)


def test_step_is_recorded_from_begin_to_end(tmp_path: Path) -> None:
    account, domain = STEPS[:2]
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.sent(account)
        journal.done(account, "a1")
        journal.sent(domain, parent_id="a1")
        assert journal.records[domain.id].is_unanswered
        journal.failed(domain, "limit reached", code="FORBIDDEN", request_id="r1")
        record = journal.records[domain.id]

    assert (record.state, record.parent_id, record.reason, record.code, record.request_id) == (
        State.FAILED,
        "a1",
        "limit reached",
        "FORBIDDEN",
        "r1",
    )
    assert (record.kind, record.site) == (domain.kind, "alder.example")
    with Journal.open(tmp_path / "run.journal", read_only=True) as journal:
        assert journal.records[account.id].object_id == "a1"
        assert journal.records[account.id].is_settled
        assert journal.records[domain.id] == record
        assert journal.runs[0].finished_at is None


TEXT = st.none() | st.text(max_size=8)


class AnySequence(RuleBasedStateMachine):
    """A journal that is opened again has the same records, whatever was noted in whatever order."""

    @initialize()
    def open(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "run.journal"
        self.journal = Journal.open(self.path)
        begin(self.journal)

    @rule(step=st.sampled_from(STEPS), parent=TEXT)
    def sent(self, step: Step, parent: str | None) -> None:
        self.journal.sent(step, parent_id=parent)

    @rule(step=st.sampled_from(STEPS), object_id=TEXT, reason=TEXT)
    def done(self, step: Step, object_id: str | None, reason: str | None) -> None:
        self.journal.done(step, object_id, reason)

    @rule(step=st.sampled_from(STEPS), object_id=TEXT, reason=TEXT)
    def found(self, step: Step, object_id: str | None, reason: str | None) -> None:
        self.journal.found(step, object_id, reason)

    @rule(step=st.sampled_from(STEPS), reason=st.text(max_size=8), code=TEXT, request_id=TEXT)
    def failed(self, step: Step, reason: str, code: str | None, request_id: str | None) -> None:
        self.journal.failed(step, reason, code=code, request_id=request_id)

    @rule(step=st.sampled_from(STEPS), reason=st.text(max_size=8))
    def unknown(self, step: Step, reason: str) -> None:
        self.journal.unknown(step, reason)

    @rule(step=st.sampled_from(STEPS))
    def removed(self, step: Step) -> None:
        if step.id in self.journal.records:
            self.journal.removed(self.journal.records[step.id])

    @rule(closes=st.booleans())
    def open_again(self, closes: bool) -> None:
        known = dict(self.journal.records)
        windows = [self.journal.records.sent_between(step.id) for step in STEPS]
        runs = self.journal.runs
        if closes:
            self.journal.close()
            self.journal = Journal.open(self.path)
            begin(self.journal)
            assert dict(self.journal.records) == known
            assert self.journal.runs[:-1] == runs
            assert [self.journal.records.sent_between(step.id) for step in STEPS] == windows
        else:
            self.journal.flush()
            with Journal.open(self.path, read_only=True) as copy:
                assert dict(copy.records) == known
                assert copy.runs == runs

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.directory.cleanup()


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=30, stateful_step_count=30)


def test_journal_holds_no_password_of_the_run(tmp_path: Path) -> None:
    """Not even a password that the panel repeats for another object."""
    path = tmp_path / "run.journal"
    account, domain = STEPS[:2]
    with Journal.open(path) as journal:
        begin(journal)
        journal.failed(account, "nothing is hidden yet")
        journal.hide('Zq7kWex4"9')
        journal.hide("")
        journal.sent(domain)
        quotation = 'IDENTIFIED BY "Zq7kWex4\\"9"\x1b[2J\n\udcff'
        journal.failed(domain, quotation, code=quotation, request_id=quotation)
        record = journal.records[domain.id]
    assert {record.reason, record.code, record.request_id} == {"IDENTIFIED BY [redacted] [2J"}
    assert all(b"Zq7kWex4" not in file.read_bytes() for file in tmp_path.iterdir())


def test_id_that_contains_a_password_stays_whole(tmp_path: Path) -> None:
    account = STEPS[0]
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.hide("4f3b9c21")
        journal.sent(account)
        journal.done(account, "4f3b9c21-8a1e")
        assert journal.records[account.id].object_id == "4f3b9c21-8a1e"


def test_removal_is_noted_with_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account, removed_at = STEPS[0], datetime(2026, 3, 2, tzinfo=UTC)
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.sent(account)
        journal.done(account, "a1")
        monkeypatch.setattr("panelica_async.provision.journal._now", lambda: removed_at)
        journal.removed(journal.records[account.id])
    with Journal.open(tmp_path / "run.journal") as journal:
        record = journal.records[account.id]
    assert (record.state, record.object_id, record.at) == (State.REMOVED, "a1", removed_at)


def test_journal_belongs_to_one_manifest_and_one_panel(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        with pytest.raises(ConfigurationError, match="the journal of another manifest"):
            begin(journal, Manifest.from_data([{"domain": "beech.example", "owner": "beech"}]))
        with pytest.raises(ConfigurationError, match=r"of https://panel\.example\.com:8443, not of https://other"):
            journal.begin(base_url="https://other.example.com", manifest=MANIFEST, credentials_path=None)
        begin(journal)
        journal.finish()
        assert [run.finished_at is not None for run in journal.runs] == [False, True]


def test_manifest_of_the_last_run_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text("domain,owner\nalder.example,alder\n")
    with Journal.open(tmp_path / "run.journal") as journal:
        with pytest.raises(ConfigurationError, match="holds no run"):
            journal.load_manifest()
        begin(journal, Manifest.load(path))
        assert journal.load_manifest() == Manifest.load(path)

        path.write_text("domain,owner\nbeech.example,alder\n")
        with pytest.raises(ConfigurationError, match=r"sites\.csv was changed since"):
            journal.load_manifest()


def test_manifest_from_python_data_cannot_be_loaded(tmp_path: Path) -> None:
    journal = Journal.in_memory()
    begin(journal)
    with pytest.raises(ConfigurationError, match="has no file"):
        journal.load_manifest()
    journal.close()


def test_messages_name_a_journal_in_memory() -> None:
    with pytest.raises(ConfigurationError, match="the journal in memory holds no run"):
        Journal.in_memory().load_manifest()


def test_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        journal.flush()
        with pytest.raises(ConfigurationError, match=r"run\.journal is in use by another process"):
            Journal.open(path)
        with Journal.open(path, read_only=True) as reader:
            assert len(reader.runs) == 1
    Journal.open(path).close()


WRITER = """
import asyncio
import sys
from panelica_async.provision import Journal, Manifest
from panelica_async.provision.objects import steps_of
manifest = Manifest.from_data([{"domain": "alder.example", "owner": "alder"}])
journal = Journal.open(sys.argv[1])
journal.begin(base_url="https://panel.example.com", manifest=manifest, credentials_path=None)
journal.sent(steps_of(manifest)[0][1][0])
asyncio.run(journal.commit())
print("written", flush=True)
sys.stdin.read()
"""


def test_killed_writer_leaves_its_notes_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == b"written\n"
        with pytest.raises(ConfigurationError, match="in use by another process"):
            Journal.open(path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    with Journal.open(path) as journal:
        assert journal.records["account:alder"].state is State.SENT


def test_open_when_file_is_not_a_journal_raises(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but long enough to look like a file" * 20)
    with pytest.raises(ConfigurationError, match="as a journal: file is not a database"):
        Journal.open(text)

    manifest = tmp_path / "sites.csv"
    manifest.write_text("domain,owner\n")
    manifest.chmod(0o644)
    with pytest.raises(ConfigurationError, match="Name the journal, not the manifest"):
        Journal.open(manifest)
    assert manifest.stat().st_mode & 0o777 == 0o644
    assert {*tmp_path.iterdir()} == {text, manifest}

    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE step (id)")
    connection.close()
    with pytest.raises(ConfigurationError, match="is a database, but not a journal"):
        Journal.open(foreign)

    with pytest.raises(ConfigurationError, match=r"as a journal: .*No such file or directory"):
        Journal.open(tmp_path / "none" / "run.journal")
    with pytest.raises(ConfigurationError, match=r"there is no journal .*missing\.journal"):
        Journal.open(tmp_path / "missing.journal", read_only=True)
    assert not (tmp_path / "missing.journal").exists()


def test_journal_of_a_newer_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    Journal.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    for read_only in (True, False):
        with pytest.raises(
            ConfigurationError, match=r"\A\S+ is a journal of version 99; this package reads up to version 5"
        ):
            Journal.open(path, read_only=read_only)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_journal_of_an_older_package_is_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        journal.done(STEPS[0], "a1")
    connection = sqlite3.connect(path)
    for column in ["manifest_reading", "manifest_relative", "undone_at", "dialect"][version - 1 :]:
        connection.execute(f"ALTER TABLE run DROP COLUMN {column}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()

    for read_only in (True, False, True):
        with Journal.open(path, read_only=read_only) as journal:
            assert journal.records[STEPS[0].id].object_id == "a1"
            assert [run.base_url for run in journal.runs] == [PANEL]
    with Journal.open(path) as journal:
        begin(journal)


@pytest.mark.parametrize("read_only", [True, False])
def test_empty_file_holds_no_run(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "run.journal"
    path.touch()
    with Journal.open(path, read_only=read_only) as journal:
        assert (journal.runs, dict(journal.records)) == ((), {})
    assert (path.stat().st_size == 0) is read_only


def test_state_of_a_newer_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        journal.done(STEPS[0], "a1")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE step SET state = 'dreamt'")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(ConfigurationError, match=r"a record that this package cannot read: .*dreamt"):
            Journal.open(path, read_only=read_only)


@pytest.mark.parametrize("damage", ["half", "page", "text"])
def test_damaged_journal_says_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        for _ in range(400):
            journal.done(STEPS[0], "a1")
    content = path.read_bytes()
    damaged = {
        "half": content[: len(content) // 2],
        "page": content[:4096] + b"\xff" * 4096 + content[8192:],
        "text": b"words" * 4000,
    }
    path.write_bytes(damaged[damage])
    for read_only in (True, False):
        with pytest.raises(ConfigurationError, match=re.escape(f"cannot use {path} as a journal")) as caught:
            Journal.open(path, read_only=read_only)
        assert f"Move {path} away and apply again" in str(caught.value.hint)
    assert path.read_bytes() == damaged[damage]


def test_journal_is_read_while_others_have_it_open(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        journal.flush()
        shell = sqlite3.connect(path)
        assert shell.execute("SELECT count(*) FROM run").fetchone() == (1,)
        journal.done(STEPS[0], "a1")
    # Closing was not the last one's, so that what was written is still in the log beside it.
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    for read_only in (True, False):
        with Journal.open(path, read_only=read_only) as again:
            assert again.records[STEPS[0].id].state is State.DONE
    shell.close()


def test_journal_in_a_read_only_place_is_read(tmp_path: Path) -> None:
    place = tmp_path / "snapshot"
    place.mkdir()
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.done(STEPS[0], "a1")
        journal.flush()
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"run.journal{suffix}", place)
    (place / "run.journal-shm").symlink_to("run.journal-shm")  # stops the superuser too
    place.chmod(0o500)
    try:
        with Journal.open(place / "run.journal", read_only=True) as journal:
            assert journal.records[STEPS[0].id].state is State.DONE
    finally:
        place.chmod(0o700)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_journal_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with Journal.open(tmp_path / "run.journal") as journal:
            begin(journal)
            journal.flush()
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(modes, 384)
    assert {"run.journal", "run.journal.lock"} <= modes.keys()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
@pytest.mark.parametrize("name", ["run.journal", "run.journal.lock"])
def test_open_when_path_is_a_link_refuses_it(tmp_path: Path, name: str, mode: int) -> None:
    target = tmp_path / "elsewhere"
    target.touch()
    target.chmod(mode)
    (tmp_path / name).symlink_to(target)
    with pytest.raises(ConfigurationError, match="is a symbolic link") as caught:
        Journal.open(tmp_path / "run.journal")
    assert caught.value.hint is not None
    assert "chmod" not in caught.value.hint
    assert target.stat().st_size == 0
    assert target.stat().st_mode & 0o777 == mode


def test_changed_manifest_continues_in_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text("domain,owner\nalder.example,alder\n")
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal, Manifest.load(path))
        path.write_text("domain,owner\nbeech.example,alder\n")
        begin(journal, Manifest.load(path))
        assert len({run.manifest_digest for run in journal.runs}) == 2
        other = tmp_path / "b" / "sites.csv"
        other.parent.mkdir()
        other.write_text("domain,owner\nbeech.example,alder\n")
        with pytest.raises(ConfigurationError, match=r"is the journal of .*sites\.csv, not of .*b/sites\.csv"):
            begin(journal, Manifest.load(other))


def test_journal_moved_with_its_manifest_finds_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "state").mkdir(parents=True)
    (here / "sites.csv").write_text("domain,owner\nalder.example,alder\n")
    with Journal.open(here / "state/run.journal") as journal:
        begin(journal, Manifest.load(here / "sites.csv"))
    here.rename(there)
    with Journal.open(there / "state/run.journal") as journal:
        assert journal.manifest_path == there / "sites.csv"
        assert journal.load_manifest().source == there / "sites.csv"
        assert journal.runs[-1].is_of(there / "sites.csv", journal.path)
        assert not journal.runs[-1].is_of(tmp_path / "sites.csv", journal.path)


def test_conflict_does_not_hide_a_created_object(tmp_path: Path) -> None:
    account, domain = STEPS[:2]
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.done(account, "a1")
        journal.conflict(account, "another role")
        journal.conflict(domain, "belongs to others")
        assert [record.state for record in journal.records.values()] == [State.DONE, State.CONFLICT]
        assert [record.reason for record in journal.records.unresolved] == ["another role", "belongs to others"]
        journal.removed(journal.records[account.id])
        assert [record.id for record in journal.records.unresolved] == [domain.id]


def test_notes_are_synced_to_the_disk(tmp_path: Path) -> None:
    connection, files = open_journal(tmp_path / "run.journal")
    with files:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_path_with_special_characters_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "launch #1 100%?.journal"
    with Journal.open(path) as journal:
        begin(journal)
    assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, names of files are text")
async def test_run_with_paths_that_are_not_utf8_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    source = folder / os.fsdecode(b"sites\xff.csv")
    source.write_text("domain,username\nalder.example,alder\n")
    passwords = folder / os.fsdecode(b"passwords\xff.csv")
    with Journal.open(folder / "run.journal") as journal:
        journal.begin(base_url=PANEL, manifest=Manifest.load(source), credentials_path=passwords)
        await journal.commit()
        run = journal.runs[0]
    with Journal.open(folder / "run.journal") as journal:
        assert journal.runs == (run,)
        assert journal.load_manifest().source == source
    moved = folder.rename(tmp_path / os.fsdecode(b"\xe8"))
    with Journal.open(moved / "run.journal", read_only=True) as journal:
        assert journal.manifest_path == moved / source.name


@pytest.mark.parametrize("open_file", [Journal.open, CredentialsFile, lambda path: journal_at(path).__aenter__()])
async def test_path_is_named_when_it_is_too_long(tmp_path: Path, open_file: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"x{300}.*File name too long"):
        await open_file(tmp_path / ("x" * 300))


def test_records_cannot_be_changed_from_outside() -> None:
    journal = Journal.in_memory()
    with pytest.raises(TypeError):
        journal.records["x"] = Record  # type: ignore[index]
    journal.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("other", ["localhost", "127.0.0.1", "[::1]"])
def test_every_spelling_of_localhost_is_one_panel(host: str, other: str) -> None:
    with Journal.in_memory() as journal:
        journal.begin(base_url=f"http://{host}:3002", manifest=MANIFEST, credentials_path=None)
        journal.require_panel(f"http://{other}:3002")
        for elsewhere in (
            f"http://{other}:3003",
            f"https://{other}:3002",
            "http://127.0.0.2:3002",
            f"http://{other}x:3002",
        ):
            with pytest.raises(ConfigurationError, match="is the journal of"):
                journal.require_panel(elsewhere)


@pytest.mark.parametrize("change", ["removed", "moved", "replaced"])
def test_flush_raises_when_the_file_was_removed(tmp_path: Path, change: str) -> None:
    account = STEPS[0]
    path = tmp_path / "run.journal"
    journal = Journal.open(path)
    if change == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "old.journal")
    if change == "replaced":
        path.touch()
    journal.sent(account)
    with pytest.raises(sqlite3.OperationalError, match="moved, removed or replaced during the run"):
        journal.flush()
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_full_disk_is_not_mistaken_for_another_process(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from panelica_async.provision import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))\n"
        "Journal.open(sys.argv[1])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run.journal")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert process.returncode == 1
    assert "as a journal: " in process.stderr
    assert "in use" not in process.stderr
