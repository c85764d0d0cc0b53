"""`panelica provision undo`: what it asks, which journals it covers, and what it reports."""

import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from panelica_async import PanelicaClient
from panelica_async.cli import undo as undo_command
from panelica_async.provision import Journal, Removal, undo_all
from panelica_async.telemetry import Done, Event
from tests.cli.harness import Command, Terminal, objects, write_manifest

pytestmark = pytest.mark.once

FAST = ("--sandbox", "--sandbox-tier", "enterprise")
DATABASE = Path(".panelica/sandbox.db")
JOURNAL = Path(".panelica/launch.journal.db")


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.fixture
def before(panelica: Command) -> dict[str, list[tuple[object, ...]]]:
    """The objects of the panel before anything is applied."""
    panelica("api", "GET", "/v1/me", *FAST)
    return objects(DATABASE)


def forget_replies(path: Path, kind: str) -> None:
    """Leave the journal in the state of a process killed before it recorded the results of its calls."""
    change(path, f"DELETE FROM step WHERE kind = '{kind}' AND state = 'done'", "UPDATE run SET finished_at = NULL")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, file names are Unicode")
def test_undo_when_file_name_is_not_unicode_reports(panelica: Command, manifest: Path) -> None:
    name = os.fsdecode(b"launch\xff.csv")
    manifest.rename(name)
    assert panelica("provision", "apply", name, *FAST).code == 0
    outcome = panelica("provision", "undo", name, "--yes", "--json", *FAST)
    assert (outcome.code, outcome.json["counts"]["removed"]) == (0, len(outcome.json["objects"]))


@pytest.mark.parametrize("named", ["launch.csv", str(JOURNAL)])
def test_undo_when_journal_has_no_run_exits_2(panelica: Command, manifest: Path, named: str) -> None:
    JOURNAL.parent.mkdir()
    JOURNAL.write_bytes(b"")  # a process was killed while it created the file
    outcome = panelica("provision", "undo", named, "--yes", *FAST)
    assert outcome.code == 2
    assert outcome.stderr.startswith(f"Error: {JOURNAL} holds no run\n")
    assert outcome.stdout == ""
    assert JOURNAL.read_bytes() == b""


def test_object_when_creator_is_uncertain_has_a_note(panelica: Command, manifest: Path) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    forget_replies(JOURNAL, "mailbox")
    change(DATABASE, "UPDATE email_accounts SET created_at = created_at + 600")
    outcome = panelica("provision", "resume", "launch.csv", *FAST)
    assert outcome.code == 0
    assert "Note: found; whether its password is the one in the file is uncertain (mailbox " in outcome.stdout
    assert "Hint: Set its password in the panel, or delete it there and apply again.\n" in outcome.stdout


def test_undo_question_names_the_objects_to_delete(
    panelica: Command, terminal: Callable[..., Terminal], manifest: Path
) -> None:
    write_manifest(manifest, 5)
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    asked = terminal("provision", "undo", "launch.csv", *FAST)
    asked.read_until("[y/N]")
    asked.type("n\n")
    assert asked.end() == 130
    question = " ".join(asked.text.split())
    assert re.search(r"Delete \d+ objects of \S*launch\.csv \(last run 20\d\d-", question)
    assert "; sites site1.example, site2.example, site3.example and 2 more)" in question
    assert "from the embedded sandbox" in question
    assert ", with everything in them, files included?" in question


def test_undo_of_another_manifest_of_same_name_exits_2(panelica: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name / "launch.csv", 1)
    assert panelica("provision", "apply", "a/launch.csv", *FAST).code == 0
    there = objects(DATABASE)
    outcome = panelica("provision", "undo", "b/launch.csv", "--yes", *FAST)
    assert outcome.code == 2
    assert f"{tmp_path}/a/launch.csv" in outcome.stderr
    assert objects(DATABASE) == there
    assert panelica("provision", "undo", "a/launch.csv", "--yes", *FAST).code == 0


def test_undo_after_a_change_covers_the_old_manifest(
    panelica: Command, manifest: Path, before: dict[str, list[tuple[object, ...]]]
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    write_manifest(manifest, 5)
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert outcome.code == 0
    assert "0 objects left over" in outcome.stdout
    assert objects(DATABASE) == before


def test_undo_when_nothing_is_left_says_so(panelica: Command, manifest: Path) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    assert panelica("provision", "undo", "launch.csv", "--yes", *FAST).code == 0
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("Nothing to delete: ")


@pytest.mark.parametrize("kind", ["account", "domain", "mailbox", "ftp_user", "database", "dns_record"])
def test_undo_removes_objects_a_killed_run_sent(
    panelica: Command, manifest: Path, before: dict[str, list[tuple[object, ...]]], kind: str
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    forget_replies(JOURNAL, kind)
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert (outcome.code, "28 objects removed, 0 objects left over" in outcome.stdout) == (0, True)
    assert objects(DATABASE) == before
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["next_command"] is None
    assert status["runs"][-1]["undone_at"] > status["runs"][-1]["started_at"]


def test_undo_when_creator_is_uncertain_keeps_object(panelica: Command, manifest: Path) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    forget_replies(JOURNAL, "mailbox")
    change(DATABASE, "UPDATE email_accounts SET created_at = created_at + 3600 WHERE email = 'info@site1.example'")
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert outcome.code == 1
    assert "uncertain" in outcome.stdout
    assert "Hint: Find out in the panel who owns it, and remove it there if it is yours." in outcome.stdout
    assert [email for email, *_ in objects(DATABASE)["mailboxes"]] == ["info@site1.example"]
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["next_command"] == "panelica provision undo .panelica/launch.journal.db --sandbox"


@pytest.mark.parametrize("signals", [1, 2], ids=["stopped", "broken off"])
def test_undo_when_interrupted_reports_removed_objects(
    panelica: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch, signals: int
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0

    def interrupted(
        panel: PanelicaClient, journals: list[Journal], **options: Any
    ) -> AsyncIterator[tuple[Journal, Removal]]:
        signals_left = [signal.SIGINT] * signals

        def interrupt(event: Event) -> None:
            while isinstance(event, Done) and event.method == "DELETE" and signals_left:
                signal.raise_signal(signals_left.pop())

        panel.subscribe(interrupt)
        return undo_all(panel, journals, **options)

    with monkeypatch.context() as patched:
        patched.setattr(undo_command, "undo_all", interrupted)
        outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json")
    assert outcome.code == 130
    assert outcome.stderr.count("Press Ctrl-C again to stop at once.") == 1
    assert outcome.json["interrupted"]
    counts = outcome.json["counts"]
    assert counts["removed"] + counts["skipped"] == 28
    assert counts["removed"] > 0 < counts["skipped"]
    there = {domain for domain, *_ in objects(DATABASE)["domains"]}
    skipped = {each["site"] for each in outcome.json["objects"] if each["status"] == "skipped"}
    assert there == skipped if signals == 1 else there <= skipped
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["counts"]["removed"] == counts["removed"]
    assert status["next_command"].startswith("panelica provision undo ")
    assert panelica("provision", "undo", "launch.csv", "--yes", *FAST).code == 0
    assert objects(DATABASE)["domains"] == []


def test_undo_when_interrupted_before_a_deletion_stops_at_once(
    panelica: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0

    def interrupted(
        panel: PanelicaClient, journals: list[Journal], **options: Any
    ) -> AsyncIterator[tuple[Journal, Removal]]:
        signals_left = [signal.SIGINT]

        def interrupt(event: Event) -> None:
            if isinstance(event, Done) and signals_left:
                signal.raise_signal(signals_left.pop())

        panel.subscribe(interrupt)
        return undo_all(panel, journals, **options)

    with monkeypatch.context() as patched:
        patched.setattr(undo_command, "undo_all", interrupted)
        outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json")
    assert (outcome.code, outcome.json["interrupted"]) == (130, True)
    assert "Press Ctrl-C again" not in outcome.stderr
    assert (outcome.json["writes"], outcome.json["counts"]["skipped"]) == (0, 28)
    assert outcome.json["reads"] < 5
    assert panelica("provision", "undo", "launch.csv", "--yes", *FAST).code == 0


def test_undo_when_interrupted_names_the_command_that_continues(
    panelica: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0

    def interrupted(
        panel: PanelicaClient, journals: list[Journal], **options: Any
    ) -> AsyncIterator[tuple[Journal, Removal]]:
        options["stop"].set()
        return undo_all(panel, journals, **options)

    with monkeypatch.context() as patched:
        patched.setattr(undo_command, "undo_all", interrupted)
        outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert outcome.code == 130
    first, *_, last = outcome.stdout.splitlines()
    assert first.startswith("0 objects removed, 28 objects left over (28 of them not attempted); 0 writes and ")
    assert "site1.example" not in outcome.stdout  # nothing is wrong with the objects: they need no line each
    assert last == "Continue   panelica provision undo launch.csv --sandbox"
    assert panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json").json["next_command"] is None


def test_undo_when_key_is_revoked_reports_the_error(
    panelica: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0

    def revoked(
        panel: PanelicaClient, journals: list[Journal], **options: Any
    ) -> AsyncIterator[tuple[Journal, Removal]]:
        def revoke(event: Event) -> None:
            if isinstance(event, Done) and event.method == "DELETE":
                change(DATABASE, "UPDATE api_keys SET revoked = 1")

        panel.subscribe(revoke)
        return undo_all(panel, journals, **options)

    monkeypatch.setattr(undo_command, "undo_all", revoked)
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["status"] == 401
    assert outcome.json["counts"]["removed"] > 0 < outcome.json["counts"]["skipped"]
    assert outcome.stderr.count("Error: ") == 1


def test_status_after_an_uncertain_undo_suggests_undo(panelica: Command, manifest: Path) -> None:
    """Calls in flight may still take effect, and a resume would create everything again."""
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    change(DATABASE, "PRAGMA foreign_keys = ON", "DELETE FROM accounts WHERE username != 'root'")
    change(
        JOURNAL, "DELETE FROM step WHERE id != 'account:owner1' OR state = 'done'", "UPDATE run SET finished_at = NULL"
    )
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json")
    assert outcome.code == 1
    (left,) = outcome.json["objects"]
    assert "the panel may still be working on the call" in left["reason"]
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["next_command"].startswith("panelica provision undo ")
    change(JOURNAL, "UPDATE step SET at = '2026-01-01T00:00:00+00:00'")
    assert panelica("provision", "undo", "launch.csv", "--yes", *FAST).code == 0
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["next_command"] is None


def test_undo_counts_uncertain_objects_separately(panelica: Command, manifest: Path) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    forget_replies(JOURNAL, "mailbox")
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    there, maybe = re.search(
        r"Deleting (\d+) objects of \S+ and up to (\d+) more that may exist", outcome.stderr
    ).groups()  # type: ignore[union-attr]
    assert int(there) + int(maybe) == 28
    assert int(maybe) == 4


def test_undo_of_a_site_leaves_the_others(panelica: Command, manifest: Path) -> None:
    write_manifest(manifest, 3)
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    outcome = panelica("provision", "undo", "launch.csv", "--site", "Site2.example.", "--yes", *FAST)
    assert outcome.code == 0
    assert "; sites site2.example) from " in outcome.stderr
    assert "Hint: Also remove site2.example from " in outcome.stdout
    assert {domain for domain, *_ in objects(DATABASE)["domains"]} == {"site1.example", "site3.example"}
    (status,) = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert status["runs"][-1]["undone_at"] is None
    assert status["next_command"] is None

    again = panelica("provision", "undo", "launch.csv", "--site", "site2.example", "--yes", *FAST)
    assert again.code == 2
    assert "the runs created nothing for the site site2.example, or it was removed since" in again.stderr
    wrong = panelica("provision", "undo", "launch.csv", "--site", "site 2", "--yes", *FAST)
    assert wrong.code == 2
    assert "Error: --site: 'site 2'" in wrong.stderr
