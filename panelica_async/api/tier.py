"""How a client learns the rate limit of its key."""

from typing import TYPE_CHECKING

from panelica_async.api.dialect import PanelDialect
from panelica_async.api.runner import OperationRunner
from panelica_async.errors import NotFoundError, PanelicaError, PermissionDeniedError, TransportError
from panelica_async.models.utility import CurrentKey, RateLimitStatus
from panelica_async.resources.registry import get_operation
from panelica_async.resources.utility import Utility
from panelica_async.transport.call import CallOptions
from panelica_async.transport.pipeline import Transport

if TYPE_CHECKING:
    from panelica_async.resources import Namespaces

REFUSALS = (PermissionDeniedError, NotFoundError)
"""The key may not ask for its rate limit: the scope is `*:*`, which few have (evidence: rate-limit-endpoint)."""
_ASKING = CallOptions(timeout=10.0, max_retries=1, learns_quota=False)
"""No deadline: no call waits for the answer, and on a full key it is worth a long wait."""


async def ask_quota(dialect: PanelDialect, transport: Transport) -> RateLimitStatus:
    """Ask the panel for the rate limit of the key that a client uses.

    Raises:
        PanelicaError: The panel does not tell. After a `TransportError`, the limiter asks again.
    """
    try:
        await dialect.learn(_ASKING)
    except PanelicaError as error:
        raise TransportError(f"the dialect of the panel is uncertain: {error.message}") from error
    return await ask_limit(Utility(OperationRunner(transport, _ASKING, dialect, get_operation)))


async def ask_limit(panel: "Namespaces | Utility") -> RateLimitStatus:
    """Ask the panel for the rate limit of the key or, if the key may not read that, for its tier.

    Raises:
        PanelicaError: The panel answers neither.
    """
    try:
        return await panel.rate_limit()
    except REFUSALS:
        return limit_of(await panel.me())


def limit_of(key: CurrentKey) -> RateLimitStatus:
    """Return what the description of a key says about its rate limit: the tier, whose limits are known."""
    return RateLimitStatus(tier=key.rate_limit_tier)
