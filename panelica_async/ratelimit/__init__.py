"""Client-side rate limiting: every request waits for its turn, so that the panel never has to refuse one.

The panel counts the requests of each API key and answers 429 above its limit. How it counts is unknown, so the limiter
keeps to every plausible way at once, and uses 97 % or more of each.

**A limit is a value, a quota is arithmetic.** `RateLimit` (`limit`) says what a key may send. A `Quota` turns it into
rules (`rules`): a token bucket for the pace and the burst, sliding logs for the windows of a minute and an hour. A rule
answers one question, *when may the next request go?*, and computes with instants only; it knows no clock, no queue and
no event loop.

**A permit is an instant at which one request may go.** Permits come from a quota in this process (`permits`) or from
one that several processes share (`shared`).

**A limiter is a queue in front of the permits.** `RateLimiter` (`limiter`) lets callers pass in two lanes (`lanes`):
interactive calls go first, bulk work keeps a fifth while both wait, and leaves a reserve for interactive calls that are
still to come. A caller takes its permit at the moment it passes, so cancelling a waiting one loses nothing; one timer,
for the head of the queue, serves all. The clients of a key in one process share a limiter (`registry`).

**Replies correct the limiter.** `RateLimiter.observe` reads the headers and the 429 replies of the panel (`feedback`):
the limit follows them, requests of other users of the key are counted, and a refusal pauses all callers, which then
start slowly.

**Several processes reserve permits from a store.** A `Coordinator` (`store`) answers a `ReserveRequest` with a
`Reservation`: a few permits at a time, fairly by member, in the same lanes. One store is a SQLite file on the host
(`sqlite`, `tables`), with the rules themselves saved in it; the other is Redis (`redis`, `reserve.lua`), which repeats
them. While a store cannot be reached, each member uses only a part of the limit.
"""

import importlib
from typing import TYPE_CHECKING, Any

from panelica_async.ratelimit.lanes import Lane
from panelica_async.ratelimit.limit import LimiterState, QuotaLeft, RateLimit
from panelica_async.ratelimit.limiter import RateLimiter
from panelica_async.ratelimit.registry import shared_limiter

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
