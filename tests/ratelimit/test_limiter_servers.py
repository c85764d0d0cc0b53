"""Saturated traffic through slow networks against servers that count in every way the panel might.

The servers count a request when it arrives, after a delay that differs from one to the next. None may be refused, and
nearly everything the server would allow must get through.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import pytest

from panelica_async.ratelimit import RateLimit, RateLimiter, quota
from tests.virtual_time import run

PROFESSIONAL = RateLimit.for_tier("professional")
MINUTES = 60.0
HOURS = 3600.0
SHARE = 0.97


class Server(Protocol):
    def admits(self, now: float) -> bool: ...


class BucketServer:
    """Five a second, fifty at once."""

    def __init__(self, rate: float = 5.0, capacity: int = 50) -> None:
        self.rate, self.capacity = rate, capacity
        self.level, self.last = float(capacity), 0.0

    def admits(self, now: float) -> bool:
        self.level = min(self.capacity, self.level + (now - self.last) * self.rate)
        self.last = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class FixedWindowServer:
    """So many in each window; the windows start on the clock, not with the traffic."""

    def __init__(self, count: int, period: float, phase: float) -> None:
        self.count, self.period, self.phase = count, period, phase
        self.window, self.used = -1, 0

    def admits(self, now: float) -> bool:
        window = int((now + self.phase) // self.period)
        if window != self.window:
            self.window, self.used = window, 0
        if self.used >= self.count:
            return False
        self.used += 1
        return True


class SlidingWindowServer:
    """So many in the time before each request."""

    def __init__(self, count: int, period: float) -> None:
        self.count, self.period = count, period
        self.admitted: deque[float] = deque()

    def admits(self, now: float) -> bool:
        while self.admitted and self.admitted[0] <= now - self.period:
            self.admitted.popleft()
        if len(self.admitted) >= self.count:
            return False
        self.admitted.append(now)
        return True


class BothServer:
    """Two limits at a time."""

    def __init__(self, *servers: Server) -> None:
        self.servers = servers

    def admits(self, now: float) -> bool:
        # Each counts what it admits, whatever the other says.
        verdicts = [server.admits(now) for server in self.servers]
        return all(verdicts)


class Traffic:
    """Callers, the limiter, the network and a server."""

    def __init__(self, server: Server, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = server
        self.limiter = RateLimiter(PROFESSIONAL)
        self.loop = asyncio.get_running_loop()
        self.admitted: list[float] = []
        self.refused: list[float] = []

    async def send(self) -> None:
        await self.limiter.acquire()
        delay = min(0.5, 0.015 + self.random.lognormvariate(-3.5, 1.5))  # seconds; half above 0.045, a tenth above 0.2
        self.loop.call_later(delay, self.arrive)

    def arrive(self) -> None:
        now = self.loop.time()
        (self.admitted if self.server.admits(now) else self.refused).append(now)

    async def saturate(self, seconds: float) -> None:
        """Always have more callers than the limit lets through."""
        started = self.loop.time()

        async def caller() -> None:
            while self.loop.time() < started + seconds:
                await self.send()

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(caller())
        await asyncio.sleep(1)
        self.admitted = [instant for instant in self.admitted if instant < started + seconds]


async def saturated(server: Server, seconds: float, seed: int) -> tuple[int, int]:
    traffic = Traffic(server, seed)
    await traffic.saturate(seconds)
    return len(traffic.admitted), len(traffic.refused)


MINUTE_SERVERS: dict[str, Callable[[], Server]] = {
    "bucket": BucketServer,
    "fixed minute": lambda: FixedWindowServer(300, 60, phase=17.3),
    "sliding minute": lambda: SlidingWindowServer(300, 60),
}
HOUR_SERVERS: dict[str, Callable[[], Server]] = {
    "bucket and sliding hour": lambda: BothServer(BucketServer(), SlidingWindowServer(10_000, 3600)),
    "fixed minute and fixed hour": lambda: BothServer(
        FixedWindowServer(300, 60, phase=41.0), FixedWindowServer(10_000, 3600, phase=1234.5)
    ),
}


@pytest.mark.parametrize("name", MINUTE_SERVERS)
def test_half_an_hour_of_saturation(name):
    admitted, refused = run(saturated(MINUTE_SERVERS[name](), 30 * MINUTES, seed=1))
    assert refused == 0
    assert admitted >= SHARE * 300 * 30


@pytest.mark.parametrize("name", HOUR_SERVERS)
def test_two_hours_of_saturation_under_an_hour_limit(name):
    admitted, refused = run(saturated(HOUR_SERVERS[name](), 2 * HOURS, seed=2))
    assert refused == 0
    assert admitted >= SHARE * 10_000 * 2


@pytest.mark.parametrize("name", MINUTE_SERVERS)
def test_demand_that_comes_and_goes(name):
    async def main() -> list[float]:
        traffic = Traffic(MINUTE_SERVERS[name](), seed=3)
        for _ in range(12):
            await traffic.saturate(traffic.random.uniform(1, 100))
            await asyncio.sleep(traffic.random.uniform(0, 60))
        return traffic.refused

    assert run(main()) == []


@pytest.mark.parametrize("name", MINUTE_SERVERS)
def test_without_the_margins_requests_would_be_refused(name, monkeypatch):
    """The simulation is hard enough to tell."""
    monkeypatch.setattr(quota, "DELAY_SPREAD", 0.0)
    monkeypatch.setattr(quota, "BURST_SHARE", 1.0)
    _, refused = run(saturated(MINUTE_SERVERS[name](), 10 * MINUTES, seed=1))
    assert refused > 0
