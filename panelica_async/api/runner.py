"""Runs operations: arguments become a request, a reply becomes a result or an error."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

import aiohttp
import attrs

from panelica_async.api.discovery import Known, PanelDialect
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

_LARGE = 256 * 1024
"""Bytes of a reply from which on it is decoded in a thread."""

_SHORTEST = 0.001
"""Seconds that a call has when nothing is left of its deadline."""

Read = Callable[[Reply], T]
"""Turns the reply of a success into the result."""
Recover = Callable[[Call, OutcomeUnknownError], Awaitable[T | None]]
"""Finds out what a write without a reply has done; returns its result, or None if it cannot look. May raise an error
that says more."""


class OperationRunner:
    """What resources stand on; a client and its variants have one each.

    Args:
        transport: Shared by all variants.
        options: How calls are made.
        dialect: Which of its wire forms an operation takes; shared by all variants.
        get_operation: Returns an operation by its name, for calls that another one needs.
        known: What was found out about the panel; shared by all variants.
    """

    def __init__(
        self,
        transport: Transport,
        options: CallOptions,
        dialect: PanelDialect,
        get_operation: Callable[[str], Operation],
        known: Known | None = None,
    ) -> None:
        self.transport = transport
        self.options = options
        self.dialect = dialect
        self.get_operation = get_operation
        self.known: Known = known or Known()
        self._timeouts = transport.timeouts.get(options.timeout)

    def with_options(self, options: CallOptions) -> Self:
        """Return a runner that shares everything with this one except the options."""
        return type(self)(self.transport, options, self.dialect, self.get_operation, self.known)

    def wire(self, operation: Operation) -> Wire:
        """Return how an operation travels; raises `UnsupportedOperationError` when the panel does not have it.

        While the dialect is unknown, return the form that the arguments are checked with.
        """
        dialect = self.dialect.known
        wire = operation.wire if dialect is None else operation.wires.get(dialect)
        if wire is None:
            raise self._unsupported(operation, dialect)
        return wire

    def _unsupported(self, operation: Operation, dialect: Dialect | None) -> UnsupportedOperationError:
        """Return the error for an operation that a dialect does not have."""
        if dialect == "reference":
            problem = f"{operation.name} is no part of the published reference"
            hint = 'Use dialect="panel" if the server is a current panel, which serves it.'
            return UnsupportedOperationError(problem, operation=operation.name, hint=hint)
        problem, hint = f"current panels do not serve {operation.name}", "See docs/dialects.md for what they serve."
        if operation.absence is not None:
            problem += f": {operation.absence}"
        if operation.instead is not None:
            hint = f"Call {self.get_operation(operation.instead).example} instead."
        return UnsupportedOperationError(problem, operation=operation.name, reason=operation.absence, hint=hint)

    async def learn_dialect(self) -> Self:
        """Wait until the dialect is known; return a runner with what is left of the deadline."""
        options, clock = self.options, asyncio.get_running_loop().time
        began = clock()
        await self.dialect.learn(options)
        if options.deadline is None:
            return self
        left = max(options.deadline - (clock() - began), _SHORTEST)
        return self.with_options(options.with_time_left(left))

    def prepare(
        self,
        operation: Operation,
        wire: Wire,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        upload: aiohttp.Payload | None = None,
    ) -> Call:
        """Make the call of an operation, to be run.

        Args:
            operation: What to call.
            wire: How it travels.
            arguments: Its arguments, by their Python names.
            deadline: Seconds for the call, if not those of the options.
            upload: The form with its files.

        Raises:
            ValueError: An argument is invalid.
            UnsupportedOperationError: The panel cannot honour an argument.
        """
        if self.known.catalogue is not None:
            self.known.catalogue.check(operation, wire, arguments)
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
        """Make the call of a request to any path, to be run."""
        endpoint = f"{request.method} {request.path}"
        return Call(operation, request, repeat, self.options, self._timeouts, endpoint, signed=signed, upload=upload)

    async def run(self, call: Call, read: Read[T], recover: Recover[T] | None = None) -> T:
        """Send a call; return what `read` makes of a success, raise the error of anything else.

        Args:
            call: What to send.
            read: Turns the reply into the result.
            recover: Awaited when a write has no reply.
        """
        monitor = self.transport.monitor
        monitor.queued(call)
        if not call.repeat.is_read:
            self.known.lists.changed(call.operation)
        try:
            try:
                reply = await self.transport.send(call)
                if not 200 <= reply.status < 300:
                    reply = self._success(call, reply)
                if len(reply.body) <= _LARGE:
                    result = _read(call, reply, read)
                else:
                    # Decoding megabytes takes long; other calls go on meanwhile.
                    with self.explains_cancellation(call):
                        result = await asyncio.to_thread(_read, call, reply, read)
                if call.mismatches:
                    monitor.mismatched(call)
            except OutcomeUnknownError as error:
                found = None if recover is None else await recover(call, error)
                if found is None:
                    raise
                result = found
        except BaseException as error:
            if isinstance(error, DecodeError | OutcomeUnknownError):
                # They quote the reply; the other errors were made from clean texts.
                clean_error(error, call.sanitizer)
            monitor.done(call, error)
            raise
        monitor.done(call)
        return result

    @contextmanager
    def explains_cancellation(self, call: Call) -> Generator[None]:
        """Let a cancellation say that the panel has already accepted the write."""
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if not call.repeat.is_read:
                problem = "The panel accepted the request, but the call was cancelled before it returned the result"
                error = outcome_unknown(call, self.transport.clock, problem)
                cancelled.__cause__ = reword(error, problem, error.hint)
            raise

    def _success(self, call: Call, reply: Reply) -> Reply:
        """Return a success for the 404 of a delete that an earlier attempt carried out; raise any other error."""
        status = reply.status
        if status == 404 and call.method == "DELETE" and call.may_have_taken_effect:
            # An earlier attempt, whose reply was lost, has deleted it.
            return attrs.evolve(reply, status=204, body=b"")
        # No variable holds the error: with its traceback it would be a reference cycle that keeps the call alive.
        if call.is_uncertain and not _judges_request(status):
            raise outcome_unknown(call, self.transport.clock, f"the last reply was {status}") from call.error(reply)
        raise call.error(reply)


def decode_reply(call: Call, reply: Reply) -> Envelope:
    """Return the data of a successful reply in its envelope.

    Raises:
        DecodeError: The reply is not JSON, or too long.
        ResponseError: The reply reports a failure, whatever its status.
    """
    if reply.is_truncated:
        raise _unreadable(call, reply, f"the reply is longer than {len(reply.body):,} bytes")
    envelope, problem = None, ""
    try:
        envelope = reply.envelope
    except ValueError as error:
        problem = f"the reply is {error}"
    if envelope is None:
        # Raised here, so that its traceback has no frame that holds the reply.
        hint = hints.WEB_PAGE if reply.body.lstrip().startswith(b"<") else None
        raise _unreadable(call, reply, problem, hint)
    if envelope.failed:
        # A 200 can report a failure (evidence: envelope-error-200).
        raise call.error(reply)
    return envelope


def decode_any(call: Call, reply: Reply) -> Envelope:
    """Return the data of a successful reply; the bytes of one that the panel does not call JSON.

    Raises:
        DecodeError: The reply should be JSON and is not, or is too long.
        ResponseError: The reply reports a failure, whatever its status.
    """
    is_json = "json" in reply.headers.get("Content-Type", "").lower()
    return decode_reply(call, reply) if is_json or reply.is_truncated or not reply.body else Envelope(reply.body)


def _read(call: Call, reply: Reply, read: Read[T]) -> T:
    mismatches = collect_mismatches()
    try:
        result = read(reply)
        if mismatches:
            call.mismatches = tuple(mismatches)
        return result
    except PanelicaError:
        raise
    except Exception as error:  # noqa: BLE001 - the request was sent: no error of another tree may say otherwise
        # Without the cause, which may quote the reply.
        raise _unreadable(call, reply, f"the reply cannot be read: {error}") from None


def _unreadable(call: Call, reply: Reply, problem: str, hint: str | None = None) -> DecodeError:
    """Return the error for a success whose reply cannot be read; that of a write says that it succeeded."""
    if not call.repeat.is_read:
        problem = f"the panel accepted the request with {reply.status}, but {problem}"
    return DecodeError(problem, endpoint=f"{call.method} {call.path}", body=reply.body, hint=hint)


def _judges_request(status: int) -> bool:
    """Return whether a status judges what was sent, and so the attempt whose reply was lost as well.

    401 and 403 judge the key, which may have been replaced or revoked in between; 408, 429 and 5xx judge one attempt
    alone; and a 409 may be about what the lost attempt made.
    """
    return 400 <= status < 500 and status not in {401, 403, 408, 409, 429}


Fetch = Callable[[OperationRunner, Operation, Wire, Mapping[str, Any]], Awaitable[T]]
"""Makes the call of an operation in one of its wire forms, and returns the result."""


def fetch_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], result: type[M]
) -> Awaitable[M]:
    """Call an operation that reads an object."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> M:
        data = find_object(decode_reply(call, reply).data, result, arguments)
        if wire.changes_reply:
            data = translate_reply(data, wire, result)
        return decode({} if data is None else data, result, endpoint=call.endpoint, body=reply.body)

    return runner.run(call, read)


def send(runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Awaitable[None]:
    """Call an operation for its effect, or to see whether it succeeds."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> None:
        decode_reply(call, reply)

    return runner.run(call, read)


class SharedDeadline:
    """The deadline of a call that takes several requests: each has what the others leave of it.

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
        left = self._ends_at - asyncio.get_running_loop().time()
        if left <= 0:
            raise self._expired()
        return self._runner.with_options(self._runner.options.with_time_left(left))

    @asynccontextmanager
    async def timeout(self) -> AsyncGenerator[None]:
        """End what is awaited inside when the deadline passes.

        Raises:
            RequestTimeoutError: The deadline has passed.
        """
        try:
            async with asyncio.timeout_at(self._ends_at):
                yield
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            raise self._expired() from error

    def wire(self, name: str) -> Wire:
        """Return how another operation travels."""
        return self._runner.wire(self._runner.get_operation(name))

    def _expired(self) -> RequestTimeoutError:
        options = self._runner.options
        problem = (
            f"the deadline of {options.original_deadline or options.deadline:g} s passed before the request was sent"
        )
        return RequestTimeoutError(problem, method=self._wire.method, path=self._wire.path)
