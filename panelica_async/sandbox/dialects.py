"""What differs between the two dialects of a panel: its document, its handlers, and how it writes a reply.

The dialect of current panels shares no code with the client's bridge: what judges the client must not be built from it.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from panelica_async.sandbox.default import panel_default, reference_default
from panelica_async.sandbox.handlers import HANDLERS
from panelica_async.sandbox.handlers.base import ApiReply, DialectName, Handler
from panelica_async.sandbox.messages import INTERNAL_ERROR, NOT_FOUND, ApiError, HttpResponse, PanelError
from panelica_async.sandbox.spec import Document, Endpoint, shipped_document
from panelica_async.sandbox.store import Store, seed_panel
from panelica_async.sandbox.validation import PanelValidation, ReferenceValidation, Validation

_NO_CONTENT = 204
_BODIES: Mapping[str, Mapping[str, Any]] = {
    "account": {"error": "Account not found"},
    "domain": {"error": "apiErrors.external.domain.notFound", "details": "domain not found"},
    "max_domains": {"error": "Plan limit reached", "details": {"limit": "max_domains"}},
    "max_databases": {"error": "apiErrors.external.database.limitReached", "details": "database limit reached"},
    "max_email_accounts": {"details": "mailbox limit reached"},
    "max_ftp_accounts": {"error": "FTP account limit reached", "code": "FORBIDDEN"},
}
"""What current panels write about objects that do not exist, and about limits that are reached."""


class Dialect(ABC):
    """How a panel is addressed and answers.

    Args:
        document: The document it follows; by default the one that the package ships.
        strict: Whether to refuse fields and parameters that the document does not name.
    """

    name: ClassVar[DialectName]
    _shipped: ClassVar[str]
    _validation: ClassVar[type[Validation]]

    def __init__(self, document: Document | None = None, *, strict: bool = False) -> None:
        self.document: Document = document or shipped_document(self._shipped)
        self.validation: Validation = self._validation(self.document, strict=strict)

    @abstractmethod
    def handler(self, endpoint: Endpoint) -> Handler:
        """Return what carries out the calls of an endpoint."""

    @abstractmethod
    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Write a success."""

    @abstractmethod
    def failure(self, error: ApiError, request_id: str) -> HttpResponse:
        """Write an error."""

    def prepare(self, store: Store) -> None:  # noqa: B027 - most have nothing to add
        """Add to a database what every panel of this dialect has."""


class ReferenceDialect(Dialect):
    """The published reference: bare bodies and flat errors."""

    name: ClassVar[DialectName] = "reference"
    _shipped = "openapi.json"
    _validation = ReferenceValidation

    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of its operation."""
        return HANDLERS.get(endpoint.operation, reference_default)

    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Write the data as it is, or `{"message": …}`; a 204 has neither."""
        if endpoint.status == _NO_CONTENT:
            return HttpResponse(status=_NO_CONTENT)
        data = reply.data if reply.message is None else {"message": reply.message}
        return HttpResponse(status=endpoint.status, data=data)

    def failure(self, error: ApiError, request_id: str) -> HttpResponse:  # noqa: ARG002 - of the interface
        """Write `{"error": …, "code": …, "details": …}`."""
        details = {"details": error.details} if error.details else {}
        data = {"error": error.message, "code": error.code, **details, **error.fields}
        return HttpResponse(status=error.status, data=data, headers=error.headers)


class PanelDialect(Dialect):
    """Current panels: envelopes, nested errors, lists in no order (evidence: envelope, error-shapes, lists-unordered).

    Guess: a 429 has no `Retry-After` header, so that a client must read the body.
    """

    name: ClassVar[DialectName] = "panel"
    _shipped = "panel_openapi.json"
    _validation = PanelValidation

    def __init__(self, document: Document | None = None, *, strict: bool = False) -> None:
        super().__init__(document, strict=strict)
        # The order changes from one request to the next, and is the same in every run.
        self._random = random.Random(0)  # noqa: S311 - nothing secret

    def prepare(self, store: Store) -> None:
        """Add the accounts of an administrator and of a reseller."""
        seed_panel(store)

    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of its method and path."""
        return HANDLERS.get(f"{endpoint.method} {endpoint.path}", panel_default)

    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Write the envelope; what is not below /v1 has none (evidence: address-health)."""
        data = reply.data
        match data:
            case [*rows]:
                data = self._random.sample(rows, len(rows))
            case _:
                pass
        if not endpoint.path.startswith("/v1/") or isinstance(data, bytes):
            return HttpResponse(status=endpoint.status, data=data)
        body: dict[str, Any] = {"status": "success", **reply.beside}
        if reply.message is not None:
            body["message"] = reply.message
        if data is not None:
            body["data"] = data
        return HttpResponse(status=endpoint.status, data=body)

    def failure(self, error: ApiError, request_id: str) -> HttpResponse:
        """Write the shape of its kind."""
        body: dict[str, Any]
        match error:
            case PanelError():
                body = error.body
            case ApiError(about=about) if about in _BODIES:
                body = {"status": "error", **_BODIES[about]}
            case ApiError(code=code) if code == INTERNAL_ERROR:
                sql_error = 'ERROR: column "unknown" does not exist (SQLSTATE 42703)'
                body = {"status": "error", "error": error.message, "details": sql_error, "request_id": request_id}
            case ApiError(status=401 | 429):
                body = {"status": "error", "error": {"code": error.code, "message": error.message, **error.fields}}
            case ApiError(status=403) if error.fields:
                nested = {"code": error.code, "message": error.message, **error.fields, "details": error.details}
                body = {"status": "error", "error": nested, "request_id": request_id}
            case ApiError(code=code, about=about) if code == NOT_FOUND and about != "plan":
                body = {"error": "not found"} if about else {"status": "error", "error": "not found"}
            case _:
                details = {"details": error.details} if error.details else {}
                body = {"status": "error", "error": error.message, **details, "code": error.code}
        return HttpResponse(status=error.status, data=body)


DIALECTS: Mapping[str, type[Dialect]] = {dialect.name: dialect for dialect in (ReferenceDialect, PanelDialect)}
