"""A sandbox behind a proxy that loses requests and replies on purpose."""

import asyncio
import enum
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from panelica_async.sandbox import Sandbox


class Fault(enum.Enum):
    LOST_REQUEST = "the connection breaks before the panel sees the request"
    LOST_REPLY = "the connection breaks after the panel has done it"
    GATEWAY_BEFORE = "502, and the panel has not seen the request"
    GATEWAY_AFTER = "502, and the panel has done it"
    SERVER_ERROR = "500, and the panel has done nothing"
    SERVER_ERROR_AFTER = "500, and the panel has done it"
    GARBLED_REPLY = "201 with a reply that is cut short"
    LATE = "the connection breaks, and the panel does it only just before the next write"
    HANGS_BEFORE = "nothing ever comes back, and the panel has not seen the request"
    HANGS_AFTER = "nothing ever comes back, and the panel has done it"


_UNSEEN = {Fault.LATE, Fault.LOST_REQUEST, Fault.GATEWAY_BEFORE, Fault.SERVER_ERROR, Fault.HANGS_BEFORE}

Decide = Callable[[int, web.Request], Fault | None]


def at(number: int, fault: Fault) -> Decide:
    """Fail the write of a number, from 1, and no other."""
    return lambda count, _: fault if count == number else None


def every(number: int, fault: Fault) -> Decide:
    """Fail every so many writes."""
    return lambda count, _: fault if count % number == 0 else None


class FaultyPanel:
    """Stands before a sandbox, asks of every write whether it is to fail, and counts them.

    Attributes:
        writes: Writes that came in.
        passwords: Every password that came to the panel.
        reached: Set when a fault happened.
        forbidden: Paths whose lists are refused, such as `/v1/domains`.
    """

    def __init__(self, box: Sandbox, decide: Decide) -> None:
        self.writes = 0
        self.passwords: set[str] = set()
        self.reached = asyncio.Event()
        self.forbidden: set[str] = set()
        self._target = URL(box.base_url).origin()
        self._decide = decide
        self._hanging = asyncio.Event()
        self._late: web.Request | None = None

    @property
    def base_url(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/api/external"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hanging.set()
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.Response:
        fault = None
        if request.method != "GET":
            self.writes += 1
            if self._late is not None:
                late, self._late = self._late, None
                await self._forward(late)
            fault = self._decide(self.writes, request)
        elif any(request.path.endswith(path) for path in self.forbidden):
            return web.json_response({"error": "Not yours", "code": "FORBIDDEN"}, status=403)
        response = None if fault in _UNSEEN else await self._forward(request)
        if fault is not None:
            self.reached.set()
        match fault:
            case Fault.LATE | Fault.LOST_REQUEST | Fault.LOST_REPLY:
                self._late = request if fault is Fault.LATE else None
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case Fault.GATEWAY_BEFORE | Fault.GATEWAY_AFTER:
                return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")
            case Fault.SERVER_ERROR | Fault.SERVER_ERROR_AFTER:
                return web.json_response({"error": "Internal error", "code": "INTERNAL_ERROR"}, status=500)
            case Fault.GARBLED_REPLY:
                return web.Response(status=201, text='{"id": "', content_type="application/json")
            case Fault.HANGS_BEFORE | Fault.HANGS_AFTER:
                await self._hanging.wait()
                return web.Response(status=503)
        assert response is not None
        return response

    async def _forward(self, request: web.Request) -> web.Response:
        headers: dict[str, Any] = {
            name: value for name, value in request.headers.items() if name.lower() not in {"host", "content-length"}
        }
        body = await request.read()
        if b'"password"' in body:
            self.passwords.add(json.loads(body)["password"])
        url = URL(f"{self._target}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            return web.Response(
                status=response.status, body=await response.read(), content_type=response.content_type or None
            )
