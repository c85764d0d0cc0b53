"""Watches the calls of a client: counts them, and tells those who listen."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from panelica_async.errors import OutcomeUnknownError, RateLimitedError
from panelica_async.telemetry.events import Done, Event, Listener, Outcome, Queued, Retried, Sent, Throttled
from panelica_async.telemetry.logs import LOGGER, CallLog
from panelica_async.telemetry.statistics import Tally
from panelica_async.transport.call import Call

_log = CallLog()


class Monitor:
    """Turns what happens to calls into figures and events. An event is made only when somebody wants it."""

    def __init__(self) -> None:
        self.tally: Tally = Tally()
        self._listeners: tuple[Listener, ...] = ()
        self._calls = 0

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Send events to a listener from now on; call what is returned to end it."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def queued(self, call: Call) -> None:
        """Note that a call was made."""
        self._calls += 1
        call.number = self._calls
        call.began_at = _now()
        self.tally.in_flight += 1
        if self._is_watched:
            self._tell(Queued(**_facts(call)))

    def sent(self, call: Call, headers: Mapping[str, str]) -> None:
        """Note that an attempt leaves."""
        call.waited += call.queued_for
        self.tally.attempts += 1
        if self._is_watched:
            request = call.request
            event = Sent(
                **_facts(call),
                attempt=call.attempts,
                waited=call.queued_for,
                query=request.query,
                headers=headers,
                body=request.body,
            )
            self._tell(event)

    def throttled(self, call: Call, error: RateLimitedError) -> None:
        """Note that the panel refused an attempt because of the quota."""
        self.tally.throttled += 1
        self._tell(
            Throttled(
                **_facts(call),
                attempt=call.attempts,
                retry_after=error.retry_after,
                limit=error.limit,
                window=error.window,
            )
        )

    def retried(self, call: Call, wait: float, reason: str) -> None:
        """Note that another attempt follows."""
        self.tally.retries += 1
        self._tell(Retried(**_facts(call), attempt=call.attempts, wait=wait, reason=reason))

    def done(self, call: Call, error: BaseException | None = None) -> None:
        """Note that a call has ended, with what its caller gets if it is no result."""
        tally, duration = self.tally, _now() - call.began_at
        outcome = Outcome.SUCCEEDED if error is None else _outcome(call, error)
        tally.in_flight -= 1
        tally.outcomes[outcome] += 1
        tally.waited += call.waited
        tally.durations.append(duration)
        if self._is_watched or outcome is Outcome.UNKNOWN:
            reply = call.reply
            event = Done(
                **_facts(call),
                outcome=outcome,
                status=reply.status or None,
                attempts=call.attempts,
                waited=call.waited,
                duration=duration,
                request_id=getattr(error, "request_id", None) or reply.headers.get("X-Request-Id"),
                body=reply.body,
                error=error,
            )
            self._tell(event)

    @property
    def _is_watched(self) -> bool:
        return bool(self._listeners) or LOGGER.isEnabledFor(logging.INFO)

    def _tell(self, event: Event) -> None:
        _log(event)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - a listener must not decide what becomes of a call
                LOGGER.exception("the listener %r failed at %r", listener, event)


def _facts(call: Call) -> dict[str, Any]:
    return {
        "call": call.number,
        "operation": call.operation,
        "method": call.method,
        "path": call.path,
        "lane": call.options.lane,
        "at": time.time(),
    }


def _outcome(call: Call, error: BaseException) -> Outcome:
    if isinstance(error, OutcomeUnknownError):
        return Outcome.UNKNOWN
    if isinstance(error, asyncio.CancelledError):
        return Outcome.UNKNOWN if call.is_doubtful else Outcome.CANCELLED
    return Outcome.FAILED


def _now() -> float:
    return asyncio.get_running_loop().time()
