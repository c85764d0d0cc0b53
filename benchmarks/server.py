"""A server for the clients to call, in a separate process: it answers with one small JSON object per kind.

It reads of a request only its length and its path, and so answers faster than any client asks. With a web framework,
the benchmark would measure the server.
"""

import asyncio
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import cast

from benchmarks import machine

DOMAIN = "example.com"
DOMAIN_ID = "7d3f0c1a-5b7e-4c57-9a0e-2f6f4d1f8b11"

# All fields of a domain that the published reference shows.
_BODY = b"""{"id":"7d3f0c1a-5b7e-4c57-9a0e-2f6f4d1f8b11","domain":"example.com","user_id":\
"1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed","status":"active","php_version":"8.4","web_server":"nginx",\
"document_root":"/home/acme/example.com/public_html","ssl_enabled":true,"disk_usage_mb":245,\
"bandwidth_mb":1024,"created_at":"2026-01-15T10:30:00Z"}"""

_BODIES = {
    b"accounts": b'{"id":"1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed","username":"acme","email":"info@example.com"}',
    b"email": b'{"id":"0f8fad5b-d9cb-469f-a165-70867728950e","email":"info@example.com","quota_mb":1024}',
}
"""Replies about other kinds than domains, by the first part of the path."""

_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_KIND = re.compile(rb"/v1/([a-z-]+)")

LOOPS = ("asyncio", "uvloop")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that creates an event loop of `asyncio` or `uvloop`.

    Raises:
        ImportError: uvloop is not installed.
    """
    module = asyncio if name == "asyncio" else import_module("uvloop")
    return cast("Callable[[], asyncio.AbstractEventLoop]", module.new_event_loop)


@contextmanager
def running_server(core: int) -> Iterator[str]:
    """Run the server on a core and yield its base URL; it stops with the block, or with this process."""
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    process = context.Process(target=_serve, args=(child_end, core), daemon=True)
    process.start()
    child_end.close()
    try:
        yield f"http://127.0.0.1:{parent_end.recv()}/api/external"
    finally:
        parent_end.close()
        process.join(timeout=5)
        process.terminate()


def _serve(parent: Connection, core: int) -> None:
    machine.pin(core)
    # The faster loop, so that clients wait as little as possible for the server.
    name = "uvloop" if find_spec("uvloop") else "asyncio"
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        runner.run(_serve_until_closed(parent))


async def _serve_until_closed(parent: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    parent.send(server.sockets[0].getsockname()[1])
    # The parent never sends: the pipe becomes readable when it closes its end, or dies.
    closed = asyncio.Event()
    loop.add_reader(parent.fileno(), closed.set)
    await closed.wait()


class _Connection(asyncio.Protocol):
    """Answers the requests of a connection, one after another."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        content_length = _CONTENT_LENGTH.search(head)
        length = int(content_length[1]) if content_length else 0
        if separator and len(body) >= length:
            self._received = body[length:]
            kind = _KIND.search(head)
            self._transport.write(_reply(kind[1] if kind else b"", int(time.time())))


@lru_cache(maxsize=8)
def _reply(kind: bytes, seconds: int) -> bytes:
    body = _BODIES.get(kind, _BODY)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\nDate: %b\r\nServer: benchmark\r\n\r\n%b"
    ) % (len(body), formatdate(seconds, usegmt=True).encode(), body)
