"""`panelica provision status`: shows the content of journals, as text or JSON, without asking a panel."""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError
from panelica_async.cli.command import ExitCode
from panelica_async.cli.embedded import sandbox_flags
from panelica_async.cli.format import (
    local_time,
    next_command,
    number,
    object_table,
    pending_line,
    plural,
    print_labelled,
)
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output
from panelica_async.core.redaction import first_few
from panelica_async.provision import JournalStatus, Record, RunDirectory, RunFiles, State, Step

_NAMES_SHOWN = 5
_BAD = {
    State.FAILED: ("failed", "red"),
    State.CONFLICT: ("conflict", "red"),
    State.UNKNOWN: ("uncertain", "yellow"),
    State.SENT: ("sent, no reply", "yellow"),
}
_WORDS = {
    State.DONE: "created",
    State.FOUND: "already there",
    State.UNCERTAIN: "found, creator uncertain",
    State.REMOVED: "removed",
} | {state: word for state, (word, _) in _BAD.items()}


async def show_status(path: Path | None, state: StateDirectory, output: Output) -> ExitCode:
    """Show the journals of a manifest, a single journal, or every journal in the state directory."""
    directory = RunDirectory(state.state_dir)
    files = directory.find(path) if path else directory.files
    statuses = [await asyncio.to_thread(JournalStatus.read, each) for each in files]
    reports = [_Report(status=status, flags=tuple(state.flags())) for status in statuses]
    if output.json:
        output.document({"journals": [report.to_dict() for report in reports]})
    else:
        if not reports:
            output.say(f"No journals in {state.state_dir}.")
        for report in reports:
            if report is not reports[0]:
                output.results.print()
            report.print(output.results)
    return ExitCode.FAILED if any(report.status.problem for report in reports) else ExitCode.OK


@attrs.frozen(kw_only=True)
class _Report:
    """The report on a journal."""

    status: JournalStatus
    flags: tuple[str, ...]
    """Options that select the same state directory."""

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
        selecting = (*sandbox_flags(self.status.runs[-1]), *self.flags)
        return next_command(command, str(file or self.status.files.journal), *selecting)

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
                    "state": record.state.value,
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
                ("Panel", run.base_url),
                ("Last run", f"started {local_time(run.started_at)}, {ended} ({plural(len(status.runs), 'run')})"),
            ]
        counts = ", ".join(f"{number(count)} {_WORDS[state]}" for state, count in status.counts.items() if count)
        lines.append(("Objects", counts or "none yet"))
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
            console.print(Text(pending_line(len(status.pending))), soft_wrap=True)
        if note := self.password_note:
            console.print(Text(note), soft_wrap=True)
        if status.unresolved:
            console.print()
            console.print(object_table(_row(record) for record in status.unresolved))


def missing_passwords_note(steps: Sequence[Step], files: RunFiles) -> str | None:
    """Return a note about created objects whose generated password is no longer in the file."""
    if not steps:
        return None
    return (
        f"Note: the generated passwords of {plural(len(steps), 'object')} are no longer in {files.passwords}"
        f" ({first_few([step.key for step in steps], _NAMES_SHOWN)}). Set new ones in the panel."
    )


def _row(record: Record) -> tuple[str, str, Text, str]:
    return record.site, record.label, Text(*_BAD[record.state]), record.reason or ""
