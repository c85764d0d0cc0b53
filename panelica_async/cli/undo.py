"""`panelica provision undo`: deletes what the runs of a manifest created, and reports the result."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeAlias

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError, PanelicaError
from panelica_async.cli.command import ExitCode, Interruption, on_stop_signal
from panelica_async.cli.connection import Connection, Panel, Traffic
from panelica_async.cli.format import calls_sent, local_time, number, object_table, plural, print_hints, print_labelled
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output, error_data
from panelica_async.core.redaction import first_few
from panelica_async.provision import (
    Journal,
    KnownJournal,
    Removal,
    RemovalStatus,
    RunDirectory,
    State,
    undo_all,
)
from panelica_async.provision.journal import journal_at
from panelica_async.provision.undo import removable

_SITES_SHOWN = 3
"""How many domains the question names."""

_Removals: TypeAlias = dict[tuple[Path | None, str], Removal]
"""The result for each object, by its journal and the id of its step."""

_STOPPING = "Stopping: waiting for the deletion in flight, sending no new one. Press Ctrl-C again to stop at once."

_STATUSES = {
    RemovalStatus.FAILED: ("failed", "red"),
    RemovalStatus.KEPT: ("kept", "yellow"),
    RemovalStatus.UNCERTAIN: ("uncertain", "yellow"),
    RemovalStatus.SKIPPED: ("not attempted", "yellow"),
}


async def undo_runs(
    path: Path, connection: Connection, state: StateDirectory, output: Output, *, yes: bool
) -> ExitCode:
    """Delete what the runs of a manifest created, according to all its journals for this panel."""
    files = RunDirectory(state.state_dir).find(path)
    if not any(KnownJournal.read(each) for each in files):
        raise ConfigurationError(f"{files[0].journal} holds no run", hint="Check the path and --state-dir.")
    if not yes:
        output.require_terminal("deleting")
    interruption = Interruption(lambda: output.say(_STOPPING))
    with on_stop_signal(interruption):
        async with AsyncExitStack() as resources:
            journals = [await resources.enter_async_context(journal_at(each.journal)) for each in files]
            panel = await resources.enter_async_context(connection.open(state))
            journals = _of_panel(journals, panel, output)
            wanted = await _Wanted.of(journals)
            what = f"{wanted.description()} from {panel.name}"
            question = f"Delete {what}, with everything in them, files included?"
            if not yes and wanted.number and not output.confirm(question):
                output.say("Nothing was sent.")
                return ExitCode.INTERRUPTED
            with output.busy(f"Deleting {what} …"):
                removals, error = await _delete(panel, journals, interruption)
            report = _Report(
                manifest=_manifest(journals[0]),
                journals=tuple(journal.path for journal in journals if journal.path is not None),
                panel=panel.client.base_url,
                removals=tuple(removals.values()),
                traffic=connection.traffic,
                interrupted=interruption.stop.is_set(),
                error=error,
            )
    if output.json:
        output.document(report.to_dict())
    else:
        report.print(output.results)
    if report.error is not None:
        output.explain(report.error)
    return report.exit_code


async def _delete(
    panel: Panel, journals: list[Journal], interruption: Interruption
) -> tuple[_Removals, PanelicaError | None]:
    """Undo the journals; return the results so far, and the error that ended it early, if any."""
    removals: _Removals = {}
    begun = datetime.now(UTC)
    interruption.graceful = True
    try:
        async for journal, removal in undo_all(panel.client, journals, stop=interruption.stop):
            removals[journal.path, removal.record.id] = removal
    except PanelicaError as error:
        if not removals:
            raise
        return removals, error
    except asyncio.CancelledError:
        if not interruption.cancelled:
            raise
        removals = {**await _noted_since(begun, journals), **removals}
    return removals, None


def _of_panel(journals: list[Journal], panel: Panel, output: Output) -> list[Journal]:
    """Return the journals of this panel, and print which are skipped."""
    base_url = panel.client.base_url
    here = [journal for journal in journals if not journal.runs or journal.runs[-1].is_on(base_url)]
    if not here:
        journals[0].require_panel(base_url)
    for journal in journals:
        if journal not in here:
            output.say(f"Skipping {journal.path}: its runs were on {journal.runs[-1].base_url}.")
    return here


@attrs.frozen
class _Wanted:
    """What undo is about to delete."""

    journals: list[Journal]
    number: int
    """How many objects."""
    uncertain: int
    """How many of them may not exist."""
    sites: list[str]

    @classmethod
    async def of(cls, journals: list[Journal]) -> Self:
        """Count what the journals say was created or may have been."""
        number = uncertain = 0
        sites: dict[str, None] = {}
        for journal in journals:
            async for record in removable(journal):
                number += 1
                uncertain += record.state is not State.DONE
                sites[record.site] = None
        return cls(journals, number, uncertain, list(sites))

    def description(self) -> str:
        """Describe it: how many objects, of which manifest, the time of the last run, the first sites."""
        objects = f"{plural(self.number - self.uncertain, 'object')} of {_manifest(self.journals[0])}"
        if self.uncertain:
            objects += f" and up to {number(self.uncertain)} more that may exist"
        details: list[str] = []
        if started := [run.started_at for journal in self.journals for run in journal.runs]:
            details.append(f"last run {local_time(max(started))}")
        if self.sites:
            details.append(f"sites {first_few(self.sites, _SITES_SHOWN)}")
        return f"{objects} ({'; '.join(details)})" if details else objects


def _manifest(journal: Journal) -> str:
    source = journal.runs[-1].manifest_path if journal.runs else None
    return str(source or journal.path)


async def _noted_since(begun: datetime, journals: list[Journal]) -> _Removals:
    """Return the results of an interrupted undo, as its journals have them."""
    removals: _Removals = {}
    for journal in journals:
        async for record in journal.records.in_slices([State.REMOVED]):
            if record.at >= begun:
                removals[journal.path, record.id] = Removal(record=record, status=RemovalStatus.REMOVED)
        async for record in removable(journal):
            removals[journal.path, record.id] = Removal(
                record=record,
                status=RemovalStatus.SKIPPED,
                reason="undo was interrupted",
                hint="Run undo again to continue: an object that is gone by then counts as removed.",
            )
    return removals


@attrs.frozen(kw_only=True)
class _Report:
    """The report of an undo."""

    manifest: str
    journals: tuple[Path, ...]
    """The journals of the manifest, newest first."""
    panel: str
    removals: tuple[Removal, ...]
    traffic: Traffic
    """All calls, including reads."""
    interrupted: bool
    error: PanelicaError | None
    """The error that ended undo early, if any."""

    @property
    def left_over(self) -> tuple[Removal, ...]:
        """Objects that still exist, or may exist."""
        return tuple(removal for removal in self.removals if removal.status is not RemovalStatus.REMOVED)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED if self.left_over or self.error else ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like data."""
        counts = Counter(removal.status for removal in self.removals)
        return {
            "manifest": self.manifest,
            "journal": str(self.journals[0]),
            "journals": [str(path) for path in self.journals],
            "panel": self.panel,
            "counts": {status.value: counts[status] for status in RemovalStatus},
            "calls": self.traffic.calls,
            "writes": self.traffic.writes,
            "reads": self.traffic.reads,
            "interrupted": self.interrupted,
            "error": None if self.error is None else error_data(self.error),
            "objects": [
                {
                    "kind": removal.record.kind.value,
                    "name": removal.record.key,
                    "site": removal.record.site,
                    "status": removal.status.value,
                    "reason": removal.reason,
                    "hint": removal.hint,
                }
                for removal in self.removals
            ],
        }

    def print(self, console: Console) -> None:
        """Print the report."""
        removed = len(self.removals) - len(self.left_over)
        console.print(
            f"{plural(removed, 'object')} removed, {plural(len(self.left_over), 'object')} left over; "
            f"{calls_sent(self.traffic.writes, self.traffic.reads)} sent.",
            soft_wrap=True,
        )
        if self.left_over:
            console.print()
            console.print(object_table(_row(removal) for removal in self.left_over))
            print_hints(console, (removal.hint for removal in self.left_over))
        console.print()
        journals = [("Journal", str(path)) for path in self.journals]
        print_labelled(console, [("Manifest", self.manifest), *journals])


def _row(removal: Removal) -> tuple[str, str, Text, str]:
    record = removal.record
    return record.site, record.label, Text(*_STATUSES[removal.status]), removal.reason or ""
