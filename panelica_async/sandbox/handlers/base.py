"""Shared parts of the handlers: calls, replies and `@handles`; lists, pages and standard handlers; owners and checks.

A handler takes a call and returns a reply. It is registered for an operation of the reference, for an endpoint of
current panels as `spec/panel` writes it, or for both:

    @handles("domains.suspend", "POST /v1/domains/{id}/suspend")
    def suspend_domain(call: ApiCall) -> ApiReply:
        call.store.update("domain", get(call, "domain")["id"], {"suspended": 1})
        return acknowledgement("Domain suspended")

A standard handler takes one line: `handle_list`, `handle_get`, `handle_update`, `handle_delete`,
`handle_password_change`.

`list_rows` and `get` return objects in the form of the call's dialect. The reference reads `views.sql`; current panels
read `panel_views.sql`, and show only what the owner of the key may see.

Guesses: passwords have 8 characters or more; they are checked, but not stored. A suspended account gets no domains, a
suspended account or domain no databases, mailboxes or FTP users. Disk space and traffic of a plan are not enforced.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from panelica_async.sandbox.auth import Key, role_of
from panelica_async.sandbox.limits import ServerLimits
from panelica_async.sandbox.messages import bad_request, forbidden, not_found, plan_limit_reached, validator_error
from panelica_async.sandbox.spec import Document, Endpoint
from panelica_async.sandbox.store import Row, Store, new_id

DialectName: TypeAlias = Literal["reference", "panel"]


@attrs.frozen
class Caller:
    """The key that signed a call, with its limits."""

    key: Key
    limits: ServerLimits


@attrs.frozen(kw_only=True)
class ApiCall:
    """A call that has passed all checks."""

    dialect: DialectName
    endpoint: Endpoint
    path: Mapping[str, str]
    """Path parameters, decoded."""
    query: Mapping[str, Any]
    body: Mapping[str, Any] = attrs.field(repr=False)
    store: Store
    document: Document
    signed_by: Caller | None
    """None if the operation needs no signature."""

    @property
    def now(self) -> int:
        """The panel's time in Unix seconds."""
        return self.store.now()

    @property
    def caller(self) -> Caller:
        """The key that signed the call.

        Raises:
            LookupError: The operation needs no signature.
        """
        if self.signed_by is None:
            raise LookupError(f"{self.endpoint.operation} is not signed")
        return self.signed_by

    @property
    def concrete_path(self) -> str:
        """The path with its parameters filled in."""
        return self.endpoint.path.format(**self.path)

    def fields(self, *names: str) -> dict[str, Any]:
        """Return the fields with these names that the body has."""
        return {name: self.body[name] for name in names if name in self.body}


@attrs.frozen
class ApiReply:
    """A success; its status comes from the specification, its form from the dialect."""

    data: Any = None
    message: str | None = None
    """Acknowledges an action that has no data to return."""
    envelope_fields: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """Further fields of the envelope on current panels, such as the total of a list."""


Handler: TypeAlias = Callable[[ApiCall], ApiReply]

HANDLERS: dict[str, Handler] = {}
"""By operation of the reference dialect, and by method and path of current panels."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler of operations, such as `domains.create` or `GET /v1/domains/{id}`."""

    def decorate(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, function))
        return function

    return decorate


def acknowledgement(message: str) -> ApiReply:
    """Return the reply to an action that has no data to return."""
    return ApiReply(message=message)


def handle_list(kind: str, *names: str) -> None:
    """Serve the list of a kind."""
    handles(*names)(lambda call: ApiReply(list_rows(call, kind)))


def handle_get(kind: str, *names: str) -> None:
    """Serve a single object of a kind."""
    handles(*names)(lambda call: ApiReply(get(call, kind)))


def handle_update(kind: str, *names: str, fields: Iterable[str]) -> None:
    """Serve the update of an object, limited to these fields."""

    @handles(*names)
    def update(call: ApiCall) -> ApiReply:
        call.store.update(kind, get(call, kind)["id"], call.fields(*fields))
        return ApiReply(get(call, kind))


def handle_delete(kind: str, *names: str, message: str) -> None:
    """Serve the deletion of an object with everything that belongs to it."""

    @handles(*names)
    def delete(call: ApiCall) -> ApiReply:
        call.store.delete(kind, get(call, kind)["id"])
        return acknowledgement(message)


def handle_password_change(kind: str, name: str, field: str = "password") -> None:
    """Serve a change of password, without asking for the old one (evidence: password-changes, accounts-update)."""

    @handles(name)
    def change_password(call: ApiCall) -> ApiReply:
        get(call, kind)
        check_password(call, field)
        return acknowledgement("Password changed")


_MIN_PASSWORD_LENGTH = 8


def check_password(call: ApiCall, field: str = "password") -> None:
    """Refuse a password that is too short (evidence: passwords)."""
    if len(call.body[field]) >= _MIN_PASSWORD_LENGTH:
        return
    if call.dialect == "panel":
        raise validator_error(call.endpoint.operation, [(field, "min")])
    raise bad_request(f"{field}: must have at least {_MIN_PASSWORD_LENGTH} characters")


# Objects with a table

# No account owns these, so every key that may read them sees all of them, in the form of the reference.
_UNOWNED_KINDS = frozenset({"api_key", "cloudflare_zone", "service", "webhook"})
_UNRESTRICTED_ROLES = frozenset({"ROOT", "ADMIN"})


def list_rows(call: ApiCall, kind: str, **conditions: object) -> list[Row]:
    """Return the objects of a kind, in the form of the call's dialect.

    In the reference, the query of the call filters, sorts and pages them. On current panels, the list is always whole
    and shows what the owner of the key may see (evidence: lists-unpaged, lists-owner-view). Guess: resellers see only
    what they own themselves.

    Args:
        call: The call.
        kind: The kind, such as `domain`.
        conditions: Columns that must have these values.
    """
    if call.dialect == "reference":
        return select_page(call, kind, conditions).rows
    if kind in _UNOWNED_KINDS:
        return call.store.rows(f"SELECT * FROM {kind}")  # noqa: S608 - our own names
    user_id = call.caller.key.user_id
    if role_of(call.store, user_id) not in _UNRESTRICTED_ROLES:
        conditions["_owner"] = user_id
    where, values = _where(conditions)
    return call.store.rows(f'SELECT * FROM "panel_{kind}"{where}', *values)  # noqa: S608 - our own names


def get(call: ApiCall, kind: str, identifier: str | None = None, *, key: str = "id") -> Row:
    """Return an object, by default the one that the first path parameter names.

    Raises:
        ApiError: 404, there is no such object, or the owner of the key may not see it.
    """
    identifier = next(iter(call.path.values())) if identifier is None else identifier
    if call.dialect == "reference" or kind in _UNOWNED_KINDS:
        return call.store.get(kind, identifier, key=key)
    rows = list_rows(call, kind, **{key: identifier})
    if not rows:
        raise not_found(kind, identifier)
    return rows[0]


def create(call: ApiCall, kind: str, **columns: object) -> Row:
    """Add an object with a new id, and return it.

    Raises:
        ApiError: 409, such an object already exists.
    """
    identifier = new_id()
    call.store.insert(kind, {"id": identifier, "created_at": call.now, **columns})
    return get(call, kind, identifier)


UNLIMITED = -1
# How much of each plan limit an account uses. A create beyond the limit gets a 403 (evidence: error-statuses).
_USAGE_QUERIES = {
    "max_domains": "SELECT count(*) FROM domains WHERE user_id = ?",
    "max_databases": "SELECT count(*) FROM databases AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?",
    "max_email_accounts": (
        "SELECT count(*) FROM email_accounts AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?"
    ),
    "max_ftp_accounts": "SELECT count(*) FROM ftp_accounts WHERE user_id = ?",
}


def active_owner(call: ApiCall, user_id: str) -> Row:
    """Return an account that is not suspended, as a row of the view `owner`.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended.
    """
    owner = call.store.find("owner", user_id)
    if owner is None:
        raise not_found("account", user_id)
    if owner["suspended"]:
        raise forbidden(f"the account {owner['username']} is suspended", message="Account suspended")
    return owner


def active_domain(call: ApiCall, domain_id: str) -> tuple[Row, Row]:
    """Return a domain and its owner, both of them active.

    Raises:
        ApiError: 404, there is no such domain; 403, it or its owner is suspended.
    """
    domain = get(call, "domain", domain_id)
    owner = active_owner(call, domain["user_id"])
    if domain["status"] == "suspended":
        name = domain["domain" if call.dialect == "reference" else "domain_name"]
        raise forbidden(f"the domain {name} is suspended", message="Domain suspended")
    return domain, owner


def check_plan_limit(call: ApiCall, owner: Row, limit: str) -> None:
    """Raise unless the plan of an account allows one more object.

    Args:
        call: The call.
        owner: The account, as a row of the view `owner`.
        limit: The limit of the plan that counts, such as `max_domains`.

    Raises:
        ApiError: 403, the limit is reached.
    """
    allowed = owner[limit]
    if allowed not in {None, UNLIMITED} and call.store.value(_USAGE_QUERIES[limit], owner["id"]) >= allowed:
        raise plan_limit_reached(limit, f"{limit} is {allowed} in the plan {owner['plan_name']}")


def owner_below_limit(call: ApiCall, user_id: str, limit: str) -> Row:
    """Return an active account whose plan allows one more object.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended or the limit of its plan is reached.
    """
    if call.dialect == "panel":
        get(call, "account", user_id)
    owner = active_owner(call, user_id)
    check_plan_limit(call, owner, limit)
    return owner


def domain_below_limit(call: ApiCall, domain_id: str, limit: str) -> tuple[Row, Row]:
    """Return an active domain and its owner, whose plan allows one more object.

    Raises:
        ApiError: 404, there is no such domain; 403, it or its owner is suspended, or the limit of the plan is reached.
    """
    domain, owner = active_domain(call, domain_id)
    check_plan_limit(call, owner, limit)
    return domain, owner


def with_account_prefix(owner: Row, name: str) -> str:
    """Prefix a name with that of its account (evidence: databases-prefix). Guess: once only, with an underscore."""
    prefix = f"{owner['username']}_"
    return name if name.startswith(prefix) else prefix + name


# Lists of the reference

_DEFAULT_LIMIT = 25
PAGING = frozenset({"page", "limit", "sort", "order"})
"""Query parameters that page and sort a list; all others filter it."""


@attrs.frozen
class Page:
    """One page of a list."""

    rows: list[Row]
    total: int
    number: int
    limit: int


def select_page(
    call: ApiCall, kind: str, conditions: Mapping[str, object] | None = None, *, limit: int | None = None
) -> Page:
    """Return the page of a view that the query of a call selects.

    Without `page` and `limit`, the list is complete, as on current panels (evidence: lists-unpaged). Guesses: `page`
    alone means 25 rows, the reference's example; lists are in order of creation; every field sorts.

    Args:
        call: The call; query parameters that name a column filter by it.
        kind: The view.
        conditions: Further columns that must have these values.
        limit: Rows on a page if the query has no `limit`; by default all, or 25 if it has a `page`.

    Raises:
        ApiError: 400, there is no such field to sort by.
    """
    store = call.store
    columns = store.columns(kind)
    filters = {name: value for name, value in call.query.items() if name in columns and name not in PAGING}
    where, values = _where({**filters, **(conditions or {})})
    total = int(store.value(f'SELECT count(*) FROM "{kind}"{where}', *values))  # noqa: S608 - our own names
    number, size = page_and_limit(call, total, limit)
    sql = f'SELECT * FROM "{kind}"{where} ORDER BY {_order_by(call, columns)} LIMIT ? OFFSET ?'  # noqa: S608
    return Page(store.rows(sql, *values, size, (number - 1) * size), total, number, size)


def page_and_limit(call: ApiCall, total: int, default: int | None = None) -> tuple[int, int]:
    """Return the number of the page that a call requests, and how many rows a page has."""
    limit = default or (_DEFAULT_LIMIT if "page" in call.query else max(total, 1))
    return call.query.get("page", 1), call.query.get("limit", limit)


def _where(conditions: dict[str, Any]) -> tuple[str, list[object]]:
    if not conditions:
        return "", []
    return " WHERE " + " AND ".join(f'"{name}" = ?' for name in conditions), list(conditions.values())


def _order_by(call: ApiCall, columns: frozenset[str]) -> str:
    direction = "DESC" if call.query.get("order") == "desc" else "ASC"
    field = call.query.get("sort", "created_at")
    if field == "created_at":
        # Rows in order of creation, even if they have no such column.
        return f"_position {direction}"
    if field not in columns or field.startswith("_"):
        raise bad_request("sort: there is no such field")
    return f'"{field}" {direction}, _position {direction}'
