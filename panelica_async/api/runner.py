"""Turns a call of an operation into a request, and its reply into a result or an error."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import attrs

from panelica_async.core import hints
from panelica_async.core.converter import decode
from panelica_async.core.json_codec import loads
from panelica_async.core.operation import Dialect, Operation, Repeat, Wire
from panelica_async.core.reply import Envelope, items, unwrap
from panelica_async.core.request import PreparedRequest, prepare
from panelica_async.core.sanitizing import clean_error
from panelica_async.errors import DecodeError, OutcomeUnknownError, PanelicaError, UnsupportedOperationError
from panelica_async.transport.call import Call, CallOptions, RawReply, outcome_unknown
from panelica_async.transport.keys import AskQuota
from panelica_async.transport.pipeline import Transport

T = TypeVar("T")

_LARGE = 1024 * 1024
"""Bytes of a reply from which on it is decoded in a thread."""

Recover = Callable[[Call, OutcomeUnknownError], Awaitable[T]]
"""Finds out what became of a write without a reply; returns its result, or raises the error."""


@attrs.define(kw_only=True)
class Reply:
    """A successful reply, out of its envelope."""

    envelope: Envelope
    wire: Wire
    call: Call
    body: bytes = attrs.field(repr=False)

    def rows(self) -> list[Any]:
        """Return the rows of a list."""
        if not self.body.strip():
            # A reply cut short must never be taken for an empty list.
            raise DecodeError("expected a list, found an empty reply", endpoint=self.wire.endpoint)
        return items(self.envelope.data, self.wire.items, endpoint=self.wire.endpoint)

    def decode(self, data: object, result: type[T]) -> T:
        """Turn data into a model, or raise `DecodeError`."""
        return decode(data, result, endpoint=self.wire.endpoint, body=self.body)


class OperationRunner:
    """What resources call through; a client and its variants have one each.

    Args:
        transport: Shared by all variants.
        options: How calls are made.
        dialect: Which of its wire forms an operation takes.
        ask_quota: Asks for the quota of the key while it is not known; None for the call that asks.
    """

    def __init__(
        self,
        transport: Transport,
        options: CallOptions,
        dialect: Dialect,
        ask_quota: AskQuota | None,
    ) -> None:
        self.transport = transport
        self.options = options
        self.dialect: Dialect = dialect
        self._ask_quota = ask_quota
        self._timeouts = transport.timeouts.of(options.timeout)

    def call(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        read: Callable[[Reply], T],
        recover: Recover[T] | None = None,
        *,
        deadline: float | None = None,
    ) -> Awaitable[T]:
        """Call an operation.

        Args:
            operation: What to call.
            arguments: Its arguments, by their Python names.
            read: Turns the reply into the result.
            recover: Awaited when a write has no reply.
            deadline: Seconds for the call, if not those of the options.

        Raises:
            ValueError: An argument cannot be right; nothing was sent.
            PanelicaError: The call failed; the tree of errors says how.
        """
        wire = self.wire(operation)
        request = prepare(operation, wire, arguments)
        call = self.new_call(operation.name, request, operation.repeat, signed=operation.signed)
        if deadline is not None:
            call.options = attrs.evolve(call.options, deadline=deadline)

        def read_reply(raw: RawReply) -> T:
            return read(Reply(envelope=self.open(raw, call), wire=wire, call=call, body=raw.body))

        return self.send(call, read_reply, recover)

    def new_call(
        self,
        operation: str,
        request: PreparedRequest,
        repeat: Repeat,
        *,
        signed: bool = True,
        upload: aiohttp.Payload | None = None,
    ) -> Call:
        """Make a call that goes as this runner's do."""
        return Call(
            operation=operation,
            request=request,
            repeat=repeat,
            signed=signed,
            upload=upload,
            options=self.options,
            timeouts=self._timeouts,
        )

    async def send(self, call: Call, read: Callable[[RawReply], T], recover: Recover[T] | None = None) -> T:
        """Send a call; return what is read from the reply of a success, raise the error of anything else."""
        monitor = self.transport.monitor
        monitor.queued(call)
        if call.repeat is not Repeat.READ:
            self.transport.lists.changed(call.operation)
        try:
            try:
                await self.transport.send(call, self._ask_quota)
                raw = self._success(call)
                # Decoding megabytes takes long; other calls go on meanwhile.
                is_large = len(raw.body) > _LARGE
                result = await asyncio.to_thread(_read, raw, read, call) if is_large else _read(raw, read, call)
            except OutcomeUnknownError as error:
                if recover is None:
                    raise
                result = await recover(call, error)
        except BaseException as error:
            if isinstance(error, DecodeError | OutcomeUnknownError):
                # They quote the reply; the other errors were made from clean texts.
                clean_error(error, call.sanitizer)
            monitor.done(call, error)
            raise
        monitor.done(call)
        return result

    def _success(self, call: Call) -> RawReply:
        """Return the reply of a call that succeeded, or raise the error that it is."""
        raw = call.reply
        if 200 <= raw.status < 300:
            return raw
        if raw.status == 404 and call.method == "DELETE" and call.may_be_done:
            # An earlier attempt, whose reply was lost, has deleted it.
            return RawReply(status=204, headers=raw.headers, body=b"")
        # No variable holds the error: with its traceback it would be a circle that keeps the call.
        if call.is_doubtful and not _is_verdict(raw.status):
            raise outcome_unknown(call, self.transport.clock, f"the last reply was {raw.status}") from call.error()
        raise call.error()

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
        if raw.is_cut:
            raise _unreadable(call, f"the reply is longer than {len(raw.body):,} bytes")
        if not raw.body.strip():
            return unwrap(None)
        try:
            payload = loads(raw.body)
        except ValueError as error:
            hint = hints.WEB_PAGE if raw.body.lstrip().startswith(b"<") else None
            raise _unreadable(call, f"the reply is not JSON: {error}", hint) from error
        envelope = unwrap(payload)
        if envelope.failed:
            # A 200 can report a failure (evidence: envelope-error-200).
            raise call.error()
        return envelope


def _read(raw: RawReply, read: Callable[[RawReply], T], call: Call) -> T:
    try:
        return read(raw)
    except PanelicaError:
        raise
    except Exception as error:  # noqa: BLE001 - the request was sent: no error of another tree may say otherwise
        # Without the cause, which may quote the reply.
        raise _unreadable(call, f"the reply cannot be read: {error}") from None


def _unreadable(call: Call, problem: str, hint: str | None = None) -> DecodeError:
    """Return the error for a success whose reply cannot be read; that of a write says that it succeeded."""
    if call.repeat is not Repeat.READ:
        problem = f"the panel accepted the request with {call.reply.status}, but {problem}"
    return DecodeError(problem, endpoint=f"{call.method} {call.path}", body=call.reply.body, hint=hint)


def _is_verdict(status: int) -> bool:
    """Tell whether a status judges what was sent, and so the attempt whose reply was lost as well.

    401 and 403 judge the key, which may have been replaced or revoked in between, 408, 429 and 5xx one attempt alone;
    and what a 409 stands for may have come from the lost one.
    """
    return 400 <= status < 500 and status not in {401, 403, 408, 409, 429}
