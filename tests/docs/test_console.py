"""Console blocks of README and docs: each is run as it is printed, or listed with the reason why it is not."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from panelica_async import PanelicaClient
from panelica_async.sandbox import Sandbox

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
API_KEY = "pk_live_4db512a95b2a49e5c3c877bbe8f55252"
API_SECRET = "sk_live_0123456789abcdef0123456789abcdef"  # gitleaks:allow
DOMAIN_ID = "0f902c9e-5326-4f4f-8fa1-6bb11e9cc336"

INSTALLS = "installs from an index"
PUBLISHES = "builds, signs or publishes a release"
TAKES_LONG = "takes 43 s; `nox -s demo` runs it"
SERVES = "serves until it is stopped; tests/cli/commands/test_sandbox.py runs it"
NOT_RUN = {
    "python3 -m venv": INSTALLS,
    "pip install": INSTALLS,
    "$ panelica provision apply examples/launch.csv": TAKES_LONG,
    "panelica sandbox --port 3002": SERVES,
    "openssl s_client": "asks the panel's own server",
    "python -m pip install build": PUBLISHES,
    "python -m venv /tmp/release": INSTALLS,
    "git tag": PUBLISHES,
    "git push": PUBLISHES,
    "nox -s": "runs a session of nox",
    ".venv/bin/python -m tests.support.": "writes into the clone",
}
UNTIL_IT_SERVES = """--port 0 > served & until grep -q https:// served; do sleep 0.1; done
    kill $!; wait $! || test $? = 130"""
WITH_OUTPUT = {"$ panelica doctor", "$ panelica sign"}
ON_A_CURRENT_PANEL = "panelica spec diff"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = [(page.name, number, block) for page in PAGES for number, block in enumerate(blocks(page), 1)]
RUN = [
    pytest.param(block, id=f"{name}-{number}")
    for name, number, block in BLOCKS
    if not block.startswith((*NOT_RUN, *WITH_OUTPUT, ON_A_CURRENT_PANEL))
]


@attrs.frozen
class Shell:
    """A folder with the files that the blocks name, and an environment that points at a sandbox."""

    folder: Path
    environment: dict[str, str]

    async def run(self, script: str) -> str:
        """Run a script of commands; return what it prints."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script,
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0 or "doctor" in script, output
        return output


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    programs = tmp_path / "bin"
    programs.mkdir()
    python, project = shlex.quote(sys.executable), shlex.quote(str(PROJECT))
    # There is no terminal to ask on, which is where the pages say to use --yes.
    command = f"""#!/bin/sh
        case "$1 $2" in "provision apply"|"provision resume") set -- "$@" --yes;; esac
        PYTHONPATH={project} exec {python} -c "from panelica_async.cli import main; main()" "$@"
    """
    for name, text in {"panelica": command, "pass": f"#!/bin/sh\necho {API_SECRET}\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "launch.csv").write_text(
        "domain,username,email,ssl\none.example,one,one@example.com,yes\ntwo.example,two,two@example.com,no\n"
    )
    (tmp_path / "export.csv").write_text(
        "domain,Kunde,email,Tarif,Databases\none.example,one,one@example.com,Starter,3\n"
    )
    (tmp_path / "changes.json").write_text('{"php_version": "8.3"}')
    async with Sandbox(tier="enterprise", api_key=API_KEY, api_secret=API_SECRET) as box:
        async with PanelicaClient(box.base_url, api_key=API_KEY, api_secret=API_SECRET) as panel:
            account = await panel.accounts.create(username="acme2", email="acme2@example.com", password="good horse 9")
            domain = await panel.domains.create(domain="acme.example", user_id=account.id)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PANELICA_")}
        yield Shell(
            tmp_path,
            environment
            | {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PANELICA_BASE_URL": box.base_url,
                "PANELICA_API_KEY": API_KEY,
                "PANELICA_API_SECRET": API_SECRET,
                "ZONE": domain.id,
                "NO_COLOR": "1",
            },
        )


@pytest.mark.parametrize("block", RUN)
async def test_every_command_runs(shell: Shell, block: str) -> None:
    # It serves until it is stopped.
    block = re.sub(r"^(panelica sandbox .*)", rf"\1 {UNTIL_IT_SERVES}", block, flags=re.MULTILINE)
    # It finds nothing when all went well.
    block = re.sub(r"^(\$ grep .*)", r"\1 || test $? = 1", block, flags=re.MULTILINE)
    await shell.run(re.sub(r"^\$ ", "", block, flags=re.MULTILINE).replace(DOMAIN_ID, shell.environment["ZONE"]))


async def test_commands_for_a_catalogue_run_on_a_current_panel(shell: Shell) -> None:
    [block] = [block for _, _, block in BLOCKS if block.startswith(ON_A_CURRENT_PANEL)]
    async with Sandbox(dialect="panel", tier="enterprise", api_key=API_KEY, api_secret=API_SECRET) as box:
        shell.environment["PANELICA_BASE_URL"] = box.base_url
        assert await shell.run(block)


def sample(start: str) -> tuple[str, str]:
    """Return the command of a block, and what the page says that it prints."""
    [block] = [block for _, _, block in BLOCKS if block.startswith(start)]
    command, _, output = block.partition("\n")
    return command.removeprefix("$ "), output


async def test_sign_prints_the_sample_of_the_page(shell: Shell) -> None:
    command, output = sample("$ panelica sign")
    assert await shell.run(command) == output


async def test_doctor_prints_the_sample_of_the_page(shell: Shell) -> None:
    command, output = sample("$ panelica doctor")
    async with Sandbox(clock=lambda: time.time() + 1200, api_key=API_KEY) as box:
        port = re.findall(r":(\d+)/", box.base_url)[0]
        shell.environment["PANELICA_BASE_URL"] = f"http://127.0.0.1:{port}"
        assert (await shell.run(command)).replace(port, "3002") == output


APPLY = "$ panelica provision apply examples/launch.csv"


def test_both_pages_show_the_same_sample() -> None:
    samples = [block for _, _, block in BLOCKS if block.startswith(APPLY)]
    assert len(samples) == 2
    assert samples[0] == samples[1]


async def test_sample_of_apply_has_the_lines_of_the_plan(shell: Shell) -> None:
    block = next(block for _, _, block in BLOCKS if block.startswith(APPLY))
    manifest = shlex.quote(str(PROJECT / "examples" / "launch.csv"))
    plan = (await shell.run(f"panelica provision plan {manifest} --sandbox")).splitlines()
    _, _, *lines = block.partition("\nsites ")[0].splitlines()
    assert len(lines) == 3
    assert [line for line in lines if line not in plan] == []


def shape(line: str) -> str:
    """Return a line without its numbers, so that a report of few sites compares with one of many."""
    line = line.replace("certificate was", "certificates were")
    return re.sub(r"\d[\d,]*", "0", re.sub(r"\bsite\b", "sites", line))


async def test_sample_of_apply_has_the_lines_of_a_report(shell: Shell) -> None:
    block = next(block for _, _, block in BLOCKS if block.startswith(APPLY))
    command, *lines = block.splitlines()
    (shell.folder / "examples").mkdir()
    (shell.folder / "examples" / "launch.csv").write_text(
        "Customer No,Customer Since,domain,username,email,ssl\n7,2019,one.example,one,one@example.com,yes\n"
    )
    printed = {shape(line) for line in (await shell.run(command.removeprefix("$ "))).splitlines()}
    # Progress is printed every few seconds, and this run is over before.
    expected = [line for line in map(shape, lines) if not line.startswith(("sites ", "…"))]
    assert [line for line in expected if line not in printed] == []


def test_every_reason_to_leave_out_a_block_is_needed() -> None:
    for start in (*NOT_RUN, *WITH_OUTPUT):
        assert any(block.startswith(start) for _, _, block in BLOCKS), start


def documented_keys(command: str) -> set[str]:
    """Return the keys that the page lists for the JSON document of a command, without those of objects in it."""
    page = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| (?:`\w+`, )?`{command}`(?:, `\w+`)? \| (`\w+`.*) \|$", page, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|, each with.*", "", row)))


JSON_COMMANDS = {
    "plan": "provision plan launch.csv",
    "apply": "provision apply launch.csv",
    "resume": "provision resume launch.csv",
    "status": "provision status launch.csv",
    "undo": "provision undo launch.csv --yes",
    "api": "api GET /v1/me",
    "doctor": "doctor",
    "sign": "sign GET /v1/me --curl",
}


async def test_json_documents_have_the_keys_of_the_table(shell: Shell) -> None:
    for name, command in JSON_COMMANDS.items():
        printed = await shell.run(f"panelica {command} --json 2>/dev/null")
        assert documented_keys(name) == set(json.loads(printed)), name
