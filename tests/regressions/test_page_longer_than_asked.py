"""A panel that chooses the length of its pages does not hide later pages."""

from panelica_async import Page, Paginator
from panelica_async.api.pagination import ListSource, PageRequest

ITEMS = list(range(250))
PAGE = 100


async def fetch(request: PageRequest) -> Page[int]:
    """Answer a request for 25 items with a page of 100, without a total."""
    number = request.number or 1
    return Page(items=ITEMS[(number - 1) * PAGE : number * PAGE], total=None, page=number, limit=25)


async def test_pages_longer_than_requested_lose_no_item() -> None:
    assert await Paginator(ListSource(fetch=fetch, endpoint="GET /v1/domains", limit=25)).collect() == ITEMS
