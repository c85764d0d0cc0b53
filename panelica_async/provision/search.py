"""Finds what undo removes: which objects of a journal still exist, and which of them its runs created."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.request import path_segment
from panelica_async.errors import ConfigurationError
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
"""The lists to read, with the kinds of objects that they show."""
_CANDIDATE_COLUMNS: Final = "id, status, reason, hint, earlier_state"
_UPSERT: Final = """
INSERT INTO item (id, kind, parent, status, reason, hint, earlier_state) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, parent = excluded.parent, status = excluded.status,
    reason = excluded.reason, hint = excluded.hint, earlier_state = excluded.earlier_state
"""
_UPDATE: Final = "UPDATE item SET status = ?, reason = ?, hint = ? WHERE id = ?"
_UNCERTAIN = "it is uncertain whether these runs created it"
_WHOSE_HINT = "Find out in the panel who owns it, and remove it there if it is yours."
_NOT_THERE_YET = "it is not there, but the panel may still be working on the call"
_LATE_HINT = "Run undo again in two minutes: it looks again."


async def removable(
    journal: Journal, *kinds: StepKind, sites: Collection[str] | None = None
) -> AsyncGenerator[Record, None]:
    """Iterate over the records that undo deals with, of some kinds and sites, without blocking the event loop.

    An account is recorded under its first site, and goes with its last one.
    """
    emptied_accounts = frozenset[str | None]() if sites is None else await _emptied_accounts(journal, sites)
    async for record in journal.records.in_slices(REMOVABLE, kinds or StepKind):
        if sites is None or record.site in sites or record.unique_id in emptied_accounts:
            yield record


async def _emptied_accounts(journal: Journal, sites: Collection[str]) -> Collection[str | None]:
    """Return the accounts, by kind and id, in which the runs created domains of these sites, and no others."""
    emptied: set[str | None] = set()
    kept: set[str | None] = set()
    async for record in journal.records.in_slices(REMOVABLE, [StepKind.DOMAIN]):
        accounts = emptied if record.site in sites else kept
        accounts.add(record.parent_unique_id)
    return emptied - kept


@attrs.frozen
class Candidate:
    """An object of a journal that exists, existed or may exist: undo may have to remove it."""

    record: Record
    """What the journal knows of it by now."""
    status: RemovalStatus
    """Skipped as long as nothing speaks against its deletion."""
    reason: str
    hint: str | None
    earlier_state: State | None
    """State of its record before undo; None if it certainly existed then."""

    @property
    def is_ours(self) -> bool:
        """Whether the runs created it."""
        return self.status is not RemovalStatus.UNCERTAIN


class Search:
    """Finds out which objects of a journal are on the panel, and which of them its runs created.

    Args:
        panel: The panel.
        journal: The journal.
        late: How long after it was sent the panel may still carry out a call.

    Attributes:
        inventory: What the panel has.
    """

    def __init__(self, panel: PanelicaClient, journal: Journal, late: timedelta) -> None:
        self.inventory: Inventory = Inventory(panel)
        self._journal = journal
        self._panel = panel
        self._late = late
        self._listed_ids: set[str] = set()
        """Kinds and ids of the objects that the lists show."""
        # Only rows of objects that are there and ours have a kind and a parent.
        self._table = Table(f"{_CANDIDATE_COLUMNS}, kind, parent, UNIQUE (id)", indexed=("kind", "parent"))

    async def close(self) -> None:
        """Forget what was found."""
        await asyncio.to_thread(self._table.close)

    def candidates(self) -> AsyncIterator[Candidate]:
        """Iterate over all candidates, in slices."""
        return self._table.in_slices(_CANDIDATE_COLUMNS, self._candidate)

    def ours(self, *kinds: StepKind) -> AsyncIterator[Candidate]:
        """Iterate over our objects that are there, of some kinds or of all, kind by kind, in slices."""
        return self._table.with_values("kind", kinds or StepKind, _CANDIDATE_COLUMNS, self._candidate)

    def ours_in(self, parent_id: str) -> AsyncIterator[Candidate]:
        """Iterate over our objects that were created in an object, by its kind and id, in slices."""
        return self._table.with_values("parent", [parent_id], _CANDIDATE_COLUMNS, self._candidate)

    def gone(self) -> AsyncIterator[Record]:
        """Iterate over the records of objects that were ours, and that no list shows any more, in slices."""
        condition = f"status = '{RemovalStatus.REMOVED}'"
        return self._table.in_slices("id", lambda row: self._journal.records[row[0]], condition)

    def _candidate(self, row: Sequence[str]) -> Candidate:
        step_id, status, reason, hint, state = row
        record = self._journal.records[step_id]
        return Candidate(record, RemovalStatus(status), reason, hint, State(state) if state else None)

    async def read_lists(self) -> None:
        """Read what the panel has, except the records of zones."""
        for listing in _LISTINGS:
            await self.inventory.refresh(listing)
        self._listed_ids = await asyncio.to_thread(_ids_listed, self.inventory.snapshot)

    async def read_zones(self, zone_ids: Iterable[str | None]) -> None:
        """Read those of some zones whose domains are there."""
        requested = {*zone_ids}
        existing = sorted(domain.id for domain in self.inventory.snapshot.domains if domain.id in requested)
        await self.inventory.refresh_each(Listing.ZONES, existing)
        rows = (row for zone_id in existing for row in self.inventory.snapshot.zones[zone_id])
        self._listed_ids.update(unique_id(StepKind.DNS_RECORD, row.id) for row in rows)

    async def require_visibility(self, records: AsyncIterator[Record]) -> None:
        """Make sure that the key sees an object of the records, if it may see only what belongs to its owner.

        Raises:
            ConfigurationError: The runs created objects, and it sees none of them.
        """
        if self._sees_everything:
            return
        has_created = False
        async for record in records:
            if self.is_there(record):
                return
            has_created = has_created or record.state is State.DONE
        if has_created:
            raise ConfigurationError(
                "the panel shows this key nothing that the runs created",
                hint="Use a key of the owner whose key the runs used. If everything was removed by hand, all is done.",
            )

    @property
    def _sees_everything(self) -> bool:
        """Whether the key sees more than what belongs to its owner (evidence: lists-owner-view).

        Guess: a key that sees administrators sees everything, and so does one where rows show no role.
        """
        roles = {account.role and account.role.upper() for account in self.inventory.snapshot.accounts}
        return not roles.isdisjoint({None, "ROOT", "ADMIN"})

    def is_there(self, record: Record) -> bool:
        """Return whether the lists show an object; one that no list shows is there as long as its parent is."""
        return (record.unique_id if STEPS[record.kind].is_deletable else record.parent_unique_id) in self._listed_ids

    def is_parent_there(self, record: Record) -> bool:
        """Return whether the lists show the parent that an object was created under."""
        return record.parent_unique_id in self._listed_ids

    def classify(self, record: Record) -> None:
        """Add the object of a record as ours or as uncertain, or note that it is gone."""
        if record.state is State.UNCERTAIN:
            if self.is_there(record):
                self.add_uncertain(record, _UNCERTAIN, _WHOSE_HINT)
            else:
                self._journal.removed(record)
        elif _needs_lookup(record, self.inventory.snapshot):
            self._look_up(record)
        elif self.is_there(record) or not is_addressable(record):
            self.add_ours(record)
        elif self._is_name_taken(record):
            self.add_uncertain(
                record, "it is there under another id: others have re-created it, or ids have changed", _WHOSE_HINT
            )
        else:
            self._journal.removed(record)
            if not record.is_unanswered:
                self._table.execute(_UPSERT, (record.id, None, None, RemovalStatus.REMOVED, "", None, None))

    def add_ours(self, record: Record) -> None:
        """Add an object of ours, to be deleted unless undo is stopped before."""
        state = None if record.state is State.DONE else record.state
        values = (record.kind, record.parent_unique_id, RemovalStatus.SKIPPED, "undo was stopped", None, state)
        self._table.execute(_UPSERT, (record.id, *values))

    def add_uncertain(self, record: Record, reason: str, hint: str) -> None:
        """Add an object to be left alone, because it is uncertain whether it is there or ours."""
        self._table.execute(_UPSERT, (record.id, None, None, RemovalStatus.UNCERTAIN, reason, hint, None))

    def set_status(self, record: Record, status: RemovalStatus, reason: str, hint: str | None) -> None:
        """Set why an object of ours stays."""
        self._table.execute(_UPDATE, (status, reason, hint, record.id))

    def _find_by_key(self, record: Record) -> tuple[Step, Match]:
        return find_by_key(
            record.kind,
            record.key,
            site=record.site,
            parent_id=record.parent_id,
            snapshot=self.inventory.snapshot,
        )

    def _is_name_taken(self, record: Record) -> bool:
        """Return whether another object has the natural key of one whose id the lists do not show."""
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
                self._judge_origin(record, step, found.object_id)
            case Comparison.ABSENT if record.is_unanswered and self._may_still_appear(record):
                self.add_uncertain(record, _NOT_THERE_YET, _LATE_HINT)
            case Comparison.ABSENT:
                self._journal.removed(record)
            case _:
                self.add_uncertain(record, f"whether a run created it is uncertain: {found.reason}", _WHOSE_HINT)

    def _judge_origin(self, record: Record, step: Step, object_id: str | None) -> None:
        """Note whether the runs created an object that was found by its natural key."""
        state = State.DONE
        if record.is_unanswered:
            sent_between = self._journal.records.sent_between(step.id)
            state = judge_origin(step, object_id, self.inventory.snapshot, sent_between, self._panel.clock_skew)
        if state is State.DONE:
            self._journal.done(step, object_id, "found by undo")
            self.add_ours(self._journal.records[record.id])
        elif state is State.FOUND:
            self._journal.found(step, object_id, "was there before the call")
        else:
            self._journal.uncertain(step, object_id, "found by undo")
            self.add_uncertain(record, _UNCERTAIN, _WHOSE_HINT)

    def _may_still_appear(self, record: Record) -> bool:
        has_parent = record.parent_id is None or self.is_parent_there(record)
        return has_parent and datetime.now(UTC) - record.at < self._late


def _ids_listed(snapshot: Snapshot) -> set[str]:
    """Return the kinds and ids of the objects that the lists show, except the records of zones."""
    return {
        unique_id(kind, row.id)
        for listing, kinds in _LISTINGS.items()
        for row in getattr(snapshot, listing.value)
        for kind in kinds
    }


def is_addressable(record: Record) -> bool:
    """Return whether a record has an id that can be sent, if its object is deleted by id."""
    if not STEPS[record.kind].is_deletable:
        return True
    try:
        path_segment(record.object_id, "id")
    except (ValueError, TypeError):
        return False
    return True


def _needs_lookup(record: Record, snapshot: Snapshot) -> bool:
    """Return whether only a look-up by natural key can show if an object exists."""
    match record.kind:
        case StepKind.CERTIFICATE:
            return False
        case StepKind.DATABASE_USER:
            return record.is_unanswered and record.parent_id in snapshot.database_users
        case _:
            return record.is_unanswered or record.object_id is None
