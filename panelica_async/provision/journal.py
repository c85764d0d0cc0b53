"""The journal: notes each call on disk before it is sent, and its outcome afterwards.

After a crash, it shows for every call whether it was answered, was not sent, or was sent with an unknown outcome. It
holds no secrets.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from panelica_async.core.operation import Dialect
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.errors import ConfigurationError
from panelica_async.provision.background import GroupCommit, open_in_background
from panelica_async.provision.journal_file import Row, decoding, open_journal, reading, record_rows, runs_in, writer
from panelica_async.provision.journal_records import IN_CONFLICT, Record, Records, Run, State, relative_to_journal
from panelica_async.provision.manifest import Manifest
from panelica_async.provision.objects import Step


class Journal:
    """The journal of one manifest on one panel, over all its runs.

    Use `open` or `in_memory` to make one. One process at a time may write; others may read. A note is in `records` and
    `runs` at once, and on the disk when `commit` returns. Notes of tasks that run together share one transaction. A
    note that could not be written stays due: the next attempt writes it.

    Attributes:
        path: The file, as an absolute path; None for a journal in memory.
        records: What is known of each step that was ever started, by its id.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: Records = Records()
        self._name = str(path or "the journal in memory")
        self._runs: list[Run] = []
        self._sanitizer = Sanitizer()
        self._files = ExitStack()
        """The journal and its lock, as long as they are open."""
        self._notes: GroupCommit[Row] | None = None
        self._obstacle: str | None = None
        """Why no run may begin now; None if one may."""

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a journal.

        Args:
            path: The file; it is made when it does not exist.
            read_only: Only read it, as it is now. The file must exist, and may be in use.

        Raises:
            ConfigurationError: Another process is writing to it, it cannot be opened, it is not a journal, it is
                damaged, or a newer package wrote it.
        """
        return cls.open_unless(threading.Event(), path, read_only=read_only)

    @classmethod
    def open_unless(cls, cancelled: threading.Event, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a journal as `open` does, but raise `asyncio.CancelledError` once the event `cancelled` is set."""
        path = Path(path).absolute()
        journal = cls(path)
        if read_only:
            with reading(path) as connection:
                journal._load(connection, path, cancelled)
            journal._obstacle = "was opened read-only"
            return journal
        connection, journal._files = open_journal(path)
        journal._notes = GroupCommit(writer(connection, path))
        try:
            journal._load(connection, path, cancelled)
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def in_memory(cls) -> Self:
        """Make a journal in memory, for runs that need not be resumed."""
        return cls()

    def __repr__(self) -> str:
        return f"<Journal {self.path or 'in memory'} steps={len(self.records)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is not on the disk yet, and close the file. May be called again.

        Raises:
            sqlite3.Error: A note could not be written. The file is closed all the same.
        """
        if self._notes is None:
            return
        self._obstacle = "is closed"
        with self._files:
            self._notes.close()

    @contextmanager
    def reserved(self) -> Generator[None]:
        """Reserve the journal for one run or one undo.

        Raises:
            ConfigurationError: Another run or undo is using it, or it cannot be written because of how it was opened.
        """
        if self._obstacle is not None:
            raise ConfigurationError(
                f"{self._name} {self._obstacle}",
                hint="Pass its path, or wait for the other run; leave a loop over it early with `contextlib.aclosing`.",
            )
        self._obstacle = "is in use by another run or undo"
        try:
            yield
        finally:
            self._obstacle = None

    async def commit(self) -> None:
        """Wait until all notes so far are on the disk. The event loop is not blocked.

        Raises:
            sqlite3.Error: They could not be written.
        """
        if self._notes is not None:
            await self._notes.commit()

    def flush(self) -> None:
        """Write all notes so far at once, in this thread.

        Raises:
            sqlite3.Error: They could not be written.
        """
        if self._notes is not None:
            self._notes.flush()

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs so far, oldest first."""
        return tuple(self._runs)

    def load_manifest(self) -> Manifest:
        """Load the manifest of the last run.

        Raises:
            ConfigurationError: There was no run, its manifest has no file, or the file was changed since.
        """
        if not self.runs:
            raise ConfigurationError(f"{self._name} holds no run", hint="Begin one with `apply`.")
        run = self.runs[-1]
        path = self.manifest_path
        if path is None:
            raise ConfigurationError("the manifest of the journal has no file", hint="Apply it with the same journal.")
        reading = run.manifest_reading
        manifest = Manifest.load(path, columns=reading.columns, ignore_columns=reading.ignored)
        if run.manifest_digest != manifest.digest:
            raise ConfigurationError(
                f"{path} was changed since the last run", hint="Apply it: the run continues in the same journal."
            )
        return manifest

    @property
    def manifest_path(self) -> Path | None:
        """The file of the manifest, where it is now if it was moved with the journal; None without run or file."""
        return self._runs[-1].manifest_now(self.path) if self._runs else None

    def require_panel(self, base_url: str) -> None:
        """Make sure that the earlier runs, if any, were on this panel.

        Raises:
            ConfigurationError: They were on another panel, or there are records but no run, which would name the panel.
        """
        if self.records and not self.runs:
            raise ConfigurationError(
                f"{self._name} holds records but no run, so their panel is unknown", hint="Restore it from a backup."
            )
        if self.runs and not self.runs[-1].is_on(base_url):
            raise ConfigurationError(
                f"{self._name} is the journal of {self.runs[-1].base_url}, not of {base_url}",
                hint="Use one journal for each panel, and write its address the same way each time.",
            )

    def require_dialect(self, dialect: Dialect) -> None:
        """Make sure that the client speaks the dialect of the last run, if any.

        A database may have a different id in each dialect, so a run would not recognise its own.

        Raises:
            ConfigurationError: The client speaks the other dialect.
        """
        spoken = self.runs[-1].dialect if self.runs else None
        if spoken not in {None, dialect}:
            raise ConfigurationError(
                f"{self._name} is the journal of runs in the dialect {spoken}, not {dialect}",
                hint=f"Use dialect {spoken} (--dialect, PANELICA_DIALECT, dialect=), or another journal (--state-dir).",
            )

    def require_manifest(self, manifest: Manifest) -> None:
        """Make sure that the earlier runs, if any, were of this manifest, whose file may have been changed since.

        Raises:
            ConfigurationError: They were of another manifest.
        """
        if not self.runs:
            return
        run = self.runs[-1]
        if manifest.source is not None and run.manifest_path is not None:
            if not run.is_of(manifest.source, self.path):
                raise ConfigurationError(
                    f"{self._name} is the journal of {run.manifest_path}, not of {manifest.source}",
                    hint="Use one journal for each manifest.",
                )
        elif run.manifest_digest != manifest.digest:
            raise ConfigurationError(
                f"{self._name} is the journal of another manifest",
                hint="Use a new journal: what exists already is found and left alone.",
            )

    def begin(
        self, *, base_url: str, manifest: Manifest, credentials_path: Path | None, dialect: Dialect | None = None
    ) -> None:
        """Note the start of a run.

        Args:
            base_url: Address of the panel.
            manifest: The manifest.
            credentials_path: File of the generated passwords, if there is one.
            dialect: The dialect that the client speaks, if it is known.

        Raises:
            ConfigurationError: The journal belongs to another manifest or another panel.
        """
        self.require_panel(base_url)
        self.require_manifest(manifest)
        source = manifest.source
        run = Run(
            started_at=_now(),
            finished_at=None,
            undone_at=None,
            base_url=base_url,
            manifest_path=source and source.resolve(),
            manifest_relative=relative_to_journal(source, self.path) if source and self.path else None,
            manifest_digest=manifest.digest,
            manifest_reading=manifest.reading,
            credentials_path=credentials_path,
            dialect=dialect,
        )
        self._runs.append(run)
        self._note_run(run)

    def finish(self) -> None:
        """Note that the run has finished."""
        self._note_run(attrs.evolve(self._runs[-1], finished_at=_now()))

    def undone(self) -> None:
        """Note that what the runs created is being removed."""
        self._note_run(attrs.evolve(self._runs[-1], undone_at=_now()))

    def sent(self, step: Step, *, parent_id: str | None = None) -> None:
        """Note that a call is about to be sent; `parent_id` is that of the object it depends on, if any."""
        self._note_step(step, State.SENT, parent_id=parent_id)

    def done(
        self, step: Step, object_id: str | None, reason: str | None = None, *, parent_id: str | None = None
    ) -> None:
        """Note that the object was created; `parent_id` is needed if the object had no call of its own."""
        self._note_step(step, State.DONE, parent_id=parent_id, object_id=object_id, reason=reason)

    def found(self, step: Step, object_id: str | None, reason: str | None = None) -> None:
        """Note that the object existed before."""
        self._note_step(step, State.FOUND, object_id=object_id, reason=reason)

    def conflict(self, step: Step, reason: str) -> None:
        """Note that something on the panel conflicts with a step, and keep what undo needs to know of its object."""
        before = self.records.get(step.id)
        if before is not None and before.is_settled:
            in_conflict = attrs.evolve(before, reason=self._sanitizer.clean_text(reason), code=IN_CONFLICT)
            self._note_state(in_conflict, before.state)
        elif before is None or not before.is_unanswered:
            self._note_step(step, State.CONFLICT, reason=reason)

    def failed(self, step: Step, reason: str, *, code: str | None = None, request_id: str | None = None) -> None:
        """Note that the panel refused."""
        self._note_step(step, State.FAILED, reason=reason, code=code, request_id=request_id)

    def removed(self, record: Record) -> None:
        """Note that an object is gone."""
        self._note_state(record, State.REMOVED)

    def restored(self, record: Record, state: State) -> None:
        """Note a record as it was: the object still exists, or no longer conflicts."""
        self._note_state(record, state)

    def unknown(self, step: Step, reason: str) -> None:
        """Note that the outcome of a call is unknown."""
        self._note_step(step, State.UNKNOWN, reason=reason)

    def uncertain(self, step: Step, object_id: str | None, reason: str, *, parent_id: str | None = None) -> None:
        """Note that the object exists, and that it is uncertain whether one of our calls created it."""
        self._note_step(step, State.UNCERTAIN, parent_id=parent_id, object_id=object_id, reason=reason)

    def hide(self, password: str) -> None:
        """Keep a password out of the journal, even if the panel quotes it."""
        if password:
            self._sanitizer.add(password)

    def _note_step(
        self,
        step: Step,
        state: State,
        *,
        parent_id: str | None = None,
        object_id: str | None = None,
        **texts: str | None,
    ) -> None:
        before = self.records.get(step.id)
        self._note_record(
            Record(
                id=step.id,
                kind=step.kind,
                site=step.site,
                state=state,
                at=_now(),
                parent_id=parent_id or (before.parent_id if before else None),
                object_id=object_id,
                run=len(self._runs),
                **{name: text and self._sanitizer.clean_text(text) for name, text in texts.items()},
            )
        )

    def _note_state(self, record: Record, state: State) -> None:
        self._note_record(attrs.evolve(record, state=state, at=_now(), run=len(self._runs)))

    def _note_record(self, record: Record) -> None:
        row = record.to_row()
        self.records.add(row)
        self._add_row("step", row)

    def _note_run(self, run: Run) -> None:
        self._runs[-1] = run
        self._add_row("run", (len(self._runs), *run.to_row()))

    def _load(self, connection: sqlite3.Connection, path: Path, cancelled: threading.Event) -> None:
        with decoding(path):
            self._runs = runs_in(connection)
            for row in record_rows(connection):
                if cancelled.is_set():
                    raise asyncio.CancelledError
                self.records.add(row)

    def _add_row(self, table: str, row: tuple[object, ...]) -> None:
        if self._notes is not None:
            self._notes.add((table, row))


@asynccontextmanager
async def journal_at(journal: Journal | Path | str, *, read_only: bool = False) -> AsyncGenerator[Journal]:
    """Open a journal for the length of a block, without blocking the event loop; a large one is read in a thread.

    When cancelled while reading, close the journal at once. A journal that was open before stays open.

    Raises:
        ConfigurationError: As `Journal.open` does.
    """
    if isinstance(journal, Journal):
        yield journal
        return
    journal = await open_in_background(partial(Journal.open_unless, read_only=read_only), journal)
    try:
        yield journal
    finally:
        journal.close()
        await asyncio.to_thread(journal.records.close)


def _now() -> datetime:
    return datetime.now(UTC)
