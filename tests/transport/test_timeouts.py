"""Timeouts of attempts do what `asyncio.timeout` does, with one timer for all of them."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from math import sqrt
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async.transport.timeouts import AttemptTimeouts, Deadline, SharedTimeouts, TimeLimit
from tests.support.virtual_time import VirtualLoop, now, run

# No sum of some is a sum of others: what happens at nearly the same instant may happen in any order.
DURATIONS = (2 * sqrt(3), 3 * sqrt(5), 5 * sqrt(7))
sleeps = st.integers(1, 6).map(lambda count: count * sqrt(2))
cancellations = st.integers(1, 4).map(lambda count: count * sqrt(13))

Limit = Callable[[float], AbstractAsyncContextManager[object]]
"""Makes a block that takes so many seconds at most."""


@attrs.frozen
class Sleep:
    seconds: float


@attrs.frozen
class Fail:
    """Raises an error."""


@attrs.frozen
class CancelSelf:
    """Asks for its own cancellation, which comes at the next wait."""


@attrs.frozen
class Block:
    """Has a limit of its own."""

    limit: float
    body: "list[Step]"


@attrs.frozen
class Swallow:
    """Goes on after a cancellation, and so after a timeout, as if nothing had happened."""

    body: "list[Step]"


@attrs.frozen
class Catch:
    """Goes on after a timeout or an error."""

    body: "list[Step]"


Step = Sleep | Fail | CancelSelf | Block | Swallow | Catch

plain = st.builds(Sleep, sleeps) | st.just(Fail()) | st.just(CancelSelf())
steps = st.recursive(
    st.lists(plain, min_size=1, max_size=3),
    lambda bodies: st.lists(
        st.builds(Sleep, sleeps)
        | st.builds(Block, st.sampled_from(DURATIONS), bodies)
        | st.builds(Swallow, bodies)
        | st.builds(Catch, bodies),
        min_size=1,
        max_size=3,
    ),
    max_leaves=8,
)


@attrs.frozen
class Program:
    """What a task does, from when on, and when others cancel it."""

    start: float
    body: list[Step]
    cancelled: list[float]


programs = st.lists(st.builds(Program, sleeps, steps, st.lists(cancellations, max_size=3)), min_size=1, max_size=5)


class Adapter:
    """The blocks under test behind the interface of `asyncio.timeout`."""

    def __init__(self) -> None:
        self.timeouts = {duration: AttemptTimeouts(duration) for duration in DURATIONS}

    def __call__(self, duration: float) -> AbstractAsyncContextManager[object]:
        block = TimeLimit(self.timeouts[duration], asyncio.get_running_loop())

        class Entered:
            async def __aenter__(self) -> None:
                block.__enter__()

            async def __aexit__(self, *error: object) -> None:
                block.__exit__(*error)

        return Entered()


async def perform(body: list[Step], limit: Limit, notes: list[object]) -> None:
    """Do the steps and note when each is over, and how."""
    task = asyncio.current_task()
    assert task is not None
    for step in body:
        try:
            match step:
                case Sleep():
                    await asyncio.sleep(step.seconds)
                case Fail():
                    int("no number")
                case CancelSelf():
                    task.cancel()
                case Block():
                    async with limit(step.limit):
                        await perform(step.body, limit, notes)
                case Swallow() | Catch():
                    caught = (TimeoutError, ValueError) if isinstance(step, Catch) else (asyncio.CancelledError,)
                    with suppress(*caught):
                        await perform(step.body, limit, notes)
        except BaseException as error:
            notes.append((type(step).__name__, type(error).__name__, round(now(), 3), task.cancelling()))
            raise
        notes.append((type(step).__name__, "over", round(now(), 3), task.cancelling()))


async def histories(tasks: list[Program], limit: Limit) -> list[list[object]]:
    """Run tasks side by side; return what each of them notes."""
    loop = asyncio.get_running_loop()

    async def begin(program: Program, notes: list[object]) -> None:
        await asyncio.sleep(program.start)
        await perform(program.body, limit, notes)

    written: list[list[object]] = [[] for _ in tasks]
    begun = [asyncio.ensure_future(begin(program, notes)) for program, notes in zip(tasks, written, strict=True)]
    for program, task in zip(tasks, begun, strict=True):
        for late in program.cancelled:
            loop.call_later(program.start + late, task.cancel)
    ends = await asyncio.gather(*begun, return_exceptions=True)
    return [[*notes, type(end).__name__] for notes, end in zip(written, ends, strict=True)]


both = pytest.mark.parametrize("make", [Adapter, lambda: asyncio.timeout], ids=["ours", "asyncio's"])


@settings(max_examples=200)
@given(programs)
def test_time_limit_behaves_like_asyncio_timeout(tasks: list[Program]) -> None:
    adapter = Adapter()
    assert run(histories(tasks, adapter)) == run(histories(tasks, asyncio.timeout))
    for timeouts in adapter.timeouts.values():
        assert not timeouts.running


@both
def test_some_programs_of_the_property_time_out(make: Callable[[], Limit]) -> None:
    """Else it would prove nothing."""
    limit, (short, middle, long) = make(), DURATIONS
    swallowed = Block(short, [Swallow([Sleep(60)]), Sleep(1)])
    nested = Block(middle, [Block(long, [Sleep(60)])])
    [notes] = run(histories([Program(1, [swallowed, nested], [])], limit))
    assert [note if isinstance(note, str) else note[:2] for note in notes] == [
        ("Sleep", "CancelledError"),
        ("Swallow", "over"),
        ("Sleep", "over"),
        ("Block", "over"),
        ("Sleep", "CancelledError"),
        ("Block", "CancelledError"),
        ("Block", "TimeoutError"),
        "TimeoutError",
    ]


@both
@pytest.mark.parametrize("is_first", [True, False])
def test_cancellation_at_the_instant_of_a_timeout_wins(make: Callable[[], Limit], is_first: bool) -> None:
    """Who cancels a task must see it cancelled."""
    limit = make()

    async def attempt() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        ends_at = loop.time() + DURATIONS[0]
        if is_first:
            loop.call_at(ends_at, task.cancel)
        async with limit(DURATIONS[0]):
            if not is_first:
                loop.call_at(ends_at, task.cancel)
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(attempt())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main())


@both
def test_outer_of_two_simultaneous_limits_ends(make: Callable[[], Limit]) -> None:
    limit = make()

    async def attempt(ended: list[str]) -> None:
        try:
            async with asyncio.timeout(DURATIONS[0]):
                try:
                    async with limit(DURATIONS[0]):
                        await asyncio.sleep(60)
                except TimeoutError:
                    ended.append("inner")
        except TimeoutError:
            ended.append("outer")

    async def main() -> None:
        ended: list[str] = []
        await attempt(ended)
        assert ended == ["outer"]

    run(main())


def test_timeout_has_the_cancellation_as_its_cause() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError) as caught, TimeLimit(AttemptTimeouts(30), asyncio.get_running_loop()):
            await asyncio.sleep(60)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    run(main())


def timers_of(timeouts: AttemptTimeouts, patch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that gets the instants at which a timer is set."""
    set_timer, found = timeouts.set_timer, list[float]()

    def watch(ends_at: float, loop: asyncio.AbstractEventLoop) -> None:
        found.append(now() - 1000)
        set_timer(ends_at, loop)

    patch.setattr(timeouts, "set_timer", watch)
    return found


def test_thousand_concurrent_blocks_share_one_timer() -> None:
    async def main() -> None:
        timeouts = AttemptTimeouts(30)

        async def attempt() -> float:
            with pytest.raises(TimeoutError), TimeLimit(timeouts, asyncio.get_running_loop()):
                await asyncio.sleep(60)
            return now()

        with pytest.MonkeyPatch.context() as patch:
            timers = timers_of(timeouts, patch)
            ends = await asyncio.gather(*[attempt() for _ in range(1000)])
        assert ends == pytest.approx([1030.0] * 1000, abs=0.01)
        assert timers == pytest.approx([0.0], abs=0.01)

    run(main())


def test_successive_blocks_set_timer_after_last_fired() -> None:
    """A client that is busy all the time sets two in a minute, not one for each call."""

    async def main() -> None:
        timeouts = AttemptTimeouts(30)
        with pytest.MonkeyPatch.context() as patch:
            timers = timers_of(timeouts, patch)
            for _ in range(590):
                with TimeLimit(timeouts, asyncio.get_running_loop()):
                    await asyncio.sleep(0.1)
        # The first fires at 30 s, while a block runs that began just before and may go on for 30 s.
        assert timers == pytest.approx([0.0, 30.0], abs=0.2)

    run(main())


def test_ended_blocks_leave_one_timer_and_no_reference() -> None:
    loop = VirtualLoop()
    timeouts = AttemptTimeouts(3600)

    async def attempt() -> None:
        with TimeLimit(timeouts, asyncio.get_running_loop()):
            await asyncio.sleep(1)

    async def main() -> weakref.ref[asyncio.Task[None]]:
        task = asyncio.ensure_future(attempt())
        await task
        return weakref.ref(task)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        task = runner.run(main())
        assert loop.time() == pytest.approx(1001, abs=0.01)
        gc.collect()
        assert task() is None
        assert timeouts.timer is not None
        runner.run(asyncio.sleep(3600))
        assert timeouts.timer is None


class Context:
    """Stands for what a web request keeps in its context variables."""


REQUEST: ContextVar[Context] = ContextVar("REQUEST")


async def attempt_of_a_request(timeouts: AttemptTimeouts) -> "weakref.ref[Context]":
    state = Context()
    REQUEST.set(state)
    with TimeLimit(timeouts, asyncio.get_running_loop()):
        await asyncio.sleep(0)
    return weakref.ref(state)


def pending_timers() -> int:
    loop: Any = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in loop._scheduled)


def test_timer_keeps_no_context_alive() -> None:
    async def main() -> None:
        timeouts = AttemptTimeouts(3600)
        state = await asyncio.create_task(attempt_of_a_request(timeouts))
        await asyncio.sleep(0.1)
        gc.collect()
        assert timeouts.timer is not None
        assert state() is None

    run(main())


def test_variants_of_a_client_leave_no_timers() -> None:
    async def main() -> None:
        shared = SharedTimeouts()
        own = shared.get(30)
        before = pending_timers()
        for number in range(200):
            assert shared.get(30) is own
            await attempt_of_a_request(shared.get(30))
            await attempt_of_a_request(shared.get(600 + number))
        gc.collect()
        assert pending_timers() - before == 1
        shared.close()
        assert pending_timers() == before

    run(main())


def test_block_that_outlasts_the_client_is_still_ended() -> None:
    async def main() -> None:
        shared = SharedTimeouts()
        timeouts, before = shared.get(30), pending_timers()

        async def attempt() -> None:
            with TimeLimit(timeouts, asyncio.get_running_loop()):
                shared.close()
                await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await attempt()
        assert pending_timers() == before

    run(main())


def test_timeout_of_a_task_that_swallowed_a_cancellation() -> None:
    """Its clean-up may call the panel: that call times out like any other."""

    async def clean_up() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            try:
                with TimeLimit(AttemptTimeouts(1), asyncio.get_running_loop()):
                    await asyncio.sleep(60)
            except TimeoutError:
                return "timed out"
        return "went on"

    async def main() -> None:
        task = asyncio.ensure_future(clean_up())
        await asyncio.sleep(1)
        task.cancel()
        assert await task == "timed out"

    run(main())


def test_timer_when_fired_without_block_is_set_again() -> None:
    async def main() -> None:
        timeouts = AttemptTimeouts(30)
        with TimeLimit(timeouts, asyncio.get_running_loop()):
            pass
        await asyncio.sleep(100)
        began = now()
        with pytest.raises(TimeoutError), TimeLimit(timeouts, asyncio.get_running_loop()):
            await asyncio.sleep(60)
        assert now() - began == pytest.approx(30, abs=0.01)

    run(main())


def test_block_outside_a_task_raises() -> None:
    async def main() -> None:
        failures: list[BaseException] = []

        def enter() -> None:
            try:
                with TimeLimit(AttemptTimeouts(30), asyncio.get_running_loop()):
                    pass
            except RuntimeError as error:
                failures.append(error)

        asyncio.get_running_loop().call_soon(enter)
        await asyncio.sleep(0)
        assert len(failures) == 1

    run(main())


def test_deadline_lifted_at_its_very_instant_ends_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        due, piece = now() + 1, loop.create_future()
        # Both timers fire in one pass of the loop, this one first.
        loop.call_at(due - 1e-9, piece.set_result, None)
        async with Deadline(due) as deadline:
            await piece
            deadline.lift()
            await asyncio.sleep(60)

    run(main())
