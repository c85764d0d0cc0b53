"""Whether the panel is who it says: its certificate, and why it is not trusted."""

import asyncio
import ipaddress
import ssl
from contextlib import suppress

import aiohttp
from yarl import URL

from panelica_async.core.address import DEFAULT_PORT, Address
from panelica_async.doctor.findings import Finding, failure, ok, warning
from panelica_async.errors import PanelicaError
from panelica_async.transport.refusal import refusal
from panelica_async.transport.tls import TlsSetting, fingerprint_of, verification

NAME = "tls"

_ON_THE_SERVER = "Compare it with the certificate on the server first."


def is_untrusted(error: PanelicaError) -> bool:
    """Tell whether a call failed because the certificate was not accepted."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)


def is_not_tls(error: PanelicaError) -> bool:
    """Tell whether a call failed because no TLS connection came about, whatever the certificate."""
    return isinstance(error.__cause__, aiohttp.ClientSSLError) and not is_untrusted(error)


async def check_tls(address: Address, setting: TlsSetting, error: PanelicaError | None, seconds: float) -> Finding:
    """Say how well the connection is protected.

    Args:
        address: Where a call was made.
        setting: How its certificate was to be verified.
        error: What became of the call; None when it succeeded.
        seconds: How long reading the certificate may take.
    """
    url = URL(address.origin)
    if url.scheme == "http":
        return _plain(url)
    if error is not None and is_not_tls(error):
        message = f"{url.authority} does not speak TLS, or none that this machine accepts"
        return failure(NAME, message, error.hint)
    fingerprint = await _read_fingerprint(url, seconds)
    facts = {"fingerprint": fingerprint}
    if error is not None and is_untrusted(error):
        refused = refusal(error.__cause__, fingerprint or "sha256:…")
        message, hint = refused or (error.message, error.hint)
        return failure(NAME, message, f"{hint} {_ON_THE_SERVER}", **facts)
    shown = f"; its fingerprint is {fingerprint}" if fingerprint else ""
    verified = verification(setting)
    if verified is False or (isinstance(verified, ssl.SSLContext) and verified.verify_mode == ssl.CERT_NONE):
        hint = (
            "Anybody on the way can read and change everything: pass the fingerprint as ssl= or --fingerprint. "
            + _ON_THE_SERVER
        )
        return warning(NAME, f"the certificate is not verified{shown}", hint, **facts)
    return ok(NAME, f"the certificate is accepted{shown}", **facts)


def _plain(url: URL) -> Finding:
    if _is_this_machine(url.host or ""):
        return ok(NAME, "plain HTTP, which does not leave this machine")
    hint = f"Use https: the panel's own web server has it on port {DEFAULT_PORT}."
    return warning(NAME, "plain HTTP: anybody on the way can read and change everything", hint)


async def _read_fingerprint(url: URL, seconds: float) -> str | None:
    """Return the fingerprint of a server's certificate; None when it cannot be read.

    The certificate is not verified, and nothing is sent: this connection serves no request.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    except OSError:
        return None
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    # A server that does not take its leave would hold up a connection that is closed.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return fingerprint_of(certificate) if certificate else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # Names below it never leave the machine (RFC 6761).
        return host == "localhost" or host.endswith(".localhost")
