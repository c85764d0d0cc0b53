"""The middleware that waits for quota before each attempt, and tells the limiter of every refusal."""

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.ratelimit import RateLimiter
from panelica_async.transport.call import Call
from panelica_async.transport.exchange import asked_wait
from panelica_async.transport.sessions import SessionHolder

_TOO_MANY_REQUESTS = 429
# Guess: a 429 that names no wait is about the minute window, the shortest there is (panel-facts B.6).
_UNNAMED_WAIT = 60.0


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
        # The place comes first: a request that has its share of the quota never waits for a connection.
        async with self._sessions.place():
            await self._limiter.acquire(max_wait=self._call.time_left, owner=self._owner)
            response = await handler(request)
        if response.status == _TOO_MANY_REQUESTS:
            wait = await asked_wait(response)
            # Everybody on the key stops, not only the call that was refused.
            self._limiter.pause(_UNNAMED_WAIT if wait is None else wait)
        return response
