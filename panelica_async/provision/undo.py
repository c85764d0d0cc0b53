"""Removes what the runs of a journal created, and nothing else."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Final

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConfigurationError, NotFoundError, PanelicaError, ResponseError
from panelica_async.provision.background import in_slices
from panelica_async.provision.journal import Journal, Record, State, journal_at
from panelica_async.provision.journal_records import UNANSWERED
from panelica_async.provision.objects import STEPS, StepKind
from panelica_async.provision.outage import OutageWatch
from panelica_async.provision.ownership import LATEST, foreign_in, parents_in
from panelica_async.provision.report import FATAL, Removal, RemovalStatus, reason_of
from panelica_async.provision.search import Search


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
    with a reason; what was created in it is deleted one by one. Files are not checked. Whatever a deleted account or
    domain held is gone with it, and what no list shows any more is gone already: nothing is sent for it. Each removal
    is noted in the journal when it is answered. At the end the lists are read again, and what is still there counts as
    failed.

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


_REMOVABLE: Final = frozenset({State.DONE, State.UNCERTAIN, *UNANSWERED})


def is_removable(record: Record) -> bool:
    """Return whether undo deals with an object: it was created by the journal's runs, or may have been."""
    return record.state in _REMOVABLE


def removable(journal: Journal) -> AsyncIterator[Record]:
    """Iterate over the records that undo deals with, without holding up the event loop."""
    return journal.records.in_slices(_REMOVABLE)


_KEPT_HINT = "Remove it in the panel."
_NOTES: Final = 5_000
"""Notes that may wait for the disk before the next ones are made."""


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
        self._search = Search(panel, journal, late)
        self._kept: dict[str, str] = {}
        """Why an object of ours is kept, by id of the step."""
        self._deleting: set[str] = set()
        """Kinds and ids of the objects to delete, with everything in them."""
        self._failed: dict[str, Removal] = {}
        self._unusable: set[str] = set()
        """Ids of steps whose object cannot be addressed."""

    async def find(self) -> bool:
        """Read what the panel has and decide what is to be removed; return whether there is anything."""
        in_zones: list[str] = []
        others: defaultdict[StepKind, list[str]] = defaultdict(list)
        zones: set[str | None] = set()
        async for record in removable(self._journal):
            if record.kind is StepKind.DNS_RECORD:
                in_zones.append(record.id)
                zones.add(record.parent_id)
            else:
                others[record.kind].append(record.id)
        if not in_zones and not others:
            return False
        await self._search.read_lists()
        await self._classify(chain.from_iterable(others[kind] for kind in StepKind))
        await self._read_zones(zones)
        await self._classify(in_zones)
        await self._decide()
        await self._decide_undeletable()
        return True

    async def _classify(self, step_ids: Iterable[str]) -> None:
        number = 0
        async for record in self._records(step_ids):
            self._search.classify(record)
            number += 1
            if number % _NOTES == 0:
                await self._journal.commit()

    async def delete(self) -> bool:
        """Delete in reverse order of creation, and note each removal when it is answered; return False if stopped."""
        content = await self._content()
        # What its parent takes along needs no call of its own.
        calls = [
            record.id
            async for record in self._ours(*reversed(StepKind))
            if record.unique_id in self._deleting and record.parent_unique_id not in self._deleting
        ]
        async for record in self._records(calls):
            if self._stop.is_set():
                return False
            if self._outage.error is not None:
                raise self._outage.error
            if await self._is_deleted(record):
                await self._note_removal(record, content)
                await self._journal.commit()
        return True

    async def check(self) -> None:
        """Read the lists again, and note what is gone without a proper answer and what is there in spite of one."""
        await self._search.read_lists()
        await self._read_zones({record.parent_id async for record in self._ours(StepKind.DNS_RECORD)})
        async for record in self._records(self._all_ours()):
            if record.id in self._unusable:
                continue
            is_gone = record.state is State.REMOVED
            if not self._search.is_there(record):
                self._failed.pop(record.id, None)
                if not is_gone:
                    self._journal.removed(record)
            elif is_gone or (record.id not in self._failed and record.id not in self._kept):
                if is_gone:
                    self._journal.restored(record, self._search.unproven.get(record.id, State.DONE))
                self._failed[record.id] = Removal(
                    record=self._journal.records[record.id], status=RemovalStatus.FAILED, reason="it is still there"
                )

    async def removals(self) -> AsyncGenerator[Removal, None]:
        """Yield what became of each object."""
        async for record in self._records(self._all_ours()):
            if record.state is State.REMOVED:
                # What has no known outcome went along if it was there at all.
                if record.id not in self._search.unproven:
                    yield Removal(record=record, status=RemovalStatus.REMOVED)
            elif reason := self._kept.get(record.id):
                yield Removal(record=record, status=RemovalStatus.KEPT, reason=reason, hint=_KEPT_HINT)
            elif failed := self._failed.get(record.id):
                yield failed
            else:
                yield Removal(record=record, status=RemovalStatus.SKIPPED, reason="undo was stopped")
        async for record in self._records(list(self._search.uncertain)):
            reason, hint = self._search.uncertain[record.id]
            yield Removal(record=record, status=RemovalStatus.UNCERTAIN, reason=reason, hint=hint)

    def _records(self, step_ids: Iterable[str]) -> AsyncIterator[Record]:
        """Iterate over records as they are now. They are not kept: the garbage collector would look at all of them."""
        records = self._journal.records
        return in_slices(records[step_id] for step_id in step_ids)

    def _ours(self, *kinds: StepKind) -> AsyncIterator[Record]:
        """Iterate over the records of what was there and is ours, of some kinds or of all, kind by kind."""
        return self._records(step_id for kind in kinds or StepKind for step_id in list(self._search.ours[kind]))

    def _all_ours(self) -> Iterable[str]:
        """Return the ids of the steps whose object is or was ours."""
        return chain(*self._search.ours.values(), self._search.gone)

    async def _read_zones(self, zone_ids: set[str | None]) -> None:
        """Read the zones of domains that are there: those named and those of the domains that are ours."""
        await self._search.read_zones(zone_ids | {record.object_id async for record in self._ours(StepKind.DOMAIN)})

    async def _decide(self) -> None:
        """Decide which objects to keep, and which to delete with everything in them."""
        snapshot = self._search.inventory.snapshot
        users = Counter([record.parent_unique_id or "" async for record in self._ours(StepKind.DATABASE_USER)])
        own = {record.unique_id async for record in self._ours()}
        foreign = await asyncio.to_thread(foreign_in, snapshot, own, users)
        parents = await asyncio.to_thread(parents_in, snapshot)
        taken: set[str] = set()
        async for record in self._ours():
            parent = record.parent_unique_id
            parent_now = parents.get(record.unique_id, parent)
            is_moved = parent_now != parent and parent_now not in own
            if parent is not None and (is_moved or parent in taken):
                taken.add(record.unique_id)
                self._kept[record.id] = "others have moved it to another account or domain"
            elif reason := foreign.get(record.unique_id):
                self._kept[record.id] = reason
            elif STEPS[record.kind].is_deletable:
                self._deleting.add(record.unique_id)

    async def _decide_undeletable(self) -> None:
        """Decide on what the API cannot delete, and on what may still be created: it goes with its parent, or stays."""
        async for record in self._ours(*(kind for kind, step in STEPS.items() if not step.is_deletable)):
            if record.parent_unique_id in self._deleting:
                continue
            if record.is_unanswered and self._search.is_there(record):
                self._search.leave(record, "whether it exists is uncertain, and the API cannot delete it", _KEPT_HINT)
            else:
                self._kept[record.id] = "the API cannot delete it"
        async for record in self._records(list(self._search.uncertain)):
            if record.parent_unique_id in self._deleting:
                self._search.take(record)

    async def _content(self) -> Mapping[str, Sequence[str]]:
        """Return the ids of the steps that created something in an object, by its kind and id."""
        content: defaultdict[str, list[str]] = defaultdict(list)
        async for record in self._ours():
            if record.parent_unique_id is not None:
                content[record.parent_unique_id].append(record.id)
        return content

    async def _note_removal(self, record: Record, content: Mapping[str, Sequence[str]]) -> None:
        """Note that an object is gone with everything that was created in it."""
        gone = [record.id]
        async for each in self._records(gone):
            self._journal.removed(each)
            gone += content.get(each.unique_id, ())

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
            is_there = await self._search.inventory.shows(
                STEPS[record.kind].listing, record.object_id, record.parent_id
            )
        except PanelicaError:
            # The outage watch has seen this error.
            return False
        if is_there:
            self._outage.missed(record.site)
        else:
            self._outage.settled()
        return not is_there
