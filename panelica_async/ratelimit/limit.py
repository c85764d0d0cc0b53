"""How many requests an API key may make, as a value."""

from math import inf, isfinite
from typing import Any, Self

import attrs

from panelica_async.catalog import TIERS

__all__ = ["RateLimit"]

# The default tier of a key, and the slowest (panel-facts C).
_FALLBACK_TIER = "starter"

# Guess: the burst is known for one tier alone, professional, with 50 at 300 a minute (panel-facts C). The
# others get the same share.
_MINUTE_RATE_PER_BURST = 6


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise ValueError(f"{attribute.name}: must be a positive number, or None for no limit, not {value!r}")


def _whole(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not isinstance(value, int):
        raise ValueError(f"{attribute.name}: must be a whole number, not {value!r}")


def _share(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{attribute.name}: must be above 0 and at most 1, not {value!r}")


@attrs.frozen(kw_only=True)
class RateLimit:
    """What an API key may send. Without arguments: everything.

    Raises:
        ValueError: A number is not positive, `share` is above 1, `burst` is not whole, or `burst` is given
            without `per_minute`.
    """

    per_minute: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any minute; None for no limit."""
    per_hour: float | None = attrs.field(default=None, validator=_positive)
    """Requests in any hour; None for no limit."""
    burst: int | None = attrs.field(default=None, validator=[_positive, _whole])
    """Requests at once, before the pace of `per_minute` applies; None when it is not known."""
    share: float = attrs.field(default=1.0, validator=_share)
    """The part of all this that may be used here, above 0 and at most 1: 0.5 for each of two processes."""

    def __attrs_post_init__(self) -> None:
        if self.burst is not None and self.per_minute is None:
            raise ValueError("burst: needs per_minute, the pace at which it comes back")

    @classmethod
    def unlimited(cls) -> Self:
        """Return the limit of a key that has none."""
        return cls()

    @classmethod
    def for_tier(cls, name: str, *, share: float = 1.0) -> Self:
        """Return the limit of a tier, such as `professional`; case does not matter.

        A name that is not known counts as `starter`, the slowest.

        Args:
            name: Name of the tier.
            share: The part of it that may be used here, above 0 and at most 1.
        """
        tier = TIERS.get(name.lower(), TIERS[_FALLBACK_TIER])
        if tier.unlimited:
            return cls.unlimited()
        return cls(per_minute=tier.requests_per_minute, per_hour=tier.requests_per_hour, burst=tier.burst, share=share)

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self.per_minute is None and self.per_hour is None

    def is_below(self, other: "RateLimit") -> bool:
        """Return whether this limit allows fewer requests in a minute or in an hour than another."""
        minute, hour = self.per_minute or inf, self.per_hour or inf
        return minute < (other.per_minute or inf) or hour < (other.per_hour or inf)

    def __str__(self) -> str:
        minute = "any number" if self.per_minute is None else f"{self.per_minute:g}"
        hour = "" if self.per_hour is None else f" and {self.per_hour:g} an hour"
        share = "" if self.share == 1 else f" (a share of {self.share:.0%})"
        return f"{minute} a minute{hour}{share}"

    @property
    def burst_or_guess(self) -> int | None:
        """The burst, or a cautious guess from the minute rate; None when there is no minute rate."""
        if self.burst is not None or self.per_minute is None:
            return self.burst
        return max(1, int(self.per_minute / _MINUTE_RATE_PER_BURST))
