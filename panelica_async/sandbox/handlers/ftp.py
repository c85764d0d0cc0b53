"""FTP users. Their directories are relative to the home of the account, as in `/example.com` (evidence: ftp-home).

Guesses: in the reference, names have no prefix, and the default directory is the document root; it need not exist. On
panels, the default is the directory of the domain or, without a domain, the home of the account; a duplicate name is
400.
"""

from panelica_async.sandbox import filesystem as fs
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    active_domain,
    check_password,
    create,
    domain_below_limit,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handle_password_change,
    handle_update,
    handles,
    owner_below_limit,
    with_account_prefix,
)
from panelica_async.sandbox.messages import duplicate_error, forbidden, panel_error
from panelica_async.sandbox.store import Row
from panelica_async.sandbox.validation import valid_ftp_name

# 0 is unlimited (evidence: ftp-accounts).
_DEFAULT_QUOTA_MB = 0

handle_list("ftp_account", "ftp.accounts.list", "GET /v1/ftp-accounts")
handle_get("ftp_account", "GET /v1/ftp-accounts/{id}")
handle_update("ftp_account", "PATCH /v1/ftp-accounts/{id}", fields=["quota_mb"])
handle_delete("ftp_account", "ftp.accounts.delete", "DELETE /v1/ftp-accounts/{id}", message="FTP account deleted")
handle_password_change("ftp_account", "POST /v1/ftp-accounts/{id}/change-password")


@handles("ftp.accounts.create")
def create_ftp_user(call: ApiCall) -> ApiReply:
    """Add an FTP user; a second one of the same name is 409, even on another domain."""
    domain, owner = domain_below_limit(call, call.body["domain_id"], "max_ftp_accounts")
    check_password(call)
    name = valid_ftp_name(call.body["username"])
    return _add_user(call, name, owner, domain["id"], _home_in_reference(call, domain, owner))


@handles("POST /v1/ftp-accounts")
def create_ftp_user_on_panel(call: ApiCall) -> ApiReply:
    """Add an FTP user to an account; its name gets a prefix (evidence: ftp-create)."""
    owner = owner_below_limit(call, call.body["user_id"], "max_ftp_accounts")
    check_password(call)
    name = with_account_prefix(owner, valid_ftp_name(call.body["ftp_username"]))
    if call.store.exists("ftp_account", username=name):
        raise duplicate_error("FTP username already exists")
    home, domain_id = _home_on_panel(call, owner)
    return _add_user(call, name, owner, domain_id, home)


def _add_user(call: ApiCall, name: str, owner: Row, domain_id: str | None, home: str) -> ApiReply:
    columns = {"domain_id": domain_id, "home_directory": home, "quota_mb": call.body.get("quota_mb", _DEFAULT_QUOTA_MB)}
    return ApiReply(create(call, "ftp_account", username=name, user_id=owner["id"], **columns))


def _home_in_reference(call: ApiCall, domain: Row, owner: Row) -> str:
    """Return the home directory of the user, from a full path or one relative to the home of the domain's owner."""
    path = fs.normalize_path(call.body.get("home_directory", domain["document_root"]))
    if not f"{path}/".startswith("/home/"):
        path = f"{fs.home_of(owner['username'])}{path}"
    if fs.owner_of_path(call.store, path)["id"] != owner["id"]:
        raise forbidden("home_directory is in the home of another account", message="Path outside home")
    return path


def _home_on_panel(call: ApiCall, owner: Row) -> tuple[str, str | None]:
    """Return the home directory of the user, and the id of the domain that it belongs to, if any."""
    domain_id: str | None = None
    directory = "/"
    if "domain_id" in call.body:
        domain, _ = active_domain(call, call.body["domain_id"])
        if domain["user_id"] != owner["id"]:
            raise panel_error("Failed to create", "the domain belongs to another user", status=403)
        domain_id, directory = domain["id"], f"/{domain['domain_name']}"
    path = fs.normalize_path(call.body.get("home_directory") or directory)
    home = fs.home_of(owner["username"])
    if not f"{path}/".startswith(f"{home}/"):
        path = f"{home}{path}".rstrip("/")
    if domain_id is None:
        name = f"{path[len(home) + 1 :]}/".partition("/")[0]
        sql = "SELECT id FROM domains WHERE domain = ? AND user_id = ?"
        domain_id = call.store.value(sql, name, owner["id"])
    return path, domain_id


@handles("POST /v1/ftp-accounts/{id}/suspend")
def suspend_ftp_user(call: ApiCall) -> ApiReply:
    """Suspend the FTP user."""
    call.store.update("ftp_account", get(call, "ftp_account")["id"], {"suspended": 1})
    return acknowledgement("FTP account suspended")


@handles("POST /v1/ftp-accounts/{id}/unsuspend")
def unsuspend_ftp_user(call: ApiCall) -> ApiReply:
    """Lift the suspension."""
    call.store.update("ftp_account", get(call, "ftp_account")["id"], {"suspended": 0})
    return acknowledgement("FTP account unsuspended")
