from panelica_async import PanelicaClient
from panelica_async.models import Domain, RecordType


async def test_dns_records_list(panel: PanelicaClient, domain: Domain) -> None:
    records = await panel.dns.records.list(domain.id).collect()
    assert {(record.name, record.type, record.zone_id) for record in records} == {("@", RecordType.NS, domain.id)}
    assert len([record async for record in panel.dns.records.list(domain.id, limit=1)]) == len(records)


async def test_dns_records_create(panel: PanelicaClient, domain: Domain) -> None:
    www = await panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.10", ttl=600)
    assert (www.name, www.type, www.content, www.ttl) == ("www", RecordType.A, "192.0.2.10", 600)
    assert www.priority is None
    mail = await panel.dns.records.create(domain.id, name="@", type="MX", content="mail.acme.example", priority=5)
    assert (mail.ttl, mail.priority) == (3600, 5)
    assert (await panel.dns.records.list(domain.id).collect())[-2:] == [www, mail]


async def test_dns_records_update(panel: PanelicaClient, domain: Domain) -> None:
    record = await panel.dns.records.create(domain.id, name="@", type="MX", content="mail.acme.example")
    changed = await panel.dns.records.update(domain.id, record.id, content="mx.acme.example", priority=0)
    assert (changed.id, changed.content, changed.priority) == (record.id, "mx.acme.example", 0)
    assert (changed.name, changed.ttl) == (record.name, record.ttl)
