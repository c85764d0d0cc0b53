"""The middleware that signs each attempt, and only requests to the panel the client was made for."""

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.payload import Payload

from panelica_async.core.address import Address
from panelica_async.core.signing import signs_body
from panelica_async.errors import ConfigurationError
from panelica_async.transport.call import Call, Middleware
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import KeyHolder


class SigningMiddleware:
    """Adds the signature headers.

    Args:
        inner: Carries the signed attempt on.
        keys: Has the key. It signs with the one of this moment, whatever was in use when the attempt began to wait.
        address: The panel the key belongs to; a request to any other origin is refused, not signed.
        clock: Has the panel's time.
    """

    def __init__(self, inner: Middleware, keys: KeyHolder, address: Address, clock: PanelClock) -> None:
        self._inner = inner
        self._keys = keys
        self._origin = address.origin.split("://")
        self._prefix = address.prefix
        self._clock = clock

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sign what is about to be sent: `raw_path` and `raw_query_string` are the bytes on the wire."""
        url = request.url
        if [url.scheme, url.raw_authority] != self._origin:
            raise ConfigurationError(
                f"refused to sign a request to {url.origin()}, which is not the panel of this client"
            )
        body, content_type = b"", ""
        if request.body:
            content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
            if signs_body(request.method, content_type):
                body = await _bytes_of(request)
        # update() replaces the headers of an earlier attempt.
        request.headers.update(
            self._keys.current.signer.headers(
                request.method,
                url.raw_path,
                url.raw_query_string,
                body,
                prefix=self._prefix,
                timestamp=int(self._clock.now()),
                content_type=content_type,
            )
        )
        call.clock_lead = self._clock.lead
        return await self._inner(call, request, handler)


async def _bytes_of(request: ClientRequest) -> bytes:
    body = request.body
    return await body.as_bytes() if isinstance(body, Payload) else body
