"""Events as lines of a log, with every secret taken out."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from panelica_async.core.json_codec import loads
from panelica_async.core.redaction import FILES, redact_headers, redact_query, shorten
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.errors import PanelicaError
from panelica_async.telemetry.events import Done, Event, Outcome, Queued, Retried, Sent, Throttled

LOGGER = logging.getLogger("panelica_async")
"""Where every client logs; set its level to `DEBUG` to see each request and reply."""

LEVELS: Mapping[type[Event], int] = {
    Queued: logging.DEBUG,
    Sent: logging.DEBUG,
    Throttled: logging.WARNING,
    Retried: logging.INFO,
}
DONE_LEVELS: Mapping[Outcome, int] = {
    Outcome.SUCCEEDED: logging.DEBUG,
    Outcome.CANCELLED: logging.DEBUG,
    Outcome.FAILED: logging.INFO,
    Outcome.UNKNOWN: logging.WARNING,
}

_FIELDS = (
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
_LONGEST_READ = 256 * 1024
_LENGTH = 2000
"""Characters of a body, or of a reason, that a line shows."""


class CallLog:
    """Writes each event to a logger, one line for each.

    Requests and replies are `DEBUG`, retries and failures `INFO`, refusals by the rate limit and writes whose fate is
    not known `WARNING`. Keys, signatures, passwords, secrets, tokens, sign-in and backup links are replaced by
    `[redacted]`, in headers, queries and bodies alike; the contents of files, and of replies that are not JSON, are
    left out. A line shows the first 2,000 characters of a body. Records carry the same as attributes whose names begin
    with `panelica_`, such as `panelica_operation`, `panelica_status` and `panelica_duration`, but no body.

    Args:
        logger: Where to write; by default the logger `panelica_async`, to which every client writes by itself.
        redact: Whether secrets are taken out. Without, nothing is, and the log is as secret as the key.
    """

    def __init__(self, logger: logging.Logger = LOGGER, *, redact: bool = True) -> None:
        self._logger = logger
        self._redact = redact

    def __call__(self, event: Event) -> None:
        """Write a line, if the logger wants it."""
        self.write(event, Sanitizer())

    def write(self, event: Event, sanitizer: Sanitizer) -> None:
        """Write a line, if the logger wants it.

        Args:
            event: What happened.
            sanitizer: Knows the secrets of the request, which a reply may quote under any name.
        """
        level = DONE_LEVELS[event.outcome] if isinstance(event, Done) else LEVELS[type(event)]
        if self._logger.isEnabledFor(level):
            operation, what = self._text(event.operation), self._what(event, sanitizer)
            self._logger.log(level, "call %d %s: %s", event.call, operation, what, extra=self._fields(event, operation))

    def _fields(self, event: Event, operation: str) -> dict[str, Any]:
        """Return what a record has as attributes, for formatters that write data and not lines."""
        fields: dict[str, Any] = {"event": type(event).__name__.lower(), "call": event.call, "lane": event.lane}
        fields |= {name: getattr(event, name) for name in _FIELDS if getattr(event, name, None) is not None}
        if isinstance(event, Done | Retried) and event.error is not None:
            fields["error_type"] = type(event.error).__name__
        if isinstance(event, Done) and event.request_id:
            fields["request_id"] = self._text(event.request_id)
        return {f"panelica_{name}": value for name, value in fields.items()} | {"panelica_operation": operation}

    def _what(self, event: Event, sanitizer: Sanitizer) -> str:
        match event:
            case Queued():
                return f"waits for its turn in the {event.lane} lane"
            case Sent():
                return f"attempt {event.attempt} after {event.waited:.3f} s: {self._request(event)}"
            case Throttled():
                asks = "" if event.retry_after is None else f", asks to wait {event.retry_after:g} s"
                window = "" if event.window is None else f" of the {self._text(event.window)}"
                limit = "" if event.limit is None else f" of {event.limit}"
                return f"attempt {event.attempt} was over the limit{limit}{window}{asks}"
            case Retried():
                return f"attempt {event.attempt} failed, again in {event.wait:.1f} s: {self._text(event.reason)}"
            case Done():
                return self._end(event, sanitizer)

    def _request(self, event: Sent) -> str:
        query, headers = event.query, dict(event.headers)
        if self._redact:
            query, headers = redact_query(query), redact_headers(headers)
        target = f"{self._text(event.path)}?{self._text(query)}" if query else self._text(event.path)
        body = "" if event.body is None else f" {self._body(event.body, event.path, Sanitizer())}"
        return f"{event.method} {target} {headers}{body}"

    def _end(self, event: Done, sanitizer: Sanitizer) -> str:
        status = "" if event.status is None else f" with {event.status}"
        facts = [f"{event.outcome}{status} after {event.duration:.3f} s, {event.waited:.3f} s of it in the queue"]
        if event.attempts > 1:
            facts.append(f"{event.attempts} attempts")
        if event.request_id:
            facts.append(f"request id {self._text(event.request_id, sanitizer)}")
        said = [", ".join(facts)]
        if event.error is not None:
            said.append(self._reason(event.error, event.path))
        # The error has the panel's own words, without secrets.
        if event.body and (event.error is None or not self._redact):
            said.append(self._body(event.body, event.path, sanitizer))
        return ": ".join(said)

    def _reason(self, error: BaseException, path: str) -> str:
        if self._redact and path.startswith(FILES) and isinstance(error, PanelicaError):
            # Without the beginning of a reply that could not be read.
            return self._text(f"{type(error).__name__}: {error.message}")
        return self._text(str(error) or type(error).__name__)

    def _body(self, body: bytes, path: str, sanitizer: Sanitizer) -> str:
        if not self._redact:
            return shorten(body[: _LENGTH * 4].decode("utf-8", "replace"), _LENGTH)
        if path.startswith(FILES) or len(body) > _LONGEST_READ:
            return f"[{len(body)} bytes]"
        try:
            data = loads(body)
        except ValueError:
            return f"[{len(body)} bytes that are not JSON]"
        return shorten(json.dumps(sanitizer.data(data), ensure_ascii=False), _LENGTH)

    def _text(self, text: str, sanitizer: Sanitizer | None = None) -> str:
        if not self._redact:
            return shorten(text[: _LENGTH * 4], _LENGTH)
        return (sanitizer or Sanitizer()).text(text, _LENGTH)
