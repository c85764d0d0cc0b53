"""Standard output and standard error when writing fails, or their encoding lacks characters."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.cli.harness import MAIN, Command, Process, environment, objects, read_document

FULL = Path("/dev/full")
FAST = ("--sandbox", "--sandbox-tier", "enterprise")
SIGN = ("sign", "GET", "/v1/me", "--api-key", "pk_live_0123456789abcdef")

pytestmark = [pytest.mark.once, pytest.mark.skipif(not FULL.exists(), reason="needs a file that is always full")]


def run(
    *arguments: str,
    stdout: IO[str] | int = subprocess.PIPE,
    stderr: IO[str] | int = subprocess.PIPE,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment(**variables),
        text=True,
        check=False,
    )


def run_limited(blocks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose files are limited to a number of 512-byte blocks, as on a full disk."""
    limited = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-c", MAIN]
    return subprocess.run(
        [*limited, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        text=True,
        check=False,
    )


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_result_when_stdout_is_full_is_one_error(panelica: Command, option: list[str]) -> None:
    with FULL.open("w") as full:
        ended = run(*SIGN, *option, stdout=full, PANELICA_API_SECRET="sk_live_0123456789abcdef")
    assert ended.returncode == 1
    assert ended.stderr == "Error: standard output: No space left on device\n"


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_when_stdout_is_full_is_one_error(option: str) -> None:
    with FULL.open("w") as full:
        ended = run(option, stdout=full)
    assert (ended.returncode, ended.stderr) == (1, "Error: standard output: No space left on device\n")


def test_error_when_stdout_is_full_goes_to_stderr(panelica: Command) -> None:
    with FULL.open("w") as full:
        ended = run("provision", "apply", "none.csv", "--json", *FAST, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr == "Error: standard output: No space left on device\n"


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_run_when_stdout_is_full_exits_1(panelica: Command, manifest: Path, option: list[str]) -> None:
    with FULL.open("w") as full:
        ended = run("provision", "apply", "launch.csv", *FAST, *option, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr.endswith("Error: standard output: No space left on device\n")
    assert len(objects(Path(".panelica/sandbox.db"))["domains"]) == 3


@pytest.fixture
def bad_site(panelica: Command, manifest: Path) -> None:
    """One of the three sites of the manifest fails, and the command says so at once."""
    taken = {"username": "other", "email": "owner2@mail.example", "password": "correct horse 9"}
    assert panelica("api", "POST", "/v1/accounts", *FAST, "--data", json.dumps(taken)).code == 0


@pytest.mark.usefixtures("bad_site")
def test_run_when_stderr_is_full_continues() -> None:
    with FULL.open("w") as full:
        ended = run("provision", "apply", "launch.csv", *FAST, "--json", stderr=full)
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    assert report["counts"] == {"sites": 3, "done": 2, "exists": 0, "failed": 1, "unknown": 0, "skipped": 0}


@pytest.mark.usefixtures("bad_site")
def test_run_when_stderr_is_closed_continues(start: Callable[..., Process]) -> None:
    process = start("provision", "apply", "launch.csv", *FAST, "--json")
    process.close_messages()
    report = read_document(process)
    assert process.wait() == 1
    assert report["counts"] == {"sites": 3, "done": 2, "exists": 0, "failed": 1, "unknown": 0, "skipped": 0}


def test_run_when_journal_is_full_names_it_and_resumes(
    panelica: Command, start: Callable[..., Process], manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("sandbox", "--port", "0", "--db", "panel.db", "--tier", "enterprise", "--json")
    for name, value in read_document(server).items():
        monkeypatch.setenv(f"PANELICA_{name.upper()}", value)
    ended = run_limited(2, "provision", "apply", "launch.csv", "--yes", "--json")
    assert ended.returncode == 2
    assert "launch.journal.db as a journal: " in json.loads(ended.stdout)["error"]["message"]
    assert json.loads(ended.stdout)["error"]["hint"].startswith("Free space")

    ended = run_limited(128, "provision", "apply", "launch.csv", "--yes", "--json")
    report = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert report["error"]["message"].startswith(
        f"{Path('.panelica/launch.journal.db').absolute()} cannot be written: "
    )
    assert "then run `resume`" in report["error"]["hint"]
    assert [step["status"] for site in report["sites"] for step in site["steps"]].count("created") > 0
    assert "Traceback" not in ended.stderr
    assert panelica("provision", "resume", "launch.csv", "--yes").code == 0
    assert len(objects(Path("panel.db"))["mailboxes"]) == 4


def test_run_without_streams_continues(panelica: Command, manifest: Path) -> None:
    command = [sys.executable, "-c", MAIN, "provision", "apply", "launch.csv", *FAST]
    ended = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], env=environment(), check=False)
    assert ended.returncode == 1  # the report could not be written
    assert len(objects(Path(".panelica/sandbox.db"))["domains"]) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["sign", "POST", "/v1/x", "-d", "-"], "Error: standard input: Bad file descriptor"),
        (["api", "GET", "/v1/me", "--base-url", "127.0.0.1:1", "--api-key", "k"], "Error: the API secret is missing"),
    ],
)
def test_command_without_stdin_is_one_error(panelica: Command, arguments: list[str], error: str) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", MAIN, *arguments]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[0]) == (2, error)


@pytest.mark.parametrize("encoding", ["cp437", "latin-1", "ascii"])
def test_output_in_a_limited_encoding_is_printed(panelica: Command, encoding: str) -> None:
    ended = run("doctor", *FAST, PYTHONIOENCODING=f"{encoding}:strict")
    assert ended.returncode == 0
    assert "the panel accepts the key pk_live_" in ended.stdout


def test_json_in_a_limited_encoding_is_complete(panelica: Command) -> None:
    field = json.dumps({"name": "Größe 日本", "max_domains": 1})
    ended = run("api", "POST", "/v1/plans", *FAST, "--json", "--data", field, PYTHONIOENCODING="ascii:strict")
    assert json.loads(ended.stdout)["data"]["name"] == "Größe 日本"


def test_output_without_a_terminal_width_is_printed(panelica: Command) -> None:
    ended = run("doctor", *FAST, COLUMNS="0")
    assert "All checks passed." in ended.stdout
