from panelica_async import PanelicaClient
from panelica_async.models import Account, Domain
from tests.operations.conftest import PASSWORD


async def test_email_accounts_list(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    info = await panel.email.accounts.create(local_part="info", domain_id=domain.id, password=PASSWORD)
    elsewhere = await panel.domains.create(domain="other.example", user_id=account.id)
    sales = await panel.email.accounts.create(local_part="sales", domain_id=elsewhere.id, password=PASSWORD)
    assert await panel.email.accounts.list().collect() == [info, sales]
    assert await panel.email.accounts.list(domain_id=domain.id).collect() == [info]


async def test_email_accounts_create(panel: PanelicaClient, domain: Domain) -> None:
    mailbox = await panel.email.accounts.create(
        local_part="info", domain_id=domain.id, password=PASSWORD, quota_mb=2048
    )
    assert (mailbox.email, mailbox.domain_id, mailbox.quota_mb) == ("info@acme.example", domain.id, 2048)
    assert mailbox.status == "active"
