"""Carries a prepared request to its outcome."""

import asyncio
import io
from functools import lru_cache, partial
from math import inf

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import (
    ConfigurationError,
    PanelicaError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
)
from panelica_async.ratelimit import Lane
from panelica_async.transport.call import Call, CallOptions, Middleware, outcome_unknown
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.exchange import Exchange, Lists
from panelica_async.transport.keys import ApiKey, AskQuota, KeyHolder, KeyQuota
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.retry import RetryBudget, RetryMiddleware
from panelica_async.transport.session import SessionHolder, TlsSetting, verification
from panelica_async.transport.signing import SigningMiddleware
from panelica_async.transport.timeouts import SharedTimeouts

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
            await quota.limiter().acquire(lane=call.options.lane, max_wait=call.longest_wait, group=self._owner)
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


_CONNECT_TIMEOUT = 10.0
"""Seconds to make a connection, TLS included."""
_DEADLINE_HINT = "Allow the call more time with deadline=; waits for quota and for retries count."
_SHARE_FOR_QUOTA = 0.1
"""The part of its time that a call waits at most for what the panel says about the quota."""
_JSON = "application/json"
_CONTENT_TYPE = (hdrs.CONTENT_TYPE,)


class Transport:
    """Shared by a client and its variants: session, key, clock, figures, and what is left for retries.

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
        self.keys = keys
        self.clock = clock
        self.monitor: Monitor = Monitor()
        self.timeouts: SharedTimeouts = SharedTimeouts()
        self.lists: Lists = Lists()
        self._base = str(address)
        self._sessions = sessions
        self.budget: RetryBudget = RetryBudget()
        exchange = Exchange(sessions, clock, self.monitor)
        signing = SigningMiddleware(exchange, keys, address, clock)
        limiting = LimitingMiddleware(signing, keys, sessions, self.monitor, owner=self)
        self._signed = RetryMiddleware(limiting, self.budget, clock, self.monitor)
        self._unsigned = RetryMiddleware(exchange, self.budget, clock, self.monitor)
        self._ssl = verification(ssl)
        self._headers = {hdrs.ACCEPT: _JSON, hdrs.USER_AGENT: user_agent}
        self._json_headers = {**self._headers, hdrs.CONTENT_TYPE: _JSON}

    async def send(self, call: Call, ask_quota: AskQuota | None) -> None:
        """Send a request; the call has the reply then, whatever its status.

        Args:
            call: What to send, and how.
            ask_quota: Asks for the quota of the key while it is not known, beside the call; None for the call that
                asks.

        Raises:
            TransportError: Nothing came back, and nothing was done.
            OutcomeUnknownError: A write was sent and no reply came.
            RateLimitWaitError: The quota is free only after the deadline, or later than the call may wait.
            ConfigurationError: The client is closed, or used from another event loop.
        """
        try:
            if call.options.deadline is None:
                await self._send(call, ask_quota)
            else:
                await self._send_in_time(call, call.options.deadline, ask_quota)
        except PanelicaError as error:
            # An earlier attempt may have taken effect, whatever stopped this one.
            if call.is_doubtful:
                raise outcome_unknown(call, self.clock, error.message) from error
            raise
        except asyncio.CancelledError as error:
            if call.is_doubtful:
                # It stays a cancellation, but says what it interrupted.
                raise error from outcome_unknown(call, self.clock, "it was cancelled on its way")
            raise

    async def _send_in_time(self, call: Call, deadline: float, ask_quota: AskQuota | None) -> None:
        call.deadline_at = asyncio.get_running_loop().time() + deadline
        try:
            async with asyncio.timeout_at(call.deadline_at):
                await self._send(call, ask_quota)
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            reason = f"the deadline of {deadline:g} s has passed"
            raise RequestTimeoutError(
                reason, method=call.method, path=call.path, attempts=call.attempts, hint=_DEADLINE_HINT
            ) from error

    async def _send(self, call: Call, ask_quota: AskQuota | None) -> None:
        session = self._sessions.session()
        if ask_quota is not None and call.signed and self.keys.current.quota.is_due():
            await self.keys.current.quota.learn(ask_quota, within=_SHARE_FOR_QUOTA * _patience(call.options))
            # The client may have been closed meanwhile; aiohttp would say so in its own way.
            self._sessions.require_open()
        request = call.request
        has_body = request.body is not None or call.upload is not None
        # Not `async with`: the reply was read to its end, or closed, when this returns.
        await session.request(
            request.method,
            self._url(request),
            data=io.BytesIO(request.body) if request.body is not None else call.upload,
            headers=self._headers if request.body is None else self._json_headers,
            # aiohttp would call the body of a POST without one application/octet-stream.
            skip_auto_headers=None if has_body or request.method == hdrs.METH_GET else _CONTENT_TYPE,
            allow_redirects=False,
            # A borrowed session may raise by itself, and lose the panel's explanation.
            raise_for_status=False,
            ssl=self._ssl,
            timeout=_connect_within(call.options.timeout),
            # One for aiohttp, which puts a coroutine of its own before each of several.
            middlewares=(partial(self._signed if call.signed else self._unsigned, call),),
        )

    def _url(self, request: PreparedRequest) -> URL:
        target = f"{request.path}?{request.query}" if request.query else request.path
        # Already encoded: yarl must not touch what is going to be signed.
        return URL(self._base + target, encoded=True)

    async def close(self) -> None:
        """Refuse what waits for quota, then close the session if it is ours."""
        self._sessions.stop()
        await self.keys.current.quota.close(self)
        self.timeouts.close()
        await self._sessions.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that `close` was never called."""
        self._sessions.warn_if_open(owner)


@lru_cache(maxsize=64)
def _connect_within(timeout: float) -> aiohttp.ClientTimeout:
    # Shorter than the attempt's, so that a host that does not answer is told from one that took the request.
    return aiohttp.ClientTimeout(total=None, connect=min(_CONNECT_TIMEOUT, timeout / 2))


def _patience(options: CallOptions) -> float:
    return min(inf if limit is None else limit for limit in (options.deadline, options.max_wait))
