"""FTP users. Guesses: no prefix before names; the document root by default, which need not exist."""

from panelica_async.sandbox import rules
from panelica_async.sandbox.filesystem import absolute, owner_of
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles, rows
from panelica_async.sandbox.messages import forbidden
from panelica_async.sandbox.rules import domain_with_room
from panelica_async.sandbox.store import Row, new_id

# 0 is unlimited (evidence: ftp-accounts).
_QUOTA_MB = 0


@handles("ftp.accounts.list")
def list_ftp_accounts(call: ApiCall) -> ApiReply:
    """Return all FTP users."""
    return ApiReply(rows(call, "ftp_account"))


@handles("ftp.accounts.create")
def create(call: ApiCall) -> ApiReply:
    """Add an FTP user; a second one of the same name is 409, even on another domain."""
    domain = domain_with_room(call.store, call.body["domain_id"], "max_ftp_accounts")
    rules.password(call.body["password"])
    ftp_id = new_id()
    call.store.insert(
        "ftp_account",
        {
            "id": ftp_id,
            "username": rules.ftp_name(call.body["username"]),
            "user_id": domain["user_id"],
            "domain_id": domain["id"],
            "home_directory": _home_directory(call, domain),
            "quota_mb": call.body.get("quota_mb", _QUOTA_MB),
            "created_at": call.now,
        },
    )
    return ApiReply(call.store.get("ftp_account", ftp_id))


@handles("ftp.accounts.delete")
def delete(call: ApiCall) -> ApiReply:
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
