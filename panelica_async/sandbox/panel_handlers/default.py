"""Serves endpoints of current panels that have no handler: what they create is listed, found, changed and deleted.

Everything here is a guess, made from paths alone:

- A path with `GET` and `POST` is a collection, and so is the one before an `{id}`. What is created below a parent, such
  as `/v1/domains/{id}/redirects`, may be found at a path of its own, `/v1/redirects/{id}`.
- Other paths that can be read and changed are settings.
- Any other POST is an action, which is acknowledged.
- Every field is accepted and kept, apart from secrets.
"""

import json
import re
from typing import Any

from panelica_async.sandbox.calls import HANDLERS, ApiCall, ApiReply, accepted
from panelica_async.sandbox.messages import missing
from panelica_async.sandbox.spec import example_reply
from panelica_async.sandbox.store import Row, new_id, timestamp

_SECRET = re.compile(r"password|secret|token|private_key", re.IGNORECASE)
_CHANGES = frozenset({"PUT", "PATCH"})


def panel_default(call: ApiCall) -> ApiReply:
    """Carry out a call by the shape of its path.

    Raises:
        ApiError: 404, there is no such object.
    """
    endpoint, path = call.endpoint, call.concrete_path
    methods = call.document.methods_at(endpoint.path)
    if endpoint.path.endswith("}") and _has_collection(call):
        return _on_object(call, path)
    if {"GET", "POST"} <= methods.keys():
        return _list(call, path) if endpoint.method == "GET" else _create(call, path)
    if "GET" in methods and methods.keys() & _CHANGES:
        return _on_setting(call, path)
    if endpoint.method == "GET":
        return ApiReply(example_reply(call.document, endpoint))
    return _act(call, path)


def _has_collection(call: ApiCall) -> bool:
    """Return whether objects of the last name in the path before an id can be created anywhere."""
    name = call.endpoint.path.rsplit("/", 2)[-2]
    return any(one.method == "POST" and one.path.rsplit("/", 1)[-1] == name for one in call.document.endpoints)


def _create(call: ApiCall, collection: str) -> ApiReply:
    row = {
        "id": new_id(),
        **_parents(call),
        **_shown(call.body),
        "created_at": timestamp(call.now),
    }
    call.store.execute(
        "INSERT INTO objects (collection, id, data) VALUES (?, ?, ?)", collection, row["id"], json.dumps(row)
    )
    return ApiReply(row)


def _list(call: ApiCall, collection: str) -> ApiReply:
    sql = "SELECT data FROM objects WHERE collection = ?"
    return ApiReply([json.loads(row["data"]) for row in call.store.connection.execute(sql, (collection,))])


def _on_object(call: ApiCall, path: str) -> ApiReply:
    collection, identity = path.rsplit("/", 1)
    row = _find(call, collection.rsplit("/", 1)[-1], identity)
    match call.endpoint.method:
        case "GET":
            return ApiReply(row)
        case "DELETE":
            call.store.execute("DELETE FROM objects WHERE id = ?", identity)
            return accepted("Deleted")
        case _:
            row = {**row, **_shown(call.body)}
            call.store.execute("UPDATE objects SET data = ? WHERE id = ?", json.dumps(row), identity)
            return ApiReply(row)


def _on_setting(call: ApiCall, path: str) -> ApiReply:
    """Return or change the single object of a path."""
    data = call.store.value("SELECT data FROM objects WHERE collection = ? AND id = ''", path)
    row: Row = {} if data is None else json.loads(data)
    if call.endpoint.method == "GET":
        return ApiReply(row)
    row = {**row, **_shown(call.body)}
    call.store.execute("INSERT OR REPLACE INTO objects (collection, id, data) VALUES (?, '', ?)", path, json.dumps(row))
    return ApiReply(row)


def _act(call: ApiCall, path: str) -> ApiReply:
    """Acknowledge an action; the object that it is for must exist if it is one of ours."""
    segments, concrete = call.endpoint.path.split("/"), path.split("/")
    if segments[-2].startswith("{"):
        collection = "/".join(segments[:-2])
        if "POST" in call.document.methods_at(collection) and f"POST {collection}" not in HANDLERS:
            _find(call, segments[-3], concrete[-2])
    return accepted(f"{call.endpoint.summary}: done")


def _find(call: ApiCall, name: str, identity: str) -> Row:
    """Return an object of any collection of a name."""
    sql = "SELECT data FROM objects WHERE id = ? AND (collection = ? OR collection LIKE ?)"
    data = call.store.value(sql, identity, f"/v1/{name}", f"%/{name}")
    if data is None:
        raise missing("object", identity)
    row: Row = json.loads(data)
    return row


def _parents(call: ApiCall) -> Row:
    """Return the ids in the path as fields: `domain_id` for what is created below `/v1/domains/{id}`."""
    segments, concrete = call.endpoint.path.split("/"), call.concrete_path.split("/")
    return {
        f"{segments[place - 1].removesuffix('s').replace('-', '_')}_id": concrete[place]
        for place, segment in enumerate(segments)
        if segment.startswith("{")
    }


def _shown(body: Any) -> Row:
    return {name: value for name, value in body.items() if not _SECRET.search(name)}
