"""`panelica provision plan`, `apply` and `resume`: show what a run of a manifest would do, or carry it out."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async import ConfigurationError, PanelicaError, RateLimit
from panelica_async.catalog import TIERS
from panelica_async.cli.command import ExitCode, Interruption, on_stop_signal
from panelica_async.cli.connection import Panel, connect, is_sandbox, options_of_run
from panelica_async.cli.format import (
    duration,
    local_time,
    number,
    object_table,
    pending_certificates_line,
    plural,
    print_prose,
    quota,
    remark_lines,
)
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.cli.progress import Meter, Progress, show_activity
from panelica_async.cli.report import RunReport, command_on, missing_passwords_note
from panelica_async.provision import (
    Action,
    Journal,
    JournalStatus,
    KnownJournal,
    Manifest,
    ManifestError,
    Plan,
    PlannedStep,
    RunDirectory,
    RunFiles,
    SiteOutcome,
    StepKind,
    apply,
    journal_on,
    missing_passwords,
    remaining_outcomes,
)
from panelica_async.provision.journal import journal_at
from panelica_async.provision.plan import remarks_on_scopes

_STOPPING = "Stopping: finishing the calls in flight, sending no new ones. Press Ctrl-C again to stop at once."
_OBSTACLES = {
    Action.CONFLICT: ("conflict", "red"),
    Action.BLOCKED: ("blocked", "red"),
    Action.UNCERTAIN: ("uncertain", "yellow"),
}


async def show_plan(
    file: Path, manifest: Manifest, connection: ConnectionOptions, state: StateDirectory, output: Output
) -> ExitCode:
    """Show what `apply` would do, without writing to the panel."""
    async with AsyncExitStack() as resources, connect(connection, state) as panel:
        files = RunDirectory(state.state_dir).files_for(file, panel.client.base_url)
        journal = None
        if files.journal.exists():
            journal = await resources.enter_async_context(journal_at(files.journal, read_only=True))
        plan = await _build_plan(panel, manifest, journal, output)
        if output.json:
            output.print_json(_plan_data(plan, panel))
        else:
            _print_plan(plan, panel, output.results)
    return ExitCode.FAILED if _obstacles(plan) else ExitCode.OK


async def _build_plan(panel: Panel, manifest: Manifest, journal: Journal | None, output: Output) -> Plan:
    """Build the plan of a run, with remarks about the scopes of the key, and show the reads."""
    async with show_activity(output.messages, f"Reading what exists on {panel.name} …", panel.limiter):
        plan = await Plan.build(panel.client, manifest, journal=journal)
        scope_remarks = await remarks_on_scopes(panel.client, plan.new, plan.abilities)
        return attrs.evolve(plan, remarks=(*scope_remarks, *plan.remarks))


def _plan_summary(plan: Plan, panel: Panel) -> str:
    """Return a summary of a plan, in a few lines."""
    counts = Counter(planned.action for planned in plan.steps)
    uncertain = f", {number(counts[Action.UNCERTAIN])} uncertain" if counts[Action.UNCERTAIN] else ""
    objects = (
        f"{plural(len(plan.sites), 'site')} with {plural(len(plan.steps), 'object')}: "
        f"{number(counts[Action.CREATE])} to create, {number(counts[Action.KEEP])} already there, "
        f"{number(counts[Action.CONFLICT] + counts[Action.BLOCKED])} in conflict{uncertain}."
    )
    lines = [objects, _time_needed(plan, panel.limiter.limit)]
    if plan.manifest.ignored_columns:
        lines.append(f"Ignored columns: {', '.join(plan.manifest.ignored_columns)}.")
    if plan.pending:
        lines.append(pending_certificates_line(len(plan.pending)))
    return "\n".join([*lines, *remark_lines(plan.remarks)])


def _plan_data(plan: Plan, panel: Panel) -> dict[str, Any]:
    """Return a plan as JSON-like data, with the estimated time."""
    limit = panel.limiter.limit
    return {
        "panel": panel.client.base_url,
        **plan.to_dict(),
        "ignored_columns": plan.manifest.ignored_columns,
        "limit": {"per_minute": limit.per_minute, "per_hour": limit.per_hour},
        "estimated_seconds": round(_seconds(plan, limit), 1),
    }


def _print_plan(plan: Plan, panel: Panel, console: Console) -> None:
    """Print the objects of each kind, the conflicts, and the estimated time."""
    console.print(Text(f"{plan.manifest.name} on {panel.name}\n"), soft_wrap=True)
    console.print(_counts(plan))
    if obstacles := _obstacles(plan):
        console.print()
        console.print(
            object_table(
                (planned.step.site, planned.step.label, Text(*_OBSTACLES[planned.action]), planned.reason or "")
                for planned in obstacles
            )
        )
    console.print()
    print_prose(console, _plan_summary(plan, panel))
    if plan.writes:
        limits = {name: RateLimit.for_tier(name) for name in TIERS}
        times = ", ".join(
            f"{name} {'without a limit' if limit.is_unlimited else duration(_seconds(plan, limit))}"
            for name, limit in limits.items()
        )
        print_prose(console, Text(f"Minimum time by tier: {times}.", "dim"))


def _counts(plan: Plan) -> Table:
    table = Table(
        "", "to create", "already there", "in conflict", "uncertain", box=None, header_style="bold", pad_edge=False
    )
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
        column.overflow = "fold"
    by_kind = plan.counts
    for kind in StepKind:
        if kind in by_kind:
            counts = Counter(by_kind[kind])
            in_conflict = counts[Action.CONFLICT] + counts[Action.BLOCKED]
            cells = (counts[Action.CREATE], counts[Action.KEEP], in_conflict, counts[Action.UNCERTAIN])
            table.add_row(kind.plural, *(number(cell) if cell else "-" for cell in cells))
    return table


def _obstacles(plan: Plan) -> list[PlannedStep]:
    """Return the steps that are in conflict or uncertain, without those that only depend on one."""
    obstacles = (planned for planned in plan.steps if planned.action in _OBSTACLES)
    return [planned for planned in obstacles if planned.action is not Action.BLOCKED or not planned.step.parents]


def _time_needed(plan: Plan, limit: RateLimit) -> str:
    if not plan.writes:
        return "Nothing to send."
    if limit.is_unlimited:
        return f"{plural(plan.writes, 'write')} to send, without a rate limit."
    return f"{plural(plan.writes, 'write')} to send, at least {duration(_seconds(plan, limit))} at {quota(limit)}."


def _seconds(plan: Plan, limit: RateLimit) -> float:
    return plan.estimate(limit).total_seconds()


@attrs.frozen
class RunOptions:
    """The options of `apply` and `resume`."""

    connection: ConnectionOptions
    state: StateDirectory
    output: Output
    concurrency: int
    """How many sites to work on at a time."""
    yes: bool
    """Whether to skip the question before the first write."""

    @property
    def directory(self) -> RunDirectory:
        """The directory of the journals."""
        return RunDirectory(self.state.state_dir)

    @property
    def asks_first(self) -> bool:
        """Whether to ask before the first write; writes to the embedded sandbox affect no real panel."""
        return not (self.yes or self.connection.sandbox)


async def apply_file(file: Path, manifest: Manifest, options: RunOptions) -> ExitCode:
    """Create the sites of a manifest; continues an earlier run of it."""

    async def choose_files(panel: str) -> RunFiles:
        files = options.directory.files_for(file, panel)
        if not files.journal.exists():
            for earlier in options.directory.journals_of(file):
                # A sandbox and a server are never the same panel.
                if is_sandbox(earlier.base_url) == options.connection.sandbox:
                    place, remedy = (
                        ("another embedded sandbox", "To continue them there, pass its --dialect or --sandbox-db.")
                        if options.connection.sandbox
                        else (earlier.base_url, "If that is the same panel, use that address.")
                    )
                    options.output.say(f"{earlier.files.journal} has runs of this manifest on {place}. {remedy}")
        return files

    return await _run(manifest, str(file), choose_files, options)


async def resume_run(path: Path | None, options: RunOptions) -> ExitCode:
    """Continue the run of a journal, with the manifest that the journal names."""
    candidates = options.directory.find(path) if path else [await asyncio.to_thread(options.directory.find_unfinished)]
    journals = [*filter(None, map(KnownJournal.read, candidates))]
    if not journals:
        # The run was killed before its first call, so there is nothing to continue.
        if path is None or path.suffix == ".db":
            hint = "Run `panelica provision apply` with the manifest."
            raise ConfigurationError(f"{candidates[0].journal} holds no run", hint=hint)
        return await apply_file(path, Manifest.load(path), options)
    connection = options_of_run(options.connection, journals[0].runs[-1], options.output)
    options = attrs.evolve(options, connection=connection)
    async with journal_at(journals[0].files.journal, read_only=True) as journal:
        manifest = _unchanged_manifest(journal, options.state)
    name = str(path or journals[0].files.journal)

    async def choose_files(panel: str) -> RunFiles:
        files = journal_on(journals, panel).files
        _refuse_if_undone(await asyncio.to_thread(JournalStatus.read, files), options.state)
        return files

    return await _run(manifest, name, choose_files, options)


def _refuse_if_undone(status: JournalStatus, state: StateDirectory) -> None:
    """Refuse a journal whose runs were undone completely: continuing would create everything again."""
    if status.is_undone and not status.is_removable:
        command = command_on(status.runs[-1], "apply", str(status.manifest), state)
        raise ConfigurationError(
            f"the run of {status.manifest} was undone; there is nothing to resume",
            hint=f"Run `{command}` to create the sites again.",
        )


def _unchanged_manifest(journal: Journal, state: StateDirectory) -> Manifest:
    """Load the manifest of a journal's last run, or say how to go on without it."""
    try:
        return journal.load_manifest()
    except ManifestError:
        raise
    except ConfigurationError as error:
        if journal.manifest_path is None:
            raise
        if journal.manifest_path.exists():
            command = command_on(journal.runs[-1], "apply", str(journal.manifest_path), state)
            hint = f"Run `{command}` to continue in the same journal."
        else:
            command = command_on(journal.runs[-1], "undo", str(journal.path), state)
            hint = f"Put the file back there, or run `{command}` to remove what was created."
        raise ConfigurationError(error.message, hint=hint) from None


async def _run(
    manifest: Manifest, name: str, choose_files: Callable[[str], Awaitable[RunFiles]], options: RunOptions
) -> ExitCode:
    """Plan a run, ask, carry it out, and report it.

    Args:
        manifest: The manifest.
        name: How the next command names the run: its manifest or its journal.
        choose_files: Returns the files of the run on the panel of an address.
        options: The options of the command.
    """
    output = options.output
    if options.asks_first:
        output.require_terminal("writing to a server")
    options.state.make()
    interruption = Interruption(lambda: output.say(_STOPPING))
    with on_stop_signal(interruption):
        async with AsyncExitStack() as resources, connect(options.connection, options.state) as panel:
            started = time.monotonic()
            files = await choose_files(panel.client.base_url)
            journal = await resources.enter_async_context(journal_at(files.journal))
            if journal.runs and journal.runs[-1].finished_at is None:
                output.say(f"Continuing the run of {local_time(journal.runs[-1].started_at)}.")
            plan = await _build_plan(panel, manifest, journal, output)
            seconds = time.monotonic() - started
            output.say(_plan_summary(plan, panel))
            steps = (planned.step for planned in plan.steps)
            missing = missing_passwords(steps, journal.records, files.passwords)
            if note := missing_passwords_note(missing, files):
                output.say(note)
            question = f"Create {plural(len(plan.new), 'object')} on {panel.name}?"
            if plan.writes and options.asks_first and not output.confirm(question):
                output.report_interruption("Nothing was sent.")
                return ExitCode.INTERRUPTED
            started = time.monotonic()
            outcomes, error = await _carry_out(panel, plan, journal, files.passwords, options, interruption)
            seconds += time.monotonic() - started
    report = RunReport(
        manifest=manifest.name,
        panel=panel.client.base_url,
        outcomes=outcomes,
        traffic=options.connection.traffic,
        seconds=seconds,
        interrupted=interruption.stop.is_set(),
        error=error,
        files=files,
        remarks=plan.remarks,
        arguments=(name, *options.connection.flags(), *options.state.flags()),
    )
    if output.json:
        output.print_json(report.to_dict())
    else:
        report.print(output.results)
    if error is not None:
        output.print_error(error)
    return report.exit_code


async def _carry_out(
    panel: Panel, plan: Plan, journal: Journal, passwords: Path, options: RunOptions, interruption: Interruption
) -> tuple[tuple[SiteOutcome, ...], PanelicaError | None]:
    """Apply a plan; return the outcome of each site, and the error that ended the run early, if any."""
    min_seconds = _seconds(plan, panel.limiter.limit)
    meter = Meter(panel.limiter, sites=len(plan.sites), writes=plan.writes, min_seconds=min_seconds)
    progress = Progress(options.output.messages, meter)
    run = apply(
        panel.client,
        plan,
        journal=journal,
        credentials=passwords if _generates_passwords(plan) else None,
        concurrency=options.concurrency,
        on_event=progress.note,
        stop=interruption.stop,
    )
    outcomes: list[SiteOutcome] = []
    fatal_error: PanelicaError | None = None
    interruption.graceful = True
    try:
        async with progress.display(), aclosing(run):
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - a comprehension would lose those before an error
    except (PanelicaError, OSError, sqlite3.Error) as error:
        if isinstance(error, ConfigurationError) and not outcomes:
            raise
        fatal_error = error if isinstance(error, PanelicaError) else _write_error(error, journal, passwords)
    except asyncio.CancelledError:
        if not interruption.cancelled:
            raise
    return (*outcomes, *remaining_outcomes(plan, outcomes, journal)), fatal_error


def _generates_passwords(plan: Plan) -> bool:
    return any(planned.step.password_needed and planned.step.password is None for planned in plan.steps)


def _write_error(error: OSError | sqlite3.Error, journal: Journal, passwords: Path) -> PanelicaError:
    """Return the error of a run that ended because its journal or passwords file could not be written."""
    if isinstance(error, OSError):
        path, problem = error.filename or passwords, error.strerror
    else:
        path, problem = journal.path, str(error)
    return PanelicaError(
        f"{path} cannot be written: {problem}",
        hint="Free space, make the file writable or put it back, then run `resume`: nothing is created twice.",
    )
