"""Extreme numbers in replies and stores: none causes a long loop or stops callers for longer than a window."""

import asyncio
import logging
from math import inf, nan

import attrs
import pytest

from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest
from panelica_async.ratelimit.permits import LocalPermits
from panelica_async.ratelimit.rules import MAX_RECORDED
from panelica_async.ratelimit.store import MAX_COUNTED, SharedLimit
from tests.ratelimit.test_sqlite import WINDOWS_ONLY, file, machine, opens_in, spend
from tests.support.virtual_time import run

__all__ = ["file", "machine"]  # fixtures
PROFESSIONAL = RateLimit.for_tier("professional")
USED_UP = {
    f"X-RateLimit-{kind}-{window}": value
    for kind, value in (("Limit", "1000000"), ("Remaining", "0"))
    for window in ("Minute", "Hour")
}


def test_usage_above_the_bound_is_counted_in_one_step():
    async def main() -> int:
        limiter = RateLimiter(PROFESSIONAL)
        limiter.observe(200, USED_UP)
        return len(limiter._permits.quota.minute.instants())

    assert run(main()) == MAX_RECORDED


def test_store_records_at_most_the_bound(file):
    file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, unrecorded=((1.0, 10**9),)))
    rows = file._database.execute("SELECT COUNT(*) FROM sent WHERE log = 'minute'").fetchone()
    assert rows == (MAX_RECORDED,)


def test_window_larger_than_the_bound_is_enforced(file):
    limit = attrs.evolve(WINDOWS_ONLY, minute_count=0, hour_count=MAX_RECORDED + 2000)
    for sent, expected in ((6000, 0), (5999, 0), (1, 3600)):
        opened = file.reserve(ReserveRequest(member="a", limit=limit, unrecorded=((1.0, sent),))).opens_in
        assert opened == pytest.approx(expected, abs=5)
    file.reserve(ReserveRequest(member="b", limit=WINDOWS_ONLY, wanted=1))  # a smaller limit forgets nothing
    assert file.reserve(ReserveRequest(member="a", limit=limit)).opens_in == pytest.approx(3600, abs=5)


def test_window_larger_than_a_store_counts_is_reduced(caplog):
    async def main() -> SharedLimit:
        limiter = RateLimiter(RateLimit(per_minute=60, per_hour=1_000_000), coordinator=Hanging())
        return limiter._permits._shared_limit

    limit = run(main())
    assert (limit.minute_count, limit.hour_count) == (60, MAX_COUNTED)
    assert "at most 60000 requests per hour" in caplog.text


@pytest.mark.parametrize("poison", [1e9, 1e18, float("inf"), -1e18])
@pytest.mark.parametrize("column", ["paused_until", "full_at", "recovery_since", "clock", "slowdown"])
def test_poisoned_state_lasts_an_hour_at_most(file, column, poison):
    spend(file, 1)
    file._database.execute(f"UPDATE state SET {column} = ?", (poison,))
    assert opens_in(file) <= 3601


def test_poisoned_log_stops_no_caller(file):
    spend(file, 60)
    file._database.execute("UPDATE sent SET at = 1e9")
    assert opens_in(file) == 0


IMPLAUSIBLE = [
    *({field: seconds} for field in ("opens_in", "retry_in") for seconds in (inf, nan, 1e18, -5.0)),
    *({"delays": (0.0, seconds)} for seconds in (inf, nan, 1e18, -5.0, "soon")),
    *({"members": count} for count in (inf, nan, 10**9, -1)),
    *(
        {field: count}
        for field in ("minute_used", "hour_used", "interactive_used")
        for count in (inf, nan, 10**18, -5, 0.5, "many")
    ),
]


@pytest.mark.parametrize("answer", IMPLAUSIBLE, ids=str)
def test_implausible_answer_of_a_store_is_no_answer(answer, caplog):
    class Broken:
        async def reserve(self, request: ReserveRequest) -> Reservation:
            plausible = Reservation(delays=(0.0,), opens_in=0.0, retry_in=0.0, members=1, store="a")
            return attrs.evolve(plausible, **answer)

    async def main() -> None:
        await RateLimiter(PROFESSIONAL, coordinator=Broken()).acquire()

    run(main())
    assert "is away" in caplog.text


@pytest.mark.parametrize(
    "number", ["inf", "nan", "1e18", "-1", "9" * 400, "1e-9", "0x10", "", "12abc", "1_0", "\u0661\u0662", "7" * 8000]
)
@pytest.mark.parametrize("refused", [False, True])
def test_poisoned_headers_last_an_hour_at_most(number, refused):
    names = [
        f"X-RateLimit-{kind}-{window}" for kind in ("Limit", "Remaining", "Reset") for window in ("Minute", "Hour")
    ]

    async def main() -> tuple[RateLimit, float, int]:
        limiter = RateLimiter(PROFESSIONAL)
        limiter.observe(429 if refused else 200, dict.fromkeys([*names, "Retry-After"], number))
        return limiter.limit, limiter.expected_wait(), len(limiter._permits.quota.hour.instants())

    limit, wait, noted = run(main())
    assert limit == PROFESSIONAL
    assert wait <= (3601 if refused else 0)
    assert noted == 0


def test_reset_of_a_success_lasts_a_minute_at_most():
    async def main() -> float:
        limiter = RateLimiter(PROFESSIONAL)
        times = {"Date": "Thu, 15 Jan 2026 10:30:00 GMT", "X-RateLimit-Reset-Minute": str(1768473000 + 3600)}
        limiter.observe(200, {"X-RateLimit-Remaining-Minute": "0", **times})
        return limiter.expected_wait()

    assert 59 <= run(main()) <= 61


def test_named_limit_is_not_lifted_where_it_may_not_rise():
    async def main() -> RateLimit:
        limiter = RateLimiter(RateLimit.for_tier("starter"), may_rise=False)
        limiter.observe(200, {"X-RateLimit-Limit-Minute": "300"})
        return limiter.limit

    assert run(main()) == RateLimit.for_tier("starter")


@pytest.mark.parametrize(("may_rise", "expected"), [(False, 1000), (True, 5000)])
def test_named_limit_of_the_hour_rises_only_where_it_may(may_rise, expected):
    async def main() -> float | None:
        limiter = RateLimiter(RateLimit(per_minute=60, per_hour=1000), may_rise=may_rise)
        limiter.observe(200, {"X-RateLimit-Limit-Hour": "5000"})
        return limiter.limit.per_hour

    assert run(main()) == expected


def test_configured_limit_regains_its_burst():
    async def main() -> list[RateLimit]:
        limiter, limits = RateLimiter(PROFESSIONAL), []
        for minute in ("100", "300"):
            limiter.observe(200, {"X-RateLimit-Limit-Minute": minute})
            limits.append(limiter.limit)
        return limits

    lowered, restored = run(main())
    assert (lowered.burst, restored) == (None, PROFESSIONAL)


def test_lower_limit_of_a_refusal_is_forgotten(caplog):
    async def main() -> tuple[RateLimit, RateLimit]:
        limiter = RateLimiter(PROFESSIONAL)
        limiter.observe(429, {}, retry_after=1, limit=50, window="minute")
        lowered = limiter.limit
        await asyncio.sleep(301)
        await limiter.acquire()
        return lowered, limiter.limit

    caplog.set_level(logging.WARNING, "panelica_async")
    lowered, restored = run(main())
    assert (lowered.per_minute, restored) == (50, PROFESSIONAL)
    assert "lower rate limit" in caplog.text


def test_lower_limit_holds_until_replies_no_longer_name_it():
    async def main() -> list[float | None]:
        limiter, limits = RateLimiter(PROFESSIONAL), []
        for pause, names_limit in ((0, True), (200, True), (200, False), (101, False)):
            await asyncio.sleep(pause)
            if names_limit:
                limiter.observe(200, {"X-RateLimit-Limit-Minute": "50"})
            limiter.try_acquire()
            limits.append(limiter.limit.per_minute)
        return limits

    assert run(main()) == [50, 50, 50, 300]


def test_bulk_is_not_woken_during_a_pause():
    """It checks once a second whether the interactive lane has become quieter, but not before the pause is over."""
    permits = LocalPermits(PROFESSIONAL)
    for _ in range(44):
        permits.take(0.0, "interactive")
    permits.pause(0.0, 300.0, refused=False)
    assert permits.quota.has_raised_reserve(1.0)
    assert permits.next_turn(1.0, {"interactive": 0, "bulk": 1}) == ("bulk", pytest.approx(300, abs=1))


class Hanging:
    async def reserve(self, request: ReserveRequest) -> Reservation:
        await asyncio.Event().wait()
        raise AssertionError


def test_store_that_hangs_stops_no_caller():
    async def main() -> float:
        started = asyncio.get_running_loop().time()
        await RateLimiter(PROFESSIONAL, coordinator=Hanging()).acquire()
        return asyncio.get_running_loop().time() - started

    assert run(main()) <= 5


def test_members_report_to_a_store_that_lost_its_memory():
    """Each has used a quarter of the limit, and the panel reports the total."""

    class Forgetful:
        def __init__(self) -> None:
            self.requests: list[ReserveRequest] = []

        async def reserve(self, request: ReserveRequest) -> Reservation:
            self.requests.append(request)
            return Reservation(delays=(0.0,) * request.wanted, opens_in=0.0, retry_in=0.0, members=1, store="b")

    store = Forgetful()

    async def main() -> None:
        limiter = RateLimiter(PROFESSIONAL, coordinator=store)
        await limiter.acquire()
        limiter._permits._store_name = "a"
        await asyncio.sleep(30)
        await limiter.acquire()
        await asyncio.sleep(1)

    run(main())
    ((age, count),) = next(request.unrecorded for request in reversed(store.requests) if request.unrecorded)
    assert age >= 30
    assert count == 1
