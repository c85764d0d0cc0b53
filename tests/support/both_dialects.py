"""A user's program for each operation of the published reference, to run in both dialects.

`python -m tests.support.both_dialects --write` runs them and writes the table of docs/dialects.md.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs

from panelica_async import PanelicaClient, UnsupportedOperationError
from panelica_async.core.operation import Dialect
from panelica_async.models.accounts import Account
from panelica_async.models.backups import Backup
from panelica_async.models.domains import Domain
from panelica_async.resources.registry import get_operation
from panelica_async.sandbox import Sandbox

DIALECTS: tuple[Dialect, ...] = ("reference", "panel")
PAGE = Path(__file__).parents[2] / "docs/dialects.md"
MARKS = ("<!-- operations in both dialects -->", "<!-- end of the operations -->")

Program = Callable[["Scene"], Awaitable[object]]
"""Calls one operation as a user would, and returns what the user sees of its effect."""


@attrs.define
class Clock:
    """The panel's clock, which a program can set ahead instead of waiting."""

    ahead: float = 0.0
    """Seconds."""

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return time.time() + self.ahead


@attrs.frozen
class Scene:
    """What is on the panel before a program runs: a user with a site."""

    panel: PanelicaClient
    account: Account
    domain: Domain
    clock: "Clock"

    @property
    def home(self) -> str:
        """Directory of the user's site."""
        return f"/home/{self.account.username}/{self.domain.domain}/public_html"

    async def backup(self) -> Backup:
        """Create a backup of the site and return it from the list."""
        await self.panel.backups.create(name="nightly", domain_ids=[self.domain.id])
        self.clock.ahead += 120
        [backup] = await self.panel.backups.list().collect()
        return backup


PROGRAMS: dict[str, Program] = {}
"""The program of each operation."""


def program(operation: str) -> Callable[[Program], Program]:
    """Register a function as the program of an operation."""

    def register(function: Program) -> Program:
        PROGRAMS[operation] = function
        return function

    return register


async def run_program(dialect: Dialect, operation: str) -> object:
    """Run the program of an operation; return what the user sees, or the error of an operation that is not served.

    Args:
        dialect: The dialect of the sandbox and of the client.
        operation: Name of the operation.
    """
    clock = Clock()
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(Sandbox(tier="enterprise", clock=clock, dialect=dialect))
        connect = PanelicaClient(
            box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise", dialect=dialect
        )
        panel = await stack.enter_async_context(connect)
        account = await panel.accounts.create(
            username="john", email="john@example.com", password="SecurePassword123!", full_name="John"
        )
        domain = await panel.domains.create(domain="example.com", user_id=account.id)
        try:
            return await PROGRAMS[operation](Scene(panel, account, domain, clock))
        except UnsupportedOperationError as error:
            return error


@program("accounts.list")
async def _(scene: Scene) -> object:
    return sorted(account.username for account in await scene.panel.accounts.list().collect() if account.role == "USER")


@program("accounts.create")
async def _(scene: Scene) -> object:
    account = await scene.panel.accounts.create(
        username="mary", email="mary@example.com", password="SecurePassword123!", full_name="Mary"
    )
    return account.username, account.email, bool(account.id)


@program("accounts.get")
async def _(scene: Scene) -> object:
    account = await scene.panel.accounts.get(scene.account.id)
    return account.id == scene.account.id, account.username


@program("accounts.update")
async def _(scene: Scene) -> object:
    plan = await scene.panel.plans.create(name="Large", slug="large")
    await scene.panel.accounts.update(scene.account.id, plan_id=plan.id)
    return (await scene.panel.accounts.get(scene.account.id)).plan_id == plan.id


@program("accounts.delete")
async def _(scene: Scene) -> object:
    await scene.panel.accounts.delete(scene.account.id)
    return scene.account.id in [account.id async for account in scene.panel.accounts.list()]


@program("accounts.suspend")
async def _(scene: Scene) -> object:
    await scene.panel.accounts.suspend(scene.account.id, reason="Invoice 1042 is overdue")
    return ((await scene.panel.accounts.get(scene.account.id)).status or "").lower()


@program("accounts.unsuspend")
async def _(scene: Scene) -> object:
    await scene.panel.accounts.suspend(scene.account.id)
    await scene.panel.accounts.unsuspend(scene.account.id)
    return ((await scene.panel.accounts.get(scene.account.id)).status or "").lower()


@program("api_keys.list")
async def _(scene: Scene) -> object:
    await scene.panel.api_keys.create(name="Billing", scopes=["domains:read"])
    return "Billing" in [key.name async for key in scene.panel.api_keys.list()]


@program("api_keys.create")
async def _(scene: Scene) -> object:
    key = await scene.panel.api_keys.create(name="Billing", scopes=["domains:read"], rate_limit_tier="starter")
    return key.name, list(key.scopes or ()), key.api_key[:3], key.api_secret[:3]


@program("api_keys.regenerate")
async def _(scene: Scene) -> object:
    key = await scene.panel.api_keys.create(name="Billing", scopes=["domains:read"])
    return (await scene.panel.api_keys.regenerate(key.id)).api_secret != key.api_secret


@program("backups.list")
async def _(scene: Scene) -> object:
    await scene.backup()
    backups = await scene.panel.backups.list(status="completed").collect()
    return [((backup.name or "").partition("_")[0], backup.status) for backup in backups]


@program("backups.create")
async def _(scene: Scene) -> object:
    backup = await scene.panel.backups.create(name="nightly", domain_ids=[scene.domain.id])
    return (backup.name or "").partition("_")[0], bool(backup.id)


@program("backups.restore")
async def _(scene: Scene) -> object:
    await scene.panel.backups.restore((await scene.backup()).id)
    return True


@program("backups.delete")
async def _(scene: Scene) -> object:
    await scene.panel.backups.delete((await scene.backup()).id)
    return await scene.panel.backups.list().collect()


@program("bandwidth.get")
async def _(scene: Scene) -> object:
    usage = await scene.panel.bandwidth.get()
    return type(usage).__name__


@program("cloudflare.zones.list")
async def _(scene: Scene) -> object:
    return sorted([zone.name async for zone in scene.panel.cloudflare.zones.list()])


@program("cloudflare.zones.sync")
async def _(scene: Scene) -> object:
    zones = await scene.panel.cloudflare.zones.list().collect()
    await scene.panel.cloudflare.zones.sync(zones[0].id)
    return True


async def _database(scene: Scene) -> Any:
    return await scene.panel.databases.create(
        name="shop", type="mysql", domain_id=scene.domain.id, username="shop", password="SecurePassword123!"
    )


@program("databases.list")
async def _(scene: Scene) -> object:
    await _database(scene)
    return [
        (database.name.removeprefix("john_"), database.domain_id == scene.domain.id)
        async for database in scene.panel.databases.list(domain_id=scene.domain.id)
    ]


@program("databases.create")
async def _(scene: Scene) -> object:
    database = await _database(scene)
    return database.name.removeprefix("john_"), database.domain_id == scene.domain.id, bool(database.id)


@program("databases.users.create")
async def _(scene: Scene) -> object:
    database = await _database(scene)
    user = await scene.panel.databases.users.create(
        database.id, username="reader", password="SecurePassword123!", privileges="ALL", domain_id=scene.domain.id
    )
    return user.username.removeprefix("john_"), bool(user.id)


@program("databases.delete")
async def _(scene: Scene) -> object:
    await scene.panel.databases.delete((await _database(scene)).id)
    return await scene.panel.databases.list().collect()


async def _record(scene: Scene) -> Any:
    return await scene.panel.dns.records.create(scene.domain.id, name="www", type="A", content="203.0.113.7", ttl=3600)


async def _own_records(scene: Scene) -> object:
    return [
        (record.name, record.type, record.content, record.ttl)
        async for record in scene.panel.dns.records.list(scene.domain.id)
        if record.content.startswith("203.0.113.")
    ]


@program("dns.records.list")
async def _(scene: Scene) -> object:
    await _record(scene)
    return await _own_records(scene)


@program("dns.records.create")
async def _(scene: Scene) -> object:
    record = await _record(scene)
    return record.name, record.type, record.content, bool(record.id)


@program("dns.records.update")
async def _(scene: Scene) -> object:
    await scene.panel.dns.records.update(scene.domain.id, (await _record(scene)).id, content="203.0.113.8")
    return await _own_records(scene)


@program("dns.records.delete")
async def _(scene: Scene) -> object:
    await scene.panel.dns.records.delete(scene.domain.id, (await _record(scene)).id)
    return await _own_records(scene)


@program("domains.list")
async def _(scene: Scene) -> object:
    await scene.panel.domains.create(domain="shop.example.com", user_id=scene.account.id)
    page = await scene.panel.domains.list(user_id=scene.account.id, limit=1, sort="domain", order="desc")
    every = [domain.domain async for domain in scene.panel.domains.list(status="active", sort="domain")]
    return [domain.domain for domain in page.items], every


@program("domains.create")
async def _(scene: Scene) -> object:
    domain = await scene.panel.domains.create(
        domain="new.example.com", user_id=scene.account.id, php_version="8.3", web_server="nginx"
    )
    return domain.domain, domain.user_id == scene.account.id, domain.php_version, domain.web_server, bool(domain.id)


@program("domains.get")
async def _(scene: Scene) -> object:
    domain = await scene.panel.domains.get(scene.domain.id)
    return domain.domain, domain.id == scene.domain.id


@program("domains.update")
async def _(scene: Scene) -> object:
    await scene.panel.domains.update(scene.domain.id, php_version="8.4")
    return (await scene.panel.domains.get(scene.domain.id)).php_version


@program("domains.delete")
async def _(scene: Scene) -> object:
    await scene.panel.domains.delete(scene.domain.id)
    return await scene.panel.domains.list().collect()


@program("domains.suspend")
async def _(scene: Scene) -> object:
    await scene.panel.domains.suspend(scene.domain.id)
    return [domain.domain async for domain in scene.panel.domains.list(status="suspended")]


@program("domains.unsuspend")
async def _(scene: Scene) -> object:
    await scene.panel.domains.suspend(scene.domain.id)
    await scene.panel.domains.unsuspend(scene.domain.id)
    return [domain.domain async for domain in scene.panel.domains.list(status="suspended")]


async def _mailbox(scene: Scene) -> Any:
    return await scene.panel.email.accounts.create(
        local_part="info", domain_id=scene.domain.id, password="SecurePassword123!", quota_mb=512
    )


@program("email.accounts.list")
async def _(scene: Scene) -> object:
    await _mailbox(scene)
    return [(box.email, box.quota_mb) async for box in scene.panel.email.accounts.list(domain_id=scene.domain.id)]


@program("email.accounts.create")
async def _(scene: Scene) -> object:
    box = await _mailbox(scene)
    return box.email, box.quota_mb, bool(box.id)


@program("email.accounts.delete")
async def _(scene: Scene) -> object:
    await scene.panel.email.accounts.delete((await _mailbox(scene)).id)
    return await scene.panel.email.accounts.list().collect()


@program("files.list")
async def _(scene: Scene) -> object:
    await scene.panel.files.write(path=f"{scene.home}/robots.txt", content="User-agent: *\n")
    return "robots.txt" in [entry.name async for entry in scene.panel.files.list(path=scene.home)]


@program("files.read")
async def _(scene: Scene) -> object:
    await scene.panel.files.write(path=f"{scene.home}/robots.txt", content="User-agent: *\n")
    return (await scene.panel.files.read(path=f"{scene.home}/robots.txt")).content


@program("files.write")
async def _(scene: Scene) -> object:
    await scene.panel.files.write(path=f"{scene.home}/robots.txt", content="one")
    await scene.panel.files.write(path=f"{scene.home}/robots.txt", content="two")
    return (await scene.panel.files.read(path=f"{scene.home}/robots.txt")).content


@program("files.delete")
async def _(scene: Scene) -> object:
    await scene.panel.files.write(path=f"{scene.home}/robots.txt", content="one")
    await scene.panel.files.delete(path=f"{scene.home}/robots.txt")
    return "robots.txt" in [entry.name async for entry in scene.panel.files.list(path=scene.home)]


async def _ftp_user(scene: Scene) -> Any:
    return await scene.panel.ftp.accounts.create(
        username="deploy", password="SecurePassword123!", domain_id=scene.domain.id, quota_mb=100
    )


@program("ftp.accounts.list")
async def _(scene: Scene) -> object:
    await _ftp_user(scene)
    return [(user.username.removeprefix("john_"), user.quota_mb) async for user in scene.panel.ftp.accounts.list()]


@program("ftp.accounts.create")
async def _(scene: Scene) -> object:
    user = await _ftp_user(scene)
    return user.username.removeprefix("john_"), user.quota_mb, bool(user.id)


@program("ftp.accounts.delete")
async def _(scene: Scene) -> object:
    await scene.panel.ftp.accounts.delete((await _ftp_user(scene)).id)
    return await scene.panel.ftp.accounts.list().collect()


@program("plans.list")
async def _(scene: Scene) -> object:
    await scene.panel.plans.create(name="Large", slug="large", max_domains=7)
    return [plan.max_domains async for plan in scene.panel.plans.list() if plan.name == "Large"]


@program("plans.create")
async def _(scene: Scene) -> object:
    plan = await scene.panel.plans.create(name="Large", max_domains=0, disk_space_mb=0)
    return plan.name, plan.max_domains, plan.disk_space_mb, bool(plan.id)


@program("plans.update")
async def _(scene: Scene) -> object:
    plan = await scene.panel.plans.create(name="Large", slug="large", max_domains=7)
    await scene.panel.plans.update(plan.id, max_domains=0)
    return [plan.max_domains async for plan in scene.panel.plans.list() if plan.name == "Large"]


@program("server.status")
async def _(scene: Scene) -> object:
    return type(await scene.panel.server.status()).__name__


@program("server.services.list")
async def _(scene: Scene) -> object:
    return "nginx" in [service.name async for service in scene.panel.server.services.list()]


@program("server.services.start")
async def _(scene: Scene) -> object:
    await scene.panel.server.services.start("nginx")
    return True


@program("server.services.stop")
async def _(scene: Scene) -> object:
    await scene.panel.server.services.stop("nginx")
    return True


@program("server.services.restart")
async def _(scene: Scene) -> object:
    await scene.panel.server.services.restart("nginx")
    return True


@program("ssl.certificates.list")
async def _(scene: Scene) -> object:
    await scene.panel.ssl.certificates.issue(domain_id=scene.domain.id, type="lets_encrypt")
    certificates = await scene.panel.ssl.certificates.list().collect()
    return [certificate.domain_id == scene.domain.id for certificate in certificates]


@program("ssl.certificates.issue")
async def _(scene: Scene) -> object:
    certificate = await scene.panel.ssl.certificates.issue(
        domain_id=scene.domain.id, type="lets_encrypt", auto_renew=True
    )
    return certificate.domain_id == scene.domain.id


@program("ssl.certificates.renew")
async def _(scene: Scene) -> object:
    certificate = await scene.panel.ssl.certificates.issue(domain_id=scene.domain.id, type="lets_encrypt")
    await scene.panel.ssl.certificates.renew(certificate.id or scene.domain.id)
    return True


@program("rate_limit")
async def _(scene: Scene) -> object:
    return (await scene.panel.rate_limit()).tier


@program("health")
async def _(scene: Scene) -> object:
    return (await scene.panel.health()).status in {"ok", "healthy"}


@program("me")
async def _(scene: Scene) -> object:
    return list((await scene.panel.me()).scopes)


@program("postman_collection")
async def _(scene: Scene) -> object:
    return "item" in await scene.panel.postman_collection()


async def _webhook(scene: Scene) -> Any:
    return await scene.panel.webhooks.create(
        name="Billing",
        destination_type="http",
        destination_config={"url": "http://127.0.0.1:9/", "method": "POST"},
        events=["domain.created"],
    )


@program("webhooks.list")
async def _(scene: Scene) -> object:
    await _webhook(scene)
    return [(hook.name, list(hook.events or ())) async for hook in scene.panel.webhooks.list()]


@program("webhooks.create")
async def _(scene: Scene) -> object:
    hook = await _webhook(scene)
    return hook.name, hook.destination_type, bool(hook.id)


@program("webhooks.events")
async def _(scene: Scene) -> object:
    return bool((await scene.panel.webhooks.events()).categories)


@program("webhooks.stats")
async def _(scene: Scene) -> object:
    await _webhook(scene)
    return (await scene.panel.webhooks.stats()).total_webhooks


@program("webhooks.logs")
async def _(scene: Scene) -> object:
    return await scene.panel.webhooks.logs((await _webhook(scene)).id).collect()


@program("webhooks.test")
async def _(scene: Scene) -> object:
    await scene.panel.webhooks.test((await _webhook(scene)).id)
    return True


async def table() -> str:
    """Return the table for the page: each operation, and whether current panels serve it."""
    lines = ["| operation | on current panels | arguments that panels cannot honour |\n", "|---|---|---|\n"]
    for name in PROGRAMS:
        found = await run_program("panel", name)
        on_panels = f"not served: {_why_absent(found)}" if isinstance(found, UnsupportedOperationError) else "works"
        lines.append(f"| `{name}` | {on_panels} | {_refused_arguments(name)} |\n")
    return "".join(lines)


def _why_absent(error: UnsupportedOperationError) -> str:
    """Return why panels do not serve an operation, and what they have instead."""
    instead = get_operation(error.operation).instead
    return f"{error.reason}; call `{get_operation(instead).example}`" if instead else str(error.reason)


def _refused_arguments(operation: str) -> str:
    """Return the arguments that raise in the panel dialect, with the values that are accepted."""
    wire = get_operation(operation).wires.get("panel")
    if wire is None:
        return ""
    return ", ".join(
        f"`{name}`" + "".join(f" (except `{value}`)" for value in refusal.unless)
        for name, refusal in wire.refused.items()
    )


def table_on_page() -> str:
    """Return the table on the page."""
    return PAGE.read_text("utf-8").split(MARKS[0], 1)[1].split(MARKS[1], 1)[0].strip() + "\n"


def main() -> None:
    """Show the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/dialects.md")
    text = asyncio.run(table())
    if not parser.parse_args().write:
        print(text)
        return
    before, mark, rest = PAGE.read_text("utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{mark}\n{text.strip()}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
