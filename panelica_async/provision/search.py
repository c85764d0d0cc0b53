"""Finds the objects of a journal on the panel again: which are there, and which of them the runs created."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.request import path_segment
from panelica_async.provision.background import Table
from panelica_async.provision.journal import Journal, Record, State
from panelica_async.provision.journal_records import unique_id
from panelica_async.provision.manifest import Database, DatabaseUser, DnsRecord, FtpUser, Mailbox, Owner
from panelica_async.provision.objects import (
    STEPS,
    AccountStep,
    Comparison,
    DatabaseStep,
    DatabaseUserStep,
    DnsRecordStep,
    DomainStep,
    FtpUserStep,
    MailboxStep,
    Match,
    Step,
    StepKind,
    View,
    without_owner,
)
from panelica_async.provision.objects.snapshot import Inventory, Listing, Snapshot
from panelica_async.provision.ownership import Ownership
from panelica_async.provision.results import RemovalStatus

_LISTINGS: Mapping[Listing, tuple[StepKind, ...]] = {
    Listing.ACCOUNTS: (StepKind.ACCOUNT,),
    Listing.DOMAINS: (StepKind.DOMAIN,),
    # Current panels list a database once for each of its users (evidence: databases-list).
    Listing.DATABASES: (StepKind.DATABASE, StepKind.DATABASE_USER),
    Listing.MAILBOXES: (StepKind.MAILBOX,),
    Listing.FTP_USERS: (StepKind.FTP_USER,),
}
"""The lists that are read, with the kinds of objects that they show."""
_FINDING: Final = "id, status, reason, hint, before"
_FIND: Final = """
INSERT INTO item (id, kind, parent, status, reason, hint, before) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, parent = excluded.parent, status = excluded.status,
    reason = excluded.reason, hint = excluded.hint, before = excluded.before
"""
_DECIDE: Final = "UPDATE item SET status = ?, reason = ?, hint = ? WHERE id = ?"
_UNCERTAIN = "it is uncertain whether these runs created it"
_WHOSE_HINT = "Find out in the panel who owns it, and remove it there if it is yours."
_LATE_HINT = "Run undo again in two minutes: it looks again."


@attrs.frozen
class Finding:
    """An object of a journal that is there, or was or may be."""

    record: Record
    """What the journal knows of it by now."""
    status: RemovalStatus
    """Skipped as long as nothing is known against its deletion."""
    reason: str
    hint: str | None
    before: State | None
    """What was known of it, if it may not have been there."""

    @property
    def is_ours(self) -> bool:
        """Whether the runs created it."""
        return self.status is not RemovalStatus.UNCERTAIN


class Search:
    """Finds out which objects of a journal are on the panel, and which of them its runs created.

    Args:
        panel: The panel.
        journal: The journal.
        late: After which time the panel is not expected to carry out a call any more.

    Attributes:
        inventory: What the panel has.
    """

    def __init__(self, panel: PanelicaClient, journal: Journal, late: timedelta) -> None:
        self.inventory: Inventory = Inventory(panel)
        self._journal = journal
        self._ownership = Ownership(panel, journal)
        self._late = late
        self._listed: set[str] = set()
        """Kinds and ids of what the lists show."""
        # Only what is there and ours has a kind and a parent.
        self._found = Table("id, kind, parent, status, reason, hint, before, UNIQUE (id)", indexed=("kind", "parent"))

    async def close(self) -> None:
        """Forget what was found."""
        await asyncio.to_thread(self._found.close)

    def findings(self) -> AsyncIterator[Finding]:
        """Iterate over what is there, or was or may be, in slices."""
        return self._found.in_slices(_FINDING, self._finding)

    def ours(self, *kinds: StepKind) -> AsyncIterator[Finding]:
        """Iterate over what is there and ours, of some kinds or of all, kind by kind, in slices."""
        return self._found.having("kind", kinds or StepKind, _FINDING, self._finding)

    def ours_in(self, parent_id: str) -> AsyncIterator[Finding]:
        """Iterate over what is ours and was created in an object, by its kind and id, in slices."""
        return self._found.having("parent", [parent_id], _FINDING, self._finding)

    def gone(self) -> AsyncIterator[Record]:
        """Iterate over what the runs created, and no list shows any more, in slices."""
        condition = f"status = '{RemovalStatus.REMOVED}'"
        return self._found.in_slices("id", lambda row: self._journal.records[row[0]], condition)

    def _finding(self, row: Sequence[str]) -> Finding:
        step_id, status, reason, hint, before = row
        record = self._journal.records[step_id]
        return Finding(record, RemovalStatus(status), reason, hint, State(before) if before else None)

    async def read_lists(self) -> None:
        """Read what the panel has, but for the records of zones."""
        for listing in _LISTINGS:
            await self.inventory.refresh(listing)
        self._listed = await asyncio.to_thread(_listed_in, self.inventory.snapshot)

    async def read_zones(self, zone_ids: Iterable[str | None]) -> None:
        """Read the zones of domains that are there."""
        wanted = {*zone_ids}
        there = sorted(domain.id for domain in self.inventory.snapshot.domains if domain.id in wanted)
        await self.inventory.refresh_each(Listing.ZONES, there)
        zones = self.inventory.snapshot.zones
        self._listed.update(unique_id(StepKind.DNS_RECORD, row.id) for zone_id in there for row in zones[zone_id])

    def is_there(self, record: Record) -> bool:
        """Return whether the lists show an object; what no list shows is there as long as its parent."""
        return (record.unique_id if STEPS[record.kind].is_deletable else record.parent_unique_id) in self._listed

    def is_parent_there(self, record: Record) -> bool:
        """Return whether the lists show what an object was created under."""
        return record.parent_unique_id in self._listed

    def classify(self, record: Record) -> None:
        """Find out whether the object of a record is there and ours."""
        if record.state is State.UNCERTAIN:
            if self.is_there(record):
                self.leave(record, _UNCERTAIN, _WHOSE_HINT)
            else:
                self._journal.removed(record)
        elif needs_lookup(record, self.inventory.snapshot):
            self._look_up(record, lookup_of(record, self.inventory.snapshot))
        elif self.is_there(record) or not is_addressable(record):
            self.take(record)
        else:
            self._journal.removed(record)
            if not record.is_unanswered:
                self._found.execute(_FIND, (record.id, None, None, RemovalStatus.REMOVED, "", None, None))

    def take(self, record: Record) -> None:
        """Count an object as ours."""
        before = None if record.state is State.DONE else record.state
        values = (record.kind, record.parent_unique_id, RemovalStatus.SKIPPED, "undo was stopped", None, before)
        self._found.execute(_FIND, (record.id, *values))

    def leave(self, record: Record, reason: str, hint: str) -> None:
        """Leave an object alone, because it is uncertain whether it is there or ours."""
        self._found.execute(_FIND, (record.id, None, None, RemovalStatus.UNCERTAIN, reason, hint, None))

    def decide(self, record: Record, status: RemovalStatus, reason: str, hint: str | None) -> None:
        """Note why an object of ours stays."""
        self._found.execute(_DECIDE, (status, reason, hint, record.id))

    def _look_up(self, record: Record, lookup: "Lookup") -> None:
        """Look for an object by its natural key."""
        found = lookup.match(self.inventory.snapshot)
        match found.comparison:
            case Comparison.SAME:
                self._judge(record, lookup.step, found.object_id)
            case Comparison.ABSENT if record.is_unanswered and self._may_appear(record):
                self.leave(record, "it is not there, but the panel may still be working on the call", _LATE_HINT)
            case Comparison.ABSENT:
                self._journal.removed(record)
            case _:
                self.leave(record, f"whether a run created it is uncertain: {found.reason}", _WHOSE_HINT)

    def _judge(self, record: Record, step: Step, object_id: str | None) -> None:
        """Note whose an object is that was found by its natural key."""
        state = State.DONE
        if record.is_unanswered:
            state = self._ownership.judge(step, object_id, self.inventory.snapshot)
        if state is State.DONE:
            self._journal.done(step, object_id, "found by undo")
            self.take(self._journal.records[record.id])
        elif state is State.FOUND:
            self._journal.found(step, object_id, "was there before the call")
        else:
            self._journal.uncertain(step, object_id, "found by undo")
            self.leave(record, _UNCERTAIN, _WHOSE_HINT)

    def _may_appear(self, record: Record) -> bool:
        has_parent = record.parent_id is None or self.is_parent_there(record)
        return has_parent and datetime.now(UTC) - record.at < self._late


def _listed_in(snapshot: Snapshot) -> set[str]:
    """Return the kinds and ids of what the lists show, but for the records of zones."""
    return {
        unique_id(kind, row.id)
        for listing, kinds in _LISTINGS.items()
        for row in getattr(snapshot, listing.value)
        for kind in kinds
    }


def is_addressable(record: Record) -> bool:
    """Return whether the id of a record can be that of an object."""
    if not STEPS[record.kind].is_deletable:
        return True
    try:
        path_segment(record.object_id, "id")
    except (ValueError, TypeError):
        return False
    return True


@attrs.frozen
class Lookup:
    """How to find the object of a record again."""

    step: Step
    """A step with the object's natural key and no other properties."""
    ids: Mapping[str, str | None]
    """Ids of what it was created under."""

    def match(self, snapshot: Snapshot) -> Match:
        """Find the object in what the panel has."""
        return self.step.match(View(snapshot=snapshot, ids=self.ids))


def needs_lookup(record: Record, snapshot: Snapshot) -> bool:
    """Return whether only a look-up by natural key shows what became of the object of a record.

    Args:
        record: The record of an object that was created, or may have been.
        snapshot: What the panel has.
    """
    match record.kind:
        case StepKind.CERTIFICATE:
            return False
        case StepKind.DATABASE_USER:
            return record.is_unanswered and record.parent_id in snapshot.database_users
        case _:
            return record.is_unanswered or record.object_id is None


def lookup_of(record: Record, snapshot: Snapshot) -> Lookup:
    """Return how to find the object of a record.

    Args:
        record: The record, of a kind that the panel's lists show by name.
        snapshot: What the panel has: accounts and domains.
    """
    if record.kind is StepKind.DATABASE_USER:
        return _database_user(record, snapshot)
    if record.kind is StepKind.ACCOUNT:
        # The address is not noted; an empty one is compared with nothing.
        return Lookup(AccountStep(site=record.site, owner=Owner(username=record.key, email="")), {})
    domain_id = None if record.kind is StepKind.DOMAIN else record.parent_id
    row = snapshot.domains_by_id.get(domain_id or "")
    account_id = record.parent_id if row is None else row.user_id
    owner = snapshot.accounts_by_id.get(account_id or "")
    account = AccountStep(site=record.site, owner=Owner(username=owner.username if owner else ""))
    domain = DomainStep(site=record.site, account=account)
    ids = {account.id: account_id, domain.id: domain_id}
    return Lookup(domain if record.kind is StepKind.DOMAIN else _in_domain(record, domain), ids)


def _database_user(record: Record, snapshot: Snapshot) -> Lookup:
    key, _, username = record.key.rpartition(":")
    row = snapshot.databases_by_id.get(record.parent_id or "")
    of_database = attrs.evolve(
        record,
        id=f"{StepKind.DATABASE}:{key}",
        kind=StepKind.DATABASE,
        parent_id=None if row is None else row.domain_id,
    )
    database = lookup_of(of_database, snapshot)
    user = DatabaseUser(username=username)
    step = DatabaseUserStep(site=record.site, database=cast("DatabaseStep", database.step), user=user)
    return Lookup(step, {**database.ids, database.step.id: record.parent_id})


def _in_domain(record: Record, domain: DomainStep) -> Step:
    site, key = record.site, record.key
    own_key = without_owner(key)
    is_shared = own_key != key
    match record.kind:
        case StepKind.DNS_RECORD:
            name, kind, content = key.removeprefix(f"{site} ").split(" ", 2)
            return DnsRecordStep(site=site, domain=domain, record=DnsRecord(name=name, type=kind, content=content))
        case StepKind.DATABASE:
            kind, _, name = own_key.partition("/")
            database = Database(name=name, type=kind)
            return DatabaseStep(site=site, domain=domain, database=database, is_shared_name=is_shared)
        case StepKind.MAILBOX:
            return MailboxStep(site=site, domain=domain, mailbox=Mailbox(local_part=key.rpartition("@")[0]))
        case StepKind.FTP_USER:
            return FtpUserStep(site=site, domain=domain, user=FtpUser(username=own_key), is_shared_name=is_shared)
        case _:
            raise ValueError(f"no list shows a {record.kind} by name")
