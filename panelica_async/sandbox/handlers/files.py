"""Files.

Guesses: writing creates the file if its directory exists; homes and document roots cannot be deleted.
`user_id`, which current panels need, is accepted and ignored: the path shows who owns the file.
"""

import posixpath

from panelica_async.sandbox.filesystem import absolute, home_of, owner_of, write_file
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, rows
from panelica_async.sandbox.messages import bad_request, forbidden, not_found


@handles("files.list")
def list_directory(call: ApiCall) -> ApiReply:
    """List a directory, without its subdirectories."""
    path = _path(call)
    if _type(call, path) != "directory":
        raise bad_request("path: is not a directory")
    return ApiReply(rows(call, "file", {"_parent": path}))


@handles("files.read")
def read(call: ApiCall) -> ApiReply:
    """Return the text of a file."""
    path = _path(call)
    if _type(call, path) != "file":
        raise bad_request("path: is a directory")
    return ApiReply({"path": path, "content": call.store.value("SELECT content FROM files WHERE path = ?", path)})


@handles("files.write")
def write(call: ApiCall) -> ApiReply:
    """Create the file or replace its text."""
    path = absolute(call.body["path"])
    owner = owner_of(call.store, path)
    parent = posixpath.dirname(path)
    if path == home_of(owner["username"]) or _type(call, parent) != "directory":
        raise bad_request("path: is not a file in a directory")
    if not write_file(call.store, path, call.body["content"]):
        raise bad_request("path: is a directory")
    return accepted("File written")


@handles("files.delete")
def delete(call: ApiCall) -> ApiReply:
    """Delete a file, or a directory with all its contents."""
    path = _path(call)
    if path == home_of(owner_of(call.store, path)["username"]) or _holds_document_root(call, path):
        raise forbidden("homes and document roots stay")
    call.store.delete("file", path, key="path")
    return ApiReply()


def _path(call: ApiCall) -> str:
    """Return the path of the query, which must be in the home of an account."""
    path = absolute(call.query["path"])
    owner_of(call.store, path)
    return path


def _holds_document_root(call: ApiCall, path: str) -> bool:
    sql = "SELECT count(*) FROM domains WHERE substr(document_root || '/', 1, length(?)) = ?"
    return bool(call.store.value(sql, f"{path}/", f"{path}/"))


def _type(call: ApiCall, path: str) -> str:
    kind = call.store.value("SELECT type FROM files WHERE path = ?", path)
    if kind is None:
        raise not_found("file", path)
    return str(kind)
