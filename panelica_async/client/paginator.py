"""Lists: awaiting one gives the first page, iterating gives everything."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import attrs

from panelica_async.errors import DecodeError

T = TypeVar("T")

# Guess: a panel that pages without being asked puts at least this many items on a page.
_SMALLEST_DEFAULT_PAGE = 10


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


class Paginator(Generic[T]):
    """A list that is fetched when it is used.

    `await` gives the first `Page`; `async for` walks every item of every page; `pages()` walks the pages; `await
    collect()` gives a list of every item. Nothing is sent before that, and each use starts anew.

    It ends on a short, empty or repeated page, because some panels ignore `page` and answer with everything every time
    (panel-facts B.2). A list of ten items or more that does not say how long a page is, or how many items there are,
    costs a call to see that no page follows.

    Raises:
        DecodeError: The panel says there are more items than it gave; a short list is never passed off as all there is.
    """

    def __init__(
        self,
        fetch: Callable[[int | None], Awaitable[Page[T]]],
        endpoint: str,
        *,
        first: int | None = None,
        has_pages: bool = True,
    ) -> None:
        self._fetch = fetch
        self._endpoint = endpoint
        self._first = first
        self._has_pages = has_pages

    def __repr__(self) -> str:
        return f"<Paginator {self._endpoint}>"

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._fetch(self._first).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def collect(self) -> list[T]:
        """Fetch every page and return all items."""
        return [item async for item in self]

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Fetch and yield page after page."""
        page = await self._fetch(self._first)
        yield page
        # Items up to the end of this page; what lies before a later page of unknown length cannot be told.
        count = (page.page - 1) * (page.limit or 0) + len(page.items)
        is_exact = page.page == 1 or page.limit is not None
        known = _identities(page)
        while self._has_pages and _may_continue(page, count):
            following = await self._fetch(page.page + 1)
            identities = _identities(following)
            if identities <= known:
                break
            page = following
            count += len(page.items)
            known |= identities
            yield page
        if is_exact and page.total is not None and count < page.total:
            raise DecodeError(
                f"the panel says there are {page.total} items, but gave {count}",
                endpoint=self._endpoint,
                json_path="$.total",
                hint="Something changed the list while it was read, or the panel cuts it short; read it again.",
            )


def _may_continue(page: Page[T], count: int) -> bool:
    if page.total is not None:
        return bool(page.items) and count < page.total
    if page.limit is not None:
        # A page longer than asked for comes from a panel with a length of its own.
        return len(page.items) >= page.limit
    return len(page.items) >= _SMALLEST_DEFAULT_PAGE


def _identities(page: Page[T]) -> set[object]:
    """Return what tells the items of a page from others; figures such as usage change while a list is read."""
    return {getattr(item, "id", None) or repr(item) for item in page.items}
