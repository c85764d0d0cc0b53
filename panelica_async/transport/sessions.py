"""The aiohttp session: made in the running loop on first use, or borrowed and never closed; and its places."""

import asyncio
import os
import urllib.request
import warnings

import aiohttp
from yarl import URL

from panelica_async.errors import ConfigurationError
from panelica_async.transport.places import Places

MAX_IN_FLIGHT = 100
"""Requests on their way at one time. More would wait in the connector, after they were signed."""


class SessionHolder:
    """Owns a session, or borrows one.

    Args:
        borrowed: A session of the caller's; it is used and never closed.
        proxy: Proxy for a session of its own; None for none.

    Raises:
        ConfigurationError: `borrowed` is something else.
    """

    def __init__(self, borrowed: aiohttp.ClientSession | None, *, proxy: URL | None = None) -> None:
        if not isinstance(borrowed, aiohttp.ClientSession | None):
            raise ConfigurationError(f"session is a {type(borrowed).__name__}; it takes an aiohttp.ClientSession")
        self._borrowed = borrowed
        self._proxy = proxy
        self._session = borrowed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._closed = False
        self.places: Places = Places(_places(borrowed))
        """Places for requests that wait for quota or are on their way."""

    def require_open(self) -> None:
        """Raise `ConfigurationError` once the client is closed."""
        if self._closed:
            raise ConfigurationError("the client is closed; make a new PanelicaClient")

    def session(self) -> aiohttp.ClientSession:
        """Return the session, made on first use in the running event loop.

        Raises:
            ConfigurationError: The client is closed, or used from another event loop or process.
        """
        self.require_open()
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._process != os.getpid():
            self._bind(loop)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
                # The panel's cookies belong to its web interface.
                cookie_jar=aiohttp.DummyCookieJar(),
                # Time-outs are ours: aiohttp's total would run while a call waits for quota.
                timeout=aiohttp.ClientTimeout(total=None),
                proxy=self._proxy,
            )
        if self._session.closed:
            raise ConfigurationError("the session passed in as session= is closed; pass an open one")
        return self._session

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to the event loop and the process of the first call, and to no other."""
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        elif self._process != os.getpid():
            raise ConfigurationError(
                "the client was made before this process was forked; make one PanelicaClient in each process"
            )
        else:
            raise ConfigurationError("the client belongs to another event loop; make one PanelicaClient for each loop")

    def stop(self) -> None:
        """Let no more requests go."""
        self._closed = True

    async def close(self) -> None:
        """Close the session if it is ours. Closing again changes nothing."""
        self.stop()
        if self._session is not None and self._borrowed is None:
            await self._session.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that an owned session was never closed; nothing is closed here, the loop may be gone."""
        if self._session is not None and self._borrowed is None and not self._closed:
            warnings.warn(
                f"{owner!r} was not closed; use `async with` or `await panel.close()`",
                ResourceWarning,
                stacklevel=3,
                source=owner,
            )


def proxy_of_environment(origin: str) -> URL | None:
    """Return the proxy that the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) names for an origin, if any."""
    url = URL(origin)
    if urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return None if proxy is None else URL(proxy)


def _places(borrowed: aiohttp.ClientSession | None) -> int:
    """Return how many requests a session lets go at one time."""
    connector = borrowed.connector if borrowed is not None else None
    if connector is None:
        return MAX_IN_FLIGHT
    # 0 stands for no limit.
    return min(limit or MAX_IN_FLIGHT for limit in (MAX_IN_FLIGHT, connector.limit, connector.limit_per_host))
