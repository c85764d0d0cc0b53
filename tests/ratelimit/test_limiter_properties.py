"""For any sequence of arrivals, cancellations and pauses, the limiter does what a simple, slow model does.

The model decides each caller from the complete list of earlier ones, without a queue or a timer.
"""

import asyncio

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async.ratelimit import Lane, RateLimit, RateLimiter
from panelica_async.ratelimit.lanes import INTERACTIVE_RUN, LANES
from panelica_async.ratelimit.limit import DELAY_SPREAD
from tests.support.virtual_time import run

# Times of different kinds never coincide: callers arrive on whole milliseconds, and all limits are multiples of those,
# so a timeout or a pause never falls on the instant at which a caller passes.
MILLISECOND = 0.001
PATIENCE_OFFSET = 0.00071
PAUSE_OFFSET = 0.00037
PRECISION = 1e-4


@attrs.frozen
class Bounds:
    """A limit and what it means, margins included."""

    limit: RateLimit
    rate: float
    burst: int
    windows: tuple[tuple[int, float], ...]


BOUNDS = [
    Bounds(RateLimit(per_minute=60, burst=5), 1.0, 4, ((60, 60 + DELAY_SPREAD),)),
    Bounds(RateLimit(per_minute=6, burst=3), 0.1, 2, ((6, 60 + DELAY_SPREAD),)),
    Bounds(
        RateLimit(per_minute=12, per_hour=20, burst=12),
        0.2,
        10,
        ((12, 60 + DELAY_SPREAD), (20, 3600 + DELAY_SPREAD)),
    ),
]


@attrs.frozen
class Arrival:
    after: int
    """Milliseconds since the previous arrival."""
    patience: int | None
    """Milliseconds it waits at most."""


@attrs.frozen
class Pause:
    after: int
    seconds: int


arrivals = st.builds(
    Arrival,
    st.one_of(st.just(0), st.integers(0, 3_000), st.integers(0, 120_000)),
    st.one_of(st.none(), st.integers(1, 5_000), st.integers(1, 300_000)),
)
pauses = st.builds(Pause, st.integers(0, 60_000), st.integers(0, 120))
scripts = st.lists(st.one_of(arrivals, arrivals, arrivals, arrivals, pauses), max_size=50)


@attrs.define
class Caller:
    came: float
    deadline: float
    went: float | None = None


async def play(
    limit: RateLimit, script: list[Arrival | Pause]
) -> tuple[list[Caller], list[tuple[float, float]], list[Caller]]:
    """Run the script; return the callers in order of arrival, the pauses, and the callers in the order they pass."""
    loop = asyncio.get_running_loop()
    limiter = RateLimiter(limit)
    callers: list[Caller] = []
    order: list[Caller] = []
    paused: list[tuple[float, float]] = []

    async def call(caller: Caller) -> None:
        async with asyncio.timeout_at(caller.deadline):
            await limiter.acquire()
        caller.went = loop.time()
        order.append(caller)

    tasks = []
    for event in script:
        await asyncio.sleep(event.after * MILLISECOND)
        if isinstance(event, Pause):
            seconds = event.seconds + PAUSE_OFFSET
            limiter.pause(seconds)
            paused.append((loop.time(), loop.time() + seconds))
            continue
        patience = float("inf") if event.patience is None else event.patience * MILLISECOND + PATIENCE_OFFSET
        caller = Caller(loop.time(), loop.time() + patience)
        callers.append(caller)
        tasks.append(asyncio.create_task(call(caller)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limiter.waiting == 0
    assert limiter.granted == len(order)
    return callers, paused, order


def earliest(bounds: Bounds, went: list[float], paused: list[tuple[float, float]], instant: float) -> float:
    """Return the first instant, `instant` or later, at which another request may go."""
    level, last = float(bounds.burst), instant
    for other in went:
        level = min(bounds.burst, level + max(0.0, other - last) * bounds.rate) - 1
        last = other
    level = min(bounds.burst, level + max(0.0, instant - last) * bounds.rate)
    instant += max(0.0, 1 - level) / bounds.rate
    for count, period in bounds.windows:
        if len(went) >= count:
            instant = max(instant, went[-count] + period)
    for start, end in paused:
        if start <= instant < end:
            instant = end
    return instant


@settings(max_examples=150)
@given(st.sampled_from(BOUNDS), scripts)
def test_limiter_agrees_with_the_model(bounds, script):
    callers, paused, order = run(play(bounds.limit, script))

    assert order == [caller for caller in callers if caller.went is not None]
    went: list[float] = []
    for caller in callers:
        expected = earliest(bounds, went, paused, max([caller.came, *went[-1:]]))
        if caller.went is None:
            assert expected > caller.deadline - PRECISION
        else:
            assert caller.went == pytest.approx(expected, abs=PRECISION)
            went.append(caller.went)

    for place, instant in enumerate(went):
        for count, period in bounds.windows:
            assert place < count or went[place - count] <= instant - period
        for first in range(place):
            assert place - first + 1 <= bounds.burst + bounds.rate * (instant - went[first]) + PRECISION
    for start, end in paused:
        assert not [instant for instant in went if start < instant < end]


lanes = st.lists(st.tuples(st.one_of(st.just(0), st.integers(0, 4_000)), st.sampled_from(LANES)), max_size=60)


async def play_lanes(limit: RateLimit, script: list[tuple[int, Lane]]) -> list[tuple[float, Lane, int, bool]]:
    """Call after so many milliseconds each; return when which call passed, and whether both lanes waited then."""
    loop = asyncio.get_running_loop()
    limiter = RateLimiter(limit)
    passed: list[tuple[float, Lane, int, bool]] = []

    async def call(lane: Lane, number: int) -> None:
        await limiter.acquire(lane=lane)
        # The caller itself has left the queue: the others of its lane wait still.
        waiting = limiter.state().waiting
        passed.append((loop.time(), lane, number, all(waiting.values())))

    async with asyncio.TaskGroup() as group:
        for number, (after, lane) in enumerate(script):
            await asyncio.sleep(after * MILLISECOND)
            group.create_task(call(lane, number))
    return passed


@settings(max_examples=100)
@given(st.sampled_from(BOUNDS), lanes)
def test_lanes_keep_the_order_the_limit_and_the_fifth_of_bulk(bounds, script):
    passed = run(play_lanes(bounds.limit, script))

    assert len(passed) == len(script)
    went = [instant for instant, _, _, _ in passed]
    for count, period in bounds.windows:
        assert all(later - earlier >= period - PRECISION for earlier, later in zip(went, went[count:], strict=False))
    for lane in LANES:
        numbers = [number for _, own, number, _ in passed if own == lane]
        assert numbers == sorted(numbers)
    for first in range(len(passed) - INTERACTIVE_RUN):
        run_of_both = passed[first : first + INTERACTIVE_RUN + 1]
        if all(both for _, _, _, both in run_of_both):
            assert "bulk" in {lane for _, lane, _, _ in run_of_both}
