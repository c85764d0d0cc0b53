"""The ends of the middleware chain, for tests in virtual time: no sockets, replies and failures as told."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import attrs
from aiohttp import ClientRequest, ClientResponse, ClientSession
from multidict import CIMultiDict, CIMultiDictProxy

from panelica_async.core.operation import Repeat
from panelica_async.transport.call import Call
from panelica_async.transport.sessions import SessionHolder

REQUEST = cast("ClientRequest", None)
"""Only the signer looks at the request."""


@attrs.frozen
class StubResponse:
    """What the middlewares use of a response."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = b""

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
    """Sessions that are never needed, with so many places."""

    def __init__(self, places: int = 100) -> None:
        super().__init__(None)
        self._places = asyncio.Semaphore(places)

    def session(self) -> ClientSession:
        return cast("ClientSession", None)


def now() -> float:
    """Return the time of the loop's clock."""
    return asyncio.get_running_loop().time()


def call(repeat: Repeat = Repeat.READ, *, deadline: float | None = None) -> Call:
    """Make a call whose deadline is so many seconds away."""
    method = "GET" if repeat is Repeat.READ else "POST"
    deadline_at = None if deadline is None else now() + deadline
    return Call(operation="things.do", method=method, path="/v1/things", repeat=repeat, deadline_at=deadline_at)
