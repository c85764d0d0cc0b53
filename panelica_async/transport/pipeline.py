"""The stages of a call: the quota of its key, a connection slot, a permit, the attempt, a retry.

aiohttp sees a single request, and all attempts are made in its middleware. So the body of an upload can be sent again,
and aiohttp never re-sends an idempotent request on its own.
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
from panelica_async.transport.retry import Retry, RetryBudget, RetryPolicy, Waits, keep_retrying
from panelica_async.transport.session import SessionHolder, TlsSetting, to_aiohttp_ssl
from panelica_async.transport.signing import RequestSigner
from panelica_async.transport.timeouts import Deadline, SharedTimeouts

_CONNECT_TIMEOUT = 10.0
"""Seconds to make a connection, TLS included."""
_DEADLINE_HINT = "Allow the call more time with deadline=; waits for quota and for retries count."
_QUOTA_WAIT_SHARE = 0.1
"""Share of its time for which a call waits at most until the panel has answered the question about the quota."""
_JSON = "application/json"
_CONTENT_TYPE = (hdrs.CONTENT_TYPE,)
_LARGE_BODY = 256 * 1024
"""Bytes of a body from which on it is written in pieces."""
_MODULES_FOR_FAILURES = (
    "backoff",
    "panelica_async.core.error_replies",
    "panelica_async.telemetry.events",
)
"""Modules that importing the client leaves out. They are loaded with the first client, not at the first failure: a
process that is out of file descriptors could not load them any more."""
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429


class Transport:
    """Sends calls. A client and its variants share one, with its session, key, clock, statistics and retry budget.

    Args:
        address: Address of the panel.
        sessions: The aiohttp session.
        keys: Has the API key.
        ssl: How to verify the panel's certificate.
        user_agent: User-Agent header.
        clock: Has the panel's time.

    Raises:
        ConfigurationError: `ssl` is invalid.
    """

    waits: Waits = Waits()
    """How long to wait before retries and look-ups; tests shorten the waits."""

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
        for module in _MODULES_FOR_FAILURES:
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
        # Waits before retries, which `close` ends.
        self._retry_waits = set[asyncio.Timeout]()
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
        return self._send(call) if deadline is None else self._send_with_deadline(call, deadline)

    async def _send_with_deadline(self, call: Call, deadline: float) -> Reply:
        call.deadline_at = call.loop.time() + deadline
        try:
            async with Deadline(call.deadline_at) as call.deadline_timer:
                return await self._send(call)
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            problem = f"the deadline of {call.options.original_deadline or deadline:g} s has passed"
            # Do not store the new error in a variable: its traceback refers to this frame, and the cycle would keep the
            # call alive.
            if call.is_uncertain:
                raise outcome_unknown(call, self.clock, problem) from _deadline_error(call, problem, error)
            raise _deadline_error(call, problem, error)  # noqa: B904 - it has its cause
        except asyncio.CancelledError as error:
            self._explain_cancellation(call, error)
            raise

    async def _send(self, call: Call) -> Reply:
        try:
            session, request = self._sessions.session(call.loop), call.request
            if call.signed and self.keys.current.quota.ask_at <= call.began_at and call.options.learns_quota:
                await self.keys.learn_quota(self, within=_QUOTA_WAIT_SHARE * _max_duration(call.options))
                # The client may have been closed meanwhile, for which aiohttp would raise an error of its own.
                self._sessions.require_open()
            final: Reply | None = None

            async def attempts(outgoing: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
                nonlocal final
                # Not as headers=, which aiohttp takes several times as long to copy.
                outgoing.headers.update(self._headers if request.body is None else self._json_headers)
                if call.sink is not None:
                    # A compressed reply has no length: a file that breaks off would look complete.
                    outgoing.headers[hdrs.ACCEPT_ENCODING] = "identity"
                outcome = await self._attempt(call, outgoing, handler)
                if isinstance(outcome, Retry):
                    outcome = await self._keep_retrying(partial(self._attempt, call, outgoing, handler), outcome)
                final = outcome
                return outcome.response

            body: bytes | io.BytesIO | aiohttp.Payload | None = call.upload if request.body is None else request.body
            if isinstance(body, bytes) and len(body) > _LARGE_BODY:
                # aiohttp would write all of it at once.
                body = io.BytesIO(body)
            # For a POST without a body, aiohttp would add the Content-Type application/octet-stream.
            is_empty_post = body is None and request.method in ClientRequest.POST_METHODS
            # No `async with`: when this returns, the reply has been read to its end, or closed.
            await session.request(
                request.method,
                self._signer.set_url(call),
                data=body,
                skip_auto_headers=_CONTENT_TYPE if is_empty_post else None,
                allow_redirects=False,
                # A borrowed session may be set to raise, which would lose the panel's explanation.
                raise_for_status=False,
                ssl=self._ssl,
                timeout=_connect_timeout(call.options.timeout),
                middlewares=(attempts,),
            )
            assert final is not None  # noqa: S101 - aiohttp returns what the middleware returned
            return final
        except PanelicaError as error:
            # Whatever stopped this attempt, an earlier one may have taken effect.
            if call.is_uncertain:
                raise outcome_unknown(call, self.clock, error.message) from error
            raise
        except asyncio.CancelledError as error:
            # If there is a deadline, `_send_with_deadline` finds out whether it caused the cancellation.
            if call.deadline_timer is None:
                self._explain_cancellation(call, error)
            raise

    def _explain_cancellation(self, call: Call, cancellation: asyncio.CancelledError) -> None:
        """Set the cause of a cancellation that leaves the outcome of a write unknown."""
        if call.is_uncertain:
            cancellation.__cause__ = outcome_unknown(call, self.clock, "it was cancelled on its way")

    async def _attempt(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> Reply | Retry:
        """Wait for slot and permit, and make an attempt; return its reply, or the retry that follows it."""
        call.attempts += 1
        slots, lane, signed = self._sessions.slots, call.options.lane, call.signed
        # The slot comes first: a request that has its permit never waits for a connection.
        if signed and not slots.try_acquire(lane):
            await self._wait_for_slot(call)
        try:
            # If the client was closed meanwhile, the attempt takes no quota.
            self._sessions.require_open()
            if signed:
                if not self.keys.current.quota.limiter.try_acquire(lane=lane, loop=call.loop):
                    await self._wait_for_quota(call)
                call.key = self.keys.current
            reply = await self._exchange(call, request, handler)
        except TransportError as error:
            error.attempts = call.attempts
            retry = self._decide_retry(call, error)
            if retry is None:
                raise
            return retry
        finally:
            if signed:
                slots.release(lane)
        if reply.status >= 400:
            self._learn_from_failure(call, reply)
            return self._decide_retry(call, reply) or reply
        # The headers arrived before the file: what they say about the quota may be minutes old by now.
        if call.key is not None and not call.is_streaming:
            call.key.quota.limiter.observe(reply.status, reply.headers)
        if call.attempts == 1:
            self.budget.earn()
        return reply

    def _learn_from_failure(self, call: Call, reply: Reply) -> None:
        """Learn what a failure says about quota and time; after a 429, all calls with the key pause."""
        if call.key is None:
            return
        limiter, status, headers = call.key.quota.limiter, reply.status, reply.headers
        if status == _TOO_MANY_REQUESTS:
            report = call.failure_report(reply)
            limiter.observe(status, headers, retry_after=report.retry_after, limit=report.limit, window=report.window)
            self.monitor.throttled(call, report)
            return
        limiter.observe(status, headers)
        if status == _UNAUTHORIZED and not call.was_re_signed and call.failure_report(reply).blames_timestamp:
            self.clock.follow()

    def _decide_retry(self, call: Call, failure: Reply | TransportError) -> Retry | None:
        """Return the retry that follows a failure, and pay for it; None if the failure is final."""
        if isinstance(failure, TransportError) and call.is_uncertain:
            # Closing the client cuts off calls in flight; the error must not blame the server for that.
            self._sessions.require_open()
        wait = self._retry.decide(call, failure)
        if wait is None:
            return None
        # If the client was closed meanwhile, there is nothing to wait for.
        self._sessions.require_open()
        if not (self._retry.is_free(failure) or self.budget.try_spend()):
            return None
        if isinstance(failure, Reply) and failure.status == _UNAUTHORIZED:
            call.was_re_signed = True
        self.monitor.retried(call, wait, failure)
        return Retry(wait)

    async def _keep_retrying(self, attempt: Callable[[], Awaitable[Reply | Retry]], first: Retry) -> Reply:
        try:
            return await keep_retrying(attempt, first, self._retry_waits)
        except TimeoutError:
            # It is the timeout of an attempt, unless the client was closed during a wait.
            self._sessions.require_open()
            raise

    async def _wait_for_slot(self, call: Call) -> None:
        slots, lane, queued_at = self._sessions.slots, call.options.lane, _now()
        max_wait = call.longest_wait
        limiter = self.keys.current.quota.limiter
        if max_wait is not None:
            # Each call that waits for a slot will need a permit as well.
            limiter.require_within(max_wait, lane, slots.waiting)
        try:
            async with asyncio.timeout(max_wait):
                await slots.acquire(lane)
        except TimeoutError:
            waited, further_wait = _now() - queued_at, limiter.expected_wait(lane, slots.waiting)
            raise RateLimitWaitError(
                f"The call has waited {waited:.1f} s for its turn, and would wait {further_wait:.1f} s more.",
                wait=waited + further_wait,
                limit=waited,
            ) from None
        finally:
            call.queued_for += _now() - queued_at

    async def _wait_for_quota(self, call: Call) -> None:
        has_permit = False
        while not has_permit:
            has_permit = await self._acquire_permit(call, self.keys.current.quota)
            # The client may have been closed meanwhile.
            self._sessions.require_open()

    async def _acquire_permit(self, call: Call, quota: KeyQuota) -> bool:
        """Wait for a permit; return False if the key was replaced meanwhile, and with it the quota."""
        queued_at = _now()
        try:
            await quota.limiter.acquire(lane=call.options.lane, max_wait=call.longest_wait, group=self)
        except ConfigurationError:
            # Replacing the key cancels the calls that wait for its quota; they then wait for that of the new key.
            if quota is self.keys.current.quota:
                raise
        finally:
            call.queued_for += _now() - queued_at
        return quota is self.keys.current.quota

    async def close(self) -> None:
        """Fail the calls that wait for a retry or for quota, then close the session if it is ours."""
        self._sessions.stop()
        while self._retry_waits:
            self._retry_waits.pop().reschedule(_now())
        await self.keys.current.quota.close(self)
        self.timeouts.close()
        await self._sessions.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that `close` was never called."""
        self._sessions.warn_if_open(owner)


def _deadline_error(call: Call, problem: str, cause: TimeoutError) -> RequestTimeoutError:
    """Return the error for a call whose deadline has passed."""
    error = RequestTimeoutError(
        problem, method=call.method, path=call.path, attempts=call.attempts, hint=_DEADLINE_HINT
    )
    error.__cause__ = cause
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()


@lru_cache(maxsize=64)
def _connect_timeout(timeout: float) -> aiohttp.ClientTimeout:
    # Shorter than the timeout of the attempt, to distinguish a host that does not answer from one that got the request.
    return aiohttp.ClientTimeout(total=None, connect=min(_CONNECT_TIMEOUT, timeout / 2))


def _max_duration(options: CallOptions) -> float:
    """Return how many seconds a call may take, or each of its waits."""
    return min(inf if limit is None else limit for limit in (options.deadline, options.max_wait))
