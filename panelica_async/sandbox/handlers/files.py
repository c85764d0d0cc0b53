"""Files, and FTP users.

Guesses: writing creates the file if its directory exists; homes and document roots cannot be deleted; `user_id`, which
current panels need, is accepted and ignored, since the path shows who owns the file; the names of FTP users get no
prefix, and their directory is by default the document root, which need not exist.
"""

import posixpath

from panelica_async.sandbox import rules
from panelica_async.sandbox.filesystem import absolute, holds_document_root, home_of, owner_of, write_file
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    check_password,
    domain_with_room,
    handles,
    listed,
)
from panelica_async.sandbox.messages import bad_request, forbidden, not_found
from panelica_async.sandbox.store import Row, new_id

# 0 is unlimited (evidence: ftp-accounts).
FTP_QUOTA_MB = 0


@handles("files.list")
def list_directory(call: ApiCall) -> ApiReply:
    """List a directory, without its subdirectories."""
    path = _path(call)
    if _type(call, path) != "directory":
        raise bad_request("path: is not a directory")
    return ApiReply(listed(call, "file", _parent=path))


@handles("files.read")
def read_file(call: ApiCall) -> ApiReply:
    """Return the text of a file."""
    path = _path(call)
    if _type(call, path) != "file":
        raise bad_request("path: is a directory")
    return ApiReply({"path": path, "content": call.store.value("SELECT content FROM files WHERE path = ?", path)})


@handles("files.write")
def write_text(call: ApiCall) -> ApiReply:
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
def delete_file(call: ApiCall) -> ApiReply:
    """Delete a file, or a directory with all its contents."""
    path = _path(call)
    if path == home_of(owner_of(call.store, path)["username"]) or holds_document_root(call.store, path):
        raise forbidden("homes and document roots stay")
    call.store.delete("file", path, key="path")
    return ApiReply()


def _path(call: ApiCall) -> str:
    """Return the path of the query, which must be in the home of an account."""
    path = absolute(call.query["path"])
    owner_of(call.store, path)
    return path


def _type(call: ApiCall, path: str) -> str:
    kind = call.store.value("SELECT type FROM files WHERE path = ?", path)
    if kind is None:
        raise not_found("file", path)
    return str(kind)


@handles("ftp.accounts.list")
def list_ftp_accounts(call: ApiCall) -> ApiReply:
    """Return all FTP users."""
    return ApiReply(listed(call, "ftp_account"))


@handles("ftp.accounts.create")
def create_ftp_account(call: ApiCall) -> ApiReply:
    """Add an FTP user; a second one of the same name is 409, even on another domain."""
    domain, _ = domain_with_room(call, "max_ftp_accounts")
    check_password(call)
    ftp_id = new_id()
    call.store.insert(
        "ftp_account",
        {
            "id": ftp_id,
            "username": rules.ftp_name(call.body["username"]),
            "user_id": domain["user_id"],
            "domain_id": domain["id"],
            "home_directory": _home_directory(call, domain),
            "quota_mb": call.body.get("quota_mb", FTP_QUOTA_MB),
            "created_at": call.now,
        },
    )
    return ApiReply(call.store.get("ftp_account", ftp_id))


@handles("ftp.accounts.delete")
def delete_ftp_account(call: ApiCall) -> ApiReply:
    """Delete the FTP user, but none of its files."""
    call.store.delete("ftp_account", call.path["id"])
    return ApiReply()


def _home_directory(call: ApiCall, domain: Row) -> str:
    """Return the directory of the user: a full path, or one below the home of the domain's owner.

    Clients write "/example.com", below the home of the account (evidence: ftp-home).
    """
    path = absolute(call.body.get("home_directory", domain["document_root"]))
    if not f"{path}/".startswith("/home/"):
        owner = call.store.get("owner", domain["user_id"])
        path = f"/home/{owner['username']}{path}"
    if owner_of(call.store, path)["id"] != domain["user_id"]:
        raise forbidden("home_directory is in the home of another account", message="Path outside home")
    return path
