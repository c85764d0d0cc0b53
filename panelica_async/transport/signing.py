"""The middleware that signs each attempt, and only requests to the panel it was made for."""

import time
from collections.abc import Callable

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.payload import Payload
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.signing import Signer
from panelica_async.errors import ConfigurationError


class SigningMiddleware:
    """Adds the signature headers.

    Args:
        signer: Holds the key.
        address: The panel the key belongs to; a request to any other origin is refused, not signed.
        clock: Returns Unix time in seconds.
    """

    def __init__(self, signer: Signer, address: Address, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._origin = _origin(URL(address.origin))
        self._prefix = address.prefix
        self._clock = clock

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sign what is about to be sent: `raw_path` and `raw_query_string` are the bytes on the wire."""
        url = request.url
        if _origin(url) != self._origin:
            raise ConfigurationError(
                f"refused to sign a request to {url.origin()}, which is not the panel of this client"
            )
        body = await request.body.as_bytes() if isinstance(request.body, Payload) else request.body
        # update() replaces the headers of an earlier attempt.
        request.headers.update(
            self._signer.headers(
                request.method,
                url.raw_path,
                url.raw_query_string,
                body,
                prefix=self._prefix,
                timestamp=int(self._clock()),
                content_type=request.headers.get(hdrs.CONTENT_TYPE, ""),
            )
        )
        return await handler(request)


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.raw_host, url.port
