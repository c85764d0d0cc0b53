"""The middleware that waits for quota before each attempt, and lets the limiter learn from each reply."""

import asyncio

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.errors import ConfigurationError, RateLimitedError, RateLimitWaitError
from panelica_async.ratelimit import Lane
from panelica_async.transport.call import Call
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.middleware import Middleware
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.session import SessionHolder

_TOO_MANY_REQUESTS = 429


class LimitingMiddleware:
    """Lets an attempt pass when the limiter of the key does.

    Args:
        inner: Carries the attempt on.
        keys: Has the key; one that is replaced while the attempt waits is not used any more.
        sessions: Has the slots for attempts that wait for quota or are on their way.
        monitor: Is told of refusals.
        owner: On whose behalf the attempt waits; a closing client dismisses its own.
    """

    def __init__(
        self, inner: Middleware, keys: KeyHolder, sessions: SessionHolder, monitor: Monitor, owner: object
    ) -> None:
        self._inner = inner
        self._keys = keys
        self._sessions = sessions
        self._monitor = monitor
        self._owner = owner

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Wait for quota; raises `RateLimitWaitError` at once when it comes too late for the call."""
        slots, lane = self._sessions.slots, call.options.lane
        # The slot comes first: a request that has its share of the quota never waits for a connection.
        if not slots.try_acquire(lane):
            await self._wait_for_slot(call, lane)
        try:
            # The client may have been closed while this attempt waited for its slot: then it takes no quota.
            self._sessions.require_open()
            if not self._keys.current.quota.limiter().try_acquire(lane=lane):
                await self._wait_for_quota(call)
            key = self._keys.current
            response = await self._inner(call, request, handler)
        finally:
            slots.release(lane)
        call.is_of_old_key = key is not self._keys.current
        self._learn(call, key)
        return response

    async def _wait_for_slot(self, call: Call, lane: Lane) -> None:
        slots, queued_at = self._sessions.slots, _now()
        max_wait = call.longest_wait
        limiter = self._keys.current.quota.limiter()
        if max_wait is not None:
            # Those who wait for a slot will all wait for quota too.
            limiter.require_within(max_wait, lane, slots.waiting)
        try:
            async with asyncio.timeout(max_wait):
                await slots.acquire(lane)
        except TimeoutError:
            waited, wait = _now() - queued_at, limiter.expected_wait(lane, slots.waiting)
            raise RateLimitWaitError(
                f"The call has waited {waited:.1f} s for its turn, and would wait {wait:.1f} s more.",
                wait=waited + wait,
                limit=waited,
            ) from None
        finally:
            call.queued_for += _now() - queued_at

    async def _wait_for_quota(self, call: Call) -> None:
        queued_at = _now()
        try:
            while not await self._passes(call, self._keys.current.quota):
                pass
        finally:
            call.queued_for += _now() - queued_at

    async def _passes(self, call: Call, quota: KeyQuota) -> bool:
        """Wait for a quota; tell whether it is still that of the key."""
        self._sessions.require_open()
        try:
            await quota.limiter().acquire(lane=call.options.lane, max_wait=call.longest_wait, owner=self._owner)
        except ConfigurationError:
            # The quota of a key that is replaced sends away those who wait.
            if quota is self._keys.current.quota:
                raise
        return quota is self._keys.current.quota

    def _learn(self, call: Call, key: ApiKey) -> None:
        """Tell the limiter what the reply says about the quota; after a refusal everybody on the key pauses."""
        reply, limiter = call.reply, key.quota.limiter()
        if reply.status != _TOO_MANY_REQUESTS:
            limiter.observe(reply.status, reply.headers)
            return
        error = call.error()
        assert isinstance(error, RateLimitedError)  # noqa: S101 - what a 429 becomes
        limiter.observe(
            reply.status, reply.headers, retry_after=error.retry_after, limit=error.limit, window=error.window
        )
        self._monitor.throttled(call, error)


def _now() -> float:
    return asyncio.get_running_loop().time()
