"""The quota of a client's key: which limiter it passes, and what that is set to."""

import asyncio
import logging
from typing import TYPE_CHECKING

from panelica_async.errors import ConfigurationError, PanelicaError
from panelica_async.facts import TIERS
from panelica_async.ratelimit import RateLimit, RateLimiter, shared_limiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from panelica_async.models.utility import RateLimitStatus

AUTO = "auto"
_CAUTIOUS_TIER = "starter"
_log = logging.getLogger("panelica_async")


class KeyQuota:
    """The limiter of one key, made in the running loop on first use and set up once.

    Args:
        origin: Scheme, host and port of the panel.
        api_key: The key whose quota it is; all clients of a key in a process share its limiter.
        tier: Name of the tier, or `auto` to ask the panel.
        given: A limiter or limit of the caller's, which wins over the tier.

    Raises:
        ConfigurationError: There is no such tier.
    """

    def __init__(self, origin: str, api_key: str, *, tier: str, given: RateLimiter | RateLimit | None) -> None:
        if tier != AUTO and tier not in TIERS:
            raise ConfigurationError(f"tier is {tier!r}; it takes {AUTO}, {', '.join(TIERS)}")
        self._origin = origin
        self._api_key = api_key
        self._limit = (
            given if isinstance(given, RateLimit) else RateLimit.for_tier(_CAUTIOUS_TIER if tier == AUTO else tier)
        )
        self._limiter = given if isinstance(given, RateLimiter) else None
        self._known = given is not None or tier != AUTO
        self._learning = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether there is nothing to learn."""
        return self._known

    def limiter(self) -> RateLimiter:
        """Return the limiter of the key."""
        if self._limiter is None:
            self._limiter = shared_limiter(self._origin, self._api_key, self._limit)
            if self._known:
                self._limiter.reconfigure(self._limit)
        return self._limiter

    async def learn(self, ask: "Callable[[], Awaitable[RateLimitStatus]]") -> None:
        """Set the limiter to what the panel says, once; to the slowest tier when it does not say."""
        if self._known:
            return
        async with self._learning:
            if self._known:
                return
            try:
                self._apply(await ask())
            except PanelicaError as error:
                _log.info("the panel did not tell the rate limit, assuming %s: %s", _CAUTIOUS_TIER, error)
            self._known = True

    def _apply(self, usage: "RateLimitStatus") -> None:
        limiter = self.limiter()
        if usage.requests_per_minute:
            limiter.reconfigure(
                RateLimit(
                    per_minute=usage.requests_per_minute,
                    per_hour=usage.requests_per_hour or None,
                    burst=usage.burst_size or None,
                )
            )
        else:
            # Guess: what an unlimited key is told is not known (panel-facts C); its tier is believed.
            limiter.reconfigure(RateLimit.for_tier(usage.tier or _CAUTIOUS_TIER))
        limiter.seed(
            minute_usage=usage.current_minute_usage or 0,
            hour_usage=usage.current_hour_usage or 0,
        )

    def dismiss(self, owner: object) -> None:
        """Refuse what waits on behalf of a closing client."""
        if self._limiter is not None:
            self._limiter.dismiss(owner)
