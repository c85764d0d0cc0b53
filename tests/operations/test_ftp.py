from panelica_async import PanelicaClient
from panelica_async.models import Domain
from tests.operations.conftest import DOCUMENT_ROOT, PASSWORD


async def test_ftp_accounts_list(panel: PanelicaClient, domain: Domain) -> None:
    created = [
        await panel.ftp.accounts.create(username=name, password=PASSWORD, domain_id=domain.id)
        for name in ("deploy", "backup")
    ]
    assert await panel.ftp.accounts.list().collect() == created
    assert [user.username async for user in panel.ftp.accounts.list(sort="username")] == ["backup", "deploy"]


async def test_ftp_accounts_create(panel: PanelicaClient, domain: Domain) -> None:
    user = await panel.ftp.accounts.create(username="deploy", password=PASSWORD, domain_id=domain.id, quota_mb=100)
    assert (user.username, user.domain_id, user.quota_mb) == ("deploy", domain.id, 100)
    assert user.home_directory == DOCUMENT_ROOT
    images = await panel.ftp.accounts.create(
        username="images", password=PASSWORD, domain_id=domain.id, home_directory=f"{DOCUMENT_ROOT}/images"
    )
    assert images.home_directory == f"{DOCUMENT_ROOT}/images"
