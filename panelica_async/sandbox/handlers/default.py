"""Handles operations without a handler of their own: objects that they create can be listed, read, changed and deleted.

An object belongs to the concrete path of its collection, such as `/v1/domains/<id>/redirects`, and holds the fields of
its body. An operation on neither a collection nor one of its objects replies with its example.

Everything here is guessed: the paths decide which endpoints belong together.
"""

import json
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox.calls import DEFAULT_LIMIT, HANDLERS, ApiCall, ApiReply
from panelica_async.sandbox.messages import bad_request, conflict, not_found
from panelica_async.sandbox.spec import example_reply, instance
from panelica_async.sandbox.store import Row, new_id, timestamp

_TIMES_OF_CREATION = frozenset({"created_at", "updated_at"})
_PAGING = frozenset({"page", "limit", "sort", "order"})


def default(call: ApiCall) -> ApiReply:
    """Carry out an operation by the shape of its path.

    Raises:
        ApiError: 404, there is no such object; 409, one with the same natural key already exists.
    """
    endpoint, path = call.endpoint, call.concrete_path
    if endpoint.path.endswith("}"):
        return _on_object(call, *path.rsplit("/", 1))
    methods = call.document.methods_at(endpoint.path)
    if endpoint.item and "POST" in methods:
        return _list(call, path)
    if endpoint.method == "POST" and "GET" in methods and methods["GET"].item:
        return _create(call, path)
    if endpoint.reply is not None and not endpoint.item and methods.keys() & {"PUT", "PATCH"}:
        return _on_setting(call, path)
    return _act(call, path)


def _create(call: ApiCall, collection: str) -> ApiReply:
    objects = _objects(call, collection)
    key = call.endpoint.natural_key
    if key and any(all(row.get(name) == call.body.get(name) for name in key) for row in objects):
        raise conflict(call.endpoint.tag or "object", f"{key[0]}={call.body.get(key[0])}")
    row = _new_row(call)
    identity = str(row.get(_identity_field(call, call.endpoint.path), "")) or new_id()
    call.store.execute(
        "INSERT INTO objects (collection, id, data) VALUES (?, ?, ?)", collection, identity, json.dumps(row)
    )
    return ApiReply(row if _shows(call, row) else example_reply(call.document, call.endpoint))


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
            row[name] = instance(call.document, schema)
    return row


def _fields(call: ApiCall) -> tuple[dict[str, Any], set[str]]:
    """Return the fields of an object by name, from its own reply and from the list, and which are required."""
    collection = call.endpoint.path.rsplit("/{", 1)[0] if call.endpoint.path.endswith("}") else call.endpoint.path
    listing = call.document.methods_at(collection).get("GET", call.endpoint)
    schemas = (listing.item, call.document.resolve(call.endpoint.reply or {}))
    fields = {name: schema for one in schemas for name, schema in one.get("properties", {}).items()}
    return fields, {name for one in schemas for name in one.get("required", ())}


def _shown(call: ApiCall, body: Mapping[str, Any]) -> Row:
    """Return the fields of a body that a reply may show, so no password."""
    fields, _ = _fields(call)
    return {name: value for name, value in body.items() if name in fields}


def _list(call: ApiCall, collection: str) -> ApiReply:
    filters = {name: value for name, value in call.query.items() if name not in _PAGING}
    found = [
        row
        for row in _objects(call, collection)
        if all(row.get(name) == value for name, value in filters.items() if name in row)
    ]
    if (field := call.query.get("sort", "created_at")) != "created_at":
        if found and not any(field in row for row in found):
            raise bad_request("sort: there is no such field")
        found.sort(key=lambda row: (row.get(field) is not None, str(row.get(field))))
    if call.query.get("order") == "desc":
        found.reverse()
    page = call.query.get("page", 1)
    limit = call.query.get("limit", DEFAULT_LIMIT if "page" in call.query else max(len(found), 1))
    rows = found[(page - 1) * limit : page * limit]
    described = call.document.resolve(call.endpoint.reply or {}).get("properties", {})
    if "data" not in described:
        return ApiReply(rows)
    numbers = {"total": len(found), "page": page, "limit": limit}
    return ApiReply({"data": rows, **{name: number for name, number in numbers.items() if name in described}})


def _on_object(call: ApiCall, collection: str, identity: str) -> ApiReply:
    """Return, change or delete an object of a collection with a create; otherwise reply with the example."""
    methods = call.document.methods_at(call.endpoint.path.rsplit("/", 1)[0])
    if "POST" not in methods:
        return ApiReply(example_reply(call.document, call.endpoint))
    row = _object(call, collection, identity)
    if call.endpoint.method == "DELETE":
        call.store.execute("DELETE FROM objects WHERE collection = ? AND id = ?", collection, identity)
        # Everything below an object is deleted with it.
        below = f"{collection}/{identity}/"
        call.store.execute("DELETE FROM objects WHERE substr(collection, 1, ?) = ?", len(below), below)
    elif call.endpoint.method in {"PUT", "PATCH"}:
        row = {**row, **_shown(call, call.body)}
        call.store.execute(
            "UPDATE objects SET data = ? WHERE collection = ? AND id = ?", json.dumps(row), collection, identity
        )
    if call.endpoint.reply is None:
        return ApiReply()
    return ApiReply(row if _shows(call, row) else example_reply(call.document, call.endpoint))


def _on_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the single object of a path; its first state is the example."""
    first = call.document.methods_at(call.endpoint.path).get("GET", call.endpoint)
    stored = _find(call, path, "")
    row = stored if stored is not None else example_reply(call.document, first)
    if call.endpoint.method != "GET" and isinstance(row, dict):
        row = {**row, **call.body}
        call.store.execute(
            "INSERT OR REPLACE INTO objects (collection, id, data) VALUES (?, '', ?)", path, json.dumps(row)
        )
    return ApiReply(row if isinstance(row, list) or _shows(call, row) else example_reply(call.document, call.endpoint))


def _act(call: ApiCall, path: str) -> ApiReply:
    """Answer an action, such as `/v1/cron-jobs/<id>/run`, on an object that must exist."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if len(segments) > 2 and segments[-2].startswith("{"):
        methods = call.document.methods_at("/".join(segments[:-2]))
        if "POST" in methods and methods["POST"].operation not in HANDLERS:
            row = _object(call, "/".join(concrete[:-2]), concrete[-2])
            if _shows(call, row):
                return ApiReply(row)
    return ApiReply(example_reply(call.document, call.endpoint))


def _shows(call: ApiCall, row: Mapping[str, Any]) -> bool:
    """Return whether the reply of an operation is such an object, not an acknowledgement."""
    schema = call.document.resolve(call.endpoint.reply or {})
    return set(schema.get("required", ())) <= row.keys() and bool(set(schema.get("properties", ())) & row.keys())


def _identity_field(call: ApiCall, collection: str) -> str:
    """Return the field whose value identifies an object in its path."""
    prefix = f"{collection}/{{"
    for endpoint in call.document.endpoints:
        if endpoint.path.startswith(prefix) and endpoint.path.endswith("}") and "/" not in endpoint.path[len(prefix) :]:
            name = endpoint.path[len(prefix) : -1]
            listed = call.document.methods_at(collection)["GET"].item.get("properties", {})
            return name if name in listed else "id"
    return "id"


def _object(call: ApiCall, collection: str, identity: str) -> Row:
    row = _find(call, collection, identity)
    if row is None:
        raise not_found(call.endpoint.tag or "object", identity)
    return row


def _find(call: ApiCall, collection: str, identity: str) -> Row | None:
    sql = "SELECT data FROM objects WHERE collection = ? AND id = ?"
    data = call.store.value(sql, collection, identity)
    return None if data is None else dict(json.loads(data))


def _objects(call: ApiCall, collection: str) -> list[Row]:
    sql = "SELECT data FROM objects WHERE collection = ? ORDER BY rowid"
    return [json.loads(row["data"]) for row in call.store.connection.execute(sql, (collection,))]
