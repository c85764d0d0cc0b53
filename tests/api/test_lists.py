"""Lists that arrive whole: the client filters, sorts and pages them, and says so where it cannot."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import DecodeError, Paginator
from panelica_async.api.lists import RowFilter, Selection
from panelica_async.api.resource import Resource
from panelica_async.core.model import UNSET, Model
from panelica_async.core.operation import Operation, Repeat, Wire
from panelica_async.core.reply import unwrap
from panelica_async.models import Database, Domain, FtpAccount
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply

WIRE = Wire(
    method="GET",
    path="/v1/domains",
    is_whole=True,
    filters={"status": "status", "user_id": "user_id", "domain_id": "domain_id"},
)
LIST = Operation(
    name="domains.list",
    wires={"panel": WIRE},
    repeat=Repeat.READ,
    choices={"order": ("asc", "desc")},
    not_empty=frozenset({"sort"}),
)


def select(kind: type[Model] = Domain, **arguments: object) -> Selection:
    return Selection.of(LIST, WIRE, kind, arguments)


def a_row(number: int, **fields: object) -> dict[str, Any]:
    return {"id": f"d{number}", "domain": f"{number}.example.com", **fields}


ROWS = [
    a_row(3, user_id="u1", status="Active", created_at="2026-03-01T00:00:00Z", disk_usage_mb=5),
    a_row(1, user_id="u2", status="suspended", created_at="2026-01-01T00:00:00Z", disk_usage_mb=None),
    a_row(4, user_id="U1", status="ACTIVE", created_at="2026-04-01T00:00:00Z", disk_usage_mb=1),
    a_row(2, user_id="u3", status="active", created_at="2026-02-01T00:00:00Z", disk_usage_mb=5),
]


class Lists:
    """A client of a panel whose lists arrive whole."""

    def __init__(self, server: RawServer, connect: Connect) -> None:
        self.server = server
        self.resource = Resource(connect(dialect="panel")._runner)

    def list(self, rows: list[Any], envelope: dict[str, Any] | None = None, **arguments: object) -> Paginator[Domain]:
        self.server.script(reply(json={"status": "success", "data": rows, **(envelope or {})}))
        return self.resource._paginate(LIST, Domain, **arguments)


@pytest.fixture
def lists(server: RawServer, connect: Connect) -> Lists:
    return Lists(server, connect)


def numbers(domains: list[Domain]) -> str:
    return " ".join(domain.id[1:] for domain in domains)


async def test_whole_list_is_one_request_without_page_or_limit(lists: Lists) -> None:
    found = lists.list(ROWS, page=2, limit=1, sort="id", order="desc", status="active", user_id=UNSET)
    page = await found
    assert (numbers(page.items), page.total, page.page, page.limit, page.has_more) == ("3", 3, 2, 1, True)
    assert [request.target for request in lists.server.requests] == ["/api/external/v1/domains"]
    assert found.calls == 1


async def test_iteration_starts_at_the_page_with_one_request(lists: Lists) -> None:
    listed = lists.list(ROWS, page=2, limit=1, sort="id")
    assert [(numbers(page.items), page.page, page.has_more) async for page in listed.pages()] == [
        ("2", 2, True),
        ("3", 3, True),
        ("4", 4, False),
    ]
    lists.server.script(reply(json=ROWS))
    assert numbers(await listed.collect()) == "2 3 4"
    assert len(lists.server.requests) == 2


async def test_rows_without_arguments_keep_the_order_of_the_panel(lists: Lists) -> None:
    assert numbers(await lists.list(ROWS).collect()) == "3 1 4 2"
    page = await lists.list(ROWS)
    assert (page.total, page.page, page.limit, page.has_more) == (4, 1, None, False)
    past = await lists.list(ROWS, page=2)
    assert (past.items, past.total, past.page, past.has_more) == ([], 4, 2, False)


async def test_pages_are_cut_from_one_order(lists: Lists) -> None:
    first = await lists.list(ROWS, limit=2)
    second = await lists.list(ROWS[::-1], limit=2, page=2)
    assert (numbers(first.items), numbers(second.items)) == ("1 2", "3 4")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"status": "active"}, "3 4 2"),
        ({"status": "ACTIVE", "user_id": "u1"}, "3 4"),
        ({"user_id": ["u2", "u3"]}, "1 2"),
        ({"user_id": "nobody"}, ""),
        ({"sort": "disk_usage_mb"}, "4 3 2 1"),
        ({"sort": "disk_usage_mb", "order": "desc"}, "3 2 4 1"),
        ({"sort": "domain_name"}, "1 2 3 4"),
        ({"sort": "created_at", "order": "desc"}, "4 3 2 1"),
        ({"order": "desc"}, "4 3 2 1"),
        ({"sort": "disk_usage_mb", "limit": 10}, "4 2 3 1"),
    ],
    ids=str,
)
async def test_rows_are_filtered_and_sorted(lists: Lists, arguments: dict[str, Any], expected: str) -> None:
    page = await lists.list(ROWS, **arguments)
    assert (numbers(page.items), page.total) == (expected, len(expected.split()))


async def test_text_is_sorted_in_any_case(lists: Lists) -> None:
    rows = [a_row(1, domain="b.example"), a_row(2, domain="C.example"), a_row(3, domain="A.example")]
    assert numbers(await lists.list(rows, sort="domain").collect()) == "3 1 2"


async def test_rows_of_other_tenants_are_not_listed(lists: Lists) -> None:
    rows = [*ROWS, a_row(5, user_id=None), a_row(6), a_row(7, user_id=""), {"user_id": "u2"}]
    # Neither rows that do not show their owner, nor a broken row of another tenant.
    assert numbers(await lists.list(rows, user_id="u1").collect()) == "3 4"
    with pytest.raises(DecodeError, match=r"cannot filter by user_id: no row of the list shows user_id at \$\[0\]"):
        await lists.list([a_row(1), a_row(2)], user_id="u1")
    assert await lists.list([], user_id="u1").collect() == []


async def test_list_without_the_field_to_sort_by_raises(lists: Lists) -> None:
    with pytest.raises(DecodeError, match="cannot sort by disk_usage_mb: no row of the list shows it"):
        await lists.list([a_row(1), a_row(2)], sort="disk_usage_mb")
    assert await lists.list([], sort="disk_usage_mb").collect() == []


@pytest.mark.parametrize(
    ("rows", "envelope", "problem"),
    [
        ([a_row(1), a_row(2), a_row(1)], {}, r"the list has the id 'd1' twice at \$\[2\]"),
        ([a_row(1)], {"total": 2}, r"the panel says there are 2 items, but gave 1 at \$\.total"),
        ([a_row(1), a_row(2)], {"total": "1"}, "the panel says there are 1 items, but gave 2"),
        ([], {"total": 1}, "the panel says there are 1 items, but gave 0"),
        ([a_row(1)], {"has_more": True}, "more items follow"),
        ([a_row(1)], {"has_more": "true"}, "more items follow"),
        ([a_row(1)], {"next_cursor": "b64"}, "more items follow"),
        ([a_row(1)], {"total_pages": 2}, "more items follow"),
    ],
)
async def test_list_that_contradicts_itself_raises(
    lists: Lists, rows: list[Any], envelope: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DecodeError, match=problem):
        await lists.list(rows, envelope)
    with pytest.raises(DecodeError, match=problem):
        await lists.list(rows, envelope).collect()


def test_total_of_zero_beside_rows_is_ignored() -> None:
    rows = [a_row(1)]
    select().check_whole(rows, unwrap({"status": "success", "data": rows, "total": 0}))


def test_page_count_of_a_whole_list_is_ignored() -> None:
    rows = [a_row(1), a_row(2)]
    select().check_whole(rows, unwrap({"status": "success", "data": rows, "total": 2, "total_pages": 2}))


def test_users_of_a_database_may_share_its_id() -> None:
    rows = [{"id": "b1", "username": "a"}, {"id": "b1", "username": "b"}]
    select(Database).check_whole(rows, unwrap(rows))
    with pytest.raises(DecodeError, match="twice"):
        select(Database).check_whole([*rows, rows[0]], unwrap(rows))


async def test_unreadable_row_outside_the_filter_is_ignored(lists: Lists) -> None:
    rows = [*ROWS, {"user_id": "u1", "id": "d9"}, {"user_id": "u2", "id": "d8"}, "row"]
    page = await lists.list(rows, user_id="u1").skip_unreadable()
    assert (numbers(page.items), page.unreadable, page.total) == ("3 4", [rows[4], "row"], 4)
    parts = [part async for part in lists.list(rows, user_id="u1", limit=1).skip_unreadable().pages()]
    assert [len(part.unreadable) for part in parts] == [2, 0]


async def test_broken_row_is_named_by_its_index_in_the_reply(lists: Lists) -> None:
    with pytest.raises(DecodeError, match=r"required field 'domain' is missing at \$\[4\]\.domain"):
        await lists.list([*ROWS, {"id": "d9", "user_id": "u1"}], user_id="u1")


async def test_unreadable_row_is_named_or_skipped(lists: Lists) -> None:
    rows = [*ROWS, {"id": "d9"}]
    with pytest.raises(DecodeError, match=r"required field 'domain' is missing at \$\[4\]\.domain"):
        await lists.list(rows).collect()
    assert len(await lists.list(rows).skip_unreadable().collect()) == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"page": 0}, "page must be an integer from 1, not 0"),
        ({"page": None}, "page must be an integer from 1, not None"),
        ({"limit": -1}, "limit must be an integer from 1, not -1"),
        ({"limit": True}, "limit must be an integer from 1, not True"),
        ({"sort": "colour"}, "sort must be a field of Domain with a single value, not 'colour'"),
        ({"sort": ["domain"]}, "sort must be a field of Domain with a single value, not \\['domain'\\]"),
        ({"sort": ""}, "sort must not be empty"),
        ({"order": "up"}, "order must be one of asc, desc, not 'up'"),
        ({"status": None}, "status must not be None: leave it out instead"),
        ({"user_id": []}, r"user_id must not be an empty list: leave it out instead"),
    ],
    ids=str,
)
def test_invalid_argument_raises_before_the_list_is_used(lists: Lists, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        lists.list([], **arguments)


# Properties

rows_of_tenants = st.lists(
    st.fixed_dictionaries(
        {"user_id": st.sampled_from(["u1", "U1", "u2", "", None, 17]), "quota_mb": st.none() | st.integers(-1, 3)}
    ),
    max_size=30,
)


@given(rows=rows_of_tenants, wanted=st.sampled_from(["u1", "u2", "17", "u9"]))
def test_filter_keeps_the_rows_of_a_tenant_alone(rows: list[dict[str, Any]], wanted: str) -> None:
    kept = select(FtpAccount, user_id=wanted).matching(rows, unwrap(rows))
    assert kept == [row for row in rows if str(row["user_id"]).lower() == wanted]


ages = st.none() | st.integers(0, 5).map(lambda days: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days))
domain_lists = st.lists(st.tuples(ages, st.none() | st.integers(0, 3)), max_size=30).map(
    lambda pairs: [
        Domain(id=f"d{number}", domain="example.com", created_at=age, disk_usage_mb=usage)
        for number, (age, usage) in enumerate(pairs)
    ]
)


@given(items=domain_lists, is_descending=st.booleans())
def test_sort_is_stable_with_absent_values_last(items: list[Domain], is_descending: bool) -> None:
    order = "desc" if is_descending else "asc"
    if items and all(item.disk_usage_mb is None for item in items):
        return
    found = select(sort="disk_usage_mb", order=order).ordered(items)
    usages = [item.disk_usage_mb for item in found if item.disk_usage_mb is not None]
    assert usages == sorted(usages, reverse=is_descending)
    assert all(item.disk_usage_mb is None for item in found[len(usages) :])
    for usage in {item.disk_usage_mb for item in items}:
        same = [item.id for item in items if item.disk_usage_mb == usage]
        assert [item.id for item in found if item.disk_usage_mb == usage] == same


@given(items=domain_lists, limit=st.integers(1, 10), shuffle=st.randoms())
def test_pages_together_are_the_list(items: list[Domain], limit: int, shuffle: Any) -> None:
    found = list[str]()
    for number in range(1, len(items) // limit + 2):
        shuffle.shuffle(items)
        selection = select(limit=limit, page=number)
        _, part, has_more = next(selection.cut(selection.ordered(items)))
        assert has_more == (number * limit < len(items))
        found += [item.id for item in part]
    assert sorted(found) == sorted(item.id for item in items)


@pytest.mark.parametrize(
    "value",
    [{"active"}, (text for text in ["active"]), {"active": True}, b"active"],
    ids=lambda value: type(value).__name__,
)
def test_filter_that_no_query_can_hold_is_refused(lists: Lists, value: object) -> None:
    with pytest.raises(TypeError, match="status must be a value that a query can hold, not"):
        lists.list([], status=value)


def test_enum_member_filters_like_its_text() -> None:
    class State(str, Enum):  # noqa: UP042 - StrEnum is its own text
        ACTIVE = "Active"

    assert RowFilter.of("status", ("status",), State.ACTIVE).keeps({"status": "active"})


def test_filter_compares_values_as_their_text() -> None:
    wanted = RowFilter.of("is_primary", ("is_primary", "primary"), True)
    assert wanted.keeps({"is_primary": None, "primary": True})
    assert not wanted.keeps({"is_primary": False})
