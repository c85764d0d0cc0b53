"""Default handlers for endpoints that have none: they keep what is created, and list, show, change and delete it.

Everything here is a guess from paths and schemas:

- A path with `GET` and `POST` is a collection. A path that ends in a parameter is an object of the collection before.
- Other paths that can be read and changed are settings.
- Any other `POST` is an action on an object, which must exist.

In the reference dialect, an object belongs to the concrete path of its collection, such as
`/v1/domains/<id>/redirects`, and has the fields of its schema. Other endpoints reply with their example.

Current panels may serve objects of a parent at a path that does not name it, such as `/v1/redirects/{id}`. There, every
field but secrets is kept, and actions are acknowledged.
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

_CREATION_TIMES = frozenset({"created_at", "updated_at"})
_UPDATE_METHODS = frozenset({"PUT", "PATCH"})
_SECRET = re.compile(r"password|secret|token|private_key", re.IGNORECASE)


def reference_default(call: ApiCall) -> ApiReply:
    """Handle a call of the reference dialect by the shape of its path.

    Raises:
        ApiError: 404, there is no such object; 409, one with the same natural key already exists.
    """
    endpoint, path = call.endpoint, call.concrete_path
    if endpoint.path.endswith("}"):
        return _serve_object(call, *path.rsplit("/", 1))
    methods = call.document.endpoints_at(endpoint.path)
    if endpoint.row_schema and "POST" in methods:
        return _serve_list(call, path)
    if endpoint.method == "POST" and "GET" in methods and methods["GET"].row_schema:
        return _create_object(call, path)
    if endpoint.reply_schema is not None and not endpoint.row_schema and methods.keys() & _UPDATE_METHODS:
        return _serve_setting(call, path)
    return _answer_action(call, path)


def panel_default(call: ApiCall) -> ApiReply:
    """Handle a call to a current panel by the shape of its path.

    Raises:
        ApiError: 404, there is no such object.
    """
    endpoint, path = call.endpoint, call.concrete_path
    methods = call.document.endpoints_at(endpoint.path)
    if endpoint.path.endswith("}") and _collection_has_create(call):
        return _serve_panel_object(call, path)
    if {"GET", "POST"} <= methods.keys():
        return ApiReply(_list_objects(call, path)) if endpoint.method == "GET" else _create_panel_object(call, path)
    if "GET" in methods and methods.keys() & _UPDATE_METHODS:
        return _serve_panel_setting(call, path)
    if endpoint.method == "GET":
        return ApiReply(example_reply(call.document, endpoint))
    return _answer_panel_action(call, path)


# The table `objects`. Settings have an empty id, and the path as their collection.


def _list_objects(call: ApiCall, collection: str) -> list[Row]:
    rows = call.store.rows("SELECT data FROM objects WHERE collection = ? ORDER BY rowid", collection)
    return [row["data"] for row in rows]


def _find_object(call: ApiCall, collection: str, identifier: str) -> Row | None:
    data = call.store.value("SELECT data FROM objects WHERE collection = ? AND id = ?", collection, identifier)
    return None if data is None else json.loads(data)


def _add_object(call: ApiCall, collection: str, identifier: str, row: Row) -> None:
    sql = "INSERT INTO objects (collection, id, data) VALUES (?, ?, ?)"
    call.store.execute(sql, collection, identifier, json.dumps(row))


def _save_setting(call: ApiCall, path: str, row: Row) -> None:
    sql = "INSERT OR REPLACE INTO objects (collection, id, data) VALUES (?, '', ?)"
    call.store.execute(sql, path, json.dumps(row))


# The reference dialect


def _create_object(call: ApiCall, collection: str) -> ApiReply:
    key = call.endpoint.natural_key
    values = [call.body.get(name) for name in key]
    if key and any([row.get(name) for name in key] == values for row in _list_objects(call, collection)):
        raise conflict(call.endpoint.tag or "object", f"{key[0]}={values[0]}")
    row = _new_row(call)
    identifier = str(row.get(_id_field(call, call.endpoint.path), "")) or new_id()
    if _find_object(call, collection, identifier) is not None:
        raise conflict(call.endpoint.tag or "object", f"id={identifier}")
    _add_object(call, collection, identifier, row)
    return _object_or_example(call, row)


def _new_row(call: ApiCall) -> Row:
    """Return an object with the fields of the body and the path; missing fields are invented from the schema."""
    schemas, required = _field_schemas(call)
    row = _visible_fields(call, call.body)
    for name, schema in schemas.items():
        if name in row:
            continue
        if name == _id_field(call, call.endpoint.path):
            row[name] = new_id()
        elif name in call.path:
            row[name] = call.path[name]
        elif name in _CREATION_TIMES:
            row[name] = timestamp(call.now)
        elif name in required:
            row[name] = sample_value(call.document, schema)
    return row


def _field_schemas(call: ApiCall) -> tuple[dict[str, Any], set[str]]:
    """Return the schemas of an object's fields, by name, and the names of those that are required."""
    collection = call.endpoint.path.rsplit("/{", 1)[0] if call.endpoint.path.endswith("}") else call.endpoint.path
    listing = call.document.endpoints_at(collection).get("GET", call.endpoint)
    objects = (listing.row_schema, call.document.resolve(call.endpoint.reply_schema or {}))
    schemas = {name: schema for node in objects for name, schema in node.get("properties", {}).items()}
    return schemas, {name for node in objects for name in node.get("required", ())}


def _visible_fields(call: ApiCall, body: Mapping[str, Any]) -> Row:
    """Return the fields of a body that the reply has, too, and so no passwords."""
    schemas, _ = _field_schemas(call)
    return {name: value for name, value in body.items() if name in schemas}


def _id_field(call: ApiCall, collection: str) -> str:
    """Return the name of the field that identifies an object in its path."""
    prefix = f"{collection}/{{"
    for endpoint in call.document.endpoints:
        if endpoint.path.startswith(prefix) and endpoint.path.endswith("}") and "/" not in endpoint.path[len(prefix) :]:
            name = endpoint.path[len(prefix) : -1]
            columns = call.document.endpoints_at(collection)["GET"].row_schema.get("properties", {})
            return name if name in columns else "id"
    return "id"


def _serve_list(call: ApiCall, collection: str) -> ApiReply:
    filters = {name: value for name, value in call.query.items() if name not in PAGING}
    rows = [
        row
        for row in _list_objects(call, collection)
        if all(row.get(name) == value for name, value in filters.items() if name in row)
    ]
    if (field := call.query.get("sort", "created_at")) != "created_at":
        if rows and not any(field in row for row in rows):
            raise bad_request("sort: there is no such field")
        rows.sort(key=lambda row: _sort_key(row.get(field)))
    if call.query.get("order") == "desc":
        rows.reverse()
    page, limit = page_and_limit(call, len(rows))
    shown = rows[(page - 1) * limit : page * limit]
    reply_fields = call.document.resolve(call.endpoint.reply_schema or {}).get("properties", {})
    if "data" not in reply_fields:
        return ApiReply(shown)
    numbers = {"total": len(rows), "page": page, "limit": limit}
    return ApiReply({"data": shown, **{name: number for name, number in numbers.items() if name in reply_fields}})


def _sort_key(value: object) -> tuple[bool, float, str]:
    """Return a key that sorts missing values before numbers, and numbers before strings."""
    return value is not None, value if isinstance(value, int | float) else math.inf, str(value)


def _serve_object(call: ApiCall, collection: str, identifier: str) -> ApiReply:
    """Return, change or delete an object; if its collection has no create, reply with the example."""
    methods = call.document.endpoints_at(call.endpoint.path.rsplit("/", 1)[0])
    if "POST" not in methods:
        return ApiReply(example_reply(call.document, call.endpoint))
    row = _get_object(call, collection, identifier)
    if call.endpoint.method == "DELETE":
        call.store.execute("DELETE FROM objects WHERE collection = ? AND id = ?", collection, identifier)
        # Everything below an object is deleted with it.
        prefix = f"{collection}/{identifier}/"
        call.store.execute("DELETE FROM objects WHERE substr(collection, 1, ?) = ?", len(prefix), prefix)
    elif call.endpoint.method in _UPDATE_METHODS:
        id_field = _id_field(call, call.endpoint.path.rpartition("/")[0])
        changes = {name: value for name, value in call.body.items() if name != id_field}
        row = {**row, **_visible_fields(call, changes)}
        sql = "UPDATE objects SET data = ? WHERE collection = ? AND id = ?"
        call.store.execute(sql, json.dumps(row), collection, identifier)
    return ApiReply() if call.endpoint.reply_schema is None else _object_or_example(call, row)


def _serve_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the settings at a path, which begin as the example."""
    read = call.document.endpoints_at(call.endpoint.path).get("GET", call.endpoint)
    row = _find_object(call, path, "")
    if row is None:
        row = example_reply(call.document, read)
    if call.endpoint.method != "GET" and isinstance(row, dict):
        row = {**row, **call.body}
        _save_setting(call, path, row)
    return ApiReply(row) if isinstance(row, list) else _object_or_example(call, row)


def _answer_action(call: ApiCall, path: str) -> ApiReply:
    """Answer an action, such as `/v1/cron-jobs/<id>/run`, on an object that must exist."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if len(segments) > 2 and segments[-2].startswith("{"):
        create = call.document.endpoints_at("/".join(segments[:-2])).get("POST")
        if create is not None and create.operation not in HANDLERS:
            return _object_or_example(call, _get_object(call, "/".join(concrete[:-2]), concrete[-2]))
    return ApiReply(example_reply(call.document, call.endpoint))


def _get_object(call: ApiCall, collection: str, identifier: str) -> Row:
    row = _find_object(call, collection, identifier)
    if row is None:
        raise not_found(call.endpoint.tag or "object", identifier)
    return row


def _object_or_example(call: ApiCall, row: Mapping[str, Any]) -> ApiReply:
    """Return the object if it fits the schema of the reply; otherwise the example, such as an acknowledgement."""
    schema = call.document.resolve(call.endpoint.reply_schema or {})
    fits = set(schema.get("required", ())) <= row.keys() and bool(set(schema.get("properties", ())) & row.keys())
    return ApiReply(row if fits else example_reply(call.document, call.endpoint))


# Current panels


def _collection_has_create(call: ApiCall) -> bool:
    """Return whether the collection of the object in the path has a create, under any parent."""
    name = call.endpoint.path.rsplit("/", 2)[-2]
    return any(
        endpoint.method == "POST" and endpoint.path.rsplit("/", 1)[-1] == name for endpoint in call.document.endpoints
    )


def _create_panel_object(call: ApiCall, collection: str) -> ApiReply:
    identifier = new_id()
    row = {**_parent_ids(call), **_without_secrets(call.body), "id": identifier, "created_at": timestamp(call.now)}
    _add_object(call, collection, identifier, row)
    return ApiReply(row)


def _parent_ids(call: ApiCall) -> Row:
    """Return the ids in the path as fields, such as `domain_id` for a path below `/v1/domains/{id}`."""
    segments, concrete = call.endpoint.path.split("/"), call.concrete_path.split("/")
    return {
        f"{segments[index - 1].removesuffix('s').replace('-', '_')}_id": concrete[index]
        for index, segment in enumerate(segments)
        if segment.startswith("{")
    }


def _serve_panel_object(call: ApiCall, path: str) -> ApiReply:
    collection, identifier = path.rsplit("/", 1)
    row = _get_panel_object(call, collection.rsplit("/", 1)[-1], identifier)
    match call.endpoint.method:
        case "GET":
            return ApiReply(row)
        case "DELETE":
            sql = "DELETE FROM objects WHERE id = ? OR instr(collection, '/' || ? || '/')"
            call.store.execute(sql, identifier, identifier)
            return acknowledgement("Deleted")
        case _:
            row = {**row, **_without_secrets(call.body), "id": identifier}
            call.store.execute("UPDATE objects SET data = ? WHERE id = ?", json.dumps(row), identifier)
            return ApiReply(row)


def _serve_panel_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the settings at a path, which are empty at first."""
    row = _find_object(call, path, "") or {}
    if call.endpoint.method != "GET":
        row = {**row, **_without_secrets(call.body)}
        _save_setting(call, path, row)
    return ApiReply(row)


def _answer_panel_action(call: ApiCall, path: str) -> ApiReply:
    """Acknowledge an action; its object must exist if these handlers create such objects."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if segments[-2].startswith("{"):
        collection = "/".join(segments[:-2])
        if "POST" in call.document.endpoints_at(collection) and f"POST {collection}" not in HANDLERS:
            _get_panel_object(call, segments[-3], concrete[-2])
    return acknowledgement(f"{call.endpoint.summary}: done")


def _get_panel_object(call: ApiCall, name: str, identifier: str) -> Row:
    """Return an object of a collection with this name, under any parent."""
    sql = "SELECT data FROM objects WHERE id = ? AND (collection = ? OR collection LIKE ?)"
    data = call.store.value(sql, identifier, f"/v1/{name}", f"%/{name}")
    if data is None:
        raise not_found("object", identifier)
    row: Row = json.loads(data)
    return row


def _without_secrets(body: Mapping[str, Any]) -> Row:
    return {name: value for name, value in body.items() if not _SECRET.search(name)}
