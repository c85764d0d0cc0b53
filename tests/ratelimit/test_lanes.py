"""Two lanes, in the limiter and in the slots for requests in flight: their order, and what bulk leaves."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.ratelimit.lanes import Lane, LanedSemaphore, wait_error
from tests.support.virtual_time import run

ANY_LANE = st.sampled_from(["interactive", "bulk"])
STARTER = RateLimit.for_tier("starter")
PROFESSIONAL = RateLimit.for_tier("professional")


async def spent(limit: RateLimit) -> RateLimiter:
    limiter = RateLimiter(limit)
    while limiter.expected_wait() == 0:
        await limiter.acquire()
    return limiter


async def waiting(limiter: RateLimiter, arrivals: str) -> list[str]:
    """Let callers come, `i` and `b` for their lanes, and return the order in which they pass, numbered."""
    passed: list[str] = []

    async def caller(lane: str, number: int) -> None:
        await limiter.acquire(lane="bulk" if lane == "b" else "interactive")
        passed.append(f"{lane}{number}")

    async with asyncio.TaskGroup() as group:
        for number, lane in enumerate(arrivals):
            group.create_task(caller(lane, number))
    return passed


def test_interactive_goes_first_each_lane_in_order():
    async def main() -> list[str]:
        return await waiting(await spent(RateLimit(per_minute=60)), "bbibii")

    # The spent burst was interactive, so the first turn is bulk's.
    assert run(main()) == ["b0", "i2", "i4", "i5", "b1", "b3"]


def test_bulk_gets_a_fifth_while_both_lanes_wait():
    async def main() -> list[str]:
        return await waiting(await spent(STARTER), "i" * 40 + "b" * 40)

    order = run(main())
    for start in range(0, 50, 5):
        assert sum(name.startswith("b") for name in order[start : start + 5]) == 1
    assert order[50:] == [f"b{number}" for number in range(50, 80)]


@pytest.mark.parametrize("limit", [STARTER, PROFESSIONAL])
def test_web_request_never_waits_behind_bulk(limit):
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(limit)
        launch = [asyncio.create_task(limiter.acquire(lane="bulk")) for _ in range(3000)]
        waits = []
        for _ in range(20):
            await asyncio.sleep(29.3)
            asked = loop.time()
            await limiter.acquire()
            waits.append(loop.time() - asked)
        for task in launch:
            task.cancel()
        return waits

    waits = run(main())
    pace = 60 / limit.per_minute
    if limit == PROFESSIONAL:
        assert max(waits) <= pace  # also while the launch waits for the window that it has used up
    else:
        assert sorted(waits)[10] <= 2 * pace  # a small window has no reserve
        assert max(waits) < 60


def test_reserve_costs_bulk_less_than_one_per_cent():
    async def main(lane: str) -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        limiter = RateLimiter(PROFESSIONAL)
        async with asyncio.TaskGroup() as group:
            for _ in range(2500):
                group.create_task(limiter.acquire(lane=lane))
        return loop.time() - started

    assert run(main("bulk")) <= 1.01 * run(main("interactive"))


def test_bulk_leaves_requests_of_the_hour():
    async def main() -> float:
        limiter = RateLimiter(RateLimit(per_hour=1500))
        launch = [asyncio.create_task(limiter.acquire(lane="bulk")) for _ in range(2000)]
        await asyncio.sleep(60)
        assert limiter.granted == 1490
        started = asyncio.get_running_loop().time()
        for _ in range(4):
            await limiter.acquire()
        for task in launch:
            task.cancel()
        return asyncio.get_running_loop().time() - started

    assert run(main()) < 1e-3


def test_bulk_alone_uses_small_limits_fully():
    async def main() -> float:
        limiter = RateLimiter(RateLimit(per_minute=60, burst=1))
        started = asyncio.get_running_loop().time()
        for _ in range(30):
            await limiter.acquire(lane="bulk")
        return asyncio.get_running_loop().time() - started

    assert run(main()) == pytest.approx(29, abs=1e-3)


def test_expected_wait_depends_on_the_lane():
    async def main() -> tuple[float, float, list[float]]:
        limiter = await spent(STARTER)
        tasks = [asyncio.create_task(limiter.acquire(lane="bulk")) for _ in range(20)]
        await asyncio.sleep(0)
        expected = limiter.expected_wait("interactive"), limiter.expected_wait("bulk")
        started = asyncio.get_running_loop().time()
        real = []
        for lane in ("interactive", "bulk"):
            tasks.append(asyncio.create_task(limiter.acquire(lane=lane)))
            tasks[-1].add_done_callback(lambda _: real.append(asyncio.get_running_loop().time() - started))
        await asyncio.gather(*tasks)
        return *expected, real

    interactive, bulk, real = run(main())
    assert interactive == pytest.approx(1, abs=1e-3)
    assert real[0] == pytest.approx(interactive, abs=1.1)  # bulk may get its fifth first
    assert real[1] == pytest.approx(bulk, abs=2.1)


def test_expected_wait_includes_the_fifth_of_bulk():
    async def main() -> tuple[float, float]:
        limiter = await spent(STARTER)
        tasks = [asyncio.create_task(limiter.acquire(lane=lane)) for lane in ["interactive"] * 20 + ["bulk"] * 20]
        await asyncio.sleep(0)
        expected, started = limiter.expected_wait("interactive"), asyncio.get_running_loop().time()
        await limiter.acquire()
        real = asyncio.get_running_loop().time() - started
        await asyncio.gather(*tasks)
        return expected, real

    expected, real = run(main())
    assert expected == pytest.approx(real, abs=1.1)
    assert expected > 24  # twenty interactive calls, and five of bulk between them


def test_unknown_lane_is_rejected():
    async def main() -> None:
        with pytest.raises(ValueError, match=r"^lane must be one of interactive, bulk, not 'fast'"):
            await RateLimiter(STARTER).acquire(lane="fast")  # type: ignore[arg-type]  # the mistake under test

    run(main())


def test_web_requests_pass_while_bulk_uses_the_quota():
    """About eight web requests a second and a launch that never ends share 1,000 a minute."""

    async def main() -> tuple[list[float], float]:
        loop, chance = asyncio.get_running_loop(), random.Random(4)
        limiter, waits, used = RateLimiter(RateLimit.for_tier("business")), [], 0

        async def ask() -> None:
            asked = loop.time()
            await limiter.acquire()
            waits.append(loop.time() - asked)

        async with asyncio.TaskGroup() as group:
            launch = [group.create_task(limiter.acquire(lane="bulk")) for _ in range(5000)]
            for second in range(300):
                if second == 60:
                    used = limiter.granted
                for _ in range(chance.randint(4, 12)):
                    group.create_task(ask())
                await asyncio.sleep(1)
            used = limiter.granted - used
            for task in launch:
                task.cancel()
        return sorted(waits), used / 4000

    waits, used = run(main())
    assert waits[int(0.99 * len(waits))] < 2
    assert used >= 0.95


def test_users_that_come_after_bulk_began_wait_briefly():
    """In the second minute nothing becomes free where in the first one only the launch had sent."""

    async def main() -> tuple[float, float]:
        loop, chance = asyncio.get_running_loop(), random.Random(2)
        limiter, waits = RateLimiter(RateLimit.for_tier("business")), []

        async def user() -> None:
            await asyncio.sleep(2)
            while True:
                await asyncio.sleep(chance.uniform(0, 4))
                asked = loop.time()
                await limiter.acquire()
                waits.append(loop.time() - asked)

        launch = [asyncio.create_task(limiter.acquire(lane="bulk")) for _ in range(4000)]
        users = [asyncio.create_task(user()) for _ in range(20)]
        await asyncio.sleep(60)
        used = limiter.granted
        await asyncio.sleep(120)
        used = limiter.granted - used
        for task in (*launch, *users):
            task.cancel()
        return max(waits), used / 2000

    longest, used = run(main())
    assert longest < 2
    assert used >= 0.95


def test_semaphore_has_as_many_slots_as_asked_for() -> None:
    slots = LanedSemaphore(3)
    assert [slots.try_acquire("interactive") for _ in range(4)] == [True, True, True, False]
    slots.release("interactive")
    assert slots.try_acquire("interactive")


@pytest.mark.parametrize(("count", "for_bulk"), [(100, 80), (10, 8), (2, 1), (1, 1)])
def test_bulk_leaves_slots_to_interactive_calls(count: int, for_bulk: int) -> None:
    slots = LanedSemaphore(count)
    assert sum(slots.try_acquire("bulk") for _ in range(count + 1)) == for_bulk
    assert sum(slots.try_acquire("interactive") for _ in range(count + 1)) == count - for_bulk


def test_slots_go_in_order_interactive_first() -> None:
    async def main() -> None:
        slots, order = LanedSemaphore(1), []

        async def wait(lane: Lane, name: str) -> None:
            await slots.acquire(lane)
            order.append(name)

        assert slots.try_acquire("bulk")
        waiting = [
            asyncio.create_task(wait(lane, name))
            for lane, name in [("bulk", "b1"), ("interactive", "i1"), ("bulk", "b2"), ("interactive", "i2")]
        ]
        await asyncio.sleep(1)
        assert order == []
        assert not slots.try_acquire("interactive")
        for held in ["bulk", "interactive", "interactive", "bulk"]:
            slots.release(held)
            await asyncio.sleep(1)
        assert order == ["i1", "i2", "b1", "b2"]
        await asyncio.gather(*waiting)

    run(main())


def test_newcomer_does_not_overtake_its_lane() -> None:
    async def main() -> None:
        slots = LanedSemaphore(1)
        assert slots.try_acquire("interactive")
        waiting = asyncio.create_task(slots.acquire("interactive"))
        await asyncio.sleep(1)
        slots.release("interactive")
        assert not slots.try_acquire("interactive")
        await waiting

    run(main())


def test_cancelled_waiter_is_forgotten() -> None:
    async def main() -> None:
        slots = LanedSemaphore(1)
        assert slots.try_acquire("bulk")
        waiting = [asyncio.create_task(slots.acquire("bulk")) for _ in range(3)]
        await asyncio.sleep(1)
        assert slots.waiting == {"interactive": 0, "bulk": 3}
        waiting[1].cancel()
        await asyncio.sleep(1)
        assert slots.waiting == {"interactive": 0, "bulk": 2}
        assert not waiting[0].done()

    run(main())


@given(
    count=st.integers(1, 5),
    plan=st.lists(st.tuples(ANY_LANE, st.floats(0, 3), st.floats(0, 3) | st.none()), max_size=30),
)
def test_cancelling_loses_no_slot(count: int, plan: list[tuple[Lane, float, float | None]]) -> None:
    """Each task holds a slot for some time; some are cancelled at some instant, waiting, called or holding."""

    async def main() -> None:
        slots, most, held = LanedSemaphore(count), 0, 0

        async def hold(lane: Lane, seconds: float) -> None:
            nonlocal held, most
            if not slots.try_acquire(lane):
                await slots.acquire(lane)
            try:
                held += 1
                most = max(most, held)
                await asyncio.sleep(seconds)
            finally:
                held -= 1
                slots.release(lane)

        async def cancel_after(task: "asyncio.Task[None]", seconds: float) -> None:
            await asyncio.sleep(seconds)
            task.cancel()

        tasks = []
        for lane, seconds, cancelled_after in plan:
            tasks.append(asyncio.create_task(hold(lane, seconds)))
            if cancelled_after is not None:
                tasks.append(asyncio.create_task(cancel_after(tasks[-1], cancelled_after)))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= count
        assert slots._free == count
        assert sum(slots.try_acquire("bulk") for _ in range(count)) == max(1, int(count * 0.8))

    run(main())


def test_every_fifth_slot_goes_to_bulk_while_both_wait() -> None:
    async def main() -> None:
        slots, order = LanedSemaphore(2), []

        async def hold(lane: Lane) -> None:
            await slots.acquire(lane)
            order.append(lane)
            await asyncio.sleep(1)
            slots.release(lane)

        lanes: list[Lane] = ["interactive"] * 40 + ["bulk"] * 12
        await asyncio.gather(*(hold(lane) for lane in lanes))
        assert order[:50].count("bulk") == 10
        assert all(order[start : start + 5].count("bulk") == 1 for start in range(0, 50, 5))

    run(main())


def test_message_tells_short_waits_apart() -> None:
    assert "allowed in 0.034 s, but this call may wait only 0.010 s" in str(wait_error(0.0341, 0.01))
    assert "allowed in 60.2 s, but this call may wait only 0.0 s" in str(wait_error(60.2, 0.0))


def test_long_wait_of_interactive_calls_is_logged_once_a_minute(caplog):
    async def main() -> None:
        limiter = await spent(RateLimit(per_minute=1))
        waiting = [asyncio.create_task(limiter.acquire(lane=lane)) for lane in ("interactive", "interactive", "bulk")]
        await asyncio.sleep(4.9)
        assert caplog.messages == []
        await asyncio.sleep(50)
        limiter.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(main())
    assert caplog.messages == [
        "interactive calls have waited 5 s for quota; waiting: 2 interactive, 1 bulk; the limit is 1 a minute"
    ]


def test_long_wait_during_an_announced_pause_is_logged_after_it(caplog):
    async def main() -> None:
        limiter = RateLimiter(STARTER)
        limiter.pause(30)
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(60)]
        await asyncio.sleep(34)
        assert caplog.messages == []
        await asyncio.sleep(2)
        limiter.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(main())
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "interactive calls have waited 35 s for quota"
    ]


def test_long_waits_are_logged_at_most_once_a_minute(caplog):
    async def main() -> None:
        limiter = await spent(RateLimit(per_minute=20))
        waiting = []
        for _ in range(110):
            waiting.append(asyncio.create_task(limiter.acquire()))
            await asyncio.sleep(1)
        limiter.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(main())
    assert len(caplog.messages) == 2
