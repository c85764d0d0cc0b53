"""One quota for each API key in a process: all clients of the key share it, in whatever event loop they run.

Each event loop has a limiter of its own, with a queue; the limiters of a key take their permits from the same quota.
"""

import asyncio
import hashlib
import os
import threading
import time
from weakref import WeakKeyDictionary, WeakValueDictionary

from panelica_async.ratelimit.limit import RateLimit
from panelica_async.ratelimit.limiter import RateLimiter
from panelica_async.ratelimit.permits import LocalPermits

__all__ = ["forget", "shared_limiter"]

# A limiter lives as long as a client holds it, and no longer than its event loop.
_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[bytes, RateLimiter]] = WeakKeyDictionary()

# The quotas of keys, kept for an hour after the last request: a program may run a new event loop for each job.
_quotas: dict[bytes, LocalPermits] = {}
_lock = threading.Lock()

# Seconds: the longest window.
_HOUR = 3600.0

# Seconds by which the clock of an event loop may differ from the system's and still be the same clock.
_SAME_CLOCK = 5.0


def shared_limiter(
    origin: str, api_key: str, limit: RateLimit, *, learn: bool = True, may_rise: bool = True
) -> RateLimiter:
    """Return the limiter of an API key in the running event loop.

    Keep a reference: it goes away with the last one.

    Args:
        origin: Scheme, host and port of the panel, such as `https://panel.example.com:8443`.
        api_key: The key; only a digest of it is kept.
        limit: What a new limiter allows. An existing one keeps its limit, which may have come from the panel.
        learn: Whether a new limiter follows the panel's replies.
        may_rise: Whether these may lift it above `limit`.

    Raises:
        RuntimeError: No event loop is running.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        limiters = _limiters.setdefault(loop, WeakValueDictionary())
    digest = hashlib.sha256(f"{origin}\n{api_key}".encode()).digest()
    limiter = limiters.get(digest)
    if limiter is None or limiter.closed:
        limiter = RateLimiter(limit, learn=learn, may_rise=may_rise, quota=_quota(loop, digest, limit))
        limiters[digest] = limiter
    return limiter


def forget() -> None:
    """Forget what the keys of this process have used, for a child after a fork."""
    global _lock  # noqa: PLW0603  another thread may have held it when this process was forked
    _lock = threading.Lock()
    _quotas.clear()


def _quota(loop: asyncio.AbstractEventLoop, digest: bytes, limit: RateLimit) -> LocalPermits:
    now = loop.time()
    if abs(now - time.monotonic()) > _SAME_CLOCK:
        return LocalPermits(limit)  # a loop with a clock of its own: its instants mean nothing to others
    with _lock:
        for key in [key for key, permits in _quotas.items() if permits.last_used < now - _HOUR and key != digest]:
            del _quotas[key]
        return _quotas.setdefault(digest, LocalPermits(limit))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
