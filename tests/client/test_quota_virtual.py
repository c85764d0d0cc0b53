"""2,000 calls of a professional key in virtual time, through retry and limiter, against the sandbox's own limits."""

import asyncio
import random
from typing import cast

import pytest
from aiohttp import ClientRequest, ClientResponse

from panelica_async.catalog import TIERS
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.sandbox import ServerLimits
from panelica_async.sandbox.limits import WindowKind
from panelica_async.transport.pipeline import Transport
from tests.support.virtual_time import now, run
from tests.transport.stubs import StubRequest, make_call, make_response, make_transport

PROFESSIONAL = TIERS["professional"]
CALLS = 2000
SHARE = 0.97

# The panel's minute does not begin when the client does.
PHASES = [0.0, 17.3, 59.9]

pytestmark = pytest.mark.once


class Panel:
    """The panel: requests arrive after varying delays, and are counted."""

    def __init__(self, window: WindowKind, phase: float, seed: int) -> None:
        loop = asyncio.get_running_loop()
        self.limits = ServerLimits(PROFESSIONAL, lambda: loop.time() + phase, window)
        self.delays = random.Random(seed)
        self.admitted: list[float] = []
        self.refused = 0

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        there, back = self._delay(), self._delay()
        await asyncio.sleep(there)
        verdict = self.limits.admit()
        headers = self.limits.headers()
        await asyncio.sleep(back)
        if verdict.admitted:
            self.admitted.append(now() - back)
            return make_response(headers=headers)
        self.refused += 1
        return make_response(429, headers={**headers, "Retry-After": str(verdict.retry_after)})

    def _delay(self) -> float:
        """Seconds on the way; half above 0.045, a tenth above 0.2."""
        return min(0.5, 0.015 + self.delays.lognormvariate(-3.5, 1.5))


async def send(through: Transport) -> int:
    call = make_call()
    status = (await through.send(call)).status
    assert call.attempts == 1
    return status


def possible(window: WindowKind, start: float, seconds: float) -> int:
    """Return how many requests the panel would admit from a client that always sends at the right moment."""
    moment = start
    limits = ServerLimits(PROFESSIONAL, lambda: moment, window)
    count = 0
    while moment <= start + seconds:
        if limits.admit().admitted:
            count += 1
        else:
            moment += 0.01
    return count


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
def test_2000_calls_use_the_quota_without_refusals(window: WindowKind, phase: float) -> None:
    async def main() -> tuple[Panel, float, float]:
        panel = Panel(window, phase, seed=2000)
        through = make_transport(panel, RateLimiter(RateLimit.for_tier("professional")))
        started = now()
        statuses = await asyncio.gather(*(send(through) for _ in range(CALLS)))
        assert statuses == [200] * CALLS
        return panel, started, max(panel.admitted) - started

    panel, started, seconds = run(main())
    assert panel.refused == 0
    assert len(panel.admitted) == CALLS
    assert len(panel.admitted) / possible(window, started + phase, seconds) >= SHARE


@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
def test_without_the_limiter_calls_would_be_refused(window: WindowKind) -> None:
    """The simulated panel is strict enough to detect a client without a limiter."""

    async def main() -> int:
        panel = Panel(window, 0.0, seed=1)

        async def sent(number: int) -> None:
            await asyncio.sleep(number / (1.1 * 300 / 60))  # a tenth too fast
            await panel(cast("ClientRequest", StubRequest()))

        await asyncio.gather(*(sent(number) for number in range(CALLS)))
        return panel.refused

    assert run(main()) > 0
