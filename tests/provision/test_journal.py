import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Journal, Manifest, Record, State, Step
from panelica_async.provision.steps import steps_of

MANIFEST = Manifest.from_data(
    [{"domain": "alder.example", "owner": "alder", "mailboxes": "info", "databases": "shop:u", "ftp_users": "f"}]
)
STEPS: tuple[Step, ...] = steps_of(MANIFEST)[0][1]
PANEL = "https://panel.example.com:8443"


def begin(journal: Journal, manifest: Manifest = MANIFEST) -> None:
    journal.begin(base_url=PANEL, manifest=manifest, credentials_path=None)


def test_a_step_from_begin_to_end(tmp_path: Path) -> None:
    account, domain = STEPS[:2]
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        journal.sent(account)
        journal.done(account, "a1")
        journal.sent(domain, parent_id="a1")
        assert journal.records[domain.id].is_doubtful
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
    """Whatever is noted in whatever order, a journal that is opened again knows the same."""

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
        runs = self.journal.runs
        if closes:
            self.journal.close()
            self.journal = Journal.open(self.path)
            begin(self.journal)
            assert dict(self.journal.records) == known
            assert self.journal.runs[:-1] == runs
        else:
            with Journal.open(self.path, read_only=True) as copy:
                assert dict(copy.records) == known
                assert copy.runs == runs

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.directory.cleanup()


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=30, stateful_step_count=30)


def test_it_belongs_to_one_manifest_and_one_panel(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "run.journal") as journal:
        begin(journal)
        with pytest.raises(ConfigurationError, match="the journal of another manifest, or manifest was changed since"):
            begin(journal, Manifest.from_data([{"domain": "beech.example", "owner": "beech"}]))
        with pytest.raises(ConfigurationError, match=r"of https://panel\.example\.com:8443, not of https://other"):
            journal.begin(base_url="https://other.example.com", manifest=MANIFEST, credentials_path=None)
        begin(journal)
        journal.finish()
        assert [run.finished_at is not None for run in journal.runs] == [False, True]


def test_loading_the_manifest_of_the_last_run(tmp_path: Path) -> None:
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


def test_a_manifest_from_python_data_cannot_be_loaded(tmp_path: Path) -> None:
    journal = Journal.in_memory()
    begin(journal)
    with pytest.raises(ConfigurationError, match="has no file"):
        journal.load_manifest()
    journal.close()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal.open(path) as journal:
        begin(journal)
        with pytest.raises(ConfigurationError, match=r"run\.journal is in use by another process"):
            Journal.open(path)
        with Journal.open(path, read_only=True) as reader:
            assert len(reader.runs) == 1
    Journal.open(path).close()


WRITER = """
import sys
from panelica_async.provision import Journal, Manifest
from panelica_async.provision.steps import steps_of
manifest = Manifest.from_data([{"domain": "alder.example", "owner": "alder"}])
journal = Journal.open(sys.argv[1])
journal.begin(base_url="https://panel.example.com", manifest=manifest, credentials_path=None)
journal.sent(steps_of(manifest)[0][1][0])
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_writer_leaves_its_notes_and_no_lock(tmp_path: Path) -> None:
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


def test_what_is_no_journal(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but long enough to look like a file" * 20)
    with pytest.raises(ConfigurationError, match="as a journal: file is not a database"):
        Journal.open(text)

    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE step (id)")
    connection.close()
    with pytest.raises(ConfigurationError, match="is a database, but no journal"):
        Journal.open(foreign)

    with pytest.raises(ConfigurationError, match="as a journal: unable to open database file"):
        Journal.open(tmp_path / "none" / "run.journal")
    with pytest.raises(ConfigurationError, match="as a journal: unable to open database file"):
        Journal.open(tmp_path / "missing.journal", read_only=True)
    assert not (tmp_path / "missing.journal").exists()


def test_a_journal_of_a_newer_package(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    Journal.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()

    with pytest.raises(ConfigurationError, match="is a journal of version 1; this package reads version 2"):
        Journal.open(path)


def test_notes_are_forced_to_the_disk(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "run.journal") as journal:
        pragma: Any = journal._connection.execute("PRAGMA synchronous").fetchone()[0]
        assert pragma == 2
        assert journal._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_path_with_odd_signs(tmp_path: Path) -> None:
    path = tmp_path / "launch #1 100%?.journal"
    with Journal.open(path) as journal:
        begin(journal)
    assert path.exists()


def test_records_cannot_be_changed_from_outside() -> None:
    journal = Journal.in_memory()
    with pytest.raises(TypeError):
        journal.records["x"] = Record  # type: ignore[index]
    journal.close()
