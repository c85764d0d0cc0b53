"""A panel that fails at chosen writes, and records the passwords it receives."""

import json
from collections.abc import Callable

from aiohttp import web

from panelica_async.sandbox import Sandbox
from tests.support.faulty_proxy import Fault, FaultyProxy

__all__ = ["Decide", "Fault", "FaultyPanel", "fail_at", "fail_every", "fail_first"]

Decide = Callable[[int, web.Request], Fault | None]


def fail_at(number: int, fault: Fault) -> Decide:
    """Fail only the write with this number, from 1."""
    return lambda count, _: fault if count == number else None


def fail_every(number: int, fault: Fault) -> Decide:
    """Fail every n-th write."""
    return lambda count, _: fault if count % number == 0 else None


def fail_first(method: str, path: str, fault: Fault, times: int = 1) -> Decide:
    """Fail the first write, or the first few, with a method to a path that contains `path`, such as `/users`."""
    seen: list[web.Request] = []

    def decide(_: int, request: web.Request) -> Fault | None:
        if request.method != method or path not in request.path or len(seen) == times:
            return None
        seen.append(request)
        return fault

    return decide


class FaultyPanel(FaultyProxy):
    """Forwards requests to a sandbox, counts the writes, and makes those fail that `decide` chooses.

    Attributes:
        writes: Number of writes received.
        passwords: Every password received.
        used_passwords: The passwords of created objects.
        forbidden_lists: Paths of lists that are refused, such as `/v1/domains`.
        read_faults: Faults of lists, by path; each occurs once, unless `read_faults_persist`.
        read_faults_persist: Whether the faults of lists occur every time.
        hides_everything: Whether all lists but that of plans are empty, as for the key of another owner.
    """

    def __init__(self, box: Sandbox, decide: Decide = lambda *_: None) -> None:
        super().__init__(box)
        self.writes = 0
        self.passwords: set[str] = set()
        self.used_passwords: set[str] = set()
        self.forbidden_lists: set[str] = set()
        self.read_faults: dict[str, Fault] = {}
        self.read_faults_persist = False
        self.hides_everything = False
        self._decide_write = decide

    async def serve(self, request: web.Request) -> web.Response:
        fault = None
        if request.method != "GET":
            self.writes += 1
            await self.catch_up()
            fault = self._decide_write(self.writes, request)
        elif any(request.path.endswith(path) for path in self.forbidden_lists):
            return web.json_response({"error": "Not yours", "code": "FORBIDDEN"}, status=403)
        else:
            path = next((path for path in self.read_faults if request.path.endswith(path)), "")
            fault = self.read_faults.get(path) if self.read_faults_persist else self.read_faults.pop(path, None)
        return await self.fail(request, fault)

    def decide_writes(self, decide: Decide) -> None:
        """Choose the failures of further writes."""
        self._decide_write = decide

    async def catch_up(self) -> None:
        """Carry out the requests that the panel has delayed."""
        await self.faults.catch_up()

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        response = await super().forward(request)
        if self.hides_everything and request.method == "GET" and not request.path.endswith("/plans"):
            return web.json_response([])
        if b'"password"' in body:
            password = json.loads(body)["password"]
            self.passwords.add(password)
            if response.status < 300:
                self.used_passwords.add(password)
        return response
