"""The base class of every generated resource."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from panelica_async.api.completion import Written, read_written
from panelica_async.api.pagination import ListSource, Page, PageRequest, Paginator
from panelica_async.api.recovery import LostCreate, find_made, given, look_up
from panelica_async.api.runner import OperationRunner, decode_any, decode_reply
from panelica_async.api.transfers import form_of
from panelica_async.core.converter import decode, decode_rows
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey, Operation, Repeat
from panelica_async.core.reply import Envelope, items
from panelica_async.core.request import prepare
from panelica_async.core.unset import UNSET
from panelica_async.errors import DecodeError, OutcomeUnknownError, PanelicaError
from panelica_async.transport.call import Call, Reply

M = TypeVar("M", bound=Model)
T = TypeVar("T")

_log = logging.getLogger("panelica_async")


class Resource:
    """A group of operations. Obtained from the client, never made by hand."""

    # What has this mark counts as asynchronous for unittest.mock: the methods of AsyncMock(spec=PanelicaClient) can be
    # awaited then.
    _is_coroutine: Any = getattr(asyncio.coroutines, "_is_coroutine", None)

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    def _one(self, operation: Operation, result: type[M], /, **arguments: object) -> Awaitable[M]:
        """Call an operation that returns an object."""
        if self._runner.dialect.known is None:
            return self._learn_first(Resource._one, operation, result, **arguments)
        if operation.repeat is not Repeat.READ:
            return self._written(operation, result, arguments)
        call = self._runner.prepare(operation, arguments)

        def read(reply: Reply) -> M:
            data = decode_reply(call, reply).data
            return decode({} if data is None else data, result, endpoint=call.endpoint, body=reply.body)

        return self._runner.run(call, read)

    async def _written(self, operation: Operation, result: type[M], arguments: dict[str, object]) -> M:
        """Call an operation that writes; a success with a sparse reply is still a success."""
        key, runner = operation.natural_key, self._runner
        call = runner.prepare(operation, arguments)

        def read(reply: Reply) -> "Written[M]":  # in quotes, or each call would evaluate it
            return read_written(decode_reply(call, reply), operation, arguments, result)

        recover = None
        if key is not None and runner.options.look_up_lost and runner.dialect.known in key.lookup.wires:
            recover = partial(self._recover, key, result, arguments)
        written = await runner.run(call, read, recover)
        return await self._completed(written, operation, arguments, call) if written.unknown else written.made

    def _object(self, operation: Operation, /, **arguments: object) -> Awaitable[dict[str, Any]]:
        """Call an operation that returns free-form JSON."""
        if self._runner.dialect.known is None:
            return self._learn_first(Resource._object, operation, **arguments)
        call = self._runner.prepare(operation, arguments)

        def read(reply: Reply) -> dict[str, Any]:
            data = decode_reply(call, reply).data
            return decode(data, dict[str, Any], endpoint=call.endpoint, body=reply.body)

        return self._runner.run(call, read)

    def _untyped(self, operation: Operation, /, **arguments: object) -> Awaitable[Any]:
        """Call an operation of whose reply nothing is known."""
        if self._runner.dialect.known is None:
            return self._learn_first(Resource._untyped, operation, **arguments)
        call = self._runner.prepare(operation, arguments)

        def read(reply: Reply) -> Any:
            # No endpoint answers with a web page, but a web server in front of it may.
            is_page = "html" in reply.headers.get("Content-Type", "").lower()
            return (decode_reply if is_page else decode_any)(call, reply).data

        return self._runner.run(call, read)

    async def _upload(self, operation: Operation, result: type[T], /, **arguments: object) -> T:
        """Call an operation that sends files."""
        if self._runner.dialect.known is None:
            return await Resource._upload(
                type(self)(await self._runner.learn_dialect()), operation, result, **arguments
            )
        with form_of(operation, self._runner.wire(operation), arguments) as form:
            call = self._runner.prepare(operation, arguments, upload=form)

            def read(reply: Reply) -> T:
                data = decode_reply(call, reply).data
                return decode({} if data is None else data, result, endpoint=call.endpoint, body=reply.body)

            return await self._runner.run(call, read)

    def _run(self, operation: Operation, /, **arguments: object) -> Awaitable[None]:
        """Call an operation that returns nothing."""
        if self._runner.dialect.known is None:
            return self._learn_first(Resource._run, operation, **arguments)
        call = self._runner.prepare(operation, arguments)

        def read(reply: Reply) -> None:
            decode_reply(call, reply)

        return self._runner.run(call, read)

    def _pages(self, operation: Operation, item: type[M], /, **arguments: object) -> Paginator[M]:
        """Return a list that is fetched when it is used."""
        first, limit = arguments.get("page", UNSET), arguments.get("limit", UNSET)
        asked = limit if isinstance(limit, int) else None
        runner = self._runner
        wire = runner.wire(operation)

        def fetch(request: PageRequest) -> Awaitable[Page[M]]:
            changes: dict[str, object] = {} if request.number is None else {"page": request.number}
            if not request.has_limit:
                changes["limit"] = UNSET
            call = runner.prepare(operation, {**arguments, **changes}, deadline=request.deadline)

            def read(reply: Reply) -> Page[M]:
                envelope = decode_reply(call, reply)
                if not reply.body.strip():
                    # A reply cut short must never be taken for an empty list.
                    raise DecodeError("expected a list, found an empty reply", endpoint=call.endpoint)
                rows = items(envelope.data, wire.items, endpoint=call.endpoint)
                if request.skips_unreadable:
                    readable, unreadable = decode_rows(rows, item)
                else:
                    readable, unreadable = _decode_list(rows, item, call, reply), []
                return _page(envelope, readable, unreadable, request, asked)

            return runner.run(call, read)

        # Invalid arguments are refused here, and not when the list is used.
        prepare(operation, wire, arguments)
        return Paginator(
            ListSource(
                fetch=fetch,
                endpoint=wire.endpoint,
                kind=operation.name.rpartition(".")[0],
                lists=runner.lists,
                first=first if isinstance(first, int) else None,
                limit=asked,
                deadline=runner.options.deadline,
                has_pages="page" in wire.query,
            ),
            None if runner.dialect.known else partial(self._learn_list, operation, item, arguments),
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

    async def _completed(
        self, written: Written[M], operation: Operation, arguments: dict[str, object], call: Call
    ) -> M:
        """Return what was written, read again where the reply lacks what every caller needs.

        A failed look-up does not change the success: what is unknown stays empty.
        """
        if written.missing_secrets:
            _log.warning(
                "%s succeeded, but the reply lacks %s, shown only once: make a new one",
                operation.name,
                " and ".join(written.missing_secrets),
            )
        if not self._runner.options.look_up_lost:
            return written.made
        try:
            async with asyncio.timeout_at(call.deadline_at):
                return await self._look(written.made, operation, arguments, call.sent_at) or written.made
        except (PanelicaError, TimeoutError):
            return written.made

    async def _look(
        self, made: M, operation: Operation, arguments: dict[str, object], sent_at: float | None
    ) -> M | None:
        """Return what was written as the panel shows it now; None when it cannot be identified."""
        key, runner = operation.natural_key, self._runner
        reader = operation.shown_by if key is None else key.lookup
        if reader is None or runner.dialect.known not in reader.wires:
            return None
        parents = {name: arguments[name] for name in reader.wire.placeholders if name in arguments}
        made_id = getattr(made, "id", None)
        if made_id and reader.wire.path.endswith("}"):
            return await self._one(reader, type(made), **{**parents, reader.wire.placeholders[-1]: made_id})
        if made_id:
            rows = self._pages(reader, type(made), **parents)
            return await anext((row async for row in rows if getattr(row, "id", None) == made_id), None)
        if key is None or sent_at is None:
            return None
        create = LostCreate(key=key, given=given(arguments), sent_at=sent_at, clock=runner.transport.clock)
        return await find_made(create, self._pages(reader, type(made), **create.filters))

    async def _recover(
        self,
        key: NaturalKey,
        result: type[M],
        arguments: dict[str, object],
        call: Call,
        error: OutcomeUnknownError,
    ) -> Written[M]:
        """Find what a create whose reply was lost has made, or raise its error."""
        left, sent_at, settle = call.time_left, call.sent_at, self._runner.transport.waits.settle
        if sent_at is None or (left is not None and left <= settle):
            raise error
        asked, runner = given(arguments), self._runner
        lost = LostCreate(key=key, given=asked, sent_at=sent_at, clock=runner.transport.clock)
        rows = self._pages(key.lookup, result, **lost.filters)

        async def owner() -> str | None:
            return await self._owner_name(asked)

        return Written(await look_up(lost, rows, owner, error, settle, call.deadline_at))

    async def _owner_name(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the user name of the account that an object is for; None when the arguments do not name one."""
        # Models are loaded when a call is made.
        from panelica_async.models.accounts import Account  # noqa: PLC0415
        from panelica_async.models.domains import Domain  # noqa: PLC0415

        operation = self._runner.get_operation
        user_id = arguments.get("user_id")
        if user_id is None and "domain_id" in arguments:
            user_id = (await self._one(operation("domains.get"), Domain, id=arguments["domain_id"])).user_id
        return None if user_id is None else (await self._one(operation("accounts.get"), Account, id=user_id)).username


def _decode_list(rows: list[Any], item: type[M], call: Call, reply: Reply) -> list[M]:
    # A type argument known at run time only.
    return decode(rows, list[item], endpoint=call.endpoint, body=reply.body)  # type: ignore[valid-type]


def _page(
    envelope: Envelope, readable: list[M], unreadable: list[Any], request: PageRequest, asked: int | None
) -> Page[M]:
    """Return a page with what its envelope says about the list."""
    number = request.number or envelope.page or 1
    has_more = envelope.has_more
    # Go writes 0 and false for what it does not know.
    if (readable or unreadable) and envelope.total == 0:
        has_more = has_more or None
    if has_more is None and envelope.last_page:
        has_more = number < envelope.last_page
    return Page(
        items=readable,
        total=envelope.total,
        page=number,
        limit=envelope.limit or (asked if request.has_limit else None),
        has_more=has_more,
        unreadable=unreadable,
    )
