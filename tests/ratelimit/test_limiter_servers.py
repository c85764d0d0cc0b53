"""Saturated traffic through slow networks against servers that count in every way the panel might.

The servers count a request when it arrives, after a delay that differs from one to the next. None may be refused, and
nearly everything the server would allow must get through.
"""

import asyncio
import random
from collections import deque

import pytest

from panelica_async.ratelimit import RateLimit, RateLimiter, limit
from tests.ratelimit.servers import HOUR_SERVERS, SERVERS, Server
from tests.support.virtual_time import run

PROFESSIONAL = RateLimit.for_tier("professional")
MINUTES = 60.0
HOURS = 3600.0
SHARE = 0.97

pytestmark = pytest.mark.once


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
        """Always have more callers than the limit allows."""
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


@pytest.mark.parametrize("name", SERVERS)
def test_half_an_hour_of_saturation_uses_the_quota(name):
    admitted, refused = run(saturated(SERVERS[name](random.Random(1)), 30 * MINUTES, seed=1))
    assert refused == 0
    assert admitted >= SHARE * 300 * 30


@pytest.mark.parametrize("name", HOUR_SERVERS)
def test_two_hours_under_an_hour_limit_use_the_quota(name):
    admitted, refused = run(saturated(HOUR_SERVERS[name](random.Random(2)), 2 * HOURS, seed=2))
    assert refused == 0
    assert admitted >= SHARE * 10_000 * 2


async def on_and_off(server: Server, seed: int) -> tuple[Traffic, list[tuple[float, float]]]:
    """Alternate between sending and resting; also return when there was demand."""
    traffic, demand = Traffic(server, seed), []
    for _ in range(8):
        started, seconds = traffic.loop.time(), traffic.random.uniform(1, 100)
        await traffic.saturate(seconds)
        demand.append((started, started + seconds))
        await asyncio.sleep(traffic.random.uniform(0, 60))
    return traffic, demand


def most_possible(demand: list[tuple[float, float]]) -> int:
    """Return how many requests would pass without network delays, if bucket and window must both allow them."""
    count, due, sent = 0, 0.0, deque([0.0] * 300, maxlen=300)
    for instant, end in demand:
        while (instant := max(instant, due - 49 / 5, sent[0] + 60)) < end:
            due = max(due, instant) + 1 / 5
            sent.append(instant)
            count += 1
    return count


@pytest.mark.parametrize("name", SERVERS)
def test_fluctuating_demand_gets_nearly_all_possible(name):
    runs = [run(on_and_off(SERVERS[name](random.Random(seed)), seed)) for seed in range(4)]
    assert [traffic.refused for traffic, _ in runs] == [[]] * 4
    admitted = sum(len(traffic.admitted) for traffic, _ in runs)
    assert admitted >= SHARE * sum(most_possible(demand) for _, demand in runs)


@pytest.mark.parametrize("name", SERVERS)
def test_limiter_without_margins_is_refused(name, monkeypatch):
    """The simulation is hard enough to detect missing margins."""
    monkeypatch.setattr(limit, "DELAY_SPREAD", 0.0)
    monkeypatch.setattr(limit, "BURST_SHARE", 1.0)
    _, refused = run(saturated(SERVERS[name](random.Random(3)), 10 * MINUTES, seed=1))
    assert refused > 0
