"""Files of accounts; every call names the account (evidence: files-user-id).

Guesses: sorting; what exists is not overwritten by a create, rename, copy or move; homes and document roots cannot be
deleted or moved; owner and group are accepted and ignored; what writes answer.
"""

import posixpath
from typing import Any

from panelica_async.sandbox import filesystem as fs
from panelica_async.sandbox.archives import members, pack, unpack
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.messages import UploadedFile
from panelica_async.sandbox.panel_errors import PanelError, failed, missing
from panelica_async.sandbox.panel_handlers.base import get, handles
from panelica_async.sandbox.store import Row, timestamp

_FOLDERS = frozenset({"folder", "directory"})
_SORTED_BY = {"size": "size", "modified": "modified_at"}
_PRESETS = {"0644": "files", "0755": "folders", "0600": "private files", "0700": "private folders"}


@handles("GET /v1/files")
def list_folder(call: ApiCall) -> ApiReply:
    """List a folder, the home by default (evidence: files-list)."""
    account = _account(call, call.query)
    path = _inside(account, call.query.get("path") or fs.home_of(account["username"]))
    if _row(call, path)["type"] != fs.DIRECTORY:
        raise failed("List Failed", "path is not a folder")
    rows = call.store.rows("SELECT * FROM files WHERE parent = ?", path)
    shown = [row for row in rows if call.query.get("show_hidden") or not row["name"].startswith(".")]
    column = _SORTED_BY.get(call.query.get("sort_by", ""), "name")
    shown.sort(key=lambda row: row[column], reverse=call.query.get("sort_order") == "desc")
    return ApiReply({"path": path, "files": [fs.entry(row) for row in shown]})


@handles("POST /v1/files")
def create(call: ApiCall) -> ApiReply:
    """Create a file or a folder (evidence: files-create)."""
    account = _account(call, call.body)
    folder = _folder(call, account, call.body["path"])
    path = _free(call, posixpath.join(folder["path"], _name(call.body["name"])))
    if call.body["type"] in _FOLDERS:
        parent = folder["path"]
        fs.make_directory(call.store, path, account_id=account["id"], parent=parent, domain_id=folder["domain_id"])
    elif call.body["type"] == fs.FILE:
        fs.write_file(call.store, path, call.body.get("content", ""))
    else:
        raise failed("Create Failed", "type must be file or folder")
    return ApiReply(fs.entry(_row(call, path)))


@handles("GET /v1/files/content")
def read(call: ApiCall) -> ApiReply:
    """Return the text of a file (evidence: files-content)."""
    content = _file(call)["content"]
    return ApiReply({"content": content if isinstance(content, str) else content.decode(errors="replace")})


@handles("PUT /v1/files/content")
def write(call: ApiCall) -> ApiReply:
    """Write a file, which need not exist."""
    account = _account(call, call.body)
    path = _inside(account, call.body["path"])
    _folder(call, account, posixpath.dirname(path))
    found = _find(call, path)
    if found is not None and found["type"] != fs.FILE:
        raise failed("Write Failed", "path is a folder")
    fs.write_file(call.store, path, call.body["content"])
    return accepted("File written")


@handles("GET /v1/files/download")
def download(call: ApiCall) -> ApiReply:
    """Return the bytes of a file, without an envelope (evidence: files-upload)."""
    content = _file(call)["content"]
    return ApiReply(content if isinstance(content, bytes) else content.encode())


@handles("POST /v1/files/upload")
def upload(call: ApiCall) -> ApiReply:
    """Write a file of a form (evidence: files-upload)."""
    account, file = _account(call, call.body), call.body["file"]
    if not isinstance(file, UploadedFile):
        raise failed("Upload Failed", "file is not a file")
    folder = _folder(call, account, call.body["target_path"])
    fs.write_file(call.store, posixpath.join(folder["path"], _name(file.name)), file.content)
    return ApiReply({"success": True})


@handles("PATCH /v1/files/rename")
def rename(call: ApiCall) -> ApiReply:
    """Rename a file or a folder."""
    account = _account(call, call.body)
    row = _movable(call, account, call.body["path"])
    path = _free(call, posixpath.join(row["parent"], _name(call.body["new_name"])))
    fs.move_tree(call.store, row["path"], path)
    return ApiReply(fs.entry(_row(call, path)))


@handles("POST /v1/files/copy")
def copy(call: ApiCall) -> ApiReply:
    """Copy files and folders into a folder."""
    for source, target in _sources(call):
        fs.copy_tree(call.store, source["path"], target)
    return accepted("Files copied")


@handles("POST /v1/files/move")
def move(call: ApiCall) -> ApiReply:
    """Move files and folders into a folder."""
    account = _account(call, call.body)
    for source, target in _sources(call):
        fs.move_tree(call.store, _movable(call, account, source["path"])["path"], target)
    return accepted("Files moved")


@handles("POST /v1/files/compress")
def compress(call: ApiCall) -> ApiReply:
    """Pack files and folders into an archive."""
    account = _account(call, call.body)
    sources = [_row(call, _inside(account, path)) for path in call.body["source_paths"]]
    path = _free(call, _inside(account, call.body["archive_path"]))
    _folder(call, account, posixpath.dirname(path))
    rows = {
        posixpath.relpath(str(row["path"]), str(source["parent"])): row
        for source in sources
        for row in fs.tree(call.store, source["path"])
    }
    content = pack(call.body.get("format", "zip"), rows)
    if content is None:
        raise failed("Compress Failed", "format must be zip, tar or tar.gz")
    fs.write_file(call.store, path, content)
    return accepted("Archive created")


@handles("POST /v1/files/extract")
def extract(call: ApiCall) -> ApiReply:
    """Unpack an archive into a folder, which need not exist."""
    account = _account(call, call.body)
    archive = _row(call, _inside(account, call.body["archive_path"]))
    target = _inside(account, call.body["destination_path"])
    found = unpack(archive["content"])
    if found is None:
        raise failed("Extract Failed", "path is not an archive")
    for name, content in found:
        path = _inside(account, posixpath.join(target, name))
        fs.make_parents(call.store, path if content is None else posixpath.dirname(path))
        if content is not None:
            fs.write_file(call.store, path, content)
    if call.body.get("remove_archive"):
        call.store.delete("file", archive["path"], key="path")
    return accepted("Archive extracted")


@handles("GET /v1/files/archive/info")
def archive_info(call: ApiCall) -> ApiReply:
    """Return what an archive holds."""
    found = members(_file(call)["content"])
    if found is None:
        raise failed("Archive Failed", "path is not an archive")
    return ApiReply({"files": found, "total_files": len(found)})


@handles("GET /v1/files/permissions")
def get_permissions(call: ApiCall) -> ApiReply:
    """Return the permissions of a file or a folder."""
    account = _account(call, call.query)
    row = fs.entry(_row(call, _inside(account, call.query["path"])))
    return ApiReply({name: row[name] for name in ("path", "permissions", "permissions_octal")})


@handles("PATCH /v1/files/permissions")
def update_permissions(call: ApiCall) -> ApiReply:
    """Change the permissions of a file or a folder, and of everything in it if asked for."""
    account = _account(call, call.body)
    row = _row(call, _inside(account, call.body["path"]))
    mode = call.body["permissions"].rjust(4, "0")
    if len(mode) != 4 or set(mode) - set("01234567"):
        raise failed("Permissions Failed", "permissions must be octal, such as 0755")
    rows = fs.tree(call.store, row["path"]) if call.body.get("recursive") else [row]
    for one in rows:
        call.store.execute("UPDATE files SET permissions = ? WHERE path = ?", mode, one["path"])
    return accepted("Permissions changed")


@handles("GET /v1/files/permissions/presets")
def presets(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return common permissions."""
    return ApiReply([{"permissions": mode, "description": text} for mode, text in _PRESETS.items()])


@handles("PATCH /v1/files/ownership")
def update_ownership(call: ApiCall) -> ApiReply:
    """Accept an owner and a group, which stay those of the account."""
    account = _account(call, call.body)
    _row(call, _inside(account, call.body["path"]))
    return accepted("Ownership changed")


@handles("GET /v1/files/accessible-directories")
def accessible_directories(call: ApiCall) -> ApiReply:
    """Return the home and the folders of the domains; the home ends in a slash."""
    account = _account(call, call.query)
    home = fs.home_of(account["username"])
    sql = "SELECT path FROM files WHERE parent = ? AND domain_id IS NOT NULL ORDER BY path"
    return ApiReply({"directories": [f"{home}/", *(row["path"] for row in call.store.rows(sql, home))]})


@handles("DELETE /v1/files")
def delete(call: ApiCall) -> ApiReply:
    """Delete files and folders, into the trash if nothing else is asked for (evidence: files-delete)."""
    account = _account(call, call.body)
    for row in [_movable(call, account, path) for path in call.body["paths"]]:
        if call.body.get("permanent"):
            call.store.delete("file", row["path"], key="path")
        else:
            fs.move_to_trash(call.store, row)
    return accepted("Files deleted")


@handles("GET /v1/files/trash")
def list_trash(call: ApiCall) -> ApiReply:
    """Return a page of the trash, the one list with pages (evidence: lists-unpaged)."""
    rows = fs.trash_of(call.store, _account(call, call.query)["id"])
    page, limit = call.query.get("page", 1), call.query.get("limit", max(1, len(rows)))
    if page < 1 or limit < 1:
        raise failed("Invalid query", "page and limit begin at 1")
    shown = [_trashed(row) for row in rows[(page - 1) * limit : page * limit]]
    return ApiReply(shown, beside={"total": len(rows), "page": page, "limit": limit})


@handles("GET /v1/files/trash/stats")
def trash_stats(call: ApiCall) -> ApiReply:
    """Return number and size of what is in the trash."""
    rows = fs.trash_of(call.store, _account(call, call.query)["id"])
    sizes = [one["size"] for row in rows for one in fs.tree(call.store, row["path"])]
    return ApiReply({"total_items": len(rows), "total_size": sum(sizes)})


@handles("POST /v1/files/trash/{id}/restore")
def restore(call: ApiCall) -> ApiReply:
    """Put something from the trash back where it was."""
    account = _account(call, call.body)
    row = _in_trash(call, account)
    _folder(call, account, posixpath.dirname(row["original_path"]))
    fs.move_tree(call.store, row["path"], _free(call, row["original_path"]))
    call.store.execute("DELETE FROM trash WHERE id = ?", row["id"])
    return accepted("Restored")


@handles("DELETE /v1/files/trash/{id}")
def delete_from_trash(call: ApiCall) -> ApiReply:
    """Delete something from the trash permanently."""
    call.store.delete("file", _in_trash(call, _account(call, call.query))["path"], key="path")
    return accepted("Deleted")


@handles("POST /v1/files/trash/empty")
def empty_trash(call: ApiCall) -> ApiReply:
    """Delete everything from the trash permanently."""
    for row in fs.trash_of(call.store, _account(call, call.body)["id"]):
        call.store.delete("file", row["path"], key="path")
    return accepted("Trash emptied")


def _account(call: ApiCall, fields: Any) -> Row:
    """Return the account whose files the call is about."""
    return get(call, "account", fields["user_id"])


def _inside(account: Row, path: str) -> str:
    """Return a path without dots, which must be in the home of the account (evidence: files-home)."""
    path = fs.absolute(path)
    home = fs.home_of(account["username"])
    if path != home and not path.startswith(f"{home}/"):
        raise failed("Access denied", "the path is outside the home of the account", status=403)
    return path


def _name(name: str) -> str:
    """Return a name without a folder, or refuse it."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise failed("Invalid name", "a name has no slash")
    return name


def _find(call: ApiCall, path: str) -> Row | None:
    return next(iter(call.store.rows("SELECT * FROM files WHERE path = ?", path)), None)


def _row(call: ApiCall, path: str) -> Row:
    row = _find(call, path)
    if row is None:
        raise missing("file", path)
    return row


def _file(call: ApiCall) -> Row:
    """Return the file that the query names."""
    row = _row(call, _inside(_account(call, call.query), call.query["path"]))
    if row["type"] != fs.FILE:
        raise failed("Read Failed", "path is a folder")
    return row


def _folder(call: ApiCall, account: Row, path: str) -> Row:
    row = _row(call, _inside(account, path))
    if row["type"] != fs.DIRECTORY:
        raise failed("Invalid path", "path is not a folder")
    return row


def _free(call: ApiCall, path: str) -> str:
    if _find(call, path) is not None:
        raise PanelError(409, error="File already exists", code="CONFLICT")
    return path


def _movable(call: ApiCall, account: Row, path: str) -> Row:
    """Return a file or folder that may be deleted or moved: homes and document roots may not."""
    row = _row(call, _inside(account, path))
    sql = "SELECT count(*) FROM domains WHERE substr(document_root || '/', 1, length(?)) = ?"
    if row["parent"] is None or call.store.value(sql, f"{row['path']}/", f"{row['path']}/"):
        raise failed("Access denied", "homes and document roots stay", status=403)
    return row


def _sources(call: ApiCall) -> list[tuple[Row, str]]:
    """Return what to copy or move, each with its new path."""
    account = _account(call, call.body)
    folder = str(_folder(call, account, call.body["destination_path"])["path"])
    found: list[tuple[Row, str]] = []
    for path in call.body["source_paths"]:
        row = _row(call, _inside(account, path))
        if f"{folder}/".startswith(f"{row['path']}/"):
            raise failed("Invalid path", "a folder cannot go into itself")
        found.append((row, _free(call, posixpath.join(folder, str(row["name"])))))
    return found


def _in_trash(call: ApiCall, account: Row) -> Row:
    for row in fs.trash_of(call.store, account["id"]):
        if row["id"] == call.path["id"]:
            return row
    raise missing("file", call.path["id"])


def _trashed(row: Row) -> Row:
    shown = {name: row[name] for name in ("id", "name", "original_path", "size")}
    return {**shown, "type": fs.entry(row)["type"], "deleted_at": timestamp(row["trashed_at"])}
