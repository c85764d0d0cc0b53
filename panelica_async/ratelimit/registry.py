"""One limiter for each API key: clients that share a key share its quota."""

import asyncio
import hashlib
from weakref import WeakKeyDictionary, WeakValueDictionary

from panelica_async.ratelimit.limiter import RateLimiter
from panelica_async.ratelimit.limits import RateLimit

__all__ = ["shared_limiter"]

# A limiter lives as long as a client holds it, the limiters of an event loop no longer than the loop.
_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[bytes, RateLimiter]] = WeakKeyDictionary()


def shared_limiter(
    origin: str, api_key: str, limit: RateLimit, *, learn: bool = True, may_rise: bool = True
) -> RateLimiter:
    """Return the limiter of an API key in the running event loop.

    Hold on to it: it goes away with the last client that does.

    Args:
        origin: Scheme, host and port of the panel, such as `https://panel.example.com:8443`.
        api_key: The key; only a digest of it is kept.
        limit: What a new limiter allows. One that exists keeps its limit, which may have come from the panel.
        learn: Whether a new limiter follows the limits that the panel's replies name.
        may_rise: Whether these may lift it above `limit`.

    Raises:
        RuntimeError: No event loop is running.
    """
    limiters = _limiters.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    digest = hashlib.sha256(f"{origin}\n{api_key}".encode()).digest()
    limiter = limiters.get(digest)
    if limiter is None or limiter.closed:
        limiter = limiters[digest] = RateLimiter(limit, learn=learn, may_rise=may_rise)
    return limiter
