"""Client-side rate limiting: every request waits its turn, so that the panel never has to refuse one.

A limit is a value (`limits`). It becomes rules (`rules`), which together are a quota (`quota`), and a
limiter lets callers wait for it (`limiter`). The clients of one key in a process share a limiter
(`registry`).
"""

from panelica_async.ratelimit.limiter import RateLimiter
from panelica_async.ratelimit.limits import RateLimit
from panelica_async.ratelimit.registry import shared_limiter

__all__ = ["RateLimit", "RateLimiter", "shared_limiter"]
