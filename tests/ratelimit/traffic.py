"""Several limiters on one key."""

import asyncio
import random

from panelica_async.ratelimit import Lane, RateLimiter
from tests.ratelimit.servers import Server


def now() -> float:
    return asyncio.get_running_loop().time()


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
