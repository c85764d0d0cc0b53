"""One attempt: sends the request, reads the reply, and translates errors of aiohttp into ours."""

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
from panelica_async.transport.signing import RequestSigner, signed_upload_body
from panelica_async.transport.timeouts import TimeLimit

_PIN = "pass its fingerprint ({fingerprint}) as ssl= or --fingerprint"
_UNTRUSTED_HINT = (
    f"A fresh panel has a self-signed certificate: pass its file as ssl= or --ca-file, {_PIN}, or install a real one."
)
_FINGERPRINT_HINT = f"If the certificate was renewed, {_PIN}; otherwise suspect an interception."
_DATES_HINT = f"Renew the certificate on the panel, or {_PIN}; a wrong clock on this machine has the same effect."
_NAME_HINT = f"Write base_url with a name that the certificate is for, or {_PIN}."
_CERTIFICATE_HINTS = {9: _DATES_HINT, 10: _DATES_HINT, 62: _NAME_HINT, 64: _NAME_HINT}
"""By OpenSSL's error number: not valid yet, expired, for another name, for another address."""
_NO_TLS_HINT = "Check the port of base_url; where the panel has no TLS, as on its own port 3002, write http://."
_CERTIFICATE_ERRORS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)


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
            problem = "the certificate does not have the fingerprint set as ssl"
            return problem, _FINGERPRINT_HINT.format(fingerprint=fingerprint)
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as cause):
            hint = _CERTIFICATE_HINTS.get(cause.verify_code, _UNTRUSTED_HINT)
            return f"the certificate is not accepted: {cause.verify_message}", hint.format(fingerprint=fingerprint)
        case aiohttp.ClientSSLError():
            return str(error), _NO_TLS_HINT
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refused: {error.status} {error.message}", hints.PROXY
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy cannot be reached: {_describe_unreachable(error)}", hints.PROXY
        case _:
            return None


def _describe_unreachable(error: aiohttp.ClientConnectorError) -> str:
    """Return the host that could not be reached, and the system's reason."""
    cause = error.os_error
    if isinstance(cause, socket.gaierror) or cause.errno is None:
        # asyncio gives no reason if the connection ends during the TLS handshake.
        reason = cause.strerror or str(cause) or "the connection was closed at once"
    else:
        # asyncio's message names the system call that failed, not the reason.
        reason = os.strerror(cause.errno)
    return f"{error.host}:{error.port}: {reason}"


def is_certificate_error(error: TransportError) -> bool:
    """Return whether the panel's certificate was rejected; another attempt would not change that."""
    return isinstance(error.__cause__, _CERTIFICATE_ERRORS)


def is_proxy_error(error: TransportError) -> bool:
    """Return whether a proxy refused or could not be reached."""
    return isinstance(error.__cause__, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError)


def is_final(error: TransportError) -> bool:
    """Return whether another attempt would fail in the same way, before anything is sent."""
    cause = error.__cause__
    is_refused_by_proxy = isinstance(cause, aiohttp.ClientHttpProxyError) and 400 <= cause.status < 500
    return is_refused_by_proxy or is_certificate_error(error)


GATEWAY_ERRORS = (502, 504, 520, 522, 524)
"""A web server in front of the panel lost the panel's reply; from 520 on it is Cloudflare, which serves 8443 too."""
MAX_JSON_LENGTH = 8 * 1024 * 1024
"""Bytes of a successful reply that are read, uncompressed: a few compressed kilobytes can expand to gigabytes."""
MAX_FILE_LENGTH = 64 * 1024 * 1024
"""The same for contents of files and for anything but JSON, such as an archive."""
MAX_ERROR_LENGTH = 64 * 1024
"""The same for a reply that reports a failure: more of it would explain no more."""
MAX_JSON_VALUES = 500_000
"""Values in the JSON of a reply. Eight megabytes of rows have fewer, and more would take seconds and gigabytes."""

# How many times longer a compressed reply may become; lists of JSON become ten or twenty times longer.
_MAX_EXPANSION = 100
# Bytes that any reply may expand to, whatever its length.
_UNCHECKED_EXPANSION = 1024 * 1024

# Seconds since the last reply after which the server may have closed idle connections without the event loop noticing.
_STALE_AFTER = 0.25
# Passes of the event loop until it notices: one to read the end of the stream, one to close the connection, and as many
# again with TLS.
_PASSES_TO_NOTICE = 4

# Nothing was sent: the connection, its TLS handshake or a proxy failed first.
_ERRORS_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)
_QUOTED_REPLY = re.compile(r"[:\s]+b?['\"].*", re.DOTALL)
# Redirects and 407 come from other servers, whose clocks say nothing about the panel's.
_FOREIGN_STATUSES = {*range(300, 400), 407}
_ADDRESS_HINT = "Check host and port of base_url, and that the panel is up."


class Exchange:
    """Makes one attempt: signs it, sends it, and reads the whole reply within the timeout.

    It runs in a middleware of aiohttp, and translates aiohttp's errors there: if one of them left the middleware,
    aiohttp would re-send an idempotent request on its own, without a permit or a new signature.

    Args:
        sessions: Refuses requests once it is closed.
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
            await self._notice_closed_connections()
        if call.key is not None:
            signed_body = call.request.body if call.upload is None else await signed_upload_body(request)
            self._signer.sign(call, call.key, request, signed_body)
        earlier_reply_was_lost = call.may_have_taken_effect
        call.sent_at = clock.monotonic()
        call.may_have_taken_effect = True
        call.headers = request.headers
        call.last_reply = None
        # aiohttp sets it when it sends, which `_may_have_been_sent` relies on.
        request.response = None
        self._monitor.sent(call, request.headers)
        try:
            with TimeLimit(call.timeouts, call.loop):
                response = await handler(request)
                if not _is_short(call, response):
                    body, is_truncated = await _read_body(call, response)
                elif response.content.is_eof():
                    # Like most replies, it has arrived completely: there is nothing to wait for.
                    body, is_truncated = response.content.read_nowait(), False
                else:
                    body, is_truncated = await response.read(), False
            if is_truncated and call.sink is not None and response.status < 300:
                await _stream_to_sink(call, call.sink, response, body)
                body, is_truncated = b"", False
        except BaseException as error:
            call.may_have_taken_effect = earlier_reply_was_lost or _may_have_been_sent(error, request)
            if not isinstance(error, aiohttp.ClientError | OSError):
                raise
            # A cause that quotes the reply would show it in tracebacks.
            raise _translate(call, error) from (None if _quotes_reply(error) else error)
        self._replied_at = clock.monotonic()
        status, headers = response.status, response.headers
        date = headers.get(hdrs.DATE)
        # The first reply with a date shows the time; further replies within that second add almost nothing.
        if date != self._date and status not in _FOREIGN_STATUSES:
            self._date = date
            clock.learn(date, call.sent_at, self._replied_at)
        call.may_have_taken_effect = earlier_reply_was_lost or status in GATEWAY_ERRORS
        call.last_reply = reply = Reply(status, headers, body, response, is_truncated, self._proxy)
        return reply

    async def _notice_closed_connections(self) -> None:
        """Let the event loop notice which idle connections the server has closed.

        A server may close connections while the loop is blocked or idle. A write sent over one of them would be lost,
        and its outcome uncertain.
        """
        for _ in range(_PASSES_TO_NOTICE):
            await asyncio.sleep(0)
        self._sessions.require_open()


def _may_have_been_sent(error: BaseException, request: ClientRequest) -> bool:
    """Return whether a request that ended in an error may have reached the panel."""
    if isinstance(error, (*_ERRORS_BEFORE_SENDING, aiohttp.InvalidURL)):
        return False
    # aiohttp raises the base class itself if the connector is closed while it connects.
    is_closed_connector = type(error) is aiohttp.ClientConnectionError
    if is_closed_connector or isinstance(error, asyncio.CancelledError | TimeoutError):
        return request.response is not None
    return True


def _quotes_reply(error: aiohttp.ClientError | OSError) -> bool:
    # aiohttp quotes a reply that it cannot parse; the quotation may contain secrets.
    is_about_reply = isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError)
    return is_about_reply and not isinstance(error, _ERRORS_BEFORE_SENDING)


def _translate(call: Call, error: aiohttp.ClientError | OSError) -> PanelicaError:
    """Return our error for one of aiohttp or of the system."""
    if isinstance(error, _ERRORS_BEFORE_SENDING):
        return _connect_error(call, error)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError("base_url does not make a valid URL")
    if isinstance(error, TimeoutError):
        problem = f"no reply within {call.timeouts.seconds:g} s"
        return RequestTimeoutError(problem, method=call.method, path=call.path)
    reason = _reason_without_quotation(error) if _quotes_reply(error) else _reason(error)
    clean_reason = call.sanitizer.clean_text(reason, EXCERPT_LENGTH)
    return TransportError(f"no complete reply came back: {clean_reason}", method=call.method, path=call.path)


def _connect_error(call: Call, error: Exception) -> ConnectError:
    reason, hint = explain_connect_error(error) or (_reason(error), _ADDRESS_HINT)
    clean_reason = call.sanitizer.clean_text(reason, EXCERPT_LENGTH)
    return ConnectError(f"no connection to the panel: {clean_reason}", method=call.method, path=call.path, hint=hint)


def _is_short(call: Call, response: ClientResponse) -> bool:
    """Return whether a reply is short enough to be read in one go: within the lowest limit, which is that of errors."""
    length = response.content_length
    if length is None or length > MAX_ERROR_LENGTH or hdrs.CONTENT_ENCODING in response.headers:
        return False
    return call.sink is None or response.status >= 300


async def _read_body(call: Call, response: ClientResponse) -> tuple[bytes, bool]:
    """Return the body of a reply or, if it is too long, its beginning; and whether it is truncated."""
    if call.sink is not None and response.status < 300:
        return await _read_start_of_file(response)
    return await _read_up_to(_max_length(call, response), response)


async def _read_start_of_file(response: ClientResponse) -> tuple[bytes, bool]:
    """Return the beginning of a file for a sink, and whether more may follow.

    JSON that is short enough to report a failure (evidence: envelope-error-200) is read to its end.
    """
    length = response.content_length
    if not _is_json(response) or (length is not None and length > MAX_ERROR_LENGTH):
        return b"", True
    body = bytearray()
    try:
        while len(body) <= MAX_ERROR_LENGTH:
            piece = await response.content.readany()
            if not piece:
                return bytes(body), False
            body += piece
    except BaseException:
        response.close()
        raise
    return bytes(body), True


async def _stream_to_sink(call: Call, sink: Sink, response: ClientResponse, beginning: bytes) -> None:
    """Pass a file to a sink as it arrives; the timeout applies to each piece."""
    total = None if hdrs.CONTENT_ENCODING in response.headers else response.content_length
    try:
        piece = beginning
        while True:
            if piece:
                call.is_streaming = True
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


def _max_length(call: Call, response: ClientResponse) -> int:
    """Return how many bytes of a reply to read at most."""
    if call.expects_short_reply or response.status >= 300:
        limit = MAX_ERROR_LENGTH
    elif _is_json(response) and not call.path.startswith(FILES):
        limit = MAX_JSON_LENGTH
    else:
        limit = MAX_FILE_LENGTH
    length = response.content_length
    if length is None or hdrs.CONTENT_ENCODING not in response.headers:
        return limit
    return min(limit, max(_UNCHECKED_EXPANSION, length * _MAX_EXPANSION))


def _is_json(response: ClientResponse) -> bool:
    # A reply without Content-Type is taken for JSON.
    return "json" in response.headers.get(hdrs.CONTENT_TYPE, "json").lower()


async def _read_up_to(limit: int, response: ClientResponse) -> tuple[bytes, bool]:
    """Read a body to its end or to the limit; return it, and whether it is truncated."""
    body = bytearray()
    values, is_json = 0, _is_json(response)
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if is_json:
                values += chunk.count(b",") + chunk.count(b"[") + chunk.count(b"{")
            if len(body) > limit or values > MAX_JSON_VALUES:
                response.close()
                del body[limit:]
                return bytes(body), True
    except BaseException:
        response.close()
        raise
    return bytes(body), False


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return _describe_unreachable(error)
    return str(error) or type(error).__name__


def _reason_without_quotation(error: BaseException) -> str:
    """Return why a reply cannot be parsed, without quoting it."""
    cause = error.__cause__ or error
    reason = getattr(cause, "message", None) or _reason(cause)
    return _QUOTED_REPLY.sub("", reason).removesuffix(".")
