"""Lists: filters, order and pages.

Guesses: without `page` and `limit` everything comes at once, as current panels do (panel-facts B.2); `page` alone
means 25 items a page, the reference's example; lists are in order of creation; any field can be sorted by.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from panelica_async.sandbox.handlers.base import Call
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import Row

DEFAULT_LIMIT = 25

_NOT_FILTERS = frozenset({"page", "limit", "sort", "order"})


@attrs.frozen
class Slice:
    """One page of a list."""

    rows: list[Row]
    total: int
    page: int
    limit: int


def select(call: Call, kind: str, conditions: Mapping[str, object] | None = None, *, limit: int | None = None) -> Slice:
    """Return the rows of a view that the query of a call asks for.

    Args:
        call: The call; query parameters that name a column filter by it.
        kind: The view.
        conditions: Further columns and their values.
        limit: Rows a page has when the call does not say; None for the default.

    Raises:
        ApiError: 400, there is no such field to sort by.
    """
    store = call.store
    columns = store.columns(kind)
    filters = {name: value for name, value in call.query.items() if name in columns and name not in _NOT_FILTERS}
    where, values = _where({**filters, **(conditions or {})})
    total = int(store.value(f'SELECT count(*) FROM temp."{kind}"{where}', *values))  # noqa: S608 - our own names
    page = call.query.get("page", 1)
    size = call.query.get("limit", limit or (DEFAULT_LIMIT if "page" in call.query else max(total, 1)))
    sql = f'SELECT * FROM temp."{kind}"{where} ORDER BY {_order(call, columns)} LIMIT ? OFFSET ?'  # noqa: S608
    return Slice(store.rows(sql, *values, size, (page - 1) * size), total, page, size)


def rows(call: Call, kind: str, conditions: Mapping[str, object] | None = None) -> list[Row]:
    """Return just the rows of `select`."""
    return select(call, kind, conditions).rows


def _where(conditions: dict[str, Any]) -> tuple[str, list[object]]:
    if not conditions:
        return "", []
    return " WHERE " + " AND ".join(f'"{name}" = ?' for name in conditions), list(conditions.values())


def _order(call: Call, columns: frozenset[str]) -> str:
    direction = "DESC" if call.query.get("order") == "desc" else "ASC"
    field = call.query.get("sort")
    if field is None:
        return f"_position {direction}"
    if field == "created_at":
        # Lists are in order of creation, whether or not their rows show its time.
        return f"_position {direction}"
    if field not in columns or field.startswith("_"):
        raise bad_request("sort: there is no such field")
    return f'"{field}" {direction}, _position {direction}'
