"""A proxy in front of a sandbox that makes requests and connections fail on purpose."""

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from panelica_async.sandbox import Fault, Faults, Sandbox
from panelica_async.sandbox.faults import FaultChooser, reset

__all__ = ["Fault", "FaultChooser", "FaultyProxy"]

_HOP_BY_HOP = {hdrs.HOST, hdrs.CONNECTION, hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING}


class FaultyProxy:
    """Forwards requests to a sandbox, and makes some of them fail.

    Attributes:
        faults: Chooses and carries out the faults.
        unread: Number of future connections to reset at their first byte.
    """

    def __init__(self, box: Sandbox, choose: FaultChooser | None = None, *, listens: bool = True) -> None:
        self.faults = Faults(choose)
        self.unread = 0.0
        self._target = URL(box.base_url).origin()
        self._listens = listens

    @property
    def reached(self) -> asyncio.Event:
        """Set when a fault has been injected."""
        return self.faults.happened

    @property
    def base_url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/api/external"

    async def listen(self) -> None:
        """Accept connections; until then they are refused."""
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
        self.faults.stop()
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
        return await self.faults.serve(request, self.forward)

    async def fail(self, request: web.Request, fault: Fault | None) -> web.Response:
        """Answer a request with a fault, or as the panel does without one."""
        return await (self.forward(request) if fault is None else self.faults.fail(request, fault, self.forward))

    async def forward(self, request: web.Request) -> web.Response:
        """Return the answer of the panel."""
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


def _end_to_end(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    """Return headers without those of a single connection."""
    kept = CIMultiDict[str](headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
