"""`panelica provision undo`: deletes the objects that the runs of a manifest created, and reports the result."""

import asyncio
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError, PanelicaError
from panelica_async.cli.command import ExitCode, Interruption, on_stop_signal
from panelica_async.cli.connection import Panel, connect, options_of_run
from panelica_async.cli.format import (
    error_data,
    local_time,
    next_command,
    number,
    object_table,
    plural,
    print_hints,
    print_labelled,
    print_prose,
)
from panelica_async.cli.options import ConnectionOptions, StateDirectory, Traffic
from panelica_async.cli.output import Output
from panelica_async.cli.progress import show_activity
from panelica_async.core.redaction import first_few
from panelica_async.provision import (
    Journal,
    KnownJournal,
    Removal,
    RemovalStatus,
    RunDirectory,
    State,
    StepKind,
    undo_all,
)
from panelica_async.provision.background import Table
from panelica_async.provision.journal import journal_at
from panelica_async.provision.manifest.fields import InvalidValueError, domain_name
from panelica_async.provision.search import removable
from panelica_async.telemetry import Event, Sent

_SITES_SHOWN = 3
"""How many domains the question names."""

_STOPPING = "Stopping: waiting for the deletion in flight, sending no new one. Press Ctrl-C again to stop at once."

_STATUSES = {
    RemovalStatus.FAILED: ("failed", "red"),
    RemovalStatus.KEPT: ("kept", "yellow"),
    RemovalStatus.UNCERTAIN: ("uncertain", "yellow"),
}
"""Word and colour of the statuses whose objects are listed one by one."""


async def undo_runs(
    path: Path,
    site_names: Collection[str],
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    *,
    yes: bool,
) -> ExitCode:
    """Delete the objects that the runs of a manifest created, according to all its journals for this panel.

    Args:
        path: The manifest, or the journal of a run.
        site_names: Domains of the sites to delete; empty for all.
        connection: The panel.
        state: The directory of the journals.
        output: Where to report.
        yes: Whether to skip the question.
    """
    sites = _parse_sites(site_names)
    files = RunDirectory(state.state_dir).find(path)
    newest = next(filter(None, map(KnownJournal.read, files)), None)
    if newest is None:
        raise ConfigurationError(f"{files[0].journal} holds no run", hint="Check the path and --state-dir.")
    connection = options_of_run(connection, newest.runs[-1], output)
    if not yes:
        output.require_terminal("deleting")
    interruption = Interruption(lambda: output.say(_STOPPING))
    with on_stop_signal(interruption):
        async with AsyncExitStack() as resources:
            journals = [await resources.enter_async_context(journal_at(each.journal)) for each in files]
            panel = await resources.enter_async_context(connect(connection, state))
            journals = _journals_of_panel(journals, panel, output)
            selection = await _Selection.of(journals, sites)
            selection.require(sites or ())
            objects = f"{selection.description()} from {panel.name}"
            question = f"Delete {objects}, with everything in them, files included?"
            if not yes and selection.size and not output.confirm(question):
                output.report_interruption("Nothing was sent.")
                return ExitCode.INTERRUPTED
            activity = show_activity(output.messages, f"Deleting {objects} …", panel.limiter)
            async with activity if selection.size else nullcontext():
                results, error = await _delete(panel, journals, sites, interruption)
            report = _Report(
                manifest=_manifest(journals[0]),
                journals=tuple(journal.path for journal in journals if journal.path is not None),
                panel=panel.client.base_url,
                results=results,
                traffic=connection.traffic,
                interrupted=interruption.stop.is_set() or interruption.cancelled,
                error=error,
                sites=sites,
                arguments=(str(path), *_site_flags(site_names), *connection.flags(), *state.flags()),
            )
    if output.json:
        output.print_json(report.to_dict())
    else:
        report.print(output.results)
    if report.error is not None:
        output.print_error(report.error)
    return report.exit_code


def _parse_sites(names: Iterable[str]) -> set[str] | None:
    """Return domains as journals spell them, or None if there are none.

    Raises:
        ConfigurationError: One is not a domain.
    """
    try:
        return {domain_name(name) for name in names} or None
    except InvalidValueError as error:
        raise ConfigurationError(f"--site: {error}") from error


def _site_flags(names: Iterable[str]) -> list[str]:
    return [text for name in names for text in ("--site", name)]


async def _delete(
    panel: Panel, journals: list[Journal], sites: Collection[str] | None, interruption: Interruption
) -> tuple["_Results", PanelicaError | None]:
    """Undo the runs of journals; return the results so far, and the error that ended undo early, if any."""
    results = _Results()
    begun = datetime.now(UTC)

    def note(event: Event) -> None:
        # The reads before the first deletion may take minutes, and nothing is lost if they are cancelled.
        interruption.graceful |= isinstance(event, Sent) and event.method == "DELETE"

    unsubscribe = panel.client.subscribe(note)
    try:
        async for journal, removal in undo_all(panel.client, journals, sites=sites, stop=interruption.stop):
            results.add(journal, removal)
    except PanelicaError as error:
        if not any(results.counts.values()):
            raise
        return results, error
    except asyncio.CancelledError:
        if not interruption.cancelled:
            raise
        await results.add_from_journals(begun, journals, sites)
    finally:
        unsubscribe()
    return results, None


def _journals_of_panel(journals: list[Journal], panel: Panel, output: Output) -> list[Journal]:
    """Return the journals whose runs were on this panel, and print which are skipped."""
    base_url = panel.client.base_url
    on_panel = [journal for journal in journals if not journal.runs or journal.runs[-1].is_on(base_url)]
    if not on_panel:
        journals[0].require_panel(base_url)
    for journal in journals:
        if journal not in on_panel:
            output.say(f"Skipping {journal.path}: its runs were on {journal.runs[-1].base_url}.")
    return on_panel


@attrs.frozen
class _Selection:
    """The objects that undo is about to delete."""

    journals: list[Journal]
    size: int
    """Number of objects."""
    uncertain: int
    """How many of them may not exist."""
    sites: Collection[str]

    @classmethod
    async def of(cls, journals: list[Journal], requested: Collection[str] | None) -> Self:
        """Count the objects that the runs created, or may have created, for the requested sites or for all."""
        size = uncertain = 0
        sites: dict[str, None] = {}
        for journal in journals:
            async for record in removable(journal, sites=requested):
                size += 1
                uncertain += record.state is not State.DONE
                # The record of an account names its first site, which may be another one.
                if requested is None or record.site in requested:
                    sites[record.site] = None
        return cls(journals, size, uncertain, sites)

    def require(self, sites: Iterable[str]) -> None:
        """Check that there is something to delete for each of these sites.

        Raises:
            ConfigurationError: There is nothing for one of them.
        """
        if without_objects := sorted(set(sites).difference(self.sites)):
            raise ConfigurationError(
                f"the runs created nothing for the site {without_objects[0]}, or it was removed since",
                hint="Check --site: it takes the domain of a site in the manifest.",
            )

    def description(self) -> str:
        """Return the number of objects, the manifest, the time of the last run and the first sites, in words."""
        objects = f"{plural(self.size - self.uncertain, 'object')} of {_manifest(self.journals[0])}"
        if self.uncertain:
            objects += f" and up to {number(self.uncertain)} more that may exist"
        details: list[str] = []
        if started := [run.started_at for journal in self.journals for run in journal.runs]:
            details.append(f"last run {local_time(max(started))}")
        if self.sites:
            details.append(f"sites {first_few([*self.sites], _SITES_SHOWN)}")
        return f"{objects} ({'; '.join(details)})" if details else objects


def _manifest(journal: Journal) -> str:
    source = journal.runs[-1].manifest_path if journal.runs else None
    return str(source or journal.path)


_COLUMNS: Final = "kind, name, site, status, reason, hint"


@attrs.frozen
class _Result:
    """The result for one object."""

    kind: StepKind = attrs.field(converter=StepKind)
    name: str
    site: str
    status: RemovalStatus = attrs.field(converter=RemovalStatus)
    reason: str | None
    hint: str | None


class _Results:
    """The result for each object, by its journal and the id of its step. A later result replaces an earlier one."""

    def __init__(self) -> None:
        self._table = Table(f"journal, step, {_COLUMNS}, UNIQUE (journal, step)")

    def __iter__(self) -> Iterator[_Result]:
        return self._select("true")

    @property
    def left_over(self) -> list[_Result]:
        """Objects that still exist, or may exist."""
        return [*self._select(f"status <> '{RemovalStatus.REMOVED}'")]

    @property
    def counts(self) -> Mapping[RemovalStatus, int]:
        """Number of objects by status."""
        counts = dict(self._table.execute("SELECT status, count(*) FROM item GROUP BY status"))
        return {status: counts.get(status, 0) for status in RemovalStatus}

    def add(self, journal: Journal, removal: Removal) -> None:
        """Add the result for an object."""
        self._insert(
            journal, removal, "UPDATE SET status = excluded.status, reason = excluded.reason, hint = excluded.hint"
        )

    async def add_from_journals(self, begun: datetime, journals: list[Journal], sites: Collection[str] | None) -> None:
        """Add results for the other objects after an interrupted undo, from its journals."""
        for journal in journals:
            async for record in journal.records.in_slices([State.REMOVED]):
                if record.at >= begun:
                    self._insert(journal, Removal(record=record, status=RemovalStatus.REMOVED), "NOTHING")
            async for record in removable(journal, sites=sites):
                skipped = Removal(
                    record=record,
                    status=RemovalStatus.SKIPPED,
                    reason="undo was interrupted",
                    hint="Run undo again to continue: an object that is gone by then counts as removed.",
                )
                self._insert(journal, skipped, "NOTHING")

    def _select(self, condition: str) -> Iterator[_Result]:
        rows = self._table.execute(f"SELECT {_COLUMNS} FROM item WHERE {condition} ORDER BY number")  # noqa: S608 - constant names
        return (_Result(*row) for row in rows)

    def _insert(self, journal: Journal, removal: Removal, on_conflict: str) -> None:
        record = removal.record
        values = (record.kind, record.key, record.site, removal.status, removal.reason, removal.hint)
        self._table.execute(
            f"INSERT INTO item (journal, step, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant names
            f" ON CONFLICT (journal, step) DO {on_conflict}",
            (os.fsencode(str(journal.path)), record.id, *values),
        )


@attrs.frozen(kw_only=True)
class _Report:
    """The report of an undo."""

    manifest: str
    journals: tuple[Path, ...]
    """The journals of the manifest, newest first."""
    panel: str
    results: _Results
    traffic: Traffic
    """All calls, including reads."""
    interrupted: bool
    error: PanelicaError | None
    """The error that ended undo early, if any."""
    sites: Collection[str] | None
    """Domains of the sites that were to be deleted; None for all."""
    arguments: tuple[str, ...]
    """The arguments that select the same runs in the next command."""

    @property
    def next_command(self) -> str | None:
        """The command that continues, unless nothing is left over that it might remove."""
        open_statuses = (RemovalStatus.FAILED, RemovalStatus.UNCERTAIN, RemovalStatus.SKIPPED)
        if not any(self.results.counts[status] for status in open_statuses):
            return None
        return next_command("undo", *self.arguments)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED if self.results.left_over or self.error else ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like data."""
        return {
            "manifest": self.manifest,
            "journal": str(self.journals[0]),
            "journals": [str(path) for path in self.journals],
            "panel": self.panel,
            "counts": {status.value: count for status, count in self.results.counts.items()},
            **self.traffic.to_dict(),
            "interrupted": self.interrupted,
            "error": None if self.error is None else error_data(self.error),
            "objects": [
                {
                    "kind": result.kind.value,
                    "name": result.name,
                    "site": result.site,
                    "status": result.status.value,
                    "reason": result.reason,
                    "hint": result.hint,
                }
                for result in self.results
            ],
            "next_command": self.next_command,
        }

    def print(self, console: Console) -> None:
        """Print the report."""
        left_over = self.results.left_over
        print_prose(console, self._summary())
        if reported := [result for result in left_over if result.status in _STATUSES]:
            console.print()
            console.print(object_table(map(_row, reported)))
        print_hints(console, (result.hint for result in left_over))
        if self.sites:
            names = first_few(sorted(self.sites), _SITES_SHOWN)
            reason = "otherwise the next apply or resume creates again what was deleted."
            print_hints(console, [f"Also remove {names} from {self.manifest}: {reason}"])
        console.print()
        lines = [("Manifest", self.manifest), *(("Journal", str(path)) for path in self.journals)]
        if self.next_command:
            lines.append(("Continue", self.next_command))
        print_labelled(console, lines)

    def _summary(self) -> str:
        counts = self.results.counts
        if not any(counts.values()):
            return "Nothing to delete: the runs created nothing, or it was removed since."
        removed, skipped = counts[RemovalStatus.REMOVED], counts[RemovalStatus.SKIPPED]
        not_attempted = f" ({number(skipped)} of them not attempted)" if skipped else ""
        left_over = plural(sum(counts.values()) - removed, "object")
        return f"{plural(removed, 'object')} removed, {left_over} left over{not_attempted}; {self.traffic} sent."


def _row(result: _Result) -> tuple[str, str, Text, str]:
    label = f"{result.kind.label} {result.name}"
    return result.site, label, Text(*_STATUSES[result.status]), result.reason or ""
