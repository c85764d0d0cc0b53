import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from panelica_async import PanelicaClient
from panelica_async.errors import AuthenticationError, ConfigurationError, PanelicaError
from panelica_async.provision import Journal, Manifest, Removal, RemovalStatus, State, StepKind, apply, undo, undo_all
from panelica_async.provision.journal_file import write_rows
from panelica_async.provision.objects import steps_of
from panelica_async.provision.search import Search
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel
from tests.provision.killing import PATHS, STEP_OF, TABLES, killed_at, make
from tests.provision.launching import SITES, WRITES, client, collect, state, statuses
from tests.support.virtual_time import run

# A slow matrix that gives the same result on every Python.
pytestmark = pytest.mark.once

MANIFEST = Manifest.from_data(SITES)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def launch(panel: PanelicaClient, directory: Path) -> Path:
    journal = directory / "run.journal"
    await collect(apply(panel, MANIFEST, journal=journal, credentials=directory / "passwords.csv"))
    return journal


async def gather(removals: AsyncIterator[Removal], into: dict[str, Removal]) -> None:
    """Collect removals by the id of the step, including those before an error."""
    async for removal in removals:
        into[removal.record.id] = removal


async def removals(panel: PanelicaClient, journal: Path, late: float = 60) -> dict[str, Removal]:
    return {removal.record.id: removal async for removal in undo(panel, journal, late=late)}


async def test_undo_removes_everything_with_few_calls(box: Sandbox, tmp_path: Path) -> None:
    before = state(box)
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        box.requests.clear()
        removed = await removals(panel, journal)

        assert len(removed) == WRITES
        assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}
        assert state(box) == before
        deletes = [request.operation for request in box.requests if request.method == "DELETE"]
        assert deletes == ["accounts.delete"] * 2
        assert await removals(panel, journal) == {}

        again = await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "passwords.csv"))
        assert set(statuses(again).values()) == {"done"}


async def test_foreign_object_is_kept_with_all_it_needs(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        domains = {domain.domain: domain.id for domain in await panel.domains.list().collect()}
        await panel.email.accounts.create(
            local_part="boss", domain_id=domains["alder.example"], password="correct-horse"
        )
        removed = await removals(panel, journal)

    kept = {step: removal.reason for step, removal in removed.items() if removal.status is RemovalStatus.KEPT}
    assert kept == {
        "account:alder": "it holds objects that these runs did not create: mailbox boss@alder.example",
        "domain:alder.example": "it holds objects that these runs did not create: mailbox boss@alder.example",
        "certificate:alder.example": "the API cannot delete it",
    }
    assert {removal.status for removal in removed.values()} == {RemovalStatus.KEPT, RemovalStatus.REMOVED}
    found = state(box)
    assert [row[0] for row in found["accounts"]] == ["alder", "root"]
    assert [row[0] for row in found["domains"]] == ["alder.example"]
    assert [row[0] for row in found["mailboxes"]] == ["boss@alder.example"]
    assert {row[2] for row in found["records"]} == {"NS"}
    assert found["databases"] == found["database users"] == found["FTP users"] == []


async def test_undo_all_when_newer_is_within_older_removes_both(box: Sandbox, tmp_path: Path) -> None:
    before = state(box)
    older = Manifest.from_data(
        [{"domain": "alder.example", "owner": {"username": "alder", "email": "a@alder.example"}}]
    )
    newer = Manifest.from_data([{"domain": "alder.example", "owner": "alder", "ssl": "yes", "mailboxes": "info"}])
    with Journal.open(tmp_path / "older.db") as first, Journal.open(tmp_path / "newer.db") as second:
        async with client(box) as panel:
            for manifest, journal in ((older, first), (newer, second)):
                await collect(apply(panel, manifest, journal=journal, credentials=tmp_path / f"{journal.path}.csv"))
            found = [
                (journal, removal.record.kind, removal.status.value)
                async for journal, removal in undo_all(panel, [first, second])
            ]
    certificate, mailbox = StepKind.CERTIFICATE, StepKind.MAILBOX
    assert set(found[:2]) == {(second, certificate, "kept"), (second, mailbox, "removed")}
    assert set(found[2:4]) == {(first, StepKind.ACCOUNT, "removed"), (first, StepKind.DOMAIN, "removed")}
    assert found[4:] == [(second, certificate, "removed")]
    assert state(box) == before


async def test_undo_leaves_objects_that_existed_before(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data(
        [{"domain": "alder.example", "owner": "alder", "dns": ["www A 192.0.2.1"], "ssl": "yes", "databases": "shop:u"}]
    )
    journal = tmp_path / "run.journal"
    async with client(box) as panel:
        account = await panel.accounts.create(username="alder", email="a@alder.example", password="correct-horse")
        domain = await panel.domains.create(domain="alder.example", user_id=account.id)
        await panel.databases.create(name="shop", type="mysql", domain_id=domain.id)
        before = state(box)
        await collect(apply(panel, manifest, journal=journal, credentials=tmp_path / "p.csv"))
        removed = await removals(panel, journal)

    assert {step: removal.status.value for step, removal in removed.items()} == {
        "dns_record:alder.example www A 192.0.2.1": "removed",
        "certificate:alder.example": "kept",
        "database_user:mysql/shop:u": "kept",
    }
    after = state(box)
    assert {kind for kind in before if before[kind] != after[kind]} == {"certificates", "database users"}


async def test_undo_when_object_is_gone_counts_as_removed(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        for account in await panel.accounts.list().collect():
            if account.username == "alder":
                await panel.accounts.delete(account.id)
        removed = await removals(panel, journal)

    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}


async def test_refused_deletion_is_reported(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
    key = box.add_key(
        scopes=["accounts:read", "domains:read", "databases:read", "email:read", "ftp:read", "dns:read"],
        tier="enterprise",
    )
    async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, tier="enterprise") as panel:
        removed = await removals(panel, journal)

    assert {removal.status for removal in removed.values()} == {RemovalStatus.FAILED}
    assert removed["account:alder"].reason != "it is still there"
    assert removed["account:alder"].hint
    assert removed["mailbox:info@alder.example"].reason == "it is still there"
    with Journal.open(journal) as notes:
        assert all(record.state == "done" for record in notes.records.values())


async def test_journal_of_another_panel_is_refused(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
    async with Sandbox(tier="enterprise") as other, client(other) as panel:
        with pytest.raises(ConfigurationError, match="is the journal of"):
            await removals(panel, journal)


async def test_rejected_key_ends_the_undo(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
    async with PanelicaClient(
        box.base_url, api_key=box.api_key, api_secret="sk_live_wrong", tier="enterprise"
    ) as panel:
        with pytest.raises(AuthenticationError):
            await removals(panel, journal)


async def test_undo_of_records_without_a_run_is_refused(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        with closing(sqlite3.connect(journal)) as connection, connection:
            connection.execute("DELETE FROM run")
        with pytest.raises(ConfigurationError, match="holds records but no run"):
            await removals(panel, journal)


async def test_failed_undo_writes_its_notes_in_a_thread(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def write(connection: sqlite3.Connection, rows: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        threads.append(threading.current_thread())
        write_rows(connection, rows)

    monkeypatch.setattr("panelica_async.provision.journal_file.write_rows", write)
    async with PanelicaClient(
        box.base_url, api_key=box.api_key, api_secret="sk_live_wrong", tier="enterprise"
    ) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            journal.begin(base_url=box.base_url, manifest=MANIFEST, credentials_path=None)
            journal.sent(steps_of(MANIFEST)[0][1][0])
            with pytest.raises(AuthenticationError):
                await gather(undo(panel, journal), {})
    assert threads
    assert threading.current_thread() not in threads


async def killed(
    kind: StepKind, panel: PanelicaClient, proxy: FaultyPanel, directory: Path, fault: Fault
) -> tuple[Path, str]:
    """Kill a run at the create of a kind; return the journal it leaves, and the id of the step."""
    path = directory / "run.journal"
    await killed_at(kind, panel, proxy, path, directory / "p.csv", fault)
    with Journal.open(path, read_only=True) as journal:
        (step_id,) = (record.id for record in journal.records.values() if record.is_unanswered)
    return path, step_id


@pytest.mark.parametrize("kind", PATHS)
async def test_object_sent_before_a_kill_is_removed(box: Sandbox, tmp_path: Path, kind: StepKind) -> None:
    before = state(box)
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal, step_id = await killed(kind, panel, proxy, tmp_path, Fault.HANGS_AFTER)
        removed = await removals(panel, journal)

    assert state(box) == before
    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}
    # No list shows whether these were there: they went with what they belong to.
    assert (step_id in removed) is (kind not in {StepKind.CERTIFICATE, StepKind.DATABASE_USER})
    with Journal.open(journal) as notes:
        assert {record.state for record in notes.records.values()} == {State.REMOVED}


@pytest.mark.parametrize("kind", PATHS)
async def test_undo_of_calls_not_carried_out_leaves_nothing(box: Sandbox, tmp_path: Path, kind: StepKind) -> None:
    before = state(box)
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal, step_id = await killed(kind, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        removed = await removals(panel, journal, late=0)

    assert state(box) == before
    assert step_id not in removed
    with Journal.open(journal) as notes:
        assert {record.state for record in notes.records.values()} == {State.REMOVED}


async def test_undo_when_a_call_may_still_land_is_uncertain(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal, step_id = await killed(StepKind.ACCOUNT, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        removal = (await removals(panel, journal))[step_id]
        assert removal.status is RemovalStatus.UNCERTAIN
        assert removal.hint == "Run undo again in two minutes: it looks again."
        with Journal.open(journal) as notes:
            assert notes.records[step_id].is_unanswered

        account = await panel.accounts.create(username="alder", email="office@alder.example", password="correct-horse")
        assert (await removals(panel, journal))[step_id].status is RemovalStatus.REMOVED
        assert account.id not in [row.id async for row in panel.accounts.list()]


async def test_undo_of_a_call_whose_domain_is_gone_leaves_nothing(box: Sandbox, tmp_path: Path) -> None:
    """No panel creates a mailbox in a domain that is no longer there."""
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        journal, step_id = await killed(StepKind.MAILBOX, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        (domain,) = await direct.domains.list().collect()
        await direct.domains.delete(domain.id)
        removed = await removals(panel, journal)

    assert step_id not in removed
    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}


async def test_lost_call_stays_uncertain_for_two_minutes(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal, step_id = await killed(StepKind.ACCOUNT, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        for age, expected in ((110, RemovalStatus.UNCERTAIN), (130, None)):
            with closing(sqlite3.connect(journal, isolation_level=None)) as notes:
                notes.execute("UPDATE step SET at = ?", ((datetime.now(UTC) - timedelta(seconds=age)).isoformat(),))
            removed = {removal.record.id: removal.status async for removal in undo(panel, journal)}
            assert removed.get(step_id) is expected


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind is not StepKind.CERTIFICATE])
async def test_object_made_much_later_is_kept(box: Sandbox, tmp_path: Path, kind: StepKind) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        journal, step_id = await killed(kind, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        await make(direct, kind)
        box.database.execute(f"UPDATE {TABLES[kind]} SET created_at = created_at + 600")
        box.database.commit()
        removed = await removals(panel, journal)
        again = await removals(panel, journal)

    assert box.database.execute(f"SELECT count(*) FROM {TABLES[kind]}").fetchone()[0] > 0
    for found in (removed[step_id], again[step_id]):
        assert found.status is RemovalStatus.UNCERTAIN
        assert found.hint == "Find out in the panel who owns it, and remove it there if it is yours."
    kept = {step for step, removal in removed.items() if removal.status is RemovalStatus.KEPT}
    parents = [step.id for step in STEP_OF[kind].parents]
    assert kept >= set(parents)


async def test_object_made_before_the_run_is_kept(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        journal, step_id = await killed(StepKind.ACCOUNT, panel, proxy, tmp_path, Fault.HANGS_BEFORE)
        await make(direct, StepKind.ACCOUNT)
        box.database.execute("UPDATE accounts SET created_at = created_at - 600")
        box.database.commit()
        assert await removals(panel, journal) == {}

    assert [row[0] for row in state(box)["accounts"]] == ["alder", "root"]
    with Journal.open(journal) as notes:
        assert notes.records[step_id].state is State.FOUND


async def test_key_rejected_midway_leaves_a_report_of_removals(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal = await launch(panel, tmp_path)
        deletes = iter([None])
        proxy.decide_writes(lambda *_: next(deletes, Fault.REVOKED))
        removed: dict[str, Removal] = {}
        with pytest.raises(AuthenticationError):
            await gather(undo(panel, journal), removed)

    assert len(removed) == WRITES
    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED, RemovalStatus.SKIPPED}
    gone = {step for step, removal in removed.items() if removal.status is RemovalStatus.REMOVED}
    with Journal.open(journal) as notes:
        assert {step for step, record in notes.records.items() if record.state is State.REMOVED} == gone
    assert [row[0] for row in state(box)["accounts"]] in (["alder", "root"], ["beech", "root"])


async def test_interrupted_undo_has_noted_each_removal(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal = await launch(panel, tmp_path)
        deletes = iter([None])
        proxy.decide_writes(lambda *_: next(deletes, Fault.HANGS_BEFORE))
        task = asyncio.create_task(removals(panel, journal))
        await proxy.reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    (left,) = [row[0] for row in state(box)["accounts"] if row[0] != "root"]
    with Journal.open(journal) as notes:
        gone = {record.id for record in notes.records.values() if record.state is State.REMOVED}
        assert f"account:{left}" not in gone
        assert len([step for step in gone if step.startswith("account:")]) == 1
        assert len(gone) + sum(record.state is State.DONE for record in notes.records.values()) == WRITES


def test_panel_that_goes_down_stops_the_undo(tmp_path: Path) -> None:
    manifest = Manifest.from_data(
        [{"domain": f"s{n}.example", "owner": f"o{n}", "email": f"o@s{n}.example"} for n in range(12)]
    )

    async def main() -> None:
        journal = tmp_path / "run.journal"
        async with (
            Sandbox(tier="enterprise") as box,
            FaultyPanel(box) as proxy,
            client(box, proxy.base_url) as panel,
        ):
            await collect(apply(panel, manifest, journal=journal, credentials=tmp_path / "p.csv"))
            proxy.decide_writes(lambda *_: Fault.GATEWAY_BEFORE)
            before = proxy.writes
            removed: dict[str, Removal] = {}
            with pytest.raises(PanelicaError, match="does not answer any more") as raised:
                await gather(undo(panel, journal), removed)
            assert raised.value.hint == "Check whether the panel is up; `undo` continues."
            assert proxy.writes - before <= 8
            assert {removal.status for removal in removed.values()} == {RemovalStatus.SKIPPED, RemovalStatus.FAILED}

    run(main())


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.GATEWAY_AFTER])
@pytest.mark.parametrize("foreign", [False, True])
def test_undo_when_every_reply_is_lost_looks_each_up(tmp_path: Path, fault: Fault, foreign: bool) -> None:
    manifest = Manifest.from_data(
        [
            {"domain": f"s{n}.example", "owner": f"o{n}", "email": f"o@s{n}.example", "dns": ["h A 192.0.2.1"]}
            for n in range(6)
        ]
    )

    async def main() -> None:
        journal = tmp_path / "run.journal"
        async with (
            Sandbox(tier="enterprise") as box,
            FaultyPanel(box) as proxy,
            client(box, proxy.base_url) as panel,
        ):
            before = state(box)
            await collect(apply(panel, manifest, journal=journal, credentials=tmp_path / "p.csv"))
            if foreign:
                # A mailbox of another in each domain: accounts and domains are kept, and the records go one by one.
                async for domain in panel.domains.list():
                    await panel.email.accounts.create(
                        local_part="boss", domain_id=domain.id, password="correct horse battery"
                    )
            proxy.decide_writes(lambda *_: fault)
            removed = await removals(panel, journal)
            gone = {step for step, removal in removed.items() if removal.status is RemovalStatus.REMOVED}
            assert {removal.status for removal in removed.values()} <= {RemovalStatus.REMOVED, RemovalStatus.KEPT}
            assert len([step for step in gone if step.startswith("dns_record:")]) == 6
            if not foreign:
                assert len(gone) == len(removed)
                assert state(box) == before

    run(main())


@pytest.mark.parametrize("hostile", ["../x", "a/b", ".", ""])
@pytest.mark.parametrize("kind", ["account", "domain", "dns_record", "database", "mailbox", "ftp_user"])
async def test_impossible_id_fails_alone(box: Sandbox, tmp_path: Path, kind: str, hostile: str) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
            connection.execute(
                "UPDATE step SET object_id = ? WHERE kind = ? AND site = 'alder.example'", (hostile, kind)
            )
        box.requests.clear()
        removed = await removals(panel, journal)

    assert not any(".." in request.path for request in box.requests)
    named = [removal for removal in removed.values() if removal.record.object_id == hostile]
    assert named
    for removal in named:
        # Records go with their zone, whatever their ids are.
        assert removal.status is (RemovalStatus.REMOVED if kind == "dns_record" else RemovalStatus.FAILED)
        if removal.status is RemovalStatus.FAILED:
            assert (removal.reason or "").startswith("the journal holds an id that is not one of an object")
            assert removal.hint == "Do not use this journal: something else wrote to it."
    assert {"account:beech", "domain:beech.example"} <= {
        step for step, removal in removed.items() if removal.status is RemovalStatus.REMOVED
    }


async def test_delete_answered_but_not_done_is_a_failure(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel:
        journal = await launch(panel, tmp_path)
        proxy.decide_writes(lambda *_: Fault.SUCCESS_NOT_DONE)
        removed = await removals(panel, journal)

    assert {(removal.status, removal.reason) for removal in removed.values()} == {
        (RemovalStatus.FAILED, "it is still there")
    }
    with Journal.open(journal) as notes:
        assert {record.state for record in notes.records.values()} == {State.DONE}


MOVED = {
    "domain": "UPDATE domains SET user_id = :account WHERE domain = 'alder.example'",
    "database": "UPDATE databases SET domain_id = :domain WHERE domain_id = :ours",
    "mailbox": "UPDATE email_accounts SET domain_id = :domain WHERE domain_id = :ours",
    "ftp_user": "UPDATE ftp_accounts SET domain_id = :domain, user_id = :account WHERE domain_id = :ours",
}


@pytest.mark.parametrize("kind", MOVED)
async def test_undo_keeps_objects_that_others_moved(box: Sandbox, tmp_path: Path, kind: str) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        other = await panel.accounts.create(username="other", email="o@other.example", password="correct-horse")
        domain = await panel.domains.create(domain="other.example", user_id=other.id)
        ours = next(row.id for row in await panel.domains.list().collect() if row.domain == "alder.example")
        ids = {"account": other.id, "domain": domain.id, "ours": ours}
        box.database.execute(MOVED[kind], {name: ids[name] for name in ids if f":{name}" in MOVED[kind]})
        taken = {row["id"] for row in box.database.execute(f"SELECT id FROM {TABLES[kind]}")}
        removed = await removals(panel, journal)
        left = {row["id"] for row in box.database.execute(f"SELECT id FROM {TABLES[kind]}")}
    kept = {removal.record for removal in removed.values() if removal.status is RemovalStatus.KEPT}
    assert {record.kind.value for record in kept} >= {kind}
    assert {record.object_id for record in kept if record.kind.value == kind} <= left <= taken
    assert removed["account:alder"].status is RemovalStatus.REMOVED


async def test_contents_of_a_domain_others_took_over_stay(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        other = await panel.accounts.create(username="other", email="o@other.example", password="correct-horse")
        box.database.execute(MOVED["domain"], {"account": other.id})
        box.database.execute("UPDATE ftp_accounts SET user_id = ? WHERE username = 'deploy'", (other.id,))
        removed = await removals(panel, journal)
    kept = {step_id for step_id, removal in removed.items() if removal.status is RemovalStatus.KEPT}
    assert kept >= {"mailbox:info@alder.example", "database:mysql/shop", "ftp_user:deploy"}
    left = [row["email"] for row in box.database.execute("SELECT email FROM email_accounts ORDER BY email")]
    assert left == ["info@alder.example", "sales@alder.example"]


async def test_unanswered_user_of_a_kept_database_is_uncertain(box: Sandbox, tmp_path: Path) -> None:
    async with FaultyPanel(box) as proxy, client(box, proxy.base_url) as panel, client(box) as direct:
        journal, step_id = await killed(StepKind.DATABASE_USER, panel, proxy, tmp_path, Fault.HANGS_AFTER)
        (database,) = await direct.databases.list().collect()
        await direct.databases.users.create(database.id, username="other", password="their-own-1")
        removed = await removals(panel, journal)
    assert removed["database:mysql/shop"].status is RemovalStatus.KEPT
    assert removed[step_id].status is RemovalStatus.UNCERTAIN
    assert removed[step_id].reason == "whether it exists is uncertain, and the API cannot delete it"


async def test_undo_with_equal_ids_of_kinds_keeps_objects_of_others(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        account = next(row for row in await panel.accounts.list().collect() if row.username == "alder")
        domain = next(row for row in await panel.domains.list().collect() if row.domain == "alder.example")
        await panel.ftp.accounts.create(
            username="theirs", password="correct-horse", domain_id=domain.id, user_id=account.id
        )
        box.database.execute("UPDATE ftp_accounts SET id = ? WHERE username = 'theirs'", (domain.id,))
        removed = await removals(panel, journal)
    reason = "it holds objects that these runs did not create: FTP user theirs"
    assert removed["domain:alder.example"].reason == removed["account:alder"].reason == reason
    assert [row[0] for row in state(box)["FTP users"]] == ["theirs"]


async def test_undo_when_objects_are_gone_sends_nothing_for_them(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        for account in await panel.accounts.list().collect():
            if account.username != "root":
                await panel.accounts.delete(account.id)
        box.requests.clear()
        removed = await removals(panel, journal)
    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}
    assert [request.method for request in box.requests if request.method != "GET"] == []


async def test_object_that_is_listed_again_is_found_once(box: Sandbox) -> None:
    step = steps_of(MANIFEST)[0][1][0]
    async with client(box) as panel:
        with Journal.in_memory() as journal:
            journal.done(step, "a1")
            search = Search(panel, journal, timedelta())
            search.classify(journal.records[step.id])
            assert [record.id async for record in search.gone()] == [step.id]
            search.add_ours(journal.records[step.id])
            assert [record.id async for record in search.gone()] == []
            assert [candidate.record.id async for candidate in search.candidates()] == [step.id]


async def test_undo_when_objects_outlive_their_account_deletes_them(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        # Deleting an account leaves its FTP users on this panel.
        (view,) = box.database.execute("SELECT sql FROM sqlite_schema WHERE name = 'ftp_account'").fetchone()
        box.database.executescript(
            f"PRAGMA foreign_keys = OFF; DROP VIEW ftp_account; {view.replace('JOIN accounts', 'LEFT JOIN accounts')}"
        )
        removed = await removals(panel, journal)
    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}
    deletes = [request.operation for request in box.requests if request.method == "DELETE"]
    assert deletes[:2] == ["accounts.delete"] * 2
    assert deletes.count("ftp.accounts.delete") == 1


async def test_undo_of_a_site_leaves_the_others(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        removed = {removal.record.id: removal async for removal in undo(panel, journal, sites=["beech.example"])}
        assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}
        found = state(box)
        assert [row[0] for row in found["accounts"]] == ["alder", "root"]
        assert [row[0] for row in found["domains"]] == ["alder.example", "blog.alder.example"]

        removed = {removal.record.id: removal async for removal in undo(panel, journal, sites=["alder.example"])}
        kept = {step: removal.reason for step, removal in removed.items() if removal.status is RemovalStatus.KEPT}
        reason = "it holds objects other than those of these sites: domain blog.alder.example"
        assert kept == {"account:alder": reason}
        assert [row[0] for row in state(box)["domains"]] == ["blog.alder.example"]
        with Journal.open(journal) as notes:
            assert notes.runs[-1].undone_at is None

        assert {removal.status for removal in (await removals(panel, journal)).values()} == {RemovalStatus.REMOVED}
        assert [row[0] for row in state(box)["accounts"]] == ["root"]
