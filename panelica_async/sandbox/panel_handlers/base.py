"""What the handlers of current panels share: the registry, and objects as the owner of the key sees them.

To add a handler, write a function of a call that returns a reply, and name its endpoint as `spec/panel` writes it:

    @handles("GET /v1/php/versions")
    def php_versions(call: ApiCall) -> ApiReply:
        return ApiReply([{"version": "8.4", "available": True}])

Endpoints without a handler are served by `panel_handlers.default`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import role_of
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, Handler
from panelica_async.sandbox.panel_errors import PanelError, failed, invalid, missing
from panelica_async.sandbox.store import Row

_Function = TypeVar("_Function", bound=Handler)

HANDLERS: dict[str, Handler] = {}
"""Handlers by method and path."""

_ROLES_THAT_SEE_ALL = frozenset({"ROOT", "ADMIN"})
_LIMIT_ERRORS: dict[str, dict[str, Any]] = {
    "max_domains": {"error": "Plan limit reached", "details": {"limit": "max_domains"}},
    "max_databases": {"error": "apiErrors.external.database.limitReached", "details": "database limit reached"},
    "max_email_accounts": {"details": "mailbox limit reached"},
    "max_ftp_accounts": {"error": "FTP account limit reached", "code": "FORBIDDEN"},
}


def handles(endpoint: str) -> Callable[[_Function], _Function]:
    """Register a function as the handler of an endpoint, such as `GET /v1/domains/{id}`."""

    def register(function: _Function) -> _Function:
        HANDLERS[endpoint] = function
        return function

    return register


def listed(call: ApiCall, kind: str, **conditions: object) -> ApiReply:
    """Return all objects of a kind that the owner of the key sees (evidence: lists-unpaged, lists-owner-view).

    Args:
        call: The call.
        kind: The kind, such as `domain`.
        conditions: Columns and their values.
    """
    tests = {**conditions, **_only_own(call)}
    where = " AND ".join(f'"{name}" = ?' for name in tests) or "TRUE"
    sql = f'SELECT * FROM temp."panel_{kind}" WHERE {where}'  # noqa: S608 - our own names
    return ApiReply(call.store.rows(sql, *tests.values()))


def get(call: ApiCall, kind: str, identity: str, *, key: str = "id") -> Row:
    """Return an object.

    Raises:
        ApiError: 404, there is none, or the owner of the key does not see it.
    """
    rows = listed(call, kind, **{key: identity}).data
    if not rows:
        raise missing(kind, identity)
    row: Row = rows[0]
    return row


def owner_with_room(call: ApiCall, user_id: str, limit: str) -> Row:
    """Return an account whose plan has room for one more object.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended or its plan is full.
    """
    get(call, "account", user_id)
    owner = rules.active_owner(call.store, user_id)
    if rules.is_full(call.store, owner, limit):
        raise PanelError(403, **_LIMIT_ERRORS[limit])
    return owner


def domain_with_room(call: ApiCall, limit: str) -> tuple[Row, Row]:
    """Return the domain that the body names, and its owner, whose plan has room for one more object.

    Raises:
        ApiError: 404, there is no such domain; 403, it or its owner is suspended, or the plan is full.
    """
    domain = get(call, "domain", call.body["domain_id"])
    owner = owner_with_room(call, domain["user_id"], limit)
    if domain["status"] == "suspended":
        raise failed("Domain suspended", f"{domain['domain_name']} is suspended", status=403)
    return domain, owner


def check_password(call: ApiCall, field: str = "password") -> None:
    """Refuse a password that is too short (evidence: passwords)."""
    if len(call.body[field]) < rules.MIN_PASSWORD_LENGTH:
        raise invalid(call.endpoint.operation, [(field, "min")])


def prefixed(owner: Row, name: str) -> str:
    """Put the name of the account before a name (evidence: databases-prefix). Guess: once only, with an underscore."""
    prefix = f"{owner['username']}_"
    return name if name.startswith(prefix) else prefix + name


def _only_own(call: ApiCall) -> dict[str, str]:
    """Return the condition on what the owner of the key sees: everything for administrators.

    Guess: a reseller sees what it owns itself.
    """
    user_id = call.caller.key.user_id
    return {} if role_of(call.store, user_id) in _ROLES_THAT_SEE_ALL else {"_owner": user_id}
