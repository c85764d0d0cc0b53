"""Plans and journals that `apply` meets in a service: used twice, by two runs, on another panel, or only to read."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import CredentialsFile, Journal, Manifest, Plan, State, apply, resume, undo
from panelica_async.provision.objects import AccountStep
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel
from tests.provision.launching import SITES, WRITES, client, collect, state, statuses

pytestmark = pytest.mark.once

MANIFEST = Manifest.from_data(SITES)
DOMAINS = [site.domain for site in MANIFEST.sites]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def test_plan_when_applied_again_changes_nothing(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, plan, journal=journal, credentials=tmp_path / "p.csv"))
            before = state(box)
            box.requests.clear()
            again = await collect(apply(panel, plan, journal=journal))

            assert statuses(again) == dict.fromkeys(DOMAINS, "exists")
            assert {request.method for request in box.requests} == {"GET"}
            assert state(box) == before
            # Undo still removes them.
            assert journal.records.counts[State.DONE] == WRITES


async def test_plan_built_after_a_run_is_applied_without_reading(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=tmp_path / "run.journal", credentials=tmp_path / "p.csv"))
        plan = await Plan.build(panel, MANIFEST)  # without the journal
        box.requests.clear()
        again = await collect(apply(panel, plan, journal=tmp_path / "run.journal"))
    assert statuses(again) == dict.fromkeys(DOMAINS, "exists")
    assert not box.requests


async def test_empty_list_for_once_leaves_the_objects_ours(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))
            before = state(box)
            proxy.hides_everything = True
            plan = await Plan.build(panel, MANIFEST, journal=journal)
            proxy.hides_everything = False
            assert plan.new
            again = await collect(apply(panel, plan, journal=journal))
            assert statuses(again) == dict.fromkeys(DOMAINS, "exists")
            assert state(box) == before
            assert journal.records.counts[State.DONE] == WRITES


@pytest.mark.parametrize("how", ["look-up fails", "look-up is cancelled", "create is cancelled unsent"])
async def test_object_created_again_while_hidden_stays_ours(
    box: Sandbox, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, passwords = tmp_path / "run.journal", tmp_path / "p.csv"
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        await collect(apply(panel, MANIFEST, journal=path, credentials=passwords))
        created = passwords.read_text()
        with Journal.open(path, read_only=True) as journal:
            proxy.hides_everything = True
            plan = await Plan.build(panel, MANIFEST, journal=journal)
            proxy.hides_everything = False
        proxy.read_faults, proxy.read_faults_persist = (
            {"/accounts": Fault.REFUSED if how == "look-up fails" else Fault.HANGS_BEFORE},
            True,
        )

        async def wait(*_: object) -> None:
            proxy.reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            if how == "create is cancelled unsent":
                patch.setattr(AccountStep, "create", wait)
            run = asyncio.create_task(collect(apply(panel, plan, journal=path)))
            await proxy.reached.wait()
            if how != "look-up fails":
                run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        assert run.cancelled() or statuses(run.result()) == dict.fromkeys(DOMAINS, "failed")
        assert passwords.read_text() == created
        proxy.read_faults = {}
        assert [removal.status.value async for removal in undo(panel, path)] == ["removed"] * WRITES


async def test_password_in_use_survives_a_plan_applied_again(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        with CredentialsFile(tmp_path / "p.csv") as credentials:
            await collect(apply(panel, plan, credentials=credentials))
            created = (tmp_path / "p.csv").read_text()
            await collect(apply(panel, plan, credentials=credentials))
        assert (tmp_path / "p.csv").read_text() == created


async def test_plan_of_another_panel_is_refused(box: Sandbox) -> None:
    async with Sandbox() as other, client(box) as panel, client(other) as another:
        plan = await Plan.build(panel, MANIFEST)
        with pytest.raises(ConfigurationError, match=r"the plan is for http.*, not for http"):
            await collect(apply(another, plan))
        assert {request.method for request in other.requests} <= {"GET"}


async def test_plan_with_the_journal_of_another_panel_is_refused(box: Sandbox, tmp_path: Path) -> None:
    async with Sandbox() as other, client(box) as panel, client(other) as another:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))
            with pytest.raises(ConfigurationError, match="is the journal of http"):
                await Plan.build(another, MANIFEST, journal=journal)


async def test_plan_of_another_dialect_is_made_again(tmp_path: Path) -> None:
    manifest = Manifest.from_data([{"domain": "alder.example", "owner": "alder", "mailboxes": ["info"]}])
    async with Sandbox(tier="enterprise", dialect="panel") as box, client(box, dialect="panel") as panel:
        plan = Plan.decide(manifest, Snapshot(), {})
        box.requests.clear()
        await collect(apply(panel, plan, credentials=tmp_path / "p.csv"))
    assert "/api/external/v1/email-accounts" in {request.path for request in box.requests}


async def test_journal_serves_one_run_at_a_time(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    async with client(box) as panel:
        with Journal.open(path) as journal:
            runs = [apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv") for _ in range(2)]
            done, refused = await asyncio.gather(*map(collect, runs), return_exceptions=True)
            assert isinstance(done, list)
            assert isinstance(refused, ConfigurationError)
            assert refused.message == f"{path} is in use by another run or undo"
            assert journal.records.counts[State.DONE] == WRITES
            # It is free again.
            assert [removal.status.value async for removal in undo(panel, journal)] == ["removed"] * WRITES


@pytest.mark.parametrize("how", ["read", "closed"])
async def test_read_only_journal_is_refused(box: Sandbox, tmp_path: Path, how: str) -> None:
    path = tmp_path / "run.journal"
    journal = Journal.open(path)
    journal.close()
    if how == "read":
        journal = Journal.open(path, read_only=True)
    async with client(box) as panel:
        for run in (apply(panel, MANIFEST, journal=journal), undo(panel, journal)):
            with pytest.raises(ConfigurationError, match="was opened read-only" if how == "read" else "is closed"):
                await anext(run)
    assert not box.requests


async def test_empty_path_is_no_journal_in_memory(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    async with client(box) as panel:
        for run in (apply(panel, MANIFEST, journal=""), apply(panel, MANIFEST, credentials="")):
            with pytest.raises(ConfigurationError, match="here"):
                await anext(run)
    assert {request.method for request in box.requests} <= {"GET"}
    assert os.listdir("..") == ["here"]  # noqa: PTH208 - which blocks an event loop no less


async def test_passwords_moved_with_their_journal_are_found(box: Sandbox, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "sites.csv").write_text("domain,owner,email\nalder.example,alder,a@alder.example\n")
    async with client(box) as panel:
        manifest = Manifest.load(here / "sites.csv")
        await collect(apply(panel, manifest, journal=here / "run.journal", credentials=here / "p.csv"))
        here.rename(there)
        with (there / "sites.csv").open("a") as file:
            file.write("beech.example,beech,b@beech.example\n")
        await collect(apply(panel, Manifest.load(there / "sites.csv"), journal=there / "run.journal"))
        assert statuses(await collect(resume(panel, there / "run.journal"))) == {
            "alder.example": "exists",
            "beech.example": "exists",
        }
    assert CredentialsFile.names_in(there / "p.csv") == {"account:alder", "account:beech"}


async def test_closed_file_of_passwords_ends_the_run(box: Sandbox, tmp_path: Path) -> None:
    credentials = CredentialsFile(tmp_path / "p.csv")
    credentials.close()
    async with client(box) as panel:
        with pytest.raises(OSError, match="it is closed"):
            await collect(apply(panel, MANIFEST, credentials=credentials))
    assert {request.method for request in box.requests} == {"GET"}


async def test_journal_without_its_passwords_says_what_to_do(box: Sandbox, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=here / "run.journal", credentials=here / "p.csv"))
        (here / "run.journal").rename(there / "run.journal")
        (here / "p.csv").unlink()
        (here / "run.journal.lock").unlink()
        here.rmdir()
        with pytest.raises(ConfigurationError, match=r"cannot keep passwords in .*p\.csv") as caught:
            await collect(apply(panel, MANIFEST, journal=there / "run.journal"))
    assert "copy it beside the journal" in str(caught.value.hint)
