"""Which journal a command uses: that of the named manifest on the panel in use."""

import os
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.harness import Command, objects, write_manifest

FAST = ("--sandbox", "--sandbox-tier", "enterprise")
DATABASE = Path(".panelica/sandbox.db")

pytestmark = pytest.mark.once


def site(path: Path, *names: str) -> Path:
    """Write a manifest with one mailbox for each site."""
    path.parent.mkdir(exist_ok=True)
    rows = [f"{name}.example,{name},o@{name}.example,info" for name in names]
    path.write_text("\n".join(["domain,username,email,mailboxes", *rows, ""]))
    return path


def domains(database: Path = DATABASE) -> list[str]:
    with sqlite3.connect(database) as connection:
        found = [row[0] for row in connection.execute("SELECT domain FROM domains ORDER BY domain")]
    connection.close()
    return found


@pytest.fixture
def batches(panelica: Command, tmp_path: Path) -> tuple[Path, Path]:
    """Two manifests of the same name, both applied."""
    a, b = site(tmp_path / "a/launch.csv", "aone"), site(tmp_path / "b/launch.csv", "bone", "btwo")
    for path in (a, b):
        assert panelica("provision", "apply", str(path), *FAST).code == 0
    return a, b


def test_undo_removes_only_objects_of_its_manifest(panelica: Command, batches: tuple[Path, Path]) -> None:
    outcome = panelica("provision", "undo", "a/launch.csv", *FAST, "--yes")
    assert (outcome.code, outcome.stdout.partition(";")[0]) == (0, "3 objects removed, 0 objects left over")
    assert domains() == ["bone.example", "btwo.example"]
    outcome = panelica("provision", "undo", "b/launch.csv", *FAST, "--yes")
    assert (outcome.code, outcome.stdout.partition(";")[0]) == (0, "6 objects removed, 0 objects left over")
    assert domains() == []


def test_resume_and_status_take_their_own_manifest(panelica: Command, batches: tuple[Path, Path]) -> None:
    for path, sites in zip(batches, (1, 2), strict=True):
        status = panelica("provision", "status", str(path), "--json").json["journals"]
        assert [(journal["manifest"], journal["counts"]["done"]) for journal in status] == [(str(path), 3 * sites)]
        resumed = panelica("provision", "resume", str(path), *FAST, "--json").json
        assert len(resumed["sites"]) == sites
    assert len(panelica("provision", "status", "--json").json["journals"]) == 2


@pytest.mark.parametrize("command", ["undo", "resume", "status"])
@pytest.mark.parametrize("name", ["nowhere/launch.csv", "c/launch.csv", "launch.csv", "a/launch.yaml", "a/other.csv"])
def test_file_without_a_journal_is_refused(
    panelica: Command, batches: tuple[Path, Path], tmp_path: Path, command: str, name: str
) -> None:
    site(tmp_path / "c/launch.csv", "aone")
    before = objects(DATABASE)
    options = {"undo": (*FAST, "--yes"), "resume": FAST, "status": ()}[command]
    outcome = panelica("provision", command, name, *options)
    assert outcome.code == 2
    assert "has no journal" in outcome.stderr
    if Path(name).stem == "launch":
        assert (
            f"{tmp_path / name} has no journal: .panelica/launch.journal.db is that of {batches[0]}" in outcome.stderr
        )
    assert objects(DATABASE) == before


def test_undo_needs_the_journal_and_not_the_manifest(panelica: Command, batches: tuple[Path, Path]) -> None:
    batches[0].unlink()
    assert panelica("provision", "undo", "a/launch.csv", *FAST, "--yes").code == 0
    assert domains() == ["bone.example", "btwo.example"]


def test_csv_and_yaml_of_one_stem_are_two_manifests(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    (tmp_path / "launch.yaml").write_text(
        "sites:\n- {domain: bone.example, owner: {username: bone, email: b@b.example}}\n"
    )
    for name in ("launch.csv", "launch.yaml"):
        assert panelica("provision", "apply", name, *FAST).code == 0
    assert panelica("provision", "undo", "launch.yaml", *FAST, "--yes").stdout.startswith(
        "2 objects removed, 0 objects"
    )
    assert domains() == ["aone.example"]


def test_undo_of_several_manifests_is_independent(panelica: Command, tmp_path: Path) -> None:
    january, february = site(tmp_path / "jan/sites.csv", "one"), site(tmp_path / "feb/sites.csv", "two", "three")
    for path in (january, february, january):
        panelica("provision", "apply", str(path), *FAST)
    assert panelica("provision", "undo", "jan/sites.csv", *FAST, "--yes").stdout.startswith("3 objects removed, 0")
    assert panelica("provision", "undo", "feb/sites.csv", *FAST, "--yes").stdout.startswith("6 objects removed, 0")
    assert domains() == []


@pytest.mark.parametrize("name", ["../a/launch.csv", "./launch.csv", "link.csv"])
def test_manifest_by_another_path_is_the_same(
    panelica: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    site(tmp_path / "a/launch.csv", "aone")
    monkeypatch.chdir(tmp_path / "a")
    Path("link.csv").symlink_to("launch.csv")
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    assert panelica("provision", "undo", name, *FAST, "--yes").stdout.startswith(
        "3 objects removed, 0 objects left over"
    )


def test_directory_when_moved_keeps_its_runs(
    panelica: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(tmp_path / "here/launch.csv", "aone")
    monkeypatch.chdir(tmp_path / "here")
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    assert "1 site: 0 done, 1 already there" in panelica("provision", "resume", *FAST).stdout
    assert panelica("provision", "undo", "launch.csv", *FAST, "--yes").stdout.startswith("3 objects removed, 0 objects")


def test_journal_when_renamed_is_continued(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    Path(".panelica/launch.journal.db").rename(".panelica/launch.journal.1.db")
    site(tmp_path / "launch.csv", "aone", "atwo")
    panelica("provision", "apply", "launch.csv", *FAST)
    assert len(panelica("provision", "status", "launch.csv", "--json").json["journals"]) == 1
    outcome = panelica("provision", "undo", "launch.csv", *FAST, "--yes")
    assert (outcome.code, outcome.stdout.partition(";")[0]) == (0, "6 objects removed, 0 objects left over")
    assert domains() == []


@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_journal_when_damaged_does_not_affect_others(panelica: Command, tmp_path: Path, damage: str) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    whole = Path(".panelica/launch.journal.db").read_bytes()
    content = {"empty": b"", "text": b"no journal at all " * 99, "half": whole[: len(whole) // 2]}[damage]
    Path(".panelica/other.journal.db").write_bytes(content)
    status = panelica("provision", "status")
    assert status.code == (0 if damage == "empty" else 1)
    assert "3 created" in status.stdout
    if damage != "empty":
        assert "Move" in status.stdout
    assert "1 already there" in panelica("provision", "resume", *FAST).stdout
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    # For the manifest that owns the journal, the message says what to do, and nothing is sent.
    site(tmp_path / "other.csv", "bone")
    outcome = panelica("provision", "apply", "other.csv", *FAST)
    assert outcome.code == (0 if damage == "empty" else 2)
    assert panelica("provision", "undo", "launch.csv", *FAST, "--yes").code == 0


def test_status_when_manifest_changed_suggests_apply(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone", "root")
    assert panelica("provision", "apply", "launch.csv", *FAST).code in {1, 2}
    site(tmp_path / "launch.csv", "aone", "atwo")
    panelica("provision", "apply", "launch.csv", *FAST)
    with sqlite3.connect(".panelica/launch.journal.db") as connection:
        connection.execute("UPDATE run SET finished_at = NULL")
    connection.close()
    site(tmp_path / "launch.csv", "aone", "athree")
    (journal,) = panelica("provision", "status", "--json").json["journals"]
    assert journal["next_command"] == f"panelica provision apply {tmp_path / 'launch.csv'} --sandbox"
    outcome = panelica("provision", "resume", "launch.csv", *FAST)
    assert outcome.code == 2
    assert "launch.csv was changed since the last run" in outcome.stderr
    assert f"Run `panelica provision apply {tmp_path / 'launch.csv'} --sandbox`" in outcome.stderr


def test_status_knows_sites_rejected_before_a_call(panelica: Command, tmp_path: Path) -> None:
    rows = ["a.example,aone,o@a.example,Starter", "b.example,bone,o@b.example,Gold"]
    (tmp_path / "launch.csv").write_text("\n".join(["domain,username,email,plan", *rows, ""]))
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 1
    (journal,) = panelica("provision", "status", "--json").json["journals"]
    assert [(bad["name"], bad["state"]) for bad in journal["bad"]] == [("bone", "conflict")]
    assert "there is no plan 'Gold'" in journal["bad"][0]["reason"]
    assert journal["next_command"] is not None


def test_status_shows_created_objects_that_conflict_by_now(panelica: Command, tmp_path: Path) -> None:
    manifest = site(tmp_path / "launch.csv", "aone")
    rows = manifest.read_text()
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    manifest.write_text(rows.replace(",info", ",info::500"))
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 1
    (journal,) = panelica("provision", "status", "--json").json["journals"]
    assert [(bad["name"], bad["state"]) for bad in journal["bad"]] == [("info@aone.example", "conflict")]
    assert "conflict  the mailbox has a quota of" in panelica("provision", "status").stdout
    assert (journal["counts"]["done"], journal["next_command"].split()[2]) == (3, "resume")
    manifest.write_text(rows)
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    (journal,) = panelica("provision", "status", "--json").json["journals"]
    assert (journal["bad"], journal["next_command"]) == ([], None)
    assert panelica("provision", "undo", "launch.csv", *FAST, "--yes").code == 0
    assert domains() == []


def test_resume_after_a_sandbox_run_uses_the_sandbox(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    outcome = panelica("provision", "resume")
    assert outcome.code == 0
    assert "Using the embedded sandbox, where the run was started." in outcome.stderr
    assert "1 already there" in outcome.stdout
    assert outcome.stdout.endswith("undo .panelica/launch.journal.db --sandbox\n")


def test_undo_after_a_sandbox_run_uses_the_sandbox(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    outcome = panelica("provision", "undo", "launch.csv", "--yes")
    assert (outcome.code, domains()) == (0, [])
    assert "Using the embedded sandbox, where the run was started." in outcome.stderr


@pytest.mark.parametrize("default", ["", "panel"])
def test_suggested_command_uses_the_same_sandbox(
    panelica: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: str
) -> None:
    site(tmp_path / "launch.csv", "aone")
    monkeypatch.setenv("PANELICA_DIALECT", default)
    for dialect in ("reference", "panel"):
        options = ("--state-dir", dialect, "--dialect", dialect)
        applied = panelica("provision", "apply", "launch.csv", *FAST, *options)
        suggested = shlex.split(applied.stdout.splitlines()[-1].removeprefix("Undo"))
        assert panelica(*suggested[1:], "--yes").stdout.startswith("3 objects removed, 0 objects left over; ")


def test_apply_on_a_server_after_a_sandbox_run_has_no_note(
    panelica: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_backoff: None
) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    monkeypatch.setenv("PANELICA_API_SECRET", "sk_live_0123456789abcdef")
    server = ("--base-url", "127.0.0.1:1", "--api-key", "pk_live_0123456789abcdef", "--yes")
    outcome = panelica("provision", "apply", "launch.csv", *server)
    assert "no connection to the panel" in outcome.stderr
    assert "has runs of this manifest on" not in outcome.stderr


def test_resume_recreates_deleted_objects(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone", "atwo")
    panelica("provision", "apply", "launch.csv", *FAST)
    before = objects(DATABASE)
    for statement in ("DELETE FROM email_accounts", "DELETE FROM accounts WHERE username = 'atwo'"):
        with sqlite3.connect(DATABASE) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)
        connection.close()
        report = panelica("provision", "resume", "launch.csv", *FAST, "--json").json
        assert report["counts"]["done"] > 0
        assert objects(DATABASE) == before
    assert panelica("provision", "undo", "launch.csv", *FAST, "--yes").stdout.startswith("6 objects removed, 0")


def test_resume_notes_lost_passwords(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    assert "are no longer in" not in panelica("provision", "resume", "launch.csv", *FAST).stderr
    Path(".panelica/launch.passwords.csv").unlink()
    outcome = panelica("provision", "resume", "launch.csv", *FAST)
    assert "the generated passwords of 2 objects are no longer in .panelica/launch.passwords.csv" in outcome.stderr
    assert "(aone, info@aone.example)" in outcome.stderr


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_status_names_objects_whose_password_is_lost(panelica: Command, tmp_path: Path, kept: int) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    passwords = Path(".panelica/launch.passwords.csv")
    passwords.write_text("".join(passwords.read_text().splitlines(keepends=True)[: kept + 1]))
    before = passwords.read_bytes()
    outcome = panelica("provision", "status", "launch.csv")
    assert ("passwords of 2 objects are no longer in" in outcome.stdout) == (kept == 0)
    assert ("passwords of 1 object are no longer in" in outcome.stdout) == (kept == 1)
    assert outcome.code == 0
    assert passwords.read_bytes() == before
    (status,) = panelica("provision", "status", "--json").json["journals"]
    assert (status["password_note"] is None) == (kept == 2)


def test_status_leaves_a_passwords_file_as_it_is(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    passwords = Path(".panelica/launch.passwords.csv")
    # A run may be writing the last row right now.
    passwords.write_bytes(passwords.read_bytes()[:-5])
    before = passwords.read_bytes()
    assert "(info@aone.example)" in panelica("provision", "status").stdout
    assert passwords.read_bytes() == before
    passwords.write_text("something else\n")
    outcome = panelica("provision", "status")
    assert (outcome.code, "is not a file of generated passwords" in outcome.stdout) == (0, True)
    assert passwords.read_text() == "something else\n"


def test_suggested_command_for_changed_manifest_works(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    site(tmp_path / "launch.csv", "aone", "atwo")
    refused = panelica("provision", "resume", "launch.csv", "--sandbox")
    assert refused.code == 2
    command = refused.stderr.partition("Run `panelica ")[2].partition("`")[0]
    assert panelica(*shlex.split(command)).code == 0
    assert domains() == ["aone.example", "atwo.example"]


def test_object_when_recreated_by_others_is_kept(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    with sqlite3.connect(DATABASE) as connection:
        connection.execute("UPDATE email_accounts SET id = 'another'")
    connection.close()
    outcome = panelica("provision", "apply", "launch.csv", *FAST, "--json")
    assert outcome.code == 0
    assert "its password is not the one in the file" in outcome.stdout
    (status,) = panelica("provision", "status", "--json").json["journals"]
    assert (status["counts"]["done"], status["counts"]["found"]) == (2, 1)
    outcome = panelica("provision", "undo", "launch.csv", *FAST, "--yes")
    assert (outcome.code, domains()) == (1, ["aone.example"])


def test_apply_to_another_panel_names_the_first(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    outcome = panelica("provision", "apply", "launch.csv", *FAST, "--sandbox-db", "other.db")
    assert outcome.code == 0
    assert ".panelica/launch.journal.db has runs of this manifest on another embedded sandbox." in outcome.stderr
    assert "sandbox-db" in outcome.stderr
    again = panelica("provision", "apply", "launch.csv", *FAST, "--sandbox-db", "other.db")
    assert "has runs of this manifest on" not in again.stderr
    assert len(panelica("provision", "status", "launch.csv", "--json").json["journals"]) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another user's directory")
def test_state_dir_of_another_user_is_rejected(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    Path(".panelica").mkdir(mode=0o777)
    os.chown(".panelica", 65534, 65534)
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert (outcome.code, list(Path(".panelica").iterdir())) == (2, [])
    assert "belongs to another user" in outcome.stderr
    shutil.rmtree(".panelica")


def test_state_dir_when_a_link_is_rejected(panelica: Command, tmp_path: Path) -> None:
    site(tmp_path / "launch.csv", "aone")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    Path(".panelica").symlink_to("elsewhere")
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_journal_when_open_in_a_shell_can_be_used(panelica: Command, tmp_path: Path) -> None:
    write_manifest(tmp_path / "launch.csv", 2)
    panelica("provision", "apply", "launch.csv", *FAST)
    shell = sqlite3.connect(".panelica/launch.journal.db")
    shell.execute("SELECT count(*) FROM step").fetchone()
    write_manifest(tmp_path / "launch.csv", 3)
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    assert panelica("provision", "undo", "launch.csv", *FAST, "--yes").stdout.startswith("28 objects removed, 0")
    shell.close()


@pytest.mark.parametrize("name", ["backup.journal.db", "launch.journal-old.db", "launch.journal copy.db"])
def test_copy_of_a_journal_is_not_written_to(panelica: Command, tmp_path: Path, name: str) -> None:
    path = site(tmp_path / "launch.csv", "aone")
    panelica("provision", "apply", "launch.csv", *FAST)
    shutil.copy(".panelica/launch.journal.db", f".panelica/{name}")
    site(path, "aone", "atwo")
    applied = panelica("provision", "apply", "launch.csv", *FAST, "--json").json
    assert (applied["journal"], applied["passwords"]) == (
        ".panelica/launch.journal.db",
        ".panelica/launch.passwords.csv",
    )
    assert len(panelica("provision", "status", "launch.csv", "--json").json["journals"]) == 1
    assert "2 sites: 0 done, 2 already there" in panelica("provision", "resume", *FAST).stdout
    undone = panelica("provision", "undo", "launch.csv", *FAST, "--yes", "--json").json
    assert (undone["counts"]["removed"], len(undone["journals"])) == (6, 1)
    assert domains() == []


@pytest.mark.parametrize("command", ["undo", "resume"])
def test_directory_when_copied_starts_without_runs(
    panelica: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    shared = ("--sandbox", "--sandbox-tier", "enterprise", "--sandbox-db", str(tmp_path / "sandbox.db"))
    site(tmp_path / "jan/launch.csv", "aone")
    monkeypatch.chdir(tmp_path / "jan")
    panelica("provision", "apply", "launch.csv", *shared)
    shutil.copytree(tmp_path / "jan", tmp_path / "feb")
    monkeypatch.chdir(tmp_path / "feb")
    site(tmp_path / "feb/launch.csv", "bone")
    before = domains(tmp_path / "sandbox.db")
    refused = panelica("provision", command, "launch.csv", *shared, *(["--yes"] if command == "undo" else []))
    assert (refused.code, domains(tmp_path / "sandbox.db")) == (2, before)
    assert panelica("provision", "apply", "launch.csv", *shared).code == 0
    panelica("provision", "undo", "launch.csv", *shared, "--yes")
    assert domains(tmp_path / "sandbox.db") == ["aone.example"]


def test_resume_when_all_runs_are_finished_exits_2(panelica: Command, batches: tuple[Path, Path]) -> None:
    del batches
    outcome = panelica("provision", "resume", *FAST)
    assert outcome.code == 2
    assert "Error: .panelica holds 2 runs, all finished" in outcome.stderr
    assert "Hint: Name the manifest or the journal" in outcome.stderr
