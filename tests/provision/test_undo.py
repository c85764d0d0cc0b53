from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from panelica_async import PanelicaClient
from panelica_async.errors import AuthenticationError, ConfigurationError
from panelica_async.provision import Journal, Manifest, Removal, RemovalStatus, apply, undo
from panelica_async.sandbox import Sandbox
from tests.provision.launching import SITES, WRITES, client, collect, state, statuses

MANIFEST = Manifest.from_data(SITES)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def launch(panel: PanelicaClient, directory: Path) -> Path:
    journal = directory / "run.journal"
    await collect(apply(panel, MANIFEST, journal=journal, credentials=directory / "passwords.csv"))
    return journal


async def removals(panel: PanelicaClient, journal: Path) -> dict[str, Removal]:
    return {removal.record.id: removal async for removal in undo(panel, journal)}


async def test_everything_is_gone_with_few_calls(box: Sandbox, tmp_path: Path) -> None:
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


async def test_what_was_not_created_here_is_kept_with_all_it_needs(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        domains = {domain.domain: domain.id for domain in await panel.domains.list().collect()}
        await panel.email.accounts.create(
            local_part="boss", domain_id=domains["alder.example"], password="correct-horse"
        )
        removed = await removals(panel, journal)

    kept = {step: removal.reason for step, removal in removed.items() if removal.status is RemovalStatus.KEPT}
    assert kept == {
        "account:alder": "it holds what was not created here",
        "domain:alder.example": "it holds databases, mailboxes or FTP users that were not created here",
        "certificate:alder.example": "the API cannot delete it",
    }
    assert {removal.status for removal in removed.values()} == {RemovalStatus.KEPT, RemovalStatus.REMOVED}
    found = state(box)
    assert [row[0] for row in found["accounts"]] == ["alder", "root"]
    assert [row[0] for row in found["domains"]] == ["alder.example"]
    assert [row[0] for row in found["mailboxes"]] == ["boss@alder.example"]
    assert {row[2] for row in found["records"]} == {"NS"}
    assert found["databases"] == found["database users"] == found["FTP users"] == []


async def test_what_existed_before_is_not_touched(box: Sandbox, tmp_path: Path) -> None:
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


async def test_what_is_gone_already_counts_as_removed(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
        for account in await panel.accounts.list().collect():
            if account.username == "alder":
                await panel.accounts.delete(account.id)
        removed = await removals(panel, journal)

    assert {removal.status for removal in removed.values()} == {RemovalStatus.REMOVED}


async def test_a_refused_deletion_is_named(box: Sandbox, tmp_path: Path) -> None:
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


async def test_the_journal_of_another_panel_is_refused(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
    async with Sandbox(tier="enterprise") as other, client(other) as panel:
        with pytest.raises(ConfigurationError, match="is the journal of"):
            await removals(panel, journal)


async def test_a_refused_key_ends_it(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        journal = await launch(panel, tmp_path)
    async with PanelicaClient(
        box.base_url, api_key=box.api_key, api_secret="sk_live_wrong", tier="enterprise"
    ) as panel:
        with pytest.raises(AuthenticationError):
            await removals(panel, journal)
