"""Runs operations: arguments become a request, a reply becomes a result or an error."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn, Self, TypeVar

import aiohttp
import attrs

from panelica_async.api.discovery import PanelDialect, PanelKnowledge
from panelica_async.core import hints
from panelica_async.core.converter import decode
from panelica_async.core.model import Model
from panelica_async.core.operation import Dialect, Operation, Repeat, Wire
from panelica_async.core.reply import Envelope, find_object, translate_reply
from panelica_async.core.request import PreparedRequest, prepare
from panelica_async.core.sanitizing import clean_error
from panelica_async.core.values import collect_mismatches
from panelica_async.errors import (
    DecodeError,
    OutcomeUnknownError,
    PanelicaError,
    RequestTimeoutError,
    UnsupportedOperationError,
)
from panelica_async.transport.call import Call, CallOptions, Reply, outcome_unknown, reword
from panelica_async.transport.pipeline import Transport

M = TypeVar("M", bound=Model)
T = TypeVar("T")

_LONGEST_DECODED_INLINE = 256 * 1024
"""Bytes; longer replies are decoded in a thread."""

_SHORTEST_DEADLINE = 0.001
"""Seconds that a call gets when its deadline is used up."""

ReadReply = Callable[[Reply], T]
"""Turns the reply of a success into the result."""
Recover = Callable[[Call, OutcomeUnknownError], Awaitable[T | None]]
"""Finds out what a write without a reply did; returns its result, or None if it cannot look. May raise a more detailed
error."""

NOT_COPYABLE = (
    "a client, its operations and its lists cannot be pickled or copied: they hold connections and a secret. "
    "Create a client in each process; within a process, with_options() returns a variant"
)


class OperationRunner:
    """Runs the operations of a client; each variant of the client has its own runner.

    Args:
        transport: Sends the calls; shared by all variants.
        options: How calls are made.
        dialect: Selects the wire of an operation; shared by all variants.
        get_operation: Returns an operation by its name, for calls that another one needs.
        knowledge: What the client has learnt about the panel; shared by all variants.
    """

    def __init__(
        self,
        transport: Transport,
        options: CallOptions,
        dialect: PanelDialect,
        get_operation: Callable[[str], Operation],
        knowledge: PanelKnowledge | None = None,
    ) -> None:
        self.transport = transport
        self.options = options
        self.dialect = dialect
        self.get_operation = get_operation
        self.knowledge: PanelKnowledge = knowledge or PanelKnowledge()
        self._timeouts = transport.timeouts.get(options.timeout)

    def with_options(self, options: CallOptions) -> Self:
        """Return a runner that shares everything with this one except the options."""
        return type(self)(self.transport, options, self.dialect, self.get_operation, self.knowledge)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, and with it everything that makes calls, such as `panel.domains.get`."""
        raise TypeError(NOT_COPYABLE)

    def wire(self, operation: Operation) -> Wire:
        """Return how an operation travels; while the dialect is unknown, the form to check the arguments with.

        Raises:
            UnsupportedOperationError: The panel does not have the operation.
        """
        dialect = self.dialect.known
        wire = operation.wire if dialect is None else operation.wires.get(dialect)
        if wire is None:
            raise self._unsupported_error(operation, dialect)
        return wire

    def _unsupported_error(self, operation: Operation, dialect: Dialect | None) -> UnsupportedOperationError:
        """Return the error for an operation that a dialect does not have."""
        if dialect == "reference":
            problem = f"{operation.name} is not part of the published reference"
            hint = 'Use dialect="panel" if the server is a current panel, which serves it.'
            return UnsupportedOperationError(problem, operation=operation.name, hint=hint)
        problem, hint = f"current panels do not serve {operation.name}", "See docs/dialects.md for what they serve."
        if operation.absence is not None:
            problem += f": {operation.absence}"
        if operation.instead is not None:
            hint = f"Call {self.get_operation(operation.instead).example} instead."
        return UnsupportedOperationError(problem, operation=operation.name, reason=operation.absence, hint=hint)

    async def learn_dialect(self) -> Self:
        """Wait until the dialect is known; return a runner with what remains of the deadline."""
        options, clock = self.options, asyncio.get_running_loop().time
        started_at = clock()
        await self.dialect.learn(options)
        if options.deadline is None:
            return self
        remaining = max(options.deadline - (clock() - started_at), _SHORTEST_DEADLINE)
        return self.with_options(options.with_time_left(remaining))

    def prepare(
        self,
        operation: Operation,
        wire: Wire,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        upload: aiohttp.Payload | None = None,
    ) -> Call:
        """Return the call of an operation, ready to run.

        Args:
            operation: What to call.
            wire: How it travels.
            arguments: Its arguments, by their Python names.
            deadline: Seconds for the call; None for the deadline of the options.
            upload: The form with its files.

        Raises:
            ValueError: An argument is invalid.
            UnsupportedOperationError: The panel cannot honour an argument.
        """
        if self.knowledge.catalogue is not None:
            self.knowledge.catalogue.check(operation, wire, arguments)
        options = self.options if deadline is None else self.options.with_time_left(deadline)
        return Call(
            operation.name,
            prepare(operation, wire, arguments),
            operation.repeat,
            options,
            self._timeouts,
            wire.endpoint,
            signed=operation.signed,
            upload=upload,
        )

    def prepare_raw(
        self,
        operation: str,
        request: PreparedRequest,
        repeat: Repeat,
        *,
        signed: bool = True,
        upload: aiohttp.Payload | None = None,
    ) -> Call:
        """Return the call of a request to any path, ready to run."""
        endpoint = f"{request.method} {request.path}"
        return Call(operation, request, repeat, self.options, self._timeouts, endpoint, signed=signed, upload=upload)

    async def run(self, call: Call, read: ReadReply[T], recover: Recover[T] | None = None) -> T:
        """Send a call and return its result; raise the error of any other reply.

        Args:
            call: What to send.
            read: Turns the reply into the result.
            recover: Called when the outcome of a write is unknown.
        """
        monitor = self.transport.monitor
        monitor.queued(call)
        if not call.repeat.is_read:
            self.knowledge.lists.note_write(call.operation)
        try:
            try:
                reply = await self.transport.send(call)
                if not 200 <= reply.status < 300:
                    reply = self._success_or_raise(call, reply)
                if len(reply.body) <= _LONGEST_DECODED_INLINE:
                    result = _read_result(call, reply, read)
                else:
                    # Decoding megabytes in the event loop would hold up other calls.
                    with self.explain_cancellation(call):
                        result = await asyncio.to_thread(_read_result, call, reply, read)
                if call.mismatches:
                    monitor.mismatched(call)
            except OutcomeUnknownError as error:
                recovered = None if recover is None else await recover(call, error)
                if recovered is None:
                    raise
                result = recovered
        except BaseException as error:
            if isinstance(error, DecodeError | OutcomeUnknownError):
                # Only these quote the reply; the others were built from sanitized text.
                clean_error(error, call.sanitizer)
            monitor.done(call, error)
            raise
        monitor.done(call)
        return result

    @contextmanager
    def explain_cancellation(self, call: Call) -> Generator[None]:
        """Make a cancellation inside report that the panel has already accepted the write."""
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if not call.repeat.is_read:
                problem = "The panel accepted the request, but the call was cancelled before it returned the result"
                error = outcome_unknown(call, self.transport.clock, problem)
                # The reply is there, so the message must not say that the outcome is unknown.
                cancelled.__cause__ = reword(error, problem, error.hint)
            raise

    def _success_or_raise(self, call: Call, reply: Reply) -> Reply:
        """Return a success for the 404 of a delete that an earlier attempt carried out; raise any other error."""
        status = reply.status
        if status == 404 and call.method == "DELETE" and call.may_have_taken_effect:
            return attrs.evolve(reply, status=204, body=b"")
        # A variable that holds the error would form a cycle with its traceback, and keep the call alive.
        if call.is_uncertain and not _rejects_every_attempt(status):
            raise outcome_unknown(call, self.transport.clock, f"the last reply was {status}") from call.error(reply)
        raise call.error(reply)


def decode_reply(call: Call, reply: Reply) -> Envelope:
    """Return the data of a successful reply in its envelope.

    Raises:
        DecodeError: The reply is not JSON, or too long.
        ResponseError: The reply reports a failure, whatever its status.
    """
    if reply.is_truncated:
        raise _decode_error(call, reply, f"the reply is longer than {len(reply.body):,} bytes")
    envelope, problem = None, ""
    try:
        envelope = reply.envelope
    except ValueError as error:
        problem = f"the reply is {error}"
    if envelope is None:
        # Raised outside `except`: the frames of the ValueError would keep the reply alive.
        hint = hints.WEB_PAGE if reply.body.lstrip().startswith(b"<") else None
        raise _decode_error(call, reply, problem, hint)
    if envelope.failed:
        # A 200 can report a failure (evidence: envelope-error-200).
        raise call.error(reply)
    return envelope


def decode_json_or_bytes(call: Call, reply: Reply) -> Envelope:
    """Return the data of a successful reply: JSON, or bytes if the panel does not declare it as JSON.

    Raises:
        DecodeError: The reply should be JSON and is not, or is too long.
        ResponseError: The reply reports a failure, whatever its status.
    """
    is_json = "json" in reply.headers.get("Content-Type", "").lower()
    return decode_reply(call, reply) if is_json or reply.is_truncated or not reply.body else Envelope(reply.body)


def _read_result(call: Call, reply: Reply, read: ReadReply[T]) -> T:
    mismatches = collect_mismatches()
    try:
        result = read(reply)
        if mismatches:
            call.mismatches = tuple(mismatches)
        return result
    except PanelicaError:
        raise
    except Exception as error:  # noqa: BLE001 - a ValueError, for example, would mean that nothing was sent
        # Without the cause, which may quote the reply.
        raise _decode_error(call, reply, f"the reply cannot be read: {error}") from None


def _decode_error(call: Call, reply: Reply, problem: str, hint: str | None = None) -> DecodeError:
    """Return the error for a success whose reply cannot be read; that of a write says that it succeeded."""
    if not call.repeat.is_read:
        problem = f"the panel accepted the request with {reply.status}, but {problem}"
    return DecodeError(problem, endpoint=f"{call.method} {call.path}", body=reply.body, hint=hint)


def _rejects_every_attempt(status: int) -> bool:
    """Return whether a status rejects the request itself, and with it the attempt whose reply was lost.

    401 and 403 reject the key, which may have been replaced or revoked between the attempts; 408, 429 and 5xx concern
    a single attempt; and a 409 may be about what the lost attempt created.
    """
    return 400 <= status < 500 and status not in {401, 403, 408, 409, 429}


Invoke = Callable[[OperationRunner, Operation, Wire, Mapping[str, Any]], Awaitable[T]]
"""Calls an operation with one of its wires, and returns the result."""


def fetch_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], model: type[M]
) -> Awaitable[M]:
    """Call an operation that reads an object."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> M:
        data = find_object(decode_reply(call, reply).data, model, arguments)
        if wire.changes_reply:
            data = translate_reply(data, wire, model)
        return decode({} if data is None else data, model, endpoint=call.endpoint, body=reply.body)

    return runner.run(call, read)


def send(runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Awaitable[None]:
    """Call an operation for its effect, or to see whether it succeeds."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> None:
        decode_reply(call, reply)

    return runner.run(call, read)


class SharedDeadline:
    """The deadline of a call that takes several requests: each gets the time that the earlier ones left.

    Args:
        runner: Runs the call.
        wire: How the call travels, for the error.
    """

    def __init__(self, runner: OperationRunner, wire: Wire) -> None:
        self._runner = runner
        self._wire = wire
        deadline = runner.options.deadline
        self._ends_at = None if deadline is None else asyncio.get_running_loop().time() + deadline

    def runner(self) -> OperationRunner:
        """Return a runner for the next request.

        Raises:
            RequestTimeoutError: The deadline has passed.
        """
        if self._ends_at is None:
            return self._runner
        remaining = self._ends_at - asyncio.get_running_loop().time()
        if remaining <= 0:
            raise self._deadline_error()
        return self._runner.with_options(self._runner.options.with_time_left(remaining))

    @asynccontextmanager
    async def timeout(self) -> AsyncGenerator[None]:
        """Cancel what runs inside when the deadline passes.

        Raises:
            RequestTimeoutError: The deadline has passed.
        """
        try:
            async with asyncio.timeout_at(self._ends_at):
                yield
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            raise self._deadline_error() from error

    def wire(self, name: str) -> Wire:
        """Return how another operation travels."""
        return self._runner.wire(self._runner.get_operation(name))

    def _deadline_error(self) -> RequestTimeoutError:
        options = self._runner.options
        problem = (
            f"the deadline of {options.original_deadline or options.deadline:g} s passed before the request was sent"
        )
        return RequestTimeoutError(problem, method=self._wire.method, path=self._wire.path)
