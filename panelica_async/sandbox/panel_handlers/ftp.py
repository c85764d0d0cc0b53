"""FTP users. Guesses: the directory of the domain by default, or else the home of the account; a taken name is 400."""

from panelica_async.sandbox import rules
from panelica_async.sandbox.filesystem import absolute, home_of
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import failed, taken
from panelica_async.sandbox.panel_handlers.base import (
    check_password,
    get,
    handles,
    listed,
    owner_with_room,
    prefixed,
)
from panelica_async.sandbox.store import Row, new_id

# 0 is unlimited (evidence: ftp-accounts).
_QUOTA_MB = 0


@handles("GET /v1/ftp-accounts")
def list_ftp_users(call: ApiCall) -> ApiReply:
    """Return all FTP users."""
    return listed(call, "ftp_account")


@handles("GET /v1/ftp-accounts/{id}")
def get_ftp_user(call: ApiCall) -> ApiReply:
    """Return one FTP user."""
    return ApiReply(get(call, "ftp_account", call.path["id"]))


@handles("POST /v1/ftp-accounts")
def create(call: ApiCall) -> ApiReply:
    """Add an FTP user to an account; its name gets a prefix (evidence: ftp-create)."""
    owner = owner_with_room(call, call.body["user_id"], "max_ftp_accounts")
    check_password(call)
    name = prefixed(owner, rules.ftp_name(call.body["ftp_username"]))
    if call.store.value("SELECT 1 FROM ftp_accounts WHERE username = ?", name) is not None:
        raise taken("FTP username already exists")
    ftp_id = new_id()
    home, domain_id = _home(call, owner)
    row = {"id": ftp_id, "username": name, "user_id": owner["id"], "domain_id": domain_id, "home_directory": home}
    quota = call.body.get("quota_mb", _QUOTA_MB)
    call.store.insert("ftp_account", {**row, "quota_mb": quota, "created_at": call.now})
    return ApiReply(get(call, "ftp_account", ftp_id))


@handles("PATCH /v1/ftp-accounts/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change the quota."""
    user = get(call, "ftp_account", call.path["id"])
    call.store.update("ftp_account", user["id"], call.fields("quota_mb"))
    return ApiReply(get(call, "ftp_account", user["id"]))


@handles("DELETE /v1/ftp-accounts/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete the FTP user, but none of its files."""
    call.store.delete("ftp_account", get(call, "ftp_account", call.path["id"])["id"])
    return accepted("FTP account deleted")


@handles("POST /v1/ftp-accounts/{id}/change-password")
def change_password(call: ApiCall) -> ApiReply:
    """Set a new password (evidence: password-changes)."""
    get(call, "ftp_account", call.path["id"])
    check_password(call)
    return accepted("Password changed")


@handles("POST /v1/ftp-accounts/{id}/suspend")
def suspend(call: ApiCall) -> ApiReply:
    """Suspend the FTP user."""
    call.store.update("ftp_account", get(call, "ftp_account", call.path["id"])["id"], {"suspended": 1})
    return accepted("FTP account suspended")


@handles("POST /v1/ftp-accounts/{id}/unsuspend")
def unsuspend(call: ApiCall) -> ApiReply:
    """Lift the suspension."""
    call.store.update("ftp_account", get(call, "ftp_account", call.path["id"])["id"], {"suspended": 0})
    return accepted("FTP account unsuspended")


def _home(call: ApiCall, owner: Row) -> tuple[str, str | None]:
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
    path = absolute(call.body.get("home_directory") or directory)
    home = home_of(owner["username"])
    if not f"{path}/".startswith(f"{home}/"):
        path = f"{home}{path}".rstrip("/")
    if domain_id is None:
        name = f"{path[len(home) + 1 :]}/".partition("/")[0]
        sql = "SELECT id FROM domains WHERE domain = ? AND user_id = ?"
        domain_id = call.store.value(sql, name, owner["id"])
    return path, domain_id
