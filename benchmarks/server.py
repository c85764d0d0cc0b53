"""A server for the clients to call: aiohttp.web in a separate process, with one small JSON object for each kind."""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import cast

from aiohttp import web

from benchmarks import machine

DOMAIN = "example.com"
DOMAIN_ID = "7d3f0c1a-5b7e-4c57-9a0e-2f6f4d1f8b11"

# All fields of a domain that the published reference shows.
_BODY = b"""{"id":"7d3f0c1a-5b7e-4c57-9a0e-2f6f4d1f8b11","domain":"example.com","user_id":\
"1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed","status":"active","php_version":"8.4","web_server":"nginx",\
"document_root":"/home/acme/example.com/public_html","ssl_enabled":true,"disk_usage_mb":245,\
"bandwidth_mb":1024,"created_at":"2026-01-15T10:30:00Z"}"""

_BODIES = {
    "accounts": b'{"id":"1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed","username":"acme","email":"info@example.com"}',
    "email": b'{"id":"0f8fad5b-d9cb-469f-a165-70867728950e","email":"info@example.com","quota_mb":1024}',
}
"""Replies to what is not about domains, by the first part of the path."""

LOOPS = ("asyncio", "uvloop")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes an event loop: `asyncio` or `uvloop`.

    Raises:
        ImportError: uvloop is not installed.
    """
    module = asyncio if name == "asyncio" else import_module("uvloop")
    return cast("Callable[[], asyncio.AbstractEventLoop]", module.new_event_loop)


@contextmanager
def running_server(core: int) -> Iterator[str]:
    """Run the server on a core and give its base URL; it stops with the block, or with this process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, core), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/api/external"
    finally:
        ours.close()
        process.join(timeout=5)
        process.terminate()


def _serve(parent: Connection, core: int) -> None:
    machine.pin(core)
    # The faster loop, so that a client waits for the server as little as possible.
    name = "uvloop" if find_spec("uvloop") else "asyncio"
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        runner.run(_answer(parent))


async def _answer(parent: Connection) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        kind = request.path.partition("/v1/")[2].partition("/")[0]
        return web.Response(body=_BODIES.get(kind, _BODY), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    parent.send(runner.addresses[0][1])
    # The parent never sends: the pipe becomes readable when it closes its end, or dies.
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(parent.fileno(), gone.set)
    await gone.wait()
    await runner.cleanup()
