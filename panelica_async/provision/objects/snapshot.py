"""Reads what exists on the panel, by list calls only."""

import asyncio
import enum
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import attrs

from panelica_async.api.pagination import Paginator
from panelica_async.client import PanelicaClient
from panelica_async.errors import DecodeError, NotFoundError, PanelicaError, UnsupportedOperationError
from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.models.plans import Plan
from panelica_async.models.ssl import Certificate
from panelica_async.provision.manifest.fields import canonical_spelling, host_name, php_version

_T = TypeVar("_T")
_Key = TypeVar("_Key")

_MAX_CONCURRENT_READS = 8


def is_hosting_account(account: Account) -> bool:
    """Return whether an account may be provisioned: administrators are in the same list (evidence: accounts-list).

    Rows of old panels have no role (evidence: accounts-list), and its case varies (evidence: case-varies).
    """
    return account.role is None or account.role.upper() == "USER"


class Listing(enum.Enum):
    """A list of the panel. The value is the field of `Snapshot`."""

    ACCOUNTS = "accounts"
    PLANS = "plans"
    DOMAINS = "domains"
    CERTIFICATES = "certificates"
    DATABASES = "databases"
    MAILBOXES = "mailboxes"
    FTP_USERS = "ftp_users"
    ZONES = "zones"
    """Records of one zone; a call for each, by the id of its domain (evidence: dns-zones)."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """What the lists show. Those that were not read are empty."""

    accounts: tuple[Account, ...] = ()
    plans: tuple[Plan, ...] = ()
    domains: tuple[Domain, ...] = ()
    certificates: tuple[Certificate, ...] | None = ()
    """None when the panel has no list of certificates (evidence: ssl-by-domain)."""
    secured: Mapping[str, bool] = attrs.field(factory=dict[str, bool])
    """Whether a domain has a certificate, by its id, on panels without that list; unchecked domains are left out."""
    databases: tuple[Database, ...] = ()
    mailboxes: tuple[EmailAccount, ...] = ()
    ftp_users: tuple[FtpAccount, ...] = ()
    zones: Mapping[str, tuple[DnsRecord, ...]] = attrs.field(factory=dict[str, tuple[DnsRecord, ...]])
    """Records by zone; zones that were not read are left out."""

    @cached_property
    def created_at(self) -> Mapping[Listing, Mapping[str, datetime]]:
        """When objects were created, by the panel's clock, by list and id; those that show no time are left out."""
        lists: Iterable[tuple[Listing, Iterable[Any]]] = (
            (listing, getattr(self, listing.value) or ()) for listing in Listing if listing is not Listing.ZONES
        )
        return {
            listing: {row.id: at for row in rows if (at := getattr(row, "created_at", None)) is not None}
            for listing, rows in lists
        }

    @cached_property
    def accounts_by_name(self) -> Mapping[str, Account]:
        """Accounts by user name in lower case; a hosting account wins over an administrator of the same name."""
        hosting = filter(is_hosting_account, self.accounts)
        return _by_name(self.accounts, _username, str.lower) | _by_name(hosting, _username, str.lower)

    @cached_property
    def accounts_by_id(self) -> Mapping[str, Account]:
        """Accounts by id."""
        return {account.id: account for account in self.accounts}

    @cached_property
    def accounts_by_email(self) -> Mapping[str, Account]:
        """Accounts by e-mail address, as `canonical_address` writes it; those without one are left out."""
        return {canonical_address(account.email): account for account in self.accounts if account.email}

    @cached_property
    def php_versions(self) -> AbstractSet[str]:
        """PHP versions that any plan offers; empty if plans do not show them."""
        return {canonical_spelling(php_version, version) for plan in self.plans for version in plan.php_versions or ()}

    @cached_property
    def domains_by_name(self) -> Mapping[str, Domain]:
        """Domains by name, in ASCII form and lower case."""
        return _by_name(self.domains, lambda domain: domain.domain, _host)

    @cached_property
    def domains_by_id(self) -> Mapping[str, Domain]:
        """Domains by id."""
        return {domain.id: domain for domain in self.domains}

    @cached_property
    def certificates_by_domain(self) -> Mapping[str | None, Sequence[Certificate]]:
        """Certificates by the id of their domain."""
        return _group_by(self.certificates or (), lambda certificate: certificate.domain_id)

    @cached_property
    def database_users(self) -> Mapping[str, Sequence[Database]]:
        """The rows of each database, by the id of the one that represents it, where the panel lists users by name.

        Current panels list a database once for each of its users (evidence: databases-list). Guess: the row of the
        primary user represents the database.
        """
        rows = (row for row in self.databases if row.username is not None)
        groups = _group_by(rows, lambda row: (row.type, row.name.lower(), row.domain_id, row.user_id))
        return {min(users, key=lambda row: (not row.is_primary, row.id)).id: users for users in groups.values()}

    @cached_property
    def distinct_databases(self) -> Sequence[Database]:
        """Databases, each once."""
        return [row for row in self.databases if row.username is None or row.id in self.database_users]

    @cached_property
    def databases_by_name(self) -> Mapping[str, Sequence[Database]]:
        """Databases by name in lower case; each type may have one of that name."""
        return _group_by(self.distinct_databases, lambda database: database.name.lower())

    @cached_property
    def databases_by_id(self) -> Mapping[str, Database]:
        """Databases by id."""
        return {database.id: database for database in self.distinct_databases}

    @cached_property
    def mailboxes_by_address(self) -> Mapping[str, EmailAccount]:
        """Mailboxes by address, as `canonical_address` writes it."""
        return _by_name(self.mailboxes, lambda mailbox: mailbox.email, canonical_address)

    @cached_property
    def ftp_users_by_name(self) -> Mapping[str, Sequence[FtpAccount]]:
        """FTP users by login name in lower case."""
        return _group_by(self.ftp_users, lambda user: user.username.lower())


def _username(account: Account) -> str:
    return account.username


def _host(name: str) -> str:
    return canonical_spelling(host_name, name).lower()


def canonical_address(address: str) -> str:
    """Return an e-mail address for comparing: in lower case, the domain in ASCII form."""
    local, at, domain = address.lower().rpartition("@")
    return f"{local}{at}{_host(domain)}"


def _by_name(rows: Iterable[_T], name_of: Callable[[_T], str], canonical: Callable[[str], str]) -> dict[str, _T]:
    """Return rows by their canonical name. Of several, the one whose name is spelled that way wins, else the last."""
    by_name: dict[str, _T] = {}
    for row in rows:
        name = canonical(name_of(row))
        if name not in by_name or name_of(by_name[name]) != name:
            by_name[name] = row
    return by_name


def _group_by(rows: Iterable[_T], key: Callable[[_T], _Key]) -> dict[_Key, list[_T]]:
    groups: dict[_Key, list[_T]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


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
    """Reads the panel's lists and keeps what they show.

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
        self.snapshot: Snapshot = snapshot or Snapshot()
        self.calls: int = 0
        # Interactive calls on the same key, such as those of web requests, go first.
        self._panel = panel.with_options(lane="bulk")
        self._on_call = on_call
        self._locks: defaultdict[tuple[Listing, str | None], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sequence = itertools.count()
        self._last_start: dict[tuple[Listing, str | None], int] = {}
        self._failures: dict[tuple[Listing, str | None], PanelicaError] = {}

    async def refresh(self, listing: Listing, domain_id: str | None = None) -> Snapshot:
        """Re-read a list. Callers that arrive before the read starts share it; later ones trigger another.

        A read that fails is shared, too: a panel that hangs costs each caller the time of two reads at most.

        Args:
            listing: What to read.
            domain_id: The domain, for `ZONES`, and for `CERTIFICATES` where there is no list of them.

        Returns:
            The snapshot with what the list shows now.
        """
        key = (listing, domain_id)
        arrival = next(self._sequence)
        async with self._locks[key]:
            if self._last_start.get(key, -1) < arrival:
                start = next(self._sequence)
                self._failures.pop(key, None)
                try:
                    await self._read(listing, domain_id)
                except PanelicaError as error:
                    self._failures[key] = error
                self._last_start[key] = start
            if failure := self._failures.get(key):
                raise failure
        return self.snapshot

    async def shows(self, listing: Listing, object_id: str | None, zone_id: str | None) -> bool:
        """Re-read a list and return whether it shows an object; the zone counts for `ZONES` only."""
        rows: Iterable[Any]
        if listing is Listing.ZONES and zone_id is not None:
            rows = (await self.refresh(listing, zone_id)).zones[zone_id]
        else:
            rows = getattr(await self.refresh(listing), listing.value)
        return any(row.id == object_id for row in rows)

    async def refresh_each(self, listing: Listing, domain_ids: Iterable[str]) -> None:
        """Re-read what takes a call for each domain, several at a time."""
        slots = asyncio.Semaphore(_MAX_CONCURRENT_READS)

        async def refresh_one(domain_id: str) -> None:
            async with slots:
                await self.refresh(listing, domain_id)

        try:
            async with asyncio.TaskGroup() as group:
                for domain_id in domain_ids:
                    group.create_task(refresh_one(domain_id))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _read(self, listing: Listing, domain_id: str | None) -> None:
        changes: dict[str, Any]
        if domain_id is None:
            changes = {listing.value: await self._read_list(listing)}
        elif listing is Listing.ZONES:
            records = await self._unless_deleted(self._read_rows(self._panel.dns.records.list(domain_id)))
            changes = {"zones": {**self.snapshot.zones, domain_id: records or ()}}
        else:
            is_secured = await self._unless_deleted(self._read_is_secured(domain_id))
            changes = {"secured": {**self.snapshot.secured, domain_id: bool(is_secured)}}
        self.snapshot = attrs.evolve(self.snapshot, **changes)

    async def _read_list(self, listing: Listing) -> tuple[Any, ...] | None:
        """Read a whole list; return None when the panel has no list of certificates."""
        try:
            return await self._read_rows(_LISTS[listing](self._panel))
        except UnsupportedOperationError:
            if listing is not Listing.CERTIFICATES:
                raise
            return None

    async def _unless_deleted(self, reading: Awaitable[_T]) -> _T | None:
        """Return what is read of a domain; None if others have deleted it since it was listed."""
        try:
            return await reading
        except NotFoundError as error:
            if not error.from_panel:
                raise
            return None

    async def _read_is_secured(self, domain_id: str) -> bool:
        self._count(1, 0)
        return (await self._panel.ssl.certificates.get(domain_id)).has_ssl

    async def _read_rows(self, paginator: Paginator[_T]) -> tuple[_T, ...]:
        """Return all rows of a list. If it changes meanwhile, as runs themselves add to it, read it once more."""
        try:
            return await self._read_pages(paginator)
        except DecodeError:
            return await self._read_pages(paginator)

    async def _read_pages(self, paginator: Paginator[_T]) -> tuple[_T, ...]:
        rows: list[_T] = []
        counted = paginator.calls
        try:
            async for page in paginator.pages():
                rows += page.items
                counted = self._count(paginator.calls, counted)
        finally:
            # The last call may have returned no page, or failed.
            self._count(paginator.calls, counted)
        return tuple(rows)

    def _count(self, calls: int, counted: int) -> int:
        for _ in range(counted, calls):
            self.calls += 1
            self._on_call()
        return calls
