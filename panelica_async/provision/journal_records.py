"""The contents of a journal: its runs, and for each step the latest record, with its state, run and time."""

import enum
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import attrs

from panelica_async.core.address import is_same_panel
from panelica_async.provision.background import Table
from panelica_async.provision.manifest import Reading
from panelica_async.provision.objects import StepKind

PENDING: Final = "the panel took the order and is still working on it"
"""Reason of a step that is done, but whose object is not ready yet, such as a certificate."""
NOT_SENT: Final = "cancelled before it was sent"
"""Reason of a step that counts as failed because its run was stopped or aborted before its call was sent."""
IN_CONFLICT: Final = "in_conflict"
"""Code of a settled step whose object has come into conflict with the manifest."""


class State(enum.StrEnum):
    """What the journal knows of a step."""

    SENT = "sent"
    """The call was about to be sent; if nothing follows, its outcome is not known."""
    DONE = "done"
    """The object was created by this journal's runs."""
    FOUND = "found"
    """The object was there before, as requested."""
    FAILED = "failed"
    """The panel refused, and the object is not there."""
    UNKNOWN = "unknown"
    """The call was sent, and its outcome is not known."""
    CONFLICT = "conflict"
    """Something on the panel conflicts with the request; nothing was sent."""
    UNCERTAIN = "uncertain"
    """The object is there, as requested; whether a run or others created it is uncertain."""
    REMOVED = "removed"
    """The object was created and is gone."""


RecordRow: TypeAlias = tuple[Any, ...]
"""A record as a journal keeps it: the values of `RECORD_COLUMNS`."""


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
    """In words, if there is something to say."""
    code: str | None = None
    """Machine-readable code of the panel's error."""
    request_id: str | None = None
    """Id of the failed request, to quote to the panel's support."""
    run: int = 0
    """Number of the last run when it was noted, from 1."""

    @classmethod
    def from_row(cls, row: RecordRow) -> Self:
        """Return the record in a row of a journal."""
        values: dict[str, Any] = dict(zip(RECORD_COLUMNS, row, strict=True))
        values["kind"] = StepKind(values["kind"])
        values["state"] = State(values["state"])
        values["at"] = datetime.fromisoformat(values["at"])
        return cls(**values)

    def to_row(self) -> RecordRow:
        """Return the record as a row of a journal."""
        values: dict[str, Any] = {name: getattr(self, name) for name in RECORD_COLUMNS}
        values |= {"kind": self.kind.value, "state": self.state.value, "at": self.at.isoformat()}
        return tuple(values.values())

    @property
    def key(self) -> str:
        """Natural key of the object, such as `info@example.com`."""
        return self.id.removeprefix(f"{self.kind}:")

    @property
    def label(self) -> str:
        """What people call the object, such as `mailbox info@example.com`."""
        return f"{self.kind.label} {self.key}"

    @property
    def unique_id(self) -> str:
        """Kind and id of the object, such as `domain:d1`; ids alone may be unique within a kind only."""
        return unique_id(self.kind, self.object_id)

    @property
    def parent_unique_id(self) -> str | None:
        """Kind and id of the object it was created under; None for an account."""
        parent = self.kind.parent
        return None if parent is None or self.parent_id is None else unique_id(parent, self.parent_id)

    @property
    def is_settled(self) -> bool:
        """Whether the object is known to exist."""
        return self.state in SETTLED

    @property
    def is_in_conflict(self) -> bool:
        """Whether the object conflicts with the manifest, even if a run created it."""
        return self.state is State.CONFLICT or (self.is_settled and self.code == IN_CONFLICT)

    @property
    def is_pending(self) -> bool:
        """Whether the panel took the order and was still working on it when last checked."""
        return self.state is State.DONE and self.reason == PENDING

    @property
    def is_unanswered(self) -> bool:
        """Whether the step was sent and its outcome is not known."""
        return self.state in UNANSWERED


SETTLED: Final = frozenset({State.DONE, State.FOUND, State.UNCERTAIN})
UNANSWERED: Final = frozenset({State.SENT, State.UNKNOWN})
_UNRESOLVED: Final = frozenset({State.FAILED, State.CONFLICT, *UNANSWERED})
REMOVABLE: Final = frozenset({State.DONE, State.UNCERTAIN, *UNANSWERED})
"""States of the records that undo deals with."""
_WAS_SENT: Final = f"reason IS NOT '{NOT_SENT}'"
RECORD_COLUMNS = tuple(attrs.fields_dict(Record))
"""Columns of a record in a journal."""


def is_removable(record: Record) -> bool:
    """Return whether undo deals with an object: it was created by the journal's runs, or may have been."""
    return record.state in REMOVABLE


def unique_id(kind: StepKind, object_id: str | None) -> str:
    """Return the kind and id of an object, which together are unique on a panel."""
    return f"{kind.value}:{object_id or ''}"


_COLUMNS: Final = ", ".join(RECORD_COLUMNS)
_UPSERT: Final = f"""
INSERT INTO item ({_COLUMNS}, sent_from, sent_until) VALUES (?{", ?" * (len(RECORD_COLUMNS) + 1)})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in RECORD_COLUMNS)},
    sent_from = min(coalesce(sent_from, excluded.sent_from), excluded.sent_from),
    sent_until = max(coalesce(sent_until, excluded.sent_until), excluded.sent_until)
"""  # noqa: S608 - our own names


class Records(Mapping[str, Record]):
    """The record of each step, by its id, in the order in which the steps were first noted."""

    def __init__(self) -> None:
        self._table = Table(f"{_COLUMNS}, sent_from, sent_until, UNIQUE (id)")

    def __getitem__(self, step_id: str) -> Record:
        row = self._table.execute(f"SELECT {_COLUMNS} FROM item WHERE id = ?", (step_id,)).fetchone()  # noqa: S608 - our own names
        if row is None:
            raise KeyError(step_id)
        return Record.from_row(row)

    def __contains__(self, step_id: object) -> bool:
        return self._table.execute("SELECT 1 FROM item WHERE id = ?", (step_id,)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        return (step_id for (step_id,) in self._table.execute("SELECT id FROM item ORDER BY number"))

    def __len__(self) -> int:
        return len(self._table)

    def in_slices(self, states: Iterable[State], kinds: Iterable[StepKind] = StepKind) -> AsyncIterator[Record]:
        """Iterate over the records in some states; the event loop continues after each slice."""
        condition = f"state IN ({_sql_list(states)}) AND kind IN ({_sql_list(kinds)})"
        return self._table.in_slices(_COLUMNS, Record.from_row, condition)

    @property
    def unresolved(self) -> Sequence[Record]:
        """The records of objects that failed, conflict or are uncertain; not those of calls that were not sent."""
        settled = f"state IN ({_sql_list(SETTLED)}) AND code = '{IN_CONFLICT}'"
        return self._select(f"(state IN ({_sql_list(_UNRESOLVED)}) AND {_WAS_SENT}) OR {settled}")

    @property
    def pending(self) -> Sequence[Record]:
        """The records of objects that were not ready when last looked at."""
        return self._select(f"state = '{State.DONE}' AND reason = '{PENDING}'")

    def _select(self, condition: str) -> Sequence[Record]:
        return self._table.select(_COLUMNS, Record.from_row, condition)

    @property
    def counts(self) -> Mapping[State, int]:
        """Number of records by state; those of calls that were not sent do not count."""
        counts = dict(self._table.execute(f"SELECT state, count(*) FROM item WHERE {_WAS_SENT} GROUP BY state"))  # noqa: S608 - our own names
        return {state: counts.get(state, 0) for state in State}

    @property
    def unanswered(self) -> Container[str]:
        """Ids of the steps that were sent and whose outcome is unknown."""
        return _Unanswered(self)

    def sent_between(self, step_id: str) -> tuple[datetime, datetime] | None:
        """Return when an unanswered step was first sent and when it was last noted, in UTC; None for other steps."""
        row = self._table.execute("SELECT sent_from, sent_until FROM item WHERE id = ?", (step_id,)).fetchone()
        if row is None or None in row:
            return None
        sent_from, sent_until = map(datetime.fromisoformat, row)
        return sent_from, sent_until

    def add(self, row: RecordRow) -> None:
        """Add a row, which replaces the earlier one of its step.

        Raises:
            ValueError: It holds an unknown kind or state, or a malformed time.
        """
        _, kind, _, state, at, *_ = row
        StepKind(kind)
        datetime.fromisoformat(at)
        sent_at = at if State(state) in UNANSWERED else None
        self._table.execute(_UPSERT, (*row, sent_at, sent_at))

    def close(self) -> None:
        """Drop all records."""
        self._table.close()


def _sql_list(values: Iterable[enum.StrEnum]) -> str:
    return ", ".join(f"'{value}'" for value in values)


@attrs.frozen
class _Unanswered(Container[str]):
    _records: Records

    def __contains__(self, step_id: object) -> bool:
        return isinstance(step_id, str) and self._records.sent_between(step_id) is not None


@attrs.frozen(kw_only=True)
class Run:
    """One run: an application of a manifest, or its continuation."""

    started_at: datetime
    """When it began, in UTC."""
    finished_at: datetime | None
    """When it finished, in UTC; None when it was interrupted."""
    undone_at: datetime | None
    """When it was last undone, in UTC, even if something was left; None when it was not."""
    base_url: str
    """Address of the panel."""
    manifest_path: Path | None
    """The manifest's file; None for Python data."""
    manifest_relative: str | None
    """Its path relative to the journal's directory, which stays true when both are moved together."""
    manifest_digest: str
    manifest_reading: Reading
    """What the caller said about the manifest's columns."""
    credentials_path: Path | None
    """File of the generated passwords, if there is one."""
    dialect: str | None = None
    """Which API the client spoke, `reference` or `panel`; None for runs of earlier versions."""

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """Return the run in a row of a journal."""

        def optional_time(name: str) -> datetime | None:
            return datetime.fromisoformat(row[name]) if row[name] else None

        def optional_path(name: str) -> Path | None:
            return Path(os.fsdecode(row[name])) if row[name] else None

        return cls(
            started_at=datetime.fromisoformat(row["started_at"]),
            finished_at=optional_time("finished_at"),
            undone_at=optional_time("undone_at"),
            base_url=str(row["base_url"]),
            manifest_path=optional_path("manifest_path"),
            manifest_relative=row["manifest_relative"] and os.fsdecode(row["manifest_relative"]),
            manifest_digest=row["manifest_digest"],
            manifest_reading=Reading.of(**json.loads(row["manifest_reading"])),
            credentials_path=optional_path("credentials_path"),
            dialect=row["dialect"],
        )

    def to_row(self) -> tuple[Any, ...]:
        """Return the run as a row of a journal: the values of `RUN_COLUMNS`."""
        return (
            self.started_at.isoformat(),
            self.finished_at and self.finished_at.isoformat(),
            self.undone_at and self.undone_at.isoformat(),
            self.base_url,
            self.manifest_path and _encoded(str(self.manifest_path)),
            self.manifest_relative and _encoded(self.manifest_relative),
            self.manifest_digest,
            json.dumps(attrs.asdict(self.manifest_reading)),
            self.credentials_path and _encoded(str(self.credentials_path)),
            self.dialect,
        )

    def is_on(self, base_url: str) -> bool:
        """Return whether this is a run on the panel of an address."""
        return is_same_panel(self.base_url, base_url)

    def manifest_now(self, journal: Path | None) -> Path | None:
        """Return where the manifest is now, even if it was moved with the journal."""
        path = self.manifest_path
        return None if path is None else _locate(path, self.manifest_relative, journal)

    def credentials_now(self, journal: Path | None) -> Path | None:
        """Return where the file of generated passwords is now, even if it was moved with the journal."""
        path = self.credentials_path
        return None if path is None else _locate(path, path.name, journal)

    def is_of(self, manifest: Path, journal: Path | None) -> bool:
        """Return whether this is a run of a manifest.

        Args:
            manifest: The manifest's file, which need not exist any more.
            journal: The file of the journal, as it is now; None for one in memory.
        """
        if self.manifest_path is None:
            return False
        if self.manifest_path.resolve() == manifest.resolve():
            return True
        # A manifest that was moved together with its journal is still the same one. A copy is not: the original exists.
        return (
            journal is not None
            and self.manifest_relative is not None
            and not self.manifest_path.exists()
            and self.manifest_relative == relative_to_journal(manifest, journal)
        )


RUN_COLUMNS = tuple(attrs.fields_dict(Run))
"""Columns of a run in a journal."""


def _encoded(path: str) -> str | bytes:
    """Return a path as SQLite can store it: as bytes if it is not valid UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _locate(path: Path, relative: str | None, journal: Path | None) -> Path:
    """Return where a file is now: at its path, or relative to the journal's directory if it exists only there."""
    if relative is None or journal is None or path.exists():
        return path
    moved = (journal.parent / relative).resolve()
    return moved if moved.exists() else path


def relative_to_journal(manifest: Path, journal: Path) -> str | None:
    """Return the path of a manifest relative to the directory of a journal; None on another drive."""
    try:
        return os.path.relpath(manifest.resolve(), journal.resolve().parent)
    except ValueError:
        return None
