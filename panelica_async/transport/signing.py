"""The signature of each attempt, which only requests to the panel of the client get."""

from aiohttp import ClientRequest, hdrs
from aiohttp.payload import Payload

from panelica_async.core.address import Address
from panelica_async.core.signing import signs_body
from panelica_async.errors import ConfigurationError
from panelica_async.transport.call import Call
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey


class RequestSigner:
    """Adds the signature headers.

    Args:
        address: The panel the key belongs to; a request to any other origin is refused, not signed.
        clock: Has the panel's time.
    """

    def __init__(self, address: Address, clock: PanelClock) -> None:
        self._scheme, self._authority = address.origin.split("://")
        self._prefix = address.prefix
        self._clock = clock

    def sign(self, call: Call, key: ApiKey, request: ClientRequest, body: bytes | None) -> None:
        """Sign what is about to be sent: `raw_path` and `raw_query_string` are the bytes on the wire.

        Args:
            call: The call, which remembers the time.
            key: The key whose quota the attempt has passed, even if another one has replaced it just now.
            request: What is sent.
            body: Its body, as far as it is signed.

        Raises:
            ConfigurationError: The request goes to another origin.
        """
        url = request.url
        if url.scheme != self._scheme or url.raw_authority != self._authority:
            raise ConfigurationError(
                f"refused to sign a request to {url.origin()}, which is not the panel of this client"
            )
        call.clock_lead = self._clock.lead
        # update() replaces the headers of an earlier attempt.
        request.headers.update(
            key.signer.headers(
                request.method,
                url.raw_path,
                url.raw_query_string,
                body or b"",
                prefix=self._prefix,
                timestamp=int(self._clock.now()),
                content_type=request.headers.get(hdrs.CONTENT_TYPE, "") if body else "",
            )
        )


async def upload_body(request: ClientRequest) -> bytes:
    """Return as much of a streamed body as is signed: nothing of a multipart one."""
    if not signs_body(request.method, request.headers.get(hdrs.CONTENT_TYPE, "")):
        return b""
    body = request.body
    return await body.as_bytes() if isinstance(body, Payload) else body
