"""The panel without a network, in either dialect: a request in, a response out.

A dialect has a document, handlers, and its own form of replies. That of current panels shares no code with the client's
bridge, because a test of the client must not be built from the client.

The order of the checks is a guess: route, key, rate limit, scope, query and body, then the handler.
"""

import logging
import random
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import attrs

from panelica_async.catalog import TIERS
from panelica_async.core.signing import signed_path
from panelica_async.sandbox import auth, limits
from panelica_async.sandbox.auth import Key, authenticate, identify
from panelica_async.sandbox.default import panel_default, reference_default
from panelica_async.sandbox.handlers import HANDLERS
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, Caller, DialectName, Handler
from panelica_async.sandbox.limits import ServerLimits, WindowKind
from panelica_async.sandbox.messages import (
    INTERNAL_ERROR,
    NOT_FOUND,
    PREFIX,
    ApiError,
    HttpRequest,
    HttpResponse,
    bad_request,
    panel_body,
    reference_body,
)
from panelica_async.sandbox.spec import Document, Endpoint, shipped_document
from panelica_async.sandbox.store import Store, seed_panel
from panelica_async.sandbox.validation import PanelValidation, ReferenceValidation, Validation

REQUEST_ID_HEADER = "X-Request-Id"

_NO_CONTENT = 204
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_log = logging.getLogger(__name__)


class Dialect(ABC):
    """The endpoints, the checks and the form of replies of a panel.

    Args:
        document: The document with its endpoints; by default the one that the package ships.
        strict: Whether to refuse fields and parameters that the document does not name.
    """

    name: ClassVar[DialectName]
    _document_name: ClassVar[str]
    _validation_class: ClassVar[type[Validation]]

    def __init__(self, document: Document | None = None, *, strict: bool = False) -> None:
        self.document: Document = document or shipped_document(self._document_name)
        self.validation: Validation = self._validation_class(self.document, strict=strict)

    @abstractmethod
    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of an endpoint."""

    @abstractmethod
    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Return the response of a success."""

    @abstractmethod
    def failure(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return the response of an error."""

    def prepare(self, store: Store) -> None:  # noqa: B027 - most have nothing to add
        """Add to a database the objects that every panel of this dialect has."""


class ReferenceDialect(Dialect):
    """The published reference: bare bodies and flat errors."""

    name: ClassVar[DialectName] = "reference"
    _document_name = "openapi.json"
    _validation_class = ReferenceValidation

    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of an endpoint, by its operation."""
        return HANDLERS.get(endpoint.operation, reference_default)

    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Return a response with the bare data, or with `{"message": …}`; a 204 has neither."""
        if endpoint.success_status == _NO_CONTENT:
            return HttpResponse(status=_NO_CONTENT)
        data = reply.data if reply.message is None else {"message": reply.message}
        return HttpResponse(status=endpoint.success_status, data=data)

    def failure(self, error: ApiError, request_id: str) -> HttpResponse:  # noqa: ARG002 - part of the interface
        """Return a response with a flat object."""
        return HttpResponse(status=error.status, data=reference_body(error), headers=error.headers)


class PanelDialect(Dialect):
    """Current panels: envelopes, nested errors, lists in no order (evidence: envelope, error-shapes, lists-unordered).

    Guess: a 429 has no `Retry-After` header, so that a client must read the body.
    """

    name: ClassVar[DialectName] = "panel"
    _document_name = "panel_openapi.json"
    _validation_class = PanelValidation

    def __init__(self, document: Document | None = None, *, strict: bool = False) -> None:
        super().__init__(document, strict=strict)
        # Lists change their order with every request, but in the same way in every run.
        self._random = random.Random(0)  # noqa: S311 - nothing secret

    def prepare(self, store: Store) -> None:
        """Add the accounts of an administrator and a reseller."""
        seed_panel(store)

    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of an endpoint, by its method and path."""
        return HANDLERS.get(f"{endpoint.method} {endpoint.path}", panel_default)

    def success(self, endpoint: Endpoint, reply: ApiReply) -> HttpResponse:
        """Return a response with an envelope; paths outside /v1 have none (evidence: address-health)."""
        data = reply.data
        match data:
            case [*rows]:
                data = self._random.sample(rows, len(rows))
            case _:
                pass
        if not endpoint.path.startswith("/v1/") or isinstance(data, bytes):
            return HttpResponse(status=endpoint.success_status, data=data)
        body: dict[str, Any] = {"status": "success", **reply.envelope_fields}
        if reply.message is not None:
            body["message"] = reply.message
        if data is not None:
            body["data"] = data
        return HttpResponse(status=endpoint.success_status, data=body)

    def failure(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return a response in the shape that the error has on current panels."""
        return HttpResponse(status=error.status, data=panel_body(error, request_id))


DIALECTS: Mapping[str, type[Dialect]] = {dialect.name: dialect for dialect in (ReferenceDialect, PanelDialect)}


class Panel:
    """A panel that keeps its state in a database.

    Args:
        store: The state.
        dialect: The dialect that it speaks.
        clock: Returns the panel's time in Unix seconds.
        window: How the rate limit counts: `fixed`, `sliding` or `bucket`.
        thin_replies: Whether writes reply with only an id or a message.
    """

    def __init__(
        self,
        store: Store,
        dialect: Dialect,
        clock: Callable[[], float],
        *,
        window: WindowKind = "fixed",
        thin_replies: bool = False,
    ) -> None:
        self._store = store
        self._dialect = dialect
        self._clock = clock
        self._window: WindowKind = window
        self._thin_replies = thin_replies
        self._limits: dict[str, ServerLimits] = {}

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request, and commit its changes."""
        context = _RequestContext()
        request_id = _new_request_id()
        try:
            response = self._answer(request, context)
        except ApiError as error:
            response = self._dialect.failure(error, request_id)
        except Exception:  # noqa: BLE001 - the client gets an answer in any case
            _log.exception("the sandbox failed at %s %s", request.method, request.raw_path)
            response = self._dialect.failure(ApiError(500, INTERNAL_ERROR, "Internal error"), request_id)
        headers = {**context.headers, **response.headers, REQUEST_ID_HEADER: request_id}
        return attrs.evolve(response, headers=headers, operation=context.operation)

    def should_read_body(self, head: HttpRequest) -> bool:
        """Return whether the body of a request should be read: its endpoint exists and its headers name a key.

        Otherwise, clients without a key could fill the memory of the panel with bodies.
        """
        match = self._dialect.document.find(head.method, signed_path(head.raw_path, PREFIX))
        if match is None or not match[0].signed:
            return False
        try:
            identify(head, self._store)
        except ApiError:
            return False
        return True

    def refuse(self, error: ApiError) -> HttpResponse:
        """Answer a request that cannot be read completely."""
        request_id = _new_request_id()
        response = self._dialect.failure(error, request_id)
        return attrs.evolve(response, headers={**response.headers, REQUEST_ID_HEADER: request_id})

    def _answer(self, request: HttpRequest, context: "_RequestContext") -> HttpResponse:
        if _BROKEN_ESCAPE.search(request.raw_path):
            raise bad_request("the path contains a % that is not followed by two hexadecimal digits")
        path = signed_path(request.raw_path, PREFIX)
        match = self._dialect.document.find(request.method, path)
        if match is None:
            raise ApiError(404, NOT_FOUND, "Endpoint not found", f"{request.method} is not served there")
        endpoint, path_parameters = match
        context.operation = endpoint.operation
        signed_by = self._admit(request, context) if endpoint.signed else None
        # The signature does not cover a multipart body, so such a body must never be read as JSON.
        content_type = request.headers.get("Content-Type", "")
        if content_type.lower().startswith("multipart/") != endpoint.is_form:
            expected = "a multipart form" if endpoint.is_form else "JSON"
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type", f"the body must be {expected}")
        if signed_by is not None:
            auth.require_scope(signed_by.key.scopes, endpoint.scopes)
            auth.require_role(self._store, signed_by.key, endpoint.roles)
        call = ApiCall(
            dialect=self._dialect.name,
            endpoint=endpoint,
            path=path_parameters,
            query=self._dialect.validation.parse_query(endpoint, request.raw_query),
            body=self._dialect.validation.parse_body(endpoint, request.body, content_type),
            store=self._store,
            document=self._dialect.document,
            signed_by=signed_by,
        )
        reply = self._handle(call)
        if self._thin_replies and endpoint.method != "GET":
            reply = _thin_reply(reply)
        return self._dialect.success(endpoint, reply)

    def _admit(self, request: HttpRequest, context: "_RequestContext") -> Caller:
        """Authenticate a request, count it against the limits of its key, and return its caller."""
        key = authenticate(request, PREFIX, self._store)
        key_limits = self._key_limits(key)
        verdict = key_limits.admit()
        context.headers = key_limits.headers()
        if not verdict.admitted:
            raise limits.rate_limit_error(verdict)
        return Caller(key, key_limits)

    def _key_limits(self, key: Key) -> ServerLimits:
        """Return the limits of a key; they start over when its tier changes."""
        key_limits = self._limits.get(key.id)
        if key_limits is None or key_limits.tier.name != key.rate_limit_tier:
            key_limits = ServerLimits(TIERS[key.rate_limit_tier], self._clock, self._window)
            self._limits[key.id] = key_limits
        return key_limits

    def _handle(self, call: ApiCall) -> ApiReply:
        """Call the handler of a call, in a transaction unless it only reads."""
        handler = self._dialect.handler(call.endpoint)
        try:
            with nullcontext() if call.endpoint.method == "GET" else self._store.transaction():
                return handler(call)
        except (OverflowError, UnicodeEncodeError):
            # SQLite stores integers of 64 bits and text in UTF-8.
            raise bad_request("a value cannot be stored") from None


@attrs.define
class _RequestContext:
    """What the response shows even if the request is refused."""

    operation: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict[str, str])


def _thin_reply(reply: ApiReply) -> ApiReply:
    """Return the least that a panel may reply to a write: the id of the object, or the message."""
    match reply.data:
        case {"id": identifier}:
            return ApiReply({"id": identifier})
        case _:
            return reply if reply.message is None else ApiReply(message=reply.message)


def _new_request_id() -> str:
    return f"req_{secrets.token_hex(8)}"
