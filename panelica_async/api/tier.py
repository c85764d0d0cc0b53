"""How a client learns what its key may send."""

from typing import Protocol

from panelica_async.errors import NotFoundError, PermissionDeniedError
from panelica_async.models.utility import CurrentKey, RateLimitStatus

REFUSALS = (PermissionDeniedError, NotFoundError)
"""The key may not ask for its rate limit: the scope is `*:*`, which few have (evidence: rate-limit-endpoint)."""


class Api(Protocol):
    """The calls about a key: those of a client, or a `Utility`."""

    async def rate_limit(self) -> RateLimitStatus:
        """Return the rate limit of the key."""
        ...

    async def me(self) -> CurrentKey:
        """Return the description of the key."""
        ...


async def ask_limit(api: Api) -> RateLimitStatus:
    """Ask the panel for the rate limit of the key or, when it does not tell, for the tier.

    Raises:
        PanelicaError: The panel tells neither.
    """
    try:
        return await api.rate_limit()
    except REFUSALS:
        return limit_of(await api.me())


def limit_of(key: CurrentKey) -> RateLimitStatus:
    """Return what the description of a key says about its rate limit: the tier, whose limits are known."""
    return RateLimitStatus(tier=key.rate_limit_tier)
