"""Makes calls to one address of a panel. Each is sent once, and none writes."""

import attrs

from panelica_async.api.dialect import PanelDialect
from panelica_async.api.runner import OperationRunner, decode_reply
from panelica_async.client import user_agent
from panelica_async.core.address import Address
from panelica_async.core.json_codec import JsonValue
from panelica_async.core.operation import Dialect, Repeat
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import Signer
from panelica_async.errors import AuthenticationError, DecodeError, ResponseError
from panelica_async.models.utility import Health
from panelica_async.resources.registry import get_operation
from panelica_async.resources.utility import Utility
from panelica_async.transport.call import CallOptions, Reply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.session import SessionHolder, TlsSetting


class Probes:
    """Creates probes of the addresses of one panel, which share a session, a key and its quota.

    Args:
        address: Configured address of the panel. The key is sent only to its origin.
        sessions: Holds the aiohttp session.
        signer: Signs with the key.
        tier: Rate-limit tier of the key, or `auto`.
        ssl: How to verify the panel's certificate.
        timeout: Seconds for one call.

    Raises:
        ConfigurationError: The tier is unknown.
    """

    def __init__(
        self,
        address: Address,
        sessions: SessionHolder,
        *,
        signer: Signer,
        tier: str,
        ssl: TlsSetting,
        timeout: float,
    ) -> None:
        self._sessions = sessions
        self._ssl = ssl
        self._timeout = timeout
        self._keys = KeyHolder(ApiKey(signer, KeyQuota(address.origin, signer.api_key, tier=tier, limiter=None)))

    def to(self, address: Address, *, timeout: float | None = None) -> "Probe":
        """Return the probe of an address; raises `ConfigurationError` if `ssl` or the timeout is invalid."""
        transport = Transport(
            address=address,
            sessions=self._sessions,
            keys=self._keys,
            ssl=self._ssl,
            user_agent=user_agent("panelica-doctor"),
            clock=PanelClock(),
        )
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        # A diagnosis shows a failure instead of waiting until it is over.
        options = CallOptions(timeout=seconds, max_retries=0, max_wait=seconds)
        return Probe(address, transport, options)

    async def close(self) -> None:
        """Close the session, unless it is borrowed."""
        await self._sessions.close()


@attrs.frozen(eq=False)
class Probe:
    """Calls to one address."""

    address: Address
    transport: Transport = attrs.field(repr=False)
    options: CallOptions

    @property
    def key(self) -> ApiKey:
        """The key and its quota."""
        return self.transport.keys.current

    @property
    def clock(self) -> PanelClock:
        """The panel's time, as its replies show it."""
        return self.transport.clock

    def utility(self, dialect: Dialect = "reference") -> Utility:
        """Return the operations about the API itself."""
        return Utility(self._runner(dialect))

    async def learn_dialect(self) -> Dialect:
        """Return the dialect of the panel as a client finds it out; raises what a client would."""
        return await PanelDialect(self.transport, str(self.address)).learn(self.options)

    async def get(self, path: str, *, signed: bool) -> JsonValue:
        """Send a GET request and return the data of the reply; raises the errors of a client."""
        runner = self._runner("reference")
        request = PreparedRequest(method="GET", path=path)
        call = runner.prepare_raw(f"GET {path}", request, Repeat.READ, signed=signed)

        def read(reply: Reply) -> JsonValue:
            data: JsonValue = decode_reply(call, reply).data
            return data

        return await runner.run(call, read)

    def _runner(self, dialect: Dialect) -> OperationRunner:
        spoken = PanelDialect(self.transport, str(self.address), dialect)
        return OperationRunner(self.transport, self.options, spoken, get_operation)


# Current panels serve `/health`, the reference has it under `/v1` (evidence: address-health).
_DIALECTS: tuple[Dialect, ...] = ("panel", "reference")


async def ask_health(probe: Probe) -> Health | None:
    """Return the health of the API, read in one or two calls; None if the API requires a key even for this.

    Raises:
        TransportError: No reply was received.
        ResponseError: The reply is an error.
        DecodeError: The reply is not one of the API.
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
