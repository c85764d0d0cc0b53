"""Builds the URL of a call and signs each attempt; a request to any other URL is never signed."""

from aiohttp import ClientRequest, hdrs
from aiohttp.payload import Payload
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.signing import signs_body
from panelica_async.errors import ConfigurationError
from panelica_async.transport.call import Call
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey


class RequestSigner:
    """Builds the URLs of calls to one panel, and signs requests to these URLs only.

    Args:
        address: Address of the panel.
        clock: Has the panel's time.
    """

    def __init__(self, address: Address, clock: PanelClock) -> None:
        self.origin: URL = URL(address.origin, encoded=True)
        """Scheme, host and port of the panel."""
        self._prefix = address.prefix
        self._clock = clock

    def set_url(self, call: Call) -> URL:
        """Set the URL of a call, and return it."""
        origin, request = self.origin, call.request
        path = self._prefix + request.path
        # Path and query are encoded already; yarl must not change what will be signed.
        if request.query:
            call.url = URL.build(
                scheme=origin.scheme,
                authority=origin.raw_authority,
                path=path,
                query_string=request.query,
                encoded=True,
            )
        else:
            call.url = origin.with_path(path, encoded=True)
        return call.url

    def sign(self, call: Call, key: ApiKey, request: ClientRequest, body: bytes | None) -> None:
        """Sign a request that is about to be sent.

        Args:
            call: The call; its `clock_lead` is set.
            key: The key whose quota the attempt used, even if another key has replaced it since.
            request: What is sent.
            body: The part of its body that is signed.

        Raises:
            ConfigurationError: The request does not go to the URL of the call.
        """
        url, prepared = request.url, call.request
        # aiohttp usually passes on the same object: then there is nothing to compare.
        if url is not call.url and url != call.url:
            raise ConfigurationError(
                f"refused to sign a request to {url.origin()}: the session changed its URL",
                hint="Pass a session that leaves the URLs of requests as they are.",
            )
        call.clock_lead = self._clock.lead
        # update() replaces the headers of an earlier attempt.
        request.headers.update(
            key.signer.headers(
                prepared.method,
                prepared.path,
                prepared.query,
                body or b"",
                timestamp=int(self._clock.now()),
                content_type=request.headers.get(hdrs.CONTENT_TYPE, "") if body else "",
            )
        )


async def signed_upload_body(request: ClientRequest) -> bytes:
    """Return the part of a streamed body that is signed: all of it, or nothing of a multipart one."""
    if not signs_body(request.method, request.headers.get(hdrs.CONTENT_TYPE, "")):
        return b""
    body = request.body
    return await body.as_bytes() if isinstance(body, Payload) else body
