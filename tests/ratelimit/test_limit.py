"""Limits, and the quota that follows from each."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async.catalog import TIERS
from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.limit import DELAY_SPREAD, Quota

PROFESSIONAL = RateLimit.for_tier("professional")
STARTER = RateLimit.for_tier("starter")
NOW = 5000.0


def spend(quota: Quota, requests: int, now: float = NOW) -> list[float]:
    """Return when this number of requests go, each as soon as it can."""
    went = []
    for _ in range(requests):
        now = quota.ready_at(now)
        quota.take(now)
        went.append(now)
    return went


def at_once(quota: Quota, now: float) -> int:
    """Return how many requests can go now; afterwards the quota is used up."""
    requests = 0
    while quota.ready_at(now) <= now:
        quota.take(now)
        requests += 1
    return requests


@pytest.mark.parametrize("field", ["per_minute", "per_hour", "burst"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "60"])
def test_implausible_number_is_rejected_by_name(field, value):
    arguments = {"per_minute": 60, field: value}
    with pytest.raises(ValueError, match=f"^{field} must"):
        RateLimit(**arguments)


def test_burst_that_is_not_whole_is_rejected():
    with pytest.raises(ValueError, match=r"^burst must be a whole number, not 1\.5"):
        RateLimit(per_minute=60, burst=1.5)  # type: ignore[arg-type]  # the mistake under test


def test_burst_without_a_pace_is_rejected():
    with pytest.raises(ValueError, match=r"^burst needs per_minute"):
        RateLimit(per_hour=1000, burst=10)


def test_limits_are_equal_by_value_and_frozen():
    limit = RateLimit(per_minute=300, per_hour=10_000, burst=50)
    assert limit == RateLimit(per_minute=300, per_hour=10_000, burst=50)
    assert hash(limit) == hash(attrs.evolve(limit))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limit.burst = 60  # type: ignore[misc]  # the mistake under test


def test_limit_without_arguments_is_unlimited():
    assert RateLimit.unlimited() == RateLimit()
    assert RateLimit().is_unlimited
    assert not RateLimit(per_minute=60).is_unlimited
    assert not RateLimit(per_hour=60).is_unlimited


def test_text_of_a_limit_names_its_rates_and_its_share():
    assert str(RateLimit(per_minute=300, per_hour=10_000)) == "300 a minute and 10000 an hour"
    assert str(RateLimit(per_hour=50, share=0.5)) == "any number a minute and 50 an hour (a share of 50%)"


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (RateLimit(per_minute=60), (57, None)),
        (RateLimit(per_hour=1000), (None, 997)),
        (RateLimit(per_minute=60, per_hour=1000), (57, 997)),
        (RateLimit.unlimited(), (None, None)),
    ],
)
def test_left_counts_each_window_that_has_a_limit(limit, left):
    quota = Quota(limit)
    spend(quota, 3)
    assert attrs.astuple(quota.left(NOW)) == left


@pytest.mark.parametrize(
    ("tier", "limit"),
    [
        ("starter", RateLimit(per_minute=60)),
        ("professional", RateLimit(per_minute=300, per_hour=10_000, burst=50)),
        ("Professional", RateLimit(per_minute=300, per_hour=10_000, burst=50)),
        ("business", RateLimit(per_minute=1000)),
        ("enterprise", RateLimit.unlimited()),
        ("of next year", RateLimit(per_minute=60)),
        ("", RateLimit(per_minute=60)),
    ],
)
def test_limit_of_a_tier_is_known_in_any_case(tier, limit):
    assert RateLimit.for_tier(tier) == limit


def test_tier_with_unknown_rate_is_not_unlimited():
    assert [name for name in TIERS if RateLimit.for_tier(name).is_unlimited] == ["enterprise"]


def test_tier_that_is_no_string_is_rejected() -> None:
    with pytest.raises(ValueError, match="name must be the name of a tier, such as 'professional', not None"):
        RateLimit.for_tier(None)  # type: ignore[arg-type]  as from a setting that is missing


def test_unknown_burst_has_the_share_of_the_known_one():
    assert RateLimit.for_tier("professional").burst_or_guess == 50
    assert RateLimit(per_minute=300).burst_or_guess == 50
    assert RateLimit.for_tier("starter").burst_or_guess == 10
    assert RateLimit(per_minute=2).burst_or_guess == 1
    assert RateLimit(per_hour=10_000).burst_or_guess is None


@pytest.mark.parametrize(
    ("limit", "burst"),
    [
        (PROFESSIONAL, 45),
        (STARTER, 9),
        (RateLimit.for_tier("business"), 149),
        # At 5 a second, 3 requests catch up with others that are 0.6 s late.
        (RateLimit(per_minute=300, burst=10), 7),
        (RateLimit(per_minute=300, burst=1), 1),
    ],
)
def test_burst_is_not_used_fully(limit, burst):
    assert at_once(Quota(limit), NOW) == burst


def test_pace_applies_after_the_burst_then_the_window():
    went = spend(Quota(PROFESSIONAL), 301)
    assert went[44] == NOW
    assert went[45] == pytest.approx(NOW + 0.2)
    assert went[299] == pytest.approx(NOW + 255 / 5)
    assert went[300] == pytest.approx(NOW + 60 + DELAY_SPREAD)


def test_hour_limit_applies_too():
    went = spend(Quota(PROFESSIONAL), 10_001)
    assert went[9_999] < NOW + 35 * 60
    assert went[10_000] == pytest.approx(NOW + 3600 + DELAY_SPREAD)


def test_hour_limit_alone_sets_no_pace():
    quota = Quota(RateLimit(per_hour=100))
    assert at_once(quota, NOW) == 100
    assert quota.ready_at(NOW) == pytest.approx(NOW + 3600 + DELAY_SPREAD)


def test_limit_below_one_request_lengthens_the_window():
    went = spend(Quota(RateLimit(per_minute=0.5)), 3)
    assert [instant - NOW for instant in went] == pytest.approx([0, 120 + DELAY_SPREAD, 240 + 2 * DELAY_SPREAD])


def test_unlimited_quota_never_waits():
    assert set(spend(Quota(RateLimit.unlimited()), 50_000)) == {NOW}


def test_forecast_is_never_late_and_hardly_early():
    for ahead in (0, 44, 45, 299, 300, 2000, 9_999, 10_000):
        foreseen = Quota(PROFESSIONAL).ready_at(NOW, ahead) - NOW
        real = spend(Quota(PROFESSIONAL), ahead + 1)[-1] - NOW
        assert foreseen <= real + 1e-6
        assert foreseen >= 0.9 * real


class TestChangeOfLimit:
    def test_sent_requests_count_under_a_higher_limit(self):
        quota = Quota(STARTER)
        spend(quota, 9)
        quota = Quota(PROFESSIONAL, after=quota)
        assert at_once(quota, NOW) == 45 - 9
        assert quota.minute.used(NOW) == quota.hour.used(NOW) == 45

    def test_sent_requests_count_under_a_lower_limit(self):
        quota = Quota(PROFESSIONAL)
        last = spend(quota, 200)[-1]
        quota = Quota(STARTER, after=quota)
        # The last 60 were sent at 5 a second; the first of them must leave the window of a minute.
        assert quota.ready_at(last) == pytest.approx(last - 59 / 5 + 60 + DELAY_SPREAD)

    def test_new_hour_limit_counts_the_hour_before(self):
        quota = Quota(STARTER)
        went = spend(quota, 500)
        quota = Quota(RateLimit(per_minute=60, per_hour=400), after=quota)
        assert quota.ready_at(went[-1]) == pytest.approx(went[100] + 3600 + DELAY_SPREAD)

    def test_new_limit_counts_requests_sent_without_one(self):
        quota = Quota(RateLimit.unlimited())
        spend(quota, 1000)
        quota = Quota(PROFESSIONAL, after=quota)
        assert quota.ready_at(NOW + 1) == pytest.approx(NOW + 60 + DELAY_SPREAD)

    def test_limit_changed_and_restored_counts_the_same(self):
        quota = Quota(PROFESSIONAL)
        spend(quota, 45)
        for limit in (RateLimit.unlimited(), RateLimit.for_tier("business"), PROFESSIONAL):
            quota = Quota(limit, after=quota)
        assert at_once(quota, NOW) == 0
        assert quota.ready_at(NOW) == pytest.approx(NOW + 0.2)

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["starter", "professional", "business"]), st.integers(0, 120)),
            max_size=6,
        )
    )
    def test_changes_of_limit_never_exceed_the_highest(self, changes):
        quota, went, now = Quota(STARTER), [], NOW
        highest = 60.0
        for tier, requests in changes:
            limit = RateLimit.for_tier(tier)
            quota = Quota(limit, after=quota)
            highest = max(highest, limit.per_minute or 0)
            went += spend(quota, requests, now)
            now = max([now, *went])
        for instant in went:
            assert sum(instant - 60 < other <= instant for other in went) <= highest


class TestSeed:
    def test_usage_before_the_start_is_left_to_others(self):
        quota = Quota(PROFESSIONAL)
        quota.add_usage(NOW, minute=290, hour=9_000)
        went = spend(quota, 12)
        assert went[0] == pytest.approx(NOW + 0.2)  # a restarted process has emptied the panel's bucket too
        assert went[9] <= NOW + 10
        assert went[10] == pytest.approx(NOW + 60 + DELAY_SPREAD)

    def test_hour_is_counted_apart_from_the_minute(self):
        quota = Quota(PROFESSIONAL)
        quota.add_usage(NOW, minute=0, hour=9_990)
        went = spend(quota, 11)
        assert went[9] == NOW
        assert went[10] == pytest.approx(NOW + 3600 + DELAY_SPREAD)

    def test_own_requests_are_not_counted_twice(self):
        quota = Quota(PROFESSIONAL)
        spend(quota, 12)
        quota.add_usage(NOW, minute=12, hour=12)
        assert at_once(quota, NOW) == 45 - 12

    def test_lower_count_of_the_panel_changes_nothing(self):
        quota = Quota(PROFESSIONAL)
        spend(quota, 45)
        quota.add_usage(NOW, minute=0, hour=0)
        assert at_once(quota, NOW) == 0

    @pytest.mark.parametrize(("minute", "hour"), [(3, 0), (0, 3), (3, 3)])
    def test_requests_of_others_in_either_window_are_others(self, minute, hour):
        quota = Quota(PROFESSIONAL)
        assert quota.add_usage(NOW, minute=minute, hour=hour)
        assert not quota.add_usage(NOW, minute=minute, hour=hour)

    def test_usage_above_the_limit_counts_as_the_limit(self):
        quota = Quota(PROFESSIONAL)
        quota.add_usage(NOW, minute=10**9, hour=10**9)
        assert quota.ready_at(NOW) == pytest.approx(NOW + 3600 + DELAY_SPREAD)

    def test_usage_survives_a_change_of_limit(self):
        quota = Quota(STARTER)
        quota.add_usage(NOW, minute=60, hour=400)
        quota = Quota(RateLimit(per_minute=60, per_hour=500), after=quota)
        assert quota.ready_at(NOW) == pytest.approx(NOW + 60 + DELAY_SPREAD)
        assert quota.hour.used(NOW) == 400
