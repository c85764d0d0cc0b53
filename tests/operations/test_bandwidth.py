from datetime import UTC, datetime

from panelica_async import PanelicaClient
from panelica_async.models import Domain
from tests.operations.conftest import Later


async def test_bandwidth_get(panel: PanelicaClient, domain: Domain, later: Later) -> None:
    later(100)
    month = datetime.now(UTC).strftime("%Y-%m")
    usage = await panel.bandwidth.get(period="monthly", month=month)
    assert usage.period == month
    [site] = usage.domains or []
    assert site.domain == "acme.example"
    assert (usage.total_bytes_in, usage.total_bytes_out) == (site.bytes_in, site.bytes_out)
    assert (await panel.bandwidth.get(month="1999-12")).total_bytes_out == 0
