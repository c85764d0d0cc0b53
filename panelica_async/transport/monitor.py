"""Watches the calls of a client: counts them, and sends events to its listeners."""

import logging
import time
import traceback
from asyncio import CancelledError, get_running_loop
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict, CIMultiDictProxy

from panelica_async.core.redaction import redact_text
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.core.values import printable_header
from panelica_async.errors import DecodeError, OutcomeUnknownError, TransportError
from panelica_async.telemetry import (
    DONE_LEVELS,
    LOGGER,
    MISMATCHED_LEVEL,
    RETRIED_LEVEL,
    THROTTLED_LEVEL,
    Outcome,
    Tally,
)
from panelica_async.transport.call import Call, Reply

if TYPE_CHECKING:
    from panelica_async.core.error_replies import FailureReport
    from panelica_async.telemetry.events import CallLog, Event, Listener

# ruff: noqa: PLC0415 - events and the log are imported only for a listener; most clients have none.


class Monitor:
    """Turns what happens to calls into counts and events. An event is made only for a listener or the log."""

    def __init__(self) -> None:
        self.tally: Tally = Tally()
        # Replaced and never mutated: a listener may subscribe or unsubscribe others during an event.
        self._listeners: Mapping[object, Listener] = {}
        self._calls = 0

    def subscribe(self, listener: "Listener") -> Callable[[], None]:
        """Send events to a listener from now on; return a function that ends the subscription.

        Raises:
            TypeError: The listener is a coroutine function, or cannot be called.
        """
        if not callable(listener) or iscoroutinefunction(listener) or iscoroutinefunction(type(listener).__call__):
            raise TypeError(
                "listener must be a plain function that takes an event, not a coroutine function or anything else"
            )
        subscription = object()
        self._listeners = {**self._listeners, subscription: listener}

        def unsubscribe() -> None:
            self._listeners = {key: other for key, other in self._listeners.items() if key is not subscription}

        return unsubscribe

    def queued(self, call: Call) -> None:
        """Count a new call."""
        self._calls += 1
        call.number = self._calls
        call.loop = get_running_loop()
        call.began_at = call.loop.time()
        self.tally.in_flight += 1
        # Checked once per call, because most calls have no listener.
        call.is_watched = bool(self._listeners) or LOGGER.isEnabledFor(logging.DEBUG)
        if call.is_watched:
            from panelica_async.telemetry.events import Queued

            self._publish(Queued(**_common_fields(call)))

    def sent(self, call: Call, headers: Mapping[str, str]) -> None:
        """Count an attempt that is about to be sent."""
        self.tally.attempts += 1
        call.sends += 1
        waited = call.queued_for
        if waited:
            call.waited += waited
            call.queued_for = 0.0
        if call.is_watched or self._listeners:
            from panelica_async.telemetry.events import Sent

            request = call.request
            event = Sent(
                **_common_fields(call),
                attempt=call.attempts,
                waited=waited,
                query=request.query,
                # A copy: the next attempt replaces the signature in the same headers.
                headers=CIMultiDictProxy(CIMultiDict(headers)),
                body=request.body,
            )
            self._publish(event)

    def throttled(self, call: Call, report: "FailureReport") -> None:
        """Count an attempt that the panel rejected because of the quota."""
        self.tally.throttled += 1
        if self._listeners or LOGGER.isEnabledFor(THROTTLED_LEVEL):
            from panelica_async.telemetry.events import Throttled

            event = Throttled(
                **_common_fields(call),
                attempt=call.attempts,
                retry_after=report.retry_after,
                limit=report.limit,
                window=report.window,
            )
            self._publish(event)

    def retried(self, call: Call, wait: float, failure: Reply | TransportError) -> None:
        """Count a retry that follows a failure after a wait."""
        self.tally.retries += 1
        if self._listeners or LOGGER.isEnabledFor(RETRIED_LEVEL):
            from panelica_async.telemetry.events import Retried

            status, error = (failure.status, None) if isinstance(failure, Reply) else (None, failure)
            self._publish(Retried(**_common_fields(call), attempt=call.attempts, wait=wait, status=status, error=error))

    def mismatched(self, call: Call) -> None:
        """Count the optional fields of a reply that do not fit their types."""
        self.tally.mismatches += len(call.mismatches)
        if self._listeners or LOGGER.isEnabledFor(MISMATCHED_LEVEL):
            from panelica_async.telemetry.events import Mismatched

            fields = tuple(dict.fromkeys(call.mismatches))
            self._publish(Mismatched(**_common_fields(call), fields=fields, count=len(call.mismatches)))

    def done(self, call: Call, error: BaseException | None = None) -> None:
        """Count the end of a call, with the error that its caller gets if it failed."""
        tally, duration = self.tally, call.loop.time() - call.began_at
        outcome = Outcome.SUCCEEDED if error is None else _failure_outcome(call, error)
        is_logged = error is not None and LOGGER.isEnabledFor(DONE_LEVELS[outcome])
        tally.in_flight -= 1
        tally.outcomes[outcome] += 1
        # An attempt that left the queue without a permit has waited, too.
        if call.waited or call.queued_for:
            call.waited += call.queued_for
            tally.waited += call.waited
        tally.durations.append(duration)
        if is_logged or call.is_watched or self._listeners:
            from panelica_async.telemetry.events import Done

            reply = call.last_reply
            header_id = None if reply is None else printable_header(reply.headers.get("X-Request-Id"))
            event = Done(
                **_common_fields(call),
                outcome=outcome,
                status=None if reply is None else reply.status,
                attempts=call.sends,
                waited=call.waited,
                duration=duration,
                request_id=getattr(error, "request_id", None) or header_id,
                body=b"" if reply is None else reply.body,
                error=error,
            )
            self._publish(event, call.sanitizer)

    def _publish(self, event: "Event", sanitizer: Sanitizer | None = None) -> None:
        _notify(_with_sanitizer(_call_log(), sanitizer), event)
        for subscription, listener in self._listeners.items():
            # An earlier listener may have ended this subscription.
            if subscription in self._listeners:
                _notify(_with_sanitizer(listener, sanitizer), event)


@cache
def _call_log() -> "CallLog":
    from panelica_async.telemetry.events import CallLog

    return CallLog()


def _with_sanitizer(listener: "Listener", sanitizer: Sanitizer | None) -> "Listener":
    """Return a log that also removes the secrets of the request; return any other listener as it is."""
    from panelica_async.telemetry.events import CallLog

    if sanitizer is None or not isinstance(listener, CallLog):
        return listener
    return partial(listener.write, sanitizer=sanitizer)


def _notify(listener: "Listener", event: "Event") -> None:
    try:
        listener(event)
    except (Exception, CancelledError) as error:  # noqa: BLE001 - a listener must not affect a call
        # Leave out the message of the error, which may quote secrets of the event. The error may come from a logging
        # filter or handler of the program, which would raise again here.
        with suppress(Exception):
            LOGGER.error(
                "the listener %s failed at %s of call %d %s: %s\n%s",
                getattr(listener, "__qualname__", type(listener).__qualname__),
                type(event).__name__,
                event.call,
                redact_text(event.operation),
                type(error).__qualname__,
                "".join(traceback.format_tb(error.__traceback__)),
            )


def _common_fields(call: Call) -> dict[str, Any]:
    return {
        "call": call.number,
        "operation": call.operation,
        "method": call.method,
        "path": call.path,
        "lane": call.options.lane,
        "at": time.time(),
    }


def _failure_outcome(call: Call, error: BaseException) -> Outcome:
    match error:
        case OutcomeUnknownError():
            return Outcome.UNKNOWN
        case DecodeError() if not call.repeat.is_read:
            return Outcome.UNKNOWN
        case Exception():
            return Outcome.FAILED
        case _:  # cancelled
            is_unknown = call.is_uncertain or isinstance(error.__cause__, OutcomeUnknownError)
            return Outcome.UNKNOWN if is_unknown else Outcome.CANCELLED
