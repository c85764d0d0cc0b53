"""The limiter alone: when callers pass, and how cancelling, pausing and closing affect those that wait."""

import asyncio
import copy
import pickle
from contextlib import suppress
from typing import Any

import pytest

from panelica_async.errors import ConfigurationError, RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter
from tests.support.virtual_time import VirtualLoop, now, run

# A burst of 9 (of 10), then one a second.
STARTER = RateLimit.for_tier("starter")
BURST = 9


async def spent(limit: RateLimit = STARTER) -> RateLimiter:
    """Return a limiter whose burst has just been used."""
    limiter = RateLimiter(limit)
    while limiter.expected_wait() == 0:
        await limiter.acquire()
    return limiter


class Callers:
    """Tasks that wait for a limiter, and their results."""

    def __init__(self, limiter: RateLimiter) -> None:
        self.limiter = limiter
        self.started = now()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.passed: dict[str, float] = {}

    async def come(self, names: str, **options: object) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._wait(name, options))
        await asyncio.sleep(0)

    async def _wait(self, name: str, options: dict) -> None:
        await self.limiter.acquire(**options)
        self.passed[name] = round(now() - self.started, 3)

    async def all(self) -> dict[str, float]:
        """Return how many seconds after the start each passed, in order."""
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.passed


class TestPassing:
    def test_callers_within_the_burst_do_not_yield(self):
        async def main() -> None:
            limiter = RateLimiter(STARTER)
            for _ in range(BURST):
                with pytest.raises(StopIteration):
                    limiter.acquire().send(None)
            assert limiter.granted == BURST
            assert limiter.expected_wait() == pytest.approx(1, abs=1e-3)

        run(main())

    def test_waiters_pass_in_order_at_the_pace_of_the_limit(self):
        async def main() -> dict[str, float]:
            callers = Callers(await spent())
            await callers.come("abcd")
            return await callers.all()

        assert run(main()) == {"a": 1, "b": 2, "c": 3, "d": 4}

    def test_newcomer_does_not_overtake_a_woken_caller(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("a")
            newcomer, waits_for = limiter.acquire(), []
            # Due together with the limiter's timer: "a" is called, but has not gone yet, when the newcomer asks.
            due = limiter._timer.when()
            asyncio.get_running_loop().call_at(due, lambda: waits_for.append(newcomer.send(None)))
            passed = await callers.all()
            assert len(waits_for) == limiter.waiting == 1
            newcomer.close()
            assert limiter.waiting == 0
            return passed

        assert run(main()) == {"a": 1}

    def test_burst_is_back_after_a_rest(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            await asyncio.sleep(3600)
            callers = Callers(limiter)
            await callers.come("abcdefghijk")
            return await callers.all()

        assert list(run(main()).values()) == [0] * BURST + [1, 2]

    def test_unlimited_callers_do_not_wait(self):
        async def main() -> float:
            limiter = RateLimiter(RateLimit.unlimited())
            started = now()
            for _ in range(20_000):
                await limiter.acquire()
            assert limiter.expected_wait() == 0
            return now() - started

        assert run(main()) == 0

    def test_granted_and_waiting_are_counted(self):
        async def main() -> None:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abc")
            assert (limiter.granted, limiter.waiting) == (BURST, 3)
            assert "granted=9 waiting=3" in repr(limiter)
            await asyncio.sleep(1.5)
            assert (limiter.granted, limiter.waiting) == (BURST + 1, 2)
            await callers.all()
            assert (limiter.granted, limiter.waiting) == (BURST + 3, 0)

        run(main())


class TestWaitingIsFree:
    def test_ten_thousand_waiters_wait_an_hour_without_a_step(self):
        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            limiter = RateLimiter(STARTER)
            limiter.pause(3600)
            waiters = [asyncio.create_task(limiter.acquire()) for _ in range(10_000)]
            await asyncio.sleep(1)
            turns = loop.turns
            await asyncio.sleep(3500)
            assert limiter.waiting == 10_000
            assert loop.turns - turns <= 2
            for waiter in waiters:
                waiter.cancel()

        run(main())

    def test_one_timer_however_many_wait(self):
        async def main() -> None:
            loop = asyncio.get_running_loop()
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abcdefghij")
            limiter.pause(5)
            limiter.reconfigure(STARTER)
            callers.tasks["c"].cancel()
            await asyncio.sleep(0)
            assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == 1
            for task in callers.tasks.values():
                task.cancel()
            await callers.all()
            assert not [timer for timer in loop._scheduled if not timer.cancelled()]

        run(main())


class TestCancellation:
    def test_cancelled_waiter_lets_the_next_move_up(self):
        async def main() -> dict[str, float]:
            callers = Callers(await spent())
            await callers.come("abcd")
            callers.tasks["a"].cancel()
            callers.tasks["c"].cancel()
            await asyncio.sleep(0.5)
            assert callers.limiter.waiting == 2
            return await callers.all()

        assert run(main()) == {"b": 1, "d": 2}

    def test_caller_cancelled_after_waking_takes_no_permit(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abc")
            called = next(iter(limiter._queue)).turn
            # Due together with the limiter's timer: "a" is called, then cancelled before it has gone.
            asyncio.get_running_loop().call_at(limiter._timer.when(), callers.tasks["a"].cancel)
            passed = await callers.all()
            assert called.result() is None
            assert callers.tasks["a"].cancelled()
            assert limiter.granted == BURST + 2
            return passed

        assert run(main()) == {"b": 1, "c": 2}

    def test_caller_cancelled_at_its_release_loses_no_permit(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abc")
            callers.tasks["a"].cancel()
            limiter.reconfigure(RateLimit.unlimited())
            limiter.reconfigure(RateLimit(per_minute=6000))
            return await callers.all()

        assert run(main()) == {"b": 0, "c": 0}

    def test_timed_out_callers_leave_nothing_behind(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            limiter.pause(600)
            await callers.come("a")
            for _ in range(500):
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await limiter.acquire()
            assert limiter.waiting == 1
            await callers.come("b")
            return await callers.all()

        assert run(main()) == {"a": 600, "b": 600}

    def test_cancelling_all_callers_leaves_an_empty_queue(self):
        async def main() -> None:
            limiter = await spent()
            waiters = [asyncio.create_task(limiter.acquire()) for _ in range(5000)]
            await asyncio.sleep(0.5)
            for waiter in waiters:
                waiter.cancel()
            await asyncio.wait(waiters)
            assert limiter.waiting == 0
            await limiter.acquire()

        run(main())


class TestPause:
    def test_pause_stops_all_and_keeps_the_order(self):
        async def main() -> dict[str, float]:
            limiter = RateLimiter(STARTER)
            callers = Callers(limiter)
            limiter.pause(30)
            await callers.come("ab")
            assert limiter.expected_wait() == pytest.approx(30, abs=1e-3)
            await asyncio.sleep(10)
            await callers.come("c")
            return await callers.all()

        assert run(main()) == {"a": 30, "b": 30, "c": 30}

    def test_after_a_pause_the_limit_still_applies(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abcdef")
            await asyncio.sleep(1.5)
            limiter.pause(3)
            return await callers.all()

        assert run(main()) == {"a": 1, "b": 4.5, "c": 4.5, "d": 4.5, "e": 5, "f": 6}

    def test_pause_never_shortens_another(self):
        async def main() -> dict[str, float]:
            limiter = RateLimiter(STARTER)
            callers = Callers(limiter)
            limiter.pause(60)
            limiter.pause(5)
            limiter.pause(0)
            await callers.come("a")
            return await callers.all()

        assert run(main()) == {"a": 60}

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_implausible_pause_is_rejected(self, seconds):
        async def main() -> None:
            with pytest.raises(ValueError, match=r"^seconds must"):
                RateLimiter(STARTER).pause(seconds)

        run(main())


class TestMaxWait:
    def test_wait_beyond_max_wait_fails_at_once(self):
        async def main() -> None:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abc")
            before = now()
            with pytest.raises(
                RateLimitWaitError, match=r"allowed in 4\.0 s, but this call may wait only 3\.5 s"
            ) as caught:
                await limiter.acquire(max_wait=3.5)
            assert now() == pytest.approx(before, abs=1e-3)
            assert caught.value.wait == pytest.approx(4, abs=1e-3)
            assert caught.value.limit == 3.5
            assert await callers.all() == {"a": 1, "b": 2, "c": 3}

        run(main())

    def test_wait_within_max_wait_is_waited(self):
        async def main() -> dict[str, float]:
            callers = Callers(await spent())
            await callers.come("abc", max_wait=3.5)
            return await callers.all()

        assert run(main()) == {"a": 1, "b": 2, "c": 3}

    def test_wait_that_others_prolong_is_in_the_error(self):
        async def main() -> RateLimitWaitError:
            limiter = await spent()
            await limiter.acquire(lane="bulk")  # four interactive calls may pass before the next
            late = asyncio.create_task(limiter.acquire(lane="bulk", max_wait=3))
            await asyncio.sleep(0)
            await Callers(limiter).come("abcdefghijkl")
            with pytest.raises(RateLimitWaitError) as caught:
                await late
            limiter.close()
            return caught.value

        error = run(main())
        assert error.limit == pytest.approx(3)
        assert error.wait > 5

    def test_pause_counts_as_waiting(self):
        async def main() -> None:
            limiter = RateLimiter(STARTER)
            limiter.pause(90)
            with pytest.raises(RateLimitWaitError) as caught:
                await limiter.acquire(max_wait=60)
            assert caught.value.wait == pytest.approx(90)

        run(main())

    def test_after_a_pause_the_pace_counts_as_waiting(self):
        async def main() -> float:
            limiter = RateLimiter(STARTER)
            limiter.pause(30)
            callers = Callers(limiter)
            await callers.come("abcdefghijkl")
            expected = limiter.expected_wait()
            await callers.come("m")
            assert (await callers.all())["m"] == 34
            return expected

        assert run(main()) == pytest.approx(34, abs=1e-3)

    def test_zero_wait_is_within_any_max_wait(self):
        async def main() -> None:
            await RateLimiter(STARTER).acquire(max_wait=0)

        run(main())

    @pytest.mark.parametrize("waiting", [0, 5, 60, 200])
    def test_expected_wait_comes_true(self, waiting):
        async def main() -> tuple[float, float]:
            limiter = await spent()
            for _ in range(waiting):
                asyncio.get_running_loop().create_task(limiter.acquire())
            await asyncio.sleep(0)
            expected, before = limiter.expected_wait(), now()
            await limiter.acquire()
            return expected, now() - before

        expected, real = run(main())
        assert expected == pytest.approx(real, rel=0.05)


class TestReconfigure:
    def test_higher_limit_releases_waiters(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            limiter.pause(0)
            await callers.come("abcd")
            await asyncio.sleep(0.25)
            limiter.reconfigure(RateLimit(per_minute=300, burst=11))  # 8 of these 11 are used
            assert limiter.limit.per_minute == 300
            return await callers.all()

        # 9 were sent at 0 s; at 5 a second a bucket of 8 has a token again after 0.2 s.
        assert run(main()) == {"a": 0.25, "b": 0.4, "c": 0.6, "d": 0.8}

    def test_lower_limit_delays_waiters(self):
        async def main() -> dict[str, float]:
            limiter = await spent(RateLimit.for_tier("professional"))
            callers = Callers(limiter)
            await callers.come("ab")
            limiter.reconfigure(RateLimit(per_minute=45, burst=45))
            return await callers.all()

        # 45 were sent at 0 s: a minute and the margin of the window must pass.
        assert run(main()) == {"a": 60.6, "b": 60.6}

    def test_lifting_the_limit_releases_all_waiters(self):
        async def main() -> dict[str, float]:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abcd")
            await asyncio.sleep(0.25)
            limiter.reconfigure(RateLimit.unlimited())
            return await callers.all()

        assert run(main()) == dict.fromkeys("abcd", 0.25)

    def test_reconfigure_needs_no_running_loop(self):
        limiter = RateLimiter(STARTER)
        limiter.reconfigure(RateLimit(per_minute=300))
        assert limiter.limit == RateLimit(per_minute=300)


def test_seed_counts_the_usage_of_the_panel():
    async def main() -> dict[str, float]:
        limiter = RateLimiter(RateLimit(per_minute=60, per_hour=100))
        callers = Callers(limiter)
        await limiter.acquire()
        limiter.seed(minute_usage=1, hour_usage=98)  # its own request is among them
        await callers.come("abc")
        return await callers.all()

    assert run(main()) == {"a": 0, "b": 0, "c": 3600.6}


class TestClosing:
    def test_close_fails_waiting_and_future_callers(self):
        async def main() -> None:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("abc")
            limiter.close("The client is closed.")
            limiter.close("Again.")
            assert limiter.closed
            assert await callers.all() == {}
            errors = [task.exception() for task in callers.tasks.values()]
            assert [str(error) for error in errors] == ["The client is closed."] * 3
            assert len({id(error) for error in errors}) == 3  # each with its own traceback
            assert (limiter.granted, limiter.waiting) == (BURST, 0)
            with pytest.raises(ConfigurationError, match=r"The client is closed\."):
                await limiter.acquire()
            assert repr(limiter).endswith(" closed>")

        run(main())

    def test_close_without_a_reason_gives_its_own(self):
        async def main() -> None:
            limiter = await spent()
            limiter.close()
            with pytest.raises(ConfigurationError, match=r"^the rate limiter is closed$"):
                await limiter.acquire()

        run(main())

    def test_caller_cancelled_during_refusal_stays_cancelled(self):
        async def main() -> None:
            limiter = await spent()
            callers = Callers(limiter)
            await callers.come("a")
            limiter.close()
            callers.tasks["a"].cancel()
            await callers.all()
            assert callers.tasks["a"].cancelled()

        run(main())

    def test_cancelled_group_lets_the_others_move_up(self):
        async def main() -> tuple[list[str], dict[str, float]]:
            limiter = await spent()
            callers = Callers(limiter)
            one, other = object(), object()
            await callers.come("a", group=one)
            await callers.come("b", group=other)
            await callers.come("c", group=one)
            await callers.come("d")
            limiter.cancel_waiters(one, "The client is closed.")
            passed = await callers.all()
            return [name for name, task in callers.tasks.items() if task.exception()], passed

        assert run(main()) == (["a", "c"], {"b": 1, "d": 2})


def test_limiter_belongs_to_one_event_loop():
    limiter = RateLimiter(STARTER)

    async def main() -> None:
        await limiter.acquire()

    run(main())
    with pytest.raises(ConfigurationError, match="belongs to another event loop; make one for each loop"):
        run(main())


@pytest.mark.parametrize("limit", [None, "professional", 300])
def test_limit_of_another_type_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit must be a RateLimit, not "):
        RateLimiter(limit)
    limiter = RateLimiter(STARTER)
    with pytest.raises(ConfigurationError, match="limit must be a RateLimit, not "):
        limiter.reconfigure(limit)
    assert limiter.limit == STARTER


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_a_limiter_raises(duplicate: Any) -> None:
    with pytest.raises(TypeError, match="each copy would use up the whole quota"):
        duplicate(RateLimiter(RateLimit(per_minute=60)))


def test_coordinator_without_reserve_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"coordinator must have a method reserve\(request\), and object has none"
    ):
        RateLimiter(STARTER, coordinator=object())  # type: ignore[arg-type]
