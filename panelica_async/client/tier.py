"""How a client learns what its key may send."""

from panelica_async.client.caller import Caller
from panelica_async.errors import NotFoundError, PermissionDeniedError
from panelica_async.models.utility import CurrentKey, RateLimitStatus
from panelica_async.resources.utility import Utility

REFUSALS = (PermissionDeniedError, NotFoundError)
"""The panel does not tell this key its rate limit: the scope is `*:*`, which few have (panel-facts C.1, D.1)."""


async def ask_limit(caller: Caller) -> RateLimitStatus:
    """Ask the panel for the rate limit of the key or, when it does not tell, for the tier.

    Raises:
        PanelicaError: The panel tells neither.
    """
    utility = Utility(caller)
    try:
        return await utility.rate_limit()
    except REFUSALS:
        return limit_of(await utility.me())


def limit_of(key: CurrentKey) -> RateLimitStatus:
    """Return what the description of a key says about its rate limit: the tier, whose limits are known."""
    return RateLimitStatus(tier=key.rate_limit_tier)
