"""Finding the journal of a manifest and a panel, for programs that do not use the command."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import (
    Journal,
    JournalStatus,
    KnownJournal,
    Manifest,
    RunDirectory,
    RunFiles,
    Step,
    journal_on,
    missing_passwords,
)
from panelica_async.provision.objects import steps_of

PANEL = "https://panel.example.com:8443"
OTHER = "https://other.example.com:8443"


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "state")
    directory.make()
    assert directory.path.stat().st_mode & 0o777 == 0o700
    return directory


def test_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot make the directory .*state: "):
        RunDirectory(tmp_path / "file/state").make()


def manifest_file(path: Path, name: str = "alder") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"domain,owner,mailboxes\n{name}.example,{name},info\n")
    return path


def run(files: RunFiles, manifest: Path, base_url: str = PANEL, *, finish: bool = True) -> None:
    with Journal.open(files.journal) as journal:
        journal.begin(base_url=base_url, manifest=Manifest.load(manifest), credentials_path=files.passwords)
        if finish:
            journal.finish()


def steps(manifest: Path) -> tuple[Step, ...]:
    return steps_of(Manifest.load(manifest))[0][1]


def test_new_files_are_named_after_the_manifest(directory: RunDirectory, tmp_path: Path) -> None:
    files = directory.files_for(tmp_path / "sites.csv", PANEL)
    assert files.journal == directory.path / "sites.journal.db"
    assert files.passwords == directory.path / "sites.passwords.csv"
    assert directory.files == []


def test_earlier_runs_are_found_by_manifest_and_panel(directory: RunDirectory, tmp_path: Path) -> None:
    one, two = manifest_file(tmp_path / "a/sites.csv"), manifest_file(tmp_path / "b/sites.csv", "beech")
    expected = {}
    for manifest in (one, two):
        for panel in (PANEL, OTHER):
            files = expected[manifest, panel] = directory.files_for(manifest, panel)
            run(files, manifest, panel)
    assert len({files.journal for files in expected.values()}) == 4
    assert {key: directory.files_for(*key) for key in expected} == expected
    assert [each.base_url for each in directory.journals_of(one)] == [OTHER, PANEL]
    assert directory.find(two) == [expected[two, OTHER], expected[two, PANEL]]
    assert journal_on(directory.journals_of(two), PANEL).files == expected[two, PANEL]
    with pytest.raises(
        ConfigurationError, match=r"the run was on https://other.* and https://panel.*, not on http://x"
    ):
        journal_on(directory.journals_of(two), "http://x")


def test_journal_in_use_is_found(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    with Journal.open(files.journal) as journal:
        journal.begin(base_url=PANEL, manifest=Manifest.load(manifest), credentials_path=None)
        journal.flush()
        assert directory.files_for(manifest, PANEL) == files
        known = KnownJournal.read(files)
        assert known is not None
        assert known.runs == journal.runs


def test_reading_runs_reads_no_records(directory: RunDirectory, tmp_path: Path) -> None:
    """However many objects a journal holds, finding it costs the same."""
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    with sqlite3.connect(files.journal) as connection:
        connection.execute("DROP TABLE step")
    connection.close()
    assert directory.files_for(manifest, PANEL) == files


def test_unreadable_run_raises_configuration_error(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    with sqlite3.connect(files.journal) as connection:
        connection.execute("UPDATE run SET started_at = x'00'")
    connection.close()
    assert directory.journals == []
    with pytest.raises(ConfigurationError, match="holds a record that this package cannot read"):
        directory.files_for(manifest, PANEL)


@pytest.mark.parametrize("name", ["backup", "sites-old", "sites (1)"])
def test_copy_of_a_journal_is_ignored(directory: RunDirectory, tmp_path: Path, name: str) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    shutil.copy(files.journal, directory.path / f"{name}.journal.db")
    assert len(directory.files) == 2
    assert [known.files for known in directory.journals] == [files]


def test_only_unfinished_run_is_found(directory: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no run to resume"):
        directory.find_unfinished()
    files = {}
    for name in ("one", "two"):
        manifest = manifest_file(tmp_path / f"{name}.csv", name)
        files[name] = directory.files_for(manifest, PANEL)
        run(files[name], manifest)
    with pytest.raises(ConfigurationError, match="holds 2 runs, all finished"):
        directory.find_unfinished()
    run(files["two"], tmp_path / "two.csv", finish=False)
    assert directory.find_unfinished() == files["two"]
    run(files["one"], tmp_path / "one.csv", finish=False)
    with pytest.raises(ConfigurationError, match="holds 2 unfinished runs"):
        directory.find_unfinished()


def test_run_when_undone_is_not_found(directory: RunDirectory, tmp_path: Path) -> None:
    files = {}
    for name in ("one", "two"):
        manifest = manifest_file(tmp_path / f"{name}.csv", name)
        files[name] = directory.files_for(manifest, PANEL)
        run(files[name], manifest)
    with Journal.open(files["one"].journal) as journal:
        journal.undone()
    assert directory.find_unfinished() == files["two"]
    with Journal.open(files["two"].journal) as journal:
        journal.undone()
    with pytest.raises(ConfigurationError, match=r"every run in .* was undone; there is nothing to resume"):
        directory.find_unfinished()


def test_finding_a_missing_run_says_what_there_is(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "a/sites.csv")
    run(directory.files_for(manifest, PANEL), manifest)
    with pytest.raises(ConfigurationError, match=r"b/sites\.csv has no journal: .*sites\.journal\.db is that of .*a/"):
        directory.find(tmp_path / "b/sites.csv")
    with pytest.raises(ConfigurationError, match=r"other\.csv has no journal in"):
        directory.find(tmp_path / "other.csv")
    with pytest.raises(ConfigurationError, match=r"there is no journal .*none\.db"):
        directory.find(tmp_path / "none.db")


def test_status_says_whether_a_run_can_be_resumed(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    assert JournalStatus.read(files).problem is not None
    account, domain, _ = steps(manifest)
    run(files, manifest)
    assert not JournalStatus.read(files).is_open
    with Journal.open(files.journal) as journal:
        journal.sent(account)
        journal.failed(domain, "limit reached")
    status = JournalStatus.read(files)
    assert status.is_open
    assert [record.id for record in status.unresolved] == [account.id, domain.id]
    assert (status.manifest, status.is_changed) == (manifest, False)
    manifest_file(manifest, "beech")
    assert JournalStatus.read(files).is_changed
    with Journal.open(files.journal) as journal:
        journal.undone()
    status = JournalStatus.read(files)
    assert (status.is_undone, status.is_open) == (True, False)


def test_site_removed_from_the_manifest_is_not_resumed(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    _, domain, _ = steps(manifest)
    run(files, manifest)
    with Journal.open(files.journal) as journal:
        journal.failed(domain, "limit reached")
    assert JournalStatus.read(files).is_open
    run(files, manifest_file(manifest, "beech"))
    status = JournalStatus.read(files)
    assert (status.is_changed, status.is_open) == (False, False)
    assert [record.id for record in status.unresolved] == [domain.id]
    manifest.unlink()
    assert JournalStatus.read(files).is_open


def test_status_when_journal_has_a_writer_is_in_use(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    assert not JournalStatus.read(files).is_in_use
    with Journal.open(files.journal):
        assert JournalStatus.read(files).is_in_use
    assert not JournalStatus.read(files).is_in_use
    files.journal.with_name(f"{files.journal.name}.lock").unlink()
    assert not JournalStatus.read(files).is_in_use
    assert not files.journal.with_name(f"{files.journal.name}.lock").exists()


def test_missing_passwords_are_those_of_created_objects(directory: RunDirectory, tmp_path: Path) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    _, domain, mailbox = steps(manifest)
    with Journal.open(files.journal) as journal:
        journal.done(domain, "d1")
        journal.done(mailbox, "m1")
    assert JournalStatus.read(files).missing_passwords == (mailbox,)
    assert missing_passwords(steps(manifest), {}, files.passwords) == ()
    files.passwords.write_text(f"kind,site,name,password\nmailbox,alder.example,{mailbox.key},not-lost-any-more\n")
    assert JournalStatus.read(files).missing_passwords == ()


@pytest.mark.parametrize("state", ["failed", "found"])
def test_passwords_of_objects_not_created_are_not_missing(directory: RunDirectory, tmp_path: Path, state: str) -> None:
    manifest = manifest_file(tmp_path / "sites.csv")
    files = directory.files_for(manifest, PANEL)
    run(files, manifest)
    _, _, mailbox = steps(manifest)
    with Journal.open(files.journal) as journal:
        if state == "failed":
            journal.failed(mailbox, "refused")
        else:
            journal.found(mailbox, "m1", "was there already")
    assert JournalStatus.read(files).missing_passwords == ()
