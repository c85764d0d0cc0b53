"""The innermost middleware: one request, one reply read to its end, every failure of aiohttp as an error of ours."""

import asyncio
import time
from datetime import UTC, datetime

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.core.faults import retry_after
from panelica_async.errors import ConfigurationError, ConnectError, RequestTimeoutError, TransportError
from panelica_async.transport.call import Call

# Nothing was sent: the connection, its TLS handshake or a proxy failed first.
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientProxyConnectionError,
)
_CERTIFICATE_HINT = (
    "A fresh panel has a self-signed certificate: pass as ssl= an ssl.SSLContext that trusts it or its "
    "aiohttp.Fingerprint, or install a real one."
)


class Exchange:
    """Sends one attempt and reads the whole reply within the time-out.

    Args:
        call: The call this is an attempt of.
        timeout: Seconds from sending to the last byte of the reply. Waiting for quota does not count.
    """

    def __init__(self, call: Call, timeout: float) -> None:
        self._call = call
        self._timeout = timeout

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request; raises `ConnectError`, `RequestTimeoutError` or `TransportError`."""
        call = self._call
        call.sent_at = datetime.now(UTC)
        call.in_flight = True
        try:
            async with asyncio.timeout(self._timeout):
                response = await handler(request)
                await response.read()
        except _BEFORE_SENDING as error:
            call.in_flight = False
            raise self._not_connected(error) from error
        except TimeoutError as error:
            raise self._unanswered(RequestTimeoutError, f"no reply within {self._timeout:g} s") from error
        except aiohttp.InvalidURL as error:
            call.in_flight = False
            raise ConfigurationError("base_url does not make a valid URL") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise self._unanswered(
                TransportError, f"the connection broke before the reply was complete: {reason}"
            ) from error
        call.in_flight = False
        return response

    def _unanswered(self, kind: type[TransportError], message: str) -> TransportError:
        self._call.in_flight = False
        self._call.may_be_done = True
        return kind(message, method=self._call.method, path=self._call.path)

    def _not_connected(self, error: Exception) -> ConnectError:
        is_certificate = isinstance(
            error,
            aiohttp.ClientConnectorCertificateError
            | aiohttp.ServerFingerprintMismatch
            | aiohttp.ClientConnectorSSLError,
        )
        if isinstance(error, aiohttp.ServerFingerprintMismatch):
            reason = "the certificate of the panel is not the pinned one"
        else:
            reason = str(error) or type(error).__name__
        return ConnectError(
            f"no connection to the panel: {reason}",
            method=self._call.method,
            path=self._call.path,
            hint=_CERTIFICATE_HINT if is_certificate else "Check host and port of base_url, and that the panel is up.",
        )


async def asked_wait(response: ClientResponse) -> float | None:
    """Return the seconds the panel asks to wait, or None when it does not say."""
    return retry_after(response.status, response.headers, await response.read(), time.time())
