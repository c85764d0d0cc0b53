"""Undo: takes back what the runs of a journal created."""

from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import Connection
from panelica_async.cli.output import Output
from panelica_async.cli.signals import Interruption, on_stop_signal
from panelica_async.cli.state import StateDirectory
from panelica_async.cli.traffic import Traffic
from panelica_async.cli.wording import object_table, record_name, sent, several, thing
from panelica_async.provision import Journal, Removal, RemovalStatus, State, undo


@attrs.frozen(kw_only=True)
class UndoReport:
    """What became of the objects that were to be removed."""

    journal: Path
    panel: str
    removals: tuple[Removal, ...]
    traffic: Traffic
    """What was sent, with what was read before and after."""

    @property
    def left_over(self) -> tuple[Removal, ...]:
        """What is still there."""
        return tuple(removal for removal in self.removals if removal.status is not RemovalStatus.REMOVED)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like data."""
        counts = Counter(removal.status for removal in self.removals)
        return {
            "journal": str(self.journal),
            "panel": self.panel,
            "counts": {status.value: counts[status] for status in RemovalStatus},
            "calls": self.traffic.calls,
            "writes": self.traffic.writes,
            "reads": self.traffic.reads,
            "objects": [
                {
                    "kind": removal.record.kind.value,
                    "name": record_name(removal.record),
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
            f"{several(removed, 'object')} removed, {several(len(self.left_over), 'object')} left over; "
            f"{sent(self.traffic)} sent.",
            soft_wrap=True,
        )
        if self.left_over:
            console.print()
            console.print(object_table(_row(removal) for removal in self.left_over))
            for hint in dict.fromkeys(removal.hint for removal in self.left_over if removal.hint):
                console.print(Text.assemble(("Hint: ", "bold"), hint), soft_wrap=True)


async def undo_runs(
    path: Path, connection: Connection, state: StateDirectory, output: Output, *, yes: bool
) -> ExitCode:
    """Take back what the runs of a journal created."""
    files = state.files_of(path).existing()
    if not yes:
        output.require_terminal("this asks before it deletes")
    with on_stop_signal(Interruption()), Journal.open(files.journal) as journal:
        created = sum(record.state is State.DONE for record in journal.records.values())
        async with connection.open(state) as panel:
            journal.require_panel(panel.client.base_url)
            question = f"Delete {several(created, 'object')} on {panel.name}, with all that is in them?"
            if created and not yes and not output.confirm(question):
                output.say("Nothing was sent.")
                return ExitCode.INTERRUPTED
            with output.busy(f"Removing {several(created, 'object')} from {panel.name} …"):
                removals = [removal async for removal in undo(panel.client, journal)]
            report = UndoReport(
                journal=files.journal,
                panel=panel.client.base_url,
                removals=tuple(removals),
                traffic=connection.traffic,
            )
    if output.json:
        output.document(report.to_dict())
    else:
        report.print(output.results)
    return ExitCode.FAILED if report.left_over else ExitCode.OK


def _row(removal: Removal) -> tuple[str, str, Text, str]:
    record = removal.record
    status = Text("failed", "red") if removal.status is RemovalStatus.FAILED else Text("kept", "yellow")
    return record.site, thing(record.kind, record_name(record)), status, removal.reason or ""
