"""The example of the README: an account, a domain, a record, and every active site.

Needs PANELICA_BASE_URL, PANELICA_API_KEY and PANELICA_API_SECRET in the environment.
"""

import asyncio

from panelica_async import PanelicaClient, PanelicaError


async def main() -> None:
    async with PanelicaClient(app_name="shop-setup") as panel:
        try:
            account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
            domain = await panel.domains.create(domain="acme.example", user_id=account.id, php_version="8.4")
        except PanelicaError as error:  # for example, the account exists already
            raise SystemExit(f"{error.message} ({error.hint})") from error
        await panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.10", ttl=3600)
        async for site in panel.domains.list(status="active"):  # every page
            print(site.domain, site.disk_usage_mb)


asyncio.run(main())
