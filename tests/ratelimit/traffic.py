"""Several limiters on one key."""

import asyncio
import random

from panelica_async.ratelimit import Lane, RateLimiter
from tests.ratelimit.servers import Server
from tests.support.virtual_time import now, run


class Traffic:
    """Members that send to one server, through a network with varying delays."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server, self.random = server, random.Random(seed)
        self.admitted: list[float] = []
        self.refused: list[float] = []
        self.pauses, self.paused_until = 0, 0.0
        self.by_member: dict[RateLimiter, int] = {}

    async def saturate(self, limiter: RateLimiter, seconds: float, lane: Lane = "interactive") -> None:
        loop, end = asyncio.get_running_loop(), now() + seconds

        async def caller() -> None:
            while now() < end:
                await limiter.acquire(lane=lane)
                self.by_member[limiter] = self.by_member.get(limiter, 0) + 1
                delay = min(0.5, 0.015 + self.random.lognormvariate(-3.5, 1.5))
                loop.call_later(delay, self.arrive, limiter)

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(caller())

    def arrive(self, limiter: RateLimiter) -> None:
        admitted = self.server.admits(now())
        (self.admitted if admitted else self.refused).append(now())
        if not admitted:
            if not self.paused_until > now():
                self.pauses += 1
            self.paused_until = now() + 30
            limiter.observe(429, {}, retry_after=30)


def check_that_two_share(limiters: list[RateLimiter], server: Server, seed: int) -> None:
    """Check that two limiters use up 300 requests a minute for five minutes, evenly and without a refusal."""

    async def main() -> Traffic:
        traffic = Traffic(server, seed)
        started = now()
        async with asyncio.TaskGroup() as group:
            for limiter in limiters:
                group.create_task(traffic.saturate(limiter, 300))
        traffic.admitted = [instant for instant in traffic.admitted if instant < started + 300]
        return traffic

    traffic = run(main())
    assert traffic.refused == []
    assert len(traffic.admitted) >= 0.97 * 300 * 5
    low, high = sorted(traffic.by_member.values())
    assert low >= 0.9 * high
