"""A panel that fails at chosen writes, and records what it received."""

import json
from collections.abc import Callable

from aiohttp import web

from panelica_async.sandbox import Sandbox
from tests.support.faulty_proxy import Fault, FaultyProxy

__all__ = ["Decide", "Fault", "FaultyPanel", "at", "every", "first"]

Decide = Callable[[int, web.Request], Fault | None]


def at(number: int, fault: Fault) -> Decide:
    """Fail the write of a number, from 1, and no other."""
    return lambda count, _: fault if count == number else None


def every(number: int, fault: Fault) -> Decide:
    """Fail every so many writes."""
    return lambda count, _: fault if count % number == 0 else None


def first(method: str, path: str, fault: Fault, times: int = 1) -> Decide:
    """Fail the first write, or the first few, of a method to a path that holds these segments, such as `/users`."""
    seen: list[web.Request] = []

    def decide(_: int, request: web.Request) -> Fault | None:
        if request.method != method or path not in request.path or len(seen) == times:
            return None
        seen.append(request)
        return fault

    return decide


class FaultyPanel(FaultyProxy):
    """Stands before a sandbox, asks of every write whether it is to fail, and counts them.

    Attributes:
        writes: Writes that came in.
        passwords: Every password that came to the panel.
        used: The passwords of what the panel created.
        forbidden: Paths whose lists are refused, such as `/v1/domains`.
        reads: Faults of lists, by their path; each is had once, or always when it is in `lasting`.
        lasting: Whether the faults of lists stay.
        blind: Whether lists show nothing but plans, as to the key of another owner.
    """

    def __init__(self, box: Sandbox, decide: Decide = lambda *_: None) -> None:
        super().__init__(box)
        self.writes = 0
        self.passwords: set[str] = set()
        self.used: set[str] = set()
        self.forbidden: set[str] = set()
        self.reads: dict[str, Fault] = {}
        self.lasting = False
        self.blind = False
        self._decide_write = decide

    async def serve(self, request: web.Request) -> web.Response:
        fault = None
        if request.method != "GET":
            self.writes += 1
            await self.catch_up()
            fault = self._decide_write(self.writes, request)
        elif any(request.path.endswith(path) for path in self.forbidden):
            return web.json_response({"error": "Not yours", "code": "FORBIDDEN"}, status=403)
        else:
            path = next((path for path in self.reads if request.path.endswith(path)), "")
            fault = self.reads.get(path) if self.lasting else self.reads.pop(path, None)
        return await self.fail(request, fault)

    def decide_writes(self, decide: Decide) -> None:
        """Fail writes to come in another way."""
        self._decide_write = decide

    async def catch_up(self) -> None:
        """Do what the panel was late with."""
        await self.faults.catch_up()

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        response = await super().forward(request)
        if self.blind and request.method == "GET" and not request.path.endswith("/plans"):
            return web.json_response([])
        if b'"password"' in body:
            password = json.loads(body)["password"]
            self.passwords.add(password)
            if response.status < 300:
                self.used.add(password)
        return response
