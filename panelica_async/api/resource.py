"""Namespaces such as `panel.dns.records`: their base class `Resource`, and how they load on first use."""

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar

from panelica_async.api.runner import Invoke, OperationRunner, decode_json_or_bytes, decode_reply, fetch_one, send
from panelica_async.core.converter import decode
from panelica_async.core.model import Model
from panelica_async.core.operation import Operation, Wire
from panelica_async.core.request import prepare
from panelica_async.transport.call import Reply

if TYPE_CHECKING:
    from panelica_async.api.pagination import Paginator

M = TypeVar("M", bound=Model)
T = TypeVar("T")

# Marks a namespace as asynchronous for unittest.mock, so that AsyncMock(spec=PanelicaClient) has awaitable methods.
_IS_COROUTINE: Any = getattr(asyncio.coroutines, "_is_coroutine", None)


def namespace(import_path: str) -> Any:
    """Return a `Namespace`, for an attribute that is declared with the class of its group.

    Pyright does not ask descriptors when it matches a class with a protocol: declared as a `Namespace`, the attribute
    would match none.

    Args:
        import_path: Module and class of the group, as in `panelica_async.resources.dns:DnsRecords`.
    """
    return Namespace(import_path)


class Namespace:
    """A group of operations as an attribute, imported and created when it is first used, with the runner of its owner.

    On a class, the attribute is the class of the group, where `unittest.mock` finds the methods.
    """

    # From Python 3.13 on, mock inspects this descriptor instead of the class that it returns.
    _is_coroutine: Any = _IS_COROUTINE

    def __init__(self, import_path: str) -> None:
        self._import_path = import_path
        self._attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the group, or its class."""
        module, _, name = self._import_path.partition(":")
        group_class: Any = getattr(import_module(module), name)
        if instance is None:
            return group_class
        group = group_class(instance._runner)  # noqa: SLF001 - instances are ours
        # From now on, Python finds the attribute of the instance first.
        instance.__dict__[self._attribute] = group
        return group


class Resource:
    """A group of operations. Obtained from the client, never made by hand."""

    _is_coroutine: Any = _IS_COROUTINE

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    def _call_one(self, operation: Operation, model: type[M], /, **arguments: object) -> Awaitable[M]:
        """Call an operation that returns a model."""
        if operation.repeat.is_read:
            return self._dispatch(partial(fetch_one, model=model), operation, arguments)
        from panelica_async.api.writes import write_one  # noqa: PLC0415 - many programs only read

        return self._dispatch(partial(write_one, model=model), operation, arguments)

    def _call_json(self, operation: Operation, /, **arguments: object) -> Awaitable[dict[str, Any]]:
        """Call an operation that returns free-form JSON."""
        return self._dispatch(_fetch_json, operation, arguments)

    def _call_untyped(self, operation: Operation, /, **arguments: object) -> Awaitable[Any]:
        """Call an untyped operation, and return its reply as JSON-like data or bytes."""
        return self._dispatch(_fetch_untyped, operation, arguments)

    def _call_file(self, operation: Operation, /, **arguments: object) -> Awaitable[bytes]:
        """Call an operation that returns the content of a file, which may itself be JSON or a web page."""
        return self._dispatch(_fetch_file, operation, arguments)

    def _call(self, operation: Operation, /, **arguments: object) -> Awaitable[None]:
        """Call an operation that returns nothing."""
        return self._dispatch(send, operation, arguments)

    def _paginate(self, operation: Operation, item: type[M], /, **arguments: object) -> "Paginator[M]":
        """Return a list that is fetched when it is used."""
        from panelica_async.api.lists import paginator  # noqa: PLC0415 - many programs read no list

        runner = self._runner
        must_learn = runner.dialect.known is None and not operation.needs_no_dialect
        wire = runner.wire(operation)
        derive = None
        if wire.derived:
            from panelica_async.api.steps import derive_arguments  # noqa: PLC0415 - most lists need no other call

            derive = partial(derive_arguments, runner, operation, wire)
        learn = partial(self._learn_list, operation, item, arguments) if must_learn else None
        return paginator(runner, operation, wire, arguments, item, derive=derive, learn=learn)

    def _dispatch(self, invoke: Invoke[T], operation: Operation, arguments: Mapping[str, Any]) -> Awaitable[T]:
        """Call an operation, with every step that it needs in the dialect of the panel."""
        runner = self._runner
        if runner.dialect.known is None and not operation.needs_no_dialect:
            # Refuse invalid arguments now, not only once the dialect is known.
            prepare(operation, operation.wire, arguments)
            return self._learn_dialect_then_call(invoke, operation, arguments)
        wire = runner.wire(operation)
        if wire.takes_steps:
            from panelica_async.api.steps import carry_out  # noqa: PLC0415 - most calls take one step

            return carry_out(runner, operation, wire, arguments, invoke)
        return invoke(runner, operation, wire, arguments)

    async def _learn_dialect_then_call(
        self, invoke: Invoke[T], operation: Operation, arguments: Mapping[str, Any]
    ) -> T:
        """Call an operation once the dialect is known, with what remains of the deadline."""
        resource = type(self)(await self._runner.learn_dialect())
        return await resource._dispatch(invoke, operation, arguments)  # noqa: SLF001 - of the same class

    async def _learn_list(self, operation: Operation, item: type[M], arguments: Mapping[str, object]) -> "Paginator[M]":
        """Return a list as the panel serves it, with what remains of the deadline."""
        resource = type(self)(await self._runner.learn_dialect())
        return Resource._paginate(resource, operation, item, **arguments)


def refuse_coroutine_function(name: str, function: object) -> None:
    """Raise `TypeError` for a coroutine function where a plain one is expected: nothing would await it."""
    if iscoroutinefunction(function):
        raise TypeError(f"{name} must be a plain function, not a coroutine function, which would not be awaited")


def _fetch_json(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[dict[str, Any]]:
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> dict[str, Any]:
        data = decode_reply(call, reply).data
        return decode(data, dict[str, Any], endpoint=call.endpoint, body=reply.body)

    return runner.run(call, read)


def _fetch_untyped(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[Any]:
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> Any:
        # No endpoint answers with a web page, but a web server in front of it may.
        is_page = "html" in reply.headers.get("Content-Type", "").lower()
        return (decode_reply if is_page else decode_json_or_bytes)(call, reply).data

    return runner.run(call, read)


def _fetch_file(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[bytes]:
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> bytes:
        # Raises for a file that is too long, and for a failure that the panel reports with a 200
        # (evidence: envelope-error-200).
        decode_json_or_bytes(call, reply)
        return reply.body

    return runner.run(call, read)
