"""`Paginator`, the list that a method returns: fetches pages one after another, and checks that none is missing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from panelica_async.api.discovery import ListTracker
from panelica_async.core.model import plain_data, to_json
from panelica_async.errors import DecodeError, RequestTimeoutError

if TYPE_CHECKING:
    from panelica_async.api.lists import Selection

T = TypeVar("T")

MAX_PAGES = 2_000
"""Pages after which a list counts as endless."""
_CHANGED_HINT = (
    "Read the list again: it changed while it was read. Before you change or delete what you list, read all of it "
    "with collect()."
)


@attrs.frozen(kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: list[T]
    """The items, in the panel's order."""
    total: int | None
    """How many items there are on all pages, if the panel says."""
    page: int
    """Number of this page, from 1."""
    limit: int | None
    """How many items a page holds, if the caller or the panel says; None when the list is not paged."""
    has_more: bool | None = None
    """Whether more pages follow, if the panel says."""
    unreadable: list[Any] = attrs.field(factory=list[Any], repr=False)
    """Rows that cannot be decoded, as the panel sent them; only with `skip_unreadable`, otherwise they raise."""

    def to_dict(self) -> dict[str, Any]:
        """Return the page as plain data, ready for any JSON encoder; see `Model.to_dict`, secrets are included."""
        return {field.name: plain_data(getattr(self, field.name)) for field in attrs.fields(type(self))}

    def to_json(self) -> str:
        """Return the page as JSON text; `to_dict` says what is in it."""
        return to_json(self.to_dict())


@attrs.frozen(kw_only=True, eq=False)
class PageRequest:
    """One page to request from the panel."""

    number: int | None
    """Number of the page; None to request the first without a number."""
    has_limit: bool = True
    """Whether to send the limit that the caller gave."""
    skips_unreadable: bool = False
    deadline: float | None = None
    """Seconds for the call; None for those of the client."""


@attrs.frozen(kw_only=True, eq=False)
class ListSource(Generic[T]):
    """A list of the panel, and how to read it."""

    fetch: Callable[[PageRequest], Awaitable[Page[T]]]
    endpoint: str
    kind: str = ""
    """Namespace of the operation."""
    lists: ListTracker = attrs.field(factory=ListTracker)
    first: int | None = None
    """Number of the page to begin with, if the caller chose one."""
    limit: int | None = None
    """Items on a page, if the caller chose."""
    deadline: float | None = None
    """Seconds for all pages together."""
    has_pages: bool = True
    selection: "Selection | None" = None
    """What the caller requested, if the panel ignores it and sends the whole list."""
    skips_unreadable: bool = False


class Paginator(Generic[T]):
    """A list that is fetched when it is used.

    `await` returns the first `Page`; `async for` iterates over every item of every page, and `pages()` over the pages;
    `await collect()` returns all items as a list. Nothing is sent before that, and each use reads the list again.

    A list ends where the panel says so: by its total, its number of pages, a page shorter than the page length, or a
    flag that no more follow. Otherwise pages are requested until one is empty or repeated, which costs one more call:
    some panels ignore `page` and always send the whole list (evidence: lists-unpaged). Where this is known, the list
    takes one request, and the client filters, sorts and cuts it into pages. The deadline of the client covers all pages
    together.

    Raises:
        DecodeError: The list changed while it was read, is endless, or has fewer items than the panel says; an
            incomplete list is never returned as a complete one.
    """

    def __init__(self, source: ListSource[T], learn: "Callable[[], Awaitable[Paginator[T]]] | None" = None) -> None:
        self._source = source
        # Returns the list in the dialect of the panel; None if the dialect is known.
        self._learn = learn
        self.calls: int = 0
        """How many calls all uses of this list have made so far."""

    def __repr__(self) -> str:
        return f"<Paginator {self._source.endpoint}>"

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._first_page().__await__()

    async def _first_page(self) -> Page[T]:
        source = await self._resolve_source()
        page = await _ListReading(source, self._count_call).fetch(source.first)
        return page if source.selection is None else next(_cut_into_pages(page, source.selection))

    async def _resolve_source(self) -> ListSource[T]:
        if self._learn is None:
            return self._source
        resolved = await self._learn()
        return attrs.evolve(
            resolved._source,  # noqa: SLF001 - of the same class
            skips_unreadable=self._source.skips_unreadable,
        )

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def collect(self) -> list[T]:
        """Fetch every page and return all items."""
        return [item async for item in self]

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Fetch and yield page after page."""
        source = await self._resolve_source()
        reading = _ListReading(source, self._count_call)
        page = await reading.begin()
        if source.selection is not None:
            for part in _cut_into_pages(page, source.selection):
                yield part
            return
        yield page
        while (following := await reading.follow(page)) is not None:
            page = following
            yield page
        reading.check_total(page)

    def skip_unreadable(self) -> "Paginator[T]":
        """Return the same list without the rows that cannot be decoded, each of which otherwise fails the whole list.

        `Page.unreadable` has those rows, as the panel sent them.
        """
        return Paginator(attrs.evolve(self._source, skips_unreadable=True), self._learn)

    def _count_call(self) -> None:
        self.calls += 1


class _ListReading(Generic[T]):
    """One pass over a list."""

    def __init__(self, source: ListSource[T], on_call: Callable[[], None]) -> None:
        self._source = source
        self._on_call = on_call
        self._changes = source.lists.change_count(source.kind)
        self._time_left = source.deadline
        self._fetched = 0
        self._number = source.first or 1
        self._count = 0
        """Items up to the end of the current page."""
        self._is_count_exact = True
        """False if the list was begun at a later page, and the length of the pages before is unknown."""
        self._longest_page = 0
        """Items of the longest page of this pass."""
        self._is_whole = False
        """Whether the first page is the whole list, because another page of this endpoint was longer."""
        self._total: int | None = None
        self._seen: set[object] = set()
        """Identities of all items that were read."""
        self._last_page_ids: set[object] = set()

    async def fetch(self, number: int | None, *, has_limit: bool = True) -> Page[T]:
        """Fetch a page in the time that remains until the deadline."""
        source = self._source
        if self._time_left is not None and self._time_left <= 0:
            method, _, path = source.endpoint.partition(" ")
            problem = f"the deadline of {source.deadline:g} s for all pages of the list has passed"
            raise RequestTimeoutError(problem, method=method, path=path)
        if self._fetched == MAX_PAGES:
            problem = f"the list has no end: {self._count:,} items on {MAX_PAGES:,} pages"
            raise self._failure(problem, hint="Ask for longer pages with limit=, if the list really is that long.")
        self._fetched += 1
        self._on_call()
        clock = asyncio.get_running_loop().time
        started_at = clock()
        page = await source.fetch(
            PageRequest(
                number=number, has_limit=has_limit, skips_unreadable=source.skips_unreadable, deadline=self._time_left
            )
        )
        if self._time_left is not None:
            self._time_left -= clock() - started_at
        self._longest_page = max(self._longest_page, _row_count(page))
        return page

    async def begin(self) -> Page[T]:
        """Fetch the first page."""
        source = self._source
        page = await self.fetch(source.first)
        row_count = _row_count(page)
        page_length = page.limit if self._reports_page_length(page) or row_count == page.limit else None
        self._is_count_exact = self._number == 1 or page_length is not None
        self._count = (self._number - 1) * (page_length or 0) + row_count
        self._total = page.total
        self._seen = _identities(page)
        self._last_page_ids = _ids(page)
        if source.limit is None and source.first is None:
            self._is_whole = source.lists.note_first_page(source.endpoint, row_count)
        return page

    async def follow(self, page: Page[T]) -> Page[T] | None:
        """Return the next page, None at the end of the list."""
        if not self._may_have_next(page):
            return None
        changes = self._source.lists.change_count(self._source.kind)
        if changes != self._changes:
            self._changes = changes
            if not await self._has_more_after_change():
                return None
        self._number += 1
        following = await self.fetch(self._number)
        if following.total is not None and self._total is not None and following.total != self._total:
            problem = f"the panel said there are {self._total} items, and a page later {following.total}"
            raise self._failure(problem, json_path="$.total")
        identities = _identities(following)
        if identities <= self._seen:
            await self._check_list_ended(page, following)
            return None
        repeated = _ids(following) & self._seen
        if repeated:
            raise self._failure(f"{len(repeated)} of the items on page {self._number} were on an earlier page already")
        self._count += _row_count(following)
        self._seen |= identities
        self._last_page_ids = _ids(following)
        self._is_whole = False
        return following

    def check_total(self, page: Page[T]) -> None:
        """Raise if fewer items were read than the panel says the list has."""
        if self._is_count_exact and page.total is not None and self._count < page.total:
            problem = f"the panel says there are {page.total} items, but gave {self._count}"
            raise self._failure(problem, json_path="$.total")
        if page.has_more and not self._source.has_pages:
            raise self._failure("the panel says that more items follow, and this list has no pages")

    def _may_have_next(self, page: Page[T]) -> bool:
        if not self._source.has_pages:
            return False
        if page.has_more is not None:
            return page.has_more
        if not _row_count(page):
            return False
        if page.total is not None and self._is_count_exact and page.total >= self._count:
            return self._count < page.total
        if page.limit == self._longest_page and self._reports_page_length(page):
            # The panel has sent a page of that length, so the figure is the page length and not, say, its maximum.
            return _row_count(page) == page.limit
        return not self._is_whole

    def _reports_page_length(self, page: Page[T]) -> bool:
        # A panel may echo the requested length, and still send shorter pages.
        return page.limit is not None and page.limit != self._source.limit

    async def _has_more_after_change(self) -> bool:
        """Return whether more items follow in a list that this client has changed; raise if unread items were missed.

        The unread items are at the end of the list. If they have moved up to pages that were read before, some of them
        are now on the last of these pages that is not empty.
        """
        first = self._source.first or 1
        for number in range(self._number, first - 1, -1):
            page = await self.fetch(number if number > first else self._source.first)
            if _row_count(page):
                break
        else:
            return False
        unseen, gone = _ids(page) - self._seen, self._last_page_ids - _ids(page)
        # If nothing is gone, the unseen items are new ones, and none has moved.
        if unseen and gone:
            raise self._failure(
                f"{len(unseen)} items have moved up to a page that was read, because others were changed"
            )
        return True

    async def _check_list_ended(self, page: Page[T], following: Page[T]) -> None:
        """Raise if the panel sent an empty or repeated page before the end of the list."""
        is_total_reached = page.total is not None and self._count >= page.total
        if page.has_more and following.has_more is not False and not is_total_reached:
            raise self._failure("the panel says that more items follow, but gave none")
        if _row_count(following) and _row_count(page) == self._source.limit and page.total is None:
            # The panel ignores page numbers; a request without a limit shows whether it has more items.
            whole = await self.fetch(self._source.first, has_limit=False)
            if not _ids(whole) <= self._seen:
                problem = (
                    f"the panel gave the same {_row_count(page)} items for page {self._number} again, and has more"
                )
                raise self._failure(problem, hint="Leave limit and page out: this panel has no pages.")

    def _failure(self, problem: str, *, json_path: str = "$", hint: str = _CHANGED_HINT) -> DecodeError:
        return DecodeError(problem, endpoint=self._source.endpoint, json_path=json_path, hint=hint)


def _cut_into_pages(whole: Page[T], selection: "Selection") -> Iterator[Page[T]]:
    """Yield the requested page of a whole list and every page after it."""
    unreadable = whole.unreadable
    total = len(whole.items) + len(unreadable)
    for number, items, has_more in selection.cut(whole.items):
        yield Page(
            items=items, total=total, page=number, limit=selection.limit, has_more=has_more, unreadable=unreadable
        )
        unreadable = []


def _row_count(page: Page[T]) -> int:
    return len(page.items) + len(page.unreadable)


def _ids(page: Page[T]) -> set[object]:
    return {item.id for item in page.items if getattr(item, "id", None)}  # type: ignore[attr-defined]  # looked for


def _identities(page: Page[T]) -> set[object]:
    """Return what identifies the items of a page: ids, because other fields, such as usage, change during the read."""
    return {getattr(item, "id", None) or repr(item) for item in (*page.items, *page.unreadable)}
