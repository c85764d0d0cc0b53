"""Sites and journals that `undo` meets in a service."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, RemovalStatus, SiteStatus, StepKind, apply, undo
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import FaultyPanel
from tests.provision.killing import MANIFEST
from tests.provision.launching import client, collect, state

pytestmark = pytest.mark.once


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def test_sites_are_domains_in_any_spelling(box: Sandbox, tmp_path: Path) -> None:
    owner = {"username": "alder", "email": "office@alder.example", "password": "correct-horse"}
    names = ["alder.example", "blog.alder.example", "münchen.example"]
    manifest = Manifest.from_data([{"domain": name, "owner": owner} for name in names])
    async with client(box) as panel:
        await collect(apply(panel, manifest, journal=tmp_path / "run.journal"))
        for sites, message in (
            ("blog.alder.example", "sites must be a list of domains, not the text 'blog.alder.example'"),
            (["alder example"], "sites: "),
        ):
            with pytest.raises(ConfigurationError, match=message):
                await anext(undo(panel, tmp_path / "run.journal", sites=sites))
        sites = ["Blog.Alder.example.", "MÜNCHEN.example"]
        removed = {removal.record.id async for removal in undo(panel, tmp_path / "run.journal", sites=sites)}
    assert removed == {"domain:blog.alder.example", "domain:xn--mnchen-3ya.example"}
    assert [row[0] for row in state(box)["domains"]] == ["alder.example"]


async def test_account_goes_with_its_last_site(box: Sandbox, tmp_path: Path) -> None:
    owner = {"username": "alder", "email": "office@alder.example", "password": "correct-horse"}
    manifest = Manifest.from_data([{"domain": name, "owner": owner} for name in ("a.example", "b.example")])
    journal = tmp_path / "run.journal"
    async with client(box) as panel:
        await collect(apply(panel, manifest, journal=journal))
        results = [
            {removal.record.id: removal.status.value async for removal in undo(panel, journal, sites=[site])}
            for site in ("a.example", "b.example")
        ]
    assert results == [
        {"account:alder": "kept", "domain:a.example": "removed"},
        {"account:alder": "removed", "domain:b.example": "removed"},
    ]


async def test_object_under_another_id_does_not_count_as_removed(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=tmp_path / "run.journal", credentials=tmp_path / "p.csv"))
        before = state(box)
        # A panel that was restored from a backup, for example.
        box.database.executescript(
            "PRAGMA foreign_keys = OFF;"
            + "".join(f"UPDATE {table} SET {column} = 'n' || {column};" for table, column in _IDS)
        )
        for _ in range(2):
            removed = {removal.record.kind: removal async for removal in undo(panel, tmp_path / "run.journal")}
            assert {kind for kind, removal in removed.items() if removal.status is RemovalStatus.UNCERTAIN} == {
                StepKind.ACCOUNT,
                StepKind.DOMAIN,
                StepKind.DATABASE,
                StepKind.MAILBOX,
                StepKind.FTP_USER,
            }
            assert removed[StepKind.DOMAIN].reason == (
                "it is there under another id: others have re-created it, or ids have changed"
            )
        assert state(box) == before


_IDS = [
    ("accounts", "id"),
    ("domains", "id"),
    ("domains", "user_id"),
    ("dns_records", "zone_id"),
    ("certificates", "domain_id"),
    ("databases", "id"),
    ("databases", "domain_id"),
    ("database_users", "database_id"),
    ("email_accounts", "id"),
    ("email_accounts", "domain_id"),
    ("ftp_accounts", "id"),
    ("ftp_accounts", "domain_id"),
    ("ftp_accounts", "user_id"),
]


@pytest.mark.parametrize("dialect", ["reference", "panel"])
async def test_key_of_another_owner_changes_nothing(tmp_path: Path, dialect: Literal["reference", "panel"]) -> None:
    journal = tmp_path / "run.journal"
    async with (
        Sandbox(tier="enterprise", dialect=dialect) as box,
        FaultyPanel(box) as proxy,
        client(box, proxy.base_url, dialect=dialect) as panel,
    ):
        before = state(box)
        await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))
        proxy.hides_everything = True
        with pytest.raises(ConfigurationError, match="the panel shows this key nothing that the runs created"):
            await anext(undo(panel, journal))
        (outcome,) = await collect(apply(panel, MANIFEST, journal=journal))
        assert outcome.status is SiteStatus.FAILED
        proxy.hides_everything = False
        removed = [removal.status async for removal in undo(panel, journal)]
        assert set(removed) == {RemovalStatus.REMOVED}
        assert state(box) == before
