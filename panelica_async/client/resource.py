"""What every generated resource stands on."""

from typing import Any, TypeVar

from panelica_async.client.caller import Caller
from panelica_async.client.paginator import Page, Paginator
from panelica_async.core.model import Model
from panelica_async.core.operation import Operation
from panelica_async.core.request import prepare
from panelica_async.core.unset import UNSET

M = TypeVar("M", bound=Model)


class Resource:
    """A group of operations. Obtained from the client, never made by hand."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def _one(self, operation: Operation, result: type[M], /, **arguments: object) -> M:
        """Call an operation that returns an object."""
        reply = await self._caller.call(operation, arguments)
        # An action may answer with a message alone.
        return reply.decode({"message": reply.envelope.message} if reply.data is None else reply.data, result)

    async def _object(self, operation: Operation, /, **arguments: object) -> dict[str, Any]:
        """Call an operation that returns free-form JSON."""
        reply = await self._caller.call(operation, arguments)
        return reply.decode(reply.data, dict[str, Any])

    async def _run(self, operation: Operation, /, **arguments: object) -> None:
        """Call an operation that returns nothing."""
        await self._caller.call(operation, arguments)

    def _pages(self, operation: Operation, item: type[M], /, **arguments: object) -> Paginator[M]:
        """Return a list that is fetched when it is used."""
        first, limit = arguments.get("page", UNSET), arguments.get("limit", UNSET)

        async def fetch(number: int | None) -> Page[M]:
            paged = arguments if number is None else {**arguments, "page": number}
            reply = await self._caller.call(operation, paged)
            asked = limit if isinstance(limit, int) else None
            return Page(
                items=reply.decode(reply.rows(), list[item]),  # type: ignore[valid-type]  # a type argument known at run time only
                total=reply.envelope.total,
                page=reply.envelope.page or number or 1,
                limit=reply.envelope.limit or asked,
            )

        wire = self._caller.wire(operation)
        # What cannot be right is refused here, and not when the list is used.
        prepare(operation, wire, arguments)
        return Paginator(
            fetch,
            f"{wire.method} {wire.path}",
            first=first if isinstance(first, int) else None,
            has_pages="page" in wire.query,
        )
