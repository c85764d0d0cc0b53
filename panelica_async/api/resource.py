"""The base class of every generated resource."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from panelica_async.api.calls import fetch_file, fetch_object, fetch_one, fetch_untyped, list_source, send, upload
from panelica_async.api.pagination import Paginator
from panelica_async.api.runner import OperationRunner
from panelica_async.api.steps import carry_out, derive_alone
from panelica_async.core.model import Model
from panelica_async.core.operation import Operation
from panelica_async.core.request import prepare

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class Resource:
    """A group of operations. Obtained from the client, never made by hand."""

    # What has this mark counts as asynchronous for unittest.mock: the methods of AsyncMock(spec=PanelicaClient) can be
    # awaited then.
    _is_coroutine: Any = getattr(asyncio.coroutines, "_is_coroutine", None)

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    def _one(self, operation: Operation, result: type[M], /, **arguments: object) -> Awaitable[M]:
        """Call an operation that returns an object."""
        runner = self._runner
        if runner.must_learn(operation):
            return self._learn_first(Resource._one, operation, result, **arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            return carry_out(runner, operation, wire, arguments, partial(fetch_one, result=result))
        return fetch_one(runner, operation, wire, arguments, result)

    def _object(self, operation: Operation, /, **arguments: object) -> Awaitable[dict[str, Any]]:
        """Call an operation that returns free-form JSON."""
        runner = self._runner
        if runner.must_learn(operation):
            return self._learn_first(Resource._object, operation, **arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            return carry_out(runner, operation, wire, arguments, fetch_object)
        return fetch_object(runner, operation, wire, arguments)

    def _untyped(self, operation: Operation, /, **arguments: object) -> Awaitable[Any]:
        """Call an operation of whose reply nothing is known."""
        runner = self._runner
        if runner.must_learn(operation):
            return self._learn_first(Resource._untyped, operation, **arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            return carry_out(runner, operation, wire, arguments, fetch_untyped)
        return fetch_untyped(runner, operation, wire, arguments)

    def _file(self, operation: Operation, /, **arguments: object) -> Awaitable[bytes]:
        """Call an operation that returns the content of a file."""
        runner = self._runner
        if runner.dialect.known is None:
            return self._learn_first(Resource._file, operation, **arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            return carry_out(runner, operation, wire, arguments, fetch_file)
        return fetch_file(runner, operation, wire, arguments)

    async def _upload(self, operation: Operation, result: type[T], /, **arguments: object) -> T:
        """Call an operation that sends files."""
        runner = self._runner
        if runner.must_learn(operation):
            runner = await runner.learn_dialect()
        wire = runner.wire(operation)
        if wire.takes_steps:
            return await carry_out(runner, operation, wire, arguments, partial(upload, result=result))
        return await upload(runner, operation, wire, arguments, result)

    def _run(self, operation: Operation, /, **arguments: object) -> Awaitable[None]:
        """Call an operation that returns nothing."""
        runner = self._runner
        if runner.must_learn(operation):
            return self._learn_first(Resource._run, operation, **arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            return carry_out(runner, operation, wire, arguments, send)
        return send(runner, operation, wire, arguments)

    def _pages(self, operation: Operation, item: type[M], /, **arguments: object) -> Paginator[M]:
        """Return a list that is fetched when it is used."""
        runner = self._runner
        wire = runner.wire(operation)
        derive = partial(derive_alone, runner, operation, wire) if wire.derived else None
        return Paginator(
            list_source(runner, operation, wire, arguments, item, derive),
            partial(self._learn_list, operation, item, arguments) if runner.must_learn(operation) else None,
        )

    def _learn_first(
        self, call: Callable[..., Awaitable[T]], operation: Operation, /, *result: type[Model], **arguments: object
    ) -> Awaitable[T]:
        """Call an operation once the dialect is known, with what is left of the deadline."""
        # Invalid arguments are refused here, and not when it is known.
        prepare(operation, operation.wire, arguments)

        async def learn_first() -> T:
            resource = type(self)(await self._runner.learn_dialect())
            return await call(resource, operation, *result, **arguments)

        return learn_first()

    async def _learn_list(self, operation: Operation, item: type[M], arguments: Mapping[str, object]) -> Paginator[M]:
        """Return a list as the panel serves it, with what is left of the deadline."""
        resource = type(self)(await self._runner.learn_dialect())
        return Resource._pages(resource, operation, item, **arguments)
