"""The proxy that the environment names, and connections through it."""

import ipaddress
import re
import urllib.request
from fnmatch import fnmatchcase
from typing import Self

import aiohttp
from aiohttp import ClientRequest, ClientTimeout, hdrs
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from attrs import field, frozen
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from panelica_async.core import hints
from panelica_async.errors import ConfigurationError

_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>\d+))?")


@frozen
class Proxy:
    """A proxy. User and password are kept apart from its URL, which aiohttp quotes in errors."""

    url: URL
    authorization: str | None = field(repr=False)
    """Value of the header Proxy-Authorization; None when the proxy is open."""

    @classmethod
    def parse(cls, text: str, variable: str) -> Self:
        """Read the address of a proxy as people write it; without a scheme it is http.

        Raises:
            ConfigurationError: It is no such address. The value is not repeated: it may hold a password.
        """
        try:
            url = URL(text if "://" in text else f"http://{text}")
            shown = (url.user or "", url.password or "")
            authorization = aiohttp.encode_basic_auth(*shown) if any(shown) else None
        except ValueError:
            raise ConfigurationError(f"{variable} is not the address of a proxy", hint=hints.PROXY) from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(f"{variable} names no proxy of the kind http or https", hint=hints.PROXY)
        return cls(url.origin(), authorization)


class ProxyConnector(aiohttp.TCPConnector):
    """Makes connections through a proxy.

    Args:
        proxy: Has the credentials to show to it.
        limit: How many connections there may be.
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
        """Make a connection, or take one that is free."""
        if self._proxy.authorization is not None:
            shown = CIMultiDict({hdrs.PROXY_AUTHORIZATION: self._proxy.authorization})
            if req.is_ssl():
                req.proxy_headers = shown  # of the request for a tunnel, which the panel does not see
            else:
                req.headers.update(shown)
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp.ClientHttpProxyError as error:
            # Its repr would show what was shown to the proxy.
            error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict[str]()))
            error.args = (error.request_info, error.history)
            raise
        except aiohttp.ClientConnectorDNSError as error:
            # The proxy looks up the panel; the only name that is looked up here is that of the proxy.
            key = req.connection_key._replace(host=error.host, port=error.port, ssl=error.ssl)
            raise aiohttp.ClientProxyConnectionError(key, error.os_error) from error


def proxy_of_environment(origin: str) -> Proxy | None:
    """Return the proxy that the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) names for an origin, if any.

    Raises:
        ConfigurationError: What it names is no proxy.
    """
    url = URL(origin)
    excluded = urllib.request.getproxies_environment().get("no", "")
    if is_excluded(url.host or "", url.port, excluded) or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    text = urllib.request.getproxies().get(url.scheme)
    return None if text is None else Proxy.parse(text, f"{url.scheme.upper()}_PROXY")


def is_excluded(host: str, port: int | None, excluded: str) -> bool:
    """Return whether a value of `NO_PROXY` names a host.

    Understood is what curl, Go and Kubernetes write: names with everything below them, with or without a dot or `*.`
    before them; addresses, also in brackets; networks such as `10.0.0.0/8`; patterns such as `10.*`; each with a port
    or without; and `*` for everything.

    Args:
        host: The name or address, without brackets.
        port: The port of the connection.
        excluded: The value, with commas or spaces between entries.
    """
    host = _in_ascii(host.rstrip(".").lower())
    return any(_names(entry, host, port) for entry in excluded.lower().replace(",", " ").split())


def _names(entry: str, host: str, port: int | None) -> bool:
    match = _ENTRY.fullmatch(entry)
    # An IPv6 address without brackets has no port.
    name, wanted = (match["bracketed"] or match["plain"], match["port"]) if match else (entry, None)
    if wanted is not None and wanted != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = _in_ascii(name.removeprefix("*.").strip("."))
        return host == domain or host.endswith(f".{domain}") or fnmatchcase(host, name)


def _in_ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
