"""The ends of the middleware chain, for tests in virtual time: no sockets, replies and failures as told."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession
from multidict import CIMultiDict, CIMultiDictProxy

from panelica_async.core.operation import Repeat
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import Signer
from panelica_async.ratelimit import RateLimiter
from panelica_async.ratelimit.lanes import LanedSemaphore
from panelica_async.transport.call import Call, CallOptions, Middleware, RawReply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.pipeline import LimitingMiddleware
from panelica_async.transport.retry import RetryBudget, RetryMiddleware
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.timeouts import AttemptTimeouts


class StubRequest:
    """What the middlewares use of a request; the signer needs a real one."""

    headers = CIMultiDict[str]()


REQUEST = cast("ClientRequest", StubRequest())


@attrs.frozen
class StubResponse:
    """What the middlewares use of a response."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = b""

    @property
    def content_length(self) -> int:
        return len(self.body)

    async def read(self) -> bytes:
        return self.body


def response(status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> ClientResponse:
    """Make a response."""
    return cast("ClientResponse", StubResponse(status, CIMultiDictProxy(CIMultiDict(headers or {})), body))


class Network:
    """The innermost handler: gives one outcome after the other, the last one for ever."""

    def __init__(self, *outcomes: ClientResponse | BaseException | float) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []
        """When it was called, in seconds of the loop's clock."""

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        self.times.append(now())
        request.response = cast("ClientResponse", self)
        outcome: Any = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return response()
        if isinstance(outcome, BaseException):
            raise outcome
        return cast("ClientResponse", outcome)

    @property
    def waits(self) -> list[float]:
        """Seconds between one call and the next."""
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


class OpenSessions(SessionHolder):
    """Sessions that are never needed, with so many slots."""

    def __init__(self, slots: int = 100) -> None:
        super().__init__(None)
        self.slots = LanedSemaphore(slots)

    def session(self) -> ClientSession:
        return cast("ClientSession", None)


def now() -> float:
    """Return the time of the loop's clock."""
    return asyncio.get_running_loop().time()


def call(repeat: Repeat = Repeat.READ, *, deadline: float | None = None, **options: Any) -> Call:
    """Make a call whose deadline is so many seconds away."""
    return Call(
        operation="things.do",
        request=PreparedRequest(method="GET" if repeat is Repeat.READ else "POST", path="/v1/things"),
        repeat=repeat,
        options=CallOptions(deadline=deadline, **options),
        timeouts=AttemptTimeouts(30),
        deadline_at=None if deadline is None else now() + deadline,
    )


def holder(limiter: RateLimiter) -> KeyHolder:
    """Return the key of a client whose limiter is given."""
    quota = KeyQuota("https://panel.example.com", "pk_test_0123", tier="starter", given=limiter)
    return KeyHolder(ApiKey(Signer("pk_test_0123", "sk_test_0123"), quota))


async def exchange(of: Call, request: ClientRequest, network: ClientHandlerType) -> ClientResponse:
    """Leave the reply in the call, as the innermost middleware does."""
    reply = await network(request)
    of.reply = RawReply(status=reply.status, headers=reply.headers, body=await reply.read())
    return reply


async def retried(of: Call, network: ClientHandlerType, inner: Middleware = exchange, **parts: Any) -> int:
    """Run the retry middleware and return the status it ends with.

    Args:
        of: The call.
        network: What makes attempts.
        inner: What lies between the two.
        parts: Budget or clock, where they matter.
    """
    given = {"budget": RetryBudget(), "clock": PanelClock(), "monitor": Monitor(), **parts}
    return (await RetryMiddleware(inner, **given)(of, REQUEST, network)).status


async def limited(
    of: Call, network: ClientHandlerType, limiter: RateLimiter, sessions: SessionHolder, owner: object
) -> int:
    """Run retry and limiter before a network, as the transport puts them together."""
    return await retried(of, network, LimitingMiddleware(exchange, holder(limiter), sessions, Monitor(), owner))
