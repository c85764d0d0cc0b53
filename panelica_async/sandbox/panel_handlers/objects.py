"""Objects that belong to an account or to one of its domains, and are deleted with it.

Their fields are kept as replies show them, so that a kind needs no table of its own.
"""

import json
from collections.abc import Iterable
from typing import Any

import attrs

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply
from panelica_async.sandbox.panel_errors import missing
from panelica_async.sandbox.panel_handlers.base import get, listed
from panelica_async.sandbox.store import Row, new_id


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
    domain = get(call, "domain", call.path["id"])
    return add(call, kind, fields, user_id=domain["user_id"], domain_id=domain["id"])


def objects(call: ApiCall, kind: str, **conditions: object) -> list[Owned]:
    """Return the objects of a kind that the owner of the key sees.

    Args:
        call: The call.
        kind: The kind, such as `cron_job`.
        conditions: `id`, `user_id` or `domain_id`.
    """
    rows: list[dict[str, Any]] = listed(call, "object", _kind=kind, **conditions).data
    return [
        Owned(id=row["id"], user_id=row["user_id"], domain_id=row["domain_id"], fields=json.loads(row["data"]))
        for row in rows
    ]


def of_domain(call: ApiCall, kind: str) -> list[Owned]:
    """Return the objects of the domain in the path."""
    return objects(call, kind, domain_id=get(call, "domain", call.path["id"])["id"])


def shown(found: Iterable[Owned]) -> ApiReply:
    """Return a list of objects."""
    return ApiReply([item.shown for item in found])


def find(call: ApiCall, kind: str, identity: str) -> Owned:
    """Return an object.

    Raises:
        ApiError: 404, there is none, or the owner of the key does not see it.
    """
    found = objects(call, kind, id=identity)
    if not found:
        raise missing(kind, identity)
    return found[0]


def change(call: ApiCall, item: Owned, **fields: Any) -> Owned:
    """Change fields of an object."""
    changed = {**item.fields, **fields}
    call.store.update("panel_object", item.id, {"data": changed})
    return attrs.evolve(item, fields=changed)


def remove(call: ApiCall, item: Owned) -> None:
    """Delete an object."""
    call.store.delete("panel_object", item.id)
