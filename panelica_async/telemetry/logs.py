"""Events as lines of a log, with every secret taken out."""

import json
import logging

from panelica_async.core.json_codec import loads
from panelica_async.core.redaction import excerpt, redact, redact_headers, redact_text, shorten
from panelica_async.telemetry.events import Done, Event, Outcome, Queued, Retried, Sent, Throttled

LOGGER = logging.getLogger("panelica_async")
"""Where every client logs; set its level to `DEBUG` to see each request and reply."""

_BODY_LENGTH = 2000
"""Characters of a body that a line shows."""
_FILES = "/v1/files"
"""What is in a customer's file may be anything, a password too, and nothing says where."""
_DONE_LEVELS = {
    Outcome.SUCCEEDED: logging.DEBUG,
    Outcome.CANCELLED: logging.DEBUG,
    Outcome.FAILED: logging.INFO,
    Outcome.UNKNOWN: logging.WARNING,
}


class CallLog:
    """Writes each event to a logger.

    Requests and replies are `DEBUG`, retries and failures `INFO`, refusals by the rate limit and writes whose fate is
    not known `WARNING`. Keys, signatures, passwords, secrets, tokens, sign-in and backup links are replaced by
    `[redacted]`, in headers, queries and bodies alike; the contents of files are left out.

    Args:
        logger: Where to write; by default the logger `panelica_async`, to which every client writes by itself.
        redact: Whether secrets are taken out. Without, the log is as secret as the key.
    """

    def __init__(self, logger: logging.Logger = LOGGER, *, redact: bool = True) -> None:
        self._logger = logger
        self._redact = redact

    def __call__(self, event: Event) -> None:
        """Write a line, if the logger wants it."""
        level = _level(event)
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", self._line(event))

    def _line(self, event: Event) -> str:
        what = f"call {event.call} {event.operation}"
        match event:
            case Queued():
                return f"{what}: waits for its turn in the {event.lane} lane"
            case Sent():
                return f"{what}: attempt {event.attempt} after {event.waited:.3f} s: {self._request(event)}"
            case Throttled():
                asks = "" if event.retry_after is None else f", asks to wait {event.retry_after:g} s"
                window = "" if event.window is None else f" of the {event.window}"
                limit = "" if event.limit is None else f" of {event.limit}"
                return f"{what}: attempt {event.attempt} was over the limit{limit}{window}{asks}"
            case Retried():
                return (
                    f"{what}: attempt {event.attempt} failed, again in {event.wait:.1f} s: {self._text(event.reason)}"
                )
            case Done():
                return f"{what}: {self._end(event)}"

    def _request(self, event: Sent) -> str:
        target = f"{event.path}?{self._text(event.query)}" if event.query else event.path
        headers = redact_headers(event.headers) if self._redact else dict(event.headers)
        body = "" if event.body is None else f" {self._body(event.body, event.path)}"
        return f"{event.method} {target} {headers}{body}"

    def _end(self, event: Done) -> str:
        status = "" if event.status is None else f" with {event.status}"
        facts = f"{event.outcome}{status} after {event.duration:.3f} s, {event.waited:.3f} s of it in the queue"
        attempts = f", {event.attempts} attempts" if event.attempts > 1 else ""
        request_id = f", request id {event.request_id}" if event.request_id else ""
        if event.error is not None:
            # The body is the panel's own words for the error, which has them without secrets.
            reason = str(event.error) or type(event.error).__name__
            return f"{facts}{attempts}{request_id}: {self._text(reason)}"
        return f"{facts}{attempts}{request_id}: {self._body(event.body, event.path)}"

    def _body(self, body: bytes, path: str) -> str:
        if not self._redact:
            return shorten(body.decode("utf-8", "replace"), _BODY_LENGTH)
        if path.startswith(_FILES):
            return f"[{len(body)} bytes]"
        try:
            data = loads(body)
        except ValueError:
            return excerpt(body, _BODY_LENGTH)
        return shorten(json.dumps(redact(data), ensure_ascii=False), _BODY_LENGTH)

    def _text(self, text: str) -> str:
        return redact_text(text) if self._redact else text


def _level(event: Event) -> int:
    match event:
        case Throttled():
            return logging.WARNING
        case Retried():
            return logging.INFO
        case Done():
            return _DONE_LEVELS[event.outcome]
        case _:
            return logging.DEBUG
