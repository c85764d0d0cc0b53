"""Shows the result of a run, as text or JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import Traffic
from panelica_async.cli.format import (
    calls_sent,
    duration,
    next_command,
    object_table,
    pending_line,
    plural,
    print_labelled,
    remark_lines,
)
from panelica_async.cli.output import error_data
from panelica_async.errors import PanelicaError
from panelica_async.provision import (
    Remark,
    RunFiles,
    SiteOutcome,
    SiteStatus,
    StepOutcome,
    StepStatus,
)

SITE_STATUSES = {
    SiteStatus.DONE: ("done", "green"),
    SiteStatus.EXISTS: ("already there", "green"),
    SiteStatus.FAILED: ("failed", "red"),
    SiteStatus.UNKNOWN: ("uncertain", "yellow"),
    SiteStatus.SKIPPED: ("not finished", "yellow"),
}
"""The word and the colour for each status of a site."""

_BAD = {
    StepStatus.FAILED: ("failed", "red"),
    StepStatus.CONFLICT: ("conflict", "red"),
    StepStatus.UNKNOWN: ("uncertain", "yellow"),
}


@attrs.frozen(kw_only=True)
class Ending:
    """How a run ended."""

    outcomes: tuple[SiteOutcome, ...]
    """One for each site."""
    traffic: Traffic
    """All calls, including those of the plan and retries."""
    seconds: float
    """Duration, including the plan."""
    interrupted: bool
    error: PanelicaError | None
    """The error that ended the run early, if any."""


@attrs.frozen(kw_only=True)
class RunReport:
    """The report of a run."""

    manifest: str
    panel: str
    ending: Ending
    files: RunFiles
    remarks: tuple[Remark, ...]
    """The remarks of the plan."""
    arguments: tuple[str, ...]
    """The arguments that select the same run in the next command."""

    @property
    def counts(self) -> Mapping[SiteStatus, int]:
        """Number of sites by status."""
        counts = Counter(outcome.status for outcome in self.ending.outcomes)
        return {status: counts[status] for status in SiteStatus}

    @property
    def pending(self) -> list[str]:
        """Domains whose certificate was not active at the last check."""
        return [step.step.key for outcome in self.ending.outcomes for step in outcome.steps if step.is_pending]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        if self.ending.interrupted:
            return ExitCode.INTERRUPTED
        missing = sum(self.counts[status] for status in (SiteStatus.FAILED, SiteStatus.UNKNOWN, SiteStatus.SKIPPED))
        return ExitCode.FAILED if missing or self.ending.error else ExitCode.OK

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
        ending = self.ending
        return {
            "manifest": self.manifest,
            "panel": self.panel,
            "counts": {"sites": len(ending.outcomes)} | {status.value: count for status, count in self.counts.items()},
            "pending_certificates": self.pending,
            "calls": ending.traffic.calls,
            "writes": ending.traffic.writes,
            "reads": ending.traffic.reads,
            "seconds": round(ending.seconds, 1),
            "interrupted": ending.interrupted,
            "error": None if ending.error is None else error_data(ending.error),
            "remarks": [remark.to_dict() for remark in self._all_remarks],
            "sites": [outcome.to_dict() for outcome in ending.outcomes],
            "journal": str(self.files.journal),
            "passwords": None if self.passwords is None else str(self.passwords),
            "next_command": self.next_command,
        }

    def print(self, console: Console) -> None:
        """Print the report."""
        console.print()
        console.print(self._summary(), soft_wrap=True)
        traffic = self.ending.traffic
        console.print(
            f"{calls_sent(traffic.writes, traffic.reads)} sent in {duration(self.ending.seconds)}.", soft_wrap=True
        )
        if self.pending:
            console.print(Text(pending_line(len(self.pending))), soft_wrap=True)
        for line in remark_lines(self._all_remarks):
            console.print(Text(line), soft_wrap=True)
        bad = [(outcome, step) for outcome in self.ending.outcomes for step in outcome.steps if step.status in _BAD]
        if bad:
            console.print()
            console.print(object_table(_row(outcome, step) for outcome, step in bad))
        steps = [step for outcome in self.ending.outcomes for step in outcome.steps]
        for hint in dict.fromkeys(step.hint for step in steps if step.hint):
            console.print(Text.assemble(("Hint: ", "bold"), hint), soft_wrap=True)
        console.print()
        print_labelled(console, self._places())

    @property
    def _all_remarks(self) -> tuple[Remark, ...]:
        """The remarks of the plan, and those about existing objects."""
        steps = {step.step.id: step for outcome in self.ending.outcomes for step in outcome.steps if step.remark}
        found = (Remark(step.step.label, step.remark) for step in steps.values() if step.remark)
        return (*self.remarks, *found)

    def _summary(self) -> Text:
        text = Text(f"{plural(len(self.ending.outcomes), 'site')}: ")
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


def _row(outcome: SiteOutcome, step: StepOutcome) -> tuple[str, str, Text, str]:
    reference = f" (request {step.request_id})" if step.request_id else ""
    return outcome.domain, step.step.label, Text(*_BAD[step.status]), f"{step.reason}{reference}"
