"""Finds what undo removes: the records of a journal, which of their objects still exist, and which the runs created."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.request import path_segment
from panelica_async.provision.background import Table
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import REMOVABLE, Record, State, unique_id
from panelica_async.provision.objects import STEPS, Comparison, Match, Step, StepKind, find_by_key
from panelica_async.provision.objects.snapshot import Inventory, Listing, Snapshot
from panelica_async.provision.ownership import judge_origin
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


async def removable(
    journal: Journal, *kinds: StepKind, sites: Collection[str] | None = None
) -> AsyncGenerator[Record, None]:
    """Iterate over the records that undo deals with, of some kinds and sites, without blocking the event loop.

    With its last site goes an account, which is noted for its first one.
    """
    emptied = frozenset[str | None]() if sites is None else await _emptied(journal, sites)
    async for record in journal.records.in_slices(REMOVABLE, kinds or StepKind):
        if sites is None or record.site in sites or record.unique_id in emptied:
            yield record


async def _emptied(journal: Journal, sites: Collection[str]) -> Collection[str | None]:
    """Return the accounts, by kind and id, in which the runs have created domains of these sites, and no others."""
    chosen: set[str | None] = set()
    others: set[str | None] = set()
    async for record in journal.records.in_slices(REMOVABLE, [StepKind.DOMAIN]):
        (chosen if record.site in sites else others).add(record.parent_unique_id)
    return chosen - others


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
        self._panel = panel
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
        return self._found.with_values("kind", kinds or StepKind, _FINDING, self._finding)

    def ours_in(self, parent_id: str) -> AsyncIterator[Finding]:
        """Iterate over what is ours and was created in an object, by its kind and id, in slices."""
        return self._found.with_values("parent", [parent_id], _FINDING, self._finding)

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

    @property
    def is_partial(self) -> bool:
        """Whether the key may see only a part of the panel: that of its owner (evidence: lists-owner-view).

        Guess: a key that sees administrators sees everything, and so does one where rows show no role.
        """
        roles = {account.role and account.role.upper() for account in self.inventory.snapshot.accounts}
        return roles.isdisjoint({None, "ROOT", "ADMIN"})

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
        elif _needs_lookup(record, self.inventory.snapshot):
            self._look_up(record)
        elif self.is_there(record) or not is_addressable(record):
            self.take(record)
        elif self._is_name_taken(record):
            self.leave(
                record, "it is there under another id: others have re-created it, or ids have changed", _WHOSE_HINT
            )
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

    def _find_by_key(self, record: Record) -> tuple[Step, Match]:
        return find_by_key(
            record.kind,
            record.key,
            site=record.site,
            parent_id=record.parent_id,
            snapshot=self.inventory.snapshot,
        )

    def _is_name_taken(self, record: Record) -> bool:
        """Return whether the lists show an object by the natural key of one that they do not show by its id."""
        return (
            record.state is State.DONE
            and STEPS[record.kind].is_deletable
            and self._find_by_key(record)[1].comparison in {Comparison.SAME, Comparison.DIFFERENT}
        )

    def _look_up(self, record: Record) -> None:
        """Look for an object by its natural key."""
        step, found = self._find_by_key(record)
        match found.comparison:
            case Comparison.SAME:
                self._judge(record, step, found.object_id)
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
            sent_between = self._journal.records.sent_between(step.id)
            state = judge_origin(step, object_id, self.inventory.snapshot, sent_between, self._panel.clock_skew)
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


def _needs_lookup(record: Record, snapshot: Snapshot) -> bool:
    """Return whether only a look-up by natural key shows what became of an object that was or may have been created."""
    match record.kind:
        case StepKind.CERTIFICATE:
            return False
        case StepKind.DATABASE_USER:
            return record.is_unanswered and record.parent_id in snapshot.database_users
        case _:
            return record.is_unanswered or record.object_id is None
