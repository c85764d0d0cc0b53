import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.sandbox.handlers.base import ApiCall, select_page
from panelica_async.sandbox.spec import shipped_document
from panelica_async.sandbox.store import Store, root_id
from tests.sandbox.signed_client import Clock, SignedClient


async def names(panel: SignedClient, query: str) -> list[str]:
    return [row["domain"] for row in await panel.ok("GET", f"/v1/domains?{query}".rstrip("?"))]


@pytest.fixture
async def domains(panel: SignedClient, clock: Clock) -> None:
    john, jane = await panel.account("john"), await panel.account("jane")
    for name, owner in [("c.example", john), ("a.example", jane), ("b.example", john), ("d.example", john)]:
        await panel.domain(name, owner["id"])
        clock.advance(1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "cabd"),
        ("order=desc", "dbac"),
        ("sort=domain", "abcd"),
        ("sort=domain&order=desc", "dcba"),
        ("sort=created_at", "cabd"),
        ("sort=status&order=desc", "dbac"),
        ("limit=2", "ca"),
        ("page=2&limit=2", "bd"),
        ("page=2&limit=3", "d"),
        ("page=3&limit=2", ""),
        ("page=1", "cabd"),
        ("page=2", ""),
        ("status=active", "cabd"),
        ("status=suspended", ""),
        ("colour=red&limit=1", "c"),
        ("limit=1&limit=2", "c"),
        ("page=999999999999&limit=999999", ""),
    ],
)
@pytest.mark.usefixtures("domains")
async def test_list_is_ordered_and_paged(panel: SignedClient, query: str, expected: str) -> None:
    assert await names(panel, query) == [f"{letter}.example" for letter in expected]


@pytest.mark.usefixtures("domains")
async def test_list_can_be_filtered_and_paged(panel: SignedClient) -> None:
    (john,) = [row for row in await panel.ok("GET", "/v1/accounts") if row["username"] == "john"]
    query = f"user_id={john['id']}&sort=domain&limit=2"
    assert await names(panel, query) == ["b.example", "c.example"]
    assert await names(panel, f"{query}&page=2") == ["d.example"]
    assert await names(panel, f"{query}&status=suspended") == []


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("page=0", "page: must be at least 1"),
        ("limit=0", "limit: must be at least 1"),
        ("limit=ten", "limit: must be a whole number"),
        ("limit=", "limit: must be a whole number"),
        ("limit=1.5", "limit: must be a whole number"),
        ("order=up", "order: must be one of asc, desc"),
        ("sort=", "sort: must not be empty"),
        ("sort=colour", "sort: there is no such field"),
        ("sort=_position", "sort: there is no such field"),
        ("sort=domain;drop", "sort: there is no such field"),
    ],
)
async def test_page_when_invalid_is_rejected(panel: SignedClient, query: str, details: str) -> None:
    assert (await panel.refused(400, "GET", f"/v1/domains?{query}"))["details"] == details


async def test_every_field_of_a_list_can_be_sorted_by(panel: SignedClient) -> None:
    await panel.domain()
    for endpoint in shipped_document().endpoints:
        if any(parameter["name"] == "sort" for parameter in endpoint.query_parameters) and "{" not in endpoint.path:
            for row in await panel.ok(endpoint.method, endpoint.path):
                for field in row:
                    await panel.ok(endpoint.method, f"{endpoint.path}?sort={field}&order=desc")


@given(total=st.integers(0, 12), limit=st.integers(1, 5), order=st.sampled_from(["asc", "desc"]))
def test_pages_together_are_the_whole_list(total: int, limit: int, order: str) -> None:
    store = Store(":memory:", Clock())
    (endpoint,) = [endpoint for endpoint in shipped_document().endpoints if endpoint.operation == "domains.list"]
    for number in range(total):
        row = {"id": str(number), "domain": f"d{number % 4}-{number}.example", "user_id": root_id(store)}
        settings = {"php_version": f"8.{number % 3}", "web_server": "nginx", "document_root": "/"}
        store.insert("domain", {**row, **settings, "created_at": 0})

    def rows(**query: object) -> list[dict]:
        call = ApiCall(
            dialect="reference",
            endpoint=endpoint,
            path={},
            query={"sort": "php_version", "order": order, **query},
            body={},
            store=store,
            document=shipped_document(),
            signed_by=None,
        )
        return select_page(call, "domain").rows

    pages = [rows(page=number, limit=limit) for number in range(1, total // limit + 2)]
    assert [row for page in pages for row in page] == rows()
    assert all(len(page) == limit for page in pages[:-1])
    assert len(rows()) == total
    store.close()
