"""Each rule against a slow model that keeps and checks every request."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async.ratelimit.rules import HOUR, MAX_RECORDED, MINUTE, RuleSet, SlidingLog, SlowStart, TokenBucket

# Eighths of a second and rates that divide well: floats are exact, so the log's model can be compared with `==`.
gaps = st.lists(st.integers(0, 80).map(lambda eighths: eighths / 8), max_size=40)
rates = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])
bursts = st.integers(1, 8)
counts = st.integers(1, 8)
ROUNDING = Fraction(1, 10**6)
periods = st.sampled_from([1.0, 2.5, 10.0])


def bucket(rate: float, burst: int) -> TokenBucket:
    return TokenBucket(1 / rate, (burst - 1) / rate + 1e-9)


def greedy(rule: TokenBucket | SlidingLog, arrivals: list[float], now: float = 100.0) -> list[float]:
    """Return when requests go that arrive at these intervals, each as soon as the rule allows."""
    went = []
    for gap in arrivals:
        now = rule.ready_at(now + gap)
        rule.take(now)
        went.append(now)
    return went


@settings(deadline=None)
@given(rates, bursts, gaps)
def test_bucket_agrees_with_the_model(rate, burst, arrivals):
    went = greedy(bucket(rate, burst), arrivals)
    level, last, now = Fraction(burst), Fraction(100), Fraction(100)
    for gap, instant in zip(arrivals, map(Fraction, went), strict=True):
        asked = now + Fraction(gap)
        now = instant
        level = min(Fraction(burst), level + (now - last) * Fraction(rate))
        last = now
        assert level >= 1 - ROUNDING
        assert now - asked <= ROUNDING or level <= 1 + ROUNDING  # it did not wait beyond the first whole token
        level -= 1


@settings(deadline=None)
@given(counts, periods, gaps)
def test_log_agrees_with_the_model(count, period, arrivals):
    went = greedy(SlidingLog(count, period), arrivals)
    now = 100.0
    for place, (gap, instant) in enumerate(zip(arrivals, went, strict=True)):
        asked, now = now + gap, instant
        before = [other for other in went[:place] if other > instant - period]
        assert len(before) < count
        assert instant == asked or went[place - count] + period == instant


@settings(deadline=None)
@given(
    st.one_of(st.builds(bucket, rates, bursts), st.builds(SlidingLog, counts, periods)),
    gaps,
    st.integers(0, 30),
)
def test_forecast_of_a_rule_comes_true(rule, arrivals, ahead):
    now = max(greedy(rule, arrivals), default=100.0) + 0.5
    foreseen = rule.ready_at(now, ahead)
    assert foreseen == pytest.approx(greedy(rule, [0.0] * (ahead + 1), now)[-1])


def test_new_rule_is_ready_at_any_time():
    assert bucket(5, 45).ready_at(0.0) == 0.0
    assert SlidingLog(300, 60.6).ready_at(-5.0) == -5.0


def test_empty_bucket_owes_nothing():
    emptied = bucket(rate=1, burst=3)
    for _ in range(50):
        emptied.take(100.0)
    assert emptied.ready_at(100.0) == 101.0


def test_log_counts_requests_in_the_window():
    log = SlidingLog(3, 60.0)
    for instant in (10.0, 20.0, 30.0, 40.0):
        log.take(instant)
    assert list(log.instants()) == [20.0, 30.0, 40.0]
    assert log.used(79.0) == 3
    assert log.used(80.0) == 2
    assert log.used(1000.0) == 0


def test_refusal_during_a_pause_never_shortens_it():
    slow_start = SlowStart().after_refusal(100.0, 160.0)
    assert slow_start.after_refusal(110.0, 130.0) == slow_start
    assert slow_start.after_refusal(110.0, 170.0) == SlowStart(170.0, slow_start.slowdown)


def test_refusal_leaves_a_bucket_at_least_as_empty():
    slowed = bucket(rate=0.25, burst=1)
    slowed.take(100.0)
    slowed.slow_down(100.0, 101.0)
    assert slowed.ready_at(101.0) == pytest.approx(104)


def test_reserve_without_a_minute_limit_is_not_raised():
    log = SlidingLog(MAX_RECORDED, MINUTE, is_limit=False)
    rules = RuleSet(bucket(5, 45), log, SlidingLog(1000, HOUR), SlidingLog(MAX_RECORDED, MINUTE, is_limit=False))
    for _ in range(50):
        rules.take(100.0)
    assert not rules.has_raised_reserve(100.0)
