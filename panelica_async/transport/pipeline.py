"""The stages of a call: the quota of its key, a connection slot, a permit, the attempt, a retry.

aiohttp sees one request with one middleware, in which all attempts are made: the body of an upload is sent again, and
aiohttp's own repetition of idempotent requests finds nothing to repeat.
"""

import asyncio
import importlib
import io
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from math import inf

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from panelica_async.core.address import Address
from panelica_async.errors import (
    ConfigurationError,
    PanelicaError,
    RateLimitWaitError,
    RequestTimeoutError,
    TransportError,
)
from panelica_async.transport.call import Call, CallOptions, Reply, outcome_unknown
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.exchange import Exchange
from panelica_async.transport.keys import KeyHolder, KeyQuota
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.retry import Retry, RetryBudget, RetryPolicy, Waits, repeat
from panelica_async.transport.session import SessionHolder, TlsSetting, to_aiohttp_ssl
from panelica_async.transport.signing import RequestSigner
from panelica_async.transport.timeouts import Deadline, SharedTimeouts

_CONNECT_TIMEOUT = 10.0
"""Seconds to make a connection, TLS included."""
_DEADLINE_HINT = "Allow the call more time with deadline=; waits for quota and for retries count."
_SHARE_FOR_QUOTA = 0.1
"""The part of its time that a call waits at most for what the panel says about the quota."""
_JSON = "application/json"
_CONTENT_TYPE = (hdrs.CONTENT_TYPE,)
_LARGE = 256 * 1024
"""Bytes of a body from which on it is written in pieces."""
_NEEDED_BY_FAILURES = (
    "backoff",
    "panelica_async.core.error_replies",
    "panelica_async.telemetry.events",
)
"""Modules that importing the client leaves out. They load with the first client and not with the first failure: a
process that has run out of file descriptors could not load them then."""
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429


class Transport:
    """Sends calls. A client and its variants share one, with session, key, clock, figures and retry budget.

    Args:
        address: Where the panel is.
        sessions: The aiohttp session.
        keys: Has the API key.
        ssl: How to verify the panel's certificate.
        user_agent: User-Agent header.
        clock: The panel's time.

    Raises:
        ConfigurationError: `ssl` is something else.
    """

    waits: Waits = Waits()
    """How long to wait before retries and look-ups; tests shorten it."""

    def __init__(
        self,
        *,
        address: Address,
        sessions: SessionHolder,
        keys: KeyHolder,
        ssl: TlsSetting,
        user_agent: str,
        clock: PanelClock,
    ) -> None:
        for module in _NEEDED_BY_FAILURES:
            importlib.import_module(module)
        self.keys = keys
        self.clock = clock
        self.monitor: Monitor = Monitor()
        self.timeouts: SharedTimeouts = SharedTimeouts()
        self.budget: RetryBudget = RetryBudget()
        self._sessions = sessions
        self._signer = RequestSigner(address, clock)
        self._exchange = Exchange(sessions, self._signer, clock, self.monitor)
        self._retry = RetryPolicy(keys, clock, self.waits)
        # The waits before retries, which `close` ends.
        self._asleep = set[asyncio.Timeout]()
        self._ssl = to_aiohttp_ssl(ssl)
        self._headers = {hdrs.ACCEPT: _JSON, hdrs.USER_AGENT: user_agent}
        self._json_headers = {**self._headers, hdrs.CONTENT_TYPE: _JSON}

    @property
    def host(self) -> str:
        """Host of the panel."""
        return self._signer.origin.host or ""

    def send(self, call: Call) -> Awaitable[Reply]:
        """Send a call; return its last reply, whatever the status.

        Raises:
            TransportError: No complete reply came back; the call had no effect, or was a read.
            OutcomeUnknownError: A write was sent and no reply came.
            RateLimitWaitError: The quota is free only after the deadline, or later than the call may wait.
            ConfigurationError: The client is closed, or used from another event loop.
        """
        deadline = call.options.deadline
        return self._send(call) if deadline is None else self._send_in_time(call, deadline)

    async def _send_in_time(self, call: Call, deadline: float) -> Reply:
        call.deadline_at = call.loop.time() + deadline
        try:
            async with Deadline(call.deadline_at) as call.deadline_timer:
                return await self._send(call)
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            problem = f"the deadline of {call.options.original_deadline or deadline:g} s has passed"
            # No variable holds the new error: with its traceback it would be a cycle that keeps the call alive.
            if call.is_uncertain:
                raise outcome_unknown(call, self.clock, problem) from _overdue(call, problem, error)
            raise _overdue(call, problem, error)  # noqa: B904 - it has its cause
        except asyncio.CancelledError as error:
            self._explain(call, error)
            raise

    async def _send(self, call: Call) -> Reply:
        try:
            session, request = self._sessions.session(call.loop), call.request
            if call.signed and self.keys.current.quota.ask_at <= call.began_at and call.options.learns_quota:
                await self.keys.learn_quota(self, within=_SHARE_FOR_QUOTA * _time_of(call.options))
                # The client may have been closed meanwhile; aiohttp would raise an error of its own.
                self._sessions.require_open()
            final: Reply | None = None

            async def attempts(outgoing: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
                nonlocal final
                # Here and not as headers=, which aiohttp takes several times as long to copy.
                outgoing.headers.update(self._headers if request.body is None else self._json_headers)
                if call.sink is not None:
                    # Compressed, it has no length: a file that breaks off could not be told from a whole one.
                    outgoing.headers[hdrs.ACCEPT_ENCODING] = "identity"
                outcome = await self._attempt(call, outgoing, handler)
                if isinstance(outcome, Retry):
                    outcome = await self._repeat(partial(self._attempt, call, outgoing, handler), outcome)
                final = outcome
                return outcome.response

            body: bytes | io.BytesIO | aiohttp.Payload | None = call.upload if request.body is None else request.body
            if isinstance(body, bytes) and len(body) > _LARGE:
                # aiohttp would write all of it at once.
                body = io.BytesIO(body)
            # aiohttp would call the body of a POST without one application/octet-stream.
            is_empty = body is None and request.method in ClientRequest.POST_METHODS
            # Not `async with`: the reply was read to its end, or closed, when this returns.
            await session.request(
                request.method,
                self._signer.address(call),
                data=body,
                skip_auto_headers=_CONTENT_TYPE if is_empty else None,
                allow_redirects=False,
                # A borrowed session may raise by itself, and lose the panel's explanation.
                raise_for_status=False,
                ssl=self._ssl,
                timeout=_connect_within(call.options.timeout),
                middlewares=(attempts,),
            )
            assert final is not None  # noqa: S101 - aiohttp returns what the middleware returned
            return final
        except PanelicaError as error:
            # An earlier attempt may have taken effect, whatever stopped this one.
            if call.is_uncertain:
                raise outcome_unknown(call, self.clock, error.message) from error
            raise
        except asyncio.CancelledError as error:
            # With a deadline, `_send_in_time` sees which of the two ended the call.
            if call.deadline_timer is None:
                self._explain(call, error)
            raise

    def _explain(self, call: Call, cancellation: asyncio.CancelledError) -> None:
        """Let a cancellation say what it interrupted."""
        if call.is_uncertain:
            cancellation.__cause__ = outcome_unknown(call, self.clock, "it was cancelled on its way")

    async def _attempt(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> Reply | Retry:
        """Make an attempt when it is its turn; return its reply, or that another attempt follows."""
        call.attempts += 1
        slots, lane, signed = self._sessions.slots, call.options.lane, call.signed
        # The slot comes first: a request that has its share of the quota never waits for a connection.
        if signed and not slots.try_acquire(lane):
            await self._wait_for_slot(call)
        try:
            # The client may have been closed meanwhile: then the attempt takes no quota.
            self._sessions.require_open()
            if signed:
                if not self.keys.current.quota.limiter.try_acquire(lane=lane, loop=call.loop):
                    await self._wait_for_quota(call)
                call.key = self.keys.current
            reply = await self._exchange(call, request, handler)
        except TransportError as error:
            error.attempts = call.attempts
            again = self._again(call, error)
            if again is None:
                raise
            return again
        finally:
            if signed:
                slots.release(lane)
        if reply.status >= 400:
            self._learn(call, reply)
            return self._again(call, reply) or reply
        # The headers came before the file: what they say about the quota may be minutes old now.
        if call.key is not None and not call.is_passing_on:
            call.key.quota.limiter.observe(reply.status, reply.headers)
        if call.attempts == 1:
            self.budget.earn()
        return reply

    def _learn(self, call: Call, reply: Reply) -> None:
        """Learn what a failure says about quota and time; after a 429 everyone on the key pauses."""
        if call.key is None:
            return
        limiter, status, headers = call.key.quota.limiter, reply.status, reply.headers
        if status == _TOO_MANY_REQUESTS:
            report = call.problem(reply)
            limiter.observe(status, headers, retry_after=report.retry_after, limit=report.limit, window=report.window)
            self.monitor.throttled(call, report)
            return
        limiter.observe(status, headers)
        if status == _UNAUTHORIZED and not call.was_signed_anew and call.problem(reply).blames_timestamp:
            self.clock.follow()

    def _again(self, call: Call, failure: Reply | TransportError) -> Retry | None:
        """Return that another attempt follows a failure, and pay for it; None when the failure is final."""
        if isinstance(failure, TransportError) and call.is_uncertain:
            # Closing the client cuts off the calls in flight; the error must not blame the server for it.
            self._sessions.require_open()
        wait = self._retry.decide(call, failure)
        if wait is None:
            return None
        # The client may have been closed meanwhile: then nothing is waited for.
        self._sessions.require_open()
        if not (self._retry.is_free(failure) or self.budget.try_spend()):
            return None
        if isinstance(failure, Reply) and failure.status == _UNAUTHORIZED:
            call.was_signed_anew = True
        self.monitor.retried(call, wait, failure)
        return Retry(wait)

    async def _repeat(self, attempt: Callable[[], Awaitable[Reply | Retry]], first: Retry) -> Reply:
        try:
            return await repeat(attempt, first, self._asleep)
        except TimeoutError:
            # That of an attempt, unless the client was closed during the wait before it.
            self._sessions.require_open()
            raise

    async def _wait_for_slot(self, call: Call) -> None:
        slots, lane, queued_at = self._sessions.slots, call.options.lane, _now()
        max_wait = call.longest_wait
        limiter = self.keys.current.quota.limiter
        if max_wait is not None:
            # Every call that waits for a slot will wait for quota too.
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
        passed = False
        while not passed:
            passed = await self._passes(call, self.keys.current.quota)
            # The client may have been closed meanwhile.
            self._sessions.require_open()

    async def _passes(self, call: Call, quota: KeyQuota) -> bool:
        """Wait for a quota; return whether it is still that of the key."""
        queued_at = _now()
        try:
            await quota.limiter.acquire(lane=call.options.lane, max_wait=call.longest_wait, group=self)
        except ConfigurationError:
            # When a key is replaced, the calls that wait for its quota are cancelled, and wait for that of the new one.
            if quota is self.keys.current.quota:
                raise
        finally:
            call.queued_for += _now() - queued_at
        return quota is self.keys.current.quota

    async def close(self) -> None:
        """Refuse what waits for a retry or for quota, then close the session if it is ours."""
        self._sessions.stop()
        while self._asleep:
            self._asleep.pop().reschedule(_now())
        await self.keys.current.quota.close(self)
        self.timeouts.close()
        await self._sessions.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that `close` was never called."""
        self._sessions.warn_if_open(owner)


def _overdue(call: Call, problem: str, cause: TimeoutError) -> RequestTimeoutError:
    """Return the error for a call whose deadline has passed, with its cause."""
    late = RequestTimeoutError(problem, method=call.method, path=call.path, attempts=call.attempts, hint=_DEADLINE_HINT)
    late.__cause__ = cause
    return late


def _now() -> float:
    return asyncio.get_running_loop().time()


@lru_cache(maxsize=64)
def _connect_within(timeout: float) -> aiohttp.ClientTimeout:
    # Shorter than the timeout of the attempt, to tell a host that does not answer from one that took the request.
    return aiohttp.ClientTimeout(total=None, connect=min(_CONNECT_TIMEOUT, timeout / 2))


def _time_of(options: CallOptions) -> float:
    """Return how many seconds a call may take or wait at most."""
    return min(inf if limit is None else limit for limit in (options.deadline, options.max_wait))
