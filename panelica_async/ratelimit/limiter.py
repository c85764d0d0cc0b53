"""A queue in front of a quota."""

import asyncio
from collections import OrderedDict
from math import isfinite

from panelica_async.errors import ConfigurationError, RateLimitWaitError
from panelica_async.ratelimit.limits import RateLimit
from panelica_async.ratelimit.quota import Quota

__all__ = ["RateLimiter"]


class RateLimiter:
    """Lets callers pass as fast as a limit allows, first come, first served.

    Waiting costs nothing: one timer is set, for the head of the queue. A place in the quota is taken at
    the moment a caller goes on its way, so one that is cancelled while it waits has taken nothing, and
    the next moves up.

    A limiter belongs to the event loop that first uses it, and takes the time from it. It is not thread-safe.

    Args:
        limit: What may be sent.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._quota = Quota(limit)
        # In order of arrival. A turn ends with None (go) or with the reason for a refusal.
        self._queue: OrderedDict[asyncio.Future[str | None], object] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paused_until = float("-inf")
        self._closed: str | None = None
        self._granted = 0

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"granted={self.granted} waiting={self.waiting}"
        return f"<RateLimiter {self.limit} {state}>"

    @property
    def limit(self) -> RateLimit:
        """What may be sent."""
        return self._quota.limit

    @property
    def granted(self) -> int:
        """How many callers have passed."""
        return self._granted

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether the limiter was closed."""
        return self._closed is not None

    async def acquire(self, *, max_wait: float | None = None, owner: object = None) -> None:
        """Wait for a place in the quota and take it.

        Args:
            max_wait: Seconds the caller is willing to wait, by what is expected at this moment; None for
                as long as it takes. A pause or a lower limit that comes later can still make the wait
                longer.
            owner: On whose behalf the caller waits, for `dismiss`.

        Raises:
            RateLimitWaitError: The expected wait is longer than `max_wait`; no place was taken.
            ConfigurationError: The limiter is closed, or was closed during the wait; the owner was dismissed;
                or the limiter belongs to another event loop.
        """
        loop = self._running_loop()
        if self._closed is not None:
            raise ConfigurationError(self._closed)
        now = loop.time()
        if not self._queue and self._ready_at(now) <= now:
            self._grant(now)
            return
        if max_wait is not None and (wait := self.expected_wait()) > max_wait:
            raise RateLimitWaitError(
                f"The next free place in the quota is {wait:.1f} s away, the call may wait {max_wait:.1f} s.",
                wait=wait,
                limit=max_wait,
            )
        turn: asyncio.Future[str | None] = loop.create_future()
        self._queue[turn] = owner
        if len(self._queue) == 1:
            self._attend()
        try:
            refusal = await turn
            if refusal is not None:
                raise ConfigurationError(refusal)
            self._grant(loop.time())
        finally:
            del self._queue[turn]
            self._attend()

    def expected_wait(self) -> float:
        """Return how many seconds a caller who came now would wait behind those already waiting.

        Where several limits take turns in holding up the queue, the wait can become a few per cent longer.
        """
        now = self._running_loop().time()
        return self._ready_at(now, len(self._queue)) - now

    def pause(self, seconds: float) -> None:
        """Let nobody pass for some time, as after a 429. A pause never shortens another.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds: must be finite and not negative, not {seconds!r}")
        self._paused_until = max(self._paused_until, self._running_loop().time() + seconds)

    def reconfigure(self, limit: RateLimit) -> None:
        """Apply another limit from now on.

        What was sent before counts under the new limit too, and everybody who waits keeps their place.
        """
        self._quota = Quota(limit, after=self._quota)
        self._attend()

    def seed(self, *, minute_usage: int = 0, hour_usage: int = 0) -> None:
        """Count what other processes or earlier runs used, as the panel reports it.

        Requests that passed this limiter are not counted twice.

        Args:
            minute_usage: Requests in the current minute: `current_minute_usage` of `GET /v1/rate-limit`.
            hour_usage: Requests in the current hour: `current_hour_usage` of the same reply.
        """
        self._quota.seed(self._running_loop().time(), minute_usage=minute_usage, hour_usage=hour_usage)

    def dismiss(self, owner: object, reason: str = "The client was closed while the call waited.") -> None:
        """Refuse those who wait on behalf of an owner, such as a client that closes while others go on."""
        for turn, its_owner in self._queue.items():
            if its_owner is owner and not turn.done():
                turn.set_result(reason)
        self._attend()

    def close(self, reason: str = "The rate limiter is closed.") -> None:
        """Refuse everybody who waits and everybody who comes. Closing again changes nothing."""
        if self._closed is not None:
            return
        self._closed = reason
        for turn in self._queue:
            if not turn.done():
                turn.set_result(reason)
        self._attend()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ConfigurationError("This rate limiter belongs to another event loop; each loop needs its own.")
        return loop

    def _ready_at(self, now: float, ahead: int = 0) -> float:
        return self._quota.ready_at(max(now, self._paused_until), ahead)

    def _grant(self, now: float) -> None:
        self._quota.take(now)
        self._granted += 1

    def _attend(self) -> None:
        """Call the head of the queue, or set the timer for when to try again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        head = next(iter(self._queue), None)
        if head is None or head.done():  # one that is done goes on in a moment, and then calls this
            return
        loop = head.get_loop()
        now = loop.time()
        ready = self._ready_at(now)
        if ready <= now:
            head.set_result(None)
        else:
            self._timer = loop.call_at(ready, self._attend)
