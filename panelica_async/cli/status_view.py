"""`status`: what journals know, without asking a panel."""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError
from panelica_async.cli.command import ExitCode
from panelica_async.cli.embedded import is_sandbox
from panelica_async.cli.format import (
    moment,
    next_command,
    number,
    object_table,
    pending_line,
    print_labelled,
    several,
)
from panelica_async.cli.journals import RunFiles, all_files, files_of
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output
from panelica_async.core.redaction import first_few
from panelica_async.provision import CredentialsFile, Journal, Manifest, Record, Run, State, is_removable
from panelica_async.provision.objects import steps_of

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
    State.UNCERTAIN: "there, made by us or others",
    State.REMOVED: "removed again",
} | {state: word for state, (word, _) in _BAD.items()}


async def show_status(path: Path | None, state: StateDirectory, output: Output) -> ExitCode:
    """Show the journals of a manifest, the journal that is named, or all in the state directory."""
    files = files_of(state, path) if path else all_files(state)
    journals = [JournalStatus.read(each, state.flags()) for each in files]
    if output.json:
        output.document({"journals": [journal.to_dict() for journal in journals]})
    else:
        if not journals:
            output.say(f"There is no journal in {state.state_dir}.")
        for journal in journals:
            if journal is not journals[0]:
                output.results.print()
            journal.print(output.results)
    return ExitCode.FAILED if any(journal.problem for journal in journals) else ExitCode.OK


@attrs.frozen(kw_only=True)
class JournalStatus:
    """What a journal knows."""

    files: RunFiles
    flags: tuple[str, ...]
    """Options that find the journal again."""
    runs: tuple[Run, ...] = ()
    records: tuple[Record, ...] = ()
    manifest: Path | None = None
    """The manifest, where it is now."""
    problem: ConfigurationError | None = None
    """Why the journal cannot be read."""

    @classmethod
    def read(cls, files: RunFiles, flags: Sequence[str] = ()) -> "JournalStatus":
        """Read a journal, which may be in use."""
        try:
            with Journal.open(files.journal, read_only=True) as journal:
                return cls(
                    files=files,
                    flags=tuple(flags),
                    runs=journal.runs,
                    records=tuple(journal.records.values()),
                    manifest=journal.manifest_path,
                )
        except ConfigurationError as error:
            return cls(files=files, flags=tuple(flags), problem=error)

    @property
    def counts(self) -> dict[State, int]:
        """Number of objects by what is known of them."""
        counts = Counter(record.state for record in self.records)
        return {state: counts[state] for state in State}

    @property
    def bad(self) -> list[Record]:
        """What failed, conflicts or is uncertain."""
        return [record for record in self.records if record.state in _BAD]

    @property
    def pending(self) -> list[Record]:
        """Certificates that were not active when they were last looked at."""
        return [record for record in self.records if record.is_pending]

    @property
    def is_open(self) -> bool:
        """Whether there is something to resume: a run that did not finish, or what is bad."""
        return bool(self.runs) and not self.is_undone and (self.runs[-1].finished_at is None or bool(self.bad))

    @property
    def is_undone(self) -> bool:
        """Whether the last that happened was an undo: `resume` would make everything again."""
        return bool(self.runs) and self.runs[-1].undone_at is not None

    @cached_property
    def wanted(self) -> Manifest | None:
        """The manifest as it is now; None when it cannot be read any more."""
        if self.manifest is None:
            return None
        reading = self.runs[-1].manifest_reading
        try:
            return Manifest.load(self.manifest, columns=reading.columns, ignore_columns=reading.ignored)
        except ConfigurationError:
            return None

    @property
    def is_changed(self) -> bool:
        """Whether the manifest is another one than that of the last run."""
        if self.wanted is None:
            return self.manifest is not None and self.manifest.exists()
        return self.wanted.digest != self.runs[-1].manifest_digest

    @property
    def password_note(self) -> str | None:
        """What is to be said of passwords that are not in their file."""
        if self.wanted is None:
            return None
        records = {record.id: record for record in self.records}
        try:
            return lost_passwords(self.wanted, records, self.files.passwords)
        except ConfigurationError as error:
            return error.message

    @property
    def next_command(self) -> str | None:
        """How to go on, if there is something to go on with."""
        if self.is_undone:
            return self._command("undo") if any(map(is_removable, self.records)) else None
        if not self.is_open:
            return None
        # A manifest that was changed is applied: `resume` refuses it.
        return self._command("apply", self.manifest) if self.is_changed else self._command("resume")

    def _command(self, command: str, file: Path | None = None) -> str:
        sandbox = ["--sandbox"] if is_sandbox(self.runs[-1].base_url) else []
        return next_command(command, str(file or self.files.journal), *sandbox, *self.flags)

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as JSON-like data."""
        return {
            "journal": self.files.journal,
            "problem": str(self.problem) if self.problem else None,
            "passwords": self.files.passwords if self.files.passwords.exists() else None,
            "manifest": self.manifest,
            "panel": self.runs[-1].base_url if self.runs else None,
            "runs": [
                {"started_at": run.started_at, "finished_at": run.finished_at, "undone_at": run.undone_at}
                for run in self.runs
            ],
            "counts": {state.value: count for state, count in self.counts.items()},
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
                for record in self.bad
            ],
            "password_note": self.password_note,
            "pending_certificates": [record.key for record in self.pending],
            "next_command": self.next_command,
        }

    def print(self, console: Console) -> None:
        """Print what is known."""
        lines = [("Journal", str(self.files.journal))]
        if self.problem is not None:
            problem = [("Problem", self.problem.message), ("Hint", self.problem.hint or "")]
            print_labelled(console, [*lines, *(line for line in problem if line[1])])
            return
        if self.runs:
            run = self.runs[-1]
            ended = f"finished {moment(run.finished_at)}" if run.finished_at else "not finished"
            lines += [
                ("Manifest", str(self.manifest)),
                ("Panel", run.base_url),
                ("Last run", f"begun {moment(run.started_at)}, {ended} ({several(len(self.runs), 'run')})"),
            ]
        counts = ", ".join(f"{number(count)} {_WORDS[state]}" for state, count in self.counts.items() if count)
        lines.append(("Objects", counts or "none yet"))
        if self.files.passwords.exists():
            lines.append(("Passwords", str(self.files.passwords)))
        if self.next_command:
            lines.append(("Undo" if self.is_undone else "Continue", self.next_command))
        print_labelled(console, lines)
        if self.pending:
            console.print(Text(pending_line(len(self.pending), self._command("resume"))), soft_wrap=True)
        if note := self.password_note:
            console.print(Text(note), soft_wrap=True)
        if self.bad:
            console.print()
            console.print(object_table(_row(record) for record in self.bad))


def lost_passwords(manifest: Manifest, records: Mapping[str, Record], passwords: Path) -> str | None:
    """Name the objects that were created with a generated password which is not in its file any more, if any.

    Args:
        manifest: What is wanted.
        records: What a journal knows, by id of the step.
        passwords: The file of the generated passwords.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    steps = {step.id: step for _, site_steps in steps_of(manifest) for step in site_steps}
    created = [
        step
        for step in steps.values()
        if step.password_needed
        and step.password is None
        and step.id in records
        and records[step.id].state is State.DONE
    ]
    kept: AbstractSet[str] = CredentialsFile.names_in(passwords) if created else frozenset()
    names = [step.key for step in created if step.id not in kept]
    if not names:
        return None
    return (
        f"Note: the generated passwords of {several(len(names), 'object')} are not in {passwords} any more"
        f" ({first_few(names, _NAMES_SHOWN)}). Set new ones in the panel."
    )


def _row(record: Record) -> tuple[str, str, Text, str]:
    return record.site, record.label, Text(*_BAD[record.state]), record.reason or ""
