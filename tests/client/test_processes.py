"""Clients in two processes of one host, on one key, and a panel that counts: nothing is refused."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import API_KEY, API_SECRET
from tests.ratelimit.servers import BucketServer

PROJECT = Path(__file__).parents[2]
CALLS = 120
"""Of each process."""

PROGRAM = f"""
import asyncio, sys
from panelica_async import PanelicaClient, RateLimit, RateLimiter

async def main(base_url):
    limiter = RateLimiter.for_host(RateLimit(per_minute=6000, burst=80), key="{API_KEY}")
    async with PanelicaClient(base_url, api_key="{API_KEY}", api_secret="{API_SECRET}", limiter=limiter) as panel:
        await asyncio.gather(*(panel.request("POST", "/v1/x") for _ in range({CALLS})))

asyncio.run(main(sys.argv[1]))
"""


class Panel:
    """Lets a hundred requests by each second, and more at once than it says: machines falter."""

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


async def test_two_processes_on_one_key_are_never_refused(counting: tuple[Panel, str], tmp_path: Path) -> None:
    panel, base_url = counting
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(tmp_path)}
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, base_url, env=environment) for _ in range(2)
    ]
    assert [await process.wait() for process in processes] == [0, 0]
    assert (panel.admitted, panel.refused) == (2 * CALLS, 0)
