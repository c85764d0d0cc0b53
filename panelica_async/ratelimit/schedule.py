"""Who goes when: the rules of `quota`, kept in the tables of a database instead of in memory.

`claim.lua` does the same in Redis.
"""

import secrets
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from math import inf

import attrs

from panelica_async.ratelimit.feedback import MAX_WAIT
from panelica_async.ratelimit.limit import LATELY, RECHECK, interactive_reserve
from panelica_async.ratelimit.rules import MAX_SLOWDOWN, RECORD, SlowStart, full_after
from panelica_async.ratelimit.store import (
    BATCH,
    LOOKAHEAD,
    MAX_LEAD,
    MEMBER_TTL,
    Reservation,
    ReserveRequest,
    SharedLimit,
)

__all__ = ["SCHEMA", "DamagedError", "Schedule"]

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

_MINUTE = 60.0

# Seconds: no clock is as far on.
_FAR = 1e10

_Entry = tuple[float, int]
"""When a request went, and 1 if that was only concluded from what the panel counts."""


@attrs.define
class _State:
    """The one row of the table `state`. Instants are seconds since the store was made."""

    store: str = attrs.field(factory=lambda: secrets.token_hex(8))
    boot: str = ""
    offset: float = 0.0
    """What makes a reading of the monotonic clock an instant."""
    clock: float = 0.0
    """The instant of the last claim."""
    wall: float = 0.0
    """Unix time of the last claim."""
    full_at: float = 0.0
    """When the token bucket will be full."""
    paused_until: float = 0.0
    recovery_since: float = 0.0
    slowdown: float = 0.0

    def advance(self, *, boot: str, monotonic: float, wall: float) -> None:
        if boot != self.boot or monotonic + self.offset < self.clock:
            # The machine was started, and the monotonic clock with it. The wall clock tells for how long it was
            # off, unless it was set back meanwhile.
            self.boot = boot
            self.offset = self.clock + max(0.0, wall - self.wall) - monotonic
        self.clock, self.wall = monotonic + self.offset, wall

    @property
    def is_sane(self) -> bool:
        """Whether every number can be one that a claim has written."""
        return all(isinstance(value, float) and abs(value) < _FAR for value in attrs.astuple(self)[2:])

    def bound(self, terms: SharedLimit) -> None:
        """Bring what is too far in the future nearer: it would stop all members for good."""
        latest = self.clock + MAX_WAIT
        self.paused_until = min(self.paused_until, latest)
        self.recovery_since = min(self.recovery_since, latest)
        self.slowdown = max(0.0, min(self.slowdown, MAX_SLOWDOWN))
        self.full_at = min(self.full_at, latest + terms.tolerance + (1 + MAX_SLOWDOWN) * terms.interval)

    def pause(self, seconds: float, terms: SharedLimit, *, refused: bool) -> None:
        self.paused_until = max(self.paused_until, self.clock + min(seconds, MAX_WAIT))
        if refused:
            recovery = self._recovery.after_refusal(self.clock, self.paused_until)
            self.recovery_since, self.slowdown = recovery.since, recovery.slowdown
            self.full_at = max(self.full_at, recovery.since + terms.tolerance)

    def take_tokens(self, at: float, times: int, terms: SharedLimit) -> None:
        interval = self._recovery.interval(at, terms.interval)
        self.full_at = full_after(self.full_at, at, times, interval=interval, tolerance=terms.tolerance)

    @property
    def _recovery(self) -> SlowStart:
        return SlowStart(self.recovery_since, self.slowdown)


class DamagedError(sqlite3.DatabaseError):
    """The tables hold what no member has written."""


class _Log:
    """The requests of one window, numbered in order of time.

    Args:
        database: An open transaction.
        name: Name of the log.
        count: Permits in the window; 0 is no limit.
        seconds: Length of the window.
        clock: The present instant.
    """

    def __init__(self, database: sqlite3.Connection, name: str, count: int, seconds: float, clock: float) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._latest = clock + 2 * MAX_LEAD
        self.count = count
        self._last = int(self._value("SELECT MAX(number) FROM sent WHERE log = ?", missing=0))
        if self._last > _FAR:
            raise DamagedError(f"the log {name} has a request number {self._last}")
        self._last_at = self._at(self._last)

    def ready_at(self, reserve: int = 0) -> float:
        """Return when a place is free that leaves a reserve."""
        return self._at(self._last + 1 - (self.count - reserve)) + self._seconds if self.count else 0.0

    def since(self, instant: float) -> int:
        """Return how many requests went after an instant."""
        numbers = range(max(0, self._last - RECORD) + 1, self._last + 1)
        return len(numbers) - bisect_right(numbers, instant, key=self._at)

    def take(self, at: float) -> None:
        """Note a request. An early one from the reserve counts as sent with the later ones noted before it."""
        self._append([(max(self._last_at, at), 0)])

    def add_usage(self, now: float, usage: int) -> int:
        """Note what the panel counted and the store does not know of; return how many requests that is."""
        missing = min(usage - self.since(now - self._seconds), self.count or RECORD, RECORD)
        if missing > 0:
            self._append([(max(self._last_at, now), 1)] * missing)
        return max(0, missing)

    def add_report(self, now: float, groups: Sequence[tuple[float, int]]) -> None:
        """Note what a member reports, each request at its instant, in place of what was concluded of it before."""
        reported = sorted(
            (now - age for age, count in groups if age < self._seconds for _ in range(min(count, RECORD)))
        )[-RECORD:]
        if not reported:
            return
        rows = self._database.execute(
            "SELECT at, guessed FROM sent WHERE log = ? AND typeof(at) IN ('real', 'integer') ORDER BY number",
            (self._name,),
        )
        kept = list(_without_known(rows.fetchall(), reported))
        self._database.execute("DELETE FROM sent WHERE log = ?", (self._name,))
        self._append(list(merge(kept, ((at, 0) for at in reported))))

    def _append(self, entries: Sequence[_Entry]) -> None:
        first, self._last, self._last_at = self._last + 1, self._last + len(entries), entries[-1][0]
        self._database.executemany(
            "INSERT INTO sent VALUES (?, ?, ?, ?)",
            ((self._name, number, *entry) for number, entry in enumerate(entries, first)),
        )
        self._database.execute("DELETE FROM sent WHERE log = ? AND number <= ?", (self._name, self._last - RECORD))

    def _at(self, number: int) -> float:
        at = self._value("SELECT at FROM sent WHERE log = ? AND number = ?", number, missing=-inf)
        # What no claim can have written would stop all members for good.
        return at if at <= self._latest else -inf

    def _value(self, query: str, *arguments: float, missing: float) -> float:
        row = self._database.execute(query, (self._name, *arguments)).fetchone()
        value = missing if row is None or row[0] is None else row[0]
        if not isinstance(value, int | float):
            raise DamagedError(f"the log {self._name} holds {value!r:.50}")
        return value


def _without_known(entries: Sequence[_Entry], reported: Sequence[float]) -> Iterator[_Entry]:
    """Yield a log without the guessed requests that a report explains; both are in order of time."""
    unexplained = list(reported)
    known: set[int] = set()
    for place in range(len(entries) - 1, -1, -1):
        at, guessed = entries[place]
        # A guess is as late as can be: it may stand for any request before it.
        if guessed:
            while unexplained and unexplained[-1] > at:
                unexplained.pop()
            if unexplained:
                unexplained.pop()
                known.add(place)
    return (entry for place, entry in enumerate(entries) if place not in known)


class Schedule:
    """The state of a store within one transaction.

    Args:
        database: An open transaction; `claim` changes the tables and does not commit.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        row = database.execute("SELECT * FROM state").fetchone()
        self._state = _State() if row is None else _State(*row)
        if not self._state.is_sane:
            self._state = _State()
            database.execute("DELETE FROM sent")

    def reserve(self, request: ReserveRequest, *, boot: str, monotonic: float, wall: float) -> Reservation:
        """Take in what a member says, and give it places.

        Args:
            request: What it says.
            boot: A name of this run of the machine.
            monotonic: Seconds of a clock that goes on evenly as long as the machine runs.
            wall: Unix time.
        """
        state, terms = self._state, request.limit
        state.advance(boot=boot, monotonic=monotonic, wall=wall)
        state.bound(terms)
        now = state.clock
        minute = _Log(self._database, "minute", terms.minute_count, terms.minute_period, now)
        hour = _Log(self._database, "hour", terms.hour_count, terms.hour_period, now)
        interactive = _Log(self._database, "interactive", RECORD, _MINUTE, now)
        is_known = request.store in {"", state.store}
        minute.add_report(now, request.unrecorded)
        hour.add_report(now, request.unrecorded)
        for age, count in request.unrecorded:
            state.take_tokens(now - age, count, terms)
        if is_known:
            state.take_tokens(now, minute.add_usage(now, request.minute_usage), terms)
            hour.add_usage(now, request.hour_usage)
        if request.pause or request.refused:
            state.pause(request.pause, terms, refused=request.refused)
        reserve = 0
        if request.lane == "bulk" and minute.count:
            lately = interactive.since(now - LATELY)
            reserve = interactive_reserve(
                minute.count, terms.minute_reserve, interactive.since(now - terms.minute_period), lately
            )

        def next_place() -> float:
            return max(
                now,
                state.paused_until,
                max(state.full_at, now) - terms.tolerance,
                minute.ready_at(reserve),
                hour.ready_at(),
            )

        first = at = next_place()
        batch = self._batch(request) if is_known else 0
        delays: list[float] = []
        # What bulk alone holds ahead is no longer there for an interactive caller that comes before it.
        takes_turns = request.lane == "interactive" or self._rivals(request)
        hold = MAX_LEAD if takes_turns else LOOKAHEAD * request.scale
        while len(delays) < batch and at <= now + hold:
            delays.append(at - now)
            state.take_tokens(at, 1, terms)
            for log in (minute, hour, interactive) if request.lane == "interactive" else (minute, hour):
                log.take(at)
            at = next_place()
        retry_in = 0.0 if delays or not is_known else max(0.0, first - now - hold / 2)
        if reserve > terms.minute_reserve:
            retry_in = min(retry_in, max(RECHECK, state.paused_until - now))
        self._register(request, (delays[-1] if delays else retry_in) + MEMBER_TTL)
        self._save()
        return Reservation(
            delays=tuple(delays),
            opens_in=first - now,
            retry_in=retry_in,
            members=1 + self._others("SELECT COUNT(DISTINCT member)", request),
            store=state.store,
            minute_used=minute.since(now - terms.minute_period),
            hour_used=hour.since(now - terms.hour_period),
            interactive_used=interactive.since(now - _MINUTE),
        )

    def _batch(self, request: ReserveRequest) -> int:
        """Return how many places the claim may have, for all that wait to take turns."""
        interval, most = request.limit.interval, BATCH * request.scale
        if self._rivals(request):
            batch = most if request.lane == "interactive" else request.scale
        elif interval:
            peers = self._others("SELECT COUNT(*)", request, "lane = ?")
            batch = max(1, min(most, int(LOOKAHEAD * request.scale / interval / (peers + 1))))
        else:
            batch = most
        return min(batch, request.wanted)

    def _rivals(self, request: ReserveRequest) -> int:
        """Return how many other members wait in the other lane."""
        return self._others("SELECT COUNT(*)", request, "lane != ?")

    def _others(self, select: str, request: ReserveRequest, condition: str = "? != ''") -> int:
        (count,) = self._database.execute(
            f"{select} FROM members WHERE until > ? AND member != ? AND {condition}",
            (self._state.clock, request.member, request.lane),
        ).fetchone()
        return int(count)

    def _register(self, request: ReserveRequest, seconds: float) -> None:
        """Note until when the member counts as waiting."""
        now = self._state.clock
        self._database.execute("DELETE FROM members WHERE until <= ? OR until > ?", (now, now + 2 * MAX_WAIT))
        if request.wanted:
            self._database.execute(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (request.member, request.lane, now + seconds)
            )

    def _save(self) -> None:
        self._database.execute("DELETE FROM state")
        self._database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", attrs.astuple(self._state))
