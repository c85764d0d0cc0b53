"""The limiter: callers queue here for permits; `shared_limiter` keeps one for each API key and event loop."""

import asyncio
import contextvars
import hashlib
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, NoReturn, Self
from weakref import WeakKeyDictionary, WeakValueDictionary

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import EMPTY, LANES, Lane, QueueDepth, Waiter, WaitQueue, wait_error
from panelica_async.ratelimit.limit import LimiterState, QuotaLeft, RateLimit, read_feedback
from panelica_async.ratelimit.permits import LocalPermits, Permits, permits_for_key

if TYPE_CHECKING:
    from panelica_async.ratelimit.store import Coordinator

__all__ = ["RateLimiter", "shared_limiter"]


class RateLimiter:
    """Lets callers pass as fast as a limit allows: interactive before bulk, first come, first served in each lane.

    A caller takes its permit when it passes. One that is cancelled before has taken none, and the next moves up. A
    single timer, for the head of the queue, serves all.

    While both lanes wait, every fifth permit goes to bulk. While only bulk waits, it leaves a reserve for interactive
    calls, from one permit to four fifths of the minute: see `rules.interactive_reserve`.

    A limiter belongs to the event loop that first uses it, and takes the time from it. It is not thread-safe.

    Args:
        limit: What may be sent.
        learn: Whether the limit follows the panel's replies, see `observe`; False keeps it as it is.
        may_rise: Whether a reply may also lift the limit above `limit`.
        coordinator: Shares the quota with other processes or hosts; None keeps it to this limiter. It is borrowed:
            closing the limiter does not close it.
        quota: A quota that limiters of other event loops in this process use too; it keeps its own limit, and `limit`
            is ignored. It cannot be combined with a coordinator.

    Raises:
        ConfigurationError: `limit` is not a `RateLimit`, or `coordinator` has no method `reserve`.
    """

    def __init__(
        self,
        limit: RateLimit,
        *,
        learn: bool = True,
        may_rise: bool = True,
        coordinator: "Coordinator | None" = None,
        quota: LocalPermits | None = None,
    ) -> None:
        self._permits: Permits
        if coordinator is None:
            self._permits = quota or LocalPermits(limit)
        else:
            from panelica_async.ratelimit.shared import SharedPermits  # noqa: PLC0415  most programs are one process

            self._permits = SharedPermits(limit, coordinator, self._fail_hopeless_waiters)
        self._learn = learn
        self._may_rise = may_rise
        self._on_close: Callable[[], None] | None = None
        self._queue = WaitQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._close_reason: str | None = None
        self._granted = 0

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError(
            "a RateLimiter cannot be pickled or copied: each copy would use up the whole quota. Pass the limiter "
            "itself; other processes share its quota through for_host() or a coordinator"
        )

    @classmethod
    def for_host(cls, limit: RateLimit, *, key: str, learn: bool = True) -> Self:
        """Return a limiter that shares the quota of a key with all processes of this user on this host.

        Closing it closes its file, once no other limiter of the key is open in this process.

        Args:
            limit: What all of them together may send.
            key: Names the quota: the API key, of which only a digest is kept.
            learn: Whether the limit follows the panel's replies.

        Raises:
            ConfigurationError: `limit` is not a `RateLimit`, or `key` is empty; or this user has no home directory, and
                XDG_CACHE_HOME is not set.
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
        return self._queue.size

    @property
    def left(self) -> QuotaLeft:
        """What may still be sent in the windows that end now; with a coordinator, as last reported."""
        return self._permits.left(self._running_loop().time())

    @property
    def closed(self) -> bool:
        """Whether the limiter was closed."""
        return self._close_reason is not None

    def state(self) -> LimiterState:
        """Return the state of the limiter; safe in any thread, after the first caller."""
        now = (self._loop or asyncio.get_running_loop()).time()
        return LimiterState(
            limit=self.limit,
            left=self._permits.left(now),
            waiting=self._queue.depth(),
            oldest=self._queue.longest_waits(now),
            coordination=self._permits.coordination,
        )

    def try_acquire(self, *, lane: Lane = "interactive", loop: asyncio.AbstractEventLoop | None = None) -> bool:
        """Take a permit if one is free and no caller waits; return whether it was taken.

        Args:
            lane: `interactive` for calls for which a user waits, `bulk` for work in the background.
            loop: The running event loop, if the caller has it: getting it takes a system call on Python 3.11.

        Raises:
            ConfigurationError: The limiter is closed, or belongs to another event loop.
            ValueError: There is no such lane.
        """
        if self._close_reason is not None:
            raise ConfigurationError(self._close_reason)
        if lane not in LANES:
            raise ValueError(f"lane must be one of {', '.join(LANES)}, not {lane!r}")
        if loop is None or loop is not self._loop:
            loop = self._running_loop()
        now = loop.time()
        permits = self._permits
        if now >= permits.learnt_until:
            permits.restore_configured()
        if self._queue.size or not permits.try_take(now, lane):
            return False
        self._granted += 1
        return True

    async def acquire(self, *, lane: Lane = "interactive", max_wait: float | None = None, group: object = None) -> None:
        """Wait for a permit and take it.

        Args:
            lane: `interactive` for calls for which a user waits, `bulk` for work in the background.
            max_wait: Seconds the caller may wait; None for no limit. The call fails at once if the expected wait is
                longer, as soon as a pause makes it longer, and at the latest when this time is over.
            group: What the caller belongs to, for `cancel_waiters`.

        Raises:
            RateLimitWaitError: The wait is longer than `max_wait`; no permit was taken.
            ConfigurationError: The limiter is closed, or was closed during the wait; the group was cancelled; or the
                limiter belongs to another event loop.
            ValueError: There is no such lane.
        """
        if self.try_acquire(lane=lane):
            return
        loop = self._running_loop()
        now = loop.time()
        if max_wait is not None:
            self.require_within(max_wait, lane)
        gives_up_at = inf if max_wait is None else now + max_wait
        waiter = Waiter(lane=lane, group=group, queued_at=now, gives_up_at=gives_up_at, turn=loop.create_future())
        expiry = None
        if max_wait is not None:
            expiry = loop.call_at(gives_up_at, self._expire, waiter, context=contextvars.Context())
        self._queue.add(waiter)
        self._wake_next()
        try:
            while True:
                error = await waiter.turn
                if error is not None:
                    raise error
                if self._permits.try_take(loop.time(), lane):
                    break
                # Another event loop took the permit, or a pause began just now.
                waiter.turn = loop.create_future()
                self._wake_next()
            self._granted += 1
        finally:
            if expiry is not None:
                expiry.cancel()
            self._queue.remove(waiter)
            self._wake_next()

    def require_within(self, max_wait: float, lane: Lane = "interactive", ahead: QueueDepth = EMPTY) -> None:
        """Raise `RateLimitWaitError` if `expected_wait` is longer than `max_wait` seconds."""
        if (wait := self.expected_wait(lane, ahead)) > max_wait:
            raise wait_error(wait, max_wait)

    def expected_wait(self, lane: Lane = "interactive", ahead: QueueDepth = EMPTY) -> float:
        """Return how many seconds a caller that came now would wait behind those already waiting.

        The real wait can be a few per cent longer if minute, hour and burst take turns as the strictest rule. With a
        coordinator, the result is an estimate.

        Args:
            lane: Lane of the caller.
            ahead: How many more callers in each lane will join the queue before this one.
        """
        now = self._running_loop().time()
        depth: QueueDepth = {lane: count + ahead[lane] for lane, count in self._queue.depth().items()}
        return self._permits.expected_at(now, lane, depth) - now

    def observe(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        retry_after: float | None = None,
        limit: float | None = None,
        window: str | None = None,
    ) -> None:
        """Learn from a reply of the panel; never raises, whatever the reply contains.

        The limit follows the X-RateLimit headers and the body of a refusal. A limit lower than the configured one
        applies until five minutes after the last reply that names it. If the panel counted more requests than were sent
        here, the difference counts as used by others. After a refusal (429), no caller passes for the wait that it
        names, at most an hour. Then callers pass one by one at half the pace, which is normal again after five minutes.

        Args:
            status: HTTP status.
            headers: Headers of the reply, as a mapping that ignores case.
            retry_after: Seconds to wait, as named in the reply; a minute if a refusal names no wait.
            limit: `limit` in the body of a refusal.
            window: `window` in the body of a refusal: `minute` or `hour`.
        """
        feedback = read_feedback(status, headers, retry_after=retry_after, limit=limit, window=window)
        if feedback is None:
            return
        now = self._running_loop().time()
        if self._learn and self._permits.follow(now, feedback, may_rise=self._may_rise):
            self._wake_next()
        minute_usage, hour_usage = feedback.usage(self.limit)
        others = self._permits.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)
        if feedback.refused:
            self._pause(now, feedback.wait, refused=True)
        elif others and feedback.is_used_up:
            self._pause(now, feedback.wait, refused=False)

    def pause(self, seconds: float) -> None:
        """Stop all callers for some time, such as during maintenance of the panel. A pause never shortens another.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds must be finite and not negative, not {seconds!r}")
        self._pause(self._running_loop().time(), seconds, refused=False)

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on.

        Earlier requests count under the new limit too, and the queue is unchanged.
        """
        self._permits.reconfigure(limit)
        self._wake_next()

    def seed(self, *, minute_usage: int = 0, hour_usage: int = 0) -> None:
        """Count what other processes or earlier runs used, as the panel reports it.

        Requests that passed this limiter are not counted twice.

        Args:
            minute_usage: Requests in the current minute: `current_minute_usage` of `GET /v1/rate-limit`.
            hour_usage: Requests in the current hour: `current_hour_usage` of the same reply.
        """
        now = self._running_loop().time()
        self._permits.count_others(now, minute_usage=minute_usage, hour_usage=hour_usage)

    def cancel_waiters(self, group: object, reason: str = "the client was closed while the call waited") -> None:
        """Fail the waiting callers of a group, such as those of a client that closes."""
        for waiter in self._queue:
            if waiter.group is group:
                waiter.fail(ConfigurationError(reason))
        self._wake_next()

    def close(self, reason: str = "the rate limiter is closed") -> None:
        """Fail all waiting and all future callers. Closing again changes nothing."""
        if self._close_reason is not None:
            return
        self._close_reason = reason
        self._permits.close()
        if self._on_close is not None:
            self._on_close()
        for waiter in self._queue:
            waiter.fail(ConfigurationError(reason))
        self._wake_next()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise ConfigurationError("the rate limiter belongs to another event loop; make one for each loop")
            self._loop = loop
        return loop

    def _pause(self, now: float, seconds: float, *, refused: bool) -> None:
        self._permits.pause(now, seconds, refused=refused)
        self._fail_hopeless_waiters(now)

    def _fail_hopeless_waiters(self, now: float) -> None:
        """Fail the waiters whose `max_wait` can no longer be met, then wake the next one."""
        for waiter in self._queue:
            opens_at = self._permits.opens_at(waiter.lane)
            if opens_at > waiter.gives_up_at:
                waiter.fail(wait_error(opens_at - now, max(0.0, waiter.gives_up_at - now)))
        self._wake_next()

    def _expire(self, waiter: Waiter) -> None:
        """Fail a waiter whose `max_wait` is over."""
        self._wake_next()  # its turn may come at the same instant
        waited = waiter.gives_up_at - waiter.queued_at
        waiter.fail(wait_error(max(waited, self.expected_wait(waiter.lane)), waited))
        self._wake_next()

    def _wake_next(self) -> None:
        """Wake the waiter whose turn it is, or set the timer for when the next caller may pass."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue.size or self._loop is None:
            return
        heads = {lane: self._queue.head(lane) for lane in LANES}
        if any(head is not None and head.turn.done() for head in heads.values()):
            return  # a waiter that was woken calls this again when it has passed
        now = self._loop.time()
        if now >= self._permits.learnt_until:
            self._permits.restore_configured()
        lane, ready_at = self._permits.next_turn(now, self._queue.depth())
        head = heads[lane]
        if head is not None and ready_at <= now:
            head.turn.set_result(None)
            return
        check_stall_at = self._queue.warn_of_stall(now, self._permits.opens_at("interactive"), self.limit)
        wake_at = min(ready_at, self._permits.learnt_until, check_stall_at)
        if wake_at < inf:
            self._timer = self._loop.call_at(wake_at, self._wake_next, context=contextvars.Context())


# The limiters of each event loop, by a digest of the key. A limiter lives as long as a client refers to it, and at most
# as long as its event loop.
_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[bytes, RateLimiter]] = WeakKeyDictionary()


def shared_limiter(
    origin: str, api_key: str, limit: RateLimit, *, learn: bool = True, may_rise: bool = True
) -> RateLimiter:
    """Return the limiter of an API key in the running event loop; those of a key share its quota in this process.

    Keep a reference to it: a limiter without one is deleted.

    Args:
        origin: Scheme, host and port of the panel, such as `https://panel.example.com:8443`.
        api_key: The key; only a digest of it is kept.
        limit: What a new limiter allows. An existing one keeps its limit, which may have come from the panel.
        learn: Whether a new limiter follows the panel's replies.
        may_rise: Whether these may lift it above `limit`.

    Raises:
        RuntimeError: No event loop is running.
    """
    loop = asyncio.get_running_loop()
    limiters = _limiters.setdefault(loop, WeakValueDictionary())
    digest = hashlib.sha256(f"{origin}\n{api_key}".encode()).digest()
    limiter = limiters.get(digest)
    if limiter is None or limiter.closed:
        limiter = RateLimiter(limit, learn=learn, may_rise=may_rise, quota=permits_for_key(digest, limit, loop))
        limiters[digest] = limiter
    return limiter
