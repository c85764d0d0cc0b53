"""Files, archives and the trash.

In the reference, the owner of a file follows from its path; on current panels, every call names the account (evidence:
files-user-id).

Guesses: writing creates the file if its directory exists; homes and document roots cannot be deleted or moved; the
reference ignores `user_id`. On panels: sorting; create, rename, copy and move never overwrite anything; owner and group
are accepted and ignored; the replies to writes and about archives and the trash.
"""

import posixpath
from collections.abc import Iterator

from panelica_async.sandbox import filesystem as fs
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles, list_rows
from panelica_async.sandbox.messages import UploadedFile, bad_request, conflict, forbidden, not_found, panel_error
from panelica_async.sandbox.store import Row, timestamp

_FOLDER_TYPES = frozenset({"folder", "directory"})
_SORT_COLUMNS = {"size": "size", "modified": "modified_at"}
_PERMISSION_PRESETS = {"0644": "files", "0755": "folders", "0600": "private files", "0700": "private folders"}


@handles("files.list")
def list_directory(call: ApiCall) -> ApiReply:
    """List a directory, without its subdirectories."""
    directory = _get_entry_in_query(call)
    if directory["type"] != fs.DIRECTORY:
        raise bad_request("path: is not a directory")
    return ApiReply(list_rows(call, "file", _parent=directory["path"]))


@handles("files.read")
def read_file(call: ApiCall) -> ApiReply:
    """Return the text of a file."""
    file = _get_entry_in_query(call)
    if file["type"] != fs.FILE:
        raise bad_request("path: is a directory")
    return ApiReply({"path": file["path"], "content": file["content"]})


@handles("files.write")
def write_file(call: ApiCall) -> ApiReply:
    """Create the file or replace its text."""
    path = fs.normalize_path(call.body["path"])
    owner = fs.owner_of_path(call.store, path)
    is_home = path == fs.home_of(owner["username"])
    if is_home or _get_entry(call, posixpath.dirname(path))["type"] != fs.DIRECTORY:
        raise bad_request("path: is not a file in a directory")
    if not fs.write_file(call.store, path, call.body["content"]):
        raise bad_request("path: is a directory")
    return acknowledgement("File written")


@handles("files.delete")
def delete_file(call: ApiCall) -> ApiReply:
    """Delete a file, or a directory with all its contents."""
    entry = _get_entry_in_query(call)
    if entry["parent"] is None or fs.holds_document_root(call.store, entry["path"]):
        raise forbidden("homes and document roots cannot be deleted")
    call.store.delete("file", entry["path"], key="path")
    return acknowledgement("File deleted")


def _get_entry_in_query(call: ApiCall) -> Row:
    """Return the file or directory in the query, which must be in the home of an account."""
    path = fs.normalize_path(call.query["path"])
    fs.owner_of_path(call.store, path)
    return _get_entry(call, path)


# Current panels


@handles("GET /v1/files")
def list_folder(call: ApiCall) -> ApiReply:
    """List a folder, by default the home (evidence: files-list)."""
    path = _path_in_home(call, call.query.get("path") or fs.home_of(_get_account(call)["username"]))
    if _get_entry(call, path)["type"] != fs.DIRECTORY:
        raise panel_error("List Failed", "path is not a folder")
    rows = call.store.rows("SELECT * FROM files WHERE parent = ?", path)
    if not call.query.get("show_hidden"):
        rows = [row for row in rows if not row["name"].startswith(".")]
    column = _SORT_COLUMNS.get(call.query.get("sort_by", ""), "name")
    rows.sort(key=lambda row: row[column], reverse=call.query.get("sort_order") == "desc")
    return ApiReply({"path": path, "files": [fs.panel_entry(row) for row in rows]})


@handles("POST /v1/files")
def create_entry(call: ApiCall) -> ApiReply:
    """Create a file or a folder (evidence: files-create)."""
    folder = _get_folder(call, call.body["path"])
    path = _unused_path(call, posixpath.join(folder["path"], _valid_name(call.body["name"])))
    if call.body["type"] in _FOLDER_TYPES:
        owners = {"account_id": folder["account_id"], "domain_id": folder["domain_id"]}
        fs.make_directory(call.store, path, parent=folder["path"], **owners)
    elif call.body["type"] == fs.FILE:
        fs.write_file(call.store, path, call.body.get("content", ""))
    else:
        raise panel_error("Create Failed", "type must be file or folder")
    return ApiReply(fs.panel_entry(_get_entry(call, path)))


@handles("GET /v1/files/content")
def read_content(call: ApiCall) -> ApiReply:
    """Return the text of a file (evidence: files-content)."""
    content = _get_file_in_query(call)["content"]
    return ApiReply({"content": content if isinstance(content, str) else content.decode(errors="replace")})


@handles("PUT /v1/files/content")
def write_content(call: ApiCall) -> ApiReply:
    """Create the file or replace its text."""
    path = _path_in_home(call, call.body["path"])
    _get_folder(call, posixpath.dirname(path))
    if not fs.write_file(call.store, path, call.body["content"]):
        raise panel_error("Write Failed", "path is a folder")
    return acknowledgement("File written")


@handles("GET /v1/files/download")
def download_file(call: ApiCall) -> ApiReply:
    """Return the bytes of a file, without an envelope (evidence: files-upload)."""
    content = _get_file_in_query(call)["content"]
    return ApiReply(content if isinstance(content, bytes) else content.encode())


@handles("POST /v1/files/upload")
def upload_file(call: ApiCall) -> ApiReply:
    """Store the file in a form (evidence: files-upload)."""
    folder, file = _get_folder(call, call.body["target_path"]), call.body["file"]
    if not isinstance(file, UploadedFile):
        raise panel_error("Upload Failed", "file is not a file")
    if not fs.write_file(call.store, posixpath.join(folder["path"], _valid_name(file.name)), file.content):
        raise panel_error("Upload Failed", "a folder has this name")
    return ApiReply({"success": True})


@handles("PATCH /v1/files/rename")
def rename_entry(call: ApiCall) -> ApiReply:
    """Rename a file or a folder."""
    row = _get_movable_entry(call, call.body["path"])
    path = _unused_path(call, posixpath.join(row["parent"], _valid_name(call.body["new_name"])))
    fs.move_tree(call.store, row["path"], path)
    return ApiReply(fs.panel_entry(_get_entry(call, path)))


@handles("POST /v1/files/copy")
def copy_entries(call: ApiCall) -> ApiReply:
    """Copy files and folders into a folder."""
    for source, target in _transfers(call):
        fs.copy_tree(call.store, source["path"], target)
    return acknowledgement("Files copied")


@handles("POST /v1/files/move")
def move_entries(call: ApiCall) -> ApiReply:
    """Move files and folders into a folder."""
    for source, target in _transfers(call):
        fs.move_tree(call.store, _get_movable_entry(call, source["path"])["path"], target)
    return acknowledgement("Files moved")


@handles("GET /v1/files/permissions")
def get_permissions(call: ApiCall) -> ApiReply:
    """Return the permissions of a file or a folder."""
    row = fs.panel_entry(_get_own_entry(call, call.query["path"]))
    return ApiReply({name: row[name] for name in ("path", "permissions", "permissions_octal")})


@handles("PATCH /v1/files/permissions")
def update_permissions(call: ApiCall) -> ApiReply:
    """Change the permissions of a file or a folder; with `recursive`, of everything in it, too."""
    row = _get_own_entry(call, call.body["path"])
    mode = call.body["permissions"].rjust(4, "0")
    if len(mode) != 4 or set(mode) - set("01234567"):
        raise panel_error("Permissions Failed", "permissions must be octal, such as 0755")
    rows = fs.list_tree(call.store, row["path"]) if call.body.get("recursive") else [row]
    for entry in rows:
        call.store.execute("UPDATE files SET permissions = ? WHERE path = ?", mode, entry["path"])
    return acknowledgement("Permissions changed")


@handles("GET /v1/files/permissions/presets")
def list_permission_presets(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return common permissions with their use."""
    return ApiReply([{"permissions": mode, "description": text} for mode, text in _PERMISSION_PRESETS.items()])


@handles("PATCH /v1/files/ownership")
def update_ownership(call: ApiCall) -> ApiReply:
    """Accept an owner and a group, but keep those of the account."""
    _get_own_entry(call, call.body["path"])
    return acknowledgement("Ownership changed")


@handles("GET /v1/files/accessible-directories")
def list_accessible_directories(call: ApiCall) -> ApiReply:
    """Return the home and the folders of the domains; the home ends in a slash."""
    home = fs.home_of(_get_account(call)["username"])
    sql = "SELECT path FROM files WHERE parent = ? AND domain_id IS NOT NULL ORDER BY path"
    return ApiReply({"directories": [f"{home}/", *(row["path"] for row in call.store.rows(sql, home))]})


@handles("DELETE /v1/files")
def delete_entries(call: ApiCall) -> ApiReply:
    """Move files and folders to the trash; with `permanent`, delete them (evidence: files-delete)."""
    for path in call.body["paths"]:
        row = _get_movable_entry(call, path)
        if call.body.get("permanent"):
            call.store.delete("file", row["path"], key="path")
        else:
            fs.move_to_trash(call.store, row)
    return acknowledgement("Files deleted")


@handles("GET /v1/files/trash")
def list_trash(call: ApiCall) -> ApiReply:
    """Return a page of the trash, the only list that has pages (evidence: lists-unpaged)."""
    rows = _list_trash_rows(call)
    page, limit = call.query.get("page", 1), call.query.get("limit", max(1, len(rows)))
    if page < 1 or limit < 1:
        raise panel_error("Invalid query", "page and limit begin at 1")
    shown = [_trash_entry(row) for row in rows[(page - 1) * limit : page * limit]]
    return ApiReply(shown, envelope_fields={"total": len(rows), "page": page, "limit": limit})


@handles("GET /v1/files/trash/stats")
def get_trash_stats(call: ApiCall) -> ApiReply:
    """Return how many items are in the trash, and their total size."""
    rows = _list_trash_rows(call)
    sizes = [entry["size"] for row in rows for entry in fs.list_tree(call.store, row["path"])]
    return ApiReply({"total_items": len(rows), "total_size": sum(sizes)})


@handles("POST /v1/files/trash/{id}/restore")
def restore_from_trash(call: ApiCall) -> ApiReply:
    """Move an item from the trash back to where it was."""
    row = _get_trash_row(call)
    _get_folder(call, posixpath.dirname(row["original_path"]))
    fs.move_tree(call.store, row["path"], _unused_path(call, row["original_path"]))
    call.store.execute("DELETE FROM trash WHERE id = ?", row["id"])
    return acknowledgement("Restored")


@handles("DELETE /v1/files/trash/{id}")
def delete_from_trash(call: ApiCall) -> ApiReply:
    """Delete an item in the trash permanently."""
    call.store.delete("file", _get_trash_row(call)["path"], key="path")
    return acknowledgement("Deleted")


@handles("POST /v1/files/trash/empty")
def empty_trash(call: ApiCall) -> ApiReply:
    """Delete everything in the trash permanently."""
    for row in _list_trash_rows(call):
        call.store.delete("file", row["path"], key="path")
    return acknowledgement("Trash emptied")


@handles("POST /v1/files/compress")
def compress_entries(call: ApiCall) -> ApiReply:
    """Pack files and folders into an archive."""
    sources = [_get_own_entry(call, path) for path in call.body["source_paths"]]
    path = _unused_path(call, _path_in_home(call, call.body["archive_path"]))
    _get_folder(call, posixpath.dirname(path))
    rows = {
        posixpath.relpath(str(row["path"]), str(source["parent"])): row
        for source in sources
        for row in fs.list_tree(call.store, source["path"])
    }
    content = fs.pack(call.body.get("format", "zip"), rows)
    if content is None:
        raise panel_error("Compress Failed", "format must be zip, tar or tar.gz")
    fs.write_file(call.store, path, content)
    return acknowledgement("Archive created")


@handles("POST /v1/files/extract")
def extract_archive(call: ApiCall) -> ApiReply:
    """Unpack an archive into a folder, which need not exist."""
    archive, target = (
        _get_own_entry(call, call.body["archive_path"]),
        _path_in_home(call, call.body["destination_path"]),
    )
    for name, content in fs.unpack(archive, "Extract Failed"):
        path = _path_in_home(call, posixpath.join(target, name))
        fs.make_parents(call.store, path if content is None else posixpath.dirname(path))
        if content is not None and not fs.write_file(call.store, path, content):
            raise panel_error("Extract Failed", "a folder has the name of a file")
    if call.body.get("remove_archive"):
        call.store.delete("file", archive["path"], key="path")
    return acknowledgement("Archive extracted")


@handles("GET /v1/files/archive/info")
def get_archive_info(call: ApiCall) -> ApiReply:
    """Return the contents of an archive."""
    members = fs.unpack(_get_file_in_query(call), "Archive Failed")
    files = [{"name": name, "is_directory": data is None, "size": len(data or b"")} for name, data in members]
    return ApiReply({"files": files, "total_files": len(files)})


def _get_account(call: ApiCall) -> Row:
    """Return the account that the call names."""
    return get(call, "account", {**call.query, **call.body}["user_id"])


def _path_in_home(call: ApiCall, path: str) -> str:
    """Return a normalized path, which must be in the home of the account (evidence: files-home)."""
    home = fs.home_of(_get_account(call)["username"])
    path = fs.normalize_path(path)
    if not f"{path}/".startswith(f"{home}/"):
        raise panel_error("Access denied", "the path is outside the home of the account", status=403)
    return path


def _valid_name(name: str) -> str:
    """Return the name of a file or folder, or refuse one that contains a path."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise panel_error("Invalid name", "a name must not contain a slash")
    return name


def _get_entry(call: ApiCall, path: str) -> Row:
    """Return the file or folder at a path."""
    rows = call.store.rows("SELECT * FROM files WHERE path = ?", path)
    if not rows:
        raise not_found("file", path)
    return rows[0]


def _get_own_entry(call: ApiCall, path: str) -> Row:
    """Return the file or folder at a path in the home of the account."""
    return _get_entry(call, _path_in_home(call, path))


def _get_file_in_query(call: ApiCall) -> Row:
    """Return the file in the query."""
    row = _get_own_entry(call, call.query["path"])
    if row["type"] != fs.FILE:
        raise panel_error("Read Failed", "path is a folder")
    return row


def _get_folder(call: ApiCall, path: str) -> Row:
    """Return the folder at a path in the home of the account."""
    row = _get_own_entry(call, path)
    if row["type"] != fs.DIRECTORY:
        raise panel_error("Invalid path", "path is not a folder")
    return row


def _unused_path(call: ApiCall, path: str) -> str:
    """Return a path, or refuse it if it is in use."""
    if call.store.exists("file", path=path):
        raise conflict("file")
    return path


def _get_movable_entry(call: ApiCall, path: str) -> Row:
    """Return a file or folder that may be moved or deleted; homes and document roots are refused."""
    row = _get_own_entry(call, path)
    if row["parent"] is None or fs.holds_document_root(call.store, row["path"]):
        raise panel_error("Access denied", "homes and document roots cannot be moved or deleted", status=403)
    return row


def _transfers(call: ApiCall) -> Iterator[tuple[Row, str]]:
    """Yield each file or folder in the body with its new path.

    Each is copied or moved before the next one is checked, because it may occupy the path of that one.
    """
    folder = str(_get_folder(call, call.body["destination_path"])["path"])
    for path in call.body["source_paths"]:
        row = _get_own_entry(call, path)
        if f"{folder}/".startswith(f"{row['path']}/"):
            raise panel_error("Invalid path", "a folder cannot be copied or moved into itself")
        yield row, _unused_path(call, posixpath.join(folder, str(row["name"])))


def _list_trash_rows(call: ApiCall) -> list[Row]:
    return fs.trash_of(call.store, _get_account(call)["id"])


def _get_trash_row(call: ApiCall) -> Row:
    for row in _list_trash_rows(call):
        if row["id"] == call.path["id"]:
            return row
    raise not_found("file", call.path["id"])


def _trash_entry(row: Row) -> Row:
    fields = {name: row[name] for name in ("id", "name", "original_path", "size")}
    return {**fields, "type": fs.panel_entry(row)["type"], "deleted_at": timestamp(row["trashed_at"])}
