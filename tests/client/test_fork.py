"""A client in the wrong process or event loop: a clear error, nothing sent, and no harm to its owner."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from panelica_async import ConfigurationError
from panelica_async.ratelimit import RateLimit, RateLimiter
from tests.conftest import API_KEY, API_SECRET, Advance, Connect, until
from tests.support.raw_server import RawServer

PROJECT = Path(__file__).parents[2]
FORKED = "the client was made before this process was forked; make one PanelicaClient in each process"
ELSEWHERE = "the client belongs to another event loop; make one PanelicaClient for each loop"

PARENT = f"""
import asyncio, gc, os, sys
from panelica_async import PanelicaClient

def make():
    return PanelicaClient(
        sys.argv[1], api_key="{API_KEY}", api_secret="{API_SECRET}", tier="enterprise", timeout=5, max_retries=0
    )

async def call(path):
    try:
        await panel.request("POST", path)
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}", flush=True)

async def child(action):
    global panel
    if action == "close":
        await panel.close()
    if action == "make another":
        panel = make()
        gc.collect()
    await call("/v1/child")
    await panel.close()

async def main():
    await call("/v1/parent")
    for action in ("use", "close", "make another"):
        if os.fork() == 0:
            try:
                asyncio.run(child(action))
            finally:
                os._exit(0)
        while os.waitpid(-1, os.WNOHANG) == (0, 0):
            await asyncio.sleep(0.005)
        await call("/v1/parent")
    await panel.close()

panel = make()
asyncio.run(main())
"""
UNUSED = (
    PARENT.partition("async def main")[0]
    + "panel = make()\nif os.fork():\n    os.wait()\nelse:\n    asyncio.run(child('use'))\n"
)


async def output(program: str, *arguments: str) -> list[str]:
    """Run a program and return the lines it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    return printed.decode().splitlines()


async def test_forked_process_leaves_connections_to_its_parent(server: RawServer) -> None:
    assert await output(PARENT, server.origin) == [
        f"ConfigurationError: {FORKED}",
        "ConfigurationError: the client is closed; make a new PanelicaClient",
    ]
    targets = [request.target.removeprefix("/api/external/v1/") for request in server.requests]
    assert targets == ["parent", "parent", "parent", "child", "parent"]
    assert server.connections == 2


async def test_unused_client_after_fork_works(server: RawServer) -> None:
    assert await output(UNUSED, server.origin) == []
    assert [request.target for request in server.requests] == ["/api/external/v1/child"]


async def test_any_call_from_another_loop_raises(server: RawServer, connect: Connect) -> None:
    async def use() -> list[str]:
        messages = []
        uses = (
            panel.me(),
            panel.health(),
            panel.domains.list(),
            panel.request("POST", "/v1/x"),
            panel.with_options().me(),
        )
        for awaitable in uses:
            with pytest.raises(ConfigurationError) as caught:
                await awaitable
            messages.append(str(caught.value))
        return messages

    panel = connect()
    await panel.request("POST", "/v1/x")
    assert set(await asyncio.to_thread(asyncio.run, use())) == {ELSEWHERE}
    await panel.request("POST", "/v1/x")
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_call_on_a_borrowed_session_closed_later_raises(
    server: RawServer, connect: Connect, session: aiohttp.ClientSession
) -> None:
    panel = connect(session=session)
    await panel.request("POST", "/v1/x")
    await session.close()
    with pytest.raises(ConfigurationError, match=r"^the session passed in as session= is closed; pass an open one$"):
        await panel.request("POST", "/v1/x")
    assert len(server.requests) == 1


async def test_waiting_call_raises_when_borrowed_session_closes(
    server: RawServer, connect: Connect, session: aiohttp.ClientSession, advance: Advance
) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(3600)
    waiting = asyncio.create_task(connect(session=session, limiter=limiter).request("POST", "/v1/x"))
    await until(lambda: limiter.waiting == 1)
    await session.close()
    advance(3601)
    with pytest.raises(ConfigurationError, match=r"^the session passed in as session= is closed; pass an open one$"):
        await waiting
    assert server.requests == []
