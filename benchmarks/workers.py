"""Three web workers and launches on one key: `python -m benchmarks.workers [VARIANT] [--seconds N]`.

Twenty users call an application in three uvicorn workers; nine calls in ten read, one creates. Meanwhile,
`panelica provision apply` launches 60 sites, again and again. All of them share the quota of a key of the tier
business, through the host or through Redis. The panel is a sandbox that counts in fixed windows.

The variants are `host`, `redis`, `flushed` (Redis forgets everything after 75 seconds), `slow` (it answers slowly) and
`killed` (it is killed after 75 seconds). Run this by hand: each variant takes two and a half minutes, and needs the
dependency group `bench` and, except for `host`, redis-server.
"""

import argparse
import asyncio
import csv
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import machine
from panelica_async import PanelicaClient, RateLimit, RateLimiter
from panelica_async.ratelimit.redis import RedisCoordinator
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.server import RecordedRequest

TIER, PER_MINUTE = "business", 1000
USERS, MEAN_PAUSE = 20, 2.0
WORKERS, SITES = 3, 60
FAULT_AT, DOWNTIME, ROUND_TRIP = 75.0, 5.0, 0.8
_SHARE_QUOTA = "PANELICA_SHARE_QUOTA"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """An ASGI application with one client for its whole life."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan of the application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        name = f"u{random.getrandbits(40):x}"
        if scope["path"] == "/read":
            await self.panel.domains.list(limit=25)
        else:
            await self.panel.accounts.create(
                username=name, email=f"{name}@mail.example", password=f"{name}-Xy7!", role="USER", full_name=name
            )
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        limit, key = RateLimit.for_tier(TIER), os.environ["PANELICA_API_KEY"]
        async with AsyncExitStack() as stack:
            await receive()
            if os.environ[_SHARE_QUOTA] == "host":
                limiter = RateLimiter.for_host(limit, key=key)
            else:
                coordinator = await stack.enter_async_context(RedisCoordinator(os.environ[_SHARE_QUOTA], key=key))
                limiter = RateLimiter(limit, coordinator=coordinator)
            self.panel = await stack.enter_async_context(PanelicaClient(limiter=limiter))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


app = Application()


class Arrivals(deque[RecordedRequest]):
    """Counts the requests of a sandbox, and notes when they were admitted."""

    def __init__(self) -> None:
        super().__init__()
        self.admitted: list[float] = []
        self.refused = 0

    def append(self, request: RecordedRequest) -> None:
        """Count a request."""
        if request.status == 429:
            self.refused += 1
        else:
            self.admitted.append(time.monotonic())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _process(
    *arguments: str, env: dict[str, str] | None = None
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    process = await asyncio.create_subprocess_exec(
        *arguments, env=env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


class Redis:
    """A Redis without persistence, which can be flushed, killed, or reached through a slow relay."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._port = _free_port()

    async def start(self) -> str:
        """Start it, and return its URL."""
        self._process = await self._stack.enter_async_context(
            _process(
                "redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "",
                "--dir", str(self._directory),
            )
        )  # fmt: skip
        await _until_open(self._port)
        return f"redis://127.0.0.1:{self._port}/0"

    async def flush(self) -> None:
        """Delete all its data."""
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"FLUSHALL\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()

    async def restart(self) -> None:
        """Kill it, and start it again without its data."""
        self._process.kill()
        await self._process.wait()
        await asyncio.sleep(DOWNTIME)
        await self.start()

    async def start_slow_relay(self) -> str:
        """Start a relay that delays its replies, and return the URL of the relay."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_copy_slowly(reader, redis_writer), _copy_slowly(redis_reader, writer))


async def _copy_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await asyncio.sleep(ROUND_TRIP / 2)
            writer.write(data)
            await writer.drain()
    writer.close()


async def _until_open(port: int) -> None:
    for _ in range(600):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")


async def _act_as_user(session: aiohttp.ClientSession, url: str, seed: int, durations: list[float]) -> None:
    generator = random.Random(seed)  # noqa: S311 - the same in each run
    while True:
        await asyncio.sleep(generator.uniform(0, 2 * MEAN_PAUSE))
        path = "read" if generator.random() < 0.9 else "create"
        started = time.monotonic()
        async with session.get(f"{url}/{path}") as reply:
            reply.raise_for_status()
        durations.append(time.monotonic() - started)


async def _launch_repeatedly(directory: Path, env: dict[str, str]) -> None:
    """Launch sites again and again, with other names each time."""
    number = 0
    while True:
        number += 1
        manifest = directory / f"launch{number}.csv"
        rows = [_site_row(f"{number}x{site}") for site in range(SITES)]
        with manifest.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        arguments = ("provision", "apply", str(manifest), "--yes", "--state-dir", str(directory), "--tier", TIER)
        command = (sys.executable, "-c", "from panelica_async.cli import main; main()", *arguments)
        async with _process(*command, env=env) as process:
            if await process.wait():
                raise RuntimeError(f"the launch ended with exit code {process.returncode}")


def _site_row(name: str) -> dict[str, str]:
    return {
        "domain": f"site{name}.example",
        "owner": f"owner{name}",
        "email": f"owner{name}@mail.example",
        "ssl": "yes",
        "dns": f"www A 192.0.2.1 | @ MX 10 mail.site{name}.example",
        "databases": f"shop{name}:reader{name}",
        "mailboxes": "info",
        "ftp": f"ftp{name}",
    }


async def _measure(variant: str, seconds: float) -> dict[str, Any]:
    directory = Path(tempfile.mkdtemp(prefix="panelica-workers-"))
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(Sandbox(TIER))
        arrivals = box.requests = Arrivals()
        redis, share_quota = Redis(stack, directory), "host"
        if variant != "host":
            share_quota = await redis.start()
        if variant == "slow":
            share_quota = await redis.start_slow_relay()
        env = {
            **os.environ,
            "PANELICA_BASE_URL": box.base_url,
            "PANELICA_API_KEY": box.api_key,
            "PANELICA_API_SECRET": box.api_secret,
            "XDG_CACHE_HOME": str(directory),
            _SHARE_QUOTA: share_quota,
        }
        port = _free_port()
        command = (sys.executable, "-m", "uvicorn", "benchmarks.workers:app", "--workers", str(WORKERS))
        await stack.enter_async_context(_process(*command, "--port", str(port), "--log-level", "warning", env=env))
        await _until_open(port)
        # A new connection for each request, so that the kernel spreads them over the workers.
        connector = aiohttp.TCPConnector(force_close=True)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        durations: list[float] = []
        started = time.monotonic()
        work: list[Coroutine[Any, Any, None]] = [
            _act_as_user(session, f"http://127.0.0.1:{port}", seed, durations) for seed in range(USERS)
        ]
        work.append(_launch_repeatedly(directory, env))
        if variant in {"flushed", "killed"}:
            work.append(_inject_fault(redis, variant))
        ended = await _run_for(seconds, work)
    return _figures(arrivals, sorted(durations), started, ended)


async def _run_for(seconds: float, work: list[Coroutine[Any, Any, None]]) -> float:
    """Run coroutines for some seconds, cancel them, and return when they were cancelled; raise if one fails."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
    ended = time.monotonic()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ended


async def _inject_fault(redis: Redis, variant: str) -> None:
    await asyncio.sleep(FAULT_AT)
    await (redis.flush() if variant == "flushed" else redis.restart())


def _figures(arrivals: Arrivals, durations: list[float], started: float, ended: float) -> dict[str, Any]:
    times = [started, *(at for at in arrivals.admitted if started < at <= ended), ended]
    gap, gap_start = max((later - earlier, earlier) for earlier, later in pairwise(times))
    per_minute = [
        sum(started + 60 * minute < at <= started + 60 * (minute + 1) for at in times[1:-1])
        for minute in range(int((ended - started) // 60))
    ]
    return {
        "refused": arrivals.refused,
        "requests in each full minute": per_minute,
        "use of each full minute": [round(count / PER_MINUTE, 3) for count in per_minute],
        "web calls": len(durations),
        **{f"web p{part}": round(durations[int(len(durations) * part / 100)], 3) for part in (50, 95, 99)},
        "longest web call": round(durations[-1], 3),
        "longest time without a request": round(gap, 2),
        "after seconds": round(gap_start - started, 1),
    }


def main() -> None:
    """Measure one variant, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers", description="Workers and a launch on one key."
    )
    parser.add_argument("variant", nargs="?", default="host", choices=("host", "redis", "flushed", "slow", "killed"))
    parser.add_argument("--seconds", type=float, default=150, help="how long to measure")
    options = parser.parse_args()
    figures = asyncio.run(_measure(options.variant, options.seconds))
    print(
        json.dumps(
            {"variant": options.variant, "machine": machine.describe(("uvicorn", "aiohttp")), **figures}, indent=2
        )
    )


if __name__ == "__main__":
    main()
