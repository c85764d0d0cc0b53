"""The aiohttp session, made on first use or borrowed; its slots, proxies, TLS checks and pinned certificates."""

import asyncio
import hashlib
import ipaddress
import os
import re
import ssl
import urllib.request
import warnings
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self, TypeAlias
from weakref import WeakSet

import aiohttp
from aiohttp import ClientRequest, ClientTimeout, hdrs
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from attrs import field, frozen
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from panelica_async.core import hints
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import LanedSemaphore
from panelica_async.telemetry import LOGGER

_NO_PROXY_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>\d+))?")


@frozen
class Proxy:
    """A proxy. User and password are kept apart from its URL, which aiohttp quotes in errors."""

    url: URL
    authorization: str | None = field(repr=False)
    """Value of the header Proxy-Authorization; None when the proxy is open."""

    @classmethod
    def parse(cls, text: str, variable: str) -> Self:
        """Parse the address of a proxy; without a scheme it is http.

        Raises:
            ConfigurationError: The address is invalid. The value is not repeated: it may hold a password.
        """
        try:
            url = URL(text if "://" in text else f"http://{text}")
            credentials = (url.user or "", url.password or "")
            authorization = aiohttp.encode_basic_auth(*credentials) if any(credentials) else None
        except ValueError:
            raise ConfigurationError(f"{variable} must be the address of a proxy", hint=hints.PROXY) from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(f"{variable} must be an http or https URL with a host", hint=hints.PROXY)
        return cls(url.origin(), authorization)


class ProxyConnector(aiohttp.TCPConnector):
    """Makes connections through a proxy.

    Args:
        proxy: The proxy and its credentials.
        limit: Maximum number of connections.
    """

    def __init__(self, proxy: Proxy, *, limit: int) -> None:
        super().__init__(limit=limit)  # pyright: ignore[reportUnknownMemberType]  # partly untyped in aiohttp
        self._proxy = proxy

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - the name is aiohttp's
    ) -> Connection:
        """Make a connection, or reuse an idle one."""
        if self._proxy.authorization is not None:
            credentials = CIMultiDict({hdrs.PROXY_AUTHORIZATION: self._proxy.authorization})
            if req.is_ssl():
                req.proxy_headers = credentials  # for the CONNECT request alone, which the panel never sees
            else:
                req.headers.update(credentials)
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp.ClientHttpProxyError as error:
            # Its repr would show the credentials.
            error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict[str]()))
            error.args = (error.request_info, error.history)
            raise
        except aiohttp.ClientConnectorDNSError as error:
            # Only the proxy's name is looked up here: the proxy itself looks up the panel's.
            key = req.connection_key._replace(host=error.host, port=error.port, ssl=error.ssl)
            raise aiohttp.ClientProxyConnectionError(key, error.os_error) from error


def proxy_from_environment(origin: str) -> Proxy | None:
    """Return the proxy that the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) names for an origin, if any.

    Raises:
        ConfigurationError: The variable is not the address of a proxy.
    """
    url = URL(origin)
    no_proxy = urllib.request.getproxies_environment().get("no", "")
    if matches_no_proxy(url.host or "", url.port, no_proxy) or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    text = urllib.request.getproxies().get(url.scheme)
    return None if text is None else Proxy.parse(text, f"{url.scheme.upper()}_PROXY")


def matches_no_proxy(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` excludes a host from the proxy.

    Accepts the forms of curl, Go and Kubernetes: a name, which includes its subdomains, with or without a leading dot
    or `*.`; an address, also in brackets; a network such as `10.0.0.0/8`; a pattern such as `10.*`; each with or
    without a port; and `*` for everything.

    Args:
        host: The name or address, without brackets.
        port: The port of the connection.
        no_proxy: Value of `NO_PROXY`: entries separated by commas or spaces.
    """
    host = _to_idna(host.rstrip(".").lower())
    return any(_entry_matches(entry, host, port) for entry in no_proxy.lower().replace(",", " ").split())


def _entry_matches(entry: str, host: str, port: int | None) -> bool:
    match = _NO_PROXY_ENTRY.fullmatch(entry)
    # An IPv6 address without brackets has no port.
    name, entry_port = (match["bracketed"] or match["plain"], match["port"]) if match else (entry, None)
    if entry_port is not None and entry_port != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = _to_idna(name.removeprefix("*.").strip("."))
        return host == domain or host.endswith(f".{domain}") or fnmatchcase(host, name)


def _to_idna(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


MAX_IN_FLIGHT = 100
"""Requests in flight at the same time. More would wait in the connector, already signed."""

_open_sessions: WeakSet[aiohttp.ClientSession] = WeakSet()
_inherited_sessions: list[aiohttp.ClientSession] = []
_process = object()
"""Identifies this process; `os.getpid()` would take ten times as long."""


def _after_fork() -> None:
    global _process  # noqa: PLW0603 - the child is another process
    _process = object()
    # Both processes share the connections and the epoll that watches them. Keep the sessions alive in the child:
    # collecting them would close the connections, and the parent would wait forever.
    _inherited_sessions.extend(_open_sessions)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class SessionHolder:
    """Owns a session, or borrows the caller's.

    Args:
        borrowed: The caller's session, which is never closed; None to make one.
        proxy: Proxy for a session made here; a borrowed session keeps its own.

    Raises:
        ConfigurationError: `borrowed` is not a session.
    """

    def __init__(self, borrowed: aiohttp.ClientSession | None, *, proxy: Proxy | None = None) -> None:
        if not isinstance(borrowed, aiohttp.ClientSession | None):
            raise ConfigurationError(f"session must be an aiohttp.ClientSession, not {type(borrowed).__name__}")
        self._borrowed = borrowed
        self._proxy = proxy if borrowed is None else None
        self._session = borrowed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = _process
        self._closed = False
        self.slots: LanedSemaphore = LanedSemaphore(_slot_count(borrowed))
        """Slots for requests that wait for quota or are in flight."""

    @property
    def proxy(self) -> str | None:
        """Address of the proxy, without credentials; None without one, and for a borrowed session."""
        return None if self._proxy is None else str(self._proxy.url)

    def require_open(self) -> None:
        """Raise `ConfigurationError` if the client or its borrowed session is closed."""
        if self._closed:
            raise ConfigurationError("the client is closed; make a new PanelicaClient")
        if self._borrowed is not None and self._borrowed.closed:
            raise ConfigurationError("the session passed in as session= is closed; pass an open one")

    def session(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        """Return the session; make it on first use.

        Args:
            loop: The running event loop.

        Raises:
            ConfigurationError: The client is closed, or used from another event loop or process.
        """
        if self._loop is not loop or self._process is not _process:
            self._bind(loop)
        if self._closed or self._borrowed is not None:
            self.require_open()
        if self._session is None:
            proxy = self._proxy
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
                if proxy is None
                else ProxyConnector(proxy, limit=MAX_IN_FLIGHT),
                # The panel's cookies belong to its web interface.
                cookie_jar=aiohttp.DummyCookieJar(),
                # Timeouts are ours: aiohttp's total would run while a call waits for quota.
                timeout=aiohttp.ClientTimeout(total=None),
                proxy=None if proxy is None else proxy.url,
            )
            _open_sessions.add(self._session)
        return self._session

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind to the event loop and the process of the first call; refuse any other."""
        self.require_open()
        if self._loop is None:
            self._loop, self._process = loop, _process
        elif self._process is not _process:
            raise ConfigurationError(
                "the client was made before this process was forked; make one PanelicaClient in each process"
            )
        else:
            raise ConfigurationError("the client belongs to another event loop; make one PanelicaClient for each loop")

    @property
    def _is_ours(self) -> bool:
        """Whether this process made the session."""
        return self._borrowed is None and self._process is _process

    def stop(self) -> None:
        """Send no more requests.

        Raises:
            ConfigurationError: Another thread runs the event loop of the client.
        """
        loop = self._loop if self._process is _process else None
        if loop is not None and loop is not asyncio.get_running_loop() and loop.is_running():
            raise ConfigurationError("the client belongs to another event loop; close it there")
        self._closed = True

    async def close(self) -> None:
        """Close the session if it is ours. Closing again changes nothing."""
        self.stop()
        if self._session is not None and self._is_ours:
            await self._session.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that an owned session was never closed. Closing it here is not possible: the loop may be gone."""
        if self._session is not None and self._is_ours and not self._closed:
            warnings.warn(
                f"{owner!r} was not closed; use `async with` or `await panel.close()`",
                ResourceWarning,
                stacklevel=3,
                source=owner,
            )


def _slot_count(borrowed: aiohttp.ClientSession | None) -> int:
    """Return how many requests a session can have in flight at the same time."""
    connector = borrowed.connector if borrowed is not None else None
    if connector is None:
        return MAX_IN_FLIGHT
    # aiohttp writes 0 for no limit.
    return min(limit or MAX_IN_FLIGHT for limit in (MAX_IN_FLIGHT, connector.limit, connector.limit_per_host))


TlsSetting: TypeAlias = ssl.SSLContext | aiohttp.Fingerprint | str | os.PathLike[str] | bool | None
"""How to verify the panel's certificate: None and True trust the system's authorities, a path trusts the certificates
in a file instead, `sha256:…` accepts only the certificate with this fingerprint, and False does not verify at all."""

_SHA256 = re.compile(r"(?i)sha256:(?P<digest>(?:[0-9a-f]{2}:?){31}[0-9a-f]{2})")
_SSL_HINT = "Pass the path of a PEM file, sha256:… with a fingerprint, an SSLContext, an aiohttp.Fingerprint, or False."


class _PinnedFingerprint(aiohttp.Fingerprint):
    """The fingerprint of the only accepted certificate; aborts a connection to a server with another one.

    aiohttp would close the connection gracefully, and leave it open if the event loop ended meanwhile.
    """

    def check(self, transport: asyncio.Transport) -> None:
        try:
            super().check(transport)
        except aiohttp.ServerFingerprintMismatch:
            # Not at once: aiohttp still needs the socket of the transport.
            asyncio.get_running_loop().call_soon(transport.abort)
            raise


def to_aiohttp_ssl(setting: TlsSetting) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    """Return the setting as the `ssl` argument of aiohttp.

    Raises:
        ConfigurationError: The setting is invalid, or names a file without certificates.
    """
    match setting:
        case None:
            return True
        case bool() | ssl.SSLContext():
            return setting
        case aiohttp.Fingerprint():
            return _PinnedFingerprint(setting.fingerprint)
        case "":
            raise ConfigurationError("ssl must not be empty", hint=_SSL_HINT)
        case str() if setting.lower().startswith("sha256:"):
            return _parse_fingerprint(setting)
        case str() | os.PathLike():
            return _load_authorities(Path(setting))
        case _:
            raise ConfigurationError(f"ssl must not be of type {type(setting).__name__}", hint=_SSL_HINT)


def require_encryption(origin: str, setting: TlsSetting) -> None:
    """Refuse a setting that an http origin cannot honour; warn that such an origin encrypts nothing.

    Raises:
        ConfigurationError: The setting verifies a certificate, but an http origin has none.
    """
    url = URL(origin)
    if url.scheme != "http":
        return
    if setting is not None and setting is not False:
        raise ConfigurationError(
            "ssl verifies a certificate, but base_url is http, where there is none",
            hint="Write https:// in base_url, or leave ssl out.",
        )
    if not _is_loopback(url.host or ""):
        LOGGER.warning("%s is not encrypted: anyone on the network path can read and change all traffic", origin)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a DER certificate, in the form that `ssl=` accepts."""
    return f"sha256:{hashlib.sha256(certificate).digest().hex(':').upper()}"


def _parse_fingerprint(setting: str) -> aiohttp.Fingerprint:
    match = _SHA256.fullmatch(setting)
    if match is None:
        raise ConfigurationError(f"ssl must be sha256: and 64 hexadecimal digits, not {setting!r}", hint=_SSL_HINT)
    return _PinnedFingerprint(bytes.fromhex(match["digest"].replace(":", "")))


def _load_authorities(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        problem = f"ssl must name a file with certificates in PEM form, and {path} has none"
        raise ConfigurationError(problem, hint=_SSL_HINT) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problem = f"ssl must name a readable file, and {path} cannot be read: {reason}"
        raise ConfigurationError(problem, hint=_SSL_HINT) from error
