"""Client-side rate limiting: every request waits its turn, so that the panel never has to refuse one.

A limit is a value (`limits`). It becomes rules (`rules`), which together are a quota (`quota`), and the quota
gives places (`places`). A limiter lets callers in two lanes (`lanes`) wait for them (`limiter`), and learns from
replies (`feedback`). The clients of one key in a process share a limiter (`registry`).

Processes and hosts that use one key share a quota (`coordination`, `shared`): through a file (`host`, `ledger`,
`schedule`) or through Redis (`redis`).
"""

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import QuotaLeft, RateLimit
from panelica_async.ratelimit.limiter import RateLimiter
from panelica_async.ratelimit.registry import shared_limiter
from panelica_async.ratelimit.state import LimiterState
from panelica_async.ratelimit.store import Coordinator, Reservation, ReserveRequest, SharedLimit

__all__ = [
    "Coordinator",
    "Lane",
    "LimiterState",
    "QuotaLeft",
    "RateLimit",
    "RateLimiter",
    "Reservation",
    "ReserveRequest",
    "SharedLimit",
    "shared_limiter",
]
