"""Requests, responses and error replies as plain values, free of any HTTP library."""

from collections.abc import Mapping
from typing import Any

import attrs

PREFIX = "/api/external"
"""Public prefix of the paths; the web server in front of the API removes it (evidence: address-prefix)."""
NOT_FOUND = "NOT_FOUND"
INTERNAL_ERROR = "INTERNAL_ERROR"


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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.fields: Mapping[str, Any] = fields or {}
        self.headers: Mapping[str, str] = headers or {}


def bad_request(details: str, *, message: str = "Invalid request") -> ApiError:
    """400: the input is not valid."""
    return ApiError(400, "BAD_REQUEST", message, details)


def forbidden(details: str, *, message: str = "Forbidden") -> ApiError:
    """403: not allowed, for another reason than a missing scope."""
    return ApiError(403, "FORBIDDEN", message, details)


def not_found(kind: str, identity: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, NOT_FOUND, f"{_named(kind)} not found", f"id={identity}")


def conflict(kind: str, details: str) -> ApiError:
    """409: the object already exists."""
    return ApiError(409, "CONFLICT", f"{_named(kind)} already exists", details)


def _named(kind: str) -> str:
    return kind.replace("_", " ").capitalize()
