"""Which failures are tried again, and after how long; the only module that uses `backoff`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from panelica_async.errors import ConnectError, TransportError
from panelica_async.ratelimit.limit import UNNAMED_WAIT
from panelica_async.telemetry import LOGGER
from panelica_async.transport.call import Call, Reply
from panelica_async.transport.clock import SKEW_TOLERANCE, PanelClock
from panelica_async.transport.exchange import GATEWAY_ERRORS, is_final
from panelica_async.transport.keys import KeyHolder

LONGEST_WAIT: Final = 90.0
"""Seconds: a panel that asks for a longer wait gets an error instead of a sleeping client."""
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
# Of a server in front of the panel, which did not pass the request on: it got none in time, or could not reach the
# panel (from 521 on, Cloudflare).
_NOT_PASSED_ON = {408, 425, 521, 523, 525, 530}
_PASSING = {_TOO_MANY_REQUESTS, _UNAVAILABLE, *GATEWAY_ERRORS, *_NOT_PASSED_ON}


@attrs.frozen(kw_only=True, eq=False)
class Waits:
    """Seconds that a client waits of its own accord."""

    first_retry: float = 0.5
    """Before the first retry, unless the panel asks for more. It doubles with each further one."""
    longest_retry: float = 30.0
    """What the wait before a retry grows to."""
    settle: float = 2.0
    """Between a lost reply and the look for what the call made: the panel may still be working on it."""


@attrs.frozen(eq=False)
class Retry:
    """The outcome of an attempt after which another one follows."""

    wait: float
    """Seconds until the call queues again."""


class RetryPolicy:
    """Decides which failures are tried again.

    | result of the attempt | a read or an idempotent write | any other write | wait |
    |---|---|---|---|
    | no connection | again | again | backoff |
    | no connection: certificate not accepted, or proxy refused | final | final | |
    | sent, no complete reply | again | final | backoff |
    | 401, and the next signature differs in key or time | again, once | again, once | none |
    | 401, any other | final | final | |
    | 429 | again | again | pause of the limiter |
    | 503 that names a wait | again | again | as asked |
    | 503 that names none | again | final | backoff |
    | 502, 504, 520, 522, 524 | again | final | backoff |
    | 408, 425, 521, 523, 525, 530 | again | final | backoff |
    | any other reply | final | final | |

    A reply that breaks off after part of it was passed on is final, too.

    Backoff is 0.5 s, doubled with each attempt up to 30 s, plus up to half of that at random. A wait that the panel
    asks for only lengthens it. A 429 is waited for in the queue of the limiter, which pauses everyone on the key; only
    where the panel asks for less than 0.5 s, or the call is not counted, the call waits by itself.

    A failure is final, too, after `max_retries`, and when the wait is longer than 90 s or `max_wait`, or reaches the
    deadline.

    Args:
        keys: Has the key of the next attempt.
        clock: Has the time of the next signature.
        waits: How long to wait.
    """

    def __init__(self, keys: KeyHolder, clock: PanelClock, waits: Waits) -> None:
        self._keys = keys
        self._clock = clock
        self._waits = waits

    def decide(self, call: Call, failure: Reply | TransportError) -> float | None:
        """Return the wait before the next attempt, or None when a failure is final."""
        own = self._backoff(call)
        if isinstance(failure, TransportError):
            repeatable = (call.repeat.is_safe or isinstance(failure, ConnectError)) and not call.is_passing_on
            return self._within_limits(call, own) if repeatable and not is_final(failure) else None
        if failure.status == _UNAUTHORIZED:
            return 0.0 if self._would_sign_otherwise(call, failure) and not call.was_signed_anew else None
        if failure.status not in _PASSING:
            return None
        asked = call.problem(failure).retry_after
        if failure.status == _TOO_MANY_REQUESTS:
            pause = UNNAMED_WAIT if asked is None else asked
            if call.signed and pause >= self._waits.first_retry:
                return None if self._within_limits(call, pause) is None else 0.0
            return self._within_limits(call, max(own, asked or 0.0))
        is_turned_away = failure.status == _UNAVAILABLE and asked is not None
        return self._within_limits(call, max(own, asked or 0.0)) if call.repeat.is_safe or is_turned_away else None

    def is_free(self, failure: Reply | TransportError) -> bool:
        """Return whether a retry after a failure costs nothing: the limiter paces it, or there is only one."""
        return isinstance(failure, Reply) and failure.status in {_UNAUTHORIZED, _TOO_MANY_REQUESTS}

    def _would_sign_otherwise(self, call: Call, reply: Reply) -> bool:
        if not call.signed:
            return False
        is_off = abs(self._clock.lead - call.clock_lead) > SKEW_TOLERANCE
        return call.key is not self._keys.current or (is_off and call.problem(reply).blames_timestamp)

    def _backoff(self, call: Call) -> float:
        wait = min(self._waits.longest_retry, self._waits.first_retry * 2.0 ** (call.attempts - 1))
        # Upwards only, so that many clients do not come back together.
        return wait * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing

    def _within_limits(self, call: Call, wait: float) -> float | None:
        """Return a wait, or None when the call may not wait so long or has no retries left."""
        left, cap = call.time_left, call.options.max_wait
        if call.attempts - call.was_signed_anew > call.options.max_retries:
            return None
        if wait > (LONGEST_WAIT if cap is None else min(cap, LONGEST_WAIT)) or (left is not None and wait >= left):
            return None
        return wait


class RetryBudget:
    """Keeps a client from storming a panel that is down: calls that succeed at once pay for the retries of others.

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

    def try_spend(self) -> bool:
        """Pay for a retry; return whether there was enough."""
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


async def repeat(attempt: Callable[[], Awaitable[Reply | Retry]], first: Retry, asleep: set[asyncio.Timeout]) -> Reply:
    """Wait, and make further attempts until one is final; return its reply.

    Args:
        attempt: Makes an attempt.
        first: Outcome of the attempt that was made.
        asleep: Holds the call while it waits; a wait ends when its timeout is rescheduled to now.

    Raises:
        TimeoutError: The wait was ended.
    """
    import backoff  # noqa: PLC0415 - only a call that fails needs it

    made = [first]

    # Without backoff's jitter, which would sleep a random part of what the panel asks for.
    @backoff.on_predicate(backoff.runtime, _is_repeated, value=_wait_after, jitter=None, logger=None)
    async def outcome() -> Reply | Retry:
        # backoff sleeps after an outcome that it has seen, so it is shown the first one.
        if made:
            return made.pop()
        asleep.discard(wait)
        try:
            return await attempt()
        finally:
            asleep.add(wait)

    async with asyncio.timeout(None) as wait:
        asleep.add(wait)
        try:
            final = await outcome()
        finally:
            asleep.discard(wait)
    assert isinstance(final, Reply)  # noqa: S101 - backoff goes on after anything else
    return final


def _is_repeated(outcome: Reply | Retry) -> bool:
    return isinstance(outcome, Retry)


def _wait_after(outcome: Retry) -> float:
    return outcome.wait
