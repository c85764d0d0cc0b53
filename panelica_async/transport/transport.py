"""Carries a prepared request to its outcome."""

import asyncio
import io
from collections.abc import Awaitable, Callable

import aiohttp
import attrs
from aiohttp import ClientMiddlewareType, hdrs
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import ConfigurationError, PanelicaError, RequestTimeoutError
from panelica_async.transport.call import Call, RawReply
from panelica_async.transport.exchange import Exchange
from panelica_async.transport.limiting import LimitingMiddleware
from panelica_async.transport.quota import KeyQuota
from panelica_async.transport.retrying import RetryMiddleware
from panelica_async.transport.sessions import SessionHolder, TlsSetting
from panelica_async.transport.signing import SigningMiddleware

_CONNECT_TIMEOUT = 10.0
"""Seconds to make a connection, TLS included."""


@attrs.frozen(kw_only=True)
class Patience:
    """How long a call may take."""

    timeout: float
    """Seconds for one attempt, from sending to the last byte of the reply."""
    deadline: float | None
    """Seconds for the whole call with its waits and retries; None for no end."""
    max_retries: int
    """How often a failed attempt is tried again."""


class Transport:
    """Shared by a client and its variants: session, limiter and signer.

    Args:
        address: Where the panel is.
        sessions: The aiohttp session.
        signing: The signer.
        quota: The limiter of the key.
        ssl: How to verify the panel's certificate.
        user_agent: User-Agent header.

    Raises:
        ConfigurationError: `ssl` is something else.
    """

    def __init__(
        self,
        *,
        address: Address,
        sessions: SessionHolder,
        signing: SigningMiddleware,
        quota: KeyQuota,
        ssl: TlsSetting,
        user_agent: str,
    ) -> None:
        self._address = address
        self._sessions = sessions
        self._signing = signing
        self._quota = quota
        if not isinstance(ssl, TlsSetting):
            raise ConfigurationError(f"ssl is a {type(ssl).__name__}; it takes an SSLContext or an aiohttp.Fingerprint")
        self._ssl = True if ssl is None else ssl
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}

    async def send(
        self,
        request: PreparedRequest,
        call: Call,
        patience: Patience,
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> RawReply:
        """Send a request and return the reply, whatever its status.

        Args:
            request: What to send.
            call: What is known of it.
            patience: How long it may take.
            before: Awaited first, within the deadline.

        Raises:
            TransportError: Nothing came back, and nothing was done.
            OutcomeUnknownError: A write was sent and no reply came.
            RateLimitWaitError: The quota is free only after the deadline.
            ConfigurationError: The client is closed, or used from another event loop.
        """
        self._sessions.session()
        if patience.deadline is not None:
            call.deadline_at = asyncio.get_running_loop().time() + patience.deadline
        try:
            async with asyncio.timeout_at(call.deadline_at):
                if before is not None:
                    await before()
                return await self._exchange(request, call, patience)
        except PanelicaError as error:
            # An earlier attempt may have taken effect, whatever stopped this one.
            if call.is_doubtful:
                raise call.outcome_unknown(error.message) from error
            raise
        except TimeoutError as error:
            reason = f"the deadline of {patience.deadline:g} s has passed"
            if call.is_doubtful:
                raise call.outcome_unknown(reason) from error
            raise RequestTimeoutError(reason, method=call.method, path=call.path, attempts=call.attempts) from error

    async def _exchange(self, request: PreparedRequest, call: Call, patience: Patience) -> RawReply:
        query = f"?{request.query}" if request.query else ""
        body = None if request.body is None else io.BytesIO(request.body)
        headers = self._headers if body is None else {**self._headers, hdrs.CONTENT_TYPE: request.content_type}
        async with self._sessions.session().request(
            request.method,
            # Already encoded: yarl must not touch what is going to be signed.
            URL(self._address.url(request.path) + query, encoded=True),
            data=body,
            headers=headers,
            # aiohttp would call the body of a POST without one application/octet-stream.
            skip_auto_headers=[hdrs.CONTENT_TYPE],
            allow_redirects=False,
            # A borrowed session may raise by itself, and lose the panel's explanation.
            raise_for_status=False,
            ssl=self._ssl,
            timeout=_connect_within(patience.timeout),
            middlewares=self._middlewares(call, patience),
        ) as response:
            return RawReply(status=response.status, headers=response.headers, body=await response.read())

    def _middlewares(self, call: Call, patience: Patience) -> tuple[ClientMiddlewareType, ...]:
        """Return the chain, outermost first."""
        retrying = RetryMiddleware(call, patience.max_retries)
        exchange = Exchange(call, patience.timeout, self._sessions)
        if not call.signed:
            return retrying, exchange
        limiting = LimitingMiddleware(call, self._quota.limiter(), self._sessions, owner=self)
        return retrying, limiting, self._signing, exchange

    async def close(self) -> None:
        """Refuse what waits for quota, then close the session if it is ours."""
        self._quota.dismiss(self)
        await self._sessions.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that `close` was never called."""
        self._sessions.warn_if_open(owner)


def _connect_within(timeout: float) -> aiohttp.ClientTimeout:
    # Shorter than the attempt's, so that a host that does not answer is told from one that took the request.
    return aiohttp.ClientTimeout(total=None, connect=min(_CONNECT_TIMEOUT, timeout / 2))
