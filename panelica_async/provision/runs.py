"""Finds the journal of a manifest on a panel, and reads its status: its runs, and what is left to do.

A directory holds a journal for each manifest on each panel, and beside it the passwords that its runs generated. A
manifest is identified by the path of its file, a panel by its address.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self

import attrs

from panelica_async.core.private_files import ensure_private_directory
from panelica_async.errors import ConfigurationError
from panelica_async.provision.credentials import CredentialsFile
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_file import is_in_use, read_runs
from panelica_async.provision.journal_records import REMOVABLE, Record, Run, State, relative_to_journal
from panelica_async.provision.manifest import Manifest
from panelica_async.provision.objects import Step, steps_of

_JOURNAL = ".journal"
_PASSWORDS_SUFFIX = ".passwords.csv"


@attrs.frozen(kw_only=True)
class RunFiles:
    """The files for the runs of one manifest on one panel."""

    journal: Path
    passwords: Path
    """The generated passwords."""

    @classmethod
    def of_journal(cls, path: Path) -> Self:
        """Return the files of a journal."""
        stem = path.name.rpartition(_JOURNAL)[0] or path.stem
        return cls(journal=path, passwords=path.parent / f"{stem}{_PASSWORDS_SUFFIX}")


@attrs.frozen(kw_only=True)
class KnownJournal:
    """A journal that has runs, with their manifest and panel."""

    files: RunFiles
    runs: tuple[Run, ...]
    """The runs, oldest first; at least one."""

    @classmethod
    def read(cls, files: RunFiles) -> "KnownJournal | None":
        """Read the runs of a journal, and no records; return None when it has none.

        Raises:
            ConfigurationError: The journal cannot be read.
        """
        runs = read_runs(files.journal)
        return cls(files=files, runs=runs) if runs else None

    @property
    def manifest(self) -> Path | None:
        """The manifest of the last run; None for Python data."""
        return self.runs[-1].manifest_path

    @property
    def base_url(self) -> str:
        """Address of the panel."""
        return self.runs[-1].base_url

    @property
    def last_run(self) -> datetime:
        """When the last run began, in UTC."""
        return self.runs[-1].started_at

    def is_on(self, base_url: str) -> bool:
        """Return whether these are runs on the panel of an address."""
        return self.runs[-1].is_on(base_url)

    def is_of(self, manifest: Path) -> bool:
        """Return whether these are runs of a manifest."""
        return self.runs[-1].is_of(manifest, self.files.journal)


@attrs.frozen(kw_only=True)
class JournalStatus:
    """What a journal knows: its runs, the state of each object, and whether there is something to resume."""

    files: RunFiles
    runs: tuple[Run, ...] = ()
    records: Mapping[str, Record] = attrs.field(factory=dict[str, Record])
    """What is known of each step, by its id."""
    manifest: Path | None = None
    """The manifest, where it is now."""
    is_in_use: bool = False
    """Whether a process is writing to the journal: a run or an undo is under way."""
    problem: ConfigurationError | None = None
    """Why the journal cannot be read."""
    counts: Mapping[State, int] = attrs.field(factory=lambda: dict.fromkeys(State, 0))
    """Number of objects by what is known of them."""
    unresolved: Sequence[Record] = attrs.field(default=(), repr=False)
    """Objects that failed, conflict or are uncertain; one that a run created may conflict by now."""
    pending: Sequence[Record] = attrs.field(default=(), repr=False)
    """Certificates that were not active when last checked."""
    is_removable: bool = False
    """Whether there is an object that undo would deal with."""

    @classmethod
    def read(cls, files: RunFiles) -> Self:
        """Read a journal, which may be in use. One that cannot be read says so in `problem`.

        A large one takes a while: in a coroutine, use `await asyncio.to_thread(JournalStatus.read, files)`.
        """
        # Checked before reading: a run that ends in between has then finished, and need not be continued.
        in_use = is_in_use(files.journal)
        try:
            with Journal.open(files.journal, read_only=True) as journal:
                counts = journal.records.counts
                return cls(
                    files=files,
                    runs=journal.runs,
                    records=journal.records,
                    manifest=journal.manifest_path,
                    is_in_use=in_use,
                    counts=counts,
                    unresolved=journal.records.unresolved,
                    pending=journal.records.pending,
                    is_removable=any(counts[state] for state in REMOVABLE),
                )
        except ConfigurationError as error:
            return cls(files=files, problem=error)

    @property
    def is_open(self) -> bool:
        """Whether there is something to resume: a run that did not finish, or an unresolved object of the manifest."""
        if not self.runs or self.is_undone:
            return False
        return self.runs[-1].finished_at is None or self._has_unresolved

    @property
    def is_undone(self) -> bool:
        """Whether the runs were undone since: `resume` would create everything again."""
        return bool(self.runs) and self.runs[-1].undone_at is not None

    @cached_property
    def _has_unresolved(self) -> bool:
        """Whether an unresolved object is still requested by the manifest, or any is if the manifest cannot be read."""
        if not self.unresolved or self.wanted is None:
            return bool(self.unresolved)
        requested = {step.id for _, steps in steps_of(self.wanted) for step in steps}
        return any(record.id in requested for record in self.unresolved)

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
        """Whether the manifest was changed since the last run: `resume` refuses it, `apply` continues with it."""
        if self.wanted is None:
            return self.manifest is not None and self.manifest.exists()
        return self.wanted.digest != self.runs[-1].manifest_digest

    @property
    def missing_passwords(self) -> tuple[Step, ...]:
        """Objects that were created with a generated password that is no longer in the file.

        Raises:
            ConfigurationError: The file of the passwords cannot be read.
        """
        if self.wanted is None:
            return ()
        steps = (step for _, site_steps in steps_of(self.wanted) for step in site_steps)
        return missing_passwords(steps, self.records, self.files.passwords)


@attrs.frozen
class RunDirectory:
    """A directory with the files of runs: which belong to a manifest and a panel, and which runs can be resumed.

    `files_for` returns the files for `apply`; `find` and `find_unfinished` return those for `resume` and `undo`.
    """

    path: Path = attrs.field(converter=Path)

    def make(self) -> None:
        """Make the directory for its owner alone, if it is missing.

        Raises:
            ConfigurationError: It belongs to another user, others can write to it, it is a symbolic link, or it cannot
                be made.
        """
        try:
            ensure_private_directory(self.path)
        except OSError as error:
            raise ConfigurationError(f"cannot make the directory {self.path}: {error.strerror}") from error

    @property
    def files(self) -> list[RunFiles]:
        """The files of every journal in the directory."""
        return [RunFiles.of_journal(path) for path in sorted(self.path.glob(f"*{_JOURNAL}*.db"))]

    @property
    def journals(self) -> list[KnownJournal]:
        """The journals in the directory that have runs. Copies and unreadable journals are skipped."""
        originals: dict[tuple[datetime, str], KnownJournal] = {}
        for files in self.files:
            with suppress(ConfigurationError):
                if known := KnownJournal.read(files):
                    # A journal and its copies share the start of the first run.
                    start = known.runs[0].started_at, known.base_url
                    originals[start] = max(originals.get(start, known), known, key=_originality)
        return list(originals.values())

    def journals_of(self, manifest: Path | str) -> list[KnownJournal]:
        """Return the journals of a manifest, on any panel, newest first.

        Raises:
            ConfigurationError: The journal named after the manifest cannot be read.
        """
        default = self._default_files(manifest)
        if default.journal.exists():
            KnownJournal.read(default)  # `journals` would skip it.
        matching = [known for known in self.journals if known.is_of(Path(manifest))]
        return sorted(matching, key=lambda known: known.last_run, reverse=True)

    def files_for(self, manifest: Path | str, base_url: str) -> RunFiles:
        """Return the files for runs of a manifest on a panel: those of earlier runs, or new ones.

        A new journal is named after the manifest. Where that name is taken by another manifest, or by the same one on
        another panel, a hash of both is added.

        Args:
            manifest: The file of the manifest.
            base_url: Address of the panel, such as `panel.base_url`.

        Raises:
            ConfigurationError: The journal of that name cannot be read, so its manifest is unknown.
        """
        for known in self.journals_of(manifest):
            if known.is_on(base_url):
                return known.files
        default = self._default_files(manifest)
        if not default.journal.exists() or KnownJournal.read(default) is None:
            return default
        identity = f"{relative_to_journal(Path(manifest), default.journal)}\n{base_url}"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return self._files_named(f"{Path(manifest).stem}-{digest[:8]}")

    def find(self, path: Path | str) -> list[RunFiles]:
        """Return the files of a journal, or of all journals of a manifest, newest first.

        Args:
            path: A journal, which ends in `.db`, or the file of a manifest, which need not exist any more.

        Raises:
            ConfigurationError: There is no such journal.
        """
        path = Path(path)
        if path.suffix == ".db":
            if not path.is_file():
                raise ConfigurationError(f"there is no journal {path}", hint=_CHECK_HINT)
            return [RunFiles.of_journal(path)]
        if journals := self.journals_of(path):
            return [known.files for known in journals]
        default = self._default_files(path)
        if not default.journal.is_file():
            raise ConfigurationError(f"{path} has no journal in {self.path}", hint=_CHECK_HINT)
        known = KnownJournal.read(default)
        if known is None:
            return [default]
        raise ConfigurationError(
            f"{path.resolve()} has no journal: {default.journal} is that of {known.manifest}",
            hint="Name that manifest, or the journal itself.",
        )

    def find_unfinished(self) -> RunFiles:
        """Return the files of the only journal with something to resume, or of the only journal that was not undone.

        Raises:
            ConfigurationError: There is none, or more than one.
        """
        statuses = [JournalStatus.read(known.files) for known in self.journals]
        unfinished = [status for status in statuses if status.is_open]
        candidates = unfinished or [status for status in statuses if not status.is_undone]
        if len(candidates) == 1:
            return candidates[0].files
        if statuses and not candidates:
            raise ConfigurationError(
                f"every run in {self.path} was undone; there is nothing to resume",
                hint="Run `panelica provision apply FILE` to create the sites again.",
            )
        if unfinished:
            content = f"{len(unfinished)} unfinished runs"
        else:
            content = f"{len(candidates)} runs, all finished" if candidates else "no run to resume"
        raise ConfigurationError(
            f"{self.path} holds {content}",
            hint="Name the manifest or the journal; `panelica provision status` shows what there is.",
        )

    def _default_files(self, manifest: Path | str) -> RunFiles:
        return self._files_named(Path(manifest).stem)

    def _files_named(self, stem: str) -> RunFiles:
        return RunFiles.of_journal(self.path / f"{stem}{_JOURNAL}.db")


_CHECK_HINT = "Check the path, and the directory of the journals."


def journal_on(journals: Iterable[KnownJournal], base_url: str) -> KnownJournal:
    """Return the first journal whose runs were on a panel.

    Raises:
        ConfigurationError: None is of this panel.
    """
    for known in journals:
        if known.is_on(base_url):
            return known
    panels = " and ".join(dict.fromkeys(known.base_url for known in journals))
    raise ConfigurationError(
        f"the run was on {panels}, not on {base_url}", hint="Name that panel, and write its address the same way."
    )


def missing_passwords(steps: Iterable[Step], records: Mapping[str, Record], passwords: Path) -> tuple[Step, ...]:
    """Return the steps whose object was created with a generated password that is no longer in its file.

    Args:
        steps: The steps of a manifest, such as those of a plan.
        records: What a journal knows, by id of the step.
        passwords: The file of the generated passwords.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    created = [
        step
        for step in {step.id: step for step in steps}.values()
        if step.password_needed
        and step.password is None
        and step.id in records
        and records[step.id].state is State.DONE
    ]
    in_file = CredentialsFile.names_in(passwords) if created else frozenset[str]()
    return tuple(step for step in created if step.id not in in_file)


def _originality(known: KnownJournal) -> tuple[datetime, bool]:
    """Return a key that is greatest for an original: it has later runs than its copies, or a name of `files_for`."""
    stem = known.files.journal.name.removesuffix(f"{_JOURNAL}.db")
    manifest = "" if known.manifest is None else re.escape(known.manifest.stem)
    return known.last_run, re.fullmatch(f"{manifest}(-[0-9a-f]{{8}})?", stem) is not None
