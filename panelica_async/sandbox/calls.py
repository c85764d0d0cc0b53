"""What a handler gets and returns, the registry of handlers, and the lists of the reference dialect."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import attrs

from panelica_async.sandbox.auth import Key
from panelica_async.sandbox.limits import ServerLimits
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.spec import Document, Endpoint
from panelica_async.sandbox.store import Row, Store


@attrs.frozen
class Caller:
    """The key that signed a call, with its limits."""

    key: Key
    limits: ServerLimits


@attrs.frozen(kw_only=True)
class ApiCall:
    """A call that has passed all checks."""

    endpoint: Endpoint
    path: Mapping[str, str]
    """Path parameters, decoded."""
    query: Mapping[str, Any]
    body: Mapping[str, Any] = attrs.field(repr=False)
    store: Store
    document: Document
    signer: Caller | None
    """None if the operation is not signed."""

    @property
    def now(self) -> int:
        """The panel's time in Unix seconds."""
        return self.store.now()

    @property
    def caller(self) -> Caller:
        """The key that signed the call; operations that are not signed have none."""
        if self.signer is None:
            raise LookupError(f"{self.endpoint.operation} is not signed")
        return self.signer

    @property
    def concrete_path(self) -> str:
        """The path with its parameters filled in."""
        return self.endpoint.path.format(**self.path)

    def fields(self, *names: str) -> dict[str, Any]:
        """Return the fields of the body that have these names."""
        return {name: self.body[name] for name in names if name in self.body}


@attrs.frozen
class ApiReply:
    """A success; its status comes from the specification, its form from the dialect."""

    data: Any = None
    message: str | None = None
    """What was done, if there is nothing else to say."""
    beside: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """What current panels write beside the data, such as the total of a list."""


Handler: TypeAlias = Callable[[ApiCall], ApiReply]
_Function = TypeVar("_Function", bound=Handler)

HANDLERS: dict[str, Handler] = {}
"""By operation of the reference dialect, and by method and path of current panels."""


def handles(name: str) -> Callable[[_Function], _Function]:
    """Register a function as the handler of an operation, such as `domains.create`, or of `GET /v1/domains/{id}`."""

    def register(function: _Function) -> _Function:
        HANDLERS[name] = function
        return function

    return register


def accepted(message: str) -> ApiReply:
    """Return the reply of an action without a result."""
    return ApiReply(message=message)


_DEFAULT_LIMIT = 25
PAGING = frozenset({"page", "limit", "sort", "order"})
"""Query parameters that do not filter."""


@attrs.frozen
class Slice:
    """One page of a list."""

    rows: list[Row]
    total: int
    page: int
    limit: int


def select(
    call: ApiCall, kind: str, conditions: Mapping[str, object] | None = None, *, limit: int | None = None
) -> Slice:
    """Return the rows of a view that the query of a call selects.

    Without `page` and `limit`, the list is complete, as on current panels (evidence: lists-unpaged). Guesses: `page`
    alone means 25 rows, the reference's example; lists are in order of creation; any field can be sorted by.

    Args:
        call: The call; query parameters that name a column filter by it.
        kind: The view.
        conditions: Further columns and their values.
        limit: Rows on a page if the call does not say; None for the default.

    Raises:
        ApiError: 400, the field to sort by does not exist.
    """
    store = call.store
    columns = store.columns(kind)
    filters = {name: value for name, value in call.query.items() if name in columns and name not in PAGING}
    where, values = _where({**filters, **(conditions or {})})
    total = int(store.value(f'SELECT count(*) FROM "{kind}"{where}', *values))  # noqa: S608 - our own names
    page, size = page_and_limit(call, total, limit)
    sql = f'SELECT * FROM "{kind}"{where} ORDER BY {_order(call, columns)} LIMIT ? OFFSET ?'  # noqa: S608
    return Slice(store.rows(sql, *values, size, (page - 1) * size), total, page, size)


def rows(call: ApiCall, kind: str, conditions: Mapping[str, object] | None = None) -> list[Row]:
    """Return just the rows of `select`."""
    return select(call, kind, conditions).rows


def page_and_limit(call: ApiCall, total: int, default: int | None = None) -> tuple[int, int]:
    """Return which page of a list a call asks for, and the number of its rows."""
    size = _DEFAULT_LIMIT if "page" in call.query else max(total, 1)
    return call.query.get("page", 1), call.query.get("limit", default or size)


def _where(conditions: dict[str, Any]) -> tuple[str, list[object]]:
    if not conditions:
        return "", []
    return " WHERE " + " AND ".join(f'"{name}" = ?' for name in conditions), list(conditions.values())


def _order(call: ApiCall, columns: frozenset[str]) -> str:
    direction = "DESC" if call.query.get("order") == "desc" else "ASC"
    field = call.query.get("sort", "created_at")
    if field == "created_at":
        # Lists are in order of creation, whether or not their rows show its time.
        return f"_position {direction}"
    if field not in columns or field.startswith("_"):
        raise bad_request("sort: there is no such field")
    return f'"{field}" {direction}, _position {direction}'
