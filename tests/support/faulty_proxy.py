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
from tests.support.raw_server import reset


class Fault(enum.Enum):
    UNREAD_REQUEST = "the connection is reset before the request is read"
    LOST_REQUEST = "the connection breaks before the panel sees the request"
    LOST_REPLY = "the connection breaks after the panel has done it"
    GATEWAY_BEFORE = "502, and the panel has not seen the request"
    GATEWAY_AFTER = "502, and the panel has done it"
    GATEWAY_TIMEOUT_AFTER = "504, and the panel has done it"
    SERVER_ERROR = "500, and the panel has done nothing"
    SERVER_ERROR_AFTER = "500, and the panel has done it"
    SERVER_ERROR_LATE = "500, and the panel does it only just before the next write"
    UNAVAILABLE = "503, and the panel has not seen the request"
    COME_BACK = "503 with Retry-After, and the panel has not seen the request"
    OVER_LIMIT = "429 with Retry-After, and the panel has not seen the request"
    OVER_LIMIT_AFTER = "429, and the panel has done it"
    TIMED_OUT_AFTER = "408, and the panel has done it"
    REFUSED = "403 of the panel, which has done nothing"
    CONFLICT = "409 of the panel, which has done nothing"
    REVOKED = "401 of the panel, which has done nothing"
    MISSING_PAGE = "404 with a web page, and the panel has not seen the request"
    MISSING_PAGE_AFTER = "404 with a web page, and the panel has done it"
    FORBIDDEN_PAGE_AFTER = "403 with a web page, and the panel has done it"
    GARBLED_REPLY = "201 with a reply that is cut short"
    CUT_REPLY = "the connection breaks in the middle of the reply, and the panel has done it"
    NO_JSON = "200 with a text that is no JSON, and the panel has done it"
    THIN_REPLY = "200 that says nothing more than success, and the panel has done it"
    EMPTY_PROMISE = "200 that says success, and the panel has done nothing"
    BAD_HEADER = "the right reply with a header that is not UTF-8"
    LATE = "the connection breaks, and the panel does it only just before the next write"
    HANGS_BEFORE = "nothing ever comes back, and the panel has not seen the request"
    HANGS_AFTER = "nothing ever comes back, and the panel has done it"
    HANGS_LATE = "nothing ever comes back, and the panel does it only just before the next write"


_SEEN = {
    Fault.LOST_REPLY,
    Fault.GATEWAY_AFTER,
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.SERVER_ERROR_AFTER,
    Fault.TIMED_OUT_AFTER,
    Fault.OVER_LIMIT_AFTER,
    Fault.MISSING_PAGE_AFTER,
    Fault.FORBIDDEN_PAGE_AFTER,
    Fault.GARBLED_REPLY,
    Fault.CUT_REPLY,
    Fault.NO_JSON,
    Fault.THIN_REPLY,
    Fault.BAD_HEADER,
    Fault.HANGS_AFTER,
}
"""After these the panel has done it."""
_BROKEN = {Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.LATE}
_HANGS = {Fault.HANGS_BEFORE, Fault.HANGS_AFTER, Fault.HANGS_LATE}
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
        if fault in _RAW:
            assert request.transport is not None
            request.transport.write(_RAW[fault](answer))
            request.transport.close()
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


def _error(status: int, error: str, code: str = "", **headers: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"error": error, "code": code}, status=status, headers=headers)


def _page(status: int, title: str) -> Callable[[], web.Response]:
    text = f"<html><title>{title}</title></html>"
    return lambda: web.Response(status=status, text=text, content_type="text/html")


_gateway = _page(502, "Bad Gateway")


def _internal() -> web.Response:
    return web.json_response({"error": "Internal error", "code": "INTERNAL_ERROR"}, status=500)


_ANSWERS: dict[Fault | None, Callable[[], web.Response]] = {
    Fault.GATEWAY_BEFORE: _gateway,
    Fault.GATEWAY_AFTER: _gateway,
    Fault.SERVER_ERROR: _internal,
    Fault.GATEWAY_TIMEOUT_AFTER: _page(504, "Gateway Time-out"),
    Fault.SERVER_ERROR_AFTER: _internal,
    Fault.SERVER_ERROR_LATE: _internal,
    Fault.UNAVAILABLE: _error(503, "Service unavailable"),
    Fault.COME_BACK: _error(503, "Service unavailable", **{hdrs.RETRY_AFTER: "1"}),
    Fault.OVER_LIMIT: _error(429, "Rate limit exceeded", **{hdrs.RETRY_AFTER: "1"}),
    Fault.OVER_LIMIT_AFTER: _error(429, "Rate limit exceeded", **{hdrs.RETRY_AFTER: "0"}),
    Fault.TIMED_OUT_AFTER: _error(408, "Request timed out"),
    Fault.REFUSED: _error(403, "Not allowed", "FORBIDDEN"),
    Fault.CONFLICT: _error(409, "Exists already", "CONFLICT"),
    Fault.REVOKED: _error(401, "Key revoked", "INVALID_API_KEY"),
    Fault.MISSING_PAGE: _page(404, "Not Found"),
    Fault.MISSING_PAGE_AFTER: _page(404, "Not Found"),
    Fault.FORBIDDEN_PAGE_AFTER: _page(403, "Forbidden"),
    Fault.NO_JSON: lambda: web.Response(text="OK"),
    Fault.THIN_REPLY: lambda: web.json_response({"status": "success"}),
    Fault.EMPTY_PROMISE: lambda: web.json_response({"status": "success"}),
    Fault.GARBLED_REPLY: lambda: web.Response(status=201, text='{"id": "', content_type="application/json"),
    Fault.HANGS_BEFORE: lambda: web.Response(status=503),
    Fault.HANGS_AFTER: lambda: web.Response(status=503),
    Fault.HANGS_LATE: lambda: web.Response(status=503),
}


def _raw(response: web.Response, cut: int, header: bytes = b"") -> bytes:
    body = response.body or b""
    assert isinstance(body, bytes)
    head = f"HTTP/1.1 {response.status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + header + b"Connection: close\r\n\r\n" + body[: len(body) - cut]


_RAW: dict[Fault | None, Callable[[web.Response], bytes]] = {
    Fault.CUT_REPLY: lambda response: _raw(response, cut=5),
    Fault.BAD_HEADER: lambda response: _raw(response, cut=0, header=b"X-Request-Id: \xff\xfe\r\n"),
}


def _end_to_end(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    """Return headers without those that are about one connection."""
    kept = CIMultiDict[str](headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
