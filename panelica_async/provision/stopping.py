"""Stops a run or an undo early: on request, or because the panel is down.

`StoppableCall` stops gracefully: a write that was sent is finished, and one that still waits is not sent. `OutageWatch`
notices that every further call would fail.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConnectError, DecodeError, PanelicaError, ResponseError, TransportError
from panelica_async.telemetry import Done, Event, Retried, Sent


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


class OutageWatch:
    """Listens to the calls of a run and decides when further calls are pointless.

    A panel that refuses connections says so with one error. One that is down behind its web server does not: calls end
    with 502 or 504, are cut off, or hang. Each of these may also happen to a single call by chance, so a loss counts
    only if nothing else was answered meanwhile:

    - A lost write alone proves nothing. When the next call to end is lost too, and that one was a read, which is
      repeated, or a write that was safe to repeat, the panel is down.
    - Where reads are answered and writes are not, the panel is down after `2 * concurrency + 2` lost writes in a row,
      unless they all belong to one site, which may be at fault itself.

    Args:
        concurrency: Sites worked on at a time.
        continued_by: What continues the run once the panel is up, for the hint.

    Attributes:
        error: Why the run has to stop; None as long as the panel answers.
    """

    def __init__(self, concurrency: int, continued_by: str = "`resume` continues the run") -> None:
        self.error: TransportError | None = None
        self._hint = f"Check whether the panel is up; {continued_by}."
        self._max_lost_writes = 2 * concurrency + 1
        # Both count the calls in a row.
        self._lost = 0
        self._lost_writes = 0
        self._failing_sites: set[str] = set()
        self._last_loss = ""

    def __call__(self, event: Event) -> None:
        """Count a call that has ended."""
        if not isinstance(event, Done) or event.attempts == 0 or isinstance(event.error, asyncio.CancelledError):
            return
        is_read = event.method == "GET"
        is_lost = not _is_answered(event)
        self._lost = self._lost + 1 if is_lost else 0
        if not is_read and (not is_lost or _is_refused_by_panel(event)):
            self.write_answered()
        elif not is_read:
            self._lost_writes += 1
        if is_lost:
            self._last_loss = _describe(event)
            if self._lost > 1 and (is_read or event.attempts > 1):
                self._declare_outage()

    def write_answered(self) -> None:
        """Start counting lost writes from 0: one got through."""
        self._lost_writes = 0
        self._failing_sites.clear()

    def step_failed(self, site: str) -> None:
        """Count a site with a step that failed or is uncertain."""
        self._failing_sites.add(site)
        if self._lost_writes > self._max_lost_writes and len(self._failing_sites) > 1:
            self._declare_outage()

    def _declare_outage(self) -> None:
        if self.error is None:
            self.error = TransportError(f"the panel does not answer any more: {self._last_loss}", hint=self._hint)


def _is_answered(event: Done) -> bool:
    """Return whether the API answered; no status of 500 or more counts as an answer, even if the API sent it."""
    if event.status is None or event.status >= HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(event.error, DecodeError):
        return False
    return not isinstance(event.error, ResponseError) or event.error.from_panel


def _is_refused_by_panel(event: Done) -> bool:
    """Return whether the panel refused a call, and not a web server before it."""
    return isinstance(event.error, ResponseError) and event.error.from_panel


def _describe(event: Done) -> str:
    reason = event.error.message if isinstance(event.error, PanelicaError) else f"status {event.status}"
    return f"{event.method} {event.path}: {reason}"
