"""The middleware that waits for quota before each attempt, and lets the limiter learn from each reply."""

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.core.faults import error_from_response
from panelica_async.errors import RateLimitedError
from panelica_async.ratelimit import RateLimiter
from panelica_async.transport.call import Call
from panelica_async.transport.sessions import SessionHolder

_TOO_MANY_REQUESTS = 429


class LimitingMiddleware:
    """Lets an attempt pass when the limiter does.

    Args:
        call: The call this is an attempt of.
        limiter: The limiter of the key.
        sessions: Has the places for attempts that wait for quota or are on their way.
        owner: On whose behalf the attempt waits; a closing client dismisses its own.
    """

    def __init__(self, call: Call, limiter: RateLimiter, sessions: SessionHolder, owner: object) -> None:
        self._call = call
        self._limiter = limiter
        self._sessions = sessions
        self._owner = owner

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Wait for quota; raises `RateLimitWaitError` at once when the deadline comes first."""
        left = self._call.time_left
        if left is not None:
            # Before waiting for a place behind all those who have one and wait for quota.
            self._limiter.require_within(left)
        # The place comes first: a request that has its share of the quota never waits for a connection.
        async with self._sessions.place():
            await self._limiter.acquire(max_wait=self._call.time_left, owner=self._owner)
            response = await handler(request)
        await self._learn(response)
        return response

    async def _learn(self, response: ClientResponse) -> None:
        """Tell the limiter what the reply says about the quota; after a refusal everybody on the key pauses."""
        status, headers = response.status, response.headers
        error = None
        if status == _TOO_MANY_REQUESTS:
            body = await response.read()
            error = error_from_response(
                status, headers, body, method=self._call.method, path=self._call.path, attempts=self._call.attempts
            )
        if isinstance(error, RateLimitedError):
            self._limiter.observe(
                status, headers, retry_after=error.retry_after, limit=error.limit, window=error.window
            )
        else:
            self._limiter.observe(status, headers)
