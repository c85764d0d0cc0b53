"""Lists: the first page, every page, and never less than there is without an error."""

import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import DecodeError, Page, Paginator, PanelicaClient
from panelica_async.sandbox import Sandbox
from tests.conftest import Connect
from tests.transport.raw_server import RawServer, reply
from tests.virtual_time import run


@attrs.frozen
class Item:
    """An item whose usage differs each time it is looked at."""

    id: str
    usage: float = attrs.field(factory=random.random)


@attrs.define
class FakePanel:
    """Answers list calls the way some panel does."""

    size: int
    default_limit: int | None = None
    honours_page: bool = True
    honours_limit: bool = True
    tells_total: bool = False
    tells_limit: bool = False
    shuffles: bool = False
    calls: list[int | None] = attrs.field(factory=list)

    def paginator(self, *, limit: int | None = None, page: int | None = None) -> Paginator[Item]:
        async def fetch(number: int | None) -> Page[Item]:
            self.calls.append(number)
            size = (limit if self.honours_limit else None) or self.default_limit or max(self.size, 1)
            start = ((number or 1) - 1) * size if self.honours_page else 0
            items = [Item(str(index)) for index in range(self.size)][start : start + size]
            if self.shuffles:
                random.shuffle(items)
            return Page(
                items=items,
                total=self.size if self.tells_total else None,
                page=number or 1,
                limit=size if self.tells_limit else limit,
            )

        return Paginator(fetch, "GET /v1/things", first=page)

    def all(self, **options: Any) -> list[str]:
        return [item.id for item in run(self.paginator(**options).collect())]

    def everything(self) -> list[str]:
        return [str(index) for index in range(self.size)]


sizes = st.integers(0, 130)
limits = st.integers(1, 40)


@given(size=sizes, limit=limits, total=st.booleans(), tells_limit=st.booleans())
def test_a_panel_that_pages(size: int, limit: int, total: bool, tells_limit: bool) -> None:
    panel = FakePanel(size, tells_total=total, tells_limit=tells_limit)
    assert panel.all(limit=limit) == panel.everything()
    # Without a total, a full last page takes one more call to see that it was the last.
    needed = max(1, -(-size // limit))
    assert len(panel.calls) == needed + (0 if total or size % limit or not size else 1)


@given(size=sizes, default=st.integers(10, 40), total=st.booleans(), tells_limit=st.booleans())
def test_a_panel_that_pages_without_being_asked(size: int, default: int, total: bool, tells_limit: bool) -> None:
    panel = FakePanel(size, default_limit=default, tells_total=total, tells_limit=tells_limit)
    assert panel.all() == panel.everything()


@given(size=sizes, limit=st.none() | limits, shuffles=st.booleans())
def test_a_panel_that_always_answers_with_everything(size: int, limit: int | None, shuffles: bool) -> None:
    panel = FakePanel(size, honours_page=False, honours_limit=False, shuffles=shuffles)
    found = panel.all(limit=limit)
    assert sorted(found, key=int) == panel.everything()
    assert len(panel.calls) <= 2


@given(size=sizes, limit=limits, tells_limit=st.booleans())
def test_a_panel_that_ignores_the_page_and_hides_the_rest(size: int, limit: int, tells_limit: bool) -> None:
    panel = FakePanel(size, honours_page=False, tells_total=True, tells_limit=tells_limit)
    if size <= limit:
        assert panel.all(limit=limit) == panel.everything()
    else:
        with pytest.raises(DecodeError, match=f"there are {size} items, but gave {limit}"):
            panel.all(limit=limit)
    assert len(panel.calls) <= 2


@given(size=sizes, limit=limits, page=st.integers(1, 5), total=st.booleans())
def test_iterating_begins_at_the_page_asked_for(size: int, limit: int, page: int, total: bool) -> None:
    panel = FakePanel(size, tells_total=total)
    before = (page - 1) * limit
    if total and before > size:
        return
    assert panel.all(limit=limit, page=page) == panel.everything()[before:]
    assert panel.calls[0] == page


@given(size=sizes, page=st.integers(2, 5))
def test_a_later_page_of_unknown_length_is_no_reason_to_complain(size: int, page: int) -> None:
    panel = FakePanel(size, default_limit=20, tells_total=True)
    assert panel.all(page=page) == panel.everything()[(page - 1) * 20 :]


def test_a_short_list_takes_one_call() -> None:
    panel = FakePanel(9)
    assert len(panel.all()) == 9
    assert panel.calls == [None]


def test_a_list_that_shrinks_under_the_reader_is_not_passed_off_as_complete() -> None:
    pages = [Page(items=[Item("1"), Item("2")], total=5, page=1, limit=2), Page(items=[], total=5, page=2, limit=2)]

    async def fetch(number: int | None) -> Page[Item]:
        return pages[(number or 1) - 1]

    with pytest.raises(DecodeError) as caught:
        run(Paginator(fetch, "GET /v1/things").collect())
    assert caught.value.endpoint == "GET /v1/things"
    assert caught.value.json_path == "$.total"
    assert caught.value.hint is not None


def test_each_use_starts_anew() -> None:
    panel = FakePanel(5)
    pages = panel.paginator(limit=2)

    async def main() -> None:
        assert len(await pages.collect()) == 5
        assert [item.id for item in (await pages).items] == ["0", "1"]
        assert [len(page.items) async for page in pages.pages()] == [2, 2, 1]
        assert [item.id async for item in pages] == ["0", "1", "2", "3", "4"]

    run(main())
    assert panel.calls == [None, 2, 3, None, None, 2, 3, None, 2, 3]


DOMAIN = {"id": "d1", "domain": "example.com", "user_id": "u1"}


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{**DOMAIN, "id": f"d{number}"} for number in ids]


async def test_nothing_is_sent_before_the_list_is_used(server: RawServer, connect: Connect) -> None:
    listed = connect().domains.list(status="active")
    assert repr(listed) == "<Paginator GET /v1/domains>"
    assert server.requests == []


@pytest.mark.parametrize(
    "use",
    [
        lambda listed: listed.collect(),
        lambda listed: listed,
    ],
    ids=["collect", "await"],
)
async def test_awaiting_gives_the_first_page(server: RawServer, connect: Connect, use: Callable[[Any], Any]) -> None:
    server.script(reply(json=rows(1, 2)))
    await use(connect().domains.list(limit=3, sort="created_at", order="desc"))
    assert [sent.target for sent in server.requests] == ["/api/external/v1/domains?limit=3&sort=created_at&order=desc"]


async def test_arguments_that_cannot_be_right_are_refused_at_once(server: RawServer, connect: Connect) -> None:
    panel = connect()
    with pytest.raises(ValueError, match="order"):
        panel.domains.list(order="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zone_id is empty"):
        panel.dns.records.list("")
    with pytest.raises(ValueError, match="status is None"):
        panel.domains.list(status=None)  # type: ignore[arg-type]
    assert server.requests == []


ENVELOPES: dict[str, Any] = {
    "bare": lambda items: items,
    "status and data": lambda items: {"status": "success", "data": items},
    "data alone": lambda items: {"data": items},
    "with total": lambda items: {"status": "success", "data": items, "total": len(items)},
    "with message": lambda items: {"status": "success", "data": items, "message": "ok", "request_id": "r1"},
}


@pytest.mark.parametrize("wrap", ENVELOPES.values(), ids=ENVELOPES)
async def test_every_envelope(server: RawServer, connect: Connect, wrap: Callable[[Any], Any]) -> None:
    server.script(reply(json=wrap(rows(1, 2))))
    page = await connect().domains.list()
    assert [domain.id for domain in page.items] == ["d1", "d2"]
    assert (page.page, page.limit) == (1, None)


@pytest.mark.parametrize("empty", [[], {"data": []}, {"status": "success", "data": None}, {"status": "success"}])
async def test_an_empty_list(server: RawServer, connect: Connect, empty: Any) -> None:
    server.script(reply(json=empty))
    assert await connect().domains.list().collect() == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 204])
async def test_an_empty_reply_is_not_an_empty_list(server: RawServer, connect: Connect, status: int) -> None:
    server.script(reply(status))
    with pytest.raises(DecodeError, match="expected a list, found an empty reply"):
        await connect().domains.list().collect()


async def test_pages_follow_the_filters(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=rows(1, 2)), reply(json=rows(3, 4)), reply(json=rows(5)))
    domains = [domain.id async for domain in connect().domains.list(limit=2, status="active")]
    assert domains == ["d1", "d2", "d3", "d4", "d5"]
    assert [sent.target.partition("?")[2] for sent in server.requests] == [
        "limit=2&status=active",
        "page=2&limit=2&status=active",
        "page=3&limit=2&status=active",
    ]


async def test_logs_of_a_webhook_tell_how_many_there_are(server: RawServer, connect: Connect) -> None:
    def logs(page: int, *ids: int) -> Any:
        return reply(json={"data": [{"id": str(number)} for number in ids], "total": 5, "page": page, "limit": 2})

    server.script(logs(1, 1, 2), logs(1, 1, 2), logs(2, 3, 4), logs(3, 5))
    logged = connect().webhooks.logs("w1")
    first = await logged
    assert (first.total, first.page, first.limit, len(first.items)) == (5, 1, 2, 2)
    assert [delivery.id async for delivery in logged] == ["1", "2", "3", "4", "5"]
    assert len(server.requests) == 4


async def test_a_list_without_pages_is_asked_for_once(server: RawServer, connect: Connect) -> None:
    services = [{"name": f"service-{number}", "status": "running"} for number in range(40)]
    server.script(reply(json=services), reply(json=services))
    assert len(await connect().server.services.list().collect()) == 40
    assert len(server.requests) == 1


async def test_all_pages_of_the_embedded_panel(box: Sandbox, panel: PanelicaClient) -> None:
    account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse")
    names = [f"site-{number:02}.example" for number in range(33)]
    for name in names:
        await panel.domains.create(domain=name, user_id=account.id)
    for options in ({}, {"limit": 10}, {"limit": 33}, {"limit": 100}, {"limit": 1}):
        assert [domain.domain async for domain in panel.domains.list(**options)] == names
    assert [domain.domain async for domain in panel.domains.list(page=2)] == names[25:]
    assert [domain.domain async for domain in panel.domains.list(page=3, limit=10)] == names[20:]
