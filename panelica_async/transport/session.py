"""The aiohttp session: made in the running loop on first use, or borrowed and never closed; and its slots."""

import asyncio
import os
import warnings
from weakref import WeakSet

import aiohttp

from panelica_async.errors import ConfigurationError
from panelica_async.transport.proxies import Proxy, ProxyConnector
from panelica_async.transport.slots import Slots

MAX_IN_FLIGHT = 100
"""Requests on their way at one time. More would wait in the connector, after they were signed."""

_open: WeakSet[aiohttp.ClientSession] = WeakSet()
_inherited: list[aiohttp.ClientSession] = []
if hasattr(os, "register_at_fork"):
    # Both processes have the same connections, and wait for them with the same epoll. One that forgets a session closes
    # them, and the other would wait for ever.
    os.register_at_fork(after_in_child=lambda: _inherited.extend(_open))


class SessionHolder:
    """Owns a session, or borrows one.

    Args:
        borrowed: A session of the caller's; it is used and never closed.
        proxy: Proxy for a session of its own; None for none.

    Raises:
        ConfigurationError: `borrowed` is something else.
    """

    def __init__(self, borrowed: aiohttp.ClientSession | None, *, proxy: Proxy | None = None) -> None:
        if not isinstance(borrowed, aiohttp.ClientSession | None):
            raise ConfigurationError(f"session is a {type(borrowed).__name__}; it takes an aiohttp.ClientSession")
        self._borrowed = borrowed
        self._proxy = proxy
        self._session = borrowed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._closed = False
        self.slots: Slots = Slots(_slots(borrowed))
        """Slots for requests that wait for quota or are on their way."""

    @property
    def proxy(self) -> str | None:
        """Address of the proxy of an own session, without credentials; None when there is none."""
        return None if self._proxy is None else str(self._proxy.url)

    def require_open(self) -> None:
        """Raise `ConfigurationError` once the client is closed, or the session that it borrows."""
        if self._closed:
            raise ConfigurationError("the client is closed; make a new PanelicaClient")
        if self._session is not None and self._session.closed:
            raise ConfigurationError("the session passed in as session= is closed; pass an open one")

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
            proxy = self._proxy
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
                if proxy is None
                else ProxyConnector(proxy, limit=MAX_IN_FLIGHT),
                # The panel's cookies belong to its web interface.
                cookie_jar=aiohttp.DummyCookieJar(),
                # Time-outs are ours: aiohttp's total would run while a call waits for quota.
                timeout=aiohttp.ClientTimeout(total=None),
                proxy=None if proxy is None else proxy.url,
            )
            _open.add(self._session)
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

    @property
    def _is_ours(self) -> bool:
        """Whether the session is neither borrowed nor that of the process this one was forked from."""
        return self._borrowed is None and self._process == os.getpid()

    def stop(self) -> None:
        """Let no more requests go."""
        self._closed = True

    async def close(self) -> None:
        """Close the session if it is ours. Closing again changes nothing."""
        self.stop()
        if self._session is not None and self._is_ours:
            await self._session.close()

    def warn_if_open(self, owner: object) -> None:
        """Warn that an owned session was never closed; nothing is closed here, the loop may be gone."""
        if self._session is not None and self._is_ours and not self._closed:
            warnings.warn(
                f"{owner!r} was not closed; use `async with` or `await panel.close()`",
                ResourceWarning,
                stacklevel=3,
                source=owner,
            )


def _slots(borrowed: aiohttp.ClientSession | None) -> int:
    """Return how many requests a session lets go at one time."""
    connector = borrowed.connector if borrowed is not None else None
    if connector is None:
        return MAX_IN_FLIGHT
    # 0 stands for no limit.
    return min(limit or MAX_IN_FLIGHT for limit in (MAX_IN_FLIGHT, connector.limit, connector.limit_per_host))
