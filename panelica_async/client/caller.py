"""Turns a call of an operation into a request, and its reply into data or an error."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import attrs

from panelica_async.core import hints
from panelica_async.core.converter import decode
from panelica_async.core.envelope import Envelope, items, unwrap
from panelica_async.core.faults import error_from_response
from panelica_async.core.json_codec import loads
from panelica_async.core.operation import Dialect, Operation, Wire
from panelica_async.core.request import PreparedRequest, prepare
from panelica_async.errors import DecodeError, ResponseError, UnsupportedOperationError
from panelica_async.transport.call import Call, RawReply
from panelica_async.transport.transport import Patience, Transport

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Reply:
    """A successful reply, out of its envelope."""

    raw: RawReply
    envelope: Envelope
    endpoint: str
    rows_key: str | None = None

    @property
    def data(self) -> Any:
        """The payload; None when there is none."""
        return self.envelope.data

    def rows(self) -> list[Any]:
        """Return the rows of a list."""
        if not self.raw.body.strip():
            # A reply cut short must never be taken for an empty list.
            raise DecodeError("expected a list, found an empty reply", endpoint=self.endpoint)
        return items(self.data, self.rows_key, endpoint=self.endpoint)

    def decode(self, data: object, result: type[T]) -> T:
        """Turn data into a model, or raise `DecodeError`."""
        return decode(data, result, endpoint=self.endpoint, body=self.raw.body)


class Caller:
    """What resources call through; a client and its variants have one each.

    Args:
        transport: Shared by all variants.
        patience: How long a call may take.
        dialect: Which of its wire forms an operation takes.
        learn_tier: Awaited before each signed call, to learn the tier; None for the call that asks for it.
    """

    def __init__(
        self,
        transport: Transport,
        patience: Patience,
        dialect: Dialect,
        learn_tier: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.transport = transport
        self.patience = patience
        self.dialect: Dialect = dialect
        self._learn_tier = learn_tier

    async def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Reply:
        """Call an operation.

        Raises:
            ValueError: An argument cannot be right; nothing was sent.
            PanelicaError: The call failed; the tree of errors says how.
        """
        wire = self.wire(operation)
        request = prepare(operation, wire, arguments)
        call = Call(
            operation=operation.name,
            method=request.method,
            path=request.path,
            repeat=operation.repeat,
            signed=operation.signed,
        )
        raw = await self.send(request, call)
        return Reply(
            raw=raw,
            envelope=self.open(raw, call),
            endpoint=f"{wire.method} {wire.path}",
            rows_key=wire.items,
        )

    async def send(self, request: PreparedRequest, call: Call) -> RawReply:
        """Send a request; return the reply of a success, raise the error of anything else."""
        before = self._learn_tier if call.signed else None
        raw = await self.transport.send(request, call, self.patience, before=before)
        if 200 <= raw.status < 300:
            return raw
        if raw.status == 404 and call.method == "DELETE" and call.may_be_done:
            # An earlier attempt, whose reply was lost, has deleted it.
            return RawReply(status=204, headers=raw.headers, body=b"")
        error = _error(raw, call)
        if call.is_doubtful and not call.repeat.is_safe:
            raise call.outcome_unknown(f"the web server before the panel answered {raw.status}") from error
        raise error

    def wire(self, operation: Operation) -> Wire:
        """Return how an operation travels; raises `UnsupportedOperationError` when the panel does not have it."""
        wire = operation.wire(self.dialect)
        if wire is None:
            raise UnsupportedOperationError(
                f"current panels do not serve {operation.name}",
                operation=operation.name,
                hint="docs/operations.md lists what each dialect has.",
            )
        return wire

    def open(self, raw: RawReply, call: Call) -> Envelope:
        """Take a successful reply out of its envelope; raises what it turns out to be."""
        endpoint = f"{call.method} {call.path}"
        if not raw.body.strip():
            return unwrap(None)
        try:
            payload = loads(raw.body)
        except ValueError as error:
            hint = hints.WEB_PAGE if raw.body.lstrip().startswith(b"<") else None
            raise DecodeError(f"the reply is not JSON: {error}", endpoint=endpoint, body=raw.body, hint=hint) from error
        envelope = unwrap(payload)
        if envelope.failed:
            # "An HTTP 200 whose JSON says status error is an error" (panel-facts B.1).
            raise _error(raw, call)
        return envelope


def _error(raw: RawReply, call: Call) -> ResponseError:
    return error_from_response(
        raw.status, raw.headers, raw.body, method=call.method, path=call.path, attempts=call.attempts
    )
