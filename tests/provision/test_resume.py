"""A run that is broken off, or loses a reply, at any call ends in the state of an undisturbed run."""

import asyncio
import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from panelica_async.provision import Journal, Manifest, State, apply, resume
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Decide, Fault, FaultyPanel, fail_at, fail_every
from tests.provision.launching import SITES, WRITES, client, collect, state, statuses

MANIFEST = Manifest.from_data(SITES)
DONE = {site.domain: "done" for site in MANIFEST.sites}

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    async def run() -> dict[str, list[tuple[object, ...]]]:
        async with Sandbox(tier="enterprise") as box, client(box) as panel:
            credentials = tmp_path_factory.mktemp("undisturbed") / "passwords.csv"
            assert statuses(await collect(apply(panel, MANIFEST, credentials=credentials))) == DONE
            return state(box)

    return asyncio.run(run())


def passwords(path: Path) -> set[str]:
    with path.open(newline="") as file:
        return {row["password"] for row in csv.DictReader(file)} | {"correct-horse"}


def valid_passwords(path: Path) -> set[str]:
    """Return the passwords that were not taken back: the last one of each object."""
    with path.open(newline="") as file:
        last = {(row["kind"], row["name"]): row["password"] for row in csv.DictReader(file)}
    return {password for password in last.values() if password} | {"correct-horse"}


LOST = [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.GATEWAY_BEFORE, Fault.GATEWAY_AFTER, Fault.GARBLED_REPLY]


@pytest.mark.parametrize("fault", LOST, ids=[fault.name for fault in LOST])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
async def test_lost_reply_at_any_call_changes_nothing(
    undisturbed: dict[str, list[tuple[object, ...]]], tmp_path: Path, number: int, fault: Fault
) -> None:
    credentials = tmp_path / "passwords.csv"
    async with (
        Sandbox(tier="enterprise") as box,
        FaultyPanel(box, fail_at(number, fault)) as proxy,
        client(box, proxy.base_url) as panel,
    ):
        outcomes = await collect(apply(panel, MANIFEST, credentials=credentials, concurrency=2, settle=0))

        assert proxy.reached.is_set()
        assert statuses(outcomes) == DONE
        assert state(box) == undisturbed
        assert proxy.passwords == passwords(credentials)
        was_seen = fault in {Fault.LOST_REPLY, Fault.GATEWAY_AFTER, Fault.GARBLED_REPLY}
        assert proxy.writes == WRITES + (not was_seen)


def copy_journal(source: Path, target: Path) -> None:
    """Copy what is on the disk at this moment."""
    for suffix in ("", "-wal"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
        if Path(f"{source}{suffix}").exists():
            shutil.copy(f"{source}{suffix}", f"{target}{suffix}")


async def killed(box: Sandbox, proxy: FaultyPanel, journal: Path, credentials: Path, concurrency: int) -> bool:
    """Run until a call hangs, and leave the files as a killed process would; return whether it was killed."""
    live = journal.with_suffix(".live")
    copy_journal(journal, live)
    async with client(box, proxy.base_url) as panel:
        run = collect(apply(panel, MANIFEST, journal=live, credentials=credentials, concurrency=concurrency, settle=0))
        task = asyncio.create_task(run)
        reached = asyncio.create_task(proxy.reached.wait())
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        was_killed = not task.done()
        proxy.reached.clear()
        copy_journal(live, journal)
        for pending in (task, reached):
            pending.cancel()
        await asyncio.gather(task, reached, return_exceptions=True)
    return was_killed


@pytest.mark.parametrize("fault", [Fault.HANGS_BEFORE, Fault.HANGS_AFTER], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
async def test_run_killed_at_any_call_is_completed(
    undisturbed: dict[str, list[tuple[object, ...]]], tmp_path: Path, number: int, fault: Fault
) -> None:
    journal, credentials = tmp_path / "run.journal", tmp_path / "passwords.csv"
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box, fail_at(number, fault)) as proxy:
        assert await killed(box, proxy, journal, credentials, concurrency=1)
        with Journal.open(journal, read_only=True) as notes:
            assert [record.state for record in notes.records.values()] == [State.DONE] * (number - 1) + [State.SENT]

        async with client(box, proxy.base_url) as panel:
            outcomes = await collect(apply(panel, MANIFEST, journal=journal, credentials=credentials, settle=0))

        assert set(statuses(outcomes).values()) <= {"done", "exists"}
        assert state(box) == undisturbed
        assert proxy.passwords == passwords(credentials)
        assert proxy.writes == WRITES + (fault is Fault.HANGS_BEFORE)
        with Journal.open(journal, read_only=True) as notes:
            assert {record.state for record in notes.records.values()} == {State.DONE}
            assert len(notes.records) == WRITES


@pytest.mark.parametrize(
    "decide",
    [
        pytest.param(fail_every(4, Fault.HANGS_BEFORE), id="every fourth call, before"),
        pytest.param(fail_every(4, Fault.HANGS_AFTER), id="every fourth call, after"),
        pytest.param(fail_every(1, Fault.HANGS_AFTER), id="every call, after"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_run_killed_again_and_again_is_completed(
    undisturbed: dict[str, list[tuple[object, ...]]], tmp_path: Path, decide: Decide, concurrency: int
) -> None:
    journal, credentials = tmp_path / "run.journal", tmp_path / "passwords.csv"
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box, decide) as proxy:
        runs = 1
        while await killed(box, proxy, journal, credentials, concurrency):
            runs += 1
            assert runs <= WRITES + 1

        assert state(box) == undisturbed
        assert runs > 3
        # A run may have been broken off between a password and its call, and then takes it back.
        assert proxy.passwords <= passwords(credentials)
        assert proxy.used_passwords == valid_passwords(credentials)


PROGRAM = """
import asyncio, sys
from panelica_async import PanelicaClient
from panelica_async.provision import Manifest, apply

async def main(base_url, key, secret, manifest, journal, credentials):
    async with PanelicaClient(base_url, api_key=key, api_secret=secret, tier="enterprise") as panel:
        async for outcome in apply(panel, Manifest.load(manifest), journal=journal, credentials=credentials):
            print(outcome.domain, outcome.status, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("fault", [Fault.HANGS_BEFORE, Fault.HANGS_AFTER], ids=["before", "after"])
async def test_killed_process_is_resumed_by_another(
    undisturbed: dict[str, list[tuple[object, ...]]], tmp_path: Path, fault: Fault
) -> None:
    manifest, journal, credentials = tmp_path / "sites.json", tmp_path / "run.journal", tmp_path / "passwords.csv"
    manifest.write_text(json.dumps(SITES))
    async with Sandbox(tier="enterprise") as box, FaultyPanel(box, fail_at(12, fault)) as proxy:
        arguments = [proxy.base_url, box.api_key, box.api_secret, str(manifest), str(journal), str(credentials)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, cwd=Path(__file__).parents[2]
        )
        await proxy.reached.wait()
        os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL

        async with client(box, proxy.base_url) as panel:
            outcomes = await collect(resume(panel, journal, settle=0))

        assert set(statuses(outcomes).values()) <= {"done", "exists"}
        assert state(box) == undisturbed
        assert proxy.passwords == passwords(credentials)
