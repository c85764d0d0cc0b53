"""What the handlers of current panels share: objects, as the owner of the key sees them.

To add a handler, write a function of a call that returns a reply, and name its endpoint as `spec/panel` writes it:

    @handles("GET /v1/php/versions")
    def php_versions(call: ApiCall) -> ApiReply:
        return ApiReply([{"version": "8.4", "available": True}])

`visible` and `get` read the views of `panel_views.sql`. A kind without a table of its own is kept with `add`: it
belongs to an account or to one of its domains, is deleted with it, and has the fields that replies show.
"""

import json
from collections.abc import Iterable
from typing import Any

import attrs

from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import role_of
from panelica_async.sandbox.calls import ApiCall, ApiReply
from panelica_async.sandbox.messages import PanelError, failed, invalid, missing
from panelica_async.sandbox.store import Row, new_id

_ROLES_THAT_SEE_ALL = frozenset({"ROOT", "ADMIN"})
_LIMIT_ERRORS: dict[str, dict[str, Any]] = {
    "max_domains": {"error": "Plan limit reached", "details": {"limit": "max_domains"}},
    "max_databases": {"error": "apiErrors.external.database.limitReached", "details": "database limit reached"},
    "max_email_accounts": {"details": "mailbox limit reached"},
    "max_ftp_accounts": {"error": "FTP account limit reached", "code": "FORBIDDEN"},
}


def visible(call: ApiCall, kind: str, **conditions: object) -> list[Row]:
    """Return all objects of a kind that the owner of the key sees (evidence: lists-unpaged, lists-owner-view).

    Args:
        call: The call.
        kind: The kind, such as `domain`.
        conditions: Columns and their values.
    """
    tests = {**conditions, **_only_own(call)}
    where = " AND ".join(f'"{name}" = ?' for name in tests) or "TRUE"
    sql = f'SELECT * FROM "panel_{kind}" WHERE {where}'  # noqa: S608 - our own names
    return call.store.rows(sql, *tests.values())


def get(call: ApiCall, kind: str, identity: str | None = None, *, key: str = "id") -> Row:
    """Return an object, by default the one in the path.

    Raises:
        ApiError: 404, there is none, or the owner of the key does not see it.
    """
    identity = call.path["id"] if identity is None else identity
    rows = visible(call, kind, **{key: identity})
    if not rows:
        raise missing(kind, identity)
    return rows[0]


def get_unowned(call: ApiCall, kind: str, identity: str | None = None) -> Row:
    """Return an object that belongs to no account, by default the one in the path, as the reference shows it.

    Raises:
        ApiError: 404, there is none.
    """
    identity = call.path["id"] if identity is None else identity
    row = call.store.find(kind, identity)
    if row is None:
        raise missing(kind, identity)
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


@attrs.frozen(kw_only=True)
class Owned:
    """An object with its owner."""

    id: str
    user_id: str
    domain_id: str | None
    fields: Row

    @property
    def shown(self) -> Row:
        """The object as replies show it: without the fields that begin with `_`."""
        return {"id": self.id, **{name: value for name, value in self.fields.items() if not name.startswith("_")}}


def add(
    call: ApiCall, kind: str, fields: Row, *, user_id: str, domain_id: str | None = None, identity: str | None = None
) -> Owned:
    """Keep an object, with a new id by default."""
    row = {"id": identity or new_id(), "kind": kind, "user_id": user_id, "domain_id": domain_id, "data": fields}
    call.store.insert("panel_object", row)
    return Owned(id=str(row["id"]), user_id=user_id, domain_id=domain_id, fields=fields)


def add_to_domain(call: ApiCall, kind: str, fields: Row) -> Owned:
    """Keep an object of the domain in the path."""
    domain = get(call, "domain")
    return add(call, kind, fields, user_id=domain["user_id"], domain_id=domain["id"])


def objects(call: ApiCall, kind: str, **conditions: object) -> list[Owned]:
    """Return the objects of a kind that the owner of the key sees.

    Args:
        call: The call.
        kind: The kind, such as `cron_job`.
        conditions: `id`, `user_id` or `domain_id`.
    """
    return [
        Owned(id=row["id"], user_id=row["user_id"], domain_id=row["domain_id"], fields=json.loads(row["data"]))
        for row in visible(call, "object", _kind=kind, **conditions)
    ]


def of_domain(call: ApiCall, kind: str) -> list[Owned]:
    """Return the objects of the domain in the path."""
    return objects(call, kind, domain_id=get(call, "domain")["id"])


def settings(call: ApiCall, kind: str) -> Row:
    """Return the settings of a kind that the domain in the path has; none before the first change."""
    kept = of_domain(call, kind)
    return kept[0].fields if kept else {}


def change_settings(call: ApiCall, kind: str, /, **fields: Any) -> None:
    """Change settings of the domain in the path."""
    kept = of_domain(call, kind)
    if kept:
        change(call, kept[0], **fields)
    else:
        add_to_domain(call, kind, fields)


def shown(found: Iterable[Owned]) -> ApiReply:
    """Return a list of objects."""
    return ApiReply([item.shown for item in found])


def find(call: ApiCall, kind: str, identity: str | None = None) -> Owned:
    """Return an object without a table, by default the one in the path.

    Raises:
        ApiError: 404, there is none, or the owner of the key does not see it.
    """
    identity = call.path["id"] if identity is None else identity
    found = objects(call, kind, id=identity)
    if not found:
        raise missing(kind, identity)
    return found[0]


def change(call: ApiCall, item: Owned, /, **fields: Any) -> Owned:
    """Change fields of an object."""
    changed = {**item.fields, **fields}
    call.store.update("panel_object", item.id, {"data": changed})
    return attrs.evolve(item, fields=changed)


def remove(call: ApiCall, item: Owned) -> None:
    """Delete an object."""
    call.store.delete("panel_object", item.id)
