"""Runs of a manifest: plan, apply, resume."""

import asyncio
import sqlite3
import time
from contextlib import ExitStack, aclosing
from pathlib import Path

import attrs

from panelica_async import ConfigurationError, PanelicaError
from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import Connection, Panel
from panelica_async.cli.output import Output
from panelica_async.cli.planning import (
    Preparation,
    has_obstacles,
    look,
    plan_apply,
    plan_data,
    plan_resume,
    plan_summary,
    print_plan,
)
from panelica_async.cli.progress import Meter, Progress
from panelica_async.cli.report import Ending, RunReport, broken_off, unfinished
from panelica_async.cli.signals import Interruption, on_stop_signal
from panelica_async.cli.state import RunFiles, StateDirectory
from panelica_async.cli.status import JournalStatus
from panelica_async.cli.wording import several
from panelica_async.provision import Journal, Manifest, Plan, SiteOutcome, apply

_RESTING = "Stopping: calls on their way are finished, no new ones are sent. Ctrl-C again breaks off at once."


@attrs.frozen
class RunOptions:
    """How to run: the options of a command."""

    connection: Connection
    state: StateDirectory
    output: Output
    concurrency: int
    """Sites worked on at a time."""
    yes: bool
    """Whether not to ask before the first write."""

    @property
    def asks(self) -> bool:
        """Whether to ask before the first write; writes to the embedded sandbox touch nothing real."""
        return not (self.yes or self.connection.sandbox)


async def show_plan(
    file: Path, manifest: Manifest, connection: Connection, state: StateDirectory, output: Output
) -> ExitCode:
    """Show what `apply_file` would do."""
    async with connection.open(state) as panel:
        plan = await look(panel, manifest, state.files_of(file), output)
        if output.json:
            output.document(plan_data(plan, panel))
        else:
            print_plan(plan, panel, output.results)
    return ExitCode.FAILED if has_obstacles(plan) else ExitCode.OK


async def apply_file(file: Path, manifest: Manifest, options: RunOptions) -> ExitCode:
    """Bring the sites of a manifest into being; goes on where an interrupted run of it ended."""
    return await _run(plan_apply, manifest, str(file), options.state.files_of(file), options)


async def resume_run(path: Path | None, options: RunOptions) -> ExitCode:
    """Go on where the run of a journal ended, by the manifest that the journal names."""
    path = path or _the_only_one(options.state)
    files = options.state.files_of(path).existing()
    with Journal.open(files.journal, read_only=True) as journal:
        manifest = journal.load_manifest()
    return await _run(plan_resume, manifest, str(path), files, options)


def _the_only_one(state: StateDirectory) -> Path:
    """Return the journal that is meant when none is named: the only one with something left to do, or the only one."""
    journals = state.journals()
    unfinished = [path for path in journals if JournalStatus.read(state.files_of(path), []).is_open]
    candidates = unfinished or journals
    if len(candidates) == 1:
        return candidates[0]
    raise ConfigurationError(
        f"{several(len(candidates), 'run')} to resume in {state.state_dir}",
        hint="Name the manifest or the journal; `panelica provision status` shows what there is.",
    )


async def _run(prepare: Preparation, manifest: Manifest, name: str, files: RunFiles, options: RunOptions) -> ExitCode:
    output = options.output
    if options.asks:
        output.require_terminal("this asks before it writes to a server")
    options.state.make()
    interruption = Interruption(lambda: output.say(_RESTING))
    with ExitStack() as resources, on_stop_signal(interruption):
        async with options.connection.open(options.state) as panel:
            begun = time.monotonic()
            journal, plan = await prepare(panel, manifest, files, output, resources)
            planning = time.monotonic() - begun
            output.say(plan_summary(plan, panel))
            question = f"Create {several(plan.writes, 'object')} on {panel.name}?"
            if plan.writes and options.asks and not output.confirm(question):
                output.say("Nothing was sent.")
                return ExitCode.INTERRUPTED
            ending = await _carry_out(panel, plan, journal, files.passwords, options, interruption)
    report = RunReport(
        manifest=manifest.name,
        panel=panel.client.base_url,
        ending=attrs.evolve(ending, seconds=planning + ending.seconds),
        files=files,
        remarks=plan.remarks,
        arguments=(name, *options.connection.flags(), *options.state.flags()),
    )
    if output.json:
        output.document(report.to_dict())
    else:
        report.print(output.results)
    if ending.error is not None:
        output.explain(ending.error)
    return report.exit_code


async def _carry_out(
    panel: Panel, plan: Plan, journal: Journal, passwords: Path, options: RunOptions, interruption: Interruption
) -> Ending:
    least = plan.estimate(panel.limiter.limit).total_seconds()
    meter = Meter(panel.limiter, sites=len(plan.sites), writes=plan.writes, least=least)
    progress = Progress(options.output.messages, meter)
    run = apply(
        panel.client,
        plan,
        journal=journal,
        credentials=passwords if _generates_passwords(plan) else None,
        concurrency=options.concurrency,
        on_event=progress.note,
        stop=interruption.rest,
    )
    outcomes: list[SiteOutcome] = []
    fatal: PanelicaError | None = None
    interruption.rests = True
    try:
        async with progress.shown(), aclosing(run):
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - what was there before an error counts
    except (PanelicaError, OSError, sqlite3.Error) as error:
        if isinstance(error, ConfigurationError) and not outcomes:
            raise
        fatal = error if isinstance(error, PanelicaError) else broken_off(error, journal, passwords)
    except asyncio.CancelledError:
        if not interruption.cancelled:
            raise
    return Ending(
        outcomes=(*outcomes, *unfinished(plan, outcomes, journal)),
        traffic=options.connection.traffic,
        seconds=meter.elapsed,
        interrupted=interruption.rest.is_set(),
        error=fatal,
    )


def _generates_passwords(plan: Plan) -> bool:
    return any(planned.step.password_needed and planned.step.password is None for planned in plan.steps)
