"""A small launch, and the state of the panel after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from panelica_async import PanelicaClient
from panelica_async.provision import SiteOutcome
from panelica_async.sandbox import Sandbox

SITES = [
    {
        "domain": "alder.example",
        "owner": {"username": "alder", "email": "office@alder.example", "plan": "Starter"},
        "php_version": "8.4",
        "ssl": "yes",
        "dns": ["www A 192.0.2.10", "@ MX 10 mail.alder.example"],
        "databases": ["shop:reader+writer"],
        "mailboxes": ["info", "sales::2048"],
        "ftp_users": ["deploy"],
    },
    {
        "domain": "blog.alder.example",
        "owner": "alder",
        "dns": ["@ TXT v=spf1 -all"],
        "databases": ["postgresql/blog:author"],
    },
    {
        "domain": "beech.example",
        "owner": {"username": "beech", "email": "office@beech.example", "password": "correct-horse"},
        "ssl": "self_signed",
        "mailboxes": "info",
    },
]
WRITES = 19
"""Number of calls that create everything."""

_STATE = {
    "accounts": """
        SELECT a.username, a.email, a.role, p.name FROM accounts AS a LEFT JOIN plans AS p ON p.id = a.plan_id""",
    "domains": """
        SELECT d.domain, a.username, d.php_version, d.web_server
        FROM domains AS d JOIN accounts AS a ON a.id = d.user_id""",
    "records": """
        SELECT d.domain, r.name, r.type, r.content, r.ttl, r.priority
        FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id""",
    "certificates": """
        SELECT d.domain, c.type, c.auto_renew FROM certificates AS c JOIN domains AS d ON d.id = c.domain_id""",
    "databases": """
        SELECT d.domain, b.type, b.name FROM databases AS b JOIN domains AS d ON d.id = b.domain_id""",
    "database users": """
        SELECT b.type, b.name, u.username, u.privileges
        FROM database_users AS u JOIN databases AS b ON b.id = u.database_id""",
    "mailboxes": """
        SELECT e.email, d.domain, e.quota_mb FROM email_accounts AS e JOIN domains AS d ON d.id = e.domain_id""",
    "FTP users": """
        SELECT f.username, d.domain, f.home_directory, f.quota_mb
        FROM ftp_accounts AS f JOIN domains AS d ON d.id = f.domain_id""",
}


def state(box: Sandbox) -> dict[str, list[tuple[object, ...]]]:
    """Return every object on the panel, duplicates included, without ids and times."""
    return {kind: sorted(map(tuple, box.database.execute(query)), key=repr) for kind, query in _STATE.items()}


@asynccontextmanager
async def client(box: Sandbox, base_url: str | None = None, **options: Any) -> AsyncIterator[PanelicaClient]:
    """Connect to a sandbox, or to the proxy in front of it."""
    async with PanelicaClient(
        base_url or box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise", **options
    ) as panel:
        yield panel


async def collect(outcomes: AsyncIterator[SiteOutcome], into: list[SiteOutcome] | None = None) -> list[SiteOutcome]:
    """Return the outcomes of a run; after an error, `into` holds those before it."""
    into = [] if into is None else into
    async for outcome in outcomes:
        into.append(outcome)
    return into


def statuses(outcomes: list[SiteOutcome]) -> dict[str, str]:
    """Return the status of each site."""
    assert len({outcome.domain for outcome in outcomes}) == len(outcomes)
    return {outcome.domain: outcome.status.value for outcome in outcomes}
