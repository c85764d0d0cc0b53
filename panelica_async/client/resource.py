"""What every generated resource stands on."""

from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

from panelica_async.client.caller import Caller, Reply
from panelica_async.client.lookup import SETTLE, LostCreate, given, look_up, owner_name
from panelica_async.client.paginator import Page, Paginator
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey, Operation
from panelica_async.core.request import prepare
from panelica_async.core.unset import UNSET
from panelica_async.errors import OutcomeUnknownError
from panelica_async.transport.call import Call

M = TypeVar("M", bound=Model)


class Resource:
    """A group of operations. Obtained from the client, never made by hand."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _one(self, operation: Operation, result: type[M], /, **arguments: object) -> Awaitable[M]:
        """Call an operation that returns an object."""

        def read(reply: Reply) -> M:
            # An action may answer with a message alone.
            data, message = reply.envelope.data, reply.envelope.message
            return reply.decode({"message": message} if data is None else data, result)

        key, caller = operation.natural_key, self._caller
        if key is None or not caller.options.look_up_lost or key.lookup.wire(caller.dialect) is None:
            return caller.call(operation, arguments, read)

        def recover(call: Call, error: OutcomeUnknownError) -> Awaitable[M]:
            return self._recover(key, result, arguments, call, error)

        return caller.call(operation, arguments, read, recover)

    def _object(self, operation: Operation, /, **arguments: object) -> Awaitable[dict[str, Any]]:
        """Call an operation that returns free-form JSON."""
        return self._caller.call(operation, arguments, lambda reply: reply.decode(reply.envelope.data, dict[str, Any]))

    def _run(self, operation: Operation, /, **arguments: object) -> Awaitable[None]:
        """Call an operation that returns nothing."""
        return self._caller.call(operation, arguments, lambda _: None)

    def _pages(self, operation: Operation, item: type[M], /, **arguments: object) -> Paginator[M]:
        """Return a list that is fetched when it is used."""
        first, limit = arguments.get("page", UNSET), arguments.get("limit", UNSET)

        async def fetch(number: int | None) -> Page[M]:
            def read(reply: Reply) -> Page[M]:
                asked = limit if isinstance(limit, int) else None
                return Page(
                    items=reply.decode(reply.rows(), list[item]),  # type: ignore[valid-type]  # a type argument known at run time only
                    total=reply.envelope.total,
                    page=reply.envelope.page or number or 1,
                    limit=reply.envelope.limit or asked,
                )

            paged = arguments if number is None else {**arguments, "page": number}
            return await self._caller.call(operation, paged, read)

        wire = self._caller.wire(operation)
        # What cannot be right is refused here, and not when the list is used.
        prepare(operation, wire, arguments)
        return Paginator(
            fetch,
            wire.endpoint,
            first=first if isinstance(first, int) else None,
            has_pages="page" in wire.query,
        )

    async def _recover(
        self,
        key: NaturalKey,
        result: type[M],
        arguments: dict[str, object],
        call: Call,
        error: OutcomeUnknownError,
    ) -> M:
        """Find what a create made whose reply was lost, or raise its error."""
        left, sent_at = call.time_left, call.sent_at
        if sent_at is None or (left is not None and left <= SETTLE):
            raise error
        asked, caller = given(arguments), self._caller
        lost = LostCreate(key=key, given=asked, sent_at=sent_at, clock=caller.transport.clock)
        rows = self._pages(key.lookup, result, **lost.filters)
        return await look_up(lost, rows, partial(owner_name, caller, asked), error, call.deadline_at)
