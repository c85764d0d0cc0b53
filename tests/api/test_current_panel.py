"""Calls to current panels: arguments are derived, applied by the client, or refused."""

import time
from collections.abc import AsyncIterator
from operator import attrgetter

import pytest

from panelica_async import NotFoundError, PanelicaClient, UnsupportedOperationError
from panelica_async.models import Account, Domain
from panelica_async.resources.registry import get_operation
from panelica_async.sandbox import Sandbox

PASSWORD = "correct horse 9"


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", dialect="panel") as box:
        yield box


@pytest.fixture
async def panel(box: Sandbox) -> AsyncIterator[PanelicaClient]:
    key = {"api_key": box.api_key, "api_secret": box.api_secret}
    async with PanelicaClient(box.base_url, dialect="panel", tier="enterprise", **key) as panel:
        yield panel


async def an_account(panel: PanelicaClient, name: str) -> Account:
    return await panel.accounts.create(username=name, email=f"{name}@example.com", password=PASSWORD)


@pytest.fixture
async def site(panel: PanelicaClient) -> Domain:
    account = await an_account(panel, "acme")
    return await panel.domains.create(domain="acme.example", user_id=account.id, web_server="nginx")


async def test_zeros_of_a_plan_are_kept(panel: PanelicaClient) -> None:
    plan = await panel.plans.create(name="Gold Plus", max_domains=0, max_databases=5, disk_space_mb=0)
    assert (plan.slug, plan.max_domains, plan.max_databases, plan.disk_space_mb) == ("gold-plus", 0, 5, 0)
    [listed] = [found async for found in panel.plans.list() if found.id == plan.id]
    assert listed == plan


async def test_lists_of_three_tenants_are_filtered_and_paged(panel: PanelicaClient) -> None:
    tenants = [await an_account(panel, f"tenant{number}") for number in range(3)]
    for tenant in tenants:
        for number in range(3):
            await panel.domains.create(domain=f"{tenant.username}-{number}.example", user_id=tenant.id)
    own = await panel.domains.list(user_id=tenants[1].id).collect()
    assert sorted(domain.domain for domain in own) == [f"tenant1-{number}.example" for number in range(3)]
    everything = await panel.domains.list().collect()
    assert [sum(map(tenant.owns, everything)) for tenant in tenants] == [3, 3, 3]
    pages = [await panel.domains.list(page=number, limit=4, sort="domain", order="desc") for number in (1, 2, 3)]
    assert [domain.domain for page in pages for domain in page.items] == sorted(
        (domain.domain for domain in everything), reverse=True
    )
    assert [(page.total, page.has_more) for page in pages] == [(9, True), (9, True), (9, False)]


async def test_record_is_changed_in_its_own_zone_alone(panel: PanelicaClient, site: Domain) -> None:
    other = await panel.domains.create(domain="other.example", user_id=str(site.user_id))
    record = await panel.dns.records.create(site.id, name="www", type="A", content="192.0.2.1")
    with pytest.raises(NotFoundError, match="nothing was changed"):
        await panel.dns.records.update(other.id, record.id, content="192.0.2.9")
    with pytest.raises(NotFoundError, match="nothing was changed"):
        await panel.dns.records.delete(other.id, record.id)
    changed = await panel.dns.records.update(site.id, record.id, content="192.0.2.2")
    assert (changed.id, changed.content) == (record.id, "192.0.2.2")
    await panel.dns.records.delete(site.id, record.id)
    assert record.id not in [found.id async for found in panel.dns.records.list(site.id)]


async def test_owner_is_found_for_calls_that_need_one(panel: PanelicaClient, site: Domain) -> None:
    ftp = await panel.ftp.accounts.create(username="deploy", domain_id=site.id, password=PASSWORD)
    assert ftp.user_id == site.user_id
    await panel.files.write(path="/home/acme/note.txt", content="hello")
    assert (await panel.files.read(path="/home/acme/note.txt")).content == "hello"
    database = await panel.databases.create(name="shop", domain_id=site.id, username="shop", password=PASSWORD)
    user = await panel.databases.users.create(database.id, username="clerk", password=PASSWORD, privileges="ALL")
    assert (user.domain_id, user.role) == (site.id, "dbOwner")


async def test_suspending_a_deleted_account_raises_not_found(panel: PanelicaClient) -> None:
    account = await an_account(panel, "acme")
    await panel.accounts.delete(account.id)
    # The panel answers 400 to all of these.
    await panel.accounts.delete(account.id)
    with pytest.raises(NotFoundError):
        await panel.accounts.suspend(account.id)
    with pytest.raises(NotFoundError):
        await panel.accounts.unsuspend(account.id)


async def test_argument_that_the_panel_cannot_honour_is_refused(
    box: Sandbox, panel: PanelicaClient, site: Domain
) -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        await panel.databases.create(
            name="shop", domain_id=site.id, type="postgresql", username="shop", password=PASSWORD
        )
    assert (caught.value.argument, bool(caught.value.hint)) == ("type", True)
    with pytest.raises(UnsupportedOperationError, match="ssl_type"):
        await panel.domains.create(domain="new.example", user_id=str(site.user_id), ssl_type="self_signed")
    with pytest.raises(ValueError, match="username is required by this panel"):
        await panel.databases.create(name="shop", domain_id=site.id, password=PASSWORD)
    with pytest.raises(ValueError, match="privileges must be one of"):
        await panel.databases.users.create("b1", username="clerk", password=PASSWORD, privileges="SELECT")
    assert await panel.databases.list().collect() == []
    assert [domain.domain async for domain in panel.domains.list()] == [site.domain]


async def test_settings_that_a_change_would_reset_are_kept(panel: PanelicaClient, site: Domain) -> None:
    before = (await panel.request("GET", f"/v1/domains/{site.id}/php")).data
    await panel.domains.update(site.id, php_version="8.3")
    after = (await panel.request("GET", f"/v1/domains/{site.id}/php")).data
    assert after == {**before, "php_version": "8.3"}


async def test_created_backup_can_be_awaited_and_restored() -> None:
    ahead = 0.0
    async with (
        Sandbox(tier="enterprise", dialect="panel", clock=lambda: time.time() + ahead) as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, dialect="panel") as panel,
    ):
        account = await an_account(panel, "acme")
        domain = await panel.domains.create(domain="acme.example", user_id=account.id)
        made = await panel.backups.create(name="nightly", domain_ids=[domain.id])
        assert made.id
        assert made.id == made.filename
        ahead = 120.0
        backup = await panel.backups.wait(made)
        assert (backup.id, (await panel.backups.wait("nightly")).id) == (made.id, made.id)
        await panel.backups.restore(made.id)
        await panel.backups.delete(made.id)
        assert await panel.backups.list().collect() == []


@pytest.mark.parametrize(
    ("name", "reason", "hint"),
    [
        (
            "ssl.certificates.list",
            "panels have no list of certificates",
            "Call panel.ssl.certificates.get(domain_id) instead.",
        ),
        (
            "cloudflare.zones.sync",
            "only set an address in the zone",
            "Call panel.cloudflare.zones.sync_ip(zone_id, …) instead.",
        ),
        ("webhooks.events", "panels do not list the events", "See docs/dialects.md for what they serve."),
    ],
)
async def test_error_of_a_missing_operation_says_why(panel: PanelicaClient, name: str, reason: str, hint: str) -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        await attrgetter(name)(panel)(*get_operation(name).wire.placeholders)
    assert f"do not serve {name}: " in str(caught.value)
    assert reason in str(caught.value.reason)
    assert caught.value.hint == hint
