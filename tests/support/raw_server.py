"""A server without an HTTP library: records the exact bytes of each request, and answers or fails as scripted.

    async with RawServer() as server:
        server.script(RESET, reply(503, headers={"Retry-After": "0"}), reply(json={"id": "1"}))
        ...
        assert server.requests[0].target == "/api/external/v1/me"

Each request takes the next step of the script; when none is left, the server answers 200 with `{}`.
"""

import asyncio
import contextlib
import json as json_module
import ssl
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import attrs
from multidict import CIMultiDict

from panelica_async.sandbox.faults import reset


@attrs.frozen
class RawRequest:
    """A request as it came off the socket."""

    raw: bytes
    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def timestamp(self) -> str:
        return self.headers["X-Timestamp"]

    @property
    def signature(self) -> str:
        return self.headers["X-Signature"]


@attrs.frozen
class Step:
    """How the server treats one request."""

    sent: bytes = b""
    """Bytes of the answer."""
    endless: bytes = b""
    """Bytes that are sent again and again after it, until the client disconnects."""
    pause: float = 0.0
    """Seconds before each repetition."""
    reads: bool = True
    """Whether the request is read, or only its first byte."""
    after: asyncio.Event | None = None
    """Event to wait for before anything is sent."""
    ends: str = ""
    """What follows: `close`, `reset`, `hang`, or nothing, which keeps the connection open."""


def reply(
    status: int = 200,
    *,
    json: Any = None,
    body: bytes | str = b"",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Step:
    """Answer a request."""
    content = json_module.dumps(json).encode() if json is not None else body.encode() if isinstance(body, str) else body
    fields = {"Content-Length": str(len(content)), **(headers or {})}
    if content:
        fields["Content-Type"] = content_type
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    # Only Cloudflare uses these statuses.
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Odd"
    return Step(f"HTTP/1.1 {status} {phrase}\r\n{head}\r\n".encode() + content)


def truncated(status: int = 200, *, body: bytes = b'{"id": "1"', of: int = 100) -> Step:
    """Announce more bytes than are sent, then close."""
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {of}\r\n\r\n"
    return Step(head.encode() + body, ends="close")


RESET_EARLY = Step(reads=False, ends="reset")
RESET = Step(ends="reset")
CLOSE = Step(ends="close")
HANG = Step(ends="hang")
GARBAGE = Step(b"\x16\x03\x01 this is not HTTP\r\n\r\n", ends="close")


class RawServer:
    """A TCP server on a free port of the loopback address.

    Args:
        tls: Holds the certificate for https; None serves http.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[RawRequest] = []
        """The requests that were read, oldest first."""
        self.connections = 0
        self._tls = tls
        self._script: deque[Step] = deque()
        self._arrival = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def origin(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    def script(self, *steps: Step) -> None:
        """Add steps for the next requests."""
        self._script.extend(steps)

    async def received(self, count: int) -> None:
        """Wait until that many requests have arrived."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= count)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            start = await reader.readexactly(1)
            step = self._script.popleft() if self._script else reply(json={})
            if step.reads:
                self.requests.append(await _read_request(start, reader))
            async with self._arrival:
                self._arrival.notify_all()
            if step.after is not None:
                await step.after.wait()
            writer.write(step.sent)
            await writer.drain()
            while step.endless:
                await asyncio.sleep(step.pause)
                writer.write(step.endless)
                await writer.drain()
            if step.ends == "hang":
                await asyncio.Event().wait()
            if step.ends == "reset":
                reset(writer.transport)
            if step.ends:
                return


async def _read_request(start: bytes, reader: asyncio.StreamReader) -> RawRequest:
    head = start + await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, version = request_line.split(" ")
    assert version == "HTTP/1.1"
    headers = CIMultiDict(line.split(": ", 1) for line in lines)
    assert "Transfer-Encoding" not in headers
    body = await reader.readexactly(int(headers.get("Content-Length", 0)))
    return RawRequest(head + body, method, target, headers, body)
