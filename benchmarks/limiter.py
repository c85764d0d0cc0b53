"""How much of a quota the limiter uses, and what it costs: `python -m benchmarks.limiter [--quick] [--json]`.

In virtual time, our limiter and aiolimiter keep a simulated server busy over a network with varying delays. This shows
which share of the possible requests gets through, and how many the server refuses. Then this measures, in real time,
what a call costs that passes at once, and one that waits.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import attrs
from aiolimiter import AsyncLimiter

from benchmarks import machine
from panelica_async.ratelimit import RateLimit, RateLimiter
from tests.ratelimit.servers import HOUR_SERVERS, SERVERS, Server
from tests.support.virtual_time import run

Acquire = Callable[[], Coroutine[Any, Any, None]]

_PER_MINUTE, _PER_HOUR = 300, 10_000
_WORKERS = 300
_WAITERS = 10_000


def _ours(limit: RateLimit) -> Acquire:
    return RateLimiter(limit).acquire


def _ours_bulk(limit: RateLimit) -> Acquire:
    limiter = RateLimiter(limit)
    return lambda: limiter.acquire(lane="bulk")


def _aiolimiter() -> Acquire:
    return AsyncLimiter(_PER_MINUTE, 60).acquire


def _aiolimiter_pair() -> Acquire:
    minute, hour = AsyncLimiter(_PER_MINUTE, 60), AsyncLimiter(_PER_HOUR, 3600)

    async def acquire() -> None:
        await hour.acquire()
        await minute.acquire()

    return acquire


async def _saturate(acquire: Acquire, server: Server, seconds: float, generator: random.Random) -> tuple[int, int]:
    """Return how many requests the server admitted and refused while more were always waiting."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    verdicts: list[bool] = []

    async def worker() -> None:
        while loop.time() < end:
            await acquire()
            delay = min(0.5, 0.015 + generator.lognormvariate(-3.5, 1.5))
            if loop.time() < end:
                loop.call_later(delay, lambda: verdicts.append(server.admits(loop.time())))

    async with asyncio.TaskGroup() as group:
        for _ in range(_WORKERS):
            group.create_task(worker())
    await asyncio.sleep(1)
    return sum(verdicts), len(verdicts) - sum(verdicts)


def throughput(hours: float, *, hour_limit: bool) -> list[dict[str, Any]]:
    """Return the admitted share and the refusals of each limiter with each server."""
    servers = HOUR_SERVERS if hour_limit else SERVERS
    limit = attrs.evolve(RateLimit.for_tier("professional"), per_hour=_PER_HOUR if hour_limit else None)
    possible = hours * (_PER_HOUR if hour_limit else 60 * _PER_MINUTE)
    clients = {
        "panelica_async": partial(_ours, limit),
        "panelica_async, bulk lane": partial(_ours_bulk, limit),
        "aiolimiter": _aiolimiter_pair if hour_limit else _aiolimiter,
    }
    rows = []
    for server_name, make_server in servers.items():
        for client_name, make_client in clients.items():
            admitted, refused = run(_simulate(make_client, make_server, hours * 3600))
            rows.append(
                {"server": server_name, "client": client_name, "share": admitted / possible, "refused": refused}
            )
    return rows


async def _simulate(
    make_client: Callable[[], Acquire], make_server: Callable[[random.Random], Server], seconds: float
) -> tuple[int, int]:
    """Return how many requests of a limiter a server admits and refuses."""
    generator = random.Random(1)  # noqa: S311 - a simulation
    return await _saturate(make_client(), make_server(generator), seconds, generator)


def cost(rounds: int) -> dict[str, dict[str, float]]:
    """Return the microseconds of a call that passes at once and of one that waits, and the bytes of one that waits."""
    huge_limit = RateLimit(per_minute=60e6, per_hour=3.6e9, burst=10_000_000)
    passing: dict[str, Callable[[], Acquire]] = {
        "panelica_async": lambda: RateLimiter(huge_limit).acquire,
        "panelica_async, no limit": lambda: RateLimiter(RateLimit.unlimited()).acquire,
        "aiolimiter": lambda: AsyncLimiter(10_000_000, 60).acquire,
    }
    waiting: dict[str, Callable[[], Acquire]] = {
        "panelica_async": lambda: RateLimiter(RateLimit(per_minute=6e6, burst=1)).acquire,
        "aiolimiter": lambda: AsyncLimiter(1, 1e-5).acquire,
    }
    return {
        "passing_us": {
            name: _median(rounds, lambda make=make: _measure_passing(make)) for name, make in passing.items()
        },
        "waiting_us": {
            name: _median(rounds, lambda make=make: _measure_waiting(make)) for name, make in waiting.items()
        },
        "waiting_bytes": {
            "panelica_async": asyncio.run(_bytes_per_waiter(_paused)),
            "a task and a future alone": asyncio.run(_bytes_per_waiter(_future)),
        },
    }


def _median(rounds: int, measure: Callable[[], Awaitable[float]]) -> float:
    async def once() -> float:
        return await measure()

    return statistics.median(asyncio.run(once()) for _ in range(rounds))


async def _measure_passing(make: Callable[[], Acquire]) -> float:
    acquire, calls = make(), 20_000
    started = time.process_time()
    for _ in range(calls):
        await acquire()
    return (time.process_time() - started) / calls * 1e6


async def _measure_waiting(make: Callable[[], Acquire]) -> float:
    acquire, calls = make(), 2_000
    started = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(acquire())
    return (time.process_time() - started) / calls * 1e6


def _paused() -> Acquire:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(3600)
    return limiter.acquire


def _future() -> Acquire:
    async def acquire() -> None:
        await asyncio.get_running_loop().create_future()

    return acquire


async def _bytes_per_waiter(make: Callable[[], Acquire]) -> float:
    """Return the bytes that each of many waiting callers takes."""
    acquire = make()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    waiters = [asyncio.create_task(acquire()) for _ in range(_WAITERS)]
    await asyncio.sleep(0)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    return (after - before) / _WAITERS


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limiter", description="What the limiter achieves.")
    parser.add_argument("--quick", action="store_true", help="simulate for a shorter time")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    figures = {
        "machine": machine.describe(("panelica_async", "aiolimiter")),
        "minute": throughput(0.5 if options.quick else 2, hour_limit=False),
        "hour": throughput(2 if options.quick else 4, hour_limit=True),
        "cost": cost(5 if options.quick else 15),
    }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print("\n".join(f"{name}: {value}" for name, value in figures["machine"].items()))
    _print_throughput(f"{_PER_MINUTE} a minute", figures["minute"])
    _print_throughput(f"{_PER_MINUTE} a minute, {_PER_HOUR:,} an hour", figures["hour"])
    for title, unit in (("passing_us", "us a call"), ("waiting_us", "us a call"), ("waiting_bytes", "bytes a caller")):
        print(f"\n{title.partition('_')[0]}, {unit}")
        for name, value in figures["cost"][title].items():
            print(f"  {name:<34}{value:>10,.1f}")


def _print_throughput(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title:<61}{'share':>8}{'429s':>9}")
    for row in rows:
        print(f"  {row['server']:<33}{row['client']:<26}{row['share']:>8.2%}{row['refused']:>9,}")


if __name__ == "__main__":
    main()
