"""A panel that loses creates or their replies, the eight creates that can be looked up, and ways to alter its lists."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import attrs
from aiohttp import hdrs, web

from panelica_async import PanelicaClient
from panelica_async.models.domains import Domain
from panelica_async.sandbox import Sandbox
from panelica_async.transport.clock import PanelClock
from tests.support.faulty_proxy import Fault, FaultyProxy

PASSWORD = "correct horse 9"
DONE, NOT_DONE = Fault.LOST_REPLY, Fault.LOST_REQUEST

Send = Callable[[PanelicaClient, Domain], Awaitable[Any]]
Show = Callable[[list[dict[str, Any]]], object]


@attrs.frozen
class Create:
    """A create with a natural key."""

    operation: str
    send: Send
    table: str
    condition: str
    """Selects the rows that it creates, on the domain `:id`."""
    hint: str
    shows_time: bool = True
    """Whether the panel shows when the object was created."""

    def count(self, box: Sandbox, site: Domain) -> int:
        sql = f"SELECT count(*) FROM {self.table} WHERE {self.condition}"
        [count] = box.database.execute(sql, {"id": site.id}).fetchone()
        return int(count)

    def make_older(self, box: Sandbox, site: Domain, seconds: int) -> None:
        """Make the object older by some seconds."""
        sql = f"UPDATE {self.table} SET created_at = created_at - :seconds WHERE {self.condition}"
        assert box.database.execute(sql, {"id": site.id, "seconds": seconds}).rowcount == 1


CREATES = [
    Create(
        "accounts.create",
        lambda panel, site: panel.accounts.create(username="beech", email="beech@example.com", password=PASSWORD),
        "accounts",
        "username = 'beech'",
        "Look for username 'beech' with panel.accounts.list() before you send it again.",
    ),
    Create(
        "databases.create",
        lambda panel, site: panel.databases.create(
            name="shop", type="mysql", domain_id=site.id, username="shop", password=PASSWORD
        ),
        "databases",
        "name = 'shop'",
        "Look for name 'shop', domain_id '{id}' with panel.databases.list() before you send it again.",
    ),
    Create(
        "dns.records.create",
        lambda panel, site: panel.dns.records.create(site.id, name="www", type="A", content="192.0.2.1", ttl=60),
        "dns_records",
        "zone_id = :id AND name = 'www'",
        "Look for zone_id '{id}', name 'www', type 'A', content '192.0.2.1' with panel.dns.records.list() before",
        shows_time=False,
    ),
    Create(
        "domains.create",
        lambda panel, site: panel.domains.create(domain="new.example", user_id=str(site.user_id), php_version="8.4"),
        "domains",
        "domain = 'new.example'",
        "Look for domain 'new.example' with panel.domains.list() before you send it again.",
    ),
    Create(
        "email.accounts.create",
        lambda panel, site: panel.email.accounts.create(local_part="Info", domain_id=site.id, password=PASSWORD),
        "email_accounts",
        "domain_id = :id AND email LIKE 'info@%'",
        "Look for domain_id '{id}', local_part 'Info' with panel.email.accounts.list() before you send it again.",
    ),
    Create(
        "ftp.accounts.create",
        lambda panel, site: panel.ftp.accounts.create(username="deploy", domain_id=site.id, password=PASSWORD),
        "ftp_accounts",
        "username = 'deploy'",
        "Look for username 'deploy' with panel.ftp.accounts.list() before you send it again.",
    ),
    Create(
        "plans.create",
        lambda panel, site: panel.plans.create(name="Gold", max_domains=5, php_versions=["8.4"]),
        "plans",
        "name = 'Gold'",
        "Look for name 'Gold' with panel.plans.list() before you send it again.",
        shows_time=False,
    ),
    Create(
        "ssl.certificates.issue",
        lambda panel, site: panel.ssl.certificates.issue(domain_id=site.id, type="self_signed"),
        "certificates",
        "domain_id = :id",
        "Look for domain_id '{id}' with panel.ssl.certificates.list() before you send it again.",
    ),
]
BY_NAME = {create.operation: create for create in CREATES}


class LossyPanel(FaultyProxy):
    """Loses creates or the replies to them, and alters lists as `show` says."""

    def __init__(self, box: Sandbox, fault: Fault | None, show: Show | None = None) -> None:
        super().__init__(box, lambda request: fault if request.method == "POST" else None)
        self.box = box
        self.seen: list[str] = []
        self.show = show

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path.removeprefix('/api/external')}")
        return await super().serve(request)

    async def forward(self, request: web.Request) -> web.Response:
        response = await super().forward(request)
        rows = json.loads(response.body) if request.method == "GET" else None
        if self.show is None or not isinstance(rows, list):
            return response
        return web.json_response(self.show(rows), headers={hdrs.DATE: response.headers[hdrs.DATE]})

    def client(self, **options: Any) -> PanelicaClient:
        key = {"api_key": self.box.api_key, "api_secret": self.box.api_secret}
        return PanelicaClient(**{"base_url": self.base_url, "tier": "enterprise", **key, **options})


@asynccontextmanager
async def lossy_client(
    box: Sandbox, fault: Fault, show: Show | None = None, **options: Any
) -> AsyncIterator[PanelicaClient]:
    """Connect to a panel that loses creates, and learn its time."""
    async with LossyPanel(box, fault, show) as proxy, proxy.client(**options) as panel:
        await panel.health()
        yield panel


def without(*names: str) -> Show:
    return lambda rows: [{name: value for name, value in row.items() if name not in names} for row in rows]


def with_prefix(prefix: str) -> Show:
    """Show names with a prefix, as current panels do (evidence: databases-prefix)."""
    return lambda rows: [
        {name: f"{prefix}{value}" if name in {"name", "username"} else value for name, value in row.items()}
        for row in rows
    ]


@asynccontextmanager
async def timed_lossy_panel(
    kind: type[LossyPanel], fault: Fault, began: float = 0.0
) -> AsyncIterator[tuple[LossyPanel, PanelicaClient, PanelicaClient, Domain]]:
    """Yield a panel in virtual time, a client whose creates it loses, a client without that fault, and a domain."""
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return 1_700_000_000 + began + loop.time()

    async with Sandbox(tier="enterprise", clock=clock) as box, kind(box, fault) as proxy:
        with patch("panelica_async.client.PanelClock", lambda: PanelClock(clock, loop.time)):
            panel, direct = proxy.client(), proxy.client(base_url=box.base_url)
        async with panel, direct:
            account = await direct.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
            site = await direct.domains.create(domain="acme.example", user_id=account.id)
            await panel.health()
            proxy.seen.clear()
            yield proxy, panel, direct, site
