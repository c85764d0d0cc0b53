"""How the panel's certificate is verified, always, unless the caller says otherwise; and what to do when it fails."""

import asyncio
import hashlib
import os
import re
import ssl
from pathlib import Path
from typing import TypeAlias

import aiohttp

from panelica_async.core import hints
from panelica_async.errors import ConfigurationError

TlsSetting: TypeAlias = ssl.SSLContext | aiohttp.Fingerprint | str | os.PathLike[str] | bool | None
"""None and True verify against the system's authorities; a path is a file of certificates to trust instead, `sha256:…`
the fingerprint of the only one that is accepted; False does not verify at all."""

_SHA256 = re.compile(r"(?i)sha256:(?P<digest>(?:[0-9a-f]{2}:?){31}[0-9a-f]{2})")
_FORMS = (
    "It takes the path of a PEM file, sha256:… with a fingerprint, an SSLContext, an aiohttp.Fingerprint, or False."
)

_PIN = "pass its fingerprint ({fingerprint}) as ssl="
_UNTRUSTED = f"A fresh panel has a self-signed certificate: pass its file as ssl=, {_PIN}, or install a real one."
_PINNED = f"If the panel has a new certificate, {_PIN}. If it has not, somebody is in between."
_NOT_VALID_NOW = f"Renew the certificate on the panel, or {_PIN}; a wrong clock of this machine looks the same."
_NOT_FOR_THIS = f"Write base_url with a name that the certificate is for, or {_PIN}."
_FAULTS = {9: _NOT_VALID_NOW, 10: _NOT_VALID_NOW, 62: _NOT_FOR_THIS, 64: _NOT_FOR_THIS}
"""By OpenSSL's number of the fault: not valid yet, expired, for another name, for another address."""
_NO_TLS = "Check the port of base_url; where the panel has no TLS, as on its own port 3002, write http://."


class _Pinned(aiohttp.Fingerprint):
    """The only certificate that is accepted; a connection to somebody with another one is dropped.

    aiohttp would take its leave of them, and an event loop that ends meanwhile leaves the connection open.
    """

    def check(self, transport: asyncio.Transport) -> None:
        try:
            super().check(transport)
        except aiohttp.ServerFingerprintMismatch:
            # aiohttp still asks the transport for its socket.
            asyncio.get_running_loop().call_soon(transport.abort)
            raise


def verification(setting: TlsSetting) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    """Return a setting in the form aiohttp takes.

    Raises:
        ConfigurationError: It is something else, or names a file without certificates.
    """
    match setting:
        case None:
            return True
        case bool() | ssl.SSLContext():
            return setting
        case aiohttp.Fingerprint():
            return _Pinned(setting.fingerprint)
        case "":
            raise ConfigurationError("ssl is empty", hint=_FORMS)
        case str() if setting.lower().startswith("sha256:"):
            return _fingerprint(setting)
        case str() | os.PathLike():
            return _trusting(Path(setting))
        case _:
            raise ConfigurationError(f"ssl is a {type(setting).__name__}", hint=_FORMS)


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
            return f"the proxy cannot be reached: {error}", hints.PROXY
        case _:
            return None


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate in DER form, as the setting takes it."""
    return f"sha256:{hashlib.sha256(certificate).digest().hex(':').upper()}"


def _fingerprint(setting: str) -> aiohttp.Fingerprint:
    match = _SHA256.fullmatch(setting)
    if match is None:
        raise ConfigurationError(f"ssl is {setting!r}; a SHA-256 fingerprint has 64 hexadecimal digits", hint=_FORMS)
    return _Pinned(bytes.fromhex(match["digest"].replace(":", "")))


def _trusting(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"ssl names the file {path}, which holds no certificate in PEM form", hint=_FORMS
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"ssl names the file {path}, which cannot be read: {reason}", hint=_FORMS) from error
