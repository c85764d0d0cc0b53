"""Reports on runs, as text or JSON: what `apply` and `resume` print when they end, and `panelica provision status`."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError, PanelicaError
from panelica_async.api.discovery import DEFAULT_DIALECT
from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import is_sandbox
from panelica_async.cli.format import (
    duration,
    error_data,
    local_time,
    next_command,
    number,
    object_table,
    pending_certificates_line,
    plural,
    print_hints,
    print_labelled,
    print_prose,
    remark_lines,
)
from panelica_async.cli.options import StateDirectory, Traffic, sandbox_flags
from panelica_async.cli.output import Output
from panelica_async.cli.progress import SITE_STATUSES
from panelica_async.core.redaction import first_few
from panelica_async.provision import (
    JournalStatus,
    Record,
    Remark,
    Run,
    RunDirectory,
    RunFiles,
    SiteOutcome,
    SiteStatus,
    State,
    Step,
    StepOutcome,
    StepStatus,
)

_NAMES_SHOWN = 5
_BAD_STEPS = {
    StepStatus.FAILED: ("failed", "red"),
    StepStatus.CONFLICT: ("conflict", "red"),
    StepStatus.UNKNOWN: ("uncertain", "yellow"),
}
_BAD_RECORDS = {
    State.FAILED: ("failed", "red"),
    State.CONFLICT: ("conflict", "red"),
    State.UNKNOWN: ("uncertain", "yellow"),
    State.SENT: ("sent, no reply", "yellow"),
}
_STATE_WORDS = {
    State.DONE: "created",
    State.FOUND: "already there",
    State.UNCERTAIN: "found, creator uncertain",
    State.REMOVED: "removed",
} | {state: word for state, (word, _) in _BAD_RECORDS.items()}


@attrs.frozen(kw_only=True)
class RunReport:
    """The report of a run."""

    manifest: str
    panel: str
    outcomes: tuple[SiteOutcome, ...]
    """One for each site."""
    traffic: Traffic
    """All calls, including those of the plan and retries."""
    seconds: float
    """Duration, with the plan and without the question."""
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
            **self.traffic.to_dict(),
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
        print_prose(console, self._summary())
        print_prose(console, f"{self.traffic} sent in {duration(self.seconds)}.")
        if self.pending:
            print_prose(console, pending_certificates_line(len(self.pending)))
        for line in remark_lines(self._all_remarks):
            print_prose(console, line)
        steps = [(outcome.domain, step) for outcome in self.outcomes for step in outcome.steps]
        bad_steps = [(site, step) for site, step in steps if step.status in _BAD_STEPS]
        if bad_steps:
            console.print()
            rows = ((site, step.step.label, Text(*_BAD_STEPS[step.status]), _reason(step)) for site, step in bad_steps)
            console.print(object_table(rows))
        print_hints(console, (step.hint for _, step in steps))
        console.print()
        print_labelled(console, self._files_and_commands())

    @property
    def _all_remarks(self) -> tuple[Remark, ...]:
        """The remarks of the plan, and those about existing objects."""
        steps = {step.step.id: step for outcome in self.outcomes for step in outcome.steps if step.remark}
        remarks_of_steps = (Remark(step.step.label, step.remark) for step in steps.values() if step.remark)
        return (*self.remarks, *remarks_of_steps)

    def _summary(self) -> Text:
        text = Text(f"{plural(len(self.outcomes), 'site')}: ")
        parts = [
            Text(f"{number(count)} {SITE_STATUSES[status][0]}", SITE_STATUSES[status][1])
            for status, count in self.counts.items()
            if count or status in {SiteStatus.DONE, SiteStatus.FAILED}
        ]
        return text.append_text(Text(", ").join(parts)).append(".")

    def _files_and_commands(self) -> Iterator[tuple[str, str]]:
        yield "Journal", str(self.files.journal)
        if self.passwords is not None:
            yield "Passwords", str(self.passwords)
        if self.pending and self.exit_code is ExitCode.OK:
            yield "Check", next_command("resume", *self.arguments)
        yield "Undo" if self.exit_code is ExitCode.OK else "Continue", self.next_command


def _reason(step: StepOutcome) -> str:
    reference = f" (request {step.request_id})" if step.request_id else ""
    return f"{step.reason}{reference}"


async def show_status(path: Path | None, state: StateDirectory, output: Output) -> ExitCode:
    """Show the journals of a manifest, a single journal, or every journal in the state directory."""
    directory = RunDirectory(state.state_dir)
    files = directory.find(path) if path else directory.files
    statuses = [await asyncio.to_thread(JournalStatus.read, each) for each in files]
    reports = [_JournalReport(status=status, state=state) for status in statuses]
    if output.json:
        output.print_json({"journals": [report.to_dict() for report in reports]})
    else:
        if not reports:
            output.say(f"No journals in {state.state_dir}.")
        for report in reports:
            if report is not reports[0]:
                output.results.print()
            report.print(output.results)
    return ExitCode.FAILED if any(report.status.problem for report in reports) else ExitCode.OK


@attrs.frozen(kw_only=True)
class _JournalReport:
    """The report on a journal."""

    status: JournalStatus
    state: StateDirectory

    @cached_property
    def password_note(self) -> str | None:
        """A note about passwords that are missing from their file."""
        try:
            return missing_passwords_note(self.status.missing_passwords, self.status.files)
        except ConfigurationError as error:
            return error.message

    @property
    def next_command(self) -> str | None:
        """The command to run next, if something is left to do and no process is working on it."""
        status = self.status
        if status.is_in_use:
            return None
        if status.is_undone:
            return self._command("undo") if status.is_removable else None
        if not status.is_open:
            return None
        # `resume` rejects a changed manifest.
        return self._command("apply", status.manifest) if status.is_changed else self._command("resume")

    def _command(self, command: str, file: Path | None = None) -> str:
        return command_on(self.status.runs[-1], command, str(file or self.status.files.journal), self.state)

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON-like data."""
        status = self.status
        return {
            "journal": status.files.journal,
            "problem": str(status.problem) if status.problem else None,
            "passwords": status.files.passwords if status.files.passwords.exists() else None,
            "manifest": status.manifest,
            "panel": status.runs[-1].base_url if status.runs else None,
            "runs": [
                {"started_at": run.started_at, "finished_at": run.finished_at, "undone_at": run.undone_at}
                for run in status.runs
            ],
            "in_use": status.is_in_use,
            "counts": {state.value: count for state, count in status.counts.items()},
            "bad": [
                {
                    "kind": record.kind.value,
                    "name": record.key,
                    "site": record.site,
                    "state": _state(record).value,
                    "reason": record.reason,
                    "code": record.code,
                    "request_id": record.request_id,
                }
                for record in status.unresolved
            ],
            "password_note": self.password_note,
            "pending_certificates": [record.key for record in status.pending],
            "next_command": self.next_command,
        }

    def print(self, console: Console) -> None:
        """Print the status."""
        status = self.status
        lines = [("Journal", str(status.files.journal))]
        if status.problem is not None:
            problem = [("Problem", status.problem.message), ("Hint", status.problem.hint or "")]
            print_labelled(console, [*lines, *(line for line in problem if line[1])])
            return
        if status.runs:
            run = status.runs[-1]
            unfinished = "under way" if status.is_in_use else "not finished"
            ended = f"finished {local_time(run.finished_at)}" if run.finished_at else unfinished
            lines += [
                ("Manifest", str(status.manifest)),
                ("Panel", "the embedded sandbox" if is_sandbox(run.base_url) else run.base_url),
                ("Last run", f"started {local_time(run.started_at)}, {ended} ({plural(len(status.runs), 'run')})"),
            ]
        counts = ", ".join(f"{number(count)} {_STATE_WORDS[state]}" for state, count in status.counts.items() if count)
        is_over = status.runs and status.runs[-1].finished_at
        lines.append(("Objects", counts or ("none" if is_over else "none yet")))
        if status.files.passwords.exists():
            lines.append(("Passwords", str(status.files.passwords)))
        if self.next_command:
            lines.append(("Undo" if status.is_undone else "Continue", self.next_command))
        elif status.is_in_use:
            lines.append(("In use", "Another process is working on it; wait until it has ended."))
        elif status.pending:
            lines.append(("Check", self._command("resume")))
        print_labelled(console, lines)
        if status.pending:
            print_prose(console, pending_certificates_line(len(status.pending)))
        if note := self.password_note:
            print_prose(console, note)
        if status.unresolved:
            console.print()
            console.print(object_table(_row(record) for record in status.unresolved))


def _row(record: Record) -> tuple[str, str, Text, str]:
    return record.site, record.label, Text(*_BAD_RECORDS[_state(record)]), record.reason or ""


def _state(record: Record) -> State:
    return State.CONFLICT if record.is_in_conflict else record.state


def missing_passwords_note(steps: Sequence[Step], files: RunFiles) -> str | None:
    """Return a note about created objects whose generated password is no longer in the file, if there are any."""
    if not steps:
        return None
    return (
        f"Note: the generated passwords of {plural(len(steps), 'object')} are no longer in {files.passwords}"
        f" ({first_few([step.key for step in steps], _NAMES_SHOWN)}). Put them back, or set new ones in the panel."
    )


def command_on(run: Run, command: str, file: str, state: StateDirectory) -> str:
    """Return a command for the manifest or journal of a run, with the options for its sandbox and its directory."""
    sandbox = sandbox_flags(run.dialect or DEFAULT_DIALECT) if is_sandbox(run.base_url) else []
    return next_command(command, file, *sandbox, *state.flags())
