"""Client-side rate limiting: each request waits here until the panel will accept it.

The panel counts the requests of each API key and answers 429 above its limit. Whether it counts with a token bucket, in
fixed or in sliding windows is unknown, so the limiter obeys all three at once. It still uses at least 97 % of what any
of them allows.

    acquire(lane=…)
          │
     RateLimiter           a queue with two lanes (limiter, lanes)
          │
       Permits             when may the next request go?
       ┌──┴───────────────────────┐
    LocalPermits           SharedPermits (shared)
    (permits)                     │ ReserveRequest → Reservation (store)
       │                   ┌──────┴──────────┐
     Quota           HostCoordinator    RedisCoordinator
    (limit, rules)   a SQLite file      a Redis server
                     (sqlite, tables)   (redis, reserve.lua)

**A `RateLimit` is what a key may send; a `Quota` counts.** The quota turns the limit into rules (`rules`): a token
bucket for pace and burst, and a sliding log for each window. A rule answers one question: when may the next request go?
It computes with instants, and knows no clock, no queue and no event loop.

**A permit is an instant at which one request may go.** A process that has the quota to itself takes each permit from
the quota when a request goes (`LocalPermits`). Processes that share a quota keep it in a store: each reserves a few
permits at a time, and uses them as their instants come (`SharedPermits`). The SQLite store loads and saves the very
rules that the local quota uses; the Redis store repeats them in Lua, and a test compares the two. While a store does
not answer, each process uses its part of the limit.

**The limiter decides who goes next.** Interactive calls go before bulk work; bulk is sure of a fifth while both wait,
and leaves a reserve for interactive calls to come. A caller takes its permit when it passes, so cancelling one that
waits loses nothing. One timer, for the head of the queue, serves all. In one process, the limiters of a key share a
quota, one limiter for each event loop (`shared_limiter`).

**Replies correct the limiter.** `RateLimiter.observe` reads the headers and the 429 replies of the panel (`limit`).
The limit follows them, and requests by other users of the key count. A refusal pauses all callers; then they go slowly
at first.
"""

import importlib
from typing import TYPE_CHECKING, Any

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import LimiterState, QuotaLeft, RateLimit
from panelica_async.ratelimit.limiter import RateLimiter, shared_limiter

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # Imported on first use: most programs are one process, and have no store.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module("panelica_async.ratelimit.store"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
