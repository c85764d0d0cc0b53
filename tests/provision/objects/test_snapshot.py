"""Concurrent callers share one read of a list; a list is read again if the read fails or the list changes."""

import asyncio

import pytest

from panelica_async import PanelicaClient
from panelica_async.errors import DecodeError, ServerError
from panelica_async.provision.objects.snapshot import Inventory, Listing
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import CallEvent, Done, Event, Sent
from tests.provision.faulty_panel import Fault, FaultyPanel
from tests.provision.launching import client


async def test_callers_during_a_list_read_get_a_later_one(box: Sandbox) -> None:
    async with client(box) as panel:
        inventory = Inventory(panel)
        await asyncio.gather(*(inventory.refresh(Listing.DOMAINS) for _ in range(10)))

    assert inventory.calls == 2


@pytest.mark.parametrize("times", [1, 2])
async def test_list_that_grows_while_read_is_read_again(box: Sandbox, times: int) -> None:
    """Without limits, a list comes whole; the page after it holds 25 rows, so that it has old and new ones."""
    added: list[int] = []

    def add(event: Event) -> None:
        if isinstance(event, Sent) and "page" in str(event.query) and len(added) < times:
            added.append(len(added))
            insert(len(added) + 26)

    def insert(number: int) -> None:
        row = (f"id-{number}", f"user{number}", f"user{number}@example.com", "USER", number)
        box.database.execute("INSERT INTO accounts (id, username, email, role, created_at) VALUES (?, ?, ?, ?, ?)", row)

    for number in range(1, 26):
        insert(number)
    async with client(box) as panel:
        panel.subscribe(add)
        inventory = Inventory(panel)
        if times == 1:
            assert len((await inventory.refresh(Listing.ACCOUNTS)).accounts) == 27
        else:
            with pytest.raises(DecodeError, match="on an earlier page already"):
                await inventory.refresh(Listing.ACCOUNTS)
        assert inventory.calls == len(box.requests)


async def test_failed_read_of_a_list_is_repeated() -> None:
    async with (
        Sandbox(tier="enterprise") as box,
        FaultyPanel(box) as proxy,
        client(box, proxy.base_url, max_retries=0) as panel,
    ):
        inventory = Inventory(panel)
        proxy.read_faults = {"/v1/accounts": Fault.SERVER_ERROR}
        with pytest.raises(ServerError):
            await inventory.refresh(Listing.ACCOUNTS)
        snapshot = await inventory.refresh(Listing.ACCOUNTS)
    assert snapshot.accounts != ()


async def test_at_most_eight_zones_are_read_at_once() -> None:
    running: set[int] = set()
    most_at_once = 0

    def note(event: CallEvent) -> None:
        nonlocal most_at_once
        (running.discard if isinstance(event, Done) else running.add)(event.call)
        most_at_once = max(most_at_once, len(running))

    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        account = await panel.accounts.create(username="alder", email="a@alder.example", password="correct-horse")
        names = [f"s{number}.example" for number in range(20)]
        zones = [(await panel.domains.create(domain=name, user_id=account.id)).id for name in names]
        panel.subscribe(note)
        inventory = Inventory(panel)
        await inventory.refresh_each(Listing.ZONES, zones)

    assert (inventory.calls, len(inventory.snapshot.zones)) == (40, 20)
    assert most_at_once == 8


async def test_zone_of_a_domain_deleted_meanwhile_is_empty() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        inventory = Inventory(panel)
        await inventory.refresh_each(Listing.ZONES, ["d1"])
    assert inventory.snapshot.zones == {"d1": ()}


async def test_snapshot_has_no_certificates_when_panel_has_no_list(box: Sandbox) -> None:
    """Current panels have none (evidence: ssl-by-domain): what the domains say is all there is."""
    async with PanelicaClient(
        box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise", dialect="panel"
    ) as panel:
        inventory = Inventory(panel)
        snapshot = await inventory.refresh(Listing.CERTIFICATES)
        assert snapshot.certificates is None
        assert inventory.calls == 0
