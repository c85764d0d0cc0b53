"""The tables of the SQLite coordinator: loads and saves the rules of `rules` in one transaction.

Any value in the tables may be wrong, so instants, counts and names are bounded when they are read.
"""

import secrets
import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from math import inf

import attrs

from panelica_async.ratelimit.limit import MAX_WAIT
from panelica_async.ratelimit.rules import (
    MAX_RECORDED,
    MAX_SLOWDOWN,
    MINUTE,
    RuleSet,
    SlidingLog,
    SlowStart,
    TokenBucket,
)
from panelica_async.ratelimit.store import MAX_COUNTED, MAX_LEAD, MAX_MEMBERS, ReserveRequest, SharedLimit

__all__ = ["FORMAT", "SCHEMA", "DamagedError", "Members", "State", "StoredRules"]

FORMAT = 3
"""Incremented with every change of the tables, so that old and new versions of the package do not share a file."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    store TEXT, boot TEXT, offset REAL, clock REAL, wall REAL,
    full_at REAL, paused_until REAL, recovery_since REAL, slowdown REAL
);
CREATE TABLE IF NOT EXISTS sent (
    log TEXT, number INTEGER, at REAL, guessed INTEGER, PRIMARY KEY (log, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (member TEXT, lane TEXT, until REAL, PRIMARY KEY (member, lane)) WITHOUT ROWID;
"""

# Seconds, more than any clock has counted.
_FAR = 1e10

# Seconds by which a sum of instants may be off.
_ROUNDING = 1e-6

# Characters; the names of a store and of a boot are shorter.
_LONGEST_NAME = 64

_Entry = tuple[float, int]
"""When a request went, and 1 if the time is guessed from the counts of the panel."""


class DamagedError(sqlite3.DatabaseError):
    """The tables contain data that no member wrote."""


@attrs.define
class State:
    """The one row of the table `state`. Instants are seconds since the store was created."""

    store: str = attrs.field(factory=lambda: secrets.token_hex(8))
    """Name of the store's memory."""
    boot: str = ""
    """Name of the boot of the machine to which `offset` belongs."""
    offset: float = 0.0
    """What to add to the time of the monotonic clock to get an instant."""
    clock: float = 0.0
    """The instant of the last reservation."""
    wall: float = 0.0
    """Unix time of the last reservation."""
    full_at: float = 0.0
    paused_until: float = 0.0
    recovery_since: float = 0.0
    slowdown: float = 0.0

    @classmethod
    def load(cls, database: sqlite3.Connection) -> "State":
        """Return the saved state; a new one if there is none, or an impossible one."""
        row = database.execute("SELECT * FROM state").fetchone()
        if row is not None:
            is_complete = len(row) == len(attrs.fields(cls))
            if is_complete and _is_plausible(row):
                return cls(*row)
            database.execute("DELETE FROM sent")
        return cls()

    def advance(self, *, boot: str, monotonic: float, wall: float) -> float:
        """Return the present instant, and remember it.

        Args:
            boot: A name of this boot of the machine.
            monotonic: Seconds of a clock that runs evenly while the machine runs.
            wall: Unix time.
        """
        if boot != self.boot or monotonic + self.offset < self.clock:
            # The machine restarted, and the monotonic clock with it. Unless the wall clock was set back, it shows how
            # long the machine was off.
            self.boot = boot
            self.offset = self.clock + max(0.0, wall - self.wall) - monotonic
        self.clock, self.wall = monotonic + self.offset, wall
        # Instants too far in the future would stop all members forever.
        self.paused_until = min(self.paused_until, self.clock + MAX_WAIT)
        return self.clock

    def bucket(self, limit: SharedLimit) -> TokenBucket:
        """Return the token bucket of a limit, in its saved state."""
        latest = self.clock + MAX_WAIT
        return TokenBucket(
            limit.interval,
            limit.tolerance,
            reserve=limit.token_reserve,
            slow_start=SlowStart(min(self.recovery_since, latest), max(0.0, min(self.slowdown, MAX_SLOWDOWN))),
            full_at=min(self.full_at, latest + limit.tolerance + (1 + MAX_SLOWDOWN) * limit.interval),
        )

    def save(self, database: sqlite3.Connection, bucket: TokenBucket) -> None:
        """Write the row, with the state of the token bucket."""
        self.full_at = bucket.full_at
        self.recovery_since, self.slowdown = bucket.slow_start.since, bucket.slow_start.slowdown
        database.execute("DELETE FROM state")
        database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", attrs.astuple(self))


def _is_plausible(row: tuple[object, ...]) -> bool:
    texts, numbers = row[:2], row[2:]
    return all(isinstance(text, str) and len(text) <= _LONGEST_NAME for text in texts) and all(
        isinstance(number, float) and abs(number) < _FAR for number in numbers
    )


class StoredLog(SlidingLog):
    """A sliding log whose requests are rows of the table `sent`, numbered in order of time.

    Args:
        database: An open transaction.
        name: Name of the log.
        count: Requests in a window; 0 for no limit.
        period: Length of the window in seconds.
        reserve: Requests that bulk leaves.
        now: The present instant.
    """

    def __init__(
        self, database: sqlite3.Connection, name: str, count: int, period: float, *, reserve: int = 0, now: float
    ) -> None:
        super().__init__(count or MAX_RECORDED, period, reserve=reserve, is_limit=count > 0)
        self.size: int = self.count  # requests without a row count as sent long ago
        self._database = database
        self._name = name
        self._latest_plausible = now + 2 * MAX_LEAD
        self._last_number = self._query_number("SELECT MAX(number) FROM sent WHERE log = ?", missing=0)
        self._first_number = self._query_number(
            "SELECT MIN(number) FROM sent WHERE log = ?", missing=self._last_number + 1
        )
        # Enough for this member, and for members with a larger limit.
        self._keep_count = min(max(self.count, self._last_number + 1 - self._first_number, MAX_RECORDED), MAX_COUNTED)
        self._last_instant = self._instant_of(self._last_number)

    def take(self, now: float) -> None:
        """Record a request. One from the reserve may be too early for its row; it gets the instant of the last one."""
        self._append([(max(self._last_instant, now), 0)])

    def extend(self, instants: Sequence[float]) -> None:
        """Record several requests in order of time."""
        self._append([(instant, 0) for instant in instants])

    def add(self, now: float, times: int) -> None:
        """Record several requests that the panel counted, as guesses."""
        self._append([(max(self._last_instant, now), 1)] * min(times, self.count))

    def instants(self) -> Sequence[float]:
        """Return when the remembered requests went, oldest first."""
        return array("d", [at for at, _ in self._entries(self._last_number - self.count)])

    def add_report(self, now: float, groups: Sequence[tuple[float, int]]) -> None:
        """Record the requests that a member reports, each in place of a guess that may stand for it."""
        in_window = [group for group in groups if group[0] < self.period]
        reported = sorted(now - age for age, count in in_window for _ in range(min(count, MAX_RECORDED)))
        reported = reported[-MAX_RECORDED:]
        if not reported:
            return
        # Requests before the reported ones keep their rows: the report cannot explain them.
        numbers = range(self._first_number, self._last_number + 1)
        last_earlier = self._first_number - 1 + bisect_right(numbers, reported[0] - _ROUNDING, key=self._instant_of)
        kept = list(_without_explained_guesses(self._entries(last_earlier), reported))
        self._database.execute("DELETE FROM sent WHERE log = ? AND number > ?", (self._name, last_earlier))
        self._last_number = last_earlier
        self._append(list(merge(kept, ((at, 0) for at in reported))))

    def _instant(self, index: int) -> float:
        return self._instant_of(self._last_number - self.count + 1 + index)

    def _instant_of(self, number: int) -> float:
        at = self._query_value("SELECT at FROM sent WHERE log = ? AND number = ?", number, missing=-inf)
        # An instant that no reservation can have written would stop all members forever.
        return at if at <= self._latest_plausible else -inf

    def _query_number(self, query: str, *, missing: int) -> int:
        number = self._query_value(query, missing=missing)
        if not abs(number) < _FAR:
            raise DamagedError(f"the log {self._name} has a request number {number}")
        return int(number)

    def _query_value(self, query: str, *arguments: float, missing: float) -> float:
        row = self._database.execute(query, (self._name, *arguments)).fetchone()
        value = missing if row is None or row[0] is None else row[0]
        if not isinstance(value, int | float):
            raise DamagedError(f"the log {self._name} contains {value!r:.50}")
        return value

    def _entries(self, after: int) -> list[_Entry]:
        """Return the requests with a higher number."""
        rows = self._database.execute(
            "SELECT at, guessed FROM sent WHERE log = ? AND number > ? AND typeof(at) IN ('real', 'integer') "
            "ORDER BY number",
            (self._name, after),
        )
        return rows.fetchall()

    def _append(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        first, self._last_number, self._last_instant = (
            self._last_number + 1,
            self._last_number + len(entries),
            entries[-1][0],
        )
        self._database.executemany(
            "INSERT INTO sent VALUES (?, ?, ?, ?)",
            ((self._name, number, *entry) for number, entry in enumerate(entries, first)),
        )
        self._database.execute(
            "DELETE FROM sent WHERE log = ? AND number <= ?", (self._name, self._last_number - self._keep_count)
        )


def _without_explained_guesses(entries: Sequence[_Entry], reported: Sequence[float]) -> Iterator[_Entry]:
    """Yield the entries of a log without the guesses that a report explains; both are in order of time."""
    unmatched = list(reported)
    explained: set[int] = set()
    for index in range(len(entries) - 1, -1, -1):
        at, guessed = entries[index]
        # A guess has the latest possible time, so it may stand for any earlier request.
        if guessed:
            while unmatched and unmatched[-1] > at:
                unmatched.pop()
            if unmatched:
                unmatched.pop()
                explained.add(index)
    return (entry for index, entry in enumerate(entries) if index not in explained)


class StoredRules(RuleSet):
    """The rules of a shared limit, as saved.

    Args:
        database: An open transaction; the logs write to it at once, the bucket with `State.save`.
        state: The saved state, advanced to the present instant.
        limit: The limit as a member knows it.
    """

    def __init__(self, database: sqlite3.Connection, state: State, limit: SharedLimit) -> None:
        now = state.clock
        self._logs = (
            StoredLog(
                database, "minute", limit.minute_count, limit.minute_period, reserve=limit.minute_reserve, now=now
            ),
            StoredLog(database, "hour", limit.hour_count, limit.hour_period, reserve=limit.hour_reserve, now=now),
        )
        interactive = StoredLog(database, "interactive", 0, MINUTE, now=now)
        super().__init__(state.bucket(limit), *self._logs, interactive)

    def add_report(self, now: float, groups: Sequence[tuple[float, int]]) -> None:
        """Count requests that the store has not recorded: how many seconds ago, and how many; the oldest first."""
        for log in self._logs:
            log.add_report(now, groups)
        for age, count in groups:
            self.bucket.take(now - age, count)


class Members:
    """The members that wait or have permits, except the one that sent a request.

    Args:
        database: An open transaction.
        request: The request of that member.
        now: The present instant.
    """

    def __init__(self, database: sqlite3.Connection, request: ReserveRequest, now: float) -> None:
        self._database = database
        self._request = request
        self._now = now
        database.execute(
            "DELETE FROM members WHERE NOT COALESCE(until > ? AND until <= ?, 0)", (now, now + 2 * MAX_WAIT)
        )
        waiting, peers, others = database.execute(
            "SELECT COUNT(*), COALESCE(SUM(lane = ?), 0), COUNT(DISTINCT member) FROM members WHERE member != ?",
            (request.lane, request.member),
        ).fetchone()
        if others >= MAX_MEMBERS:
            database.execute("DELETE FROM members")
            waiting = peers = others = 0
        self.count: int = others
        """How many members there are."""
        self.peers: int = peers
        """How many wait in the same lane."""
        self.rivals: int = waiting - peers
        """How many wait in the other lane."""

    def add(self, seconds: float) -> None:
        """Count the member that sent the request as waiting for some time."""
        if self._request.wanted:
            self._database.execute(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?)",
                (self._request.member, self._request.lane, self._now + seconds),
            )
