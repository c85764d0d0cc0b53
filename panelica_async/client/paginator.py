"""Lists: awaiting one gives the first page, iterating gives everything."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import attrs

from panelica_async.errors import DecodeError

T = TypeVar("T")


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
    (panel-facts B.2).

    Raises:
        DecodeError: The panel says there are more items than it gave; a short list is never passed off as all there is.
    """

    def __init__(self, fetch: Callable[[int | None], Awaitable[Page[T]]], endpoint: str, first: int | None) -> None:
        self._fetch = fetch
        self._endpoint = endpoint
        self._first = first

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
        seen = len(page.items)
        before = (page.page - 1) * page.limit if page.limit else 0
        while self._may_continue(page, before + seen):
            following = await self._fetch(page.page + 1)
            if not following.items or following.items == page.items:
                break
            page = following
            seen += len(page.items)
            yield page
        if page.total is not None and before + seen < page.total:
            raise DecodeError(
                f"the panel says there are {page.total} items, but gave {before + seen}",
                endpoint=self._endpoint,
                json_path="$.total",
                hint="Something changed the list while it was read, or the panel cuts it short; read it again.",
            )

    @staticmethod
    def _may_continue(page: Page[T], seen: int) -> bool:
        if page.total is not None:
            return bool(page.items) and seen < page.total
        return page.limit is not None and len(page.items) == page.limit
