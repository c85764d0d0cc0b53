"""The real transport over a stub session that replies and fails as scripted, for tests in virtual time."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self, cast

import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.operation import Repeat
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import Signer
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.ratelimit.lanes import LanedSemaphore
from panelica_async.transport.call import Call, CallOptions
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.timeouts import AttemptTimeouts
from tests.support.virtual_time import now

ORIGIN = "https://panel.example.com"


class StubRequest:
    """The part of a request that the transport uses."""

    def __init__(self, method: str = "GET", url: URL | str = f"{ORIGIN}/v1/things") -> None:
        self.method = method
        self.url = URL(url)
        self.headers = CIMultiDict[str]()
        self.response: object = None


@attrs.frozen
class StubResponse:
    """The part of a response that the transport uses."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = b""

    @property
    def content_length(self) -> int:
        return len(self.body)

    @property
    def content(self) -> Self:
        return self

    def is_eof(self) -> bool:
        return True

    def read_nowait(self) -> bytes:
        return self.body


def make_response(status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> ClientResponse:
    """Return a stub response."""
    return cast("ClientResponse", StubResponse(status, CIMultiDictProxy(CIMultiDict(headers or {})), body))


class Network:
    """The innermost handler: returns or raises one outcome after another, and repeats the last one.

    A number is a response after that many seconds.
    """

    def __init__(self, *outcomes: ClientResponse | BaseException | float) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []
        """The time of each request, by the clock of the loop."""

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        self.times.append(now())
        request.response = cast("ClientResponse", self)
        outcome: Any = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return make_response()
        if isinstance(outcome, BaseException):
            raise outcome
        return cast("ClientResponse", outcome)

    @property
    def waits(self) -> list[float]:
        """Seconds between one request and the next."""
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


class StubSession:
    """A session that passes requests through their middleware to a network."""

    def __init__(self, network: ClientHandlerType) -> None:
        self.network = network

    async def request(self, method: str, url: URL, *, middlewares: tuple[Any, ...], **_: object) -> ClientResponse:
        [middleware] = middlewares
        return cast("ClientResponse", await middleware(StubRequest(method, url), self.network))


class StubSessions(SessionHolder):
    """Holds stub sessions of a network, with a number of slots."""

    def __init__(self, network: ClientHandlerType, slots: int = 100) -> None:
        super().__init__(None)
        self.slots = LanedSemaphore(slots)
        self._network = network

    def session(self, _loop: asyncio.AbstractEventLoop) -> ClientSession:
        self.require_open()
        return cast("ClientSession", StubSession(self._network))


def make_call(repeat: Repeat = Repeat.READ, *, signed: bool = True, **options: Any) -> Call:
    """Return a call to send."""
    method = "GET" if repeat is Repeat.READ else "POST"
    made = Call(
        "things.do",
        PreparedRequest(method=method, path="/v1/things"),
        repeat,
        CallOptions(**options),
        AttemptTimeouts(30),
        f"{method} /v1/things",
        signed=signed,
    )
    # Tests of decisions run without a loop.
    with suppress(RuntimeError):
        made.loop = asyncio.get_running_loop()
    return made


def make_keys(limiter: RateLimiter | None = None) -> KeyHolder:
    """Return the key of a client, with no limit unless one is passed in."""
    limiter = limiter or RateLimiter(RateLimit.unlimited())
    quota = KeyQuota(ORIGIN, "pk_test_0123", tier="starter", limiter=limiter)
    return KeyHolder(ApiKey(Signer("pk_test_0123", "sk_test_0123"), quota))


def make_transport(network: ClientHandlerType, limiter: RateLimiter | None = None, *, slots: int = 100) -> Transport:
    """Return a transport over a network, with no limit unless one is passed in."""
    return Transport(
        address=Address.parse(ORIGIN),
        sessions=StubSessions(network, slots),
        keys=make_keys(limiter),
        ssl=None,
        user_agent="tests",
        clock=PanelClock(),
    )


async def send(call: Call, network: ClientHandlerType, limiter: RateLimiter | None = None) -> int:
    """Send a call through a new transport; return the final status."""
    return (await make_transport(network, limiter).send(call)).status
