"""The innermost middleware: one request, one reply read to its end, every failure of aiohttp as an error of ours."""

import asyncio
import time
from datetime import UTC, datetime

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.core.faults import retry_after
from panelica_async.errors import ConfigurationError, ConnectError, RequestTimeoutError, TransportError
from panelica_async.transport.call import Call
from panelica_async.transport.sessions import SessionHolder

GATEWAY_ERRORS = (502, 504)
"""The web server before the panel has lost the panel's reply."""

# Nothing was sent: the connection, its TLS handshake or a proxy failed first.
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)
_CERTIFICATE_PROBLEMS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)
_CERTIFICATE_HINT = (
    "A fresh panel has a self-signed certificate: pass as ssl= an ssl.SSLContext that trusts it or its "
    "aiohttp.Fingerprint, or install a real one."
)
_ADDRESS_HINT = "Check host and port of base_url, and that the panel is up."


class Exchange:
    """Sends one attempt and reads the whole reply within the time-out.

    Args:
        call: The call this is an attempt of.
        timeout: Seconds from sending to the last byte of the reply. Waiting for quota does not count.
        sessions: Whose session is used; nothing more is sent once it is closed.
    """

    def __init__(self, call: Call, timeout: float, sessions: SessionHolder) -> None:
        self._call = call
        self._timeout = timeout
        self._sessions = sessions

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request; raises `ConnectError`, `RequestTimeoutError` or `TransportError`."""
        # The client may have been closed while this attempt waited for its turn.
        self._sessions.session()
        call = self._call
        lost_before = call.may_be_done
        call.sent_at = datetime.now(UTC)
        call.may_be_done = True
        try:
            async with asyncio.timeout(self._timeout):
                response = await handler(request)
                await response.read()
        except _BEFORE_SENDING as error:
            call.may_be_done = lost_before
            raise self._not_connected(error) from error
        except aiohttp.InvalidURL as error:
            call.may_be_done = lost_before
            raise ConfigurationError("base_url does not make a valid URL") from error
        except TimeoutError as error:
            raise RequestTimeoutError(
                f"no reply within {self._timeout:g} s", method=call.method, path=call.path
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(
                f"no complete reply came back: {_reason(error)}", method=call.method, path=call.path
            ) from error
        call.may_be_done = lost_before or response.status in GATEWAY_ERRORS
        return response

    def _not_connected(self, error: Exception) -> ConnectError:
        if isinstance(error, aiohttp.ServerFingerprintMismatch):
            reason = "the certificate of the panel is not the pinned one"
        else:
            reason = _reason(error)
        return ConnectError(
            f"no connection to the panel: {reason}",
            method=self._call.method,
            path=self._call.path,
            hint=_CERTIFICATE_HINT if isinstance(error, _CERTIFICATE_PROBLEMS) else _ADDRESS_HINT,
        )


async def asked_wait(response: ClientResponse) -> float | None:
    """Return the seconds the panel asks to wait, or None when it does not say."""
    return retry_after(response.status, response.headers, await response.read(), time.time())


def is_certificate_problem(error: TransportError) -> bool:
    """Tell whether the panel's certificate was not accepted, which another attempt does not change."""
    return isinstance(error.__cause__, _CERTIFICATE_PROBLEMS)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
