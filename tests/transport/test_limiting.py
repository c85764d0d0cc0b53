"""Waiting for quota before each attempt, in virtual time."""

import asyncio
from typing import Any

import pytest

from panelica_async.core.operation import Repeat
from panelica_async.errors import ConfigurationError, RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter
from tests.support.virtual_time import now, run
from tests.transport.stubs import Network, make_call, make_response, make_transport


class Chain:
    """A transport with its limiter and network."""

    def __init__(self, network: Network, limiter: RateLimiter, slots: int = 100) -> None:
        self.network = network
        self.limiter = limiter
        self.transport = make_transport(network, limiter, slots=slots)

    async def send(self, **options: Any) -> int:
        return (await self.transport.send(make_call(Repeat.READ, **options))).status


def refusal(seconds: int | None = None) -> Network:
    """Refuse once, then answer."""
    return Network(
        make_response(429, headers={} if seconds is None else {"Retry-After": str(seconds)}), make_response()
    )


def test_every_attempt_takes_a_permit() -> None:
    async def main() -> None:
        chain = Chain(
            Network(make_response(503), make_response(502), make_response()), RateLimiter(RateLimit(per_minute=60))
        )
        assert await chain.send() == 200
        assert chain.limiter.granted == 3

    run(main())


def test_refusal_pauses_all_calls_of_the_key() -> None:
    async def main() -> None:
        limiter = RateLimiter(RateLimit.unlimited())
        refused, other = Chain(refusal(40), limiter), Chain(Network(make_response()), limiter)
        task = asyncio.create_task(refused.send())
        await asyncio.sleep(1)
        started = now()
        assert await other.send() == 200
        assert now() - started >= 38.9
        assert await task == 200
        assert refused.network.waits[0] >= 40

    run(main())


def test_refusal_without_a_wait_pauses_for_a_minute() -> None:
    async def main() -> None:
        chain = Chain(refusal(), RateLimiter(RateLimit.unlimited()))
        assert await chain.send() == 200
        assert 60 <= chain.network.waits[0] < 61

    run(main())


def test_call_with_quota_due_after_its_deadline_fails_at_once() -> None:
    async def main() -> None:
        chain = Chain(Network(make_response()), RateLimiter(RateLimit.unlimited()))
        chain.limiter.pause(30)
        started = now()
        with pytest.raises(RateLimitWaitError) as caught:
            await chain.send(deadline=5)
        assert now() - started < 0.01
        assert chain.network.times == []
        assert caught.value.wait == pytest.approx(30, abs=0.01)
        assert caught.value.limit == pytest.approx(5, abs=0.01)

    run(main())


def test_cancelled_group_sends_nothing() -> None:
    async def main() -> None:
        chain = Chain(Network(make_response()), RateLimiter(RateLimit.unlimited()))
        chain.limiter.pause(30)
        waiting = [asyncio.create_task(chain.send()) for _ in range(3)]
        await asyncio.sleep(1)
        chain.limiter.cancel_waiters(chain.transport)
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, ConfigurationError)
            assert "closed" in str(result)
        assert chain.network.times == []

    run(main())


def test_slots_limit_the_calls_in_flight() -> None:
    async def main() -> None:
        class Counting(Network):
            now = most = 0

            async def __call__(self, request):
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    return await super().__call__(request)
                finally:
                    self.now -= 1

        network = Counting(0.5)
        chain = Chain(network, RateLimiter(RateLimit.unlimited()), slots=10)
        assert await asyncio.gather(*(chain.send() for _ in range(35))) == [200] * 35
        assert network.most == 10
        assert len(network.times) == 35

    run(main())


def test_call_gives_its_slot_away_before_a_retry() -> None:
    async def main() -> None:
        limiter = RateLimiter(RateLimit.unlimited())
        chain = Chain(Network(make_response(503, headers={"Retry-After": "30"}), make_response()), limiter, slots=1)
        task = asyncio.create_task(chain.send())
        await asyncio.sleep(1)
        started = now()
        assert await chain.send() == 200
        assert now() - started < 0.01
        assert await task == 200

    run(main())


def test_cancelled_call_gives_its_slot_away() -> None:
    async def main() -> None:
        chain = Chain(Network(make_response()), RateLimiter(RateLimit.unlimited()), slots=1)
        chain.limiter.pause(30)
        waiting = asyncio.create_task(chain.send())
        await asyncio.sleep(1)
        waiting.cancel()
        started = now()
        assert await chain.send() == 200
        assert now() - started == pytest.approx(29, abs=0.1)

    run(main())
