"""The innermost middleware: one request, one reply read to its end, every failure of aiohttp as an error of ours."""

import asyncio
import re

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from panelica_async.errors import ConfigurationError, ConnectError, RequestTimeoutError, TransportError
from panelica_async.transport.call import NO_REPLY, Call, RawReply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.refusal import refusal, unreachable
from panelica_async.transport.sessions import SessionHolder

GATEWAY_ERRORS = (502, 504, 520, 522, 524)
"""The web server before the panel has lost the panel's reply; from 520 on it is Cloudflare, which serves 8443 too."""
LONGEST_BODY = 64 * 1024 * 1024
"""Bytes of a reply that are read, uncompressed: a few kilobytes can claim to be gigabytes."""

# Nothing was sent: the connection, its TLS handshake or a proxy failed first.
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)
# aiohttp quotes a reply that it cannot read, and that may hold secrets.
_QUOTING = (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)
_QUOTATION = re.compile(r"[:\s]+b?['\"].*", re.DOTALL)
_PROXY_REFUSES = 407
_ADDRESS_HINT = "Check host and port of base_url, and that the panel is up."


class Exchange:
    """Sends one attempt, reads the whole reply within the time-out, and leaves it in the call.

    Args:
        sessions: Nothing more is sent once it is closed.
        clock: Learns from the reply what time it is on the panel.
        monitor: Is told what leaves.
    """

    def __init__(self, sessions: SessionHolder, clock: PanelClock, monitor: Monitor) -> None:
        self._sessions = sessions
        self._clock = clock
        self._monitor = monitor

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request; raises `ConnectError`, `RequestTimeoutError` or `TransportError`."""
        # The client may have been closed while this attempt waited for its turn.
        self._sessions.require_open()
        clock = self._clock
        lost_before = call.may_be_done
        call.sent_at = clock.monotonic()
        call.may_be_done = True
        call.reply = NO_REPLY
        # aiohttp sets it when it sends.
        request.response = None
        self._monitor.sent(call, request.headers)
        try:
            with call.timeouts.limit():
                response = await handler(request)
                body = await (response.read() if _is_short(response) else _beginning(response))
        except _BEFORE_SENDING as error:
            call.may_be_done = lost_before
            raise _not_connected(call, error) from error
        except aiohttp.InvalidURL as error:
            call.may_be_done = lost_before
            raise ConfigurationError("base_url does not make a valid URL") from error
        except asyncio.CancelledError:
            if request.response is None:
                call.may_be_done = lost_before
            raise
        except TimeoutError as error:
            if request.response is None:
                call.may_be_done = lost_before
            raise RequestTimeoutError(
                f"no reply within {call.timeouts.seconds:g} s", method=call.method, path=call.path
            ) from error
        except _QUOTING as error:
            # Without the cause, whose quotations a traceback would show.
            raise _incomplete(call, _without_quotation(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _incomplete(call, _reason(error)) from error
        call.reply = RawReply(
            status=response.status,
            headers=response.headers,
            body=body[:LONGEST_BODY],
            is_cut=len(body) > LONGEST_BODY,
        )
        if not (300 <= response.status < 400 or response.status == _PROXY_REFUSES):
            clock.learn(response.headers.get(hdrs.DATE), call.sent_at, clock.monotonic())
        call.may_be_done = lost_before or response.status in GATEWAY_ERRORS
        return response


def _incomplete(call: Call, reason: str) -> TransportError:
    return TransportError(f"no complete reply came back: {reason}", method=call.method, path=call.path)


def _not_connected(call: Call, error: Exception) -> ConnectError:
    reason, hint = refusal(error) or (_reason(error), _ADDRESS_HINT)
    return ConnectError(f"no connection to the panel: {reason}", method=call.method, path=call.path, hint=hint)


def _is_short(response: ClientResponse) -> bool:
    """Tell whether a body is surely no longer than it may be."""
    length = response.content_length
    return length is not None and length <= LONGEST_BODY and hdrs.CONTENT_ENCODING not in response.headers


async def _beginning(response: ClientResponse) -> bytes:
    """Read a body to its end, or until it is longer than it may be."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > LONGEST_BODY:
                response.close()
                break
    except BaseException:
        response.close()
        raise
    return bytes(body)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return unreachable(error)
    return str(error) or type(error).__name__


def _without_quotation(error: aiohttp.ClientError) -> str:
    """Return why a reply cannot be read, without what is quoted of it."""
    cause = error.__cause__ or error
    told = getattr(cause, "message", None) or _reason(cause)
    return _QUOTATION.sub("", told).removesuffix(".")
