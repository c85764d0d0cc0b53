"""The panel without a network: a request in, a response out.

The order of the checks is a guess: route, key, rate limit, scope, query and body, then the handler.
"""

import logging
import re
import secrets
from collections.abc import Callable
from contextlib import nullcontext

import attrs

from panelica_async.catalog import TIERS
from panelica_async.core.signing import signed_path
from panelica_async.sandbox import auth, limits
from panelica_async.sandbox.auth import Key, authenticate, identify
from panelica_async.sandbox.dialects import Dialect
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, Caller
from panelica_async.sandbox.limits import Counting, ServerLimits
from panelica_async.sandbox.messages import (
    INTERNAL_ERROR,
    NOT_FOUND,
    PREFIX,
    ApiError,
    HttpRequest,
    HttpResponse,
    bad_request,
)
from panelica_async.sandbox.store import Store

REQUEST_ID_HEADER = "X-Request-Id"

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_log = logging.getLogger(__name__)


class Panel:
    """A panel on a database.

    Args:
        store: The state.
        dialect: What it serves, and how it answers.
        clock: Returns the panel's time in Unix seconds.
        window: How the rate limit counts: `fixed`, `sliding` or `bucket`.
        thin_replies: Whether writes answer with an id or a message only.
    """

    def __init__(
        self,
        store: Store,
        dialect: Dialect,
        clock: Callable[[], float],
        *,
        window: Counting = "fixed",
        thin_replies: bool = False,
    ) -> None:
        self._store = store
        self._dialect = dialect
        self._clock = clock
        self._window: Counting = window
        self._thin_replies = thin_replies
        self._limits: dict[str, ServerLimits] = {}

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; its changes are committed on return."""
        progress = _Progress()
        request_id = _request_id()
        try:
            response = self._answer(request, progress)
        except ApiError as error:
            response = self._dialect.failure(error, request_id)
        except Exception:  # noqa: BLE001 - whatever fails, the client gets an answer
            _log.exception("the sandbox failed at %s %s", request.method, request.raw_path)
            response = self._dialect.failure(ApiError(500, INTERNAL_ERROR, "Internal error"), request_id)
        headers = {**progress.headers, **response.headers, REQUEST_ID_HEADER: request_id}
        return attrs.evolve(response, headers=headers, operation=progress.operation)

    def reads_body(self, head: HttpRequest) -> bool:
        """Return whether to read the body of a request: its headers name a key, and the endpoint exists.

        Otherwise it is refused unread, so that a client without a key cannot make the panel hold a body.
        """
        found = self._dialect.document.find(head.method, signed_path(head.raw_path, PREFIX))
        if found is None or not found[0].signed:
            return False
        try:
            identify(head, self._store)
        except ApiError:
            return False
        return True

    def refuse(self, error: ApiError) -> HttpResponse:
        """Answer a request that cannot be read."""
        request_id = _request_id()
        response = self._dialect.failure(error, request_id)
        return attrs.evolve(response, headers={**response.headers, REQUEST_ID_HEADER: request_id})

    def _answer(self, request: HttpRequest, progress: "_Progress") -> HttpResponse:
        if _BROKEN_ESCAPE.search(request.raw_path):
            raise bad_request("the path contains a % that is not followed by two hexadecimal digits")
        path = signed_path(request.raw_path, PREFIX)
        found = self._dialect.document.find(request.method, path)
        if found is None:
            raise ApiError(404, NOT_FOUND, "Endpoint not found", f"{request.method} is not served there")
        endpoint, arguments = found
        progress.operation = endpoint.operation
        signer = self._admit(request, progress) if endpoint.signed else None
        # The signature does not cover a multipart body, so such a body must not be read as anything else.
        content_type = request.headers.get("Content-Type", "")
        if content_type.lower().startswith("multipart/") != endpoint.form:
            wanted = "a multipart form" if endpoint.form else "JSON"
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type", f"the body must be {wanted}")
        if signer is not None:
            auth.require_scope(signer.key.scopes, endpoint.scopes)
            auth.require_role(self._store, signer.key, endpoint.roles)
        call = ApiCall(
            dialect=self._dialect.name,
            endpoint=endpoint,
            path=arguments,
            query=self._dialect.validation.query(endpoint, request.raw_query),
            body=self._dialect.validation.body(endpoint, request.body, content_type),
            store=self._store,
            document=self._dialect.document,
            signer=signer,
        )
        reply = self._perform(call)
        if self._thin_replies and endpoint.method != "GET":
            reply = _thin(reply)
        return self._dialect.success(endpoint, reply)

    def _admit(self, request: HttpRequest, progress: "_Progress") -> Caller:
        key = authenticate(request, PREFIX, self._store)
        key_limits = self._limits_of(key)
        verdict = key_limits.admit()
        progress.headers = key_limits.headers()
        if not verdict.admitted:
            raise limits.refusal(verdict)
        return Caller(key, key_limits)

    def _limits_of(self, key: Key) -> ServerLimits:
        found = self._limits.get(key.id)
        if found is None or found.tier.name != key.rate_limit_tier:
            found = self._limits[key.id] = ServerLimits(TIERS[key.rate_limit_tier], self._clock, self._window)
        return found

    def _perform(self, call: ApiCall) -> ApiReply:
        handle = self._dialect.handler(call.endpoint)
        try:
            with nullcontext() if call.endpoint.method == "GET" else self._store.transaction():
                return handle(call)
        except (OverflowError, UnicodeEncodeError):
            # SQLite keeps integers of 64 bits and text in UTF-8.
            raise bad_request("a value cannot be stored") from None


@attrs.define
class _Progress:
    """What is known about a request even when it is refused."""

    operation: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict[str, str])


def _thin(reply: ApiReply) -> ApiReply:
    """Return what is certain of the reply to a write: the id of what it made or changed, or that it is done."""
    match reply.data:
        case {"id": identity}:
            return ApiReply({"id": identity})
        case _:
            return reply if reply.message is None else ApiReply(message=reply.message)


def _request_id() -> str:
    return f"req_{secrets.token_hex(8)}"
