"""The outermost middleware: which failures are tried again, and after how long. The only module that knows backoff.

backoff 2.2.1 is used with a wait generator of ours and without its jitter, which sleeps a random part of `Retry-After`.
"""

import random
from collections.abc import Callable, Generator
from typing import cast

import backoff
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.errors import ConnectError, TransportError
from panelica_async.telemetry.logs import LOGGER
from panelica_async.transport.call import Call, Middleware, RawReply
from panelica_async.transport.clock import NOTABLE_SKEW, PanelClock
from panelica_async.transport.exchange import GATEWAY_ERRORS, is_final
from panelica_async.transport.monitor import Monitor

# backoff sends the exception in, but declares that it sends nothing.
_WaitGenerator = Callable[..., Generator[float, None, None]]

LONGEST_WAIT = 90.0
"""Seconds: a panel that asks for a longer wait gets an error instead of a sleeping client."""
_FIRST_WAIT = 0.5
_LONGEST_BACKOFF = 30.0
_UNAUTHORIZED = 401
_REFUSED = 429
_UNAVAILABLE = 503
_REPEATED = {_UNAUTHORIZED, _REFUSED, _UNAVAILABLE, *GATEWAY_ERRORS}


class RetryBudget:
    """What keeps a client from storming a panel that is down: retries are paid for by calls that succeed at once.

    It begins with a hundred. Five calls that succeed at once earn another, so in the long run at most every sixth
    request is a retry. Retries after a 429 are free: the limiter paces them.
    """

    CAPACITY = 100
    _PRICE = 5
    _REFILLED = 10

    def __init__(self) -> None:
        self._left = self.CAPACITY * self._PRICE
        self._is_exhausted = False

    @property
    def left(self) -> int:
        """How many retries can be paid for."""
        return self._left // self._PRICE

    def earn(self) -> None:
        """Note a call that succeeded at once."""
        if self._left < self.CAPACITY * self._PRICE:
            self._left += 1
            if self._is_exhausted and self._left >= self._REFILLED * self._PRICE:
                self._is_exhausted = False
                LOGGER.info("the retry budget is filling up: failed calls are repeated again")

    def spend(self) -> bool:
        """Pay for a retry; tell whether there was enough."""
        if self._left < self._PRICE:
            if not self._is_exhausted:
                self._is_exhausted = True
                LOGGER.warning(
                    "the retry budget is empty: %d calls failed and too few succeeded; "
                    "until more do, failed calls raise at once",
                    self.CAPACITY,
                )
            return False
        self._left -= self._PRICE
        return True


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
    surely did not run: no connection was made, the panel refused them (429), or said when to come back (503). A call
    that was not let in (401) is signed anew, once, when the reply blames its timestamp and the clocks differ, or when
    the key was replaced meanwhile.

    Args:
        inner: Makes an attempt, and leaves the reply in the call.
        budget: What the client has left for retries.
        clock: Has learnt the panel's time from the replies.
        monitor: Is told of each retry.
    """

    def __init__(self, inner: Middleware, budget: RetryBudget, clock: PanelClock, monitor: Monitor) -> None:
        self._inner = inner
        self._budget = budget
        self._clock = clock
        self._monitor = monitor

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Make an attempt, and as many more as it takes and is allowed."""
        try:
            response = await self._attempt(call, request, handler)
        except _Again as failure:
            # backoff comes in here and not before: most calls never need it, and each would pay for it.
            return await self._repeat([failure], call, request, handler)
        if response.status < 400:
            self._budget.earn()
        return response

    @backoff.on_exception(cast("_WaitGenerator", _waits), _Again, jitter=None, logger=None)
    async def _repeat(
        self, failed: list[_Again], call: Call, request: ClientRequest, handler: ClientHandlerType
    ) -> ClientResponse:
        """Make more attempts; backoff has to see the one that failed before it came in."""
        if failed:
            raise failed.pop()
        return await self._attempt(call, request, handler)

    async def _attempt(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Make one attempt; asking for another is a matter of `_Again`."""
        call.attempts += 1
        try:
            response = await self._inner(call, request, handler)
        except TransportError as error:
            error.attempts = call.attempts
            wait = _own_wait(call)
            if _may_repeat_after(call, error) and self._is_allowed(call, wait, error):
                self._monitor.retried(call, wait, error)
                raise _Again(wait) from error
            raise
        if call.reply.status in _REPEATED:
            asked = self._wait_after(call, call.reply)
            if asked is not None:
                self._monitor.retried(call, asked)
                raise _Again(asked)
        return response

    def _wait_after(self, call: Call, reply: RawReply) -> float | None:
        """Return the wait before the next attempt, or None when the reply is final."""
        status = reply.status
        if status == _UNAUTHORIZED:
            return self._wait_to_sign_anew(call)
        asked = call.report().retry_after
        if not (status == _REFUSED or call.repeat.is_safe or (status == _UNAVAILABLE and asked is not None)):
            return None
        wait = _wait_at_least(call, asked or 0.0)
        return wait if self._is_allowed(call, wait, reply) else None

    def _wait_to_sign_anew(self, call: Call) -> float | None:
        if call.was_signed_anew:
            return None
        if call.report().blames_timestamp:
            self._clock.follow()
        if not (call.is_of_old_key or self._is_off(call)):
            return None
        call.was_signed_anew = True
        return 0.0

    def _is_off(self, call: Call) -> bool:
        """Return whether the timestamp was refused, and the next one will be notably different."""
        return call.report().blames_timestamp and abs(self._clock.lead - call.clock_lead) > NOTABLE_SKEW

    def _is_allowed(self, call: Call, wait: float, failure: TransportError | RawReply) -> bool:
        """Tell whether another attempt may follow after a wait, and pay for it."""
        left, cap = call.time_left, call.options.max_wait
        if call.attempts - call.was_signed_anew > call.options.max_retries:
            return False
        if wait > (LONGEST_WAIT if cap is None else min(cap, LONGEST_WAIT)) or (left is not None and wait >= left):
            return False
        is_refusal = isinstance(failure, RawReply) and failure.status == _REFUSED
        return is_refusal or self._budget.spend()


def _may_repeat_after(call: Call, error: TransportError) -> bool:
    return not is_final(error) and (call.repeat.is_safe or isinstance(error, ConnectError))


def _wait_at_least(call: Call, asked: float) -> float:
    """Return the wait the panel asks for, if it is long enough: it only lengthens ours."""
    if call.reply.status == _REFUSED and asked >= _FIRST_WAIT:
        return asked  # the limiter spreads what comes back
    return max(_own_wait(call), asked)


def _own_wait(call: Call) -> float:
    wait = min(_LONGEST_BACKOFF, _FIRST_WAIT * 2.0 ** (call.attempts - 1))
    # Upwards only, so that many clients do not come back together.
    return wait * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing
