"""Calls operations: sends a request and returns its result. `writes` has the calls that return what they wrote."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from panelica_async.api.pagination import ListSource, Page, PageRequest, Paginator
from panelica_async.api.runner import OperationRunner, decode_any, decode_reply
from panelica_async.core.converter import decode, decode_rows, object_in
from panelica_async.core.model import UNSET, Model
from panelica_async.core.operation import Operation, Wire
from panelica_async.core.reply import Envelope, listed
from panelica_async.core.request import check
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Call, Reply

if TYPE_CHECKING:
    from panelica_async.api.selection import Selection

M = TypeVar("M", bound=Model)
T = TypeVar("T")

Derive = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Returns arguments with those that the panel needs and the caller left out."""
Fetch = Callable[[OperationRunner, Operation, Wire, Mapping[str, Any]], Awaitable[T]]
"""Makes the call of an operation in one of its wire forms, and returns the result."""


def fetch_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], result: type[M]
) -> Awaitable[M]:
    """Call an operation that reads an object."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> M:
        data = object_in(decode_reply(call, reply).data, result, arguments)
        if wire.changes_reply:
            from panelica_async.core.translation import incoming  # noqa: PLC0415 - few replies need it

            data = incoming(data, wire, result)
        return decode({} if data is None else data, result, endpoint=call.endpoint, body=reply.body)

    return runner.run(call, read)


def fetch_object(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[dict[str, Any]]:
    """Call an operation that returns free-form JSON."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> dict[str, Any]:
        data = decode_reply(call, reply).data
        return decode(data, dict[str, Any], endpoint=call.endpoint, body=reply.body)

    return runner.run(call, read)


def fetch_untyped(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[Any]:
    """Call an untyped operation, and return its reply as JSON-like data or bytes."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> Any:
        # No endpoint answers with a web page, but a web server in front of it may.
        is_page = "html" in reply.headers.get("Content-Type", "").lower()
        return (decode_reply if is_page else decode_any)(call, reply).data

    return runner.run(call, read)


def fetch_file(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Awaitable[bytes]:
    """Call an operation that returns the content of a file, which may itself be JSON or a web page."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> bytes:
        # A failure that is reported with a 200, or a file that is too long (evidence: envelope-error-200).
        decode_any(call, reply)
        return reply.body

    return runner.run(call, read)


def send(runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Awaitable[None]:
    """Call an operation for its effect, or to see whether it succeeds."""
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> None:
        decode_reply(call, reply)

    return runner.run(call, read)


def list_source(
    runner: OperationRunner,
    operation: Operation,
    wire: Wire,
    arguments: Mapping[str, Any],
    item: type[M],
    derive: Derive | None = None,
) -> ListSource[M]:
    """Return a list, and how it is read.

    Raises:
        ValueError: An argument is invalid.
        UnsupportedOperationError: The panel cannot honour an argument.
    """
    check(operation, wire, arguments)
    selection = _selection(operation, wire, arguments, item) if wire.is_whole else None
    first, limit = arguments.get("page", UNSET), arguments.get("limit", UNSET)
    asked = limit if isinstance(limit, int) else None

    def fetch(request: PageRequest) -> Awaitable[Page[M]]:
        return fetch_page(request, arguments) if derive is None else fetch_derived(request, derive)

    async def fetch_derived(request: PageRequest, derive: Derive) -> Page[M]:
        return await fetch_page(request, await derive(arguments))

    def fetch_page(request: PageRequest, arguments: Mapping[str, Any]) -> Awaitable[Page[M]]:
        changes: dict[str, object] = {} if request.number is None else {"page": request.number}
        if not request.has_limit:
            changes["limit"] = UNSET
        call = runner.prepare(operation, wire, {**arguments, **changes}, deadline=request.deadline)

        def read(reply: Reply) -> Page[M]:
            envelope = decode_reply(call, reply)
            if not reply.body.strip():
                # A reply cut short must never be taken for an empty list.
                raise DecodeError("expected a list, found an empty reply", endpoint=call.endpoint)
            envelope = listed(envelope, wire.items, endpoint=call.endpoint)
            rows = envelope.data
            if wire.changes_reply:
                from panelica_async.core.translation import incoming  # noqa: PLC0415 - few replies need it

                rows = incoming(rows, wire, item)
            matching = rows if selection is None else selection.matching(rows, envelope)
            try:
                readable, unreadable = _decode_list(matching, item, call, reply, request)
            except DecodeError as error:
                error.json_path = _path_in(rows, matching, error.json_path)
                raise
            if selection is not None:
                readable = selection.ordered(readable)
            return _page(envelope, readable, unreadable, request, asked)

        return runner.run(call, read)

    return ListSource(
        fetch=fetch,
        endpoint=wire.endpoint,
        kind=operation.name.rpartition(".")[0],
        lists=runner.known.lists,
        first=first if isinstance(first, int) else None,
        limit=asked,
        deadline=runner.options.deadline,
        has_pages="page" in wire.query,
        selection=selection,
    )


def rows_of(
    runner: OperationRunner, operation: Operation, item: type[M], arguments: Mapping[str, Any] | None = None
) -> Paginator[M]:
    """Return a list in which something is looked for; rows that cannot be decoded are skipped."""
    source = list_source(runner, operation, runner.wire(operation), arguments or {}, item)
    return Paginator(source).skip_unreadable()


def _selection(operation: Operation, wire: Wire, arguments: Mapping[str, Any], item: type[Model]) -> "Selection":
    """Return what a call asks of a list that arrives in one reply."""
    from panelica_async.api.selection import Selection  # noqa: PLC0415 - the published reference has pages

    return Selection.of(operation, wire, item, arguments)


def _decode_list(
    rows: list[Any], item: type[M], call: Call, reply: Reply, request: PageRequest
) -> tuple[list[M], list[Any]]:
    """Return the rows as models, and those that cannot be decoded if the caller wants to skip them."""
    if request.skips_unreadable:
        return decode_rows(rows, item)
    # A type argument known at run time only.
    return decode(rows, list[item], endpoint=call.endpoint, body=reply.body), []  # type: ignore[valid-type]


def _path_in(rows: list[Any], matching: list[Any], path: str) -> str:
    """Return the path of a row in the reply, for one in the list of those that match."""
    index, _, rest = path.removeprefix("$[").partition("]")
    wanted = matching[int(index)]
    return f"$[{next(number for number, row in enumerate(rows) if row is wanted)}]{rest}"


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
