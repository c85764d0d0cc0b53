"""Learning from replies: the limit, the usage of others, and pauses for all callers."""

import asyncio
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async.errors import RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.ratelimit.limit import MAX_WAIT
from tests.support.virtual_time import now, run

STARTER = RateLimit.for_tier("starter")
PROFESSIONAL = RateLimit.for_tier("professional")


def minute(**values: object) -> dict[str, str]:
    return {f"X-RateLimit-{name.capitalize()}-Minute": str(value) for name, value in values.items()}


async def passing(limiter: RateLimiter, callers: int) -> list[float]:
    """Return in how many seconds each of these callers passes."""
    started, passed = now(), []

    async def caller() -> None:
        await limiter.acquire()
        passed.append(now() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return passed


class TestLimit:
    def test_limit_follows_the_headers_of_any_reply(self):
        async def main() -> RateLimit:
            limiter = RateLimiter(STARTER)
            limiter.observe(200, minute(limit=300, remaining=299) | {"X-RateLimit-Limit-Hour": "10000"})
            return limiter.limit

        assert run(main()) == RateLimit(per_minute=300, per_hour=10_000)

    @pytest.mark.parametrize(
        ("window", "limit"),
        [
            ("minute", RateLimit(per_minute=40, per_hour=10_000)),
            ("hour", RateLimit(per_minute=300, per_hour=40, burst=50)),
            ("fortnight", PROFESSIONAL),
            (None, PROFESSIONAL),
        ],
    )
    def test_limit_follows_the_body_of_a_refusal(self, window, limit):
        async def main() -> RateLimit:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(429, {}, retry_after=5, limit=40, window=window)
            return limiter.limit

        assert run(main()) == limit

    @pytest.mark.parametrize("unlimited", ["0", "-1"])
    def test_limit_of_zero_with_nothing_left_stops_no_call(self, unlimited):
        async def main() -> list[float]:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(200, minute(limit=unlimited, remaining=0))
            return await passing(limiter, 3)

        assert max(run(main())) < 0.1

    def test_unlimited_key_follows_the_limit_of_a_refusal(self):
        async def main() -> list[float]:
            limiter = RateLimiter(RateLimit.unlimited())
            await passing(limiter, 100)
            limiter.observe(429, {}, retry_after=30, limit=60, window="minute")
            return await passing(limiter, 3)

        assert min(run(main())) >= 60.6  # the hundred count

    def test_share_survives_a_change_of_limit(self):
        async def main() -> RateLimit:
            limiter = RateLimiter(RateLimit(per_minute=60, share=0.5))
            limiter.observe(200, minute(limit=300))
            return limiter.limit

        assert run(main()) == RateLimit(per_minute=300, share=0.5)

    def test_fixed_limit_stays_but_refusals_pause(self):
        async def main() -> float:
            limiter = RateLimiter(STARTER, learn=False)
            limiter.observe(200, minute(limit=300))
            limiter.observe(429, minute(limit=10), retry_after=20, limit=10, window="minute")
            assert limiter.limit == STARTER
            return limiter.expected_wait()

        assert 20 <= run(main()) <= 21


class TestOthers:
    def test_usage_of_others_is_left_to_them(self):
        async def main() -> list[float]:
            limiter = RateLimiter(RateLimit(per_minute=60, burst=60))
            await passing(limiter, 5)
            limiter.observe(200, minute(limit=60, remaining=60 - 5 - 52))
            return await passing(limiter, 4)

        passed = run(main())
        assert passed[2] < 10  # three permits are left; the burst is used up
        assert passed[3] >= 60

    def test_own_requests_in_flight_are_not_others(self):
        async def main() -> float:
            limiter = RateLimiter(PROFESSIONAL)
            for counted in range(1, 41):
                await limiter.acquire()
                limiter.observe(200, minute(limit=300, remaining=300 - max(1, counted - 10)))
            return limiter.expected_wait()

        assert run(main()) == 0

    def test_share_of_others_is_not_counted(self):
        async def main() -> tuple[float, float]:
            limiter = RateLimiter(RateLimit(per_minute=300, share=0.5))
            limiter.observe(200, minute(remaining=150))
            untouched = limiter.expected_wait()
            limiter.observe(200, minute(remaining=0))
            return untouched, limiter.expected_wait()

        assert run(main()) == (0, pytest.approx(60, abs=1))

    @pytest.mark.parametrize("minute_limit", ["300", "0", None])
    def test_usage_of_the_hour_counts_without_its_limit(self, minute_limit):
        async def main() -> int | None:
            limiter = RateLimiter(PROFESSIONAL)
            headers = {"X-RateLimit-Remaining-Hour": "4000"}
            limiter.observe(200, headers | ({} if minute_limit is None else minute(limit=minute_limit)))
            await limiter.acquire()
            return limiter.left.hour

        assert run(main()) == 3999

    def test_window_used_up_here_alone_does_not_pause(self):
        """The minute of the panel may end later than the one that this limiter counts."""

        async def main() -> float:
            limiter = RateLimiter(RateLimit(per_minute=60, burst=10))
            await passing(limiter, 60)
            limiter.observe(200, minute(limit=60, remaining=0))
            return limiter.expected_wait()

        assert run(main()) < 20

    def test_window_used_up_by_others_pauses_all(self):
        async def main() -> float:
            limiter = RateLimiter(PROFESSIONAL)
            await limiter.acquire()
            date = {"Date": "Thu, 01 Jan 2026 12:00:00 GMT"}
            limiter.observe(200, minute(limit=300, remaining=0, reset=1767268800 + 45) | date)
            started = now()
            await limiter.acquire()
            return now() - started

        assert 45 <= run(main()) <= 61

    def test_two_unconnected_limiters_share_a_key_without_refusals(self):
        """A server that counts in fixed minutes and reports what is left; each limiter assumes that it is alone."""

        async def main() -> tuple[int, int]:
            used, refused, admitted, started = 0, 0, 0, now()
            window = 0

            async def caller(limiter: RateLimiter) -> None:
                nonlocal used, refused, admitted, window
                while now() < started + 1200:
                    await limiter.acquire()
                    await asyncio.sleep(0.05)
                    if int((now() - 990) // 60) != window:
                        window, used = int((now() - 990) // 60), 0
                    reset = 60 - (now() - 990) % 60
                    if used < 300:
                        used, admitted = used + 1, admitted + 1
                        limiter.observe(200, minute(limit=300, remaining=300 - used))
                    else:
                        refused += 1
                        limiter.observe(429, minute(limit=300, remaining=0), retry_after=math.ceil(reset))

            async with asyncio.TaskGroup() as group:
                for limiter in (RateLimiter(PROFESSIONAL), RateLimiter(PROFESSIONAL)):
                    for _ in range(10):
                        group.create_task(caller(limiter))
            return admitted, refused

        admitted, refused = run(main())
        assert refused <= 100  # two limiters that ignore the reports have thousands
        assert admitted >= 0.6 * 300 * 20


class TestRefusal:
    def test_refusal_pauses_once_then_halves_the_pace(self):
        async def main() -> list[float]:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(429, {}, retry_after=42)
            return await passing(limiter, 60)

        passed = run(main())
        gaps = [later - earlier for earlier, later in itertools.pairwise(passed)]
        assert 42 <= passed[0] <= 43.01
        assert gaps[0] == pytest.approx(0.4, rel=0.01)
        assert all(0.2 < gap <= 0.4 for gap in gaps)
        assert gaps == sorted(gaps, reverse=True)

    def test_pace_becomes_normal_again(self):
        async def main() -> tuple[float, int]:
            limiter = RateLimiter(RateLimit(per_minute=300))
            limiter.observe(429, {}, retry_after=1)
            passed = await passing(limiter, 1700)
            return passed[-1] - passed[-2], sum(302 <= instant < 362 for instant in passed)

        gap, in_a_minute = run(main())
        assert gap == pytest.approx(0.2)
        assert in_a_minute >= 0.98 * 300

    def test_simultaneous_refusals_count_once(self):
        async def main() -> tuple[float, float]:
            limiter = RateLimiter(PROFESSIONAL)
            for wait in (10, 30, 20):
                limiter.observe(429, {}, retry_after=wait)
            first, second = await passing(limiter, 2)
            return first, second - first

        first, gap = run(main())
        assert 30 <= first <= 31.01
        assert gap == pytest.approx(0.4, rel=0.1)

    def test_refusal_during_slow_start_halves_the_pace_again(self):
        async def main() -> list[float]:
            limiter = RateLimiter(PROFESSIONAL)
            gaps = []
            for _ in range(6):
                limiter.observe(429, {}, retry_after=1)
                first, second = await passing(limiter, 2)
                gaps.append(second - first)
            return gaps

        gaps = run(main())
        assert [round(gap, 1) for gap in gaps] == sorted(round(gap, 1) for gap in gaps)
        assert gaps[1] == pytest.approx(0.8, rel=0.05)
        assert gaps[-1] <= 8 * 0.2 + 0.01

    def test_change_of_limit_keeps_the_slow_start(self):
        async def main() -> list[float]:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(429, {}, retry_after=10, limit=240, window="minute")
            limiter.reconfigure(PROFESSIONAL)
            return await passing(limiter, 3)

        passed = run(main())
        assert passed[0] >= 10
        assert passed[2] - passed[1] == pytest.approx(0.4, rel=0.01)

    def test_unlimited_callers_are_staggered_after_a_refusal(self):
        async def main() -> list[float]:
            limiter = RateLimiter(RateLimit.unlimited())
            limiter.observe(429, {}, retry_after=10)
            return await passing(limiter, 50)

        passed = run(main())
        assert passed[0] >= 10
        assert min(later - earlier for earlier, later in itertools.pairwise(passed)) > 0.15

    def test_pause_beyond_max_wait_fails_waiters_at_once(self):
        async def main() -> tuple[float, float]:
            limiter = RateLimiter(RateLimit(per_minute=60, burst=1))
            await limiter.acquire()
            patient = asyncio.create_task(limiter.acquire(max_wait=100))
            hasty = asyncio.create_task(limiter.acquire(max_wait=20))
            await asyncio.sleep(0.5)
            limiter.observe(429, {}, retry_after=50)
            asked = now()
            with pytest.raises(RateLimitWaitError, match=r"allowed in 50\.0 s, but this call may wait only 19\.5 s"):
                await hasty
            failed = now()
            await patient
            return failed - asked, now() - asked

        failed, passed = run(main())
        assert failed < 0.001
        assert 50 <= passed < 52


class TestNonsense:
    numbers = st.one_of(
        st.sampled_from(
            ["-1", "0", "", "inf", "-inf", "nan", "1e308", "99999999999999999999", "unlimited", "١٢", "1;2"]
        ),
        st.integers().map(str),
        st.floats().map(str),
        st.text(max_size=8),
    )
    names = st.sampled_from(
        [f"X-RateLimit-{kind}-{window}" for kind in ("Limit", "Remaining", "Reset") for window in ("Minute", "Hour")]
        + ["Retry-After", "Date"]
    )

    @settings(max_examples=300)
    @given(
        st.sampled_from([200, 404, 429, 500, 0]),
        st.dictionaries(names, numbers),
        st.one_of(st.none(), st.floats(), st.just(10**400)),
        st.one_of(st.none(), st.floats(), st.integers(), st.just(10**400)),
        st.sampled_from([None, "minute", "hour", "", "eternity"]),
    )
    def test_any_reply_pauses_for_an_hour_at_most(self, status, headers, retry_after, limit, window):
        async def main() -> float:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(status, headers, retry_after=retry_after, limit=limit, window=window)
            return limiter.expected_wait()

        assert 0 <= run(main()) <= MAX_WAIT + 2

    @pytest.mark.parametrize("retry_after", [-5, math.inf, math.nan, None])
    def test_implausible_wait_counts_as_a_minute(self, retry_after):
        async def main() -> float:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(429, {}, retry_after=retry_after)
            return limiter.expected_wait()

        assert 60 <= run(main()) <= 61

    def test_reset_years_away_is_capped_at_an_hour(self):
        async def main() -> float:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(429, minute(reset=99999999999))
            return limiter.expected_wait()

        assert 3600 <= run(main()) <= 3601

    def test_replies_without_rate_headers_change_nothing(self):
        async def main() -> None:
            limiter = RateLimiter(PROFESSIONAL)
            limiter.observe(200, {"Content-Type": "application/json"})
            limiter.observe(500, {})
            assert limiter.limit == PROFESSIONAL
            assert limiter.expected_wait() == 0

        run(main())
