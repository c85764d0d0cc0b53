"""A server that receives webhook deliveries, and answers as scripted."""

import asyncio
import json
from collections import deque
from typing import Any, Self

import attrs
from aiohttp import web


@attrs.frozen
class Received:
    headers: dict[str, str]
    body: bytes
    method: str

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)
        return data


class Receiver:
    """Answers 200, or the statuses in `answers` first; with `hangs`, it never answers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[int] = deque()
        self.hangs = False
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.received.append(Received(dict(request.headers), await request.read(), request.method))
        if self.hangs:
            await asyncio.sleep(60)
        status = self.answers.popleft() if self.answers else 200
        return web.Response(status=status, headers={"Location": self.url} if status == 302 else {})
