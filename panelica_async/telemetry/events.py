"""The events of a call, in the order in which they happen, and the log, which writes a line for each."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from panelica_async.core.json_codec import loads
from panelica_async.core.redaction import FILES, redact_headers, redact_query, shorten
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.errors import PanelicaError
from panelica_async.ratelimit.lanes import Lane
from panelica_async.telemetry import (
    DONE_LEVELS,
    LOGGER,
    MISMATCHED_LEVEL,
    RETRIED_LEVEL,
    THROTTLED_LEVEL,
    Outcome,
)


@attrs.frozen(kw_only=True, eq=False)
class CallEvent:
    """The fields of every event. Bodies and headers are as sent and received, secrets included, and never in a repr."""

    call: int
    """Number of the call within its client, from 1; the same in all of its events."""
    operation: str
    """Name of the operation, such as `domains.create`; method and path for a raw request."""
    method: str
    path: str
    """Path as sent, from `/v1` on, without query."""
    lane: Lane
    at: float
    """Unix time of the event."""


@attrs.frozen(kw_only=True, eq=False)
class Queued(CallEvent):
    """A call was made and waits for quota."""


@attrs.frozen(kw_only=True, eq=False)
class Sent(CallEvent):
    """An attempt was signed and is being sent."""

    attempt: int
    """Number of the attempt, from 1."""
    waited: float
    """Seconds it waited for quota."""
    query: str = attrs.field(repr=False)
    """Query as sent, without its `?`."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(repr=False)
    """None if there is none, and for file uploads, which are streamed."""


@attrs.frozen(kw_only=True, eq=False)
class Throttled(CallEvent):
    """The panel refused an attempt with 429; all calls with the key pause."""

    attempt: int
    retry_after: float | None
    """Seconds to wait, if the panel names them."""
    limit: int | None
    """Requests that the window allows, if the panel names them."""
    window: str | None
    """The window that is full, such as `minute`, if the panel names it."""


@attrs.frozen(kw_only=True, eq=False)
class Retried(CallEvent):
    """An attempt failed; another one follows."""

    attempt: int
    """Number of the attempt that failed."""
    wait: float
    """Seconds until the call queues again."""
    status: int | None
    """HTTP status of the reply; None if there was none."""
    error: PanelicaError | None = attrs.field(repr=False)
    """Why no reply came; None if there was one."""

    @property
    def reason(self) -> str:
        """The reason as text: the status, or why no reply came."""
        return f"the panel answered {self.status}" if self.error is None else self.error.message


@attrs.frozen(kw_only=True, eq=False)
class Mismatched(CallEvent):
    """Optional fields of a reply do not fit their types: they are None, and `extra` has what the panel sent."""

    fields: tuple[str, ...]
    """Each field once with the reason, such as `Domain.disk_usage_mb: expected int, got list`; of values, only those
    that should be times are quoted."""
    count: int
    """Number of such values in all rows, up to 1,000."""


@attrs.frozen(kw_only=True, eq=False)
class Done(CallEvent):
    """A call ended."""

    outcome: Outcome
    status: int | None
    """HTTP status of the reply to the last attempt; None if there was none."""
    attempts: int
    """Attempts that were sent or found no connection; 0 if the call ended in the queue."""
    waited: float
    """Seconds that all attempts together waited for quota."""
    duration: float
    """Seconds from beginning to end, waits included."""
    request_id: str | None
    """Id to quote to the panel's support, if there is one."""
    body: bytes = attrs.field(repr=False)
    """Body of that reply; empty if there was none."""
    error: BaseException | None = attrs.field(repr=False)
    """The error that the caller gets; None if the call succeeded."""


Event: TypeAlias = Queued | Sent | Throttled | Retried | Mismatched | Done
"""Any of the events."""

Listener: TypeAlias = Callable[[Event], object]
"""A function that is called with each event, in the event loop. It must not block; its return value is ignored. If it
raises, the log has the type and the traceback, but not the message, which may quote the event and its secrets."""


_LEVELS: Mapping[type[Event], int] = {
    Queued: logging.DEBUG,
    Sent: logging.DEBUG,
    Throttled: THROTTLED_LEVEL,
    Retried: RETRIED_LEVEL,
    Mismatched: MISMATCHED_LEVEL,
}
"""Log level of each event except `Done`, whose level depends on its outcome: `DONE_LEVELS`."""

_RECORD_FIELDS = (
    "method",
    "attempt",
    "attempts",
    "waited",
    "duration",
    "wait",
    "retry_after",
    "status",
    "outcome",
    "request_id",
)
_MAX_PARSED_LENGTH = 256 * 1024
"""Bytes of a body; a longer one is not parsed for the log."""
_MAX_LENGTH = 2000
"""Characters of a body or of a reason in a line."""


class CallLog:
    """A listener that writes one log line for each event.

    Requests and replies are logged at `DEBUG`; retries, failures and fields that do not fit at `INFO`; 429 replies and
    writes with unknown outcome at `WARNING`. Keys, signatures, passwords, secrets, tokens, sign-in and backup links
    appear as `[redacted]`, in headers, queries and bodies alike; the contents of files, and of replies that are not
    JSON, are left out. A line shows the first 2,000 characters of a body. Records have the same data in attributes
    whose names begin with `panelica_`, such as `panelica_operation`, `panelica_status` and `panelica_duration`, but no
    body.

    Args:
        logger: Where to write; by default the logger `panelica_async`, to which every client writes anyway.
        redact: Whether to redact secrets. Without it, protect the log like the key itself.
    """

    def __init__(self, logger: logging.Logger = LOGGER, *, redact: bool = True) -> None:
        self._logger = logger
        self._redact = redact

    def __call__(self, event: Event) -> None:
        """Write a line if the level of the logger allows it."""
        self.write(event, Sanitizer())

    def write(self, event: Event, sanitizer: Sanitizer) -> None:
        """Write a line if the level of the logger allows it.

        Args:
            event: What happened.
            sanitizer: Knows the secrets of the request, in case the reply quotes them.
        """
        level = DONE_LEVELS[event.outcome] if isinstance(event, Done) else _LEVELS[type(event)]
        if self._logger.isEnabledFor(level):
            operation, description = self._clean(event.operation), self._describe(event, sanitizer)
            record_fields = self._record_fields(event, operation)
            self._logger.log(level, "call %d %s: %s", event.call, operation, description, extra=record_fields)

    def _record_fields(self, event: Event, operation: str) -> dict[str, Any]:
        """Return the attributes of a record, for formatters that write data instead of lines."""
        fields: dict[str, Any] = {"event": type(event).__name__.lower(), "call": event.call, "lane": event.lane}
        fields |= {name: getattr(event, name) for name in _RECORD_FIELDS if getattr(event, name, None) is not None}
        if isinstance(event, Done | Retried) and event.error is not None:
            fields["error_type"] = type(event.error).__name__
        if isinstance(event, Done) and event.request_id:
            fields["request_id"] = self._clean(event.request_id)
        return {f"panelica_{name}": value for name, value in fields.items()} | {"panelica_operation": operation}

    def _describe(self, event: Event, sanitizer: Sanitizer) -> str:
        match event:
            case Queued():
                return f"queued in the {event.lane} lane"
            case Sent():
                return f"attempt {event.attempt} after {event.waited:.3f} s: {self._describe_request(event)}"
            case Throttled():
                retry_after = "" if event.retry_after is None else f", retry after {event.retry_after:g} s"
                window = "" if event.window is None else f" of the {self._clean(event.window)}"
                limit = "" if event.limit is None else f" of {event.limit}"
                return f"attempt {event.attempt} exceeded the rate limit{limit}{window}{retry_after}"
            case Retried():
                # After a 429, the limiter decides when to retry.
                next_step = f"retrying in {event.wait:.1f} s" if event.wait else "queued again"
                return f"attempt {event.attempt} failed, {next_step}: {self._clean(event.reason)}"
            case Mismatched():
                # The fields quote values of the panel only where they should be times.
                return f"{event.count} optional fields do not fit: {self._clean('; '.join(event.fields), sanitizer)}"
            case Done():
                return self._describe_end(event, sanitizer)

    def _describe_request(self, event: Sent) -> str:
        query, headers = event.query, dict(event.headers)
        if self._redact:
            query, headers = redact_query(query), redact_headers(headers)
        target = f"{self._clean(event.path)}?{self._clean(query)}" if query else self._clean(event.path)
        body = "" if event.body is None else f" {self._body(event.body, event.path, Sanitizer())}"
        return f"{event.method} {target} {headers}{body}"

    def _describe_end(self, event: Done, sanitizer: Sanitizer) -> str:
        status = "" if event.status is None else f" with {event.status}"
        facts = [f"{event.outcome}{status} after {event.duration:.3f} s, {event.waited:.3f} s of it in the queue"]
        if event.attempts > 1:
            facts.append(f"{event.attempts} attempts")
        if event.request_id:
            facts.append(f"request id {self._clean(event.request_id, sanitizer)}")
        parts = [", ".join(facts)]
        if event.error is not None:
            parts.append(self._reason(event.error, event.path))
        # An error already quotes the reply, without secrets.
        if event.body and (event.error is None or not self._redact):
            parts.append(self._body(event.body, event.path, sanitizer))
        return ": ".join(parts)

    def _reason(self, error: BaseException, path: str) -> str:
        if self._redact and path.startswith(FILES) and isinstance(error, PanelicaError):
            # Leave out the excerpt of an unreadable reply, which is part of a file.
            return self._clean(f"{type(error).__name__}: {error.message}")
        return self._clean(str(error) or type(error).__name__)

    def _body(self, body: bytes, path: str, sanitizer: Sanitizer) -> str:
        if not self._redact:
            return shorten(body[: _MAX_LENGTH * 4].decode("utf-8", "replace"), _MAX_LENGTH)
        if path.startswith(FILES) or len(body) > _MAX_PARSED_LENGTH:
            return f"[{len(body)} bytes]"
        try:
            data = loads(body)
        except ValueError:
            return f"[{len(body)} bytes that are not JSON]"
        return shorten(json.dumps(sanitizer.clean_data(data), ensure_ascii=False), _MAX_LENGTH)

    def _clean(self, text: str, sanitizer: Sanitizer | None = None) -> str:
        if not self._redact:
            return shorten(text[: _MAX_LENGTH * 4], _MAX_LENGTH)
        return (sanitizer or Sanitizer()).clean_text(text, _MAX_LENGTH)
