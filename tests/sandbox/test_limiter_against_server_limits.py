"""The package's limiter against the sandbox's: whichever way the panel counts, it refuses nothing."""

import asyncio
import random

import pytest

from panelica_async.catalog import TIERS
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.sandbox import ServerLimits
from tests.support.virtual_time import run


@pytest.mark.once
@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
@pytest.mark.parametrize(("tier", "calls"), [("starter", 400), ("professional", 2000), ("business", 5000)])
def test_limiter_is_never_refused_whatever_the_window(tier: str, calls: int, window) -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        delays = random.Random(7)
        limiter = RateLimiter(RateLimit.for_tier(tier))
        server = ServerLimits(TIERS[tier], loop.time, window)
        refused = 0

        async def call() -> None:
            nonlocal refused
            await limiter.acquire()
            await asyncio.sleep(delays.uniform(0.01, 0.2))
            refused += not server.admit().admitted

        started = loop.time()
        await asyncio.gather(*(call() for _ in range(calls)))
        return refused, loop.time() - started

    refused, seconds = run(main())
    assert refused == 0
    # And not by being slow: at least 90 % of what the quota of a minute allows.
    quota = TIERS[tier].requests_per_minute
    assert quota is not None
    assert seconds <= calls / quota * 60 / 0.9
