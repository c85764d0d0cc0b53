"""Objects of current panels that have no table of their own, such as cron jobs and redirects.

They belong to an account or to one of its domains, and are deleted with it. Fields whose names begin with `_` do not
appear in replies. Standard handlers take one line, as in `base`.
"""

from typing import Any

import attrs

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles, list_rows
from panelica_async.sandbox.messages import not_found
from panelica_async.sandbox.store import Row, new_id


def handle_object_list(kind: str, name: str) -> None:
    """Serve the list of a kind: for the domain in the path, or for all domains if the path names none."""

    @handles(name)
    def list_all(call: ApiCall) -> ApiReply:
        items = list_domain_objects(call, kind) if call.path else list_objects(call, kind)
        return ApiReply([item.visible_fields for item in items])


def handle_object_get(kind: str, name: str) -> None:
    """Serve a single object of a kind."""
    handles(name)(lambda call: ApiReply(get_object(call, kind).visible_fields))


def handle_object_delete(kind: str, name: str, *, message: str) -> None:
    """Serve the deletion of an object."""

    @handles(name)
    def delete(call: ApiCall) -> ApiReply:
        delete_object(call, get_object(call, kind))
        return acknowledgement(message)


@attrs.frozen(kw_only=True)
class OwnedObject:
    """An object with its owner."""

    id: str
    user_id: str
    domain_id: str | None
    fields: Row

    @property
    def visible_fields(self) -> Row:
        """The object as replies show it: its id, and the fields that do not begin with `_`."""
        return {"id": self.id, **{name: value for name, value in self.fields.items() if not name.startswith("_")}}


def add_object(
    call: ApiCall, kind: str, fields: Row, *, user_id: str, domain_id: str | None = None, identifier: str | None = None
) -> OwnedObject:
    """Store an object, with a new id by default."""
    row = {"id": identifier or new_id(), "kind": kind, "user_id": user_id, "domain_id": domain_id, "data": fields}
    call.store.insert("panel_object", row)
    return OwnedObject(id=str(row["id"]), user_id=user_id, domain_id=domain_id, fields=fields)


def add_domain_object(call: ApiCall, kind: str, fields: Row) -> OwnedObject:
    """Store an object that belongs to the domain in the path."""
    domain = get(call, "domain")
    return add_object(call, kind, fields, user_id=domain["user_id"], domain_id=domain["id"])


def list_objects(call: ApiCall, kind: str, **conditions: object) -> list[OwnedObject]:
    """Return the objects of a kind that the owner of the key may see.

    Args:
        call: The call.
        kind: The kind, such as `cron_job`.
        conditions: `id`, `user_id` or `domain_id`, which must have these values.
    """
    return [
        OwnedObject(id=row["id"], user_id=row["user_id"], domain_id=row["domain_id"], fields=row["data"])
        for row in list_rows(call, "object", _kind=kind, **conditions)
    ]


def list_domain_objects(call: ApiCall, kind: str) -> list[OwnedObject]:
    """Return the objects of a kind that belong to the domain in the path."""
    return list_objects(call, kind, domain_id=get(call, "domain")["id"])


def domain_settings(call: ApiCall, kind: str) -> Row:
    """Return the settings of the domain in the path; empty until the first update."""
    stored = list_domain_objects(call, kind)
    return stored[0].fields if stored else {}


def update_domain_settings(call: ApiCall, kind: str, /, **fields: Any) -> None:
    """Change settings of the domain in the path."""
    stored = list_domain_objects(call, kind)
    if stored:
        update_object(call, stored[0], **fields)
    else:
        add_domain_object(call, kind, fields)


def get_object(call: ApiCall, kind: str, identifier: str | None = None) -> OwnedObject:
    """Return an object, by default the one in the path.

    Raises:
        ApiError: 404, there is no such object, or the owner of the key may not see it.
    """
    identifier = call.path["id"] if identifier is None else identifier
    matches = list_objects(call, kind, id=identifier)
    if not matches:
        raise not_found(kind, identifier)
    return matches[0]


def update_object(call: ApiCall, item: OwnedObject, /, **fields: Any) -> OwnedObject:
    """Change fields of an object."""
    fields = {**item.fields, **fields}
    call.store.update("panel_object", item.id, {"data": fields})
    return attrs.evolve(item, fields=fields)


def delete_object(call: ApiCall, item: OwnedObject) -> None:
    """Delete an object."""
    call.store.delete("panel_object", item.id)
