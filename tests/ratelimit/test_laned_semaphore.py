"""Slots for requests in flight: their number, their order, and that none is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.ratelimit.lanes import Lane, LanedSemaphore
from tests.support.virtual_time import run

lanes = st.sampled_from(["interactive", "bulk"])


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
    count=st.integers(1, 5), plan=st.lists(st.tuples(lanes, st.floats(0, 3), st.floats(0, 3) | st.none()), max_size=30)
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
