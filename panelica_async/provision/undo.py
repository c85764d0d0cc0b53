"""Removes what the runs of a journal created, and nothing else."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConfigurationError, NotFoundError, PanelicaError, ResponseError
from panelica_async.provision.journal import Journal, Record, State, journal_at
from panelica_async.provision.objects import STEPS, Comparison, StepKind
from panelica_async.provision.outage import OutageWatch
from panelica_async.provision.ownership import (
    LATEST,
    Ownership,
    Sought,
    foreign_in,
    is_to_be_sought,
    parents_in,
    sought,
)
from panelica_async.provision.report import FATAL, Removal, RemovalStatus, reason_of
from panelica_async.provision.slices import in_slices
from panelica_async.provision.snapshot import Inventory, Listing


async def undo(
    panel: PanelicaClient,
    journal: Journal | Path | str,
    *,
    stop: asyncio.Event | None = None,
    late: float = LATEST.total_seconds(),
) -> AsyncGenerator[Removal, None]:
    """Remove what the runs of a journal created, newest first, and yield the result for each object.

    What was sent and has no known outcome is looked for first, by its natural key, and removed when the time of its
    creation shows that the call created it. An account, domain or database that holds anything else by now is kept,
    with a reason; what was created in it goes one by one. Files are not looked at. Whatever a deleted account or domain
    held is gone with it. Each removal is noted in the journal when it is answered. At the end the lists are read again,
    and what is still there counts as failed.

    Args:
        panel: The panel of the runs; the key needs the scopes to read and delete.
        journal: The journal, or its path.
        stop: Set it to stop gracefully: the deletion in flight is finished, no new one is sent.
        late: Seconds after which the panel is not expected to carry out a call any more. What was sent later than that,
            without a known outcome, and is not there yet, is uncertain.

    Yields:
        One removal for each object that was created or may have been; those that are not `removed` are the leftovers.

    Raises:
        ConfigurationError: The journal cannot be used, or belongs to another panel or dialect.
        PanelicaError: The lists could not be read, and nothing was removed; or, after the last removal, the error that
            stopped undo because every further call would have met it too.
    """
    async with AsyncExitStack() as resources:
        if not isinstance(journal, Journal):
            journal = await resources.enter_async_context(journal_at(journal))
        journal.require_panel(panel.base_url)
        journal.require_dialect(await panel.learn_dialect())
        resources.push_async_callback(journal.commit)
        # A delete is repeated: two that got through to nothing are enough.
        outage = OutageWatch(concurrency=0, continued_by="`undo` continues")
        resources.callback(panel.subscribe(outage))
        removing = _Undo(panel, journal, outage, stop or asyncio.Event(), timedelta(seconds=late))
        fatal: PanelicaError | None = None
        if await removing.find():
            journal.undone()
            await journal.commit()
            try:
                if await removing.delete():
                    await removing.check()
            except PanelicaError as error:
                fatal = error
        await journal.commit()
        async with aclosing(removing.removals()) as removals:
            async for removal in removals:
                yield removal
        if fatal is not None:
            raise fatal


async def undo_all(
    panel: PanelicaClient,
    journals: Iterable[Journal],
    *,
    stop: asyncio.Event | None = None,
    late: float = LATEST.total_seconds(),
) -> AsyncGenerator[tuple[Journal, Removal], None]:
    """Undo several journals of one manifest, newest first: newer runs may have created objects within older ones.

    Args:
        panel: The panel of the runs.
        journals: The journals, in any order.
        stop: As for `undo`.
        late: As for `undo`.

    Yields:
        Each removal with its journal, as `undo` does. An object that was kept is looked at again once the older
        journals are undone, as it may be gone with what it belonged to: its last removal counts.

    Raises:
        ConfigurationError: As for `undo`.
        PanelicaError: As for `undo`.
    """
    newest_first = sorted(journals, key=lambda journal: [run.started_at for run in journal.runs[-1:]], reverse=True)
    keeping: list[Journal] = []
    for journal in newest_first:
        async for removal in undo(panel, journal, stop=stop, late=late):
            if removal.status is RemovalStatus.KEPT and journal not in keeping:
                keeping.append(journal)
            yield journal, removal
    for journal in keeping:
        if journal is not newest_first[-1]:
            async for removal in undo(panel, journal, stop=stop, late=late):
                yield journal, removal


def is_removable(record: Record) -> bool:
    """Return whether undo deals with an object: it was created by the journal's runs, or may have been."""
    return record.state in {State.DONE, State.UNCERTAIN} or record.is_unanswered


async def removable(journal: Journal) -> list[Record]:
    """Return the records that undo deals with."""
    return [record async for record in in_slices(journal.records.values()) if is_removable(record)]


async def _by_kind(records: Collection[Record], kinds: Iterable[StepKind]) -> list[Record]:
    """Return the records of some kinds, kind by kind."""
    return [record for kind in kinds async for record in in_slices(records) if record.kind is kind]


def _is_deletable(record: Record) -> bool:
    return STEPS[record.kind].is_deletable


_LISTINGS = (Listing.ACCOUNTS, Listing.DOMAINS, Listing.DATABASES, Listing.MAILBOXES, Listing.FTP_USERS)

_KEPT_HINT = "Remove it in the panel."
_WHOSE_HINT = "Find out in the panel who owns it, and remove it there if it is yours."
_LATE_HINT = "Run undo again in two minutes: it looks again."


class _Undo:
    """Removes the objects of a journal: `find` what there is, `delete` it, `check` that it is gone.

    Args:
        panel: The panel.
        journal: The journal.
        outage: Notices that the panel is down.
        stop: Set when no more is to be sent.
        late: After which time the panel is not expected to carry out a call any more.
    """

    def __init__(
        self, panel: PanelicaClient, journal: Journal, outage: OutageWatch, stop: asyncio.Event, late: timedelta
    ) -> None:
        self._panel = panel.with_options(lane="bulk")
        self._journal = journal
        self._outage = outage
        self._stop = stop
        self._late = late
        self._inventory = Inventory(panel)
        self._ownership = Ownership(panel, journal)
        self._ours: dict[str, Record] = {}
        """What is to be removed, by id of the step."""
        self._uncertain: dict[str, Removal] = {}
        self._kept: dict[str, str] = {}
        """Why an object of ours is kept."""
        self._going: set[str | None] = set()
        """Ids of what is deleted, with all that is in it."""
        self._failed: dict[str, Removal] = {}
        self._unusable: set[str] = set()
        """Ids of steps whose object cannot be addressed."""
        self._there: set[str | None] = set()
        """Ids of what the lists show."""

    async def find(self) -> bool:
        """Read what the panel has and decide what is to be removed; return whether there is anything."""
        records = await removable(self._journal)
        if not records:
            return False
        await self._read_lists()
        in_zones = await _by_kind(records, [StepKind.DNS_RECORD])
        others = await _by_kind(records, [kind for kind in StepKind if kind is not StepKind.DNS_RECORD])
        async for record in in_slices(others):
            self._classify(record)
        await self._read_zones({record.parent_id async for record in in_slices(in_zones)})
        async for record in in_slices(in_zones):
            self._classify(record)
        await self._decide()
        return True

    async def delete(self) -> bool:
        """Delete what goes, last things first, and note each removal when it is answered; return False if stopped."""
        content = await self._content()
        last_first = in_slices(await _by_kind(self._ours.values(), reversed(StepKind)))
        # What its parent takes along needs no call of its own.
        going = [
            record
            async for record in last_first
            if record.object_id in self._going and record.parent_id not in self._going
        ]
        for record in going:
            if self._stop.is_set():
                return False
            if self._outage.error is not None:
                raise self._outage.error
            if await self._is_deleted(record):
                gone = [record]
                async for each in in_slices(gone):
                    self._journal.removed(each)
                    gone += content.get(each.object_id or "", ())
                await self._journal.commit()
        return True

    async def check(self) -> None:
        """Read the lists again, and note what is gone without a proper answer and what is there in spite of one."""
        await self._read_lists()
        await self._read_zones({record.parent_id async for record in in_slices(self._ours.values())})
        async for record in in_slices(self._ours.values()):
            if record.id in self._unusable:
                continue
            is_gone = self._journal.records[record.id].state is State.REMOVED
            if not self._is_there(record):
                self._failed.pop(record.id, None)
                if not is_gone:
                    self._journal.removed(record)
            elif is_gone or (record.id not in self._failed and record.id not in self._kept):
                if is_gone:
                    self._journal.restored(record)
                reason = "it is still there"
                self._failed[record.id] = Removal(record=record, status=RemovalStatus.FAILED, reason=reason)

    async def removals(self) -> AsyncGenerator[Removal, None]:
        """Yield what became of each object."""
        async for record in in_slices(self._ours.values()):
            if self._journal.records[record.id].state is State.REMOVED:
                # What has no known outcome went along if it was there at all.
                if not record.is_unanswered:
                    yield Removal(record=record, status=RemovalStatus.REMOVED)
            elif reason := self._kept.get(record.id):
                yield Removal(record=record, status=RemovalStatus.KEPT, reason=reason, hint=_KEPT_HINT)
            elif failed := self._failed.get(record.id):
                yield failed
            else:
                yield Removal(record=record, status=RemovalStatus.SKIPPED, reason="undo was stopped")
        async for removal in in_slices(self._uncertain.values()):
            yield removal

    async def _read_lists(self) -> None:
        for listing in _LISTINGS:
            await self._inventory.refresh(listing)
        snapshot = self._inventory.snapshot
        self._there = {row.id for listing in _LISTINGS for row in getattr(snapshot, listing.value)}

    async def _read_zones(self, zone_ids: set[str | None]) -> None:
        """Read the zones of domains that are there: those named and those of the domains that are ours."""
        own = {record.object_id for record in await _by_kind(self._ours.values(), [StepKind.DOMAIN])}
        there = sorted(domain.id for domain in self._inventory.snapshot.domains if domain.id in zone_ids | own)
        await self._inventory.refresh_each(Listing.ZONES, there)
        self._there.update(row.id for zone_id in there for row in self._inventory.snapshot.zones[zone_id])

    def _classify(self, record: Record) -> None:
        """Find out whether the object of a record is there and ours."""
        if record.state is State.UNCERTAIN:
            if self._is_there(record):
                self._leave(record, "it is uncertain whether these runs created it", _WHOSE_HINT)
            else:
                self._journal.removed(record)
        elif is_to_be_sought(record, self._inventory.snapshot):
            self._look_for(record, sought(record, self._inventory.snapshot))
        else:
            # What no list shows is there as long as its parent.
            self._ours[record.id] = record

    def _look_for(self, record: Record, key: Sought) -> None:
        """Look for an object by its natural key."""
        found = key.match(self._inventory.snapshot)
        match found.comparison:
            case Comparison.SAME:
                state = State.DONE
                if record.is_unanswered:
                    state = self._ownership.judge(key.step, found.object_id, self._inventory.snapshot)
                if state is State.DONE:
                    self._journal.done(key.step, found.object_id, "found by undo")
                    self._ours[record.id] = self._journal.records[record.id]
                elif state is State.FOUND:
                    self._journal.found(key.step, found.object_id, "was there before the call")
                else:
                    self._journal.uncertain(key.step, found.object_id, "found by undo")
                    self._leave(record, "it is uncertain whether these runs created it", _WHOSE_HINT)
            case Comparison.ABSENT if record.is_unanswered and self._may_come(record):
                self._leave(record, "it is not there, but the panel may still be working on the call", _LATE_HINT)
            case Comparison.ABSENT:
                self._journal.removed(record)
            case _:
                self._leave(record, f"whether a run created it is uncertain: {found.reason}", _WHOSE_HINT)

    def _may_come(self, record: Record) -> bool:
        has_parent = record.parent_id is None or record.parent_id in self._there
        return has_parent and datetime.now(UTC) - record.at < self._late

    def _leave(self, record: Record, reason: str, hint: str) -> None:
        self._uncertain[record.id] = Removal(record=record, status=RemovalStatus.UNCERTAIN, reason=reason, hint=hint)

    async def _decide(self) -> None:
        """Decide what is kept and what goes, with all that is in it."""
        users = Counter(record.parent_id for record in await _by_kind(self._ours.values(), [StepKind.DATABASE_USER]))
        own = {record.object_id async for record in in_slices(self._ours.values())}
        foreign = foreign_in(self._inventory.snapshot, own, users)
        parents = parents_in(self._inventory.snapshot)
        taken: set[str | None] = set()
        async for record in in_slices(await _by_kind(self._ours.values(), StepKind)):
            is_moved = parents.get(record.object_id, record.parent_id) not in {*own, record.parent_id}
            if record.parent_id is not None and (is_moved or record.parent_id in taken):
                taken.add(record.object_id)
                self._kept[record.id] = "others have moved it to another account or domain"
            elif reason := foreign.get(record.object_id or ""):
                self._kept[record.id] = reason
            elif _is_deletable(record):
                self._going.add(record.object_id)
        async for record in in_slices(list(self._ours.values())):
            if _is_deletable(record) or record.parent_id in self._going:
                continue
            if record.is_unanswered and self._is_there(record):
                del self._ours[record.id]
                self._leave(record, "whether it exists is uncertain, and the API cannot delete it", _KEPT_HINT)
            else:
                self._kept[record.id] = "the API cannot delete it"
        # What goes takes along what may still come.
        async for removal in in_slices(list(self._uncertain.values())):
            record = removal.record
            if record.parent_id in self._going:
                del self._uncertain[record.id]
                self._ours[record.id] = record

    def _fail(self, record: Record, error: PanelicaError) -> None:
        self._failed[record.id] = Removal(
            record=record, status=RemovalStatus.FAILED, reason=reason_of(error), hint=error.hint
        )

    async def _is_deleted(self, record: Record) -> bool:
        """Delete an object; return whether the panel says that it is gone, and note why not."""
        try:
            await STEPS[record.kind].delete(self._panel, record.object_id or "", record.parent_id or "")
        except FATAL:
            raise
        except PanelicaError as error:
            if isinstance(error, NotFoundError) and error.from_panel:
                return True
            is_refused = isinstance(error, ResponseError) and error.from_panel
            if not is_refused and await self._is_gone(record):
                return True
            self._fail(record, error)
            return False
        except ValueError as error:
            # Nothing was sent: the id cannot be that of an object.
            problem = f"the journal holds an id that is not one of an object: {error}"
            hint = "Do not use this journal: something else wrote to it."
            self._fail(record, ConfigurationError(problem, hint=hint))
            self._unusable.add(record.id)
            return False
        return True

    async def _is_gone(self, record: Record) -> bool:
        """Return whether the list no longer shows an object whose deletion had no answer."""
        try:
            is_there = await self._inventory.shows(STEPS[record.kind].listing, record.object_id, record.parent_id)
        except PanelicaError:
            # The outage watch has heard of it.
            return False
        if is_there:
            self._outage.missed(record.site)
        else:
            self._outage.settled()
        return not is_there

    async def _content(self) -> Mapping[str, list[Record]]:
        """Return what was created in each object, by its id."""
        content: defaultdict[str, list[Record]] = defaultdict(list)
        async for record in in_slices(self._ours.values()):
            # What goes by the id of its parent holds nothing itself.
            if record.parent_id is not None and record.object_id != record.parent_id:
                content[record.parent_id].append(record)
        return content

    def _is_there(self, record: Record) -> bool:
        """Return whether the lists show an object; what no list shows is there as long as its parent."""
        return (record.object_id if _is_deletable(record) else record.parent_id) in self._there
