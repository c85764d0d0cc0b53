"""The aiohttp session: made in the running loop on first use, or borrowed and never closed; and its places."""

import asyncio
import ssl as ssl_module
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp

from panelica_async.errors import ConfigurationError

MAX_IN_FLIGHT = 100
"""Requests on their way at one time. More would wait in the connector, after they were signed."""

TlsSetting = ssl_module.SSLContext | aiohttp.Fingerprint | bool | None
"""None verifies against the system's authorities; False does not verify at all."""


class SessionHolder:
    """Owns a session, or borrows one.

    Args:
        borrowed: A session of the caller's; it is used and never closed.

    Raises:
        ConfigurationError: `borrowed` is something else.
    """

    def __init__(self, borrowed: aiohttp.ClientSession | None) -> None:
        if not isinstance(borrowed, aiohttp.ClientSession | None):
            raise ConfigurationError(f"session is a {type(borrowed).__name__}; it takes an aiohttp.ClientSession")
        self._borrowed = borrowed
        self._session = borrowed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._places = asyncio.Semaphore(_places(borrowed))

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None, None]:
        """Wait for a place among the requests on their way, and hold it.

        Raises:
            ConfigurationError: The client was closed meanwhile.
        """
        async with self._places:
            self.session()
            yield

    def session(self) -> aiohttp.ClientSession:
        """Return the session, made on first use in the running event loop.

        Raises:
            ConfigurationError: The client is closed, or used from another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ConfigurationError("the client is closed; make a new PanelicaClient")
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ConfigurationError("the client belongs to another event loop; make one PanelicaClient for each loop")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
                # The panel's cookies belong to its web interface.
                cookie_jar=aiohttp.DummyCookieJar(),
                # Time-outs are ours: aiohttp's total would run while a call waits for quota.
                timeout=aiohttp.ClientTimeout(total=None),
            )
        if self._session.closed:
            raise ConfigurationError("the session passed in as session= is closed; pass an open one")
        return self._session

    async def close(self) -> None:
        """Close the session if it is ours. Closing again changes nothing."""
        self._closed = True
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


def _places(borrowed: aiohttp.ClientSession | None) -> int:
    """Return how many requests a session lets go at one time."""
    connector = borrowed.connector if borrowed is not None else None
    if connector is None:
        return MAX_IN_FLIGHT
    # 0 stands for no limit.
    return min(limit or MAX_IN_FLIGHT for limit in (MAX_IN_FLIGHT, connector.limit, connector.limit_per_host))
