"""The statistics: counts, durations, and what is left of the quota."""

import asyncio
from math import ceil

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import NotFoundError, OutcomeUnknownError, PanelicaClient, RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest
from panelica_async.telemetry import LimiterState, Percentiles, QuotaLeft, Statistics, Tally
from tests.conftest import Advance, Connect, until
from tests.support.raw_server import CLOSE, HANG, RawServer, reply
from tests.telemetry.watching import without_pauses

UNLIMITED = QuotaLeft(minute=None, hour=None)
NOTHING = Statistics(
    calls=0,
    succeeded=0,
    failed=0,
    unknown=0,
    cancelled=0,
    in_flight=0,
    attempts=0,
    retries=0,
    throttled=0,
    mismatches=0,
    waited=0.0,
    duration=None,
    quota=UNLIMITED,
    limiter=LimiterState(
        limit=RateLimit.unlimited(),
        left=UNLIMITED,
        waiting={"interactive": 0, "bulk": 0},
        oldest={"interactive": 0.0, "bulk": 0.0},
        coordination="none",
    ),
    retries_left=100,
)


async def call(panel: PanelicaClient, method: str = "GET") -> None:
    await panel.request(method, "/v1/me")


async def test_new_client_has_empty_statistics(connect: Connect) -> None:
    assert connect().stats() == NOTHING


@pytest.mark.usefixtures("no_backoff")
async def test_calls_attempts_and_retries_are_counted(server: RawServer, connect: Connect, advance: Advance) -> None:
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)

    async def work() -> None:
        server.script(reply(json={}), reply(429), reply(503), reply(json={}), reply(404), CLOSE)
        await call(panel)
        await call(panel)
        with pytest.raises(NotFoundError):
            await call(panel.with_options(timeout=5))
        with pytest.raises(OutcomeUnknownError):
            await call(panel, "POST")
        limiter.observe(429, {}, retry_after=60)
        with pytest.raises(RateLimitWaitError):
            await call(panel.with_options(max_wait=1))

    await without_pauses(work(), limiter, advance)
    assert attrs.evolve(panel.stats(), waited=0.0, duration=None) == attrs.evolve(
        NOTHING, calls=5, succeeded=2, failed=2, unknown=1, attempts=6, retries=2, throttled=1, retries_left=99
    )


async def test_calls_in_flight_and_cancelled_calls_are_counted(
    server: RawServer, connect: Connect, advance: Advance
) -> None:
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)
    server.script(HANG)
    on_its_way = asyncio.create_task(call(panel))
    await server.received(1)
    limiter.observe(429, {}, retry_after=60)
    waiting = asyncio.create_task(call(panel))
    await until(lambda: limiter.waiting == 1)
    stats = panel.stats()
    assert stats.limiter.waiting == {"interactive": 1, "bulk": 0}
    assert attrs.evolve(stats, limiter=NOTHING.limiter) == attrs.evolve(NOTHING, in_flight=2, attempts=1)
    advance(20)
    for task in (on_its_way, waiting):
        task.cancel()
    await asyncio.wait([on_its_way, waiting])
    stats = panel.stats()
    assert (stats.in_flight, stats.calls, stats.cancelled, stats.attempts) == (0, 2, 2, 1)
    assert stats.waited >= 20
    assert stats.duration is not None
    assert stats.duration.p50 >= 20


async def test_statistics_have_the_quota_of_the_limiter(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit(per_minute=60, per_hour=1000, burst=20))
    panel = connect(limiter=limiter)
    assert panel.stats().quota == limiter.left == QuotaLeft(minute=60, hour=1000)
    for _ in range(3):
        await call(panel)
    assert panel.stats().quota == limiter.left == QuotaLeft(minute=57, hour=997)


def test_statistics_need_an_event_loop() -> None:
    panel = PanelicaClient("panel.example.com", api_key="pk_test_0123456789", api_secret="sk_test_0123456789")
    with pytest.raises(RuntimeError, match="no running event loop"):
        panel.stats()


def naive(durations: list[float], percent: int) -> float:
    """Return the smallest duration that this percentage of the durations does not exceed."""
    needed = ceil(len(durations) * percent / 100)
    return min(value for value in durations if sum(other <= value for other in durations) >= needed)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_percentiles_are_of_the_nearest_rank(durations: list[float]) -> None:
    tally = Tally()
    tally.durations.extend(durations)
    expected = Percentiles(p50=naive(durations, 50), p90=naive(durations, 90), p99=naive(durations, 99))
    assert tally.summary(NOTHING.limiter, 100).duration == expected


def test_percentiles_use_the_last_thousand_durations() -> None:
    tally = Tally()
    tally.durations.extend([1e6] * 5000)
    tally.durations.extend(range(1, 1001))
    assert tally.summary(NOTHING.limiter, 100).duration == Percentiles(p50=500, p90=900, p99=990)


async def test_statistics_have_the_waiters_by_lane(connect: Connect, advance: Advance) -> None:
    limiter = RateLimiter(RateLimit(per_minute=60))
    panel = connect(limiter=limiter)
    await call(panel)
    limiter.pause(60)
    bulk = panel.with_options(lane="bulk")
    waiting = [asyncio.create_task(call(each)) for each in (panel, panel, bulk)]
    await until(lambda: limiter.waiting == 3)
    advance(7)
    state = await asyncio.to_thread(lambda: panel.stats().limiter)
    assert state.waiting == {"interactive": 2, "bulk": 1}
    assert all(7 <= seconds < 60 for seconds in state.oldest.values())
    assert state.limit == RateLimit(per_minute=60)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert panel.stats().limiter.waiting == {"interactive": 0, "bulk": 0}


async def test_statistics_report_a_store_that_is_away(connect: Connect) -> None:
    class Store:
        is_there = True

        async def reserve(self, request: ReserveRequest) -> Reservation:
            if not self.is_there:
                raise OSError("no route to host")
            return Reservation(
                delays=(0.0,), opens_in=0, retry_in=0, members=1, store="s", minute_used=700, hour_used=900
            )

    store = Store()
    panel = connect(limiter=RateLimiter(RateLimit(per_minute=1000), coordinator=store))
    await call(panel)
    assert panel.stats().limiter.coordination == "shared"
    assert panel.stats().quota.minute == 299
    store.is_there = False
    await call(panel)
    assert panel.stats().limiter.coordination == "away"


@pytest.mark.usefixtures("no_backoff")
async def test_retries_are_taken_from_the_budget(server: RawServer, connect: Connect) -> None:
    server.script(reply(503), reply(503))
    panel = connect()
    await call(panel)
    assert panel.stats().retries_left == 98
