"""The signature of each attempt, which only requests to the panel of the client get."""

from aiohttp import ClientRequest, hdrs
from aiohttp.payload import Payload
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import signs_body
from panelica_async.errors import ConfigurationError
from panelica_async.transport.call import Call
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey


class RequestSigner:
    """Builds the URLs of requests to the panel the key belongs to, and signs these requests alone.

    Args:
        address: Where the panel is.
        clock: Has the panel's time.
    """

    def __init__(self, address: Address, clock: PanelClock) -> None:
        self.origin: URL = URL(address.origin, encoded=True)
        """Scheme, host and port of the panel."""
        self._prefix = address.prefix
        self._clock = clock

    def url(self, request: PreparedRequest) -> URL:
        """Return where a request goes. Path and query are encoded already, and yarl leaves them as they are."""
        path = self._prefix + request.path
        if not request.query:
            return self.origin.with_path(path, encoded=True)
        return URL.build(
            scheme=self.origin.scheme,
            authority=self.origin.raw_authority,
            path=path,
            query_string=request.query,
            encoded=True,
        )

    def sign(self, call: Call, key: ApiKey, request: ClientRequest, body: bytes | None) -> None:
        """Sign what is about to be sent, if it goes to the URL that was built for the call.

        Args:
            call: The call, which remembers the time.
            key: The key whose quota the attempt has passed, even if another one has replaced it just now.
            request: What is sent.
            body: Its body, as far as it is signed.

        Raises:
            ConfigurationError: The request goes anywhere else.
        """
        url, sent = request.url, call.request
        # Most often aiohttp sends the very object: comparing takes longer.
        if url is not call.url and url != call.url:
            raise ConfigurationError(
                f"refused to sign a request to {url.origin()}, which is not the panel of this client"
            )
        call.clock_lead = self._clock.lead
        # update() replaces the headers of an earlier attempt.
        request.headers.update(
            key.signer.headers(
                sent.method,
                sent.path,
                sent.query,
                body or b"",
                prefix="",
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
