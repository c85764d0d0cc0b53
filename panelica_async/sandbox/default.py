"""Serves endpoints that have no handler: lists, shows, changes and deletes what they created.

Everything here is a guess, made from paths and schemas alone:

- A path with `GET` and `POST` is a collection; a path that ends in a parameter is an object of the one before it.
- Other paths that can be read and changed are settings.
- Any other `POST` is an action on an object, which must exist.

In the reference dialect, an object belongs to the concrete path of its collection, such as
`/v1/domains/<id>/redirects`, and has the fields of its schema. What is neither a collection nor one of its objects
replies with its example.

Current panels may serve what is created below a parent at a path of its own, such as `/v1/redirects/{id}`. There,
every field is accepted and kept, apart from secrets, and an action is acknowledged.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox.handlers.base import HANDLERS, PAGING, ApiCall, ApiReply, acknowledgement, page_and_limit
from panelica_async.sandbox.messages import bad_request, conflict, not_found
from panelica_async.sandbox.spec import example_reply, sample_value
from panelica_async.sandbox.store import Row, new_id, timestamp

_TIMES_OF_CREATION = frozenset({"created_at", "updated_at"})
_CHANGES = frozenset({"PUT", "PATCH"})
_SECRET = re.compile(r"password|secret|token|private_key", re.IGNORECASE)


def reference_default(call: ApiCall) -> ApiReply:
    """Carry out an operation of the reference dialect by the shape of its path.

    Raises:
        ApiError: 404, there is no such object; 409, one with the same natural key already exists.
    """
    endpoint, path = call.endpoint, call.concrete_path
    if endpoint.path.endswith("}"):
        return _on_object(call, *path.rsplit("/", 1))
    methods = call.document.endpoints_at(endpoint.path)
    if endpoint.row_schema and "POST" in methods:
        return _list(call, path)
    if endpoint.method == "POST" and "GET" in methods and methods["GET"].row_schema:
        return _create(call, path)
    if endpoint.reply_schema is not None and not endpoint.row_schema and methods.keys() & _CHANGES:
        return _on_setting(call, path)
    return _act(call, path)


def panel_default(call: ApiCall) -> ApiReply:
    """Carry out a call to a current panel by the shape of its path.

    Raises:
        ApiError: 404, there is no such object.
    """
    endpoint, path = call.endpoint, call.concrete_path
    methods = call.document.endpoints_at(endpoint.path)
    if endpoint.path.endswith("}") and _has_panel_collection(call):
        return _on_panel_object(call, path)
    if {"GET", "POST"} <= methods.keys():
        return ApiReply(_objects(call, path)) if endpoint.method == "GET" else _create_on_panel(call, path)
    if "GET" in methods and methods.keys() & _CHANGES:
        return _on_panel_setting(call, path)
    if endpoint.method == "GET":
        return ApiReply(example_reply(call.document, endpoint))
    return _act_on_panel(call, path)


# The table `objects`; a setting is the object without an id of its path.


def _objects(call: ApiCall, collection: str) -> list[Row]:
    rows = call.store.rows("SELECT data FROM objects WHERE collection = ? ORDER BY rowid", collection)
    return [row["data"] for row in rows]


def _find(call: ApiCall, collection: str, identity: str) -> Row | None:
    data = call.store.value("SELECT data FROM objects WHERE collection = ? AND id = ?", collection, identity)
    return None if data is None else json.loads(data)


def _add(call: ApiCall, collection: str, identity: str, row: Row) -> None:
    sql = "INSERT INTO objects (collection, id, data) VALUES (?, ?, ?)"
    call.store.execute(sql, collection, identity, json.dumps(row))


def _set(call: ApiCall, path: str, row: Row) -> None:
    sql = "INSERT OR REPLACE INTO objects (collection, id, data) VALUES (?, '', ?)"
    call.store.execute(sql, path, json.dumps(row))


# The reference dialect


def _create(call: ApiCall, collection: str) -> ApiReply:
    key = call.endpoint.natural_key
    if key and any(all(row.get(name) == call.body.get(name) for name in key) for row in _objects(call, collection)):
        raise conflict(call.endpoint.tag or "object", f"{key[0]}={call.body.get(key[0])}")
    row = _new_row(call)
    identity = str(row.get(_identity_field(call, call.endpoint.path), "")) or new_id()
    if _find(call, collection, identity) is not None:
        raise conflict(call.endpoint.tag or "object", f"id={identity}")
    _add(call, collection, identity, row)
    return _reply(call, row)


def _new_row(call: ApiCall) -> Row:
    """Make an object from the body and the path; the schema decides how missing fields are made up."""
    fields, required = _fields(call)
    row = _shown(call, call.body)
    for name, schema in fields.items():
        if name in row:
            continue
        if name == _identity_field(call, call.endpoint.path):
            row[name] = new_id()
        elif name in call.path:
            row[name] = call.path[name]
        elif name in _TIMES_OF_CREATION:
            row[name] = timestamp(call.now)
        elif name in required:
            row[name] = sample_value(call.document, schema)
    return row


def _fields(call: ApiCall) -> tuple[dict[str, Any], set[str]]:
    """Return the fields of an object by name, from its own reply and from the list, and which are required."""
    collection = call.endpoint.path.rsplit("/{", 1)[0] if call.endpoint.path.endswith("}") else call.endpoint.path
    listing = call.document.endpoints_at(collection).get("GET", call.endpoint)
    schemas = (listing.row_schema, call.document.resolve(call.endpoint.reply_schema or {}))
    fields = {name: schema for one in schemas for name, schema in one.get("properties", {}).items()}
    return fields, {name for one in schemas for name in one.get("required", ())}


def _shown(call: ApiCall, body: Mapping[str, Any]) -> Row:
    """Return the fields of a body that a reply may show, so no password."""
    fields, _ = _fields(call)
    return {name: value for name, value in body.items() if name in fields}


def _identity_field(call: ApiCall, collection: str) -> str:
    """Return the field whose value identifies an object in its path."""
    prefix = f"{collection}/{{"
    for endpoint in call.document.endpoints:
        if endpoint.path.startswith(prefix) and endpoint.path.endswith("}") and "/" not in endpoint.path[len(prefix) :]:
            name = endpoint.path[len(prefix) : -1]
            listed = call.document.endpoints_at(collection)["GET"].row_schema.get("properties", {})
            return name if name in listed else "id"
    return "id"


def _list(call: ApiCall, collection: str) -> ApiReply:
    filters = {name: value for name, value in call.query.items() if name not in PAGING}
    found = [
        row
        for row in _objects(call, collection)
        if all(row.get(name) == value for name, value in filters.items() if name in row)
    ]
    if (field := call.query.get("sort", "created_at")) != "created_at":
        if found and not any(field in row for row in found):
            raise bad_request("sort: there is no such field")
        found.sort(key=lambda row: _rank(row.get(field)))
    if call.query.get("order") == "desc":
        found.reverse()
    page, limit = page_and_limit(call, len(found))
    rows = found[(page - 1) * limit : page * limit]
    described = call.document.resolve(call.endpoint.reply_schema or {}).get("properties", {})
    if "data" not in described:
        return ApiReply(rows)
    numbers = {"total": len(found), "page": page, "limit": limit}
    return ApiReply({"data": rows, **{name: number for name, number in numbers.items() if name in described}})


def _rank(value: object) -> tuple[bool, float, str]:
    """Return the place of a value in a sorted list: nothing, then numbers, then texts."""
    return value is not None, value if isinstance(value, int | float) else math.inf, str(value)


def _on_object(call: ApiCall, collection: str, identity: str) -> ApiReply:
    """Return, change or delete an object of a collection with a create; otherwise reply with the example."""
    methods = call.document.endpoints_at(call.endpoint.path.rsplit("/", 1)[0])
    if "POST" not in methods:
        return ApiReply(example_reply(call.document, call.endpoint))
    row = _get(call, collection, identity)
    if call.endpoint.method == "DELETE":
        call.store.execute("DELETE FROM objects WHERE collection = ? AND id = ?", collection, identity)
        # Everything below an object is deleted with it.
        below = f"{collection}/{identity}/"
        call.store.execute("DELETE FROM objects WHERE substr(collection, 1, ?) = ?", len(below), below)
    elif call.endpoint.method in _CHANGES:
        own = _identity_field(call, call.endpoint.path.rpartition("/")[0])
        row = {**row, **_shown(call, {name: value for name, value in call.body.items() if name != own})}
        sql = "UPDATE objects SET data = ? WHERE collection = ? AND id = ?"
        call.store.execute(sql, json.dumps(row), collection, identity)
    return ApiReply() if call.endpoint.reply_schema is None else _reply(call, row)


def _on_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the single object of a path; its first state is the example."""
    first = call.document.endpoints_at(call.endpoint.path).get("GET", call.endpoint)
    row = _find(call, path, "")
    if row is None:
        row = example_reply(call.document, first)
    if call.endpoint.method != "GET" and isinstance(row, dict):
        row = {**row, **call.body}
        _set(call, path, row)
    return ApiReply(row) if isinstance(row, list) else _reply(call, row)


def _act(call: ApiCall, path: str) -> ApiReply:
    """Answer an action, such as `/v1/cron-jobs/<id>/run`, on an object that must exist."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if len(segments) > 2 and segments[-2].startswith("{"):
        create = call.document.endpoints_at("/".join(segments[:-2])).get("POST")
        if create is not None and create.operation not in HANDLERS:
            return _reply(call, _get(call, "/".join(concrete[:-2]), concrete[-2]))
    return ApiReply(example_reply(call.document, call.endpoint))


def _get(call: ApiCall, collection: str, identity: str) -> Row:
    row = _find(call, collection, identity)
    if row is None:
        raise not_found(call.endpoint.tag or "object", identity)
    return row


def _reply(call: ApiCall, row: Mapping[str, Any]) -> ApiReply:
    """Return the object if the schema of the reply is that of an object; otherwise the example, an acknowledgement."""
    schema = call.document.resolve(call.endpoint.reply_schema or {})
    shows = set(schema.get("required", ())) <= row.keys() and bool(set(schema.get("properties", ())) & row.keys())
    return ApiReply(row if shows else example_reply(call.document, call.endpoint))


# Current panels


def _has_panel_collection(call: ApiCall) -> bool:
    """Return whether objects of the last name in the path before an id can be created anywhere."""
    name = call.endpoint.path.rsplit("/", 2)[-2]
    return any(one.method == "POST" and one.path.rsplit("/", 1)[-1] == name for one in call.document.endpoints)


def _create_on_panel(call: ApiCall, collection: str) -> ApiReply:
    identity = new_id()
    row = {**_parents(call), **_without_secrets(call.body), "id": identity, "created_at": timestamp(call.now)}
    _add(call, collection, identity, row)
    return ApiReply(row)


def _parents(call: ApiCall) -> Row:
    """Return the ids in the path as fields: `domain_id` for what is created below `/v1/domains/{id}`."""
    segments, concrete = call.endpoint.path.split("/"), call.concrete_path.split("/")
    return {
        f"{segments[place - 1].removesuffix('s').replace('-', '_')}_id": concrete[place]
        for place, segment in enumerate(segments)
        if segment.startswith("{")
    }


def _on_panel_object(call: ApiCall, path: str) -> ApiReply:
    collection, identity = path.rsplit("/", 1)
    row = _get_from_panel(call, collection.rsplit("/", 1)[-1], identity)
    match call.endpoint.method:
        case "GET":
            return ApiReply(row)
        case "DELETE":
            sql = "DELETE FROM objects WHERE id = ? OR instr(collection, '/' || ? || '/')"
            call.store.execute(sql, identity, identity)
            return acknowledgement("Deleted")
        case _:
            row = {**row, **_without_secrets(call.body), "id": identity}
            call.store.execute("UPDATE objects SET data = ? WHERE id = ?", json.dumps(row), identity)
            return ApiReply(row)


def _on_panel_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the single object of a path, which is empty at first."""
    row = _find(call, path, "") or {}
    if call.endpoint.method != "GET":
        row = {**row, **_without_secrets(call.body)}
        _set(call, path, row)
    return ApiReply(row)


def _act_on_panel(call: ApiCall, path: str) -> ApiReply:
    """Acknowledge an action; the object that it is for must exist if it was created here."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if segments[-2].startswith("{"):
        collection = "/".join(segments[:-2])
        if "POST" in call.document.endpoints_at(collection) and f"POST {collection}" not in HANDLERS:
            _get_from_panel(call, segments[-3], concrete[-2])
    return acknowledgement(f"{call.endpoint.summary}: done")


def _get_from_panel(call: ApiCall, name: str, identity: str) -> Row:
    """Return an object of any collection of a name."""
    sql = "SELECT data FROM objects WHERE id = ? AND (collection = ? OR collection LIKE ?)"
    data = call.store.value(sql, identity, f"/v1/{name}", f"%/{name}")
    if data is None:
        raise not_found("object", identity)
    row: Row = json.loads(data)
    return row


def _without_secrets(body: Mapping[str, Any]) -> Row:
    return {name: value for name, value in body.items() if not _SECRET.search(name)}
