"""The innermost middleware: one request, one reply read to its end, every failure of aiohttp as an error of ours."""

import asyncio
import re
from math import inf

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from panelica_async.core.redaction import EXCERPT_LENGTH, FILES
from panelica_async.errors import ConfigurationError, ConnectError, RequestTimeoutError, TransportError
from panelica_async.transport.call import NO_REPLY, Call, RawReply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.refusal import refusal, unreachable
from panelica_async.transport.session import SessionHolder

GATEWAY_ERRORS = (502, 504, 520, 522, 524)
"""The web server before the panel has lost the panel's reply; from 520 on it is Cloudflare, which serves 8443 too."""
LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of a successful reply that are read, uncompressed: a few kilobytes can claim to be gigabytes."""
LONGEST_FILE = 64 * 1024 * 1024
"""The same for contents of files, and for what is no JSON, such as an archive."""
LONGEST_ERROR = 64 * 1024
"""The same for a reply that reports a failure: more of it would not explain more."""
MOST_VALUES = 500_000
"""Values in the JSON of a reply. Eight megabytes of rows have fewer, and more would take seconds and gigabytes."""

_SHORT = 256 * 1024
# JSON in a list compresses to a tenth or twentieth.
_GREATEST_RATIO = 100
_FREE_OF_RATIO = 1024 * 1024
_STALE_AFTER = 0.25
# One to read the end of the stream, one to close the connection, and as much again below TLS.
_PASSES = 4

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
# Redirects and the demand of a proxy: the panel's clock has no part in them.
_OF_OTHERS = {*range(300, 400), 407}
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
        self._replied_at = -inf

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request; raises `ConnectError`, `RequestTimeoutError` or `TransportError`."""
        # The client may have been closed while this attempt waited for its turn.
        self._sessions.require_open()
        clock = self._clock
        if not call.repeat.is_safe:
            await self._look_at_connections()
        lost_before = call.may_be_done
        call.sent_at = clock.monotonic()
        call.may_be_done = True
        call.headers = request.headers
        call.reply = NO_REPLY
        # aiohttp sets it when it sends.
        request.response = None
        self._monitor.sent(call, request.headers)
        try:
            with call.timeouts.limit():
                response = await handler(request)
                body, is_cut = await _read(response, _limit_of(call, response))
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
        self._keep(call, response, body, is_cut=is_cut)
        call.may_be_done = lost_before or response.status in GATEWAY_ERRORS
        return response

    def _keep(self, call: Call, response: ClientResponse, body: bytes, *, is_cut: bool) -> None:
        """Leave the reply in the call, and learn the time from it."""
        call.reply = RawReply(
            status=response.status, headers=response.headers, body=body, is_cut=is_cut, proxy=self._sessions.proxy
        )
        self._replied_at = self._clock.monotonic()
        if call.sent_at is not None and response.status not in _OF_OTHERS:
            self._clock.learn(response.headers.get(hdrs.DATE), call.sent_at, self._replied_at)

    async def _look_at_connections(self) -> None:
        """Let the event loop notice which kept connections the server has closed.

        While the loop was blocked, or nothing was sent, a server closes connections; a write on one of those would be
        lost, and it would be uncertain whether it was carried out.
        """
        if self._clock.monotonic() - self._replied_at > _STALE_AFTER:
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            self._sessions.require_open()


def _incomplete(call: Call, reason: str) -> TransportError:
    told = call.sanitizer.text(reason, EXCERPT_LENGTH)
    return TransportError(f"no complete reply came back: {told}", method=call.method, path=call.path)


def _not_connected(call: Call, error: Exception) -> ConnectError:
    reason, hint = refusal(error) or (_reason(error), _ADDRESS_HINT)
    told = call.sanitizer.text(reason, EXCERPT_LENGTH)
    return ConnectError(f"no connection to the panel: {told}", method=call.method, path=call.path, hint=hint)


async def _read(response: ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Return the body of a reply, or its beginning, and whether it was cut."""
    length = response.content_length
    if length is not None and length <= min(limit, _SHORT) and not _is_encoded(response):
        return await response.read(), False
    return await _beginning(response, limit)


def _limit_of(call: Call, response: ClientResponse) -> int:
    """Return how many bytes of a reply are read."""
    if response.status >= 300:
        limit = LONGEST_ERROR
    elif _is_json(response) and not call.path.startswith(FILES):
        limit = LONGEST_BODY
    else:
        limit = LONGEST_FILE
    length = response.content_length
    if length is None or not _is_encoded(response):
        return limit
    return min(limit, max(_FREE_OF_RATIO, length * _GREATEST_RATIO))


def _is_encoded(response: ClientResponse) -> bool:
    return hdrs.CONTENT_ENCODING in response.headers


def _is_json(response: ClientResponse) -> bool:
    # What does not say what it is, is taken for JSON.
    return "json" in response.headers.get(hdrs.CONTENT_TYPE, "json").lower()


async def _beginning(response: ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Read a body to its end, or until it is longer than it may be; return it, and whether it was cut."""
    body = bytearray()
    values, is_json = 0, _is_json(response)
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if is_json:
                values += chunk.count(b",") + chunk.count(b"[") + chunk.count(b"{")
            if len(body) > limit or values > MOST_VALUES:
                response.close()
                del body[limit:]
                return bytes(body), True
    except BaseException:
        response.close()
        raise
    return bytes(body), False


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return unreachable(error)
    return str(error) or type(error).__name__


def _without_quotation(error: aiohttp.ClientError) -> str:
    """Return why a reply cannot be read, without what is quoted of it."""
    cause = error.__cause__ or error
    told = getattr(cause, "message", None) or _reason(cause)
    return _QUOTATION.sub("", told).removesuffix(".")
