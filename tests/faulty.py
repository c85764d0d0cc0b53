"""A sandbox behind a proxy that loses requests and replies on purpose."""

import asyncio
import enum
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from panelica_async.sandbox import Sandbox
from tests.transport.raw_server import reset


class Fault(enum.Enum):
    UNREAD_REQUEST = "the connection is reset before the request is read"
    LOST_REQUEST = "the connection breaks before the panel sees the request"
    LOST_REPLY = "the connection breaks after the panel has done it"
    GATEWAY_BEFORE = "502, and the panel has not seen the request"
    GATEWAY_AFTER = "502, and the panel has done it"
    SERVER_ERROR = "500, and the panel has done nothing"
    SERVER_ERROR_AFTER = "500, and the panel has done it"
    UNAVAILABLE = "503, and the panel has not seen the request"
    COME_BACK = "503 with Retry-After, and the panel has not seen the request"
    OVER_LIMIT = "429 with Retry-After, and the panel has not seen the request"
    GARBLED_REPLY = "201 with a reply that is cut short"
    LATE = "the connection breaks, and the panel does it only just before the next write"
    HANGS_BEFORE = "nothing ever comes back, and the panel has not seen the request"
    HANGS_AFTER = "nothing ever comes back, and the panel has done it"


_SEEN = {Fault.LOST_REPLY, Fault.GATEWAY_AFTER, Fault.SERVER_ERROR_AFTER, Fault.GARBLED_REPLY, Fault.HANGS_AFTER}
_BROKEN = {Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.LATE}
_HANGS = {Fault.HANGS_BEFORE, Fault.HANGS_AFTER}
_HOP_BY_HOP = {hdrs.HOST, hdrs.CONNECTION, hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING}

Decide = Callable[[web.Request], Fault | None]


class FaultyProxy:
    """Stands before a sandbox, and asks of every request whether it is to fail.

    Attributes:
        reached: Set when a fault happened.
        unread: How many connections to come are reset as soon as something is sent.
    """

    def __init__(self, box: Sandbox, decide: Decide = lambda _: None, *, listens: bool = True) -> None:
        self.reached = asyncio.Event()
        self.unread = 0.0
        self._target = URL(box.base_url).origin()
        self._decide = decide
        self._listens = listens
        self._hanging = asyncio.Event()

    @property
    def base_url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/api/external"

    async def listen(self) -> None:
        """Take connections; until then they are refused."""
        await self._server.start_serving()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.serve)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, "127.0.0.1", 0, start_serving=self._listens)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hanging.set()
        self._server.close()
        await self._runner.cleanup()
        await self._session.close()

    def _connected(self) -> asyncio.BaseProtocol:
        if self.unread:
            self.unread -= 1
            return _Resetting(self.reached)
        assert self._runner.server is not None
        return self._runner.server()

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request."""
        return await self.fail(request, self._decide(request))

    async def fail(self, request: web.Request, fault: Fault | None) -> web.Response:
        """Answer a request with a fault, or as the panel does."""
        response = await self.forward(request) if fault is None or fault in _SEEN else None
        if fault is not None:
            self.reached.set()
        if fault in _BROKEN:
            reset(request.transport)
            return web.Response()
        if fault in _HANGS:
            await self._hanging.wait()
        answer = _ANSWERS[fault]() if fault in _ANSWERS else response
        assert answer is not None
        return answer

    async def forward(self, request: web.Request) -> web.Response:
        """Let the panel answer."""
        url = URL(f"{self._target}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=_end_to_end(request.headers), data=await request.read(), allow_redirects=False
        ) as response:
            return web.Response(
                status=response.status, headers=_end_to_end(response.headers), body=await response.read() or None
            )


class _Resetting(asyncio.Protocol):
    """Resets a connection at its first byte."""

    def __init__(self, reached: asyncio.Event) -> None:
        self._reached = reached

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reached.set()
        reset(self._transport)


def _error(status: int, error: str, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"error": error}, status=status, headers=headers)


def _gateway() -> web.Response:
    return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")


def _internal() -> web.Response:
    return web.json_response({"error": "Internal error", "code": "INTERNAL_ERROR"}, status=500)


_ANSWERS: dict[Fault | None, Callable[[], web.Response]] = {
    Fault.GATEWAY_BEFORE: _gateway,
    Fault.GATEWAY_AFTER: _gateway,
    Fault.SERVER_ERROR: _internal,
    Fault.SERVER_ERROR_AFTER: _internal,
    Fault.UNAVAILABLE: _error(503, "Service unavailable"),
    Fault.COME_BACK: _error(503, "Service unavailable", **{hdrs.RETRY_AFTER: "1"}),
    Fault.OVER_LIMIT: _error(429, "Rate limit exceeded", **{hdrs.RETRY_AFTER: "1"}),
    Fault.GARBLED_REPLY: lambda: web.Response(status=201, text='{"id": "', content_type="application/json"),
    Fault.HANGS_BEFORE: lambda: web.Response(status=503),
    Fault.HANGS_AFTER: lambda: web.Response(status=503),
}


def _end_to_end(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    """Return headers without those that are about one connection."""
    kept = CIMultiDict[str](headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
