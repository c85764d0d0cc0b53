"""The base class of every generated resource."""

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, TypeVar

from panelica_async.api.calls import (
    Fetch,
    fetch_file,
    fetch_object,
    fetch_one,
    fetch_untyped,
    list_source,
    send,
)
from panelica_async.api.pagination import Paginator
from panelica_async.api.runner import OperationRunner
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
        if operation.repeat.is_read:
            return self._call(partial(fetch_one, result=result), operation, arguments)
        from panelica_async.api.writes import write_one  # noqa: PLC0415 - many programs only read

        return self._call(partial(write_one, result=result), operation, arguments)

    def _object(self, operation: Operation, /, **arguments: object) -> Awaitable[dict[str, Any]]:
        """Call an operation that returns free-form JSON."""
        return self._call(fetch_object, operation, arguments)

    def _untyped(self, operation: Operation, /, **arguments: object) -> Awaitable[Any]:
        """Call an untyped operation, and return its reply as JSON-like data or bytes."""
        return self._call(fetch_untyped, operation, arguments)

    def _file(self, operation: Operation, /, **arguments: object) -> Awaitable[bytes]:
        """Call an operation that returns the content of a file."""
        return self._call(fetch_file, operation, arguments)

    def _run(self, operation: Operation, /, **arguments: object) -> Awaitable[None]:
        """Call an operation that returns nothing."""
        return self._call(send, operation, arguments)

    def _pages(self, operation: Operation, item: type[M], /, **arguments: object) -> Paginator[M]:
        """Return a list that is fetched when it is used."""
        runner = self._runner
        must_learn = runner.dialect.known is None and not operation.is_alike
        wire = runner.wire(operation)
        derive = None
        if wire.derived:
            from panelica_async.api.steps import derive_alone  # noqa: PLC0415 - most lists need no other call

            derive = partial(derive_alone, runner, operation, wire)
        return Paginator(
            list_source(runner, operation, wire, arguments, item, derive),
            partial(self._learn_list, operation, item, arguments) if must_learn else None,
        )

    def _call(self, fetch: Fetch[T], operation: Operation, arguments: Mapping[str, Any]) -> Awaitable[T]:
        """Call an operation, with every step that it needs in the dialect of the panel."""
        runner = self._runner
        if runner.dialect.known is None and not operation.is_alike:
            # Invalid arguments are refused here, and not when the dialect is known.
            prepare(operation, operation.wire, arguments)
            return self._learn_first(fetch, operation, arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            from panelica_async.api.steps import carry_out  # noqa: PLC0415 - most calls take one step

            return carry_out(runner, operation, wire, arguments, fetch)
        return fetch(runner, operation, wire, arguments)

    async def _learn_first(self, fetch: Fetch[T], operation: Operation, arguments: Mapping[str, Any]) -> T:
        """Call an operation once the dialect is known, with what is left of the deadline."""
        resource = type(self)(await self._runner.learn_dialect())
        return await resource._call(fetch, operation, arguments)  # noqa: SLF001 - of the same class

    async def _learn_list(self, operation: Operation, item: type[M], arguments: Mapping[str, object]) -> Paginator[M]:
        """Return a list as the panel serves it, with what is left of the deadline."""
        resource = type(self)(await self._runner.learn_dialect())
        return Resource._pages(resource, operation, item, **arguments)
