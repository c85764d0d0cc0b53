from panelica_async import PanelicaClient
from panelica_async.models import CertificateStatus, CertificateType, Domain
from tests.operations.conftest import Later


async def test_ssl_certificates_list(panel: PanelicaClient, domain: Domain) -> None:
    assert await panel.ssl.certificates.list().collect() == []
    issued = await panel.ssl.certificates.issue(domain_id=domain.id, type="self_signed")
    assert await panel.ssl.certificates.list().collect() == [issued]


async def test_ssl_certificates_issue(panel: PanelicaClient, domain: Domain, later: Later) -> None:
    ordered = await panel.ssl.certificates.issue(domain_id=domain.id, type="lets_encrypt", auto_renew=False)
    assert (ordered.domain_id, ordered.domain, ordered.auto_renew) == (domain.id, "acme.example", False)
    assert (ordered.type, ordered.status) == (CertificateType.LETS_ENCRYPT, CertificateStatus.PENDING)
    later(60)
    [certificate] = await panel.ssl.certificates.list().collect()
    assert (certificate.id, certificate.status) == (ordered.id, CertificateStatus.ACTIVE)
    assert (await panel.domains.get(domain.id)).ssl_enabled


async def test_ssl_certificates_renew(panel: PanelicaClient, domain: Domain, later: Later) -> None:
    issued = await panel.ssl.certificates.issue(domain_id=domain.id, type="self_signed")
    later(120)
    renewed = await panel.ssl.certificates.renew(issued.id or "")
    assert renewed.id == issued.id
    assert renewed.expires_at is not None
    assert issued.expires_at is not None
    assert renewed.expires_at > issued.expires_at
