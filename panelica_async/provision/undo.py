"""Deletes what the runs of a journal created, and nothing else."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from pathlib import Path
from typing import Final

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConfigurationError, NotFoundError, PanelicaError, ResponseError
from panelica_async.provision.journal import Journal, journal_at
from panelica_async.provision.journal_records import Record, State
from panelica_async.provision.manifest.fields import InvalidValueError, domain_name
from panelica_async.provision.objects import STEPS, StepKind
from panelica_async.provision.ownership import MAX_LATENESS, foreign_contents, parents_in
from panelica_async.provision.results import FATAL, Removal, RemovalStatus, reason_of
from panelica_async.provision.search import Search, is_addressable, removable
from panelica_async.provision.stopping import OutageWatch, StoppedError, unless_stopped


async def undo(
    panel: PanelicaClient,
    journal: Journal | Path | str,
    *,
    sites: Collection[str] | None = None,
    stop: asyncio.Event | None = None,
    late: float = MAX_LATENESS.total_seconds(),
) -> AsyncGenerator[Removal, None]:
    """Remove what the runs of a journal created, newest first, and yield the result for each object.

    An object whose create has no known outcome is looked for first, by its natural key, and removed if the time of its
    creation shows that the call created it. An account, domain or database that holds anything else by now is kept,
    with a reason; the objects created in it are deleted one by one. Files are not checked. Nothing is sent for objects
    in a deleted account or domain, which go with it, or for objects that no list shows any more. Each removal is noted
    in the journal when it is answered. At the end the lists are read again; an object that is still there has failed.

    Args:
        panel: The panel of the runs; the key needs the scopes to read and delete.
        journal: The journal, or its path.
        sites: Domains of the sites to remove, such as `["example.com"]`; by default all. An account that holds other
            sites is kept, and the run does not count as undone: `apply` with the same manifest would create the sites
            again.
        stop: Set it to stop gracefully: a deletion that was sent is finished, one that waits for quota is not sent.
        late: Seconds within which the panel may still carry out a call. If a create without a known outcome was sent
            less than that ago, and its object is not there yet, the object is uncertain.

    Yields:
        One removal for each object that was created or may have been; those whose status is not `removed` are left.

    Raises:
        ConfigurationError: The journal cannot be used, or belongs to another panel or dialect; one of the sites is not
            a domain; or the key sees nothing that the runs created.
        PanelicaError: The lists could not be read, and nothing was removed; or, after the last removal, the error that
            stopped undo because every further call would have met it too.
    """
    async with AsyncExitStack() as resources:
        journal = await resources.enter_async_context(journal_at(journal))
        resources.enter_context(journal.reserved())
        domains = None if sites is None else _domain_names(sites)
        journal.require_panel(panel.base_url)
        journal.require_dialect(await panel.learn_dialect())
        resources.push_async_callback(journal.commit)
        # Deletes are retried, so two that got no reply are enough.
        outage = OutageWatch(concurrency=0, continued_by="`undo` continues")
        resources.callback(panel.subscribe(outage))
        search = Search(panel, journal, timedelta(seconds=late))
        resources.push_async_callback(search.close)
        bulk = panel.with_options(lane="bulk")
        undoing = _Undo(bulk, journal, search, domains, outage, stop or asyncio.Event())
        fatal: PanelicaError | None = None
        if await undoing.find():
            if sites is None:
                journal.undone()
            await journal.commit()
            try:
                await undoing.delete()
                while await undoing.check():  # Objects that outlive their parent are deleted one by one.
                    await undoing.delete()
            except StoppedError:
                pass
            except PanelicaError as error:
                fatal = error
        await journal.commit()
        async with aclosing(undoing.removals()) as removals:
            async for removal in removals:
                yield removal
        if fatal is not None:
            raise fatal


async def undo_all(
    panel: PanelicaClient,
    journals: Iterable[Journal],
    *,
    sites: Collection[str] | None = None,
    stop: asyncio.Event | None = None,
    late: float = MAX_LATENESS.total_seconds(),
) -> AsyncGenerator[tuple[Journal, Removal], None]:
    """Undo several journals of one manifest, newest first: newer runs may have created objects within older ones.

    Args:
        panel: The panel of the runs.
        journals: The journals, in any order.
        sites: As for `undo`.
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
    to_revisit: list[Journal] = []
    for journal in newest_first:
        async for removal in undo(panel, journal, sites=sites, stop=stop, late=late):
            if removal.status is RemovalStatus.KEPT and journal not in to_revisit:
                to_revisit.append(journal)
            yield journal, removal
    for journal in to_revisit:
        if journal is not newest_first[-1] and not (stop and stop.is_set()):
            async for removal in undo(panel, journal, sites=sites, stop=stop, late=late):
                yield journal, removal


def _domain_names(sites: Collection[str]) -> Collection[str]:
    """Return the domains of sites as journals spell them.

    Raises:
        ConfigurationError: One is not a domain.
    """
    if isinstance(sites, str):
        # A string is a collection of strings, too.
        raise ConfigurationError(f"sites must be a list of domains, not the text {sites!r}")
    try:
        return {domain_name(site) for site in sites}
    except InvalidValueError as error:
        raise ConfigurationError(f"sites: {error}") from error


_KEPT_HINT: Final = "Remove it in the panel if it is no longer needed."
_NOTES_PER_COMMIT: Final = 5_000
"""Notes that may wait for the disk before they are committed."""


@attrs.define(eq=False)
class _Undo:
    """Removes the objects of a journal: `find` what exists, `delete` it, `check` that it is gone."""

    _panel: PanelicaClient
    _journal: Journal
    _search: Search
    _sites: Collection[str] | None
    """Domains of the sites to remove; None for all."""
    _outage: OutageWatch
    _stop: asyncio.Event
    _deleting: set[str | None] = attrs.field(init=False, factory=set[str | None])
    """Kinds and ids of the objects to delete, with everything in them."""
    _note_count: int = attrs.field(init=False, default=0)

    async def find(self) -> bool:
        """Read what the panel has, and decide what to delete. Return False if there is nothing to undo."""
        async with aclosing(self._removable()) as records:
            if await anext(records, None) is None:
                return False
        try:
            async with unless_stopped(self._panel, self._stop):
                await self._find()
        except StoppedError:
            # The lists were not read to their end: report every object as skipped.
            async for record in self._removable():
                self._search.add_ours(record)
            return False
        return True

    async def _find(self) -> None:
        await self._search.read_lists()
        await self._search.require_visibility(self._removable())
        await self._classify(*(kind for kind in StepKind if kind is not StepKind.DNS_RECORD))
        await self._read_zones(self._removable(StepKind.DNS_RECORD))
        await self._classify(StepKind.DNS_RECORD)
        await self._decide()
        await self._decide_undeletable()

    async def delete(self) -> None:
        """Delete in reverse order of creation, and note each removal when it is answered."""
        async for candidate in self._search.ours(*reversed(StepKind)):
            record = candidate.record
            is_open = candidate.status is RemovalStatus.SKIPPED and record.state is not State.REMOVED
            # An object that goes with its parent needs no call of its own.
            if not is_open or record.parent_unique_id in self._deleting:
                continue
            if self._outage.error is not None:
                raise self._outage.error
            if await self._delete_object(record):
                await self._note_removal(record)
                await self._journal.commit()

    async def check(self) -> bool:
        """Read the lists again, and note objects that went without a proper answer or stayed in spite of one.

        Return whether there is more to delete: objects that did not go with the account or domain they were in.
        """
        async with unless_stopped(self._panel, self._stop):
            await self._search.read_lists()
            await self._read_zones(candidate.record async for candidate in self._search.ours(StepKind.DNS_RECORD))
        outlived_parents = await self._check_ours()
        await self._check_gone()
        self._deleting -= outlived_parents
        return bool(outlived_parents)

    async def _check_ours(self) -> set[str | None]:
        """Check the objects to delete. Return the deleted parents, by kind and id, that some of them outlived."""
        parents = await asyncio.to_thread(parents_in, self._search.inventory.snapshot)
        outlived_parents: set[str | None] = set()
        async for candidate in self._search.ours():
            record = candidate.record
            if candidate.status is RemovalStatus.FAILED and not is_addressable(record):
                continue
            is_noted_as_gone = record.state is State.REMOVED
            if not self._search.is_there(record):
                if not is_noted_as_gone:
                    self._journal.removed(record)
                    await self._count_note()
                continue
            if is_noted_as_gone:
                self._journal.restored(record, candidate.earlier_state or State.DONE)
            if candidate.status is not RemovalStatus.SKIPPED:
                continue
            parent = record.parent_unique_id
            is_moved = parents.get(record.unique_id, parent) != parent
            if parent in self._deleting and not is_moved and not self._search.is_parent_there(record):
                outlived_parents.add(parent)
            else:
                self._fail_as_still_there(record)
        return outlived_parents

    async def _check_gone(self) -> None:
        """Check the objects that no list showed before."""
        async for record in self._search.gone():
            if self._search.is_there(record):
                self._journal.restored(record, State.DONE)
                self._search.add_ours(self._journal.records[record.id])
                self._fail_as_still_there(record)

    async def removals(self) -> AsyncGenerator[Removal, None]:
        """Yield the result for each object."""
        async for candidate in self._search.candidates():
            record = candidate.record
            if record.state is not State.REMOVED:
                yield Removal(record=record, status=candidate.status, reason=candidate.reason, hint=candidate.hint)
            elif candidate.earlier_state is None:
                yield Removal(record=record, status=RemovalStatus.REMOVED)
            # Nothing is reported for an object that may never have existed, and does not now.

    def _removable(self, *kinds: StepKind) -> AsyncGenerator[Record, None]:
        return removable(self._journal, *kinds, sites=self._sites)

    async def _classify(self, *kinds: StepKind) -> None:
        async for record in self._removable(*kinds):
            self._search.classify(record)
            await self._count_note()

    async def _count_note(self) -> None:
        self._note_count += 1
        if self._note_count % _NOTES_PER_COMMIT == 0:
            await self._journal.commit()

    async def _read_zones(self, dns_records: AsyncIterator[Record]) -> None:
        """Read the zones of DNS records and of our domains, where the domain is still there."""
        zones = {record.parent_id async for record in dns_records if self._search.is_parent_there(record)}
        async for candidate in self._search.ours(StepKind.DOMAIN):
            if self._search.is_there(candidate.record):
                zones.add(candidate.record.object_id)
        await self._search.read_zones(zones)

    async def _decide(self) -> None:
        """Decide which objects to keep, and which to delete with everything in them."""
        snapshot = self._search.inventory.snapshot
        user_counts = Counter[str]()
        async for candidate in self._search.ours(StepKind.DATABASE_USER):
            if self._search.is_parent_there(candidate.record):
                user_counts[candidate.record.parent_unique_id or ""] += 1
        # Ids of objects that no list shows would only take up memory.
        own_ids = set[str]()
        async for candidate in self._search.ours():
            if self._search.is_there(candidate.record):
                own_ids.add(candidate.record.unique_id)
        foreign = await asyncio.to_thread(foreign_contents, snapshot, own_ids, user_counts)
        parents = await asyncio.to_thread(parents_in, snapshot)
        moved: set[str] = set()
        async for candidate in self._search.ours():
            record = candidate.record
            parent = record.parent_unique_id
            parent_now = parents.get(record.unique_id, parent)
            is_moved = parent_now != parent and parent_now not in own_ids
            if parent is not None and (is_moved or parent in moved):
                moved.add(record.unique_id)
                self._keep(record, "others have moved it to another account or domain")
            elif others := foreign.get(record.unique_id):
                whose = "that these runs did not create" if self._sites is None else "other than those of these sites"
                self._keep(record, f"it holds objects {whose}: {others}")
            elif STEPS[record.kind].is_deletable and self._search.is_there(record):
                self._deleting.add(record.unique_id)

    async def _decide_undeletable(self) -> None:
        """Decide on objects that the API cannot delete and on uncertain ones: each goes with its parent, or stays."""
        async for candidate in self._search.ours(*(kind for kind, step in STEPS.items() if not step.is_deletable)):
            record = candidate.record
            if record.parent_unique_id in self._deleting:
                continue
            if record.is_unanswered and self._search.is_there(record):
                self._search.add_uncertain(
                    record, "whether it exists is uncertain, and the API cannot delete it", _KEPT_HINT
                )
            else:
                self._keep(record, "the API cannot delete it")
        async for candidate in self._search.candidates():
            if not candidate.is_ours and candidate.record.parent_unique_id in self._deleting:
                self._search.add_ours(candidate.record)

    def _keep(self, record: Record, reason: str) -> None:
        self._search.set_status(record, RemovalStatus.KEPT, reason, _KEPT_HINT)

    async def _note_removal(self, record: Record) -> None:
        """Note that an object is gone with everything that was created in it."""
        self._journal.removed(record)
        await self._count_note()
        async for content in self._search.ours_in(record.unique_id):
            await self._note_removal(content.record)

    def _fail(self, record: Record, error: PanelicaError) -> None:
        self._search.set_status(record, RemovalStatus.FAILED, reason_of(error), error.hint)

    def _fail_as_still_there(self, record: Record) -> None:
        hint = "Run undo again; if it stays, remove it in the panel."
        self._search.set_status(record, RemovalStatus.FAILED, "it is still there", hint)

    async def _delete_object(self, record: Record) -> bool:
        """Delete an object. Return whether it is gone; if not, note why."""
        try:
            async with unless_stopped(self._panel, self._stop):
                await STEPS[record.kind].delete(self._panel, record.object_id or "", record.parent_id or "")
        except FATAL:
            raise
        except PanelicaError as error:
            if isinstance(error, NotFoundError) and error.from_panel:
                return True
            is_refused = isinstance(error, ResponseError) and error.from_panel
            if not is_refused and await self._confirm_gone(record):
                return True
            self._fail(record, error)
            return False
        except ValueError as error:
            # Nothing was sent: no object can have such an id.
            problem = f"the journal holds an id that is not one of an object: {error}"
            hint = "Do not use this journal: something else wrote to it."
            self._fail(record, ConfigurationError(problem, hint=hint))
            return False
        return True

    async def _confirm_gone(self, record: Record) -> bool:
        """Read the list again after a deletion without an answer. Return whether the object is gone."""
        try:
            is_there = await self._search.inventory.shows(
                STEPS[record.kind].listing, record.object_id, record.parent_id
            )
        except PanelicaError:
            # The outage watch has seen this error.
            return False
        if is_there:
            self._outage.step_failed(record.site)
        else:
            self._outage.write_answered()
        return not is_there
