"""`panelica provision apply` and `resume`: run a manifest, and report the result as text or JSON."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError, PanelicaError
from panelica_async.cli.command import ExitCode, Interruption, on_stop_signal
from panelica_async.cli.connection import Connection, Panel, Traffic
from panelica_async.cli.embedded import is_sandbox, sandbox_flags
from panelica_async.cli.format import (
    calls_sent,
    duration,
    error_data,
    local_time,
    next_command,
    object_table,
    pending_line,
    plural,
    print_hints,
    print_labelled,
    remark_lines,
)
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output
from panelica_async.cli.plan import build_plan, plan_summary
from panelica_async.cli.progress import SITE_STATUSES, Meter, Progress
from panelica_async.cli.status import missing_passwords_note
from panelica_async.provision import (
    Journal,
    JournalStatus,
    KnownJournal,
    Manifest,
    ManifestError,
    Plan,
    Remark,
    Run,
    RunDirectory,
    RunFiles,
    SiteOutcome,
    SiteStatus,
    StepOutcome,
    StepStatus,
    apply,
    journal_on,
    missing_passwords,
    remaining_outcomes,
)
from panelica_async.provision.journal import journal_at

_STOPPING = "Stopping: waiting for calls in flight, sending no new ones. Press Ctrl-C again to stop at once."
_BAD = {
    StepStatus.FAILED: ("failed", "red"),
    StepStatus.CONFLICT: ("conflict", "red"),
    StepStatus.UNKNOWN: ("uncertain", "yellow"),
}


@attrs.frozen
class RunOptions:
    """The options of `apply` and `resume`."""

    connection: Connection
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
    def asks(self) -> bool:
        """Whether to ask before the first write; writes to the embedded sandbox affect no real panel."""
        return not (self.yes or self.connection.sandbox)


async def apply_file(file: Path, manifest: Manifest, options: RunOptions) -> ExitCode:
    """Create the sites of a manifest; continues an earlier run of it."""

    async def choose(panel: str) -> RunFiles:
        files = options.directory.files_for(file, panel)
        if not files.journal.exists():
            for known in options.directory.journals_of(file):
                options.output.say(
                    f"{known.files.journal} has runs of this manifest on {known.base_url}. "
                    "If that is the same panel, use that address."
                )
        return files

    return await _run(manifest, str(file), choose, options)


async def resume_run(path: Path | None, options: RunOptions) -> ExitCode:
    """Continue the run of a journal, with the manifest that the journal names."""
    candidates = options.directory.find(path) if path else [await asyncio.to_thread(options.directory.find_unfinished)]
    journals = [known for files in candidates if (known := KnownJournal.read(files)) is not None]
    if not journals:
        # The run was killed before its first call, so there is nothing to continue.
        if path is None or path.suffix == ".db":
            hint = "Run `panelica provision apply` with the manifest."
            raise ConfigurationError(f"{candidates[0].journal} holds no run", hint=hint)
        return await apply_file(path, Manifest.load(path), options)
    if not (options.connection.sandbox or options.connection.base_url) and is_sandbox(journals[0].base_url):
        options.output.say("Continuing on the embedded sandbox, where the run was started.")
        dialect = journals[0].runs[-1].dialect or options.connection.dialect
        options = attrs.evolve(options, connection=attrs.evolve(options.connection, sandbox=True, dialect=dialect))

    async with journal_at(journals[0].files.journal, read_only=True) as journal:
        manifest = _unchanged_manifest(journal, options.state)
    name = str(path or journals[0].files.journal)

    async def choose(panel: str) -> RunFiles:
        files = journal_on(journals, panel).files
        _require_something_left(await asyncio.to_thread(JournalStatus.read, files), options.state)
        return files

    return await _run(manifest, name, choose, options)


def _require_something_left(status: JournalStatus, state: StateDirectory) -> None:
    """Refuse a journal whose runs were undone completely: to continue would create everything again."""
    if status.is_undone and not status.is_removable:
        raise ConfigurationError(
            f"the run of {status.manifest} was undone; there is nothing to resume",
            hint=f"Run `{_command('apply', status.runs[-1], str(status.manifest), state)}` to create the sites again.",
        )


def _command(command: str, run: Run, name: str, state: StateDirectory) -> str:
    """Return a command for the manifest or journal of a run, with the options that select its panel and directory."""
    return next_command(command, name, *sandbox_flags(run), *state.flags())


def _unchanged_manifest(journal: Journal, state: StateDirectory) -> Manifest:
    """Load the manifest of a journal's last run."""
    try:
        return journal.load_manifest()
    except ManifestError:
        raise
    except ConfigurationError as error:
        if journal.manifest_path is None:
            raise
        if journal.manifest_path.exists():
            command = _command("apply", journal.runs[-1], str(journal.manifest_path), state)
            hint = f"Run `{command}` to continue in the same journal."
        else:
            command = _command("undo", journal.runs[-1], str(journal.path), state)
            hint = f"Put the file back there, or run `{command}` to remove what was created."
        raise ConfigurationError(error.message, hint=hint) from None


async def _run(
    manifest: Manifest, name: str, choose: Callable[[str], Awaitable[RunFiles]], options: RunOptions
) -> ExitCode:
    output = options.output
    if options.asks:
        output.require_terminal("writing to a server")
    options.state.make()
    interruption = Interruption(lambda: output.say(_STOPPING))
    with on_stop_signal(interruption):
        async with AsyncExitStack() as resources, options.connection.open(options.state) as panel:
            begun = time.monotonic()
            files = await choose(panel.client.base_url)
            journal = await resources.enter_async_context(journal_at(files.journal))
            if journal.runs and journal.runs[-1].finished_at is None:
                output.say(f"Continuing the run of {local_time(journal.runs[-1].started_at)}.")
            plan = await build_plan(panel, manifest, journal, output)
            planning = time.monotonic() - begun
            output.say(plan_summary(plan, panel))
            steps = (planned.step for planned in plan.steps)
            missing = missing_passwords(steps, journal.records, files.passwords)
            if note := missing_passwords_note(missing, files):
                output.say(note)
            question = f"Create {plural(len(plan.new), 'object')} on {panel.name}?"
            if plan.writes and options.asks and not output.confirm(question):
                output.say("Nothing was sent.")
                return ExitCode.INTERRUPTED
            begun = time.monotonic()
            outcomes, error = await _carry_out(panel, plan, journal, files.passwords, options, interruption)
            seconds = planning + time.monotonic() - begun
    report = _Report(
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
        output.document(report.to_dict())
    else:
        report.print(output.results)
    if error is not None:
        output.explain(error)
    return report.exit_code


async def _carry_out(
    panel: Panel, plan: Plan, journal: Journal, passwords: Path, options: RunOptions, interruption: Interruption
) -> tuple[tuple[SiteOutcome, ...], PanelicaError | None]:
    """Apply a plan; return the outcome of each site, and the error that ended the run early, if any."""
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
        stop=interruption.stop,
    )
    outcomes: list[SiteOutcome] = []
    fatal: PanelicaError | None = None
    interruption.graceful = True
    try:
        async with progress.shown(), aclosing(run):
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - keeps those before an error
    except (PanelicaError, OSError, sqlite3.Error) as error:
        if isinstance(error, ConfigurationError) and not outcomes:
            raise
        fatal = error if isinstance(error, PanelicaError) else _write_error(error, journal, passwords)
    except asyncio.CancelledError:
        if not interruption.cancelled:
            raise
    return (*outcomes, *remaining_outcomes(plan, outcomes, journal)), fatal


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


@attrs.frozen(kw_only=True)
class _Report:
    """The report of a run."""

    manifest: str
    panel: str
    outcomes: tuple[SiteOutcome, ...]
    """One for each site."""
    traffic: Traffic
    """All calls, including those of the plan and retries."""
    seconds: float
    """Duration, including the plan, without the time of the question."""
    interrupted: bool
    error: PanelicaError | None
    """The error that ended the run early, if any."""
    files: RunFiles
    remarks: tuple[Remark, ...]
    """The remarks of the plan."""
    arguments: tuple[str, ...]
    """The arguments that select the same run in the next command."""

    @property
    def counts(self) -> Mapping[SiteStatus, int]:
        """Number of sites by status."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        return {status: counts[status] for status in SiteStatus}

    @property
    def pending(self) -> list[str]:
        """Domains whose certificate was not active at the last check."""
        return [step.step.key for outcome in self.outcomes for step in outcome.steps if step.is_pending]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        is_complete = all(outcome.status in {SiteStatus.DONE, SiteStatus.EXISTS} for outcome in self.outcomes)
        return ExitCode.OK if is_complete and self.error is None else ExitCode.FAILED

    @property
    def passwords(self) -> Path | None:
        """The file of the generated passwords, if it exists."""
        return self.files.passwords if self.files.passwords.exists() else None

    @property
    def next_command(self) -> str:
        """The command to run next."""
        command = "undo" if self.exit_code is ExitCode.OK else "resume"
        return next_command(command, *self.arguments)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like data."""
        return {
            "manifest": self.manifest,
            "panel": self.panel,
            "counts": {"sites": len(self.outcomes)} | {status.value: count for status, count in self.counts.items()},
            "pending_certificates": self.pending,
            "calls": self.traffic.calls,
            "writes": self.traffic.writes,
            "reads": self.traffic.reads,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "error": None if self.error is None else error_data(self.error),
            "remarks": [remark.to_dict() for remark in self._all_remarks],
            "sites": [outcome.to_dict() for outcome in self.outcomes],
            "journal": str(self.files.journal),
            "passwords": None if self.passwords is None else str(self.passwords),
            "next_command": self.next_command,
        }

    def print(self, console: Console) -> None:
        """Print the report."""
        console.print()
        console.print(self._summary(), soft_wrap=True)
        console.print(
            f"{calls_sent(self.traffic.writes, self.traffic.reads)} sent in {duration(self.seconds)}.", soft_wrap=True
        )
        if self.pending:
            console.print(Text(pending_line(len(self.pending))), soft_wrap=True)
        for line in remark_lines(self._all_remarks):
            console.print(Text(line), soft_wrap=True)
        steps = [(outcome.domain, step) for outcome in self.outcomes for step in outcome.steps]
        bad = [(site, step) for site, step in steps if step.status in _BAD]
        if bad:
            console.print()
            rows = ((site, step.step.label, Text(*_BAD[step.status]), _reason(step)) for site, step in bad)
            console.print(object_table(rows))
        print_hints(console, (step.hint for _, step in steps))
        console.print()
        print_labelled(console, self._places())

    @property
    def _all_remarks(self) -> tuple[Remark, ...]:
        """The remarks of the plan, and those about existing objects."""
        steps = {step.step.id: step for outcome in self.outcomes for step in outcome.steps if step.remark}
        found = (Remark(step.step.label, step.remark) for step in steps.values() if step.remark)
        return (*self.remarks, *found)

    def _summary(self) -> Text:
        text = Text(f"{plural(len(self.outcomes), 'site')}: ")
        parts = [
            Text(f"{count} {SITE_STATUSES[status][0]}", SITE_STATUSES[status][1])
            for status, count in self.counts.items()
            if count or status in {SiteStatus.DONE, SiteStatus.FAILED}
        ]
        return text.append_text(Text(", ").join(parts)).append(".")

    def _places(self) -> Iterator[tuple[str, str]]:
        yield "Journal", str(self.files.journal)
        if self.passwords is not None:
            yield "Passwords", str(self.passwords)
        if self.pending and self.exit_code is ExitCode.OK:
            yield "Check", next_command("resume", *self.arguments)
        yield "Undo" if self.exit_code is ExitCode.OK else "Continue", self.next_command


def _reason(step: StepOutcome) -> str:
    reference = f" (request {step.request_id})" if step.request_id else ""
    return f"{step.reason}{reference}"
