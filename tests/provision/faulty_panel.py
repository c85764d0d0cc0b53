"""A panel that fails at writes of a number, and notes what came in."""

import json
from collections.abc import Callable

from aiohttp import web

from panelica_async.sandbox import Sandbox
from tests.faulty import Fault, FaultyProxy

__all__ = ["Decide", "Fault", "FaultyPanel", "at", "every"]

Decide = Callable[[int, web.Request], Fault | None]


def at(number: int, fault: Fault) -> Decide:
    """Fail the write of a number, from 1, and no other."""
    return lambda count, _: fault if count == number else None


def every(number: int, fault: Fault) -> Decide:
    """Fail every so many writes."""
    return lambda count, _: fault if count % number == 0 else None


class FaultyPanel(FaultyProxy):
    """Stands before a sandbox, asks of every write whether it is to fail, and counts them.

    Attributes:
        writes: Writes that came in.
        passwords: Every password that came to the panel.
        forbidden: Paths whose lists are refused, such as `/v1/domains`.
    """

    def __init__(self, box: Sandbox, decide: Decide) -> None:
        super().__init__(box)
        self.writes = 0
        self.passwords: set[str] = set()
        self.forbidden: set[str] = set()
        self._decide_write = decide
        self._late: web.Request | None = None

    async def serve(self, request: web.Request) -> web.Response:
        fault = None
        if request.method != "GET":
            self.writes += 1
            if self._late is not None:
                late, self._late = self._late, None
                await self.forward(late)
            fault = self._decide_write(self.writes, request)
            self._late = request if fault is Fault.LATE else None
        elif any(request.path.endswith(path) for path in self.forbidden):
            return web.json_response({"error": "Not yours", "code": "FORBIDDEN"}, status=403)
        return await self.fail(request, fault)

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        if b'"password"' in body:
            self.passwords.add(json.loads(body)["password"])
        return await super().forward(request)
