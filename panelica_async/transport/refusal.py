"""Why a connection was refused, by a certificate, a proxy or nobody at all, and what to do about it."""

import os
import socket
import ssl

import aiohttp

from panelica_async.core import hints
from panelica_async.errors import TransportError

_PIN = "pass its fingerprint ({fingerprint}) as ssl= or --fingerprint"
_UNTRUSTED = (
    f"A fresh panel has a self-signed certificate: pass its file as ssl= or --ca-file, {_PIN}, or install a real one."
)
_PINNED = f"If the panel has a new certificate, {_PIN}. If it has not, somebody is in between."
_NOT_VALID_NOW = f"Renew the certificate on the panel, or {_PIN}; a wrong clock of this machine looks the same."
_NOT_FOR_THIS = f"Write base_url with a name that the certificate is for, or {_PIN}."
_FAULTS = {9: _NOT_VALID_NOW, 10: _NOT_VALID_NOW, 62: _NOT_FOR_THIS, 64: _NOT_FOR_THIS}
"""By OpenSSL's number of the fault: not valid yet, expired, for another name, for another address."""
_NO_TLS = "Check the port of base_url; where the panel has no TLS, as on its own port 3002, write http://."
_CERTIFICATE_PROBLEMS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)


def refusal(
    error: BaseException | None, fingerprint: str = "sha256:…, which `panelica doctor` shows"
) -> tuple[str, str] | None:
    """Return why no connection was made, and what to do about it, where TLS or a proxy is to blame; None elsewhere.

    Args:
        error: What aiohttp raised when it connected.
        fingerprint: That of the panel's certificate, if it is known.
    """
    match error:
        case aiohttp.ServerFingerprintMismatch():
            return "the certificate is not the one whose fingerprint was given", _PINNED.format(fingerprint=fingerprint)
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as fault):
            hint = _FAULTS.get(fault.verify_code, _UNTRUSTED)
            return f"the certificate is not accepted: {fault.verify_message}", hint.format(fingerprint=fingerprint)
        case aiohttp.ClientSSLError():
            return str(error), _NO_TLS
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refused: {error.status} {error.message}", hints.PROXY
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy cannot be reached: {unreachable(error)}", hints.PROXY
        case _:
            return None


def unreachable(error: aiohttp.ClientConnectorError) -> str:
    """Return which host could not be reached, and why, in the words of the system."""
    cause = error.os_error
    if isinstance(cause, socket.gaierror) or cause.errno is None:
        reason = cause.strerror or str(cause)
    else:
        # asyncio's own words say which call failed, and not why.
        reason = os.strerror(cause.errno)
    return f"{error.host}:{error.port}: {reason}"


def is_certificate_problem(error: TransportError) -> bool:
    """Tell whether the panel's certificate was not accepted, which another attempt does not change."""
    return isinstance(error.__cause__, _CERTIFICATE_PROBLEMS)


def is_of_proxy(error: TransportError) -> bool:
    """Tell whether it was a proxy that refused, or is not there."""
    return isinstance(error.__cause__, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError)


def is_final(error: TransportError) -> bool:
    """Tell whether another attempt would end as this one did, before anything was sent."""
    cause = error.__cause__
    is_turned_away = isinstance(cause, aiohttp.ClientHttpProxyError) and 400 <= cause.status < 500
    return is_turned_away or is_certificate_problem(error)
