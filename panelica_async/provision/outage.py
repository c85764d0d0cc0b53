"""Notices that a panel is down even though the web server in front of it still accepts connections."""

import asyncio
from http import HTTPStatus

from panelica_async.errors import DecodeError, PanelicaError, ResponseError, TransportError
from panelica_async.telemetry import Done, Event


class OutageWatch:
    """Listens to the calls of a run and decides when further calls are pointless.

    A panel that refuses connections says so with one error. One that is down behind its web server does not: calls end
    with 502 or 504, are cut off, or hang. Each of these may also happen to a single call by chance, so what counts is
    that nothing else was answered meanwhile:

    - A lost write alone proves nothing. When the next call to end is lost too, and that one was a read, which is
      repeated, or a write that was safe to repeat, the panel is down.
    - Where reads are answered and writes are not, the writes are counted: more of them in a row than two for each site
      that is worked on at a time, and not all of them of one site, which may be a bad one.

    Args:
        concurrency: Sites worked on at a time.
        continued_by: What continues the run once the panel is up, for the hint.

    Attributes:
        error: Why the run has to stop; None as long as the panel answers.
    """

    def __init__(self, concurrency: int, continued_by: str = "`resume` continues the run") -> None:
        self.error: TransportError | None = None
        self._hint = f"Check whether the panel is up; {continued_by}."
        self._most_writes = 2 * concurrency + 1
        self._lost = 0
        self._lost_writes = 0
        self._sites: set[str] = set()
        self._last = ""

    def __call__(self, event: Event) -> None:
        """Take note of a call that has ended."""
        if not isinstance(event, Done) or event.attempts == 0 or isinstance(event.error, asyncio.CancelledError):
            return
        is_read = event.method == "GET"
        is_lost = not _is_answered(event)
        self._lost = self._lost + 1 if is_lost else 0
        if not is_read and (not is_lost or _is_by_panel(event)):
            self.settled()
        elif not is_read:
            self._lost_writes += 1
        if is_lost:
            self._last = _what(event)
            self._stop_if(self._lost > 1 and (is_read or event.attempts > 1))

    def settled(self) -> None:
        """Take note that a write got through."""
        self._lost_writes = 0
        self._sites.clear()

    def missed(self, site: str) -> None:
        """Take note of a site with a step that failed or is uncertain."""
        self._sites.add(site)
        self._stop_if(self._lost_writes > self._most_writes and len(self._sites) > 1)

    def _stop_if(self, is_down: bool) -> None:
        if is_down and self.error is None:
            self.error = TransportError(f"the panel does not answer any more: {self._last}", hint=self._hint)


def _is_answered(event: Done) -> bool:
    """Return whether the API answered; a 500 of its own counts as an outage where a read meets one too."""
    if event.status is None or event.status >= HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(event.error, DecodeError):
        return False
    return not isinstance(event.error, ResponseError) or event.error.from_panel


def _is_by_panel(event: Done) -> bool:
    """Return whether it was the panel that refused a call, not a web server before it."""
    return isinstance(event.error, ResponseError) and event.error.from_panel


def _what(event: Done) -> str:
    reason = event.error.message if isinstance(event.error, PanelicaError) else f"status {event.status}"
    return f"{event.method} {event.path}: {reason}"
