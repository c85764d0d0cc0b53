"""Requests, responses and errors as plain values, free of any HTTP library.

Each dialect writes an `ApiError` in its own form. A `CustomBodyError` brings the whole body, in one of the shapes that
were seen on current panels (evidence: error-shapes). Where an entry is cited, the shape is known; elsewhere it is a
guess, and the guesses cover all shapes so that a client meets each of them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

PREFIX = "/api/external"
"""Public prefix of the paths; the web server in front of the API removes it (evidence: address-prefix)."""
NOT_FOUND = "NOT_FOUND"
INTERNAL_ERROR = "INTERNAL_ERROR"

_INITIALISMS = frozenset({"dns", "ftp", "id", "ip", "mb", "php", "ssl", "url"})


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request as it was received."""

    method: str
    raw_path: str
    """Percent-encoded, with the public prefix if it was sent."""
    raw_query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    """Case-insensitive if the mapping is."""
    body: bytes = attrs.field(default=b"", repr=False)
    remote: str | None = None
    """IP address of the client."""


@attrs.frozen(kw_only=True)
class HttpResponse:
    """A response before it is encoded."""

    status: int
    data: Any = attrs.field(default=None, repr=False)
    """Body as JSON-like data, or bytes to send as they are; a 204 has none."""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    operation: str | None = None
    """The operation, such as `domains.create`; None if the path is unknown."""


@attrs.frozen
class UploadedFile:
    """A file of a multipart form."""

    name: str
    content: bytes = attrs.field(repr=False)


class ApiError(Exception):
    """The panel refuses a request.

    Attributes:
        status: HTTP status.
        code: Machine-readable code.
        message: What went wrong, in a sentence.
        details: More about this case; may be empty.
        fields: Further fields of the body, such as `required_scope`.
        headers: Headers of the reply, such as `Retry-After`.
        subject: Kind of the missing object, such as `domain`, or the plan limit reached, such as `max_domains`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: str = "",
        *,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        subject: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.fields: Mapping[str, Any] = fields or {}
        self.headers: Mapping[str, str] = headers or {}
        self.subject = subject


def bad_request(details: str, *, message: str = "Invalid request") -> ApiError:
    """400: the input is invalid."""
    return ApiError(400, "BAD_REQUEST", message, details)


def forbidden(details: str, *, message: str = "Forbidden") -> ApiError:
    """403: not allowed, for a reason other than a missing scope."""
    return ApiError(403, "FORBIDDEN", message, details)


def not_found(kind: str, identifier: str) -> ApiError:
    """404: there is no such object, or it belongs to another owner."""
    return ApiError(404, NOT_FOUND, f"{_display_name(kind)} not found", f"id={identifier}", subject=kind)


def conflict(kind: str, details: str = "") -> ApiError:
    """409: the object already exists."""
    return ApiError(409, "CONFLICT", f"{_display_name(kind)} already exists", details)


def plan_limit_reached(limit: str, details: str) -> ApiError:
    """403: the plan allows no more of these objects."""
    return ApiError(403, "FORBIDDEN", "Plan limit reached", details, subject=limit)


def _display_name(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


class CustomBodyError(ApiError):
    """An error of current panels with a body that no rule below produces.

    Attributes:
        body: The whole body of the reply.
    """

    def __init__(self, status: int, **body: Any) -> None:
        super().__init__(status, "", str(body.get("error", body.get("message", ""))))
        self.body: dict[str, Any] = {"status": "error", **body}


def panel_error(error: str, details: Any, *, status: int = 400) -> CustomBodyError:
    """Return an error whose body says what failed in `error`, and why in `details`."""
    return CustomBodyError(status, error=error, details=details)


def duplicate_error(details: str, *, error: str = "Failed to create") -> CustomBodyError:
    """Return the error for a duplicate: 400 for e-mail addresses (evidence: duplicate-email).

    Guess: other duplicates get a 400, too.
    """
    return panel_error(error, details)


def validator_error(operation: str, failures: Iterable[tuple[str, str]]) -> CustomBodyError:
    """Return the error of Go's validator for fields and the tags that they fail on (evidence: error-validator).

    Guess: the names of all structs but the one that was seen.
    """
    struct = _go_struct(operation)
    lines = [
        f"Key: '{struct}.{_go_name(field)}' Error:Field validation for '{_go_name(field)}' failed on the '{tag}' tag"
        for field, tag in failures
    ]
    return CustomBodyError(400, error="\n".join(lines))


def decoder_error(operation: str, field: str, json_type: str, go_type: str) -> CustomBodyError:
    """Return the error of Go's decoder for a value of the wrong type. Guess: its wording."""
    details = (
        f"json: cannot unmarshal {json_type} into Go struct field {_go_struct(operation)}.{field} of type {go_type}"
    )
    return panel_error("Invalid request body", details)


def _go_struct(operation: str) -> str:
    """Return the Go struct that holds the request of an operation, such as `CreateDomainRequest`."""
    *nouns, verb = operation.split(".")
    return "".join(_go_name(word) for word in (verb, *(noun.removesuffix("s") for noun in nouns))) + "Request"


def _go_name(name: str) -> str:
    words = name.split("_")
    return "".join(word.upper() if word in _INITIALISMS else word.capitalize() for word in words)


# The body of an error in each dialect

_SUBJECT_BODIES: Mapping[str, Mapping[str, Any]] = {
    "account": {"error": "Account not found"},
    "domain": {"error": "apiErrors.external.domain.notFound", "details": "domain not found"},
    "max_domains": {"error": "Plan limit reached", "details": {"limit": "max_domains"}},
    "max_databases": {"error": "apiErrors.external.database.limitReached", "details": "database limit reached"},
    "max_email_accounts": {"details": "mailbox limit reached"},
    "max_ftp_accounts": {"error": "FTP account limit reached", "code": "FORBIDDEN"},
}
"""Bodies of current panels for missing objects and reached plan limits, by `ApiError.subject`."""


def reference_body(error: ApiError) -> dict[str, Any]:
    """Return the body of an error in the published reference: `{"error": …, "code": …, "details": …}`."""
    details = {"details": error.details} if error.details else {}
    return {"error": error.message, "code": error.code, **details, **error.fields}


def panel_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the body of an error on current panels, whose shape depends on the error."""
    match error:
        case CustomBodyError():
            return error.body
        case ApiError(subject=subject) if subject in _SUBJECT_BODIES:
            return {"status": "error", **_SUBJECT_BODIES[subject]}
        case ApiError(code=code) if code == INTERNAL_ERROR:
            sql_error = 'ERROR: column "unknown" does not exist (SQLSTATE 42703)'
            return {"status": "error", "error": error.message, "details": sql_error, "request_id": request_id}
        case ApiError(status=401 | 429):
            return {"status": "error", "error": {"code": error.code, "message": error.message, **error.fields}}
        case ApiError(status=403) if error.fields:
            nested = {"code": error.code, "message": error.message, **error.fields, "details": error.details}
            return {"status": "error", "error": nested, "request_id": request_id}
        case ApiError(code=code, subject=subject) if code == NOT_FOUND and subject != "plan":
            return {"error": "not found"} if subject else {"status": "error", "error": "not found"}
        case _:
            details = {"details": error.details} if error.details else {}
            return {"status": "error", "error": error.message, **details, "code": error.code}
