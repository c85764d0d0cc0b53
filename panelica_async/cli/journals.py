"""The journals in a state directory, and what they are of.

A journal belongs to one manifest, by the path of its file, on one panel, by its address.
"""

import hashlib
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import attrs

from panelica_async import ConfigurationError
from panelica_async.cli.options import StateDirectory
from panelica_async.provision import Journal, Run
from panelica_async.provision.journal_records import seen_from

_JOURNAL = ".journal"
_PASSWORDS = ".passwords.csv"


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
        return cls(journal=path, passwords=path.parent / f"{stem}{_PASSWORDS}")


@attrs.frozen(kw_only=True)
class KnownJournal:
    """A journal that has runs, and what they are of."""

    files: RunFiles
    runs: tuple[Run, ...]

    @classmethod
    def read(cls, files: RunFiles) -> "KnownJournal | None":
        """Read what the runs of a journal are of; None when it has none.

        Raises:
            ConfigurationError: The journal cannot be read.
        """
        with Journal.open(files.journal, read_only=True) as journal:
            return cls(files=files, runs=journal.runs) if journal.runs else None

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

    @property
    def beginning(self) -> tuple[datetime, str]:
        """What a journal and its copies have in common."""
        return self.runs[0].started_at, self.base_url

    def is_on(self, base_url: str) -> bool:
        """Return whether these are runs on the panel of an address."""
        return self.runs[-1].is_on(base_url)

    def is_of(self, manifest: Path) -> bool:
        """Return whether these are runs of a manifest."""
        return self.runs[-1].is_of(manifest, self.files.journal)


def all_files(state: StateDirectory) -> list[RunFiles]:
    """Return the files of every journal in the directory."""
    return [RunFiles.of_journal(path) for path in sorted(state.state_dir.glob(f"*{_JOURNAL}*.db"))]


def files_for(state: StateDirectory, manifest: Path, base_url: str) -> RunFiles:
    """Return the files for runs of a manifest on a panel: those of earlier runs, or new ones.

    A new journal is called like the manifest. Where that name is taken by another manifest, or by the same one on
    another panel, a hash of both is added.

    Raises:
        ConfigurationError: The journal of that name cannot be read, so that it is not known whose it is.
    """
    mine = [known for known in journals_of(state, manifest) if known.is_on(base_url)]
    if mine:
        return max(mine, key=lambda known: known.last_run).files
    digest = hashlib.sha256(f"{seen_from(_plain(state, manifest), manifest)}\n{base_url}".encode()).hexdigest()
    for stem in (manifest.stem, f"{manifest.stem}-{digest[:8]}"):
        files = RunFiles.of_journal(state.state_dir / f"{stem}{_JOURNAL}.db")
        if not files.journal.exists() or KnownJournal.read(files) is None:
            return files
    return files


def files_of(state: StateDirectory, path: Path) -> list[RunFiles]:
    """Return the files of the journal that is named, or of all journals of the manifest that is named, newest first.

    Raises:
        ConfigurationError: There is none.
    """
    if path.suffix == ".db":
        if not path.is_file():
            raise ConfigurationError(f"there is no journal {path}", hint="Check the path, and --state-dir.")
        return [RunFiles.of_journal(path)]
    journals = journals_of(state, path)
    if journals:
        return [known.files for known in sorted(journals, key=lambda known: known.last_run, reverse=True)]
    plain = RunFiles.of_journal(_plain(state, path))
    if not plain.journal.is_file():
        raise ConfigurationError(f"{path} has no journal in {state.state_dir}", hint="Check the path, and --state-dir.")
    known = KnownJournal.read(plain)
    if known is None:
        return [plain]
    raise ConfigurationError(
        f"{path.resolve()} has no journal: {plain.journal} is that of {known.manifest}",
        hint="Name that manifest, or the journal itself.",
    )


def _plain(state: StateDirectory, manifest: Path) -> Path:
    return state.state_dir / f"{manifest.stem}{_JOURNAL}.db"


def journals_of(state: StateDirectory, manifest: Path) -> list[KnownJournal]:
    """Return the journals of a manifest.

    Raises:
        ConfigurationError: The journal that is called like the manifest cannot be read.
    """
    plain = _plain(state, manifest)
    if plain.exists():
        KnownJournal.read(RunFiles.of_journal(plain))
    return [known for known in known_journals(state) if known.is_of(manifest)]


def known_journals(state: StateDirectory) -> list[KnownJournal]:
    """Return the journals in the directory. Copies, and what cannot be read, are passed over."""
    originals: dict[tuple[datetime, str], KnownJournal] = {}
    for files in all_files(state):
        with suppress(ConfigurationError):
            if known := KnownJournal.read(files):
                first = originals.setdefault(known.beginning, known)
                originals[known.beginning] = max(first, known, key=_originality)
    return list(originals.values())


def _originality(known: KnownJournal) -> tuple[datetime, bool]:
    """Return what is greater for a journal than for its copies: it went on, or has the name that `files_for` gives."""
    stem = known.files.journal.name.removesuffix(f"{_JOURNAL}.db")
    manifest = "" if known.manifest is None else re.escape(known.manifest.stem)
    return known.last_run, re.fullmatch(f"{manifest}(-[0-9a-f]{{8}})?", stem) is not None
