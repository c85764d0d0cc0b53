"""What a limiter allows and how it stands, for those who watch it."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import QuotaLeft, RateLimit

__all__ = ["Coordination", "LimiterState"]

Coordination: TypeAlias = Literal["none", "shared", "away"]
"""`none`: the quota is this process's own. `away`: its store does not answer, and a share of the limit applies."""


@attrs.frozen(kw_only=True)
class LimiterState:
    """How a limiter stands at one moment."""

    limit: RateLimit
    """The limit in force: the configured one, or what the panel named."""
    left: QuotaLeft
    """What may still be sent in the windows that end now; with a coordinator by all members, as far as it said."""
    waiting: Mapping[Lane, int]
    """How many callers wait here, by lane."""
    oldest: Mapping[Lane, float]
    """Seconds for which the first of them has waited, by lane; 0 when there is none."""
    coordination: Coordination
    """Whether the quota is shared, and works."""
