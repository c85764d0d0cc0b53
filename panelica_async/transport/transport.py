"""Carries a prepared request to its outcome."""

import asyncio

import aiohttp
import attrs
from aiohttp import ClientMiddlewareType
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import RequestTimeoutError
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
    """Shared by a client and its variants: session, limiter, signer and the bound on requests in flight.

    Args:
        address: Where the panel is.
        sessions: The aiohttp session.
        signing: The signer; None for a client without a key, which can only call what needs none.
        quota: The limiter of the key.
        ssl: How to verify the panel's certificate.
        user_agent: User-Agent header.
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
        self._ssl = True if ssl is None else ssl
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        # Outside the limiter: a request that has its place in the quota never waits for a connection.
        self._in_flight = asyncio.Semaphore(sessions.in_flight_limit)

    async def send(self, request: PreparedRequest, call: Call, patience: Patience, *, counted: bool) -> RawReply:
        """Send a request and return the reply, whatever its status.

        Args:
            request: What to send.
            call: What is known of it.
            patience: How long it may take.
            counted: Whether it waits for quota.

        Raises:
            TransportError: Nothing came back, and nothing was done.
            OutcomeUnknownError: A write was sent and no reply came.
            RateLimitWaitError: The quota is free only after the deadline.
            ConfigurationError: The client is closed, or used from another event loop.
        """
        session = self._sessions.session()
        if patience.deadline is not None:
            call.deadline_at = asyncio.get_running_loop().time() + patience.deadline
        try:
            async with asyncio.timeout_at(call.deadline_at), self._in_flight:
                return await self._exchange(session, request, call, patience, counted=counted)
        except TimeoutError as error:
            if isinstance(error, RequestTimeoutError):
                raise
            call.may_be_done = call.may_be_done or call.in_flight
            raise call.without_reply(
                RequestTimeoutError(
                    f"the deadline of {patience.deadline:g} s has passed", method=call.method, path=call.path
                )
            ) from error

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        request: PreparedRequest,
        call: Call,
        patience: Patience,
        *,
        counted: bool,
    ) -> RawReply:
        query = f"?{request.query}" if request.query else ""
        headers = self._headers if request.body is None else {**self._headers, "Content-Type": "application/json"}
        async with session.request(
            request.method,
            # Already encoded: yarl must not touch what is going to be signed.
            URL(self._address.url(request.path) + query, encoded=True),
            data=request.body,
            headers=headers,
            allow_redirects=False,
            ssl=self._ssl,
            timeout=_connect_within(patience.timeout),
            middlewares=self._middlewares(call, patience, counted=counted),
        ) as response:
            return RawReply(status=response.status, headers=response.headers, body=await response.read())

    def _middlewares(self, call: Call, patience: Patience, *, counted: bool) -> tuple[ClientMiddlewareType, ...]:
        """Return the chain, outermost first."""
        chain: list[ClientMiddlewareType] = [RetryMiddleware(call, patience.max_retries)]
        if counted:
            chain.append(LimitingMiddleware(call, self._quota.limiter(), self))
        if call.signed:
            chain.append(self._signing)
        return *chain, Exchange(call, patience.timeout)

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
