"""The journal: what was sent and what became of it, on the disk before and after each call.

A row is written before a call and another after it, so that after a crash the journal says of every call that it was
not sent, that it was answered, or that it was sent and the answer is not known. It holds no secrets.
"""

import enum
import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.provision.journal_file import lock_journal, prepare
from panelica_async.provision.manifest import Manifest, Reading
from panelica_async.provision.steps import Step, StepKind

PENDING = "the panel took the order and is still working on it"
"""Reason of a step that is done, and whose object is not ready yet, such as a certificate."""


class State(enum.StrEnum):
    """What the journal knows of a step."""

    SENT = "sent"
    """The call was about to be sent; if nothing follows, its outcome is not known."""
    DONE = "done"
    """The object was created by this journal's runs."""
    FOUND = "found"
    """The object was there before, as wanted."""
    FAILED = "failed"
    """The panel refused, and the object is not there."""
    UNKNOWN = "unknown"
    """The call was sent, and its outcome is not known."""
    UNCERTAIN = "uncertain"
    """The object is there, as wanted, and may be ours or others'."""
    REMOVED = "removed"
    """The object was created and is gone again."""


@attrs.frozen(kw_only=True)
class Record:
    """What the journal knows of one step."""

    id: str
    """Id of the step, such as `mailbox:info@example.com`."""
    kind: StepKind
    site: str
    """Domain of the site the step was taken for."""
    state: State
    at: datetime
    """When the state was noted, in UTC."""
    parent_id: str | None = None
    """Id of the object it was created under: the account of a domain, the zone of a record."""
    object_id: str | None = None
    """Id of the object, if it exists and has one."""
    reason: str | None = None
    code: str | None = None
    """Machine-readable code of the panel's error."""
    request_id: str | None = None
    """Id of the failed request, to quote to the panel's support."""

    @property
    def is_settled(self) -> bool:
        """Whether the object is known to exist."""
        return self.state in {State.DONE, State.FOUND, State.UNCERTAIN}

    @property
    def is_pending(self) -> bool:
        """Whether the panel took the order and was still working on it when it was last looked at."""
        return self.state is State.DONE and self.reason == PENDING

    @property
    def is_doubtful(self) -> bool:
        """Whether the step was sent and its outcome is not known."""
        return self.state in {State.SENT, State.UNKNOWN}


@attrs.frozen(kw_only=True)
class Run:
    """One run: an application of a manifest, or its continuation."""

    started_at: datetime
    finished_at: datetime | None
    """When it came to its end, in UTC; None when it was interrupted."""
    base_url: str
    """Address of the panel."""
    manifest_path: Path | None
    """The manifest's file; None for Python data."""
    manifest_digest: str
    manifest_reading: Reading
    """What the caller said about the manifest's columns."""
    credentials_path: Path | None
    """File of the generated passwords, if there is one."""


class Journal:
    """The journal of one manifest on one panel, over all its runs.

    Made by `open` or `in_memory`. One process at a time may write; others may look on.

    Attributes:
        path: The file, as an absolute path; None for a journal in memory.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None, lock: sqlite3.Connection | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._run: int | None = connection.execute("SELECT max(id) FROM run").fetchone()[0]
        rows = connection.execute("SELECT * FROM step ORDER BY seq")
        self._records = {row["id"]: _record(row) for row in rows}

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a journal.

        Args:
            path: The file; it is made when it does not exist.
            read_only: Whether only to look on: the file must exist, and may be in use.

        Raises:
            ConfigurationError: Another process is writing to it, it cannot be opened, it is no journal, or it is of
                another version.
        """
        path = Path(path).absolute()
        lock = None if read_only else lock_journal(path)
        try:
            connection = sqlite3.connect(f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}", uri=True)
            try:
                prepare(connection, path, read_only=read_only)
                return cls(connection, path, lock)
            except BaseException:
                connection.close()
                raise
        except BaseException as error:
            if lock is not None:
                lock.close()
            if isinstance(error, sqlite3.Error):
                raise ConfigurationError(f"cannot use {path} as a journal: {error}") from error
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """Make a journal that is forgotten at the end, for runs that are not to be resumed."""
        connection = sqlite3.connect(":memory:")
        prepare(connection, Path(":memory:"), read_only=False)
        return cls(connection, None, None)

    def __repr__(self) -> str:
        return f"<Journal {self.path or 'in memory'} steps={len(self._records)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let go of it. May be called again."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def records(self) -> Mapping[str, Record]:
        """What is known of each step that was ever begun, by id of the step."""
        return MappingProxyType(self._records)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs so far, oldest first."""
        return tuple(_run(row) for row in self._connection.execute("SELECT * FROM run ORDER BY id"))

    def load_manifest(self) -> Manifest:
        """Load the manifest of the last run.

        Raises:
            ConfigurationError: There was no run, its manifest has no file, or the file was changed since.
        """
        if not self.runs:
            raise ConfigurationError(f"{self.path} holds no run", hint="Begin one with `apply`.")
        run = self.runs[-1]
        if run.manifest_path is None:
            raise ConfigurationError("the manifest of the journal has no file", hint="Apply it with the same journal.")
        manifest = Manifest.load(
            run.manifest_path, columns=run.manifest_reading.columns, ignore_columns=run.manifest_reading.ignored
        )
        self.require_manifest(manifest)
        return manifest

    def require_panel(self, base_url: str) -> None:
        """Make sure that the journal is one of this panel, if there was a run.

        Raises:
            ConfigurationError: It belongs to another panel.
        """
        if self.runs and self.runs[-1].base_url != base_url:
            raise ConfigurationError(
                f"{self.path} is the journal of {self.runs[-1].base_url}, not of {base_url}",
                hint="Use one journal for each panel.",
            )

    def require_manifest(self, manifest: Manifest) -> None:
        """Make sure that the journal is one of this manifest, if there was a run.

        Raises:
            ConfigurationError: It belongs to another manifest, or the manifest was changed since.
        """
        if self.runs and self.runs[-1].manifest_digest != manifest.digest:
            raise ConfigurationError(
                f"{self.path} is the journal of another manifest, or {manifest.name} was changed since",
                hint="Use a new journal: what exists already is found and left alone.",
            )

    def begin(self, *, base_url: str, manifest: Manifest, credentials_path: Path | None) -> None:
        """Note the begin of a run.

        Args:
            base_url: Address of the panel.
            manifest: What is wanted.
            credentials_path: File of the generated passwords, if there is one.

        Raises:
            ConfigurationError: The journal belongs to another manifest or another panel.
        """
        self.require_panel(base_url)
        self.require_manifest(manifest)
        cursor = self._connection.execute(
            "INSERT INTO run (started_at, base_url, manifest_path, manifest_digest, manifest_reading, credentials_path)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                _now().isoformat(),
                base_url,
                str(manifest.source) if manifest.source else None,
                manifest.digest,
                json.dumps(attrs.asdict(manifest.reading)),
                str(credentials_path) if credentials_path else None,
            ),
        )
        self._run = cursor.lastrowid

    def finish(self) -> None:
        """Note that the run came to its end."""
        self._connection.execute("UPDATE run SET finished_at = ? WHERE id = ?", (_now().isoformat(), self._run))

    def sent(self, step: Step, *, parent_id: str | None = None) -> None:
        """Note that a call is about to be sent.

        Args:
            step: The step.
            parent_id: Id of the object it builds on, if any.
        """
        self._append(step, State.SENT, parent_id=parent_id)

    def done(self, step: Step, object_id: str | None, reason: str | None = None) -> None:
        """Note that the object was created."""
        self._append(step, State.DONE, object_id=object_id, reason=reason)

    def found(self, step: Step, object_id: str | None, reason: str | None = None) -> None:
        """Note that the object was there before."""
        self._append(step, State.FOUND, object_id=object_id, reason=reason)

    def failed(self, step: Step, reason: str, *, code: str | None = None, request_id: str | None = None) -> None:
        """Note that the panel refused."""
        self._append(step, State.FAILED, reason=reason, code=code, request_id=request_id)

    def removed(self, record: Record) -> None:
        """Note that an object is gone again."""
        self._insert(attrs.evolve(record, state=State.REMOVED, at=_now()))

    def restored(self, record: Record) -> None:
        """Note that an object is there although it counted as gone."""
        self._insert(attrs.evolve(record, at=_now()))

    def unknown(self, step: Step, reason: str) -> None:
        """Note that the outcome of a call is not known."""
        self._append(step, State.UNKNOWN, reason=reason)

    def uncertain(self, step: Step, object_id: str | None, reason: str) -> None:
        """Note that the object is there, and that it is uncertain whether a call of ours or others created it."""
        self._append(step, State.UNCERTAIN, object_id=object_id, reason=reason)

    def window(self, step_id: str) -> tuple[datetime, datetime] | None:
        """Return when a step without a known outcome was first sent and when it was last noted, in UTC.

        None when the step has a known outcome, or was never sent.
        """
        row = self._connection.execute(
            "SELECT min(at), max(at) FROM step WHERE id = :id AND seq > coalesce("
            "(SELECT max(seq) FROM step WHERE id = :id AND state NOT IN ('sent', 'unknown')), 0)",
            {"id": step_id},
        ).fetchone()
        return None if row[0] is None else (datetime.fromisoformat(row[0]), datetime.fromisoformat(row[1]))

    def _append(self, step: Step, state: State, *, parent_id: str | None = None, **facts: str | None) -> None:
        before = self._records.get(step.id)
        self._insert(
            Record(
                id=step.id,
                kind=step.kind,
                site=step.site,
                state=state,
                at=_now(),
                parent_id=parent_id or (before.parent_id if before else None),
                **facts,
            )
        )

    def _insert(self, record: Record) -> None:
        values = attrs.asdict(record) | {"at": record.at.isoformat(), "run": self._run}
        columns = ", ".join(values)
        marks = ", ".join(f":{column}" for column in values)
        self._connection.execute(f"INSERT INTO step ({columns}) VALUES ({marks})", values)  # noqa: S608 - own names
        self._records[record.id] = record


def _record(row: sqlite3.Row) -> Record:
    values = {name: row[name] for name in row.keys() if name not in {"seq", "run"}}  # noqa: SIM118 - a Row yields values
    values |= {
        "kind": StepKind(row["kind"]),
        "state": State(row["state"]),
        "at": datetime.fromisoformat(row["at"]),
    }
    return Record(**values)


def _run(row: sqlite3.Row) -> Run:
    return Run(
        started_at=datetime.fromisoformat(row["started_at"]),
        finished_at=datetime.fromisoformat(row["finished_at"]) if row["finished_at"] else None,
        base_url=row["base_url"],
        manifest_path=Path(row["manifest_path"]) if row["manifest_path"] else None,
        manifest_digest=row["manifest_digest"],
        manifest_reading=Reading.of(**json.loads(row["manifest_reading"])),
        credentials_path=Path(row["credentials_path"]) if row["credentials_path"] else None,
    )


def _now() -> datetime:
    return datetime.now(UTC)
