"""Clients in two processes, on one host or two, share a key on a panel that counts: nothing is refused."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import API_KEY, API_SECRET
from tests.ratelimit.redis_server import RedisServer, needs_redis
from tests.ratelimit.servers import BucketServer

PROJECT = Path(__file__).parents[2]
CALLS = 120
"""Of each process."""

SENDING = f"""
import asyncio, sys
from panelica_async import PanelicaClient, RateLimit, RateLimiter
from panelica_async.ratelimit.redis import RedisCoordinator

LIMIT = RateLimit(per_minute=6000, burst=80)

print("ready", flush=True)
sys.stdin.readline()

async def send(limiter):
    async with PanelicaClient(sys.argv[1], api_key="{API_KEY}", api_secret="{API_SECRET}", limiter=limiter) as panel:
        await asyncio.gather(*(panel.request("POST", "/v1/x") for _ in range({CALLS})))
"""
ON_ONE_HOST = f"""
asyncio.run(send(RateLimiter.for_host(LIMIT, key="{API_KEY}")))
"""
ON_TWO_HOSTS = f"""
async def main():
    async with RedisCoordinator(sys.argv[2], key="{API_KEY}") as coordinator:
        await send(RateLimiter(LIMIT, coordinator=coordinator))

asyncio.run(main())
"""

pytestmark = pytest.mark.once


class Panel:
    """Admits a hundred requests a second, and larger bursts than it announces, because machines may stall."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused = 0
        self._counter = BucketServer(rate=100, capacity=80 + 50)

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        if self._counter.admits(asyncio.get_running_loop().time()):
            self.admitted += 1
            return web.json_response({})
        self.refused += 1
        return web.json_response({}, status=429, headers={"Retry-After": "0"})


@pytest.fixture
async def counting() -> AsyncIterator[tuple[Panel, str]]:
    """A panel that counts, and its address."""
    panel, application = Panel(), web.Application()
    application.router.add_post("/{path:.*}", panel.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    yield panel, f"http://{host}:{port}"
    await runner.cleanup()


async def run_two(program: str, *arguments: str, cache: Path) -> None:
    """Run a program in two processes that start sending at the same moment."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(cache)}
    command = (sys.executable, "-c", SENDING + program, *arguments)
    processes = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdin=PIPE, stdout=PIPE) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0]


async def test_two_processes_on_one_key_are_never_refused(counting: tuple[Panel, str], tmp_path: Path) -> None:
    panel, base_url = counting
    await run_two(ON_ONE_HOST, base_url, cache=tmp_path)
    assert (panel.admitted, panel.refused) == (2 * CALLS, 0)


@needs_redis
async def test_two_hosts_on_one_key_are_never_refused(counting: tuple[Panel, str], tmp_path: Path) -> None:
    """The processes share only a Redis server."""
    panel, base_url = counting
    server = await asyncio.to_thread(RedisServer, tmp_path)
    try:
        await run_two(ON_TWO_HOSTS, base_url, server.url, cache=tmp_path)
        assert (panel.admitted, panel.refused) == (2 * CALLS, 0)
    finally:
        server.kill()
