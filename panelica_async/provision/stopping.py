"""Stops a run or an undo gracefully: a write that was sent is finished, and one that still waits is not sent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConnectError
from panelica_async.telemetry import Event, Retried, Sent


class StoppedError(Exception):
    """A stop was requested, and a write that waited was not sent."""


class StoppableCall:
    """A call of the current task that a stop cancels, unless it is a write on its way.

    Args:
        panel: Sends it.
        stop: Set when a stop is requested.

    Attributes:
        was_sent: Whether a write was sent.
    """

    def __init__(self, panel: PanelicaClient, stop: asyncio.Event) -> None:
        self.was_sent: bool = False
        self._panel = panel
        self._stop = stop
        self._task = asyncio.current_task()
        self._timeout = asyncio.timeout(None)
        self._is_on_its_way = False
        self._was_sent_before = False

    @asynccontextmanager
    async def unless_stopped(self) -> AsyncGenerator[None]:
        """Cancel what is awaited inside when a stop is requested: at once, or before a write would be sent again.

        Raises:
            StoppedError: It was cancelled, or not begun.
        """
        if self._stop.is_set():
            raise StoppedError
        unsubscribe = self._panel.subscribe(self._follow)
        stopping = asyncio.create_task(self._stop.wait())
        stopping.add_done_callback(self._apply_stop)
        try:
            async with self._timeout:
                yield
        except TimeoutError as error:
            if self._timeout.expired():
                raise StoppedError from error
            raise
        finally:
            stopping.remove_done_callback(self._apply_stop)
            stopping.cancel()
            unsubscribe()

    def _follow(self, event: Event) -> None:
        """Notice whether the write is on its way, or waits for another attempt."""
        if not isinstance(event, Sent | Retried) or event.method == "GET" or asyncio.current_task() is not self._task:
            return
        self._is_on_its_way = isinstance(event, Sent)
        if isinstance(event, Sent):
            self._was_sent_before, self.was_sent = self.was_sent, True
        elif isinstance(event.error, ConnectError):
            self.was_sent = self._was_sent_before
        self._apply_stop()

    def _apply_stop(self, *_: object) -> None:
        if self._stop.is_set():
            self._timeout.reschedule(None if self._is_on_its_way else asyncio.get_running_loop().time())


def unless_stopped(panel: PanelicaClient, stop: asyncio.Event) -> AbstractAsyncContextManager[None]:
    """Return the context of a `StoppableCall`, for callers that need not know whether it was sent."""
    return StoppableCall(panel, stop).unless_stopped()
