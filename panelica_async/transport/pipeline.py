"""Carries a prepared request to its outcome."""

import asyncio
import io
from functools import lru_cache, partial
from math import inf

import aiohttp
from aiohttp import hdrs
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import PanelicaError, RequestTimeoutError
from panelica_async.transport.call import Call
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.exchange import Exchange
from panelica_async.transport.keys import AskQuota, KeyHolder
from panelica_async.transport.limiting import LimitingMiddleware
from panelica_async.transport.lists import Lists
from panelica_async.transport.lost import outcome_unknown
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.options import CallOptions
from panelica_async.transport.retry import RetryBudget, RetryMiddleware
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.signing import SigningMiddleware
from panelica_async.transport.timeouts import SharedTimeouts
from panelica_async.transport.tls import TlsSetting, verification

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
