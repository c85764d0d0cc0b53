from panelica_async import PanelicaClient
from panelica_async.models import Account, Domain, DomainStatus
from tests.operations.conftest import DOCUMENT_ROOT


async def test_domains_list(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    other = await panel.domains.create(domain="other.example", user_id=account.id)
    await panel.domains.suspend(other.id)
    assert [listed.id for listed in await panel.domains.list().collect()] == [domain.id, other.id]
    assert [listed.id async for listed in panel.domains.list(status="suspended")] == [other.id]
    assert [listed.id async for listed in panel.domains.list(user_id="nobody")] == []
    assert [listed.domain async for listed in panel.domains.list(sort="domain", order="desc", limit=1)] == [
        "other.example",
        "acme.example",
    ]


async def test_domains_create(panel: PanelicaClient, account: Account) -> None:
    domain = await panel.domains.create(
        domain="Acme.example", user_id=account.id, php_version="8.4", web_server="apache", ssl_type="self_signed"
    )
    assert (domain.domain, domain.user_id) == ("acme.example", account.id)
    assert (domain.php_version, domain.web_server, domain.status) == ("8.4", "apache", DomainStatus.ACTIVE)
    assert (domain.ssl_enabled, domain.document_root) == (True, DOCUMENT_ROOT)


async def test_domains_update(panel: PanelicaClient, domain: Domain) -> None:
    changed = await panel.domains.update(domain.id, php_version="8.5")
    assert (changed.php_version, changed.web_server) == ("8.5", domain.web_server)
    assert (await panel.domains.update(domain.id, web_server="nginx_apache")).php_version == "8.5"


async def test_domains_suspend(panel: PanelicaClient, domain: Domain) -> None:
    assert (await panel.domains.suspend(domain.id)).message == "Domain suspended"
    assert (await panel.domains.get(domain.id)).status is DomainStatus.SUSPENDED


async def test_domains_unsuspend(panel: PanelicaClient, domain: Domain) -> None:
    await panel.domains.suspend(domain.id)
    assert (await panel.domains.unsuspend(domain.id)).message == "Domain unsuspended"
    assert (await panel.domains.get(domain.id)).status is DomainStatus.ACTIVE
