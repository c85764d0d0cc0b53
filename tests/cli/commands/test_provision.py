import csv
import json
import re
import sqlite3
import stat
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from tests.cli.harness import Command, count_created, objects, write_manifest

FAST = ("--sandbox", "--sandbox-tier", "enterprise")


@pytest.fixture
def applied(panelica: Command, manifest: Path) -> Path:
    """A manifest that was applied to the sandbox."""
    assert panelica("provision", "apply", manifest.name, *FAST).code == 0
    return manifest


def change_panel(sql: str) -> None:
    connection = sqlite3.connect(".panelica/sandbox.db")
    with connection:
        connection.execute("PRAGMA foreign_keys = ON")
        assert connection.execute(sql).rowcount
    connection.close()


def test_apply_creates_and_reports_everything(panelica: Command, manifest: Path) -> None:
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 0
    assert "3 sites with 28 objects: 28 to create, 0 already there, 0 in conflict." in outcome.stderr
    assert "3 sites: 3 done, 0 failed." in outcome.stdout
    assert "Journal    .panelica/launch.journal.db" in outcome.stdout
    assert "Passwords  .panelica/launch.passwords.csv" in outcome.stdout
    assert "panelica provision undo launch.csv --sandbox" in outcome.stdout
    there = objects(Path(".panelica/sandbox.db"))
    assert [domain for domain, *_ in there["domains"]] == ["site1.example", "site2.example", "site3.example"]
    assert len(there["mailboxes"]) == 4


def test_files_are_for_their_owner_alone(applied: Path) -> None:
    assert stat.S_IMODE(Path(".panelica").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(".panelica/launch.passwords.csv").stat().st_mode) == 0o600


def test_apply_when_repeated_creates_nothing(panelica: Command, applied: Path) -> None:
    before = objects(Path(".panelica/sandbox.db"))
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 0
    assert "0 to create, 28 already there" in outcome.stderr
    assert "3 sites: 0 done, 3 already there, 0 failed." in outcome.stdout
    assert objects(Path(".panelica/sandbox.db")) == before
    assert not Path(".panelica/launch.journal.1.db").exists()


def test_apply_when_repeated_recreates_removed_objects(panelica: Command, applied: Path) -> None:
    before = objects(Path(".panelica/sandbox.db"))
    change_panel("DELETE FROM email_accounts WHERE email = 'info@site2.example'")
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 0
    assert "3 sites: 1 done, 2 already there, 0 failed." in outcome.stdout
    assert objects(Path(".panelica/sandbox.db")) == before
    undone = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert undone.stdout.startswith("28 objects removed, 0 objects left over; ")


def test_apply_when_manifest_changed_uses_same_journal(panelica: Command, applied: Path) -> None:
    for sites in (4, 5):
        write_manifest(applied, sites)
        outcome = panelica("provision", "apply", "launch.csv", *FAST)
        assert outcome.code == 0
        assert f"{sites} sites: 1 done, {sites - 1} already there, 0 failed." in outcome.stdout
    assert [path.name for path in Path(".panelica").glob("*.journal*.db")] == ["launch.journal.db"]
    # Undo also removes objects of an earlier run that are no longer in the manifest.
    write_manifest(applied, 1)
    panelica("provision", "apply", "launch.csv", *FAST)
    undone = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert (undone.code, undone.stdout.partition(";")[0]) == (0, "46 objects removed, 0 objects left over")


def test_runs_on_two_panels_are_independent(panelica: Command, applied: Path) -> None:
    outcome = panelica("provision", "apply", "launch.csv", *FAST, "--sandbox-db", "other.db")
    assert outcome.code == 0
    assert "3 sites: 3 done, 0 failed." in outcome.stdout
    assert objects(Path("other.db")) == objects(Path(".panelica/sandbox.db"))
    assert (
        len(list(Path(".panelica").glob("*.journal.db"))) == len(list(Path(".panelica").glob("*.passwords.csv"))) == 2
    )
    one, other = (
        {row["password"] for row in csv.DictReader(path.read_text().splitlines())}
        for path in Path(".panelica").glob("*.passwords.csv")
    )
    assert one.isdisjoint(other)
    undone = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--sandbox-db", "other.db")
    assert (undone.code, undone.stdout.partition(";")[0]) == (0, "28 objects removed, 0 objects left over")
    assert count_created(Path(".panelica/launch.journal.db")) == 28


def test_manifest_when_invalid_lists_all_problems(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(
        "domain,owner,email,ssl,php\n"
        "good.example,good,good@mail.example,yes,8.4\n"
        "not a domain,second,second@mail.example,yes,8.4\n"
        "third.example,third,no address,maybe,8.4\n"
        "good.example,good,good@mail.example,yes,eight\n"
    )
    outcome = panelica("provision", "apply", "bad.csv", *FAST)
    assert (outcome.code, outcome.stdout) == (2, "")
    lines = outcome.stderr.splitlines()
    places = [line.split()[:2] for line in lines if line.split()[0].isdigit()]
    assert places == [["3", "domain"], ["4", "email"], ["4", "ssl"], ["5", "domain"], ["5", "php"]]
    assert lines[0] == "Error: bad.csv: 5 problems"
    assert lines[-1].startswith("Hint: ")
    assert not Path(".panelica").exists()


def test_bad_rows_are_listed_in_json(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("domain,owner\nnot a domain,second\n")
    error = panelica("provision", "apply", "bad.csv", *FAST, "--json").json["error"]
    assert error["type"] == "ManifestError"
    assert [(problem["line"], problem["column"]) for problem in error["problems"]] == [(2, "domain")]


@pytest.mark.parametrize("name", ["missing.csv", "launch.txt"])
def test_manifest_when_unreadable_exits_2(panelica: Command, name: str, tmp_path: Path) -> None:
    (tmp_path / "launch.txt").touch()
    outcome = panelica("provision", "apply", name, *FAST)
    assert outcome.code == 2
    assert name in outcome.stderr


def test_failed_site_fails_alone_and_is_retried(panelica: Command, manifest: Path) -> None:
    panelica("api", "POST", "/v1/accounts", *FAST, "--data", json.dumps(
        {"username": "other", "email": "owner2@mail.example", "password": "correct horse 9"}
    ))  # fmt: skip
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 1
    assert "3 sites: 2 done, 1 failed." in outcome.stdout
    assert "site2.example" in outcome.stdout
    assert "Hint: " in outcome.stdout
    assert "panelica provision resume launch.csv --sandbox" in outcome.stdout
    assert "failed site2.example: account owner2" in outcome.stderr

    change_panel("UPDATE accounts SET email = 'other@mail.example' WHERE username = 'other'")
    outcome = panelica("provision", "resume", *FAST)
    assert outcome.code == 0
    assert "3 sites: 1 done, 2 already there, 0 failed." in outcome.stdout


def test_report_as_json_is_alone_on_stdout(panelica: Command, manifest: Path) -> None:
    outcome = panelica("provision", "apply", "launch.csv", *FAST, "--json")
    report = outcome.json
    assert outcome.code == 0
    assert report["counts"] == {"sites": 3, "done": 3, "exists": 0, "failed": 0, "unknown": 0, "skipped": 0}
    assert {site["status"] for site in report["sites"]} == {"done"}
    assert report["calls"] >= 28
    assert report["journal"] == ".panelica/launch.journal.db"
    assert report["error"] is None
    assert report["interrupted"] is False
    assert report["next_command"] == "panelica provision undo launch.csv --sandbox"
    assert "28 to create" in outcome.stderr


def test_passwords_are_in_their_file_and_nowhere_else(panelica: Command, manifest: Path) -> None:
    outcomes = [
        panelica("provision", *command, *FAST)
        for command in (["plan", "launch.csv", "--json"], ["apply", "launch.csv", "--json"], ["apply", "launch.csv"])
    ]
    outcomes.append(panelica("provision", "status", "--json"))
    with Path(".panelica/launch.passwords.csv").open(newline="") as file:
        passwords = [row["password"] for row in csv.DictReader(file)]
    connection = sqlite3.connect(".panelica/sandbox.db")
    secrets = [*passwords, connection.execute("SELECT api_secret FROM api_keys").fetchone()[0]]
    connection.close()
    assert len(passwords) == 3 + 3 + 4 + 3  # accounts, database users, mailboxes, FTP users
    shown = "".join(outcome.stdout + outcome.stderr for outcome in outcomes)
    shown += Path(".panelica/launch.journal.db").read_bytes().decode("latin-1")
    assert not [secret for secret in secrets if secret in shown]


def test_plan_shows_the_objects_and_only_reads(panelica: Command, manifest: Path) -> None:
    outcome = panelica("provision", "plan", "launch.csv", "--sandbox", "--sandbox-tier", "professional")
    assert outcome.code == 0
    rows = {line.rpartition("  ")[0].split("  ")[0]: line.split()[-4:] for line in outcome.stdout.splitlines()}
    assert rows["mailboxes"] == ["4", "-", "-", "-"]
    assert rows["DNS records"] == ["6", "-", "-", "-"]
    assert "28 writes to send, at least 0 s at 300 calls a minute and 10,000 calls an hour." in outcome.stdout
    assert "starter 20 s" in outcome.stdout
    assert objects(Path(".panelica/sandbox.db"))["domains"] == []
    assert not Path(".panelica/launch.journal.db").exists()


def test_plan_when_something_conflicts_exits_1(panelica: Command, applied: Path) -> None:
    change_panel("UPDATE accounts SET email = 'new@mail.example' WHERE username = 'owner1'")
    outcome = panelica("provision", "plan", "launch.csv", *FAST)
    assert outcome.code == 1
    assert "account owner1" in outcome.stdout
    plan = panelica("provision", "plan", "launch.csv", *FAST, "--json").json
    assert plan["counts"]["account"] == {"conflict": 1, "exists": 2}
    assert plan["estimated_seconds"] == 0


def test_plan_shows_why_an_account_is_not_created(panelica: Command, applied: Path) -> None:
    user = "(SELECT id FROM accounts WHERE username = 'owner{}')"
    change_panel(f"UPDATE domains SET user_id = {user.format(2)} WHERE user_id = {user.format(1)}")
    change_panel("DELETE FROM accounts WHERE username = 'owner1'")
    outcome = panelica("provision", "plan", "launch.csv", *FAST)
    assert "blocked" in next(line for line in outcome.stdout.splitlines() if "account owner1" in line)
    assert "it would stay empty" in outcome.stdout


def test_ignored_columns_are_named(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("Customer No,domain,owner,email\n7,own.example,own,own@mail.example\n")
    assert "Ignored columns: Customer No." in panelica("provision", "plan", "own.csv", *FAST).stdout


def test_status_makes_no_call(panelica: Command, applied: Path) -> None:
    Path(".panelica/sandbox.db").unlink()
    outcome = panelica("provision", "status")
    assert outcome.code == 0
    assert "28 created" in outcome.stdout
    assert "finished" in outcome.stdout
    [journal] = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert journal["counts"]["done"] == 28
    assert journal["next_command"] is None
    assert len(journal["runs"]) == 1


def test_certificates_not_yet_active_are_counted(panelica: Command, manifest: Path) -> None:
    report = panelica("provision", "apply", "launch.csv", *FAST, "--json").json
    again = panelica("provision", "apply", "launch.csv", *FAST)
    pending = "3 certificates were requested but not yet active at the last check"
    assert sorted(report["pending_certificates"]) == ["site1.example", "site2.example", "site3.example"]
    assert f"{pending}." in again.stderr
    assert f"{pending}." in again.stdout
    assert "Check      panelica provision resume launch.csv --sandbox" in again.stdout
    status = panelica("provision", "status", "launch.csv")
    assert f"{pending}." in status.stdout
    assert "Check      panelica provision resume .panelica/launch.journal.db --sandbox" in status.stdout

    change_panel("UPDATE certificates SET ready_at = 0 WHERE domain_id <> (SELECT min(domain_id) FROM certificates)")
    report = panelica("provision", "resume", "launch.csv", *FAST, "--json").json
    [waiting] = report["pending_certificates"]
    [journal] = panelica("provision", "status", "launch.csv", "--json").json["journals"]
    assert journal["pending_certificates"] == [waiting]
    assert journal["counts"]["done"] == 28


def test_apply_notes_passwords_that_are_not_set(panelica: Command, tmp_path: Path) -> None:
    launch = tmp_path / "own.csv"
    launch.write_text("domain,owner,email,password\nown.example,own,own@mail.example,FirstPass1\n")
    first = panelica("provision", "apply", "own.csv", *FAST)
    launch.write_text("domain,owner,email,password\nown.example,own,own@mail.example,SecondPass2\n")
    note = "its password is not changed to the one in the manifest (account own)."
    plan = panelica("provision", "plan", "own.csv", *FAST)
    again = panelica("provision", "apply", "own.csv", *FAST)
    assert "Note: " not in first.stdout + first.stderr
    assert note in plan.stdout
    assert note in again.stderr
    assert note in again.stdout
    [remark] = panelica("provision", "apply", "own.csv", *FAST, "--json").json["remarks"]
    assert remark["where"] == "account own"
    shown = plan.stdout + again.stdout + again.stderr
    assert "Pass1" not in shown
    assert "Pass2" not in shown


def test_status_without_journals_says_so(panelica: Command) -> None:
    assert panelica("provision", "status").stderr == "No journals in .panelica.\n"
    assert panelica("provision", "status", "--json").json == {"journals": []}
    outcome = panelica("provision", "status", "launch.csv")
    assert outcome.code == 2
    assert "launch.csv has no journal in .panelica" in outcome.stderr


def test_undo_removes_only_created_objects(panelica: Command, manifest: Path) -> None:
    panelica("api", "GET", "/v1/me", *FAST)
    before = objects(Path(".panelica/sandbox.db"))
    panelica("provision", "apply", "launch.csv", *FAST)
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert outcome.code == 0
    assert outcome.stdout.startswith("28 objects removed, 0 objects left over; ")
    assert objects(Path(".panelica/sandbox.db")) == before
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0


def test_undo_when_objects_are_kept_names_them(panelica: Command, applied: Path) -> None:
    change_panel(
        "INSERT INTO email_accounts SELECT 'foreign', 'boss@site1.example', domain_id, 100, 0, 0 FROM email_accounts"
        " WHERE email = 'info@site1.example'"
    )
    outcome = panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    assert outcome.code == 1
    assert "domain site1.example" in outcome.stdout
    report = panelica("provision", "undo", "launch.csv", "--yes", *FAST, "--json").json
    assert report["counts"]["removed"] == 0
    assert {entry["site"] for entry in report["objects"]} == {"site1.example"}


@pytest.mark.parametrize("command", ["resume", "undo"])
def test_journal_is_used_on_its_own_panel_only(panelica: Command, applied: Path, command: str) -> None:
    outcome = panelica("provision", command, "launch.csv", "--yes", *FAST, "--sandbox-db", "other.db")
    assert outcome.code == 2
    assert "http://sandbox-" in outcome.stderr
    assert ", not o" in outcome.stderr
    assert count_created(Path(".panelica/launch.journal.db")) == 28


def test_undo_without_a_terminal_needs_yes(panelica: Command, applied: Path) -> None:
    before = objects(Path(".panelica/sandbox.db"))
    outcome = panelica("provision", "undo", "launch.csv", *FAST)
    assert outcome.code == 2
    assert "deleting needs confirmation, but there is no terminal to ask on" in outcome.stderr
    assert "Hint: Pass --yes to skip the question." in outcome.stderr
    assert objects(Path(".panelica/sandbox.db")) == before


@pytest.mark.parametrize("command", ["apply", "resume"])
def test_writing_to_a_server_without_a_terminal_needs_yes(panelica: Command, applied: Path, command: str) -> None:
    # Nothing listens there: the command must not try.
    server = ("--base-url", "http://127.0.0.1:1", "--api-key", "pk_live_0123456789abcdef")
    outcome = panelica("provision", command, "launch.csv", *server)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "writing to a server needs confirmation, but there is no terminal to ask on" in outcome.stderr
    assert "Hint: Pass --yes to skip the question." in outcome.stderr


def test_resume_without_a_run_exits_2(panelica: Command) -> None:
    outcome = panelica("provision", "resume", *FAST)
    assert outcome.code == 2
    assert ".panelica holds no run to resume" in outcome.stderr
    assert panelica("provision", "resume", "launch.csv", *FAST).code == 2


@pytest.mark.parametrize("named", [(), ("launch.csv",), (".panelica/launch.journal.db",)])
def test_resume_after_undo_creates_nothing(panelica: Command, applied: Path, named: tuple[str, ...]) -> None:
    panelica("provision", "undo", "launch.csv", "--yes", *FAST)
    before = objects(Path(".panelica/sandbox.db"))
    outcome = panelica("provision", "resume", *named, *FAST)
    assert outcome.code == 2
    assert "was undone; there is nothing to resume" in outcome.stderr
    assert re.search(r"Hint: Run `panelica provision apply (FILE|\S*launch\.csv)[ `]", outcome.stderr)
    assert objects(Path(".panelica/sandbox.db")) == before
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    assert panelica("provision", "resume", *named, *FAST).code == 0


def test_resume_when_manifest_is_gone_names_undo(panelica: Command, applied: Path) -> None:
    applied.unlink()
    outcome = panelica("provision", "resume", "launch.csv", *FAST)
    assert outcome.code == 2
    assert "launch.csv: No such file" in outcome.stderr
    assert "provision apply" not in outcome.stderr
    assert "Hint: Put the file back there, or run `panelica provision undo " in outcome.stderr
    assert panelica("provision", "undo", str(Path(".panelica/launch.journal.db").resolve()), "--yes", *FAST).code == 0


def test_state_directory_may_be_another(panelica: Command, manifest: Path) -> None:
    outcome = panelica("provision", "apply", "launch.csv", *FAST, "--state-dir", "runs/first")
    assert outcome.code == 0
    assert "panelica provision undo launch.csv --sandbox --state-dir runs/first" in outcome.stdout
    assert Path("runs/first/sandbox.db").exists()
    assert not Path(".panelica").exists()


def test_run_when_key_is_rejected_ends_with_one_error(panelica: Command, applied: Path) -> None:
    write_manifest(applied, 5)
    change_panel("UPDATE api_keys SET revoked = 1")
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 1
    assert outcome.stderr.count("Error: ") == 1
    assert "401" in outcome.stderr


def test_run_on_current_panels_keeps_its_dialect(panelica: Command) -> None:
    columns = "domain,username,email,ssl,databases"
    Path("launch.csv").write_text(f"{columns}\nalder.example,alder,office@alder.example,yes,shop:reader+writer\n")
    on_panel = (*FAST, "--dialect", "panel")
    outcome = panelica("provision", "apply", "launch.csv", *on_panel)
    assert outcome.code == 0
    assert "1 site with 6 objects: 6 to create, 0 already there, 0 in conflict." in outcome.stderr
    assert "5 writes" in outcome.stderr
    status = panelica("provision", "status", "launch.csv")
    assert "resume .panelica/launch.journal.db --sandbox --dialect panel" in status.stdout

    database = ".panelica/sandbox-panel.db"
    refused = panelica("provision", "resume", "launch.csv", *FAST, "--dialect", "reference", "--sandbox-db", database)
    assert refused.code == 2
    assert "is the journal of runs in the dialect panel, not reference" in refused.stderr
    resumed = panelica("provision", "resume")
    assert "Using the embedded sandbox" in resumed.stderr
    assert "undo .panelica/launch.journal.db --sandbox --dialect panel\n" in resumed.stdout
    assert "1 site: 0 done, 1 already there, 0 failed." in resumed.stdout
    assert panelica("provision", "undo", "launch.csv", "--yes").code == 0
    assert objects(Path(database))["domains"] == []


def test_each_dialect_has_a_sandbox_and_a_journal_of_its_own(panelica: Command) -> None:
    write_manifest(Path("launch.csv"), 2)
    for dialect in ("reference", "panel"):
        outcome = panelica("provision", "apply", "launch.csv", *FAST, "--dialect", dialect)
        assert outcome.code == 0
        assert "2 sites: 2 done, 0 failed." in outcome.stdout
    for database in (".panelica/sandbox.db", ".panelica/sandbox-panel.db"):
        assert len(objects(Path(database))["domains"]) == 2


def test_plan_when_current_panels_lack_something_exits_1(panelica: Command) -> None:
    Path("launch.csv").write_text("domain,username,email,ssl,databases\na.example,a,a@a.example,self-signed,shop\n")
    outcome = panelica("provision", "plan", "launch.csv", *FAST, "--dialect", "panel", "--json")
    assert outcome.code == 1
    (site,) = outcome.json["sites"]
    assert {step["kind"]: step["verdict"] for step in site["steps"]} == {
        "account": "create",
        "domain": "create",
        "certificate": "conflict",
        "database": "conflict",
    }


def test_plan_notes_what_the_key_may_not_create(
    panelica: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "panelica_async.provision.plan._scopes_of_key", AsyncMock(return_value=("accounts:*", "domains:*", "dns:*"))
    )
    outcome = panelica("provision", "plan", "launch.csv", *FAST)
    assert "Note: the key lacks the scope email:write, so the panel will refuse to create these (mailboxes)." in (
        " ".join(outcome.stdout.split())
    )
