"""The quota of a client's key: which limiter it passes, and what that is set to."""

import asyncio
import contextvars
import logging
from math import inf
from typing import TYPE_CHECKING

from panelica_async.errors import (
    AuthenticationError,
    ConfigurationError,
    PanelicaError,
    RateLimitedError,
    RateLimitWaitError,
    ServerError,
    TransportError,
)
from panelica_async.facts import TIERS
from panelica_async.ratelimit import RateLimit, RateLimiter, shared_limiter
from panelica_async.ratelimit.feedback import is_count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from panelica_async.models.utility import RateLimitStatus

AUTO = "auto"
_CAUTIOUS_TIER = "starter"
# Failures that say nothing about the next time, and seconds until then. A refused key may get its right secret.
_PASSING = (TransportError, RateLimitWaitError, RateLimitedError, ServerError, AuthenticationError)
_ASK_AGAIN_AFTER = 60.0
# Seconds from the question on for which calls wait for the answer. Then they go, at the slowest tier until it comes.
_PATIENCE = 1.0
_log = logging.getLogger("panelica_async")


class KeyQuota:
    """The limiter of one key, made in the running loop on first use.

    Args:
        origin: Scheme, host and port of the panel.
        api_key: The key whose quota it is; all clients of a key in a process share its limiter.
        tier: Name of the tier, or `auto` to ask the panel.
        given: A limiter or limit of the caller's, which wins over the tier.

    Raises:
        ConfigurationError: There is no such tier, or `given` is something else.
    """

    def __init__(self, origin: str, api_key: str, *, tier: str, given: RateLimiter | RateLimit | None) -> None:
        if tier not in (AUTO, *TIERS):
            raise ConfigurationError(f"tier is {tier!r}; it takes one of {AUTO}, {', '.join(TIERS)}")
        if not isinstance(given, RateLimiter | RateLimit | None):
            raise ConfigurationError(f"limiter is a {type(given).__name__}; it takes a RateLimiter or a RateLimit")
        self._origin = origin
        self._api_key = api_key
        self._tier = tier
        self._given = given
        self._limiter = given if isinstance(given, RateLimiter) else None
        # A limit that the caller chose is not the panel's to change.
        self._is_fixed = isinstance(given, RateLimit)
        if isinstance(given, RateLimit):
            self._limit: RateLimit | None = given
        else:
            self._limit = None if tier == AUTO else RateLimit.for_tier(tier)
        # Time of the event loop from which on the panel is asked.
        self._ask_at = -inf if given is None and tier == AUTO else inf
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = -inf

    def of_key(self, api_key: str) -> "KeyQuota":
        """Return the quota of another key of the same panel, under the same settings.

        It is this one when only the secret is another, and when the limiter is the caller's.
        """
        if api_key == self._api_key or isinstance(self._given, RateLimiter):
            return self
        return KeyQuota(self._origin, api_key, tier=self._tier, given=self._given)

    def limiter(self) -> RateLimiter:
        """Return the limiter of the key."""
        if self._limiter is None:
            cautious = RateLimit.for_tier(_CAUTIOUS_TIER)
            self._limiter = shared_limiter(
                self._origin,
                self._api_key,
                self._limit or cautious,
                learn=not self._is_fixed,
                # A tier that the caller names is the most it wants; without one, the panel's word decides.
                may_rise=self._tier == AUTO,
            )
            if self._limit is not None:
                self._limiter.reconfigure(self._limit)
        return self._limiter

    def is_due(self) -> bool:
        """Tell whether the panel is to be asked for the quota."""
        return self._ask_at < inf and _now() >= self._ask_at

    async def learn(self, ask: "Callable[[], Awaitable[RateLimitStatus]]") -> None:
        """Set the limiter to what the panel says, if it was not asked yet; wait for the answer for a second at most.

        The limiter stays as it is, at first at the slowest tier, when the panel does not say: for good when it
        refuses, for a minute when it cannot be reached, is busy, or does not know the key.
        """
        if not self.is_due():
            return
        if self._asking is None or self._asking.done():
            self._asked_at = _now()
            # A task of its own: the caller that happens to be first may give up, and its context is not to be kept.
            self._asking = asyncio.Task(self._ask(ask), loop=asyncio.get_running_loop(), context=contextvars.Context())
        left = self._asked_at + _PATIENCE - _now()
        if left > 0:
            await asyncio.wait({self._asking}, timeout=left)

    async def _ask(self, ask: "Callable[[], Awaitable[RateLimitStatus]]") -> None:
        try:
            self._apply(await ask())
            self._ask_at = inf
        except PanelicaError as error:
            _log.info("the panel did not tell the rate limit, taking it for %s: %s", self.limiter().limit, error)
            self._ask_at = _now() + _ASK_AGAIN_AFTER if isinstance(error, _PASSING) else inf

    def _apply(self, status: "RateLimitStatus") -> None:
        limiter = self.limiter()
        limiter.reconfigure(_limit_of(status))
        limiter.seed(
            minute_usage=status.current_minute_usage or 0,
            hour_usage=status.current_hour_usage or 0,
        )

    def dismiss(self, owner: object) -> None:
        """Refuse what waits on behalf of a closing client."""
        if self._asking is not None:
            self._asking.cancel()
        if self._limiter is not None:
            self._limiter.dismiss(owner)


def _limit_of(status: "RateLimitStatus") -> RateLimit:
    per_minute = _count(status.requests_per_minute)
    if per_minute is None and (status.requests_per_minute or 0) <= 0:
        # Guess: what an unlimited key is told is not known (panel-facts C); its tier is believed.
        return RateLimit.for_tier(status.tier or _CAUTIOUS_TIER)
    burst = None if per_minute is None else _count(status.burst_size)
    return RateLimit(per_minute=per_minute, per_hour=_count(status.requests_per_hour), burst=burst)


def _count(number: float | None) -> int | None:
    # Guess: 0 and -1 stand for no limit, as they do in plans; what no panel can mean stands for none too.
    return int(number) if is_count(number, 1) else None


def _now() -> float:
    return asyncio.get_running_loop().time()
