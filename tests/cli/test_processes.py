"""The command in a separate process: signals, pipes, terminals, a real server."""

import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.harness import (
    Command,
    Process,
    Terminal,
    count_created,
    has_hanging_call,
    objects,
    read_document,
    wait_until,
    write_manifest,
)

Start = Callable[..., Process]
OpenTerminal = Callable[..., Terminal]

# A burst of 50 calls, then 5 a second: a run of 136 calls takes 17 s on any machine.
SLOW = ("--sandbox", "--sandbox-tier", "professional")
FAST = ("--sandbox", "--sandbox-tier", "enterprise")
SITES = 15
JOURNAL = Path(".panelica/launch.journal.db")
DATABASE = Path(".panelica/sandbox.db")

pytestmark = pytest.mark.once


@pytest.fixture
def run_in_the_middle(panelica: Command, start: Start, tmp_path: Path) -> Process:
    """An apply that has created some of its 136 objects."""
    write_manifest(tmp_path / "launch.csv", SITES)
    process = start("provision", "apply", "launch.csv", *SLOW)
    wait_until(lambda: count_created(JOURNAL) >= 20)
    assert process.is_running
    return process


@pytest.fixture
def undisturbed(panelica: Command, tmp_path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The objects that an undisturbed run of the same manifest creates."""
    write_manifest(tmp_path / "launch.csv", SITES)
    assert panelica("provision", "apply", "launch.csv", *FAST, "--state-dir", "undisturbed").code == 0
    return objects(Path("undisturbed/sandbox.db"))


def test_resume_after_a_kill_creates_everything_once(
    panelica: Command, undisturbed: dict[str, list[tuple[object, ...]]], run_in_the_middle: Process
) -> None:
    run_in_the_middle.kill()
    assert objects(DATABASE) != undisturbed
    outcome = panelica("provision", "resume", *FAST)
    assert outcome.code == 0
    assert f"{SITES} sites: " in outcome.stdout
    assert objects(DATABASE) == undisturbed


def test_apply_after_a_kill_continues(
    panelica: Command, undisturbed: dict[str, list[tuple[object, ...]]], run_in_the_middle: Process
) -> None:
    run_in_the_middle.kill()
    assert "not finished" in panelica("provision", "status").stdout
    outcome = panelica("provision", "apply", "launch.csv", *FAST)
    assert outcome.code == 0
    assert "Continuing the run of " in outcome.stderr
    assert objects(DATABASE) == undisturbed


ignored_by_nohup = pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="nohup ignores it")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=ignored_by_nohup)])
def test_first_signal_waits_for_calls_in_flight(
    panelica: Command, run_in_the_middle: Process, number: signal.Signals
) -> None:
    run_in_the_middle.send(number)
    outcome = run_in_the_middle.end()
    assert outcome.code == 130
    assert "Stopping: finishing the calls in flight, sending no new ones." in outcome.stderr
    assert "not finished" in outcome.stdout
    assert "Continue   panelica provision resume launch.csv --sandbox" in outcome.stdout
    [journal] = panelica("provision", "status", "--json").json["journals"]
    assert (journal["bad"], journal["counts"]["unknown"], journal["counts"]["sent"]) == ([], 0, 0)


def test_second_signal_stops_at_once(
    panelica: Command, undisturbed: dict[str, list[tuple[object, ...]]], run_in_the_middle: Process
) -> None:
    run_in_the_middle.send(signal.SIGINT)
    run_in_the_middle.send(signal.SIGTERM)
    outcome = run_in_the_middle.end()
    assert outcome.code == 130
    assert "panelica provision resume launch.csv --sandbox" in outcome.stdout
    assert panelica("provision", "resume", "launch.csv", *FAST).code == 0
    assert objects(DATABASE) == undisturbed


def test_second_signal_reports_calls_in_flight(
    panelica: Command, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path / "launch.csv", SITES)
    faulty = ("--tier", "enterprise", "--fault", "hangs_after:11")
    server = start("sandbox", "--port", "0", "--db", "panel.db", *faulty, "--json")
    for name, value in read_document(server).items():
        monkeypatch.setenv(f"PANELICA_{name.upper()}", value)
    run = start("provision", "apply", "launch.csv", "--yes")
    wait_until(lambda: has_hanging_call(JOURNAL))
    run.send(signal.SIGINT)
    run.send(signal.SIGTERM)
    outcome = run.end()
    assert outcome.code == 130
    [journal] = panelica("provision", "status", "--json").json["journals"]
    uncertain = [entry for entry in journal["bad"] if entry["state"] == "unknown"]
    assert uncertain != []
    assert f" {len({entry['site'] for entry in uncertain})} uncertain" in outcome.stdout
    assert [entry["name"] for entry in uncertain if entry["name"] not in outcome.stdout] == []
    assert "Hint: Check in the panel whether it exists" in outcome.stdout
    assert "CancelledError" not in outcome.stderr


def test_resume_when_journal_is_in_use_exits_2(panelica: Command, run_in_the_middle: Process) -> None:
    outcome = panelica("provision", "resume", "launch.csv", *FAST)
    assert outcome.code == 2
    assert "in use by another process" in outcome.stderr


def test_status_when_a_run_is_under_way_says_so(panelica: Command, run_in_the_middle: Process) -> None:
    shown = panelica("provision", "status").stdout
    assert ", under way (1 run)" in shown
    assert "In use     Another process is working on it" in shown
    assert "Continue" not in shown
    [journal] = panelica("provision", "status", "--json").json["journals"]
    assert (journal["in_use"], journal["next_command"]) == (True, None)
    run_in_the_middle.kill()
    assert "Continue" in panelica("provision", "status").stdout
    [journal] = panelica("provision", "status", "--json").json["journals"]
    assert journal["in_use"] is False


def test_without_a_terminal_there_are_no_control_characters(start: Start, manifest: Path) -> None:
    for command in (
        ["--help"],
        ["provision", "apply", "launch.csv", *FAST],
        ["provision", "plan", "launch.csv", *FAST],
    ):
        outcome = start(*command).end()
        assert outcome.code == 0
        text = outcome.stdout + outcome.stderr
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_apply_on_a_terminal_shows_bars(
    panelica: Command, terminal: OpenTerminal, manifest: Path, columns: int
) -> None:
    run = terminal("provision", "apply", "launch.csv", *FAST, columns=columns)
    assert run.end() == 0
    assert "3 sites: " in run.text
    assert "[y/N]" not in run.text
    [sites], [writes] = ([line for line in run.screen if line.startswith(word)] for word in ("Sites ", "Writes "))
    assert re.match(r"Sites   ━{10,}  +3/3  done site\d\.example", sites)
    assert re.match(r"Writes  ━{10,}  28/28", writes)


@pytest.mark.parametrize("signals", [1, 2])
def test_interrupt_on_a_terminal_leaves_the_bars_once(
    panelica: Command, terminal: OpenTerminal, tmp_path: Path, signals: int
) -> None:
    write_manifest(tmp_path / "launch.csv", SITES)
    run = terminal("provision", "apply", "launch.csv", *SLOW, columns=60)
    wait_until(lambda: count_created(JOURNAL) >= 20)
    for number in range(signals):
        run.type("\x03")
        run.read_until("Stopping:" if number == 0 else f"{SITES} sites:")
    assert run.end() == 130
    assert len([line for line in run.screen if line.startswith("Sites ")]) == 1
    assert len([line for line in run.screen if line.startswith("Writes ")]) == 1
    assert not [line for line in run.screen if line.startswith("call ")]


def test_apply_on_a_terminal_asks_before_writing(
    panelica: Command, start: Start, terminal: OpenTerminal, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("sandbox", "--port", "0", "--tier", "enterprise", "--json")
    for name, value in read_document(server).items():
        monkeypatch.setenv(f"PANELICA_{name.upper()}", value)

    def asked(*options: str) -> Terminal:
        run = terminal("provision", "apply", "launch.csv", *options)
        run.read_until("Create 28 objects on http://127.0.0.1")
        return run

    refused = asked("--json")
    refused.type("n\n")
    assert refused.end() == 130
    assert '"message": "Nothing was sent."' in refused.text
    interrupted = asked()
    interrupted.interrupt()
    assert interrupted.end() == 130
    assert panelica("api", "GET", "/v1/domains").json == []
    accepted = asked()
    accepted.type("y\n")
    assert accepted.end() == 0
    assert len(panelica("api", "GET", "/v1/domains").json) == 3


def test_undo_of_the_sandbox_asks_on_a_terminal(panelica: Command, terminal: OpenTerminal, manifest: Path) -> None:
    assert panelica("provision", "apply", "launch.csv", *FAST).code == 0
    there = objects(DATABASE)

    def answered(answer: str) -> int:
        undo = terminal("provision", "undo", "launch.csv", *FAST)
        undo.read_until("[y/N]")
        undo.type(answer)
        return undo.end()

    assert answered("n\n") == 130
    assert objects(DATABASE) == there
    assert answered("y\n") == 0
    assert objects(DATABASE)["domains"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"]])
def test_interrupt_before_the_first_call_exits_130(
    start: Start, manifest: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], number: signal.Signals
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", "sk_live_0123456789abcdef")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = ("--base-url", address, "--api-key", "pk_live_0123456789abcdef", "--json")
        # A background job of a script inherits ignored signals.
        before = signal.signal(number, signal.SIG_IGN)
        process = start("provision", *command, "launch.csv", *options)
        signal.signal(number, before)
        with silent.accept()[0]:
            process.send(number)
            outcome = process.end()
    assert outcome.code == 130
    message = "Interrupted. Nothing was changed on the panel."
    assert outcome.json == {"error": {"type": "Interrupted", "message": message, "hint": None}}
    assert outcome.stderr.splitlines()[-1] == message


def test_sandbox_serves_until_it_is_stopped(
    panelica: Command, start: Start, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("sandbox", "--port", "0", "--db", "panel.db", "--tier", "enterprise")
    exported = ""
    while exported != "PANELICA_API_SECRET":
        line = server.read_line()
        if line.startswith("export "):
            exported, _, value = line.removeprefix("export ").strip().partition("=")
            monkeypatch.setenv(exported, value)
    assert panelica("provision", "apply", "launch.csv", "--yes").code == 0
    assert panelica("provision", "undo", "launch.csv", "--yes").code == 0
    server.send(signal.SIGINT)
    outcome = server.end()
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "", "Stopped.\n")


def test_sandbox_announces_itself_as_json_and_keeps_its_key(start: Start, tmp_path: Path) -> None:
    def announced() -> dict[str, str]:
        server = start("sandbox", "--port", "0", "--db", "panel.db", "--json")
        access = read_document(server)
        server.send(signal.SIGTERM)
        assert server.end().code == 0
        return access

    first, second = announced(), announced()
    assert first["base_url"].startswith("http://127.0.0.1:")
    assert (first["api_key"], first["api_secret"]) == (second["api_key"], second["api_secret"])


def test_sandbox_when_it_cannot_start_exits_2(panelica: Command, start: Start) -> None:
    port = read_document(start("sandbox", "--port", "0", "--json"))["base_url"].split(":")[2].split("/")[0]
    outcome = panelica("sandbox", "--port", port)
    assert outcome.code == 2
    assert "address already in use" in outcome.stderr
    assert panelica("sandbox", "--tier", "gold").code == 2
    sqlite3.connect("other.db").execute("PRAGMA user_version = 99").connection.close()
    outcome = panelica("sandbox", "--db", "other.db")
    assert outcome.code == 2
    assert "the sandbox cannot start: other.db has the schema 99" in outcome.stderr
