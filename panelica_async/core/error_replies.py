"""Turns a failed reply into an error: its message, its hint, and how long to wait (Retry-After, X-RateLimit-Reset).

Reads all known shapes (evidence: error-shapes), and makes the best of any other. Nothing here raises, whatever a server
or a proxy sends: one error must not hide another.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from panelica_async.core import hints
from panelica_async.core.json_codec import JsonValue, loads
from panelica_async.core.redaction import EXCERPT_LENGTH
from panelica_async.core.sanitizing import MAX_KEPT_LENGTH, Sanitizer
from panelica_async.core.values import (
    MAX_HEADER_LENGTH,
    find_header,
    parse_http_date,
    printable_header,
    read_count,
    read_date,
    read_scopes,
    read_seconds,
    read_unix_time,
)
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

# "apiErrors.users.emailAlreadyExists": a translation is missing (evidence: error-keys).
_TRANSLATION_KEY = re.compile(r"(?:api)?(?:errors|success)(?:\.\w+)+", re.IGNORECASE)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VALIDATION_FAILURE = re.compile(r"Field validation for '(\w+)' failed on the '(\w+)' tag")
_ALREADY_EXISTS = re.compile(r"\balready (?:exists|in use|taken)\b", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)
_CHARSET = re.compile(
    r"charset=\"?(iso-8859-\d+|windows-\d+|utf-(?:16|32)(?:[bl]e)?|koi8-[ru]|gb(?:k|2312|18030)|big5|shift_jis|euc-(?:jp|kr))\b",
    re.IGNORECASE,
)
# Statuses of Cloudflare that are not part of HTTP.
_CLOUDFLARE = {
    520: "Web Server Returned an Unknown Error",
    521: "Web Server Is Down",
    522: "Connection Timed Out",
    523: "Origin Is Unreachable",
    524: "A Timeout Occurred",
    525: "TLS Handshake Failed",
    526: "Invalid TLS Certificate",
    530: "Origin Has No Address",
}
# Statuses that a proxy or a web server sends on its own.
_PROXY_STATUSES = {
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
# Characters of a web page that are searched for its title.
_MAX_HEAD_LENGTH = 4096
_MAX_NETWORK_DELAY = 60
"""Seconds that a slow network explains; more is a wrong clock. The panel allows 300 (evidence: clock-window)."""
_DAY = 86_400
_NANOSECONDS = 1e9
"""Nanoseconds in a second. Guess: a larger number of seconds is a duration in nanoseconds, as Go writes it in JSON."""
_MAX_UNIX_SECONDS = 1e11
"""The year 5138 in Unix seconds, and 1973 in milliseconds."""
_MAX_BODY_LENGTH = 65_536
"""Bytes of the body of an error that are read."""
# From the general to the particular: panels fill them in this order. Guess: the other names come from other frameworks.
_MESSAGE_NAMES = ("error", "title", "message", "msg", "detail", "description", "error_description")
_DETAIL_NAMES = ("details", "errors", "data")
_EMPTY: tuple[JsonValue, ...] = (None, "", [], {})
_MAX_SENTENCE_LENGTH = 1000
_MAX_NAME_LENGTH = 100


@frozen(kw_only=True)
class FailureReport:
    """What a reply says about a failure, without secrets and of bounded length."""

    status: int
    message: str
    code: str | None
    details: Any
    request_id: str | None
    hint: str | None
    retry_after: float | None
    """Seconds that the panel asks to wait, never negative; None if it does not say."""
    limit: int | None
    window: str | None
    required_scope: str | None
    available_scopes: tuple[str, ...]
    lacks_scope: bool
    blames_timestamp: bool
    """Whether the request was refused because of its timestamp (one of two codes, evidence: auth-codes)."""
    is_json: bool

    def error(self, *, method: str, path: str, attempts: int = 1) -> ResponseError:
        """Return the error for this report.

        Args:
            method: Method of the request.
            path: Path of the request as in the API reference.
            attempts: How many times the request was tried, at least 1.
        """
        fields: ResponseFields = {
            "status": self.status,
            "code": self.code,
            "details": self.details,
            "request_id": self.request_id,
            "method": method,
            "path": path,
            "attempts": attempts,
            "from_panel": self.is_json,
            "hint": self.hint,
        }
        if self.status == 429:
            return RateLimitedError(
                self.message, retry_after=self.retry_after, limit=self.limit, window=self.window, **fields
            )
        if self.status == 403 and self.lacks_scope:
            return MissingScopeError(
                self.message, required_scope=self.required_scope, available_scopes=self.available_scopes, **fields
            )
        error_class = ServerError if self.status >= 500 else _CLASSES.get(self.status, ResponseError)
        return error_class(self.message, **fields)


def read_report(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    sanitizer: Sanitizer | None = None,
    *,
    proxy: str | None = None,
    now: float | None = None,
) -> FailureReport:
    """Read what a reply says about a failure. This takes some milliseconds: call it once per reply.

    Args:
        status: HTTP status; 200 when the body reports the failure.
        headers: Headers of the reply, with names in any case.
        body: Body of the reply, of any kind.
        sanitizer: Cleans every text; the default knows no secrets of the request.
        proxy: Address of the proxy that the reply came through, if any.
        now: Unix time; the clock of this machine by default.
    """
    sanitizer = sanitizer or Sanitizer()
    now = time.time() if now is None else now
    failure = _read_failure(status, headers, body, sanitizer)
    # Guess: where any of several scopes will do (evidence: scope-alternatives), the reply would list them.
    required_scope = " or ".join(_clean_scopes(failure, "required_scope", sanitizer)) or None
    window = failure.first_text("window")
    if failure.is_web_page:
        hint = _web_page_hint(status, proxy)
    else:
        hint = _hint(status, headers, failure, required_scope, now)
    bare_code = (failure.code or "").replace("_", "").lower()
    return FailureReport(
        status=status,
        message=failure.message,
        code=failure.code,
        details=failure.details,
        request_id=_request_id(failure, headers, sanitizer),
        hint=hint,
        retry_after=_requested_wait(status, headers, failure, now),
        limit=read_count(failure.first_value("limit")),
        window=None if window is None else sanitizer.clean_text(window, _MAX_NAME_LENGTH),
        required_scope=required_scope,
        available_scopes=_clean_scopes(failure, "available_scopes", sanitizer),
        lacks_scope=required_scope is not None or "insufficientscope" in bare_code,
        blames_timestamp=failure.blames_timestamp and status == HTTPStatus.UNAUTHORIZED,
        is_json=failure.is_json,
    )


@frozen
class _Failure:
    """What the body of a reply says about a failure."""

    message: str
    code: str | None = None
    details: Any = None
    sources: tuple[Mapping[str, JsonValue], ...] = field(default=(), repr=False)
    """The object in the body, and its `error` if that is an object too, both as received."""
    is_web_page: bool = False
    is_json: bool = False

    def first_value(self, key: str) -> JsonValue:
        """Return the first value of a key that is not null."""
        return next((source[key] for source in self.sources if source.get(key) is not None), None)

    def first_text(self, key: str) -> str | None:
        """Return the first text of a key that is not blank."""
        return next(_texts(self.sources, key), None)

    @property
    def blames_timestamp(self) -> bool:
        text = f"{self.code} {self.message}".lower()
        return "timestamp" in text and "missing" not in text


def _read_failure(status: int, headers: Mapping[str, str], body: bytes, sanitizer: Sanitizer) -> _Failure:
    if 300 <= status < 400:
        location = find_header(headers, "Location")
        target = f"; this one points to {sanitizer.clean_text(location, EXCERPT_LENGTH)}" if location else ""
        return _Failure(f"redirects are not followed{target}")
    text = _decode(headers, body[:_MAX_BODY_LENGTH]).strip()
    try:
        payload = loads(text.encode())
    except ValueError:
        return _failure_in_text(status, text, sanitizer)
    if isinstance(payload, Mapping):
        return _failure_in_object(status, payload, sanitizer)
    if isinstance(payload, str) and payload.strip():
        return _Failure(sanitizer.clean_message(payload) or _status_phrase(status), is_json=True)
    return _Failure(_status_phrase(status), details=sanitizer.clean_data(payload), is_json=True)


def _failure_in_object(status: int, body: Mapping[str, JsonValue], sanitizer: Sanitizer) -> _Failure:
    nested = body.get("error")
    sources = (body, nested) if isinstance(nested, Mapping) else (body,)
    texts = [text for name in _MESSAGE_NAMES for text in _texts(sources, name)]
    has_sentence = any(not _TRANSLATION_KEY.fullmatch(text) for text in texts)
    texts += [text for text in _texts(sources, "details") if not has_sentence or _TRANSLATION_KEY.fullmatch(text)]
    # "Bad Request" says nothing more than the status.
    texts = [text for text in dict.fromkeys(texts) if text.lower() != _status_phrase(status).lower()] or texts[:1]
    texts = [sanitizer.clean_message(text, _MAX_SENTENCE_LENGTH) for text in texts]
    keys = [text for text in texts if _TRANSLATION_KEY.fullmatch(text)]
    details = next(
        (source[name] for name in _DETAIL_NAMES for source in sources if source.get(name) not in _EMPTY), None
    )
    if not texts and details is None:
        # The body has none of the known fields: show all of it.
        details = {key: value for key, value in body.items() if key != "status"} or None
    code = next(_texts(reversed(sources), "code"), None)
    return _Failure(
        message=_join(texts) or _status_phrase(status),
        code=(code and sanitizer.clean_text(code, _MAX_NAME_LENGTH)) or (keys[-1] if keys else None),
        details=sanitizer.clean_data(details),
        sources=sources,
        is_json=True,
    )


def _texts(sources: Iterable[Mapping[str, JsonValue]], key: str) -> Iterator[str]:
    """Yield the text of a key in each source, unless it is blank. Guess: a list may hold several texts."""
    for source in sources:
        value = source.get(key)
        if isinstance(value, list):
            value = "; ".join(item for item in value if isinstance(item, str))
        if isinstance(value, str) and value.strip():
            yield value.strip()


def _failure_in_text(status: int, text: str, sanitizer: Sanitizer) -> _Failure:
    if not text:
        return _Failure(f"{_status_phrase(status)}, with an empty reply")
    clean_text = sanitizer.clean_text(text, EXCERPT_LENGTH)
    if text.startswith("<"):
        title = _HTML_TITLE.search(text, 0, _MAX_HEAD_LENGTH)
        heading = sanitizer.clean_text(title[1], EXCERPT_LENGTH) if title else ""
        message = f"{heading or _status_phrase(status)}, a web page instead of JSON"
        return _Failure(message, details=clean_text, is_web_page=True)
    if text.startswith(("{", "[")):
        return _Failure(f"{_status_phrase(status)}, with broken JSON", details=clean_text)
    return _Failure(clean_text or f"{_status_phrase(status)}, with a reply that is not text")


def _join(texts: list[str]) -> str:
    """Join texts from the first sentence on, with keys in words; keys before the first sentence add nothing to it."""
    start = next((index for index, text in enumerate(texts) if not _TRANSLATION_KEY.fullmatch(text)), 0)
    sentences = [_key_in_words(text) if _TRANSLATION_KEY.fullmatch(text) else text for text in texts[start:]]
    *general, particular = sentences or [""]
    return ": ".join(dict.fromkeys([*(text.removesuffix(".") for text in general), particular]))[:MAX_KEPT_LENGTH]


def _key_in_words(key: str) -> str:
    """Put a key into words: `apiErrors.external.email.createFailed` is "email create failed"."""
    parts = key.split(".")
    return " ".join(_WORD_START.sub(" ", part).lower() for part in parts[2:] or parts[1:])


def _status_phrase(status: int) -> str:
    if status < 200:
        return "this is not the status of a final reply"
    try:
        return HTTPStatus(status).phrase if status >= 400 else "the panel reports an error without a reason"
    except ValueError:
        return _CLOUDFLARE.get(status, "the panel answered with an unknown status")


def _clean_scopes(failure: _Failure, key: str, sanitizer: Sanitizer) -> tuple[str, ...]:
    return tuple(sanitizer.clean_text(scope, _MAX_NAME_LENGTH) for scope in read_scopes(failure.first_value(key)))


def _request_id(failure: _Failure, headers: Mapping[str, str], sanitizer: Sanitizer) -> str | None:
    text = printable_header(failure.first_text("request_id")) or printable_header(find_header(headers, "X-Request-Id"))
    return None if text is None else sanitizer.clean_text(text, MAX_HEADER_LENGTH)


def _web_page_hint(status: int, proxy: str | None) -> str | None:
    """Return what to do about a web page, which the API itself never sends."""
    if proxy and status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return hints.WEB_PAGE_OF_PROXY.format(proxy=proxy)
    is_misdirected = status < 500 and status not in _PROXY_STATUSES
    return hints.WEB_PAGE if is_misdirected else hints.for_response(status, None)


def _hint(
    status: int, headers: Mapping[str, str], failure: _Failure, required_scope: str | None, now: float
) -> str | None:
    words = f"{failure.message} {failure.details}"
    if 300 <= status < 400:
        return hints.REDIRECT
    if status == 403 and required_scope:
        return hints.MISSING_SCOPE.format(scope=required_scope)
    if invalid := _VALIDATION_FAILURE.findall(words):
        fields = [f"{_WORD_START.sub('_', field).lower()} ({tag})" for field, tag in dict.fromkeys(invalid)]
        return hints.INVALID_FIELDS.format(fields=", ".join(fields))
    date = read_date(headers)
    if status == 401 and failure.blames_timestamp and date is not None:
        if abs(now - date) < _MAX_NETWORK_DELAY:
            return hints.CLOCKS_AGREE
        return hints.CLOCK.format(skew=round(abs(now - date)), direction="ahead of" if now > date else "behind")
    if status == 400 and _ALREADY_EXISTS.search(words):
        # A taken email address is a 400, not a 409 (evidence: duplicate-email).
        return hints.ALREADY_EXISTS
    return hints.for_response(status, failure.code)


def _requested_wait(status: int, headers: Mapping[str, str], failure: _Failure, now: float) -> float | None:
    """Return how many seconds the panel asks to wait, never negative; None if it does not say.

    The first of these counts: `retry_after` in the body or its `error`, `reset_at` likewise, the header
    Retry-After, and for a 429 the header X-RateLimit-Reset-Minute (evidence: rate-limit-reply). Points in time are
    compared with the Date header of the reply, so that a wrong clock here does no harm; without one, with `now`.
    """
    date = read_date(headers)
    panel_time = now if date is None else date
    retry_after = find_header(headers, "Retry-After")
    reset = find_header(headers, "X-RateLimit-Reset-Minute") if status == 429 else None
    seconds = read_seconds(failure.first_value("retry_after"))
    if seconds is not None and seconds >= _NANOSECONDS:
        seconds /= _NANOSECONDS
    waits = (
        seconds,
        _seconds_until(read_unix_time(failure.first_value("reset_at")), panel_time),
        read_seconds(retry_after),
        _seconds_until(parse_http_date(retry_after or ""), panel_time),
        _seconds_until(read_seconds(reset), panel_time),
    )
    return next((max(0.0, wait) for wait in waits if wait is not None), None)


def _seconds_until(unix_time: float | None, now: float) -> float | None:
    """Return the seconds until a point in Unix time.

    Guess: a number too small for a Unix time is already a number of seconds, as other APIs write it, and one too large
    is in milliseconds.
    """
    if unix_time is None or 0 < unix_time <= _DAY:
        return unix_time
    return (unix_time / 1000 if unix_time > _MAX_UNIX_SECONDS else unix_time) - now


def _decode(headers: Mapping[str, str], body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        charset = _CHARSET.search(find_header(headers, "Content-Type") or "")
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
