"""From a reply that reports a failure to the error that says so: all shapes of panel-facts B.4, and worse.

Nothing here raises, whatever a server or a proxy sends: an error that hides another error helps nobody.
"""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from attrs import frozen

from panelica_async.core import hints
from panelica_async.core.dates import http_date, unix_time
from panelica_async.core.json_codec import JsonValue, loads
from panelica_async.core.redaction import excerpt, redact, redact_text
from panelica_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MissingScopeError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ResponseError,
    ResponseFields,
    ServerError,
)

_CLASSES: Mapping[int, type[ResponseError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: BadRequestError,
}

# "apiErrors.users.emailAlreadyExists": a translation is missing (panel-facts B.4, rows 2 to 4 and 9).
_KEY = re.compile(r"(?:api)?(?:errors|success)(?:\.\w+)+", re.IGNORECASE)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VALIDATION = re.compile(r"Field validation for '(\w+)' failed on the '(\w+)' tag")
_ALREADY_THERE = re.compile(r"\balready (?:exists|in use|taken)\b", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)
_CHARSET = re.compile(r"charset=\"?(iso-8859-\d+|windows-\d+|utf-(?:16|32)(?:[bl]e)?)\b", re.IGNORECASE)
# What a proxy and a web server say by themselves, and rightly so.
_ON_THE_WAY = {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
# Characters of a web page that are searched for its title.
_HTML_HEAD = 4096

# The panel tolerates 300 s (panel-facts A.5); less than this is delay on the way, not a wrong clock.
_NOTABLE_SKEW = 60


def error_from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    path: str,
    attempts: int = 1,
    now: float | None = None,
) -> ResponseError:
    """Make the error for a reply that is not a success.

    Args:
        status: HTTP status; 200 when the body reports the failure.
        headers: Headers of the reply; names are matched in any case.
        body: Body of the reply, of any kind.
        method: Method of the request.
        path: Path of the request as in the API reference.
        attempts: How many times the request was tried, from 1.
        now: Unix time; the clock of this machine by default.
    """
    now = time.time() if now is None else now
    report = _read(status, headers, body)
    fields: ResponseFields = {
        "status": status,
        "code": report.code,
        "details": report.details,
        "request_id": report.text("request_id") or _header(headers, "X-Request-Id"),
        "method": method,
        "path": path,
        "attempts": attempts,
        "from_panel": report.is_json,
        "hint": _hint(status, headers, report, now),
    }
    if status == 429:
        return RateLimitedError(
            report.message,
            retry_after=_wait(status, headers, report, now),
            limit=_whole(report.first("limit")),
            window=report.text("window"),
            **fields,
        )
    if status == 403 and report.lacks_scope:
        return MissingScopeError(
            report.message,
            required_scope=report.required_scope,
            available_scopes=_scopes(report.first("available_scopes")),
            **fields,
        )
    kind = ServerError if status >= 500 else _CLASSES.get(status, ResponseError)
    return kind(report.message, **fields)


def retry_after(status: int, headers: Mapping[str, str], body: bytes, now: float | None = None) -> float | None:
    """Tell how long the panel asks to wait, in seconds from 0; None when it does not say.

    The first that is given counts: `retry_after` in the body or its `error`, `reset_at` likewise, the header
    Retry-After, and for a 429 the header X-RateLimit-Reset-Minute (panel-facts B.6). Points in time are
    compared with the Date header of the reply, so that a wrong clock here does no harm, else with `now`.

    Args:
        status: HTTP status.
        headers: Headers of the reply; names are matched in any case.
        body: Body of the reply.
        now: Unix time; the clock of this machine by default.
    """
    return _wait(status, headers, _read(status, headers, body), time.time() if now is None else now)


def blames_timestamp(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a reply refuses a request because of its timestamp (panel-facts A.5 has two codes for that).

    Args:
        status: HTTP status.
        headers: Headers of the reply; names are matched in any case.
        body: Body of the reply.
    """
    return status == HTTPStatus.UNAUTHORIZED and _read(status, headers, body).blames_timestamp


@frozen
class _Report:
    """What a reply says about the failure."""

    message: str
    code: str | None = None
    details: Any = None
    sources: tuple[Mapping[str, JsonValue], ...] = ()
    """The object in the body, and its `error` if that is an object too."""
    is_web_page: bool = False
    is_json: bool = False

    def first(self, key: str) -> JsonValue:
        """Return the first value under a key that is not null."""
        return next((source[key] for source in self.sources if source.get(key) is not None), None)

    def text(self, key: str) -> str | None:
        """Return the first text under a key that says something."""
        return next(_texts(self.sources, key), None)

    @property
    def required_scope(self) -> str | None:
        # Guess: where one of several scopes will do (panel-facts C.1), they would be named in a list.
        return " or ".join(_scopes(self.first("required_scope"))) or None

    @property
    def blames_timestamp(self) -> bool:
        return "timestamp" in f"{self.code} {self.message}".lower()

    @property
    def lacks_scope(self) -> bool:
        code = (self.code or "").replace("_", "").lower()
        return self.required_scope is not None or "insufficientscope" in code


def _read(status: int, headers: Mapping[str, str], body: bytes) -> _Report:
    if 300 <= status < 400:
        location = _header(headers, "Location")
        target = f"; this one points to {redact_text(location)}" if location else ""
        return _Report(f"redirects are not followed{target}")
    text = _decoded(headers, body).strip()
    try:
        payload = loads(text.encode())
    except ValueError:
        return _read_text(status, text)
    if isinstance(payload, Mapping):
        return _read_object(status, payload)
    if isinstance(payload, str) and payload.strip():
        return _Report(redact_text(payload.strip()), is_json=True)
    return _Report(_phrase(status), details=redact(payload), is_json=True)


def _read_object(status: int, body: Mapping[str, JsonValue]) -> _Report:
    nested = body.get("error")
    sources = (body, nested) if isinstance(nested, Mapping) else (body,)
    # From the general to the particular, the order in which panels fill them.
    said = [text for key in ("error", "message", "details") for text in _texts(sources, key)]
    keys = [text for text in said if _KEY.fullmatch(text)]
    details = next((source["details"] for source in sources if source.get("details") is not None), None)
    if not said and details is None:
        # Nothing known is in there: show what is.
        details = {key: value for key, value in body.items() if key != "status"} or None
    return _Report(
        message=redact_text(_message(said)) or _phrase(status),
        code=next(_texts(reversed(sources), "code"), None) or (keys[-1] if keys else None),
        details=redact(details),
        sources=sources,
        is_json=True,
    )


def _read_text(status: int, text: str) -> _Report:
    if not text:
        return _Report(f"{_phrase(status)}, with an empty reply")
    if text.startswith("<"):
        title = _HTML_TITLE.search(text, 0, _HTML_HEAD)
        shown = excerpt(title[1]) if title else _phrase(status)
        return _Report(f"{shown}, a web page instead of JSON", details=excerpt(text), is_web_page=True)
    if text.startswith(("{", "[")):
        return _Report(f"{_phrase(status)}, with broken JSON", details=excerpt(text))
    return _Report(excerpt(text) or f"{_phrase(status)}, with a reply that is not text")


def _message(said: list[str]) -> str:
    """Choose the first sentence, wherever it stands, and put keys that follow it, or else all, into words."""
    start = next((index for index, text in enumerate(said) if not _KEY.fullmatch(text)), None)
    if start is None:
        return ": ".join(dict.fromkeys(map(_in_words, said)))
    keys = [text for text in said[start + 1 :] if _KEY.fullmatch(text)]
    return ": ".join(dict.fromkeys([said[start], *map(_in_words, keys)]))


def _in_words(key: str) -> str:
    """Put a key into words: `apiErrors.external.email.createFailed` is "email create failed"."""
    parts = key.split(".")
    return " ".join(_WORD_START.sub(" ", part).lower() for part in parts[2:] or parts[1:])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase if status >= 400 else "the panel reports an error without a reason"
    except ValueError:
        return "the panel answered with an unknown status"


def _hint(status: int, headers: Mapping[str, str], report: _Report, now: float) -> str | None:
    said = f"{report.message} {report.details}"
    if 300 <= status < 400:
        return hints.REDIRECT
    if status == 403 and report.required_scope:
        return hints.MISSING_SCOPE.format(scope=report.required_scope)
    if invalid := _VALIDATION.findall(said):
        fields = [f"{_WORD_START.sub('_', field).lower()} ({tag})" for field, tag in dict.fromkeys(invalid)]
        return hints.INVALID_FIELDS.format(fields=", ".join(fields))
    if status == 401 and report.blames_timestamp and (skew := _skew(headers, now)):
        return hints.CLOCK.format(skew=abs(skew), direction="ahead of" if skew > 0 else "behind")
    if status == 400 and _ALREADY_THERE.search(said):
        # "Duplicate email is 400, not 409" (panel-facts G.15).
        return hints.ALREADY_THERE
    if report.is_web_page and status < 500 and status not in _ON_THE_WAY:
        return hints.WEB_PAGE
    return hints.for_response(status, report.code)


def _wait(status: int, headers: Mapping[str, str], report: _Report, now: float) -> float | None:
    date = _date(headers)
    clock = now if date is None else date
    asked = _header(headers, "Retry-After")
    reset = _header(headers, "X-RateLimit-Reset-Minute") if status == 429 else None
    waits = (
        _number(report.first("retry_after")),
        _until(_moment(report.first("reset_at")), clock),
        _number(asked),
        _until(http_date(asked or ""), clock),
        _until(_number(reset), clock),
    )
    return next((max(0.0, wait) for wait in waits if wait is not None), None)


def _skew(headers: Mapping[str, str], now: float) -> int | None:
    """Seconds this machine's clock is ahead of the panel's, when it is notably off."""
    date = _date(headers)
    return None if date is None or abs(now - date) < _NOTABLE_SKEW else round(now - date)


def _until(moment: float | None, clock: float) -> float | None:
    return None if moment is None else moment - clock


def _moment(value: JsonValue) -> float | None:
    """Read a point in time, RFC 3339 or Unix seconds, as Unix seconds."""
    number = _number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        return unix_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def _date(headers: Mapping[str, str]) -> float | None:
    """Read the time of the panel, or of the web server before it."""
    return http_date(_header(headers, "Date") or "")


def _number(value: JsonValue) -> float | None:
    # "Numbers may come as text" (panel-facts B.3).
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: JsonValue) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _scopes(value: JsonValue) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _texts(sources: Iterable[Mapping[str, JsonValue]], key: str) -> Iterator[str]:
    """Yield the texts under a key that say something."""
    for source in sources:
        value = source.get(key)
        if isinstance(value, str) and value.strip():
            yield value.strip()


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def _decoded(headers: Mapping[str, str], body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        charset = _CHARSET.search(_header(headers, "Content-Type") or "")
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
