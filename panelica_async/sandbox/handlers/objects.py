"""Objects of current panels that have no table of their own, such as cron jobs and redirects.

They belong to an account or to one of its domains, and are deleted with it. They have the fields that replies show, and
further ones whose names begin with `_`. What is the same for many kinds is one line, as in `base`.
"""

from typing import Any

import attrs

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles, list_rows
from panelica_async.sandbox.messages import not_found
from panelica_async.sandbox.store import Row, new_id


def handle_objects(kind: str, name: str) -> None:
    """Serve the list of a kind: of the domain in the path, or of all domains if the path names none."""

    @handles(name)
    def list_all(call: ApiCall) -> ApiReply:
        found = of_domain(call, kind) if call.path else objects(call, kind)
        return ApiReply([item.shown for item in found])


def handle_object(kind: str, name: str) -> None:
    """Serve a single object of a kind."""
    handles(name)(lambda call: ApiReply(find(call, kind).shown))


def handle_removal(kind: str, name: str, *, done: str) -> None:
    """Serve the deletion of an object."""

    @handles(name)
    def delete(call: ApiCall) -> ApiReply:
        remove(call, find(call, kind))
        return acknowledgement(done)


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
        Owned(id=row["id"], user_id=row["user_id"], domain_id=row["domain_id"], fields=row["data"])
        for row in list_rows(call, "object", _kind=kind, **conditions)
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


def find(call: ApiCall, kind: str, identity: str | None = None) -> Owned:
    """Return an object without a table, by default the one in the path.

    Raises:
        ApiError: 404, there is none, or the owner of the key does not see it.
    """
    identity = call.path["id"] if identity is None else identity
    found = objects(call, kind, id=identity)
    if not found:
        raise not_found(kind, identity)
    return found[0]


def change(call: ApiCall, item: Owned, /, **fields: Any) -> Owned:
    """Change fields of an object."""
    changed = {**item.fields, **fields}
    call.store.update("panel_object", item.id, {"data": changed})
    return attrs.evolve(item, fields=changed)


def remove(call: ApiCall, item: Owned) -> None:
    """Delete an object."""
    call.store.delete("panel_object", item.id)
