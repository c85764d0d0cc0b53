"""One attempt: sends the request, reads the reply, and turns any failure of aiohttp into one of our errors."""

import asyncio
import os
import re
import socket
import ssl
from math import inf

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from panelica_async.core import hints
from panelica_async.core.redaction import EXCERPT_LENGTH, FILES
from panelica_async.errors import ConfigurationError, ConnectError, PanelicaError, RequestTimeoutError, TransportError
from panelica_async.transport.call import Call, Reply, Sink
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.signing import RequestSigner, upload_body
from panelica_async.transport.timeouts import TimeLimit

_PIN = "pass its fingerprint ({fingerprint}) as ssl= or --fingerprint"
_UNTRUSTED = (
    f"A fresh panel has a self-signed certificate: pass its file as ssl= or --ca-file, {_PIN}, or install a real one."
)
_PINNED = f"If the certificate was renewed, {_PIN}; otherwise suspect an interception."
_NOT_VALID_NOW = f"Renew the certificate on the panel, or {_PIN}; a wrong clock on this machine has the same effect."
_NOT_FOR_THIS = f"Write base_url with a name that the certificate is for, or {_PIN}."
_CERTIFICATE_HINTS = {9: _NOT_VALID_NOW, 10: _NOT_VALID_NOW, 62: _NOT_FOR_THIS, 64: _NOT_FOR_THIS}
"""By OpenSSL's error number: not valid yet, expired, for another name, for another address."""
_NO_TLS = "Check the port of base_url; where the panel has no TLS, as on its own port 3002, write http://."
_CERTIFICATE_PROBLEMS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)


def explain_connect_error(
    error: BaseException | None, fingerprint: str = "sha256:…, which `panelica doctor` shows"
) -> tuple[str, str] | None:
    """Return why TLS or a proxy prevented a connection, and a hint; None for any other error.

    Args:
        error: What aiohttp raised when it connected.
        fingerprint: Fingerprint of the panel's certificate, if known.
    """
    match error:
        case aiohttp.ServerFingerprintMismatch():
            return "the certificate does not have the fingerprint set as ssl", _PINNED.format(fingerprint=fingerprint)
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as problem):
            hint = _CERTIFICATE_HINTS.get(problem.verify_code, _UNTRUSTED)
            return f"the certificate is not accepted: {problem.verify_message}", hint.format(fingerprint=fingerprint)
        case aiohttp.ClientSSLError():
            return str(error), _NO_TLS
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refused: {error.status} {error.message}", hints.PROXY
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy cannot be reached: {unreachable(error)}", hints.PROXY
        case _:
            return None


def unreachable(error: aiohttp.ClientConnectorError) -> str:
    """Return which host could not be reached and the system's reason."""
    cause = error.os_error
    if isinstance(cause, socket.gaierror) or cause.errno is None:
        # asyncio gives no reason for a connection that ends during the TLS handshake.
        reason = cause.strerror or str(cause) or "the connection was closed at once"
    else:
        # asyncio's text names the failed call, not the reason.
        reason = os.strerror(cause.errno)
    return f"{error.host}:{error.port}: {reason}"


def is_certificate_error(error: TransportError) -> bool:
    """Return whether the panel's certificate was rejected, which another attempt does not change."""
    return isinstance(error.__cause__, _CERTIFICATE_PROBLEMS)


def is_proxy_error(error: TransportError) -> bool:
    """Return whether a proxy refused or could not be reached."""
    return isinstance(error.__cause__, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError)


def is_final(error: TransportError) -> bool:
    """Return whether another attempt would fail in the same way, before anything is sent."""
    cause = error.__cause__
    is_turned_away = isinstance(cause, aiohttp.ClientHttpProxyError) and 400 <= cause.status < 500
    return is_turned_away or is_certificate_error(error)


GATEWAY_ERRORS = (502, 504, 520, 522, 524)
"""A web server in front of the panel lost the panel's reply; from 520 on it is Cloudflare, which serves 8443 too."""
LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of a successful reply that are read, uncompressed: a few kilobytes can claim to be gigabytes."""
LONGEST_FILE = 64 * 1024 * 1024
"""The same for contents of files and for anything but JSON, such as an archive."""
LONGEST_ERROR = 64 * 1024
"""The same for a reply that reports a failure: more of it would not explain more."""
MOST_VALUES = 500_000
"""Values in the JSON of a reply. Eight megabytes of rows have fewer, and more would take seconds and gigabytes."""

# How many times its length a compressed reply may have uncompressed; lists of JSON have ten or twenty times. It is only
# looked at above a megabyte.
_GREATEST_RATIO = 100
_FREE_OF_RATIO = 1024 * 1024

# Seconds since the last reply after which kept connections may be closed without the event loop knowing.
_STALE_AFTER = 0.25
# Passes of the event loop until it knows: one to read the end of the stream, one to close the connection, and as much
# again below TLS.
_PASSES = 4

# Nothing was sent: the connection, its TLS handshake or a proxy failed first.
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)
_QUOTATION = re.compile(r"[:\s]+b?['\"].*", re.DOTALL)
# Redirects and 407 come from other servers, whose clocks say nothing about the panel's.
_FROM_OTHERS = {*range(300, 400), 407}
_ADDRESS_HINT = "Check host and port of base_url, and that the panel is up."


class Exchange:
    """Makes one attempt: signs it, sends it, and reads the whole reply within the timeout.

    It runs within a middleware of aiohttp, and turns aiohttp's errors into ours there: if one of them left the
    middleware, aiohttp would repeat an idempotent request by itself, past signature and limiter.

    Args:
        sessions: Nothing more is sent once it is closed.
        signer: Signs the attempt.
        clock: Learns the panel's time from the reply.
        monitor: Counts what is sent.
    """

    def __init__(self, sessions: SessionHolder, signer: RequestSigner, clock: PanelClock, monitor: Monitor) -> None:
        self._sessions = sessions
        self._signer = signer
        self._clock = clock
        self._monitor = monitor
        self._proxy = sessions.proxy
        self._replied_at = -inf
        self._date: str | None = None

    async def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType) -> Reply:
        """Send the request; raises `ConnectError`, `RequestTimeoutError` or `TransportError`."""
        clock = self._clock
        if not call.repeat.is_safe and clock.monotonic() - self._replied_at > _STALE_AFTER:
            await self._look_at_connections()
        if call.key is not None:
            signed = call.request.body if call.upload is None else await upload_body(request)
            self._signer.sign(call, call.key, request, signed)
        was_uncertain = call.may_have_taken_effect
        call.sent_at = clock.monotonic()
        call.may_have_taken_effect = True
        call.headers = request.headers
        call.last_reply = None
        # aiohttp sets it once it sends: `_may_have_left` looks at it.
        request.response = None
        self._monitor.sent(call, request.headers)
        try:
            with TimeLimit(call.timeouts, call.loop):
                response = await handler(request)
                if not _is_short(call, response):
                    body, is_truncated = await _read(call, response)
                elif response.content.is_eof():
                    # It has arrived, as most have: there is nothing to wait for.
                    body, is_truncated = response.content.read_nowait(), False
                else:
                    body, is_truncated = await response.read(), False
            if is_truncated and call.sink is not None and response.status < 300:
                await _pass_on(call, call.sink, response, body)
                body, is_truncated = b"", False
        except BaseException as error:
            call.may_have_taken_effect = was_uncertain or _may_have_left(error, request)
            if not isinstance(error, aiohttp.ClientError | OSError):
                raise
            # Without a cause that quotes the reply, which a traceback would show.
            raise _as_ours(call, error) from (None if _quotes_reply(error) else error)
        self._replied_at = clock.monotonic()
        status, headers = response.status, response.headers
        date = headers.get(hdrs.DATE)
        # The first reply with a date shows the time; further ones within that second add next to nothing.
        if date != self._date and status not in _FROM_OTHERS:
            self._date = date
            clock.learn(date, call.sent_at, self._replied_at)
        call.may_have_taken_effect = was_uncertain or status in GATEWAY_ERRORS
        call.last_reply = reply = Reply(status, headers, body, response, is_truncated, self._proxy)
        return reply

    async def _look_at_connections(self) -> None:
        """Let the event loop notice which kept connections the server has closed.

        A server closes connections while the loop is blocked or idle. A write on one of those would be lost, and its
        outcome uncertain.
        """
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        self._sessions.require_open()


def _may_have_left(error: BaseException, request: ClientRequest) -> bool:
    """Return whether a request that ended in an error may have reached the panel."""
    if isinstance(error, (*_BEFORE_SENDING, aiohttp.InvalidURL)):
        return False
    # aiohttp raises the base class itself where the connector was closed while it made the connection.
    is_closed = type(error) is aiohttp.ClientConnectionError
    if is_closed or isinstance(error, asyncio.CancelledError | TimeoutError):
        return request.response is not None
    return True


def _quotes_reply(error: aiohttp.ClientError | OSError) -> bool:
    # aiohttp quotes a reply that it cannot parse, which may contain secrets.
    is_of_reply = isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError)
    return is_of_reply and not isinstance(error, _BEFORE_SENDING)


def _as_ours(call: Call, error: aiohttp.ClientError | OSError) -> PanelicaError:
    """Return our error for one of aiohttp or of the system."""
    if isinstance(error, _BEFORE_SENDING):
        return _not_connected(call, error)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError("base_url does not make a valid URL")
    if isinstance(error, TimeoutError):
        problem = f"no reply within {call.timeouts.seconds:g} s"
        return RequestTimeoutError(problem, method=call.method, path=call.path)
    reason = _without_quotation(error) if _quotes_reply(error) else _reason(error)
    shown = call.sanitizer.text(reason, EXCERPT_LENGTH)
    return TransportError(f"no complete reply came back: {shown}", method=call.method, path=call.path)


def _not_connected(call: Call, error: Exception) -> ConnectError:
    reason, hint = explain_connect_error(error) or (_reason(error), _ADDRESS_HINT)
    shown = call.sanitizer.text(reason, EXCERPT_LENGTH)
    return ConnectError(f"no connection to the panel: {shown}", method=call.method, path=call.path, hint=hint)


def _is_short(call: Call, response: ClientResponse) -> bool:
    """Return whether a reply is short enough to be read at once; no reply has a shorter limit than an error."""
    length = response.content_length
    if length is None or length > LONGEST_ERROR or hdrs.CONTENT_ENCODING in response.headers:
        return False
    return call.sink is None or response.status >= 300


async def _read(call: Call, response: ClientResponse) -> tuple[bytes, bool]:
    """Return the body of a reply of any length, or its beginning, and whether it was cut."""
    if call.sink is not None and response.status < 300:
        return await _beginning_for_sink(response)
    return await _beginning(response, _limit_of(call, response))


async def _beginning_for_sink(response: ClientResponse) -> tuple[bytes, bool]:
    """Return the beginning of a file, and whether more may follow.

    JSON may report a failure (evidence: envelope-error-200): what is short enough for that is read to its end.
    """
    length = response.content_length
    if not _is_json(response) or (length is not None and length > LONGEST_ERROR):
        return b"", True
    body = bytearray()
    try:
        while len(body) <= LONGEST_ERROR:
            piece = await response.content.readany()
            if not piece:
                return bytes(body), False
            body += piece
    except BaseException:
        response.close()
        raise
    return bytes(body), True


async def _pass_on(call: Call, sink: Sink, response: ClientResponse, beginning: bytes) -> None:
    """Pass a file to a sink as it arrives; each piece has the timeout of an attempt."""
    total = None if hdrs.CONTENT_ENCODING in response.headers else response.content_length
    try:
        piece = beginning
        while True:
            if piece:
                call.is_passing_on = True
                if call.deadline_timer is not None:
                    call.deadline_timer.lift()
                await sink.take(piece, total)
            with TimeLimit(call.timeouts, call.loop):
                piece = await response.content.readany()
            if not piece:
                return
    except BaseException:
        response.close()
        raise


def _limit_of(call: Call, response: ClientResponse) -> int:
    """Return how many bytes of a reply are read."""
    if call.expects_short_reply or response.status >= 300:
        limit = LONGEST_ERROR
    elif _is_json(response) and not call.path.startswith(FILES):
        limit = LONGEST_BODY
    else:
        limit = LONGEST_FILE
    length = response.content_length
    if length is None or hdrs.CONTENT_ENCODING not in response.headers:
        return limit
    return min(limit, max(_FREE_OF_RATIO, length * _GREATEST_RATIO))


def _is_json(response: ClientResponse) -> bool:
    # Without a Content-Type it is taken for JSON.
    return "json" in response.headers.get(hdrs.CONTENT_TYPE, "json").lower()


async def _beginning(response: ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Read a body to its end or to the limit; return it, and whether it was cut."""
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


def _without_quotation(error: BaseException) -> str:
    """Return why a reply cannot be parsed, without the part that quotes it."""
    cause = error.__cause__ or error
    reason = getattr(cause, "message", None) or _reason(cause)
    return _QUOTATION.sub("", reason).removesuffix(".")
