"""What exists on the panel already, read by list calls only."""

import asyncio
import enum
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from panelica_async.client.client import PanelicaClient
from panelica_async.client.paginator import Paginator
from panelica_async.errors import UnsupportedOperationError
from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.models.plans import Plan
from panelica_async.models.ssl import Certificate

_T = TypeVar("_T")

_ZONES_AT_ONCE = 8


class Listing(enum.Enum):
    """A kind of object that one list call shows all of. The value is the field of `Snapshot`."""

    ACCOUNTS = "accounts"
    PLANS = "plans"
    DOMAINS = "domains"
    CERTIFICATES = "certificates"
    DATABASES = "databases"
    MAILBOXES = "mailboxes"
    FTP_USERS = "ftp_users"
    ZONES = "zones"
    """Records of one zone; a call for each."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """What was found, by listing. What was not read is empty."""

    accounts: tuple[Account, ...] = ()
    plans: tuple[Plan, ...] = ()
    domains: tuple[Domain, ...] = ()
    certificates: tuple[Certificate, ...] | None = ()
    """None when the panel has no list of certificates (panel-facts D.11)."""
    databases: tuple[Database, ...] = ()
    mailboxes: tuple[EmailAccount, ...] = ()
    ftp_users: tuple[FtpAccount, ...] = ()
    zones: Mapping[str, tuple[DnsRecord, ...]] = attrs.field(factory=dict)
    """Records by zone; a zone that was not read is not there."""


_LISTS: Mapping[Listing, Callable[[PanelicaClient], Paginator[Any]]] = {
    Listing.ACCOUNTS: lambda panel: panel.accounts.list(),
    Listing.PLANS: lambda panel: panel.plans.list(),
    Listing.DOMAINS: lambda panel: panel.domains.list(),
    Listing.CERTIFICATES: lambda panel: panel.ssl.certificates.list(),
    Listing.DATABASES: lambda panel: panel.databases.list(),
    Listing.MAILBOXES: lambda panel: panel.email.accounts.list(),
    Listing.FTP_USERS: lambda panel: panel.ftp.accounts.list(),
}


class Inventory:
    """Reads the panel's lists and keeps what they said.

    Args:
        panel: The panel to read; only list calls are made.
        snapshot: What is known from before.
        on_call: Called after each list call.

    Attributes:
        snapshot: What is known now.
        calls: Number of list calls made; a list of several pages takes several.
    """

    def __init__(
        self,
        panel: PanelicaClient,
        snapshot: Snapshot | None = None,
        on_call: Callable[[], None] = lambda: None,
    ) -> None:
        self.snapshot = snapshot or Snapshot()
        self.calls = 0
        self._panel = panel
        self._on_call = on_call
        self._locks: defaultdict[tuple[Listing, str | None], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tickets = itertools.count()
        self._begun: dict[tuple[Listing, str | None], int] = {}

    async def refresh(self, listing: Listing, zone_id: str | None = None) -> Snapshot:
        """Read a list again. Whoever asks before a reading has begun shares it, whoever asks later gets the next one.

        Args:
            listing: What to read.
            zone_id: The zone, for `ZONES`.

        Returns:
            The snapshot with what the list says now.
        """
        key = (listing, zone_id)
        asked = next(self._tickets)
        async with self._locks[key]:
            if self._begun.get(key, -1) < asked:
                begun = next(self._tickets)
                await self._read(listing, zone_id)
                self._begun[key] = begun
        return self.snapshot

    async def refresh_zones(self, zone_ids: Iterable[str]) -> None:
        """Read the records of zones, several at a time."""
        slots = asyncio.Semaphore(_ZONES_AT_ONCE)

        async def refresh_one(zone_id: str) -> None:
            async with slots:
                await self.refresh(Listing.ZONES, zone_id)

        try:
            async with asyncio.TaskGroup() as group:
                for zone_id in zone_ids:
                    group.create_task(refresh_one(zone_id))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _read(self, listing: Listing, zone_id: str | None) -> None:
        found: Any
        if zone_id is not None:
            records = await self._rows(self._panel.dns.records.list(zone_id))
            found = {**self.snapshot.zones, zone_id: records}
        else:
            try:
                found = await self._rows(_LISTS[listing](self._panel))
            except UnsupportedOperationError:
                if listing is not Listing.CERTIFICATES:
                    raise
                found = None
        changes: dict[str, Any] = {listing.value: found}
        self.snapshot = attrs.evolve(self.snapshot, **changes)

    async def _rows(self, paginator: Paginator[_T]) -> tuple[_T, ...]:
        rows: list[_T] = []
        async for page in paginator.pages():
            self.calls += 1
            self._on_call()
            rows += page.items
        return tuple(rows)
