import attrs
import pytest

from panelica_async.catalog import TIERS
from panelica_async.ratelimit import RateLimit


@pytest.mark.parametrize("field", ["per_minute", "per_hour", "burst"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "60"])
def test_an_impossible_number_is_refused_by_name(field, value):
    arguments = {"per_minute": 60, field: value}
    with pytest.raises(ValueError, match=f"^{field}: "):
        RateLimit(**arguments)


def test_a_burst_is_a_whole_number():
    with pytest.raises(ValueError, match=r"^burst: must be a whole number, not 1\.5"):
        RateLimit(per_minute=60, burst=1.5)  # type: ignore[arg-type]  # the mistake under test


def test_a_burst_needs_a_pace():
    with pytest.raises(ValueError, match=r"^burst: needs per_minute"):
        RateLimit(per_hour=1000, burst=10)


def test_a_limit_is_a_value():
    limit = RateLimit(per_minute=300, per_hour=10_000, burst=50)
    assert limit == RateLimit(per_minute=300, per_hour=10_000, burst=50)
    assert hash(limit) == hash(attrs.evolve(limit))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limit.burst = 60  # type: ignore[misc]  # the mistake under test


def test_no_arguments_mean_no_limit():
    assert RateLimit.unlimited() == RateLimit()
    assert RateLimit().is_unlimited
    assert not RateLimit(per_minute=60).is_unlimited
    assert not RateLimit(per_hour=60).is_unlimited


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
def test_tiers(tier, limit):
    assert RateLimit.for_tier(tier) == limit


def test_no_tier_becomes_unlimited_because_its_rate_is_unknown():
    assert [name for name in TIERS if RateLimit.for_tier(name).is_unlimited] == ["enterprise"]


def test_an_unknown_burst_is_guessed_as_the_share_of_the_known_one():
    assert RateLimit.for_tier("professional").burst_or_guess == 50
    assert RateLimit(per_minute=300).burst_or_guess == 50
    assert RateLimit.for_tier("starter").burst_or_guess == 10
    assert RateLimit(per_minute=2).burst_or_guess == 1
    assert RateLimit(per_hour=10_000).burst_or_guess is None
