"""Who goes when: the rules of `quota`, kept in the tables of a database instead of in memory.

`claim.lua` does the same in Redis.
"""

import secrets
import sqlite3

import attrs

from panelica_async.ratelimit.coordination import BATCH, GRACE, HOLD, HORIZON, Claim, Request, Terms
from panelica_async.ratelimit.rules import Recovery

__all__ = ["SCHEMA", "Schedule"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    store TEXT, boot TEXT, offset REAL, clock REAL, wall REAL,
    full_at REAL, paused_until REAL, recovery_since REAL, slowness REAL
);
CREATE TABLE IF NOT EXISTS sent (period TEXT, number INTEGER, at REAL, PRIMARY KEY (period, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (member TEXT, lane TEXT, until REAL, PRIMARY KEY (member, lane)) WITHOUT ROWID;
"""

# Requests remembered of a window; the largest known limit is 10,000 an hour (panel-facts C).
_RECORD = 10_000


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
    slowness: float = 0.0

    def advance(self, *, boot: str, monotonic: float, wall: float) -> None:
        if boot != self.boot or monotonic + self.offset < self.clock:
            # The machine was started, and the monotonic clock with it. The wall clock tells for how long it was
            # off, unless it was set back meanwhile.
            self.boot = boot
            self.offset = self.clock + max(0.0, wall - self.wall) - monotonic
        self.clock, self.wall = monotonic + self.offset, wall

    def pause(self, seconds: float, terms: Terms, *, refused: bool) -> None:
        self.paused_until = max(self.paused_until, self.clock + seconds)
        if refused:
            recovery = self._recovery.after_refusal(self.clock, self.paused_until)
            self.recovery_since, self.slowness = recovery.since, recovery.slowness
            self.full_at = max(self.full_at, recovery.since + terms.tolerance)

    def take_token(self, at: float, terms: Terms) -> None:
        interval = self._recovery.interval(at, terms.interval)
        full_at = min(max(self.full_at, at) + interval, at + terms.tolerance + interval)
        self.full_at = max(self.full_at, full_at)

    @property
    def _recovery(self) -> Recovery:
        return Recovery(self.recovery_since, self.slowness)


class _Log:
    """The requests of one window, numbered in order of time."""

    def __init__(self, database: sqlite3.Connection, period: str, count: int, seconds: float) -> None:
        self._database = database
        self._period = period
        self._count = count
        self._seconds = seconds
        self._last = int(self._value("SELECT MAX(number) FROM sent WHERE period = ?") or 0)
        self._last_at = self._at(self._last)

    def ready_at(self) -> float:
        """Return when a place is free."""
        return self._at(self._last + 1 - self._count) + self._seconds if self._count else 0.0

    def take(self, at: float) -> None:
        """Note a request. An early one from the reserve counts as sent with the later ones noted before it."""
        self._last += 1
        self._last_at = max(self._last_at, at)
        self._database.execute("INSERT INTO sent VALUES (?, ?, ?)", (self._period, self._last, self._last_at))
        self._database.execute(
            "DELETE FROM sent WHERE period = ? AND number <= ?", (self._period, self._last - _RECORD)
        )

    def add(self, now: float, *, unrecorded: int, usage: int) -> None:
        """Note requests the store did not know of, at most as many as there are places."""
        if usage:
            since = "SELECT COUNT(*) FROM sent WHERE period = ? AND at > ?"
            unrecorded += max(0, usage - unrecorded - int(self._value(since, now - self._seconds)))
        for _ in range(min(unrecorded, self._count or _RECORD)):
            self.take(now)

    def _at(self, number: int) -> float:
        return self._value("SELECT at FROM sent WHERE period = ? AND number = ?", number)

    def _value(self, query: str, *arguments: float) -> float:
        row = self._database.execute(query, (self._period, *arguments)).fetchone()
        return float("-inf") if row is None else row[0]


class Schedule:
    """The state of a store within one transaction.

    Args:
        database: An open transaction; `claim` changes the tables and does not commit.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        row = database.execute("SELECT * FROM state").fetchone()
        self._state = _State() if row is None else _State(*row)

    def claim(self, request: Request, *, boot: str, monotonic: float, wall: float) -> Claim:
        """Take in what a member says, and give it places.

        Args:
            request: What it says.
            boot: A name of this run of the machine.
            monotonic: Seconds of a clock that goes on evenly as long as the machine runs.
            wall: Unix time.
        """
        state, terms = self._state, request.terms
        state.advance(boot=boot, monotonic=monotonic, wall=wall)
        minute = _Log(self._database, "minute", terms.minute_count, terms.minute_period)
        hour = _Log(self._database, "hour", terms.hour_count, terms.hour_period)
        minute.add(state.clock, unrecorded=request.minute_unrecorded, usage=request.minute_usage)
        hour.add(state.clock, unrecorded=request.hour_unrecorded, usage=request.hour_usage)
        if request.pause or request.refused:
            state.pause(request.pause, terms, refused=request.refused)

        def next_place() -> float:
            return max(
                state.clock,
                state.paused_until,
                max(state.full_at, state.clock) - terms.tolerance,
                minute.ready_at(),
                hour.ready_at(),
            )

        first = at = next_place()
        batch = self._batch(request)
        delays: list[float] = []
        while len(delays) < batch and at <= state.clock + HOLD:
            delays.append(at - state.clock)
            state.take_token(at, terms)
            minute.take(at)
            hour.take(at)
            at = next_place()
        retry_in = 0.0 if delays else max(0.0, first - state.clock - HOLD / 2)
        self._register(request, (delays[-1] if delays else retry_in) + GRACE)
        self._save()
        return Claim(
            delays=tuple(delays),
            opens_in=first - state.clock,
            retry_in=retry_in,
            members=1 + self._others("SELECT COUNT(DISTINCT member)", request),
            store=state.store,
        )

    def _batch(self, request: Request) -> int:
        """Return how many places the claim may have, for all that wait to take turns."""
        interval = request.terms.interval
        if self._others("SELECT COUNT(*)", request, "lane != ?"):
            batch = BATCH if request.lane == "interactive" else 1
        elif interval:
            peers = self._others("SELECT COUNT(*)", request, "lane = ?")
            batch = max(1, min(BATCH, int(HORIZON / interval / (peers + 1))))
        else:
            batch = BATCH
        return min(batch, request.wanted)

    def _others(self, select: str, request: Request, condition: str = "? != ''") -> int:
        (count,) = self._database.execute(
            f"{select} FROM members WHERE until > ? AND member != ? AND {condition}",
            (self._state.clock, request.member, request.lane),
        ).fetchone()
        return int(count)

    def _register(self, request: Request, seconds: float) -> None:
        """Note until when the member counts as waiting."""
        now = self._state.clock
        self._database.execute("DELETE FROM members WHERE until <= ?", (now,))
        if request.wanted:
            self._database.execute(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (request.member, request.lane, now + seconds)
            )

    def _save(self) -> None:
        self._database.execute("DELETE FROM state")
        self._database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", attrs.astuple(self._state))
