"""Turns a failed reply into an error: its message, its hint, and how long to wait (Retry-After, X-RateLimit-Reset).

All known shapes are read (evidence: error-shapes), and any other. Nothing here raises, whatever a server or a proxy
sends: an error must not hide another.
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
from panelica_async.core.sanitizing import MOST_KEPT, Sanitizer
from panelica_async.core.values import (
    MAX_HEADER_LENGTH,
    header,
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
_KEY = re.compile(r"(?:api)?(?:errors|success)(?:\.\w+)+", re.IGNORECASE)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VALIDATION = re.compile(r"Field validation for '(\w+)' failed on the '(\w+)' tag")
_ALREADY_THERE = re.compile(r"\balready (?:exists|in use|taken)\b", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)
_CHARSET = re.compile(
    r"charset=\"?(iso-8859-\d+|windows-\d+|utf-(?:16|32)(?:[bl]e)?|koi8-[ru]|gb(?:k|2312|18030)|big5|shift_jis|euc-(?:jp|kr))\b",
    re.IGNORECASE,
)
# Statuses of Cloudflare, which are no part of HTTP.
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
# Statuses that a proxy or a web server sends on its own account.
_ON_THE_WAY = {
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
# Characters of a web page that are searched for its title.
_HTML_HEAD = 4096
_MAX_DELAY = 60
"""Seconds that a slow network explains; more is a wrong clock. The panel allows 300 (evidence: clock-window)."""
_DAY = 86_400
_NANOSECONDS = 1e9
"""In a second. Guess: so many seconds are a duration in nanoseconds, as Go writes one in JSON."""
_LATEST = 1e11
"""The year 5138 in Unix seconds, and 1973 in milliseconds."""
_MOST_READ = 65_536
"""Bytes of the body of an error that are looked at."""
# From the general to the particular, the order in which panels fill them. Guess: other frameworks have the rest.
_SENTENCES = ("error", "title", "message", "msg", "detail", "description", "error_description")
_DETAILS = ("details", "errors", "data")
_NOTHING: tuple[JsonValue, ...] = (None, "", [], {})
_LONGEST_SENTENCE = 1000
_LONGEST_NAME = 100


@frozen(kw_only=True)
class Report:
    """What a reply says about a failure, without secrets and cut to what is kept."""

    status: int
    message: str
    code: str | None
    details: Any
    request_id: str | None
    hint: str | None
    retry_after: float | None
    """Seconds the panel asks to wait, from 0; None when it does not say."""
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
            attempts: How many times the request was tried, from 1.
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
        kind = ServerError if self.status >= 500 else _CLASSES.get(self.status, ResponseError)
        return kind(self.message, **fields)


def read_report(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    sanitizer: Sanitizer | None = None,
    *,
    proxy: str | None = None,
    now: float | None = None,
) -> Report:
    """Read what a reply says about a failure. It takes some milliseconds, so call it once a reply.

    Args:
        status: HTTP status; 200 when the body reports the failure.
        headers: Headers of the reply; names are matched in any case.
        body: Body of the reply, of any kind.
        sanitizer: Cleans every text; by default one that knows no secrets of the request.
        proxy: Address of the proxy it came through, if any.
        now: Unix time; the clock of this machine by default.
    """
    sanitizer = sanitizer or Sanitizer()
    now = time.time() if now is None else now
    said = _read(status, headers, body, sanitizer)
    scopes = [sanitizer.text(scope, _LONGEST_NAME) for scope in read_scopes(said.first("required_scope"))]
    # Guess: where one of several scopes will do (evidence: scope-alternatives), they would be named in a list.
    required_scope = " or ".join(scopes) or None
    window = said.text("window")
    hint = _page_hint(status, proxy) if said.is_web_page else _hint(status, headers, said, required_scope, now)
    return Report(
        status=status,
        message=said.message,
        code=said.code,
        details=said.details,
        request_id=_request_id(said, headers, sanitizer),
        hint=hint,
        retry_after=_wait(status, headers, said, now),
        limit=read_count(said.first("limit")),
        window=None if window is None else sanitizer.text(window, _LONGEST_NAME),
        required_scope=required_scope,
        available_scopes=tuple(
            sanitizer.text(item, _LONGEST_NAME) for item in read_scopes(said.first("available_scopes"))
        ),
        lacks_scope=required_scope is not None or "insufficientscope" in (said.code or "").replace("_", "").lower(),
        blames_timestamp=said.blames_timestamp and status == HTTPStatus.UNAUTHORIZED,
        is_json=said.is_json,
    )


@frozen
class _Said:
    """What a reply says in words."""

    message: str
    code: str | None = None
    details: Any = None
    sources: tuple[Mapping[str, JsonValue], ...] = field(default=(), repr=False)
    """The object in the body, and its `error` if that is an object too, as they came."""
    is_web_page: bool = False
    is_json: bool = False

    def first(self, key: str) -> JsonValue:
        """Return the first value under a key that is not null."""
        return next((source[key] for source in self.sources if source.get(key) is not None), None)

    def text(self, key: str) -> str | None:
        """Return the first text under a key that says something."""
        return next(_texts(self.sources, key), None)

    @property
    def blames_timestamp(self) -> bool:
        said = f"{self.code} {self.message}".lower()
        return "timestamp" in said and "missing" not in said


def _read(status: int, headers: Mapping[str, str], body: bytes, sanitizer: Sanitizer) -> _Said:
    if 300 <= status < 400:
        location = header(headers, "Location")
        target = f"; this one points to {sanitizer.text(location, EXCERPT_LENGTH)}" if location else ""
        return _Said(f"redirects are not followed{target}")
    text = _decoded(headers, body[:_MOST_READ]).strip()
    try:
        payload = loads(text.encode())
    except ValueError:
        return _read_text(status, text, sanitizer)
    if isinstance(payload, Mapping):
        return _read_object(status, payload, sanitizer)
    if isinstance(payload, str) and payload.strip():
        return _Said(sanitizer.message(payload) or _phrase(status), is_json=True)
    return _Said(_phrase(status), details=sanitizer.data(payload), is_json=True)


def _read_object(status: int, body: Mapping[str, JsonValue], sanitizer: Sanitizer) -> _Said:
    nested = body.get("error")
    sources = (body, nested) if isinstance(nested, Mapping) else (body,)
    found = [text for key in _SENTENCES for text in _texts(sources, key)]
    has_sentence = any(not _KEY.fullmatch(text) for text in found)
    found += [text for text in _texts(sources, "details") if not has_sentence or _KEY.fullmatch(text)]
    # "Bad Request" says nothing more than the status.
    found = [text for text in dict.fromkeys(found) if text.lower() != _phrase(status).lower()] or found[:1]
    said = [sanitizer.message(text, _LONGEST_SENTENCE) for text in found]
    keys = [text for text in said if _KEY.fullmatch(text)]
    details = next((source[key] for key in _DETAILS for source in sources if source.get(key) not in _NOTHING), None)
    if not said and details is None:
        # It has none of the known fields: show all of it.
        details = {key: value for key, value in body.items() if key != "status"} or None
    code = next(_texts(reversed(sources), "code"), None)
    return _Said(
        message=_message(said) or _phrase(status),
        code=(code and sanitizer.text(code, _LONGEST_NAME)) or (keys[-1] if keys else None),
        details=sanitizer.data(details),
        sources=sources,
        is_json=True,
    )


def _texts(sources: Iterable[Mapping[str, JsonValue]], key: str) -> Iterator[str]:
    """Yield the texts under a key that are not blank, one a source. Guess: several texts may stand in a list."""
    for source in sources:
        value = source.get(key)
        if isinstance(value, list):
            value = "; ".join(item for item in value if isinstance(item, str))
        if isinstance(value, str) and value.strip():
            yield value.strip()


def _read_text(status: int, text: str, sanitizer: Sanitizer) -> _Said:
    if not text:
        return _Said(f"{_phrase(status)}, with an empty reply")
    shown = sanitizer.text(text, EXCERPT_LENGTH)
    if text.startswith("<"):
        title = _HTML_TITLE.search(text, 0, _HTML_HEAD)
        heading = sanitizer.text(title[1], EXCERPT_LENGTH) if title else ""
        return _Said(f"{heading or _phrase(status)}, a web page instead of JSON", details=shown, is_web_page=True)
    if text.startswith(("{", "[")):
        return _Said(f"{_phrase(status)}, with broken JSON", details=shown)
    return _Said(shown or f"{_phrase(status)}, with a reply that is not text")


def _message(said: list[str]) -> str:
    """Join what is said from the first sentence on, and put keys into words; keys before a sentence add nothing."""
    start = next((index for index, text in enumerate(said) if not _KEY.fullmatch(text)), 0)
    *general, particular = [_in_words(text) if _KEY.fullmatch(text) else text for text in said[start:]] or [""]
    return ": ".join(dict.fromkeys([*(text.removesuffix(".") for text in general), particular]))[:MOST_KEPT]


def _in_words(key: str) -> str:
    """Put a key into words: `apiErrors.external.email.createFailed` is "email create failed"."""
    parts = key.split(".")
    return " ".join(_WORD_START.sub(" ", part).lower() for part in parts[2:] or parts[1:])


def _phrase(status: int) -> str:
    if status < 200:
        return "this is not the status of a final reply"
    try:
        return HTTPStatus(status).phrase if status >= 400 else "the panel reports an error without a reason"
    except ValueError:
        return _CLOUDFLARE.get(status, "the panel answered with an unknown status")


def _request_id(said: _Said, headers: Mapping[str, str], sanitizer: Sanitizer) -> str | None:
    named = said.text("request_id")
    text = printable_header(named) or printable_header(header(headers, "X-Request-Id"))
    return None if text is None else sanitizer.text(text, MAX_HEADER_LENGTH)


def _page_hint(status: int, proxy: str | None) -> str | None:
    """Return what to do about a web page, which is not the API's own."""
    if proxy and status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return hints.WEB_PAGE_OF_PROXY.format(proxy=proxy)
    is_misdirected = status < 500 and status not in _ON_THE_WAY
    return hints.WEB_PAGE if is_misdirected else hints.for_response(status, None)


def _hint(status: int, headers: Mapping[str, str], said: _Said, required_scope: str | None, now: float) -> str | None:
    words = f"{said.message} {said.details}"
    if 300 <= status < 400:
        return hints.REDIRECT
    if status == 403 and required_scope:
        return hints.MISSING_SCOPE.format(scope=required_scope)
    if invalid := _VALIDATION.findall(words):
        fields = [f"{_WORD_START.sub('_', field).lower()} ({tag})" for field, tag in dict.fromkeys(invalid)]
        return hints.INVALID_FIELDS.format(fields=", ".join(fields))
    date = read_date(headers)
    if status == 401 and said.blames_timestamp and date is not None:
        if abs(now - date) < _MAX_DELAY:
            return hints.CLOCKS_AGREE
        return hints.CLOCK.format(skew=round(abs(now - date)), direction="ahead of" if now > date else "behind")
    if status == 400 and _ALREADY_THERE.search(words):
        # A taken e-mail address is a 400, not a 409 (evidence: duplicate-email).
        return hints.ALREADY_THERE
    return hints.for_response(status, said.code)


def _wait(status: int, headers: Mapping[str, str], said: _Said, now: float) -> float | None:
    """Return how long the panel asks to wait, in seconds from 0; None when it does not say.

    The first of these counts: `retry_after` in the body or its `error`, `reset_at` likewise, the header
    Retry-After, and for a 429 the header X-RateLimit-Reset-Minute (evidence: rate-limit-reply). Points in time are
    compared with the Date header of the reply, so that a wrong clock here does no harm, otherwise with `now`.
    """
    date = read_date(headers)
    clock = now if date is None else date
    asked = header(headers, "Retry-After")
    reset = header(headers, "X-RateLimit-Reset-Minute") if status == 429 else None
    span = read_seconds(said.first("retry_after"))
    if span is not None and span >= _NANOSECONDS:
        span /= _NANOSECONDS
    waits = (
        span,
        _until(read_unix_time(said.first("reset_at")), clock),
        read_seconds(asked),
        _until(parse_http_date(asked or ""), clock),
        _until(read_seconds(reset), clock),
    )
    return next((max(0.0, wait) for wait in waits if wait is not None), None)


def _until(moment: float | None, clock: float) -> float | None:
    """Return the seconds until a point in Unix time.

    Guess: a number too small for one is the seconds themselves, as other APIs write them, and one too large is in
    milliseconds.
    """
    if moment is None or 0 < moment <= _DAY:
        return moment
    return (moment / 1000 if moment > _LATEST else moment) - clock


def _decoded(headers: Mapping[str, str], body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        charset = _CHARSET.search(header(headers, "Content-Type") or "")
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
