import pytest

from panelica_async import PanelicaClient
from panelica_async.models import BackupStatus, BackupType, Domain
from panelica_async.sandbox import Sandbox
from tests.operations.conftest import DOCUMENT_ROOT, Later


async def test_backups_list(panel: PanelicaClient, domain: Domain, later: Later) -> None:
    first = await panel.backups.create(name="first", domain_ids=[domain.id])
    later(60)
    second = await panel.backups.create(name="second", domain_ids=[domain.id], type="incremental")
    assert [backup.id for backup in await panel.backups.list().collect()] == [first.id, second.id]
    assert [backup.id async for backup in panel.backups.list(status="completed")] == [first.id]
    assert [backup.id async for backup in panel.backups.list(type="incremental")] == [second.id]


async def test_backups_create(panel: PanelicaClient, box: Sandbox, domain: Domain) -> None:
    backup = await panel.backups.create(
        name="nightly", type="full", encryption="panel_key", compression_level=9, domain_ids=(domain.id,)
    )
    assert (backup.name, backup.type, backup.status) == ("nightly", BackupType.FULL, BackupStatus.PENDING)
    assert (backup.domains_count, backup.encrypted, backup.compression_level) == (1, True, 9)
    assert (await panel.backups.create(all_domains=True)).domains_count == 1

    sent = len(box.requests)
    for omission in ({}, {"domain_ids": []}, {"domain_ids": [], "all_domains": True}, {"all_domains": "yes"}):
        with pytest.raises(ValueError, match="domain_ids"):
            await panel.backups.create(**omission)
    with pytest.raises(ValueError, match="not both"):
        await panel.backups.create(domain_ids=[domain.id], all_domains=True)
    assert len(box.requests) == sent


async def test_backups_restore(panel: PanelicaClient, domain: Domain, later: Later) -> None:
    page = f"{DOCUMENT_ROOT}/index.html"
    await panel.files.write(path=page, content="before")
    backup = await panel.backups.create(domain_ids=[domain.id])
    later(60)
    await panel.files.write(path=page, content="after")
    done = await panel.backups.restore(
        backup.id, domain_ids=[domain.id], conflict_action="overwrite", create_pre_restore_backup=True
    )
    assert done.message == "Restore started"
    assert (await panel.files.read(path=page)).content == "before"
    assert len(await panel.backups.list().collect()) == 2
