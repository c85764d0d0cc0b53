"""Files and FTP users of accounts; every call about files names the account (evidence: files-user-id).

Guesses: sorting; what exists is not overwritten by a create, rename, copy or move; homes and document roots cannot be
deleted or moved; owner and group are accepted and ignored; what writes answer; an FTP user gets the directory of the
domain by default, or else the home of the account; a taken name is 400.
"""

import posixpath
from typing import Any

from panelica_async.sandbox import filesystem as fs
from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    check_password,
    get,
    handles,
    listed,
    owner_with_room,
    prefixed,
)
from panelica_async.sandbox.handlers.files import FTP_QUOTA_MB
from panelica_async.sandbox.messages import PanelError, UploadedFile, failed, not_found, taken
from panelica_async.sandbox.store import Row, new_id

_FOLDERS = frozenset({"folder", "directory"})
_SORTED_BY = {"size": "size", "modified": "modified_at"}
_PRESETS = {"0644": "files", "0755": "folders", "0600": "private files", "0700": "private folders"}


@handles("GET /v1/files")
def list_folder(call: ApiCall) -> ApiReply:
    """List a folder, the home by default (evidence: files-list)."""
    account = account_of(call, call.query)
    path = inside(account, call.query.get("path") or fs.home_of(account["username"]))
    if entry_at(call, path)["type"] != fs.DIRECTORY:
        raise failed("List Failed", "path is not a folder")
    rows = call.store.rows("SELECT * FROM files WHERE parent = ?", path)
    shown = [row for row in rows if call.query.get("show_hidden") or not row["name"].startswith(".")]
    column = _SORTED_BY.get(call.query.get("sort_by", ""), "name")
    shown.sort(key=lambda row: row[column], reverse=call.query.get("sort_order") == "desc")
    return ApiReply({"path": path, "files": [fs.entry(row) for row in shown]})


@handles("POST /v1/files")
def create_entry(call: ApiCall) -> ApiReply:
    """Create a file or a folder (evidence: files-create)."""
    account = account_of(call, call.body)
    folder = folder_at(call, account, call.body["path"])
    path = free_path(call, posixpath.join(folder["path"], _name(call.body["name"])))
    if call.body["type"] in _FOLDERS:
        parent = folder["path"]
        fs.make_directory(call.store, path, account_id=account["id"], parent=parent, domain_id=folder["domain_id"])
    elif call.body["type"] == fs.FILE:
        fs.write_file(call.store, path, call.body.get("content", ""))
    else:
        raise failed("Create Failed", "type must be file or folder")
    return ApiReply(fs.entry(entry_at(call, path)))


@handles("GET /v1/files/content")
def read_file(call: ApiCall) -> ApiReply:
    """Return the text of a file (evidence: files-content)."""
    content = file_of(call)["content"]
    return ApiReply({"content": content if isinstance(content, str) else content.decode(errors="replace")})


@handles("PUT /v1/files/content")
def write_file(call: ApiCall) -> ApiReply:
    """Write a file, which need not exist."""
    account = account_of(call, call.body)
    path = inside(account, call.body["path"])
    folder_at(call, account, posixpath.dirname(path))
    found = _find(call, path)
    if found is not None and found["type"] != fs.FILE:
        raise failed("Write Failed", "path is a folder")
    fs.write_file(call.store, path, call.body["content"])
    return accepted("File written")


@handles("GET /v1/files/download")
def download(call: ApiCall) -> ApiReply:
    """Return the bytes of a file, without an envelope (evidence: files-upload)."""
    content = file_of(call)["content"]
    return ApiReply(content if isinstance(content, bytes) else content.encode())


@handles("POST /v1/files/upload")
def upload(call: ApiCall) -> ApiReply:
    """Write a file of a form (evidence: files-upload)."""
    account, file = account_of(call, call.body), call.body["file"]
    if not isinstance(file, UploadedFile):
        raise failed("Upload Failed", "file is not a file")
    folder = folder_at(call, account, call.body["target_path"])
    fs.write_file(call.store, posixpath.join(folder["path"], _name(file.name)), file.content)
    return ApiReply({"success": True})


@handles("PATCH /v1/files/rename")
def rename(call: ApiCall) -> ApiReply:
    """Rename a file or a folder."""
    account = account_of(call, call.body)
    row = _movable(call, account, call.body["path"])
    path = free_path(call, posixpath.join(row["parent"], _name(call.body["new_name"])))
    fs.move_tree(call.store, row["path"], path)
    return ApiReply(fs.entry(entry_at(call, path)))


@handles("POST /v1/files/copy")
def copy(call: ApiCall) -> ApiReply:
    """Copy files and folders into a folder."""
    for source, target in _sources(call):
        fs.copy_tree(call.store, source["path"], target)
    return accepted("Files copied")


@handles("POST /v1/files/move")
def move(call: ApiCall) -> ApiReply:
    """Move files and folders into a folder."""
    account = account_of(call, call.body)
    for source, target in _sources(call):
        fs.move_tree(call.store, _movable(call, account, source["path"])["path"], target)
    return accepted("Files moved")


@handles("GET /v1/files/permissions")
def get_permissions(call: ApiCall) -> ApiReply:
    """Return the permissions of a file or a folder."""
    account = account_of(call, call.query)
    row = fs.entry(entry_at(call, inside(account, call.query["path"])))
    return ApiReply({name: row[name] for name in ("path", "permissions", "permissions_octal")})


@handles("PATCH /v1/files/permissions")
def update_permissions(call: ApiCall) -> ApiReply:
    """Change the permissions of a file or a folder, and of everything in it if asked for."""
    account = account_of(call, call.body)
    row = entry_at(call, inside(account, call.body["path"]))
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
    account = account_of(call, call.body)
    entry_at(call, inside(account, call.body["path"]))
    return accepted("Ownership changed")


@handles("GET /v1/files/accessible-directories")
def accessible_directories(call: ApiCall) -> ApiReply:
    """Return the home and the folders of the domains; the home ends in a slash."""
    account = account_of(call, call.query)
    home = fs.home_of(account["username"])
    sql = "SELECT path FROM files WHERE parent = ? AND domain_id IS NOT NULL ORDER BY path"
    return ApiReply({"directories": [f"{home}/", *(row["path"] for row in call.store.rows(sql, home))]})


@handles("DELETE /v1/files")
def delete_entries(call: ApiCall) -> ApiReply:
    """Delete files and folders, into the trash if nothing else is asked for (evidence: files-delete)."""
    account = account_of(call, call.body)
    for row in [_movable(call, account, path) for path in call.body["paths"]]:
        if call.body.get("permanent"):
            call.store.delete("file", row["path"], key="path")
        else:
            fs.move_to_trash(call.store, row)
    return accepted("Files deleted")


def account_of(call: ApiCall, fields: Any) -> Row:
    """Return the account whose files the call is about."""
    return get(call, "account", fields["user_id"])


def inside(account: Row, path: str) -> str:
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


def entry_at(call: ApiCall, path: str) -> Row:
    """Return the file or folder of a path."""
    row = _find(call, path)
    if row is None:
        raise not_found("file", path)
    return row


def file_of(call: ApiCall) -> Row:
    """Return the file that the query names."""
    row = entry_at(call, inside(account_of(call, call.query), call.query["path"]))
    if row["type"] != fs.FILE:
        raise failed("Read Failed", "path is a folder")
    return row


def folder_at(call: ApiCall, account: Row, path: str) -> Row:
    """Return the folder of a path in the home of an account."""
    row = entry_at(call, inside(account, path))
    if row["type"] != fs.DIRECTORY:
        raise failed("Invalid path", "path is not a folder")
    return row


def free_path(call: ApiCall, path: str) -> str:
    """Return a path, unless something is there."""
    if _find(call, path) is not None:
        raise PanelError(409, error="File already exists", code="CONFLICT")
    return path


def _movable(call: ApiCall, account: Row, path: str) -> Row:
    """Return a file or folder that may be deleted or moved: homes and document roots may not."""
    row = entry_at(call, inside(account, path))
    if row["parent"] is None or fs.holds_document_root(call.store, row["path"]):
        raise failed("Access denied", "homes and document roots stay", status=403)
    return row


def _sources(call: ApiCall) -> list[tuple[Row, str]]:
    """Return what to copy or move, each with its new path."""
    account = account_of(call, call.body)
    folder = str(folder_at(call, account, call.body["destination_path"])["path"])
    found: list[tuple[Row, str]] = []
    for path in call.body["source_paths"]:
        row = entry_at(call, inside(account, path))
        if f"{folder}/".startswith(f"{row['path']}/"):
            raise failed("Invalid path", "a folder cannot go into itself")
        found.append((row, free_path(call, posixpath.join(folder, str(row["name"])))))
    return found


@handles("GET /v1/ftp-accounts")
def list_ftp_users(call: ApiCall) -> ApiReply:
    """Return all FTP users."""
    return ApiReply(listed(call, "ftp_account"))


@handles("GET /v1/ftp-accounts/{id}")
def get_ftp_user(call: ApiCall) -> ApiReply:
    """Return one FTP user."""
    return ApiReply(get(call, "ftp_account"))


@handles("POST /v1/ftp-accounts")
def create_ftp_user(call: ApiCall) -> ApiReply:
    """Add an FTP user to an account; its name gets a prefix (evidence: ftp-create)."""
    owner = owner_with_room(call, call.body["user_id"], "max_ftp_accounts")
    check_password(call)
    name = prefixed(owner, rules.ftp_name(call.body["ftp_username"]))
    if call.store.value("SELECT 1 FROM ftp_accounts WHERE username = ?", name) is not None:
        raise taken("FTP username already exists")
    ftp_id = new_id()
    home, domain_id = _ftp_home(call, owner)
    row = {"id": ftp_id, "username": name, "user_id": owner["id"], "domain_id": domain_id, "home_directory": home}
    quota = call.body.get("quota_mb", FTP_QUOTA_MB)
    call.store.insert("ftp_account", {**row, "quota_mb": quota, "created_at": call.now})
    return ApiReply(get(call, "ftp_account", ftp_id))


@handles("PATCH /v1/ftp-accounts/{id}")
def update_ftp_user(call: ApiCall) -> ApiReply:
    """Change the quota."""
    user = get(call, "ftp_account")
    call.store.update("ftp_account", user["id"], call.fields("quota_mb"))
    return ApiReply(get(call, "ftp_account", user["id"]))


@handles("DELETE /v1/ftp-accounts/{id}")
def delete_ftp_user(call: ApiCall) -> ApiReply:
    """Delete the FTP user, but none of its files."""
    call.store.delete("ftp_account", get(call, "ftp_account")["id"])
    return accepted("FTP account deleted")


@handles("POST /v1/ftp-accounts/{id}/change-password")
def change_ftp_password(call: ApiCall) -> ApiReply:
    """Set a new password (evidence: password-changes)."""
    get(call, "ftp_account")
    check_password(call)
    return accepted("Password changed")


@handles("POST /v1/ftp-accounts/{id}/suspend")
def suspend_ftp_user(call: ApiCall) -> ApiReply:
    """Suspend the FTP user."""
    call.store.update("ftp_account", get(call, "ftp_account")["id"], {"suspended": 1})
    return accepted("FTP account suspended")


@handles("POST /v1/ftp-accounts/{id}/unsuspend")
def unsuspend_ftp_user(call: ApiCall) -> ApiReply:
    """Lift the suspension."""
    call.store.update("ftp_account", get(call, "ftp_account")["id"], {"suspended": 0})
    return accepted("FTP account unsuspended")


def _ftp_home(call: ApiCall, owner: Row) -> tuple[str, str | None]:
    """Return the directory of the user, and the id of the domain that it belongs to, if any.

    Clients write `/example.com`, below the home of the account (evidence: ftp-home).
    """
    domain_id: str | None = None
    directory = "/"
    if "domain_id" in call.body:
        domain = get(call, "domain", call.body["domain_id"])
        if domain["user_id"] != owner["id"]:
            raise failed("Failed to create", "the domain belongs to another user", status=403)
        domain_id, directory = domain["id"], f"/{domain['domain_name']}"
    path = fs.absolute(call.body.get("home_directory") or directory)
    home = fs.home_of(owner["username"])
    if not f"{path}/".startswith(f"{home}/"):
        path = f"{home}{path}".rstrip("/")
    if domain_id is None:
        name = f"{path[len(home) + 1 :]}/".partition("/")[0]
        sql = "SELECT id FROM domains WHERE domain = ? AND user_id = ?"
        domain_id = call.store.value(sql, name, owner["id"])
    return path, domain_id
