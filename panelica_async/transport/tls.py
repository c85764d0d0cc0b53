"""How the panel's certificate is verified: always, unless the caller says otherwise."""

import asyncio
import hashlib
import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import TypeAlias

import aiohttp
from yarl import URL

from panelica_async.errors import ConfigurationError
from panelica_async.telemetry.logs import LOGGER

TlsSetting: TypeAlias = ssl.SSLContext | aiohttp.Fingerprint | str | os.PathLike[str] | bool | None
"""None and True verify against the system's authorities; a path is a file of certificates to trust instead, `sha256:…`
the fingerprint of the only one that is accepted; False does not verify at all."""

_SHA256 = re.compile(r"(?i)sha256:(?P<digest>(?:[0-9a-f]{2}:?){31}[0-9a-f]{2})")
_FORMS = (
    "It takes the path of a PEM file, sha256:… with a fingerprint, an SSLContext, an aiohttp.Fingerprint, or False."
)


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


def require_encryption(origin: str, setting: TlsSetting) -> None:
    """Make sure that a setting can be kept at an origin; log a warning where nothing is encrypted.

    Raises:
        ConfigurationError: The setting verifies a certificate, and the origin is one of http, which has none.
    """
    url = URL(origin)
    if url.scheme != "http":
        return
    if setting is not None and setting is not False:
        raise ConfigurationError(
            "ssl verifies a certificate, and base_url is one of http, where there is none",
            hint="Write https:// in base_url, or leave ssl out.",
        )
    if not _is_this_machine(url.host or ""):
        LOGGER.warning("%s is not encrypted: anyone on the network path can read and change all traffic", origin)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")


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
