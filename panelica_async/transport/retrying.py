"""The outermost middleware: which failures are tried again, and after how long. The only module that knows backoff.

backoff 2.2.1 is used with a wait generator of ours and without its jitter, which sleeps a random part of `Retry-After`.
"""

import random
from collections.abc import Callable, Generator
from typing import cast

import backoff
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.errors import ConnectError, TransportError
from panelica_async.transport.call import Call
from panelica_async.transport.exchange import GATEWAY_ERRORS, asked_wait, is_certificate_problem

# backoff sends the exception in, but declares that it sends nothing.
_WaitGenerator = Callable[..., Generator[float, None, None]]

LONGEST_WAIT = 90.0
"""Seconds: a panel that asks for a longer wait gets an error instead of a sleeping client."""
_FIRST_WAIT = 0.5
_LONGEST_BACKOFF = 30.0
_REFUSED = 429
_UNAVAILABLE = 503


class _Again(Exception):  # noqa: N818 - a signal to backoff, never seen outside
    """The attempt failed in a way that is tried again after `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


def _waits() -> Generator[float, _Again, None]:
    """Yield the wait that the failed attempt asks for; backoff sends the exception in."""
    failure = yield 0.0
    while True:
        failure = yield failure.wait


class RetryMiddleware:
    """Repeats attempts that may be repeated.

    Reads and idempotent writes: on connection errors, time-outs, 429, 502, 503 and 504. Other writes: only when they
    surely did not run: no connection was made, the panel refused them (429), or said when to come back (503).

    Args:
        call: The call to carry to its outcome.
        max_retries: How often it is tried again.
    """

    def __init__(self, call: Call, max_retries: int) -> None:
        self._call = call
        self._max_retries = max_retries

    @backoff.on_exception(cast("_WaitGenerator", _waits), _Again, jitter=None, logger=None)
    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Make an attempt; asking backoff for another is a matter of `_Again`."""
        self._call.attempts += 1
        try:
            response = await handler(request)
        except TransportError as error:
            error.attempts = self._call.attempts
            wait = self._own_wait()
            if self._may_repeat_after(error) and self._is_allowed(wait):
                raise _Again(wait) from error
            raise
        asked = await self._wait_after(response)
        if asked is not None and self._is_allowed(asked):
            raise _Again(asked)
        return response

    def _may_repeat_after(self, error: TransportError) -> bool:
        if is_certificate_problem(error):
            return False
        return self._call.repeat.is_safe or isinstance(error, ConnectError)

    async def _wait_after(self, response: ClientResponse) -> float | None:
        """Return the wait before the next attempt, or None when the reply is final."""
        status = response.status
        if status not in {_REFUSED, _UNAVAILABLE, *GATEWAY_ERRORS}:
            return None
        asked = await asked_wait(response)
        if status == _REFUSED or self._call.repeat.is_safe or (status == _UNAVAILABLE and asked is not None):
            return self._own_wait() if asked is None else asked
        return None

    def _own_wait(self) -> float:
        wait = min(_LONGEST_BACKOFF, _FIRST_WAIT * 2.0 ** (self._call.attempts - 1))
        # Upwards only, so that many clients do not come back together.
        return wait * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing

    def _is_allowed(self, wait: float) -> bool:
        left = self._call.time_left
        return self._call.attempts <= self._max_retries and wait <= LONGEST_WAIT and (left is None or wait < left)
