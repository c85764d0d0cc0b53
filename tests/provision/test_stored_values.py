"""Values in journals and files of passwords that no run has written: named in words, and no burden for the loop."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from panelica_async import ConfigurationError, PanelicaClient
from panelica_async.provision import CredentialsFile, Journal, Manifest, apply
from panelica_async.provision.journal import opened
from tests.support.loop_watch import longest_step

MANIFEST = Manifest.from_data([{"domain": "a.example", "owner": "ann", "email": "ann@mail.example"}])
LONGEST_STEP = 0.05
"""Seconds of processor time that one pass of the loop may take."""
MANY = 10_000
ODD = ("'x'", "9e999", "-1e18", "x'00ff'", "''")
STATEMENTS = [
    *(f"UPDATE step SET {column} = {value}" for column in ("at", "id", "kind", "site", "state") for value in ODD),
    *(
        f"UPDATE run SET {column} = {value}"
        for column in ("started_at", "base_url", "manifest_digest")
        for value in ODD
    ),
    "UPDATE run SET manifest_reading = '[[[['",
    "UPDATE run SET manifest_reading = replace(hex(zeroblob(50000)), '0', '[')",
]


def change(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(statement)


@pytest.fixture
async def journal(tmp_path: Path, panel: PanelicaClient) -> Path:
    """The journal of a run that is done."""
    path = tmp_path / "run.journal"
    async for _ in apply(panel, MANIFEST, journal=path, credentials=tmp_path / "passwords.csv"):
        pass
    return path


async def step_of_another_run(panel: PanelicaClient, path: Path) -> float:
    over = asyncio.Event()
    watch = asyncio.ensure_future(longest_step(over))
    await asyncio.sleep(0)
    async for _ in apply(panel, MANIFEST, journal=path, credentials=path.parent / "passwords.csv"):
        pass
    over.set()
    return await watch


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_odd_values_are_configuration_errors(panel: PanelicaClient, journal: Path, statement: str) -> None:
    change(journal, statement)
    with contextlib.suppress(ConfigurationError):
        async for _ in apply(panel, MANIFEST, journal=journal):
            pass


@pytest.mark.parametrize("row", [b"\xff\xfe,x,y,z\n", b"account,x.example,x," + b"p" * 200_000 + b"\n", b"a,b,c,d,e\n"])
def test_odd_rows_of_passwords_are_configuration_errors(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path):
        pass
    with path.open("ab") as file:
        file.write(row)
    with pytest.raises(ConfigurationError) as caught:
        CredentialsFile(path)
    assert "ppp" not in str(caught.value)


@pytest.mark.once
async def test_large_journal_holds_up_no_loop(panel: PanelicaClient, journal: Path) -> None:
    change(
        journal,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) INSERT INTO step "
        "(run, at, id, kind, site, state, object_id) SELECT 1, '2026-01-01T00:00:00+00:00', 'domain:x' || i, 'domain', "
        "'x' || i || '.example', 'done', 'd' || i FROM n",
    )
    assert await step_of_another_run(panel, journal) < LONGEST_STEP


@pytest.mark.once
async def test_large_file_of_passwords_holds_up_no_loop(panel: PanelicaClient, journal: Path) -> None:
    with (journal.parent / "passwords.csv").open("ab") as file:
        file.write(b"".join(b"account,x%d.example,x%d,Passw0rd-%d\n" % (i, i, i) for i in range(5 * MANY)))
    assert await step_of_another_run(panel, journal) < LONGEST_STEP


async def test_large_journal_is_closed_when_opening_is_cancelled(journal: Path) -> None:
    change(journal, "UPDATE step SET reason = hex(zeroblob(200000))")
    task = asyncio.ensure_future(opened(Journal.open, journal))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ConfigurationError):
                Journal.open(journal).close()
                return
            await asyncio.sleep(0.01)
