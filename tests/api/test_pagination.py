"""Lists: the first page, every page, and an error instead of an incomplete list."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import DecodeError, Page, Paginator, PanelicaClient, RequestTimeoutError
from panelica_async.api import pagination
from panelica_async.api.discovery import ListTracker
from panelica_async.api.pagination import ListSource, PageRequest
from panelica_async.sandbox import Sandbox
from tests.conftest import Advance, Connect
from tests.support.raw_server import HANG, RawServer, reply
from tests.support.virtual_time import run


@attrs.frozen
class Item:
    """An item whose usage differs in every reply."""

    id: str
    usage: float = attrs.field(factory=random.random)


@attrs.define
class FakePanel:
    """Answers list calls as one of several kinds of panels."""

    size: int
    default_limit: int | None = None
    honours_page: bool = True
    honours_limit: bool = True
    tells_total: bool = False
    tells_limit: bool = False
    shuffles: bool = False
    longest: int | None = None
    """Items on a page, whatever the caller requested."""
    repeats_limit: bool = False
    """Whether it reports the requested page length instead of its own."""
    tells_more: bool = False
    endpoint: str = "GET /v1/things"
    lists: ListTracker = attrs.field(factory=ListTracker)
    calls: list[int | None] = attrs.field(factory=list)

    def paginator(self, *, limit: int | None = None, page: int | None = None) -> Paginator[Item]:
        async def fetch(request: PageRequest) -> Page[Item]:
            number = request.number
            self.calls.append(number)
            wanted = limit if self.honours_limit and request.has_limit else None
            size = wanted or self.default_limit or max(self.size, 1)
            size = min(size, self.longest or size)
            start = ((number or 1) - 1) * size if self.honours_page else 0
            items = [Item(str(index)) for index in range(self.size)][start : start + size]
            if self.shuffles:
                random.shuffle(items)
            return Page(
                items=items,
                total=self.size if self.tells_total else None,
                page=number or 1,
                limit=size if self.tells_limit and not self.repeats_limit else limit if request.has_limit else None,
                has_more=start + size < self.size if self.tells_more else None,
            )

        return Paginator(ListSource(fetch=fetch, endpoint=self.endpoint, lists=self.lists, first=page, limit=limit))

    def all(self, **options: Any) -> list[str]:
        return [item.id for item in run(self.paginator(**options).collect())]

    def everything(self) -> list[str]:
        return [str(index) for index in range(self.size)]


sizes = st.integers(0, 130)
limits = st.integers(1, 40)


@given(size=sizes, limit=limits, total=st.booleans(), more=st.booleans(), tells_limit=st.booleans())
def test_every_item_of_a_paging_panel_is_read_once(
    size: int, limit: int, total: bool, more: bool, tells_limit: bool
) -> None:
    panel = FakePanel(size, tells_total=total, tells_more=more, tells_limit=tells_limit)
    assert panel.all(limit=limit) == panel.everything()
    # A panel that does not report the total is asked for one more page.
    needed = max(1, -(-size // limit))
    assert len(panel.calls) == needed + (0 if total or more or not size else 1)


@given(
    size=sizes,
    limit=st.none() | st.integers(1, 200),
    longest=st.integers(1, 40),
    total=st.booleans(),
    more=st.booleans(),
    tells_limit=st.booleans(),
    repeats_limit=st.booleans(),
)
def test_pages_of_a_length_the_panel_chose_are_all_read(
    size: int, limit: int | None, longest: int, **tells: bool
) -> None:
    total, more = tells.pop("total"), tells.pop("more")
    panel = FakePanel(size, longest=longest, tells_total=total, tells_more=more, **tells)
    assert panel.all(limit=limit) == panel.everything()
    # Again, when the client knows how long its pages are.
    assert panel.all(limit=limit) == panel.everything()


def test_pages_of_two_lists_may_differ_in_length() -> None:
    lists = ListTracker()
    long = FakePanel(50, default_limit=50, lists=lists)
    short = FakePanel(45, default_limit=20, endpoint="GET /v1/others", lists=lists)
    assert long.all() == long.everything()
    assert short.all() == short.everything()


@given(size=sizes, default=st.integers(1, 40), total=st.booleans(), tells_limit=st.booleans())
def test_every_item_is_read_from_a_panel_paging_by_default(
    size: int, default: int, total: bool, tells_limit: bool
) -> None:
    panel = FakePanel(size, default_limit=default, tells_total=total, tells_limit=tells_limit)
    assert panel.all() == panel.everything()


@given(size=sizes, limit=st.none() | limits, shuffles=st.booleans())
def test_whole_list_in_every_reply_is_read_once(size: int, limit: int | None, shuffles: bool) -> None:
    panel = FakePanel(size, honours_page=False, honours_limit=False, shuffles=shuffles)
    found = panel.all(limit=limit)
    assert sorted(found, key=int) == panel.everything()
    # A list of exactly the requested length is read once more, without a limit.
    assert len(panel.calls) <= (3 if limit == size else 2)


@given(size=sizes, limit=limits, tells_limit=st.booleans())
def test_page_ignored_with_fewer_rows_than_the_total_raises(size: int, limit: int, tells_limit: bool) -> None:
    panel = FakePanel(size, honours_page=False, tells_total=True, tells_limit=tells_limit)
    if size <= limit:
        assert panel.all(limit=limit) == panel.everything()
    else:
        with pytest.raises(DecodeError, match=f"there are {size} items, but gave {limit}"):
            panel.all(limit=limit)
    assert len(panel.calls) <= 2


@given(size=sizes, limit=limits, page=st.integers(1, 5), total=st.booleans())
def test_iteration_starts_at_the_requested_page(size: int, limit: int, page: int, total: bool) -> None:
    panel = FakePanel(size, tells_total=total)
    before = (page - 1) * limit
    if total and before > size:
        return
    assert panel.all(limit=limit, page=page) == panel.everything()[before:]
    assert panel.calls[0] == page


@given(size=sizes, page=st.integers(2, 5))
def test_later_page_of_unknown_length_is_accepted(size: int, page: int) -> None:
    panel = FakePanel(size, default_limit=20, tells_total=True)
    assert panel.all(page=page) == panel.everything()[(page - 1) * 20 :]


@given(size=st.integers(1, 130), limit=limits)
def test_same_full_page_twice_raises(size: int, limit: int) -> None:
    panel = FakePanel(size, honours_page=False)
    if size <= limit:
        assert panel.all(limit=limit) == panel.everything()
    else:
        with pytest.raises(DecodeError, match=f"gave the same {limit} items for page 2 again, and has more"):
            panel.all(limit=limit)


def test_list_shorter_than_a_seen_page_takes_one_call() -> None:
    long, short = FakePanel(40), FakePanel(39)
    short.lists = long.lists
    assert (len(long.all()), len(short.all())) == (40, 39)
    assert (long.calls, short.calls) == ([None, 2], [None])
    # One of the same length may be a full page.
    assert len(long.all()) == 40
    assert long.calls == [None, 2, None, 2]
    # The length that one caller requests says nothing about other calls.
    assert len(short.all(limit=50)) == 39
    assert short.calls == [None, None, 2]


def read(*pages: Page[Item], **source: Any) -> list[str]:
    """Read a list that consists of these pages."""
    left = list(pages)

    async def fetch(request: PageRequest) -> Page[Item]:
        return left.pop(0)

    listed = Paginator(ListSource(fetch=fetch, endpoint="GET /v1/things", **source))
    return [item.id for item in run(listed.collect())]


def page(number: int, *ids: int, **said: Any) -> Page[Item]:
    items = [Item(str(item)) for item in ids]
    return Page(**{"items": items, "total": None, "page": number, "limit": None, **said})


@pytest.mark.parametrize(
    ("pages", "problem", "json_path"),
    [
        ([page(1, 1, 2, total=5), page(2, total=5)], "there are 5 items, but gave 2", "$.total"),
        ([page(1, 1, 2, total=5), page(2, 3, 4, total=4)], "said there are 5 items, and a page later 4", "$.total"),
        ([page(1, 1, 2, total=3), page(2, 3, 4, total=4)], "said there are 3 items, and a page later 4", "$.total"),
        ([page(1, 1, 2), page(2, 2, 3)], "1 of the items on page 2 were on an earlier page already", "$"),
        ([page(1, 1, 2, has_more=True), page(2)], "says that more items follow, but gave none", "$"),
        ([page(1, 1, 2, has_more=True), page(2, 1, 2, has_more=True)], "more items follow, but gave none", "$"),
        ([page(1, 1, 2, has_more=False, total=3)], "there are 3 items, but gave 2", "$.total"),
    ],
)
def test_list_that_changed_while_read_raises(pages: list[Page[Item]], problem: str, json_path: str) -> None:
    with pytest.raises(DecodeError, match=problem) as caught:
        read(*pages)
    assert (caught.value.endpoint, caught.value.json_path) == ("GET /v1/things", json_path)
    assert caught.value.hint is not None
    assert "collect()" in caught.value.hint


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        # The figures of the panel count, not the length of a page.
        ([page(1, 1, 2, has_more=True), page(2, 3, has_more=True), page(3, 4, 5, has_more=False)], "12345"),
        ([page(1, 1, 2), page(2, 3), page(3, 4, 5), page(4)], "12345"),
        ([page(1, 1, 2, has_more=True), page(2, has_more=False)], "12"),
        # A total below the number of items means nothing.
        ([page(1, 1, 2, total=0), page(2, 3, total=0), page(3, total=0)], "123"),
        # Every page claims to be the first.
        ([page(1, 1, 2), page(1, 3, 4), page(1)], "1234"),
    ],
)
def test_list_ends_where_the_panel_says(pages: list[Page[Item]], found: str) -> None:
    assert "".join(read(*pages, limit=2)) == found


@given(
    size=st.integers(1, 30),
    limit=st.integers(1, 5),
    first=st.sampled_from([None, 1, 2]),
    deletions=st.lists(st.sets(st.integers(0, 29)), max_size=8),
)
def test_deleting_while_iterating_loses_no_item_silently(
    size: int, limit: int, first: int | None, deletions: list[set[int]]
) -> None:
    lists, there = ListTracker(), [str(number) for number in range(size)]

    async def fetch(request: PageRequest) -> Page[Item]:
        start = ((request.number or 1) - 1) * limit
        return page(request.number or 1, *map(int, there[start : start + limit]))

    source = ListSource(fetch=fetch, endpoint="GET /v1/things", kind="things", lists=lists, first=first, limit=limit)
    due, seen = set(there[limit * ((first or 1) - 1) :]), set[str]()

    async def clean_up() -> None:
        left = list(deletions)
        async for part in Paginator(source).pages():
            seen.update(item.id for item in part.items)
            for number in left.pop(0) if left else ():
                lists.note_write("things.delete")
                # Where a list is read from its second page on, the program does not know the first.
                if str(number) in due & set(there):
                    there.remove(str(number))

    with suppress(DecodeError):
        run(clean_up())
        assert due & set(there) <= seen


def test_endless_list_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "MAX_PAGES", 50)
    with pytest.raises(DecodeError, match="the list has no end: 50 items on 50 pages"):
        read(*[page(number, number, total=10**18) for number in range(1, 60)])


def test_deadline_covers_all_pages() -> None:
    asked: list[float | None] = []

    async def main() -> None:
        async def fetch(request: PageRequest) -> Page[Item]:
            asked.append(request.deadline)
            await asyncio.sleep(4)
            return page(len(asked), len(asked))

        source = ListSource(fetch=fetch, endpoint="GET /v1/things", deadline=10)
        async for _ in Paginator(source):
            # Work on the items does not count against the deadline.
            await asyncio.sleep(60)

    with pytest.raises(RequestTimeoutError, match="GET /v1/things: the deadline of 10 s for all pages"):
        run(main())
    assert asked == [10, pytest.approx(6, abs=0.1), pytest.approx(2, abs=0.1)]


def test_every_use_reads_from_the_start() -> None:
    panel = FakePanel(5)
    pages = panel.paginator(limit=2)

    async def main() -> None:
        assert len(await pages.collect()) == 5
        assert [item.id for item in (await pages).items] == ["0", "1"]
        assert [len(page.items) async for page in pages.pages()] == [2, 2, 1]
        assert [item.id async for item in pages] == ["0", "1", "2", "3", "4"]

    run(main())
    assert panel.calls == [None, 2, 3, 4, None, None, 2, 3, 4, None, 2, 3, 4]


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
async def test_awaiting_a_list_returns_its_first_page(
    server: RawServer, connect: Connect, use: Callable[[Any], Any]
) -> None:
    server.script(reply(json=rows(1, 2)), reply(json=[]))
    await use(connect().domains.list(limit=3, sort="created_at", order="desc"))
    assert server.requests[0].target == "/api/external/v1/domains?limit=3&sort=created_at&order=desc"


async def test_invalid_arguments_are_refused_before_use(server: RawServer, connect: Connect) -> None:
    panel = connect()
    with pytest.raises(ValueError, match="order"):
        panel.domains.list(order="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zone_id must not be empty"):
        panel.dns.records.list("")
    with pytest.raises(ValueError, match="status must not be None"):
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
async def test_list_in_any_envelope_is_read(server: RawServer, connect: Connect, wrap: Callable[[Any], Any]) -> None:
    server.script(reply(json=wrap(rows(1, 2))))
    page = await connect().domains.list()
    assert [domain.id for domain in page.items] == ["d1", "d2"]
    assert (page.page, page.limit) == (1, None)


@pytest.mark.parametrize("empty", [[], {"data": []}, {"status": "success", "data": None}, {"status": "success"}])
async def test_empty_list_takes_one_request(server: RawServer, connect: Connect, empty: Any) -> None:
    server.script(reply(json=empty))
    assert await connect().domains.list().collect() == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 204])
async def test_empty_reply_is_not_an_empty_list(server: RawServer, connect: Connect, status: int) -> None:
    server.script(reply(status))
    with pytest.raises(DecodeError, match="expected a list, found an empty reply"):
        await connect().domains.list().collect()


async def test_pages_follow_the_filters(server: RawServer, connect: Connect) -> None:
    server.script(*[reply(json=page) for page in (rows(1, 2), rows(3, 4), rows(5), [])])
    domains = [domain.id async for domain in connect().domains.list(limit=2, status="active")]
    assert domains == ["d1", "d2", "d3", "d4", "d5"]
    assert [sent.target.partition("?")[2] for sent in server.requests] == [
        "limit=2&status=active",
        "page=2&limit=2&status=active",
        "page=3&limit=2&status=active",
        "page=4&limit=2&status=active",
    ]


async def test_deadline_of_the_client_ends_a_later_page(server: RawServer, connect: Connect, advance: Advance) -> None:
    server.script(reply(json=rows(1, 2)), HANG)
    listing = asyncio.ensure_future(connect(deadline=20).domains.list(limit=2).collect())
    await server.received(2)
    advance(21)
    with pytest.raises(RequestTimeoutError, match="the deadline of 20 s has passed"):
        await listing
    assert len(server.requests) == 2


@pytest.mark.parametrize("value", ["2", 0, True, 2.0])
@pytest.mark.parametrize("name", ["page", "limit"])
async def test_invalid_page_or_limit_is_refused_before_sending(
    server: RawServer, connect: Connect, name: str, value: Any
) -> None:
    """The panel might accept text, but the client would not know which page follows."""
    arguments: Any = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be an integer from 1, not {value!r}"):
        connect().domains.list(**arguments)
    assert server.requests == []


async def test_logs_of_a_webhook_have_a_total(server: RawServer, connect: Connect) -> None:
    def logs(page: int, *ids: int) -> Any:
        return reply(json={"data": [{"id": str(number)} for number in ids], "total": 5, "page": page, "limit": 2})

    server.script(logs(1, 1, 2), logs(1, 1, 2), logs(2, 3, 4), logs(3, 5))
    logged = connect().webhooks.logs("w1")
    first = await logged
    assert (first.total, first.page, first.limit, len(first.items)) == (5, 1, 2, 2)
    assert [delivery.id async for delivery in logged] == ["1", "2", "3", "4", "5"]
    assert len(server.requests) == 4


async def test_list_without_pages_takes_one_call(server: RawServer, connect: Connect) -> None:
    services = [{"name": f"service-{number}", "status": "running"} for number in range(40)]
    server.script(reply(json=services), reply(json=services))
    assert len(await connect().server.services.list().collect()) == 40
    assert len(server.requests) == 1


async def test_list_without_pages_that_has_more_raises(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"data": [{"name": "nginx", "status": "running"}], "has_more": True}))
    with pytest.raises(DecodeError, match="says that more items follow, and this list has no pages"):
        await connect().server.services.list().collect()


async def test_empty_page_says_that_no_more_follow(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": [], "total": 0, "has_more": False}))
    page = await connect().domains.list()
    assert (page.items, page.total, page.has_more) == ([], 0, False)


async def sites(panel: PanelicaClient, count: int) -> list[str]:
    account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse")
    names = [f"site-{number:02}.example" for number in range(count)]
    for name in names:
        await panel.domains.create(domain=name, user_id=account.id)
    return names


@pytest.mark.parametrize("count", [15, 30])
async def test_deleting_items_while_iterating_pages_raises(panel: PanelicaClient, count: int) -> None:
    await sites(panel, count)

    async def clean_up() -> None:
        async for domain in panel.domains.list(limit=10):
            await panel.with_options(lane="bulk").domains.delete(domain.id)

    with pytest.raises(DecodeError, match="items have moved up to a page that was read") as caught:
        await clean_up()
    assert "collect()" in str(caught.value.hint)


@pytest.mark.parametrize("deleted", [["site-12.example"], [f"site-{number:02}.example" for number in range(20)]])
async def test_deleting_items_after_later_pages_raises(panel: PanelicaClient, deleted: list[str]) -> None:
    await sites(panel, 30)
    ids = {domain.domain: domain.id for domain in await panel.domains.list().collect()}

    async def clean_up() -> None:
        async for page in panel.domains.list(limit=10).pages():
            if page.items[0].domain == "site-10.example":
                for name in deleted:
                    await panel.domains.delete(ids[name])

    with pytest.raises(DecodeError, match="items have moved up to a page that was read"):
        await clean_up()


async def test_suspending_filtered_items_while_iterating_raises(panel: PanelicaClient) -> None:
    await sites(panel, 12)

    async def suspend_all() -> None:
        async for domain in panel.domains.list(status="active", limit=10):
            await panel.domains.suspend(domain.id)

    with pytest.raises(DecodeError, match="items have moved up"):
        await suspend_all()


def test_items_appended_to_the_last_page_do_not_raise() -> None:
    lists, there = ListTracker(), list(range(12))

    async def fetch(request: PageRequest) -> Page[Item]:
        start = ((request.number or 1) - 1) * 10
        return page(request.number or 1, *there[start : start + 10])

    async def add_some() -> list[str]:
        seen = []
        async for part in Paginator(
            ListSource(fetch=fetch, endpoint="GET /v1/things", kind="things", lists=lists)
        ).pages():
            seen += [item.id for item in part.items]
            if len(seen) == 12:
                there.append(12)
                lists.note_write("things.suspend")
        return seen

    assert run(add_some()) == [str(number) for number in range(12)]


async def test_deleting_items_of_a_single_page_works(panel: PanelicaClient) -> None:
    await sites(panel, 12)
    async for domain in panel.domains.list():
        await panel.domains.delete(domain.id)
    assert await panel.domains.list().collect() == []


async def test_changing_items_while_iterating_works(panel: PanelicaClient) -> None:
    names = await sites(panel, 12)
    seen = []
    async for domain in panel.domains.list(limit=5):
        await panel.domains.update(domain.id, php_version="8.3")
        seen.append(domain.domain)
    assert seen == names


async def test_unreadable_row_is_skipped_alone(server: RawServer, connect: Connect) -> None:
    steps = [reply(json=[*rows(1), {"id": "d2"}, None, *rows(3)]), reply(json=[])]
    server.script(*steps[:1], *steps)
    listed = connect().domains.list()
    with pytest.raises(DecodeError) as caught:
        await listed.collect()
    assert (caught.value.json_path, caught.value.message) == ("$[1].domain", "required field 'domain' is missing")
    [page] = [page async for page in listed.skip_unreadable().pages()]
    assert [domain.id for domain in page.items] == ["d1", "d3"]
    assert page.unreadable == [{"id": "d2"}, None]


async def test_unreadable_row_is_skipped_in_a_dialect_learnt_later(server: RawServer, connect: Connect) -> None:
    health = reply(json={"service": "panelica-external-api", "status": "ok", "version": "1.0.0"})
    server.script(health, reply(json={"status": "success", "data": [*rows(1), {"id": "d2"}]}))
    listed = connect(dialect="auto").domains.list().skip_unreadable()
    assert [domain.id for domain in await listed.collect()] == ["d1"]


@pytest.mark.parametrize(
    "place", [lambda figures: figures, lambda figures: {"pagination": figures}, lambda figures: {"meta": figures}]
)
@pytest.mark.parametrize(
    "figures",
    [
        {"total": 3},
        {"total": "3"},
        {"has_more": True},
        {"current_page": 1, "last_page": 2},
        {"total_pages": 2},
        {"next": "/v1/domains?page=2"},
        {"per_page": 2},
        {"total_count": 3, "page": 1},
    ],
    ids=str,
)
async def test_any_sign_of_more_pages_is_followed(
    server: RawServer, connect: Connect, place: Any, figures: Any
) -> None:
    def paged(items: Any, **figures: Any) -> Any:
        return reply(json={"status": "success", "data": items, **place(figures)})

    last = {
        **figures,
        **{
            name: value
            for name, value in {"has_more": False, "current_page": 2, "next": None, "page": 2}.items()
            if name in figures
        },
    }
    server.script(paged(rows(1, 2), **figures), paged(rows(3), **last))
    found = await connect().domains.list(limit=1000).collect()
    assert [domain.id for domain in found] == ["d1", "d2", "d3"]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "figures",
    [
        {"total_pages": 0},
        {"meta": {"last_page": 0}},
        {"total_pages": 0, "total": 0},
        {"has_more": False, "total": 0},
        {"limit": 100},
        {"per_page": "10000000000000"},
    ],
)
async def test_figures_that_contradict_the_rows_do_not_end_the_list(
    server: RawServer, connect: Connect, figures: dict[str, Any]
) -> None:
    server.script(*(reply(json={"data": found, **figures}) for found in (rows(1, 2), rows(3), [])))
    assert [domain.id for domain in await connect().domains.list().collect()] == ["d1", "d2", "d3"]


async def test_every_page_of_the_embedded_panel_is_read(box: Sandbox, panel: PanelicaClient) -> None:
    names = await sites(panel, 33)
    for options in ({}, {"limit": 10}, {"limit": 33}, {"limit": 100}, {"limit": 1}):
        assert [domain.domain async for domain in panel.domains.list(**options)] == names
    assert [domain.domain async for domain in panel.domains.list(page=2)] == names[25:]
    assert [domain.domain async for domain in panel.domains.list(page=3, limit=10)] == names[20:]
