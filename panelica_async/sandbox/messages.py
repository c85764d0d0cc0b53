"""Requests, responses and errors as plain values, free of any HTTP library.

An `ApiError` is written in the form of either dialect; a `PanelError` has the whole body that current panels send, in
one of the shapes that were seen there (evidence: error-shapes). Which shape answers what is known only where an entry
is cited; the rest is a guess, spread over the shapes so that a program meets each of them.
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
    """A request as received."""

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
    """A response that is not encoded yet."""

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
    """A request the panel refuses.

    Attributes:
        status: HTTP status.
        code: Machine-readable code.
        message: What went wrong, in a sentence.
        details: More about this case; may be empty.
        fields: Further fields of the body, such as `required_scope`.
        headers: Headers of the reply, such as `Retry-After`.
        about: Kind of the object that does not exist, or limit of the plan that is reached, such as `max_domains`.
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
        about: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.fields: Mapping[str, Any] = fields or {}
        self.headers: Mapping[str, str] = headers or {}
        self.about = about


def bad_request(details: str, *, message: str = "Invalid request") -> ApiError:
    """400: the input is not valid."""
    return ApiError(400, "BAD_REQUEST", message, details)


def forbidden(details: str, *, message: str = "Forbidden") -> ApiError:
    """403: not allowed, for another reason than a missing scope."""
    return ApiError(403, "FORBIDDEN", message, details)


def not_found(kind: str, identity: str) -> ApiError:
    """404: there is no such object, or it belongs to another owner."""
    return ApiError(404, NOT_FOUND, f"{_named(kind)} not found", f"id={identity}", about=kind)


def conflict(kind: str, details: str = "") -> ApiError:
    """409: the object already exists."""
    return ApiError(409, "CONFLICT", f"{_named(kind)} already exists", details)


def plan_full(limit: str, details: str) -> ApiError:
    """403: a limit of the plan is reached."""
    return ApiError(403, "FORBIDDEN", "Plan limit reached", details, about=limit)


def _named(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


class PanelError(ApiError):
    """A refusal with a body of its own.

    Attributes:
        body: The whole body of the reply.
    """

    def __init__(self, status: int, **body: Any) -> None:
        super().__init__(status, "", str(body.get("error", body.get("message", ""))))
        self.body: dict[str, Any] = {"status": "error", **body}


def failed(error: str, details: Any, *, status: int = 400) -> PanelError:
    """Return a refusal that says in `error` what failed, and in `details` why."""
    return PanelError(status, error=error, details=details)


def taken(details: str, *, error: str = "Failed to create") -> PanelError:
    """Return the refusal of a duplicate: 400 for e-mail addresses (evidence: duplicate-email).

    Guess: for everything else too.
    """
    return failed(error, details)


def invalid(operation: str, faults: Iterable[tuple[str, str]]) -> PanelError:
    """Return the text of Go's validator for fields and the tags they fail on (evidence: error-validator).

    Guess: the names of the structures, apart from the one that was seen.
    """
    structure = _structure(operation)
    lines = [
        f"Key: '{structure}.{_go_name(field)}' Error:Field validation for '{_go_name(field)}' failed on the '{tag}' tag"
        for field, tag in faults
    ]
    return PanelError(400, error="\n".join(lines))


def mistyped(operation: str, field: str, found: str, wanted: str) -> PanelError:
    """Return the refusal of a value of a wrong type. Guess: the text of Go's decoder."""
    text = f"json: cannot unmarshal {found} into Go struct field {_structure(operation)}.{field} of type {wanted}"
    return failed("Invalid request body", text)


def _structure(operation: str) -> str:
    """Return the name of a request in Go: `domains.create` takes a `CreateDomainRequest`."""
    *nouns, verb = operation.split(".")
    return "".join(_go_name(word) for word in (verb, *(noun.removesuffix("s") for noun in nouns))) + "Request"


def _go_name(name: str) -> str:
    words = name.split("_")
    return "".join(word.upper() if word in _INITIALISMS else word.capitalize() for word in words)


# How an error looks in each dialect

_BODIES: Mapping[str, Mapping[str, Any]] = {
    "account": {"error": "Account not found"},
    "domain": {"error": "apiErrors.external.domain.notFound", "details": "domain not found"},
    "max_domains": {"error": "Plan limit reached", "details": {"limit": "max_domains"}},
    "max_databases": {"error": "apiErrors.external.database.limitReached", "details": "database limit reached"},
    "max_email_accounts": {"details": "mailbox limit reached"},
    "max_ftp_accounts": {"error": "FTP account limit reached", "code": "FORBIDDEN"},
}
"""What current panels write about objects that do not exist, and about limits that are reached."""


def reference_body(error: ApiError) -> dict[str, Any]:
    """Return what the published reference writes about an error: `{"error": …, "code": …, "details": …}`."""
    details = {"details": error.details} if error.details else {}
    return {"error": error.message, "code": error.code, **details, **error.fields}


def panel_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return what current panels write about an error: the shape of its kind."""
    match error:
        case PanelError():
            return error.body
        case ApiError(about=about) if about in _BODIES:
            return {"status": "error", **_BODIES[about]}
        case ApiError(code=code) if code == INTERNAL_ERROR:
            sql_error = 'ERROR: column "unknown" does not exist (SQLSTATE 42703)'
            return {"status": "error", "error": error.message, "details": sql_error, "request_id": request_id}
        case ApiError(status=401 | 429):
            return {"status": "error", "error": {"code": error.code, "message": error.message, **error.fields}}
        case ApiError(status=403) if error.fields:
            nested = {"code": error.code, "message": error.message, **error.fields, "details": error.details}
            return {"status": "error", "error": nested, "request_id": request_id}
        case ApiError(code=code, about=about) if code == NOT_FOUND and about != "plan":
            return {"error": "not found"} if about else {"status": "error", "error": "not found"}
        case _:
            details = {"details": error.details} if error.details else {}
            return {"status": "error", "error": error.message, **details, "code": error.code}
