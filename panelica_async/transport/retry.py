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
"""Seconds; if the panel asks for a longer wait, the call fails instead of sleeping."""
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
# A server in front of the panel did not pass the request on: it did not receive all of it in time, or could not reach
# the panel (from 521 on it is Cloudflare).
_NOT_PASSED_ON = {408, 425, 521, 523, 525, 530}
_TRANSIENT_STATUSES = {_TOO_MANY_REQUESTS, _UNAVAILABLE, *GATEWAY_ERRORS, *_NOT_PASSED_ON}


@attrs.frozen(kw_only=True, eq=False)
class Waits:
    """Seconds that a client waits without being asked to."""

    first_retry: float = 0.5
    """Before the first retry, unless the panel asks for a longer wait; doubled for each further retry."""
    longest_retry: float = 30.0
    """Upper limit of the wait before a retry."""
    settle: float = 2.0
    """Between a lost reply and the look-up of the created object: the panel may still be creating it."""


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

    A reply that breaks off after a sink has taken part of it is final, too.

    Backoff is 0.5 s, doubled with each attempt up to 30 s, plus up to half of that at random. If the panel asks for a
    longer wait, that counts. After a 429 the call waits in the queue of the limiter, which pauses all calls with the
    key; only if the panel asks for less than 0.5 s, or the call does not count towards the quota, it waits on its own.

    A failure is also final after `max_retries`, and if the wait is longer than 90 s or `max_wait`, or reaches the
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
        backoff = self._backoff(call)
        if isinstance(failure, TransportError):
            repeatable = (call.repeat.is_safe or isinstance(failure, ConnectError)) and not call.is_streaming
            return self._within_limits(call, backoff) if repeatable and not is_final(failure) else None
        if failure.status == _UNAUTHORIZED:
            return 0.0 if self._would_sign_differently(call, failure) and not call.was_re_signed else None
        if failure.status not in _TRANSIENT_STATUSES:
            return None
        retry_after = call.failure_report(failure).retry_after
        if failure.status == _TOO_MANY_REQUESTS:
            pause = UNNAMED_WAIT if retry_after is None else retry_after
            if call.signed and pause >= self._waits.first_retry:
                return None if self._within_limits(call, pause) is None else 0.0
            return self._within_limits(call, max(backoff, retry_after or 0.0))
        was_refused = failure.status == _UNAVAILABLE and retry_after is not None
        repeatable = call.repeat.is_safe or was_refused
        return self._within_limits(call, max(backoff, retry_after or 0.0)) if repeatable else None

    def is_free(self, failure: Reply | TransportError) -> bool:
        """Return whether a retry costs no budget: after a 429 the limiter paces it, after a 401 there is only one."""
        return isinstance(failure, Reply) and failure.status in {_UNAUTHORIZED, _TOO_MANY_REQUESTS}

    def _would_sign_differently(self, call: Call, reply: Reply) -> bool:
        if not call.signed:
            return False
        clock_has_moved = abs(self._clock.lead - call.clock_lead) > SKEW_TOLERANCE
        return call.key is not self._keys.current or (clock_has_moved and call.failure_report(reply).blames_timestamp)

    def _backoff(self, call: Call) -> float:
        wait = min(self._waits.longest_retry, self._waits.first_retry * 2.0 ** (call.attempts - 1))
        # Only ever longer, and random, so that many clients do not return at the same moment.
        return wait * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing

    def _within_limits(self, call: Call, wait: float) -> float | None:
        """Return the wait, or None if the call may not wait so long or has no retries left."""
        time_left, max_wait = call.time_left, call.options.max_wait
        if call.attempts - call.was_re_signed > call.options.max_retries:
            return None
        if wait > (LONGEST_WAIT if max_wait is None else min(max_wait, LONGEST_WAIT)):
            return None
        return None if time_left is not None and wait >= time_left else wait


class RetryBudget:
    """Keeps a client from storming a panel that is down: calls whose first attempt succeeds pay for retries of others.

    The budget begins with 100 retries. Five calls that succeed at the first attempt earn another one, so in the long
    run at most every sixth request is a retry. Retries after a 429 are free: the limiter paces them.
    """

    CAPACITY = 100
    """Retries in a full budget."""
    _PRICE = 5
    """Calls that must succeed to earn a retry."""
    _REFILLED = 10
    """Retries that an empty budget must regain before the log reports it."""

    def __init__(self) -> None:
        self._balance = self.CAPACITY * self._PRICE
        self._is_exhausted = False

    @property
    def left(self) -> int:
        """How many retries the budget still pays for."""
        return self._balance // self._PRICE

    def earn(self) -> None:
        """Note a call whose first attempt succeeded."""
        if self._balance < self.CAPACITY * self._PRICE:
            self._balance += 1
            if self._is_exhausted and self._balance >= self._REFILLED * self._PRICE:
                self._is_exhausted = False
                LOGGER.info("the retry budget is filling up: failed calls are repeated again")

    def try_spend(self) -> bool:
        """Pay for a retry; return whether the budget sufficed."""
        if self._balance < self._PRICE:
            if not self._is_exhausted:
                self._is_exhausted = True
                LOGGER.warning(
                    "the retry budget is empty: %d calls failed and too few succeeded; "
                    "until more do, failed calls raise at once",
                    self.CAPACITY,
                )
            return False
        self._balance -= self._PRICE
        return True


async def keep_retrying(
    attempt: Callable[[], Awaitable[Reply | Retry]], first: Retry, waits: set[asyncio.Timeout]
) -> Reply:
    """Wait and make further attempts until one is final; return its reply.

    Args:
        attempt: Makes an attempt.
        first: Outcome of the first attempt.
        waits: Holds a timeout while the call waits; rescheduling it to now ends the wait.

    Raises:
        TimeoutError: The wait was ended.
    """
    import backoff  # noqa: PLC0415 - only a call that fails needs it

    unseen = [first]

    # Without backoff's jitter, which would sleep only a random part of the wait that the panel asks for.
    @backoff.on_predicate(backoff.runtime, _is_retry, value=_wait_before, jitter=None, logger=None)
    async def next_outcome() -> Reply | Retry:
        # backoff waits only after outcomes that it has seen: show it the first one.
        if unseen:
            return unseen.pop()
        waits.discard(wait)
        try:
            return await attempt()
        finally:
            waits.add(wait)

    async with asyncio.timeout(None) as wait:
        waits.add(wait)
        try:
            final = await next_outcome()
        finally:
            waits.discard(wait)
    assert isinstance(final, Reply)  # noqa: S101 - backoff goes on after anything else
    return final


def _is_retry(outcome: Reply | Retry) -> bool:
    return isinstance(outcome, Retry)


def _wait_before(retry: Retry) -> float:
    return retry.wait
