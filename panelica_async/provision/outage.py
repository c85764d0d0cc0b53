"""Notices that a panel is down although something before it still takes connections."""

import asyncio
from http import HTTPStatus

from panelica_async.errors import DecodeError, PanelicaError, ResponseError, TransportError
from panelica_async.telemetry import Done, Event

_HINT = "See whether the panel is up; `resume` goes on."


class OutageWatch:
    """Listens to the calls of a run and decides when it is pointless to go on.

    A panel that refuses connections says so with one error. One that is down behind its web server does not: calls end
    with 502 or 504, are cut off, or hang. Each of these may also be the bad luck of one call, so what counts is that
    nothing else was answered meanwhile:

    - A lost write alone proves nothing. When the next call to end is lost too, and that one was a read, which is
      repeated, or a write that was safe to repeat, the panel is down.
    - Where reads are answered and writes are not, the writes are counted: more of them in a row than two for each site
      that is worked on at a time.

    Args:
        concurrency: Sites worked on at a time.

    Attributes:
        error: Why the run has to stop; None as long as the panel answers.
    """

    def __init__(self, concurrency: int) -> None:
        self.error: TransportError | None = None
        self._most_writes = 2 * concurrency + 1
        self._lost = 0
        self._lost_writes = 0

    def __call__(self, event: Event) -> None:
        """Take note of a call that has ended."""
        if not isinstance(event, Done) or event.attempts == 0 or isinstance(event.error, asyncio.CancelledError):
            return
        is_read = event.method == "GET"
        if _is_answered(event):
            self._lost = 0
            self._lost_writes = self._lost_writes if is_read else 0
            return
        self._lost += 1
        self._lost_writes += not is_read
        is_down = self._lost > 1 and (is_read or event.attempts > 1)
        if self.error is None and (is_down or self._lost_writes > self._most_writes):
            self.error = TransportError(f"the panel does not answer any more: {_what(event)}", hint=_HINT)


def _is_answered(event: Done) -> bool:
    """Return whether the panel itself had a say. A page that is no reply of its API is not its word."""
    if event.status is None or event.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return False
    is_page = isinstance(event.error, ResponseError) and not event.error.from_panel
    return not is_page and not isinstance(event.error, DecodeError)


def _what(event: Done) -> str:
    reason = event.error.message if isinstance(event.error, PanelicaError) else f"status {event.status}"
    return f"{event.method} {event.path}: {reason}"
