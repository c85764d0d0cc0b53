"""A queue in front of a quota."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Self

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.feedback import Feedback, read_feedback
from panelica_async.ratelimit.lanes import LANES, Lane, Waiter, WaitQueue, wait_error
from panelica_async.ratelimit.limit import QuotaLeft, RateLimit
from panelica_async.ratelimit.permits import EMPTY, LocalPermits, Permits, QueueDepth
from panelica_async.ratelimit.shared import SharedPermits
from panelica_async.ratelimit.state import LimiterState
from panelica_async.ratelimit.store import Coordinator

__all__ = ["RateLimiter"]

_log = logging.getLogger("panelica_async")

_NEVER = inf

# Seconds for which a limit holds that a reply named and that is lower than the configured one.
_LEARNT_FOR = 300.0

# Seconds after which a wait in the interactive lane is worth a warning, and until the next one.
_LONG_WAIT = 5.0
_WARN_AGAIN = 60.0


class RateLimiter:
    """Lets callers pass as fast as a limit allows: the interactive lane before bulk, first come, first served in each.

    Waiting costs nothing: one timer is set, for the head of the queue. A place in the quota is taken at
    the moment a caller goes on its way, so one that is cancelled while it waits has taken nothing, and
    the next moves up.

    While both lanes wait, every fifth place goes to bulk. While only bulk waits, it leaves a few places free,
    so that an interactive call need not wait for the places that bulk work used up.

    A limiter belongs to the event loop that first uses it, and takes the time from it. It is not thread-safe.

    Args:
        limit: What may be sent.
        learn: Whether the limit follows what the panel says of it, see `observe`; False keeps it as it is.
        may_rise: Whether the panel's word may also lift the limit above `limit`.
        coordinator: Shares the quota with other processes or hosts; None keeps it to this limiter. It is
            borrowed: closing the limiter does not close it.
        quota: The quota that the limiters of other event loops in this process use too; it keeps its limit.
    """

    def __init__(
        self,
        limit: RateLimit,
        *,
        learn: bool = True,
        may_rise: bool = True,
        coordinator: Coordinator | None = None,
        quota: LocalPermits | None = None,
    ) -> None:
        self._permits: Permits = (
            (quota or LocalPermits(limit)) if coordinator is None else SharedPermits(limit, coordinator, self._news)
        )
        self._learn = learn
        self._may_rise = may_rise
        self._on_close: Callable[[], None] | None = None
        self._warned_at = -inf
        self._waiters = WaitQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: str | None = None
        self._granted = 0

    @classmethod
    def for_host(cls, limit: RateLimit, *, key: str, learn: bool = True) -> Self:
        """Return a limiter that shares the quota of a key with all processes of this user on this host.

        Closing it closes its file, once no other limiter of the key is open in this process.

        Args:
            limit: What all of them together may send.
            key: Names the quota: the API key, of which only a digest is kept.
            learn: Whether the limit follows what the panel says of it.
        """
        from panelica_async.ratelimit.sqlite import HostCoordinator  # noqa: PLC0415  most programs need no sqlite3

        coordinator = HostCoordinator(key)
        limiter = cls(limit, learn=learn, coordinator=coordinator)
        limiter._on_close = coordinator.close
        return limiter

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"granted={self.granted} waiting={self.waiting}"
        return f"<RateLimiter {self.limit!r} {state}>"

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        return self._permits.limit

    @property
    def granted(self) -> int:
        """How many callers have passed."""
        return self._granted

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiters)

    @property
    def left(self) -> QuotaLeft:
        """What may still be sent in the windows that end now, with a coordinator as far as is known here."""
        return self._permits.left(self._running_loop().time())

    def state(self) -> LimiterState:
        """Return how the limiter stands; any thread may ask, once a caller has come."""
        now = (self._loop or asyncio.get_running_loop()).time()
        return LimiterState(
            limit=self.limit,
            left=self._permits.left(now),
            waiting=self._waiters.demand(),
            oldest=self._waiters.oldest(now),
            coordination=self._permits.coordination,
        )

    @property
    def closed(self) -> bool:
        """Whether the limiter was closed."""
        return self._closed is not None

    def try_acquire(self, *, lane: Lane = "interactive") -> bool:
        """Take a place in the quota if there is one now and nobody waits; tell whether it was taken.

        Args:
            lane: `interactive` for calls that somebody waits for, `bulk` for work in the background.

        Raises:
            ConfigurationError: The limiter is closed, or belongs to another event loop.
            ValueError: There is no such lane.
        """
        if self._closed is not None:
            raise ConfigurationError(self._closed)
        if lane not in LANES:
            raise ValueError(f"lane: must be one of {', '.join(LANES)}, not {lane!r}")
        now = self._running_loop().time()
        self._forget_learnt(now)
        if len(self._waiters) or not self._permits.try_take(now, lane):
            return False
        self._granted += 1
        return True

    async def acquire(self, *, lane: Lane = "interactive", max_wait: float | None = None, group: object = None) -> None:
        """Wait for a place in the quota and take it.

        Args:
            lane: `interactive` for calls that somebody waits for, `bulk` for work in the background.
            max_wait: Seconds the caller is willing to wait; None for as long as it takes. It is refused at once
                when the expected wait is longer, later when a pause begins that ends too late, and at the
                latest when this time is over.
            group: On whose behalf the caller waits, for `dismiss`.

        Raises:
            RateLimitWaitError: The wait is longer than `max_wait`; no place was taken.
            ConfigurationError: The limiter is closed, or was closed during the wait; the group was dismissed;
                or the limiter belongs to another event loop.
            ValueError: There is no such lane.
        """
        if self.try_acquire(lane=lane):
            return
        loop = self._running_loop()
        now = loop.time()
        if max_wait is not None:
            self.require_within(max_wait, lane)
        latest = _NEVER if max_wait is None else now + max_wait
        turn = Waiter(lane=lane, group=group, since=now, latest=latest, call=loop.create_future())
        alarm = None if max_wait is None else loop.call_at(latest, self._give_up, turn, context=contextvars.Context())
        self._waiters.add(turn)
        self._attend()
        try:
            while True:
                refusal = await turn.call
                if refusal is not None:
                    raise refusal
                if self._permits.try_take(loop.time(), lane):
                    break
                # The place went elsewhere: to another event loop, or into a pause that began just now.
                turn.call = loop.create_future()
                self._attend()
            self._granted += 1
        finally:
            if alarm is not None:
                alarm.cancel()
            self._waiters.remove(turn)
            self._attend()

    def require_within(self, max_wait: float, lane: Lane = "interactive", ahead: QueueDepth = EMPTY) -> None:
        """Raise `RateLimitWaitError` if a caller who came now is expected to wait longer than `max_wait` seconds.

        Args:
            max_wait: Seconds the caller is willing to wait.
            lane: Lane of the caller.
            ahead: How many in each lane will wait here before that caller, and are not here yet.
        """
        if (wait := self.expected_wait(lane, ahead)) > max_wait:
            raise wait_error(wait, max_wait)

    def expected_wait(self, lane: Lane = "interactive", ahead: QueueDepth = EMPTY) -> float:
        """Return how many seconds a caller who came now would wait behind those already waiting.

        Where several limits take turns in holding up the queue, the wait can become a few per cent longer; with a
        coordinator it is a guess.

        Args:
            lane: Lane of the caller.
            ahead: How many in each lane will wait here before that caller, and are not here yet.
        """
        now = self._running_loop().time()
        demand: QueueDepth = {lane: count + ahead[lane] for lane, count in self._waiters.demand().items()}
        return self._permits.expected_at(now, lane, demand) - now

    def observe(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        retry_after: float | None = None,
        limit: float | None = None,
        window: str | None = None,
    ) -> None:
        """Learn from a reply of the panel, whatever it says; nothing in it can make this raise.

        The limit follows the X-RateLimit headers and the body of a refusal; one that is lower than the configured limit
        holds for five minutes after the last reply that names it. When the panel has counted more than was sent here,
        the difference is left to whoever sent it. After a refusal (429) nobody passes for the wait it names, at most an
        hour; then callers pass one by one at half the pace, which is normal again after five minutes.

        Args:
            status: HTTP status.
            headers: Headers of the reply, as a mapping that ignores case.
            retry_after: Seconds to wait, as the reply asks; a minute when a refusal names no wait.
            limit: `limit` in the body of a refusal.
            window: `window` in the body of a refusal: `minute` or `hour`.
        """
        feedback = read_feedback(status, headers, retry_after=retry_after, limit=limit, window=window)
        if feedback is None:
            return
        now = self._running_loop().time()
        if self._learn and (feedback.minute_limit is not None or feedback.hour_limit is not None):
            self._follow(now, feedback)
        minute_usage, hour_usage = feedback.usage(self.limit)
        others = self._permits.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)
        if feedback.refused:
            self._hold(now, feedback.wait, refused=True)
        elif others and feedback.is_used_up:
            self._hold(now, feedback.wait, refused=False)

    def pause(self, seconds: float) -> None:
        """Let nobody pass for some time, as before planned work on the panel. A pause never shortens another.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds: must be finite and not negative, not {seconds!r}")
        self._hold(self._running_loop().time(), seconds, refused=False)

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on.

        What was sent before counts under the new limit too, and everybody who waits keeps their place.
        """
        self._permits.reconfigure(limit)
        self._attend()

    def seed(self, *, minute_usage: int = 0, hour_usage: int = 0) -> None:
        """Count what other processes or earlier runs used, as the panel reports it.

        Requests that passed this limiter are not counted twice.

        Args:
            minute_usage: Requests in the current minute: `current_minute_usage` of `GET /v1/rate-limit`.
            hour_usage: Requests in the current hour: `current_hour_usage` of the same reply.
        """
        now = self._running_loop().time()
        self._permits.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)

    def cancel_waiters(self, group: object, reason: str = "The client was closed while the call waited.") -> None:
        """Refuse those who wait on behalf of an group, such as a client that closes while others go on."""
        for turn in self._waiters:
            if turn.group is group:
                turn.refuse(ConfigurationError(reason))
        self._attend()

    def close(self, reason: str = "The rate limiter is closed.") -> None:
        """Refuse everybody who waits and everybody who comes. Closing again changes nothing."""
        if self._closed is not None:
            return
        self._closed = reason
        self._permits.close()
        if self._on_close is not None:
            self._on_close()
        for turn in self._waiters:
            turn.refuse(ConfigurationError(reason))
        self._attend()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ConfigurationError("This rate limiter belongs to another event loop; each loop needs its own.")
        return loop

    def _follow(self, now: float, feedback: Feedback) -> None:
        """Apply the limit that the panel names: a lower one for a while, any other from now on."""
        before, configured = self.limit, self._permits.configured
        learnt = feedback.corrected(before, configured, may_rise=self._may_rise)
        if not learnt.is_below(configured):
            if learnt != before or learnt != configured:
                self.reconfigure(learnt)
            return
        self._permits.learn(learnt, now + _LEARNT_FOR)
        if learnt != before:
            _log.log(
                logging.WARNING if feedback.refused or learnt.per_minute != configured.per_minute else logging.INFO,
                "the panel names a lower rate limit than the configured %s: going on with %s until %.0f s after the "
                "last reply that names it",
                configured,
                learnt,
                _LEARNT_FOR,
            )
            self._attend()

    def _forget_learnt(self, now: float) -> None:
        if now >= self._permits.learnt_until:
            self._permits.reconfigure(self._permits.configured)
            _log.warning("the panel no longer names a lower rate limit: going on with %s", self.limit)

    def _hold(self, now: float, seconds: float, *, refused: bool) -> None:
        self._permits.pause(now, seconds, refused=refused)
        self._news(now)

    def _news(self, now: float) -> None:
        """Send away those who cannot wait for what is now known, and call whom it lets go."""
        for turn in self._waiters:
            opens_at = self._permits.opens_at(turn.lane)
            if opens_at > turn.latest:
                turn.refuse(wait_error(opens_at - now, max(0.0, turn.latest - now)))
        self._attend()

    def _give_up(self, turn: Waiter) -> None:
        """Refuse a caller that has waited as long as it is willing to."""
        self._attend()  # it may be its turn in this very instant
        waited = turn.latest - turn.since
        turn.refuse(wait_error(max(waited, self.expected_wait(turn.lane)), waited))
        self._attend()

    def _attend(self) -> None:
        """Call whose turn it is, or set the timer for when to try again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiters or self._loop is None:
            return
        heads = {lane: self._waiters.head(lane) for lane in LANES}
        if any(head is not None and head.call.done() for head in heads.values()):
            return  # one that was called goes on in a moment, and then calls this
        now = self._loop.time()
        self._forget_learnt(now)
        lane, ready = self._permits.next(now, self._waiters.demand())
        head = heads[lane]
        if head is not None and ready <= now:
            head.call.set_result(None)
            return
        at = min(ready, self._permits.learnt_until, self._warn_of_stall(now, heads["interactive"]))
        if at < _NEVER:
            self._timer = self._loop.call_at(at, self._attend, context=contextvars.Context())

    def _warn_of_stall(self, now: float, head: Waiter | None) -> float:
        """Warn when interactive calls wait for long; return when to look again."""
        if head is None or head.since <= self._warned_at:
            return _NEVER  # the last warning covers all that came before it
        # A pause was announced where it began.
        came = max(head.since, self._permits.opens_at("interactive"))
        due = max(came + _LONG_WAIT, self._warned_at + _WARN_AGAIN)
        if now < due:
            return due
        self._warned_at = now
        _log.warning(
            "interactive calls have waited %.0f s for quota: %d of them wait, and %d of the bulk lane; the limit is %s",
            now - head.since,
            self._waiters.count("interactive"),
            self._waiters.count("bulk"),
            self.limit,
        )
        return _NEVER
