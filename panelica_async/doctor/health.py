"""Whether the API is at an address: asks for its health, unsigned."""

from panelica_async.core.operation import Dialect
from panelica_async.doctor.probe import Probe
from panelica_async.errors import AuthenticationError, DecodeError, ResponseError
from panelica_async.models.utility import Health

# Current panels serve `/health`, the reference has it under `/v1` (panel-facts A.1, E.61).
_DIALECTS: tuple[Dialect, ...] = ("panel", "reference")


async def ask_health(probe: Probe) -> Health | None:
    """Ask for the health of the API, in one call or two; None when it is the API, but wants a key even for that.

    Raises:
        TransportError: Nothing came back.
        ResponseError: What answers reports an error.
        DecodeError: What answers is something else.
    """
    refusals: list[ResponseError | DecodeError] = []
    for dialect in _DIALECTS:
        try:
            return await probe.utility(dialect).health()
        except (ResponseError, DecodeError) as error:
            if isinstance(error, AuthenticationError) and error.code:
                return None
            refusals.append(error)
    raise refusals[0]
