"""How the sandbox counts requests, and that the limiter of the package stays within it, whichever way it counts."""

import asyncio
import random

import pytest

from panelica_async.catalog import TIERS, Tier
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.sandbox import Sandbox, ServerLimits
from tests.sandbox.signed_client import Clock, SignedClient
from tests.support.virtual_time import run

SMALL = Tier(name="small", requests_per_minute=6, requests_per_hour=20, burst=None, unlimited=False)
BURSTY = Tier(name="bursty", requests_per_minute=60, requests_per_hour=None, burst=5, unlimited=False)


def admitted(limits: ServerLimits, most: int = 10_000) -> int:
    """Return how many requests are admitted now."""
    return next((count for count in range(most) if not limits.admit().admitted), most)


def test_fixed_window_restarts_with_the_minute() -> None:
    clock = Clock(60_000 * 60 + 59.0)
    limits = ServerLimits(SMALL, clock)
    assert admitted(limits) == 6
    refused = limits.admit()
    assert (refused.admitted, refused.window, refused.limit, refused.retry_after) == (False, "minute", 6, 1)
    clock.advance(1)
    assert admitted(limits) == 6


def test_sliding_window_forgets_requests_after_60_s() -> None:
    clock = Clock(60_000 * 60 + 59.0)
    limits = ServerLimits(SMALL, clock, window="sliding")
    assert [limits.admit().admitted for _ in range(2)] == [True, True]
    clock.advance(30)
    assert admitted(limits) == 4
    assert limits.admit().retry_after == 30
    clock.advance(29.5)
    assert limits.admit().retry_after == 1
    clock.advance(0.5)
    assert admitted(limits) == 2
    clock.advance(30)
    assert admitted(limits) == 4


def test_sliding_window_rounds_its_reset_up() -> None:
    """The header has whole seconds."""
    clock = Clock(60_000 * 60 + 59.25)
    limits = ServerLimits(SMALL, clock, window="sliding")
    limits.admit()
    assert limits.headers()["X-RateLimit-Reset-Minute"] == str(60_000 * 60 + 120)


def test_usage_is_back_at_zero_at_its_reset() -> None:
    """In a sliding window, the last request leaves last; a bucket needs a second for each."""
    clock = Clock(60_000 * 60)
    sliding, bucket = (ServerLimits(BURSTY, clock, window=window) for window in ("sliding", "bucket"))
    for limits in (sliding, bucket):
        limits.admit()
    clock.advance(10)
    for limits in (sliding, bucket):
        limits.admit()
        limits.admit()
    assert sliding.usage("minute").reset_at == clock() + 60
    assert bucket.usage("minute").reset_at == clock() + 2
    for limits in (sliding, bucket):
        clock.now = limits.usage("minute").reset_at
        assert limits.usage("minute").used == 0


def test_bucket_sends_no_headers_about_the_minute() -> None:
    assert ServerLimits(BURSTY, Clock(), window="bucket").headers() == {}
    assert ServerLimits(BURSTY, Clock(), window="sliding").headers()["X-RateLimit-Remaining-Minute"] == "60"


def test_bucket_refills_evenly() -> None:
    clock = Clock()
    limits = ServerLimits(BURSTY, clock, window="bucket")
    assert admitted(limits) == 5
    refused = limits.admit()
    assert (refused.window, refused.limit, refused.retry_after) == ("minute", 60, 1)
    clock.advance(3)
    assert admitted(limits) == 3
    clock.advance(3600)
    assert admitted(limits) == 5


@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_burst_limits_in_addition_to_the_minute(window) -> None:
    clock = Clock(60_000 * 60)
    limits = ServerLimits(BURSTY, clock, window=window)
    assert admitted(limits) == 5
    assert limits.admit().window == "burst"
    count = 5
    while limits.usage("minute").remaining:
        clock.advance(1)
        count += admitted(limits)
    assert count == 60
    clock.advance(0.5)
    assert limits.admit().window == "minute"


@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
def test_refusal_names_the_limit_of_its_window(window) -> None:
    limits = ServerLimits(TIERS["professional"], Clock(), window=window)
    admitted(limits, most=2000)
    refused = limits.admit()
    assert (refused.window, refused.limit) in {("minute", 300), ("burst", 50)}


@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
def test_hour_limits_in_addition_to_the_minute(window) -> None:
    clock = Clock(1000 * 3600)
    limits = ServerLimits(SMALL, clock, window=window)
    count = 0
    for _ in range(30):
        count += admitted(limits)
        clock.advance(60)
    assert count == 20
    refused = limits.admit()
    assert (refused.window, refused.limit) == ("hour", 20)
    clock.advance(refused.retry_after)
    assert limits.admit().admitted


@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
@pytest.mark.parametrize("tier", TIERS.values(), ids=lambda tier: tier.name)
def test_request_after_retry_after_is_admitted(tier: Tier, window) -> None:
    clock = Clock()
    limits = ServerLimits(tier, clock, window=window)
    for _ in range(20):
        passed = admitted(limits, most=2000)
        assert passed
        clock.advance(limits.admit().retry_after)


def test_refused_request_does_not_count() -> None:
    clock = Clock()
    limits = ServerLimits(SMALL, clock)
    admitted(limits)
    for _ in range(100):
        limits.admit()
    assert limits.usage("minute").used == 6
    assert limits.usage("hour").used == 6


def test_enterprise_has_no_limit() -> None:
    limits = ServerLimits(TIERS["enterprise"], Clock())
    assert admitted(limits) == 10_000
    assert limits.headers() == {}
    usage = limits.usage("minute")
    assert (usage.limit, usage.used, usage.remaining) == (None, 10_000, None)


def test_window_when_unknown_is_rejected() -> None:
    with pytest.raises(ValueError, match="must be one of fixed, sliding, bucket"):
        ServerLimits(SMALL, Clock(), window="leaky")


async def test_request_beyond_the_minute_is_429(panel: SignedClient, box: Sandbox, clock: Clock) -> None:
    credentials = box.add_key(tier="starter")
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    clock.advance(-clock() % 60 + 20)
    for left in reversed(range(60)):
        answer = await user.call("GET", "/v1/me")
        assert answer.headers["X-RateLimit-Limit-Minute"] == "60"
        assert answer.headers["X-RateLimit-Remaining-Minute"] == str(left)
        assert answer.headers["X-RateLimit-Reset-Minute"] == str(int(clock()) + 40)
    answer = await user.call("POST", "/v1/plans", {"name": "Refused"})
    assert answer.status == 429
    assert answer.data == {
        "error": "Rate limit exceeded for this API key (minute window)",
        "code": "RATE_LIMIT_EXCEEDED",
        "details": "retry after 40 s",
        "limit": 60,
        "retry_after": 40,
        "window": "minute",
    }
    assert answer.headers["Retry-After"] == "40"
    assert answer.headers["X-RateLimit-Remaining-Minute"] == "0"
    # Another key has its own count, and the refused call did nothing.
    assert "Refused" not in {plan["name"] for plan in await panel.ok("GET", "/v1/plans")}
    clock.advance(40)
    assert (await user.call("GET", "/v1/me")).status == 200


async def test_rate_limit_reports_the_usage_of_the_key(panel: SignedClient, box: Sandbox, clock: Clock) -> None:
    credentials = box.add_key(tier="professional")
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    await user.ok("GET", "/v1/me")
    clock.advance(60)
    await user.call("GET", "/v1/domains/unknown")
    assert await user.ok("GET", "/v1/rate-limit") == {
        "tier": "professional",
        "requests_per_minute": 300,
        "requests_per_hour": 10000,
        "burst_size": 50,
        "current_minute_usage": 2,
        "current_hour_usage": 3,
        "reset_at": "2026-03-07T12:02:00Z",
    }


async def test_health_and_rejected_calls_do_not_count(panel: SignedClient, box: Sandbox) -> None:
    credentials = box.add_key(tier="starter")
    user = panel.with_key(credentials.api_key, credentials.api_secret)
    await user.call("GET", "/v1/health")
    await user.call("GET", "/v1/nothing/there")
    await user.with_key(credentials.api_key, "sk_live_wrong").call("GET", "/v1/me")
    assert (await user.ok("GET", "/v1/rate-limit"))["current_minute_usage"] == 1


async def test_sandbox_counts_in_the_chosen_window(session, clock: Clock) -> None:
    async with Sandbox("professional", clock=clock, window="bucket") as box:
        user = SignedClient(box, session, clock)
        answers = [(await user.call("GET", "/v1/me")).status for _ in range(51)]
    assert answers == [200] * 50 + [429]


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
