"""Permits of a process's own quota: counting requests together later changes nothing."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.permits import LocalPermits
from panelica_async.ratelimit.rules import RECOVERY_TIME, RuleSet

LIMITS = (
    RateLimit(per_minute=60, per_hour=None, burst=20),
    RateLimit(per_minute=30, per_hour=40, burst=10),
    RateLimit(per_minute=600, per_hour=50, burst=100),
    RateLimit.unlimited(),
)

Act = Callable[[LocalPermits, float], object]


def takes(lane: Lane, times: int) -> Act:
    return lambda permits, now: [permits.try_take(now, lane) for _ in range(times)]


def others(used: int) -> Act:
    return lambda permits, now: permits.count_others(now, minute_usage=used, hour_usage=used)


TAKES = st.builds(takes, st.sampled_from(["interactive", "interactive", "bulk"]), st.sampled_from([1, 5, 12]))
ACTS = st.one_of(
    *[TAKES] * 6,
    st.builds(
        lambda seconds: lambda permits, now: permits.pause(now, seconds, refused=True),
        st.sampled_from([0.0, 2.0, 30.0]),
    ),
    st.builds(others, st.sampled_from([0, 5, 20, 45])),
    st.builds(lambda limit: lambda permits, _: permits.reconfigure(limit), st.sampled_from(LIMITS)),
    st.builds(lambda lane: lambda permits, now: permits.take(now, lane), st.sampled_from(["interactive", "bulk"])),
    st.just(lambda permits, now: permits.left(now)),
    st.just(lambda permits, now: permits.next_turn(now, {"interactive": 1, "bulk": 2})),
    st.just(lambda permits, now: permits.expected_at(now, "bulk", {"interactive": 3, "bulk": 2})),
)


@settings(max_examples=300)
@example(LIMITS[0], [(0.0, takes("interactive", 1)), (0.0, others(45)), (0.0, takes("interactive", 12))])
@given(
    limit=st.sampled_from(LIMITS),
    acts=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.0, 20.0, 200.0]), ACTS), min_size=10, max_size=16),
)
def test_one_check_for_many_requests_grants_the_same_ones(limit: RateLimit, acts: list[tuple[float, Act]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # The same stagger after a refusal in both.
        patch.setattr("panelica_async.ratelimit.permits.random.uniform", lambda *_: 0.5)
        together, singly = LocalPermits(limit), LocalPermits(limit)
        now = 0.0
        for pause, act in acts:
            now += pause
            seen = act(together, now)
            with pytest.MonkeyPatch.context() as without:
                without.setattr(RuleSet, "room", lambda *_: 0)
                assert act(singly, now) == seen
            assert together.left(now) == singly.left(now)
        assert list(together.quota.interactive.instants()) == list(singly.quota.interactive.instants())


@pytest.mark.parametrize("began", [0.0, RECOVERY_TIME])
def test_one_check_is_enough_while_there_is_room(monkeypatch: pytest.MonkeyPatch, began: float) -> None:
    checks: list[float] = []
    ready_at = RuleSet.ready_at

    def counting(self: RuleSet, now: float, ahead: int = 0, leave_reserve: bool = False) -> float:
        checks.append(now)
        return ready_at(self, now, ahead, leave_reserve)

    monkeypatch.setattr(RuleSet, "ready_at", counting)
    permits = LocalPermits(RateLimit(per_minute=600, per_hour=None, burst=100))
    if began:
        monkeypatch.setattr("panelica_async.ratelimit.permits.random.uniform", lambda *_: 0.0)
        permits.pause(0.0, 0.0, refused=True)
    assert all(permits.try_take(began + number / 1000, "interactive") for number in range(50))
    assert len(checks) == 1
