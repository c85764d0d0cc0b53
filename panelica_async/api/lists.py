"""Fetches and decodes one page of an operation's list; filters, sorts and cuts a whole list (see `pagination`).

A panel that sends the whole list ignores filters, order and pages; the client applies them.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeGuard, TypeVar, cast, get_origin

import attrs

from panelica_async.api.pagination import ListSource, Page, PageRequest, Paginator
from panelica_async.api.runner import OperationRunner, decode_reply
from panelica_async.core.converter import decode, decode_rows
from panelica_async.core.model import UNSET, Model, fields_of, json_names, unwrap_optional
from panelica_async.core.operation import Operation, Wire
from panelica_async.core.reply import Envelope, translate_reply, unwrap_list
from panelica_async.core.request import check_arguments, query_string
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Call, Reply

M = TypeVar("M", bound=Model)
T = TypeVar("T")

Derive = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Returns arguments with those that the panel needs and the caller left out."""
_CHANGED_HINT = "Read the list again: it changed while it was read."
_FIRST_DAY = datetime.min.replace(tzinfo=UTC)


def paginator(
    runner: OperationRunner,
    operation: Operation,
    wire: Wire,
    arguments: Mapping[str, Any],
    item: type[M],
    *,
    derive: Derive | None = None,
    learn: Callable[[], Awaitable[Paginator[M]]] | None = None,
) -> Paginator[M]:
    """Return a list that is fetched when it is used.

    Args:
        runner: Runs the calls.
        operation: What to call.
        wire: How it travels.
        arguments: Its arguments, by their Python names.
        item: Model of a row.
        derive: Completes the arguments before each call; None if the panel needs no others.
        learn: Returns the list as the panel serves it; None if the dialect is known.

    Raises:
        ValueError: An argument is invalid.
        UnsupportedOperationError: The panel cannot honour an argument.
    """
    check_arguments(operation, wire, arguments)
    selection = Selection.of(operation, wire, item, arguments) if wire.is_whole else None
    first, limit = (_positive_integer(operation, name, arguments.get(name, UNSET)) for name in ("page", "limit"))
    fetcher = _PageFetcher(runner, operation, wire, arguments, item, derive, selection, limit)
    source = ListSource(
        fetch=fetcher.fetch,
        endpoint=wire.endpoint,
        kind=operation.name.rpartition(".")[0],
        lists=runner.knowledge.lists,
        first=first,
        limit=limit,
        deadline=runner.options.deadline,
        has_pages="page" in wire.query,
        selection=selection,
    )
    return Paginator(source, learn)


def rows_of(
    runner: OperationRunner, operation: Operation, item: type[M], arguments: Mapping[str, Any] | None = None
) -> Paginator[M]:
    """Return a list to search for an object; rows that cannot be decoded are skipped."""
    return paginator(runner, operation, runner.wire(operation), arguments or {}, item).skip_unreadable()


@attrs.frozen(kw_only=True)
class Row(Model):
    """The fields that identify any object and its owner, for reads that need nothing else."""

    id: str | None = None
    user_id: str | None = None
    domain_id: str | None = None
    username: str | None = None
    role: str | None = None


# Without a repr, because a traceback with local variables would show the arguments.
@attrs.frozen(eq=False, repr=False)
class _PageFetcher(Generic[M]):
    """Fetches the pages of one list."""

    runner: OperationRunner
    operation: Operation
    wire: Wire
    arguments: Mapping[str, Any]
    item: type[M]
    derive: Derive | None
    selection: "Selection | None"
    limit: int | None

    async def fetch(self, request: PageRequest) -> Page[M]:
        """Fetch a page, or the whole list."""
        arguments = self.arguments if self.derive is None else await self.derive(self.arguments)
        paging: dict[str, object] = {} if request.number is None else {"page": request.number}
        if not request.has_limit:
            paging["limit"] = UNSET
        call = self.runner.prepare(self.operation, self.wire, {**arguments, **paging}, deadline=request.deadline)
        return await self.runner.run(call, partial(self._read, call, request))

    def _read(self, call: Call, request: PageRequest, reply: Reply) -> Page[M]:
        envelope = decode_reply(call, reply)
        if not reply.body.strip():
            # A truncated reply must never look like an empty list.
            raise DecodeError("expected a list, found an empty reply", endpoint=call.endpoint)
        envelope = unwrap_list(envelope, self.wire.items, endpoint=call.endpoint)
        rows = envelope.data
        if self.wire.changes_reply:
            rows = translate_reply(rows, self.wire, self.item)
        matching = rows if self.selection is None else self.selection.matching(rows, envelope)
        try:
            readable, unreadable = self._decode(matching, call, request, reply)
        except DecodeError as error:
            error.json_path = _path_in_reply(rows, matching, error.json_path)
            raise
        if self.selection is not None:
            readable = self.selection.ordered(readable)
        limit = self.limit if request.has_limit else None
        return _build_page(envelope, readable, unreadable, number=request.number, limit=limit)

    def _decode(self, rows: list[Any], call: Call, request: PageRequest, reply: Reply) -> tuple[list[M], list[Any]]:
        """Return the rows as models, and those that cannot be decoded if the caller wants to skip them."""
        if request.skips_unreadable:
            return decode_rows(rows, self.item)
        # A type argument known at run time only.
        return decode(rows, list[self.item], endpoint=call.endpoint, body=reply.body), []  # type: ignore[name-defined]


def _path_in_reply(rows: list[Any], matching: list[Any], path: str) -> str:
    """Translate a JSON path into the matching rows to one into all rows of the reply."""
    index, _, path_in_row = path.removeprefix("$[").partition("]")
    failed_row = matching[int(index)]
    return f"$[{next(number for number, row in enumerate(rows) if row is failed_row)}]{path_in_row}"


def _build_page(
    envelope: Envelope, readable: list[M], unreadable: list[Any], *, number: int | None, limit: int | None
) -> Page[M]:
    """Return a page with what its envelope says about the list."""
    page = number or envelope.page or 1
    has_more = envelope.has_more
    # Go writes 0 and false for what it does not know.
    if (readable or unreadable) and envelope.total == 0:
        has_more = has_more or None
    if has_more is None and envelope.last_page:
        has_more = page < envelope.last_page
    return Page(
        items=readable,
        total=envelope.total,
        page=page,
        limit=envelope.limit or limit,
        has_more=has_more,
        unreadable=unreadable,
    )


@attrs.frozen(kw_only=True)
class RowFilter:
    """Keeps the rows whose field has one of several values; case is ignored."""

    argument: str
    names: tuple[str, ...]
    """Names that the field may have in a row."""
    accepted: frozenset[str]

    @classmethod
    def of(cls, argument: str, names: tuple[str, ...], value: object) -> "RowFilter":
        """Return the filter for an argument.

        Raises:
            ValueError: The value is None or an empty list, which could mean either "no filter" or "no row".
            TypeError: The value is of a type that a query cannot hold.
        """
        # Refuse the values that could not be sent to a panel that filters itself.
        query_string([(argument, cast("Any", value))])
        values = list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]
        return cls(argument=argument, names=names, accepted=frozenset(map(_comparison_text, values)))

    def is_shown_by(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has the field, even if it is null."""
        return any(name in row for name in self.names)

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has one of the values."""
        values = (row[name] for name in self.names if row.get(name) is not None)
        return _comparison_text(next(values, "")) in self.accepted


@attrs.frozen(kw_only=True)
class Selection:
    """The filters, order and page that a call requests, to be applied to a whole list."""

    endpoint: str
    ids: tuple[str, ...]
    """Names that the id may have in a row; empty if rows have no id."""
    filters: tuple[RowFilter, ...] = ()
    sort: str | None = None
    """Attribute to sort by."""
    is_descending: bool | None = None
    """None when the caller did not say."""
    page: int = 1
    limit: int | None = None

    @classmethod
    def of(cls, operation: Operation, wire: Wire, model: type[Model], arguments: Mapping[str, Any]) -> "Selection":
        """Return what the arguments of a list request.

        Raises:
            ValueError: An argument is invalid.
        """
        present = {name: value for name, value in arguments.items() if value is not UNSET}
        names = json_names(model)
        sort, order = present.get("sort"), present.get("order")
        return cls(
            endpoint=wire.endpoint,
            ids=names.get("id", ()),
            filters=tuple(
                RowFilter.of(argument, names.get(field, (field,)), present[argument])
                for argument, field in wire.filters.items()
                if argument in present
            ),
            sort=None if sort is None else _sort_field(operation, model, sort),
            is_descending=None if order is None else order == "desc",
            page=_positive_integer(operation, "page", present.get("page", UNSET)) or 1,
            limit=_positive_integer(operation, "limit", present.get("limit", UNSET)),
        )

    def check_whole(self, rows: list[Any], envelope: Envelope) -> None:
        """Raise if the rows are not the whole list, or the list changed while the panel built it.

        Raises:
            DecodeError: The panel says that there are more or fewer rows, or an id appears twice.
        """
        # Go writes 0 for a total that it does not know.
        if envelope.total is not None and envelope.total != len(rows) and (envelope.total or not rows):
            problem = f"the panel says there are {envelope.total} items, but gave {len(rows)}"
            raise DecodeError(problem, endpoint=self.endpoint, json_path="$.total", hint=_CHANGED_HINT)
        if envelope.has_more or (not envelope.total and (envelope.last_page or 0) > 1):
            raise DecodeError(
                "the panel says that more items follow, and this list has no pages", endpoint=self.endpoint
            )
        seen = set[tuple[str, str]]()
        for index, row in enumerate(rows):
            if not _is_object(row):
                continue
            row_id = next((row[name] for name in self.ids if row.get(name) is not None), None)
            # Panels list a database once for each of its users (evidence: databases-list).
            identity = str(row_id), str(row.get("username"))
            if row_id is not None and identity in seen:
                raise DecodeError(
                    f"the list has the id {str(row_id)[:80]!r} twice",
                    endpoint=self.endpoint,
                    json_path=f"$[{index}]",
                    hint=_CHANGED_HINT,
                )
            seen.add(identity)

    def matching(self, rows: list[Any], envelope: Envelope) -> list[Any]:
        """Return the rows that every filter keeps, and those that are not objects, for the decoder to refuse.

        A row without the field has no value: servers written in Go omit empty fields (evidence: absent-fields).

        Raises:
            DecodeError: No row has the field of a filter, so that the result would be a guess; or `check_whole` fails.
        """
        self.check_whole(rows, envelope)
        objects = list(filter(_is_object, rows))
        for row_filter in self.filters:
            if objects and not any(map(row_filter.is_shown_by, objects)):
                raise DecodeError(
                    f"cannot filter by {row_filter.argument}: no row of the list shows {row_filter.names[0]}",
                    endpoint=self.endpoint,
                    json_path=f"$[0].{row_filter.names[0]}",
                    hint=f"Leave {row_filter.argument} out, and select the rows yourself.",
                )
        return [row for row in rows if not _is_object(row) or all(row_filter.keeps(row) for row_filter in self.filters)]

    def ordered(self, items: list[T]) -> list[T]:
        """Return the items in the requested order, those without a value last.

        Unless the caller requests another order, pages are cut from oldest to newest, because the panel may order
        the list differently each time (evidence: lists-unordered).

        Raises:
            DecodeError: No item shows the field to sort by.
        """
        if self.limit is not None or (self.is_descending is not None and self.sort is None):
            items = sorted(items, key=_by_creation, reverse=bool(self.is_descending) and self.sort is None)
        sort = self.sort
        if sort is None or not items:
            return items
        with_value = [item for item in items if getattr(item, sort) is not None]
        if not with_value:
            raise DecodeError(
                f"cannot sort by {sort}: no row of the list shows it",
                endpoint=self.endpoint,
                json_path=f"$[0].{sort}",
                hint="Sort by another field, or leave sort out.",
            )
        with_value.sort(key=lambda item: _sort_key(getattr(item, sort)), reverse=bool(self.is_descending))
        return with_value + [item for item in items if getattr(item, sort) is None]

    def cut(self, items: list[T]) -> Iterator[tuple[int, list[T], bool]]:
        """Yield the requested page and each one after it: its number, its items, and whether more follow."""
        number, length = self.page, self.limit or len(items)
        while True:
            start, end = (number - 1) * length, number * length
            has_more = end < len(items)
            yield number, items[start:end], has_more
            if not has_more:
                return
            number += 1


def _is_object(row: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(row, dict)


def _comparison_text(value: object) -> str:
    """Return a value as text to compare, without case, which varies in roles and states (evidence: case-varies)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # For a member of an enum, `str` returns its value.
    return (value if isinstance(value, str) else str(value)).casefold()


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _by_creation(item: object) -> tuple[bool, datetime, str]:
    created_at = getattr(item, "created_at", None)
    identity = getattr(item, "id", None) or getattr(item, "name", None)
    return created_at is None, created_at or _FIRST_DAY, str(identity)


def _sort_field(operation: Operation, model: type[Model], name: str) -> str:
    """Return the attribute of a model that a `sort` argument names, by its Python name or a JSON name."""
    for field in fields_of(model):
        type_ = unwrap_optional(field.type) or field.type
        is_single = isinstance(type_, type) and get_origin(type_) is None and not issubclass(type_, Model)
        if name in (field.name, *json_names(model)[field.name]) and is_single:
            return field.name
    raise ValueError(f"{operation.name}: sort must be a field of {model.__name__} with a single value, not {name!r}")


def _positive_integer(operation: Operation, name: str, value: object) -> int | None:
    """Return the value of `page` or `limit`, None if it was left out."""
    if value is UNSET:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{operation.name}: {name} must be an integer from 1, not {value!r}")
    return value
