"""Accounts.

Guesses: an e-mail address that is already used is 409, like every duplicate; root cannot be suspended or deleted.
"""

from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.events import emit
from panelica_async.sandbox.filesystem import make_home
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, rows
from panelica_async.sandbox.messages import forbidden
from panelica_async.sandbox.store import Row, new_id

_ROLES = ("USER", "RESELLER", "ADMIN")


@handles("accounts.list")
def list_accounts(call: ApiCall) -> ApiReply:
    """Return all accounts, including root and other administrators."""
    return ApiReply(rows(call, "account"))


@handles("accounts.get")
def get(call: ApiCall) -> ApiReply:
    """Return one account."""
    return ApiReply(call.store.get("account", call.path["id"]))


@handles("accounts.create")
def create(call: ApiCall) -> ApiReply:
    """Add the account and its home."""
    rules.password(call.body["password"])
    account_id, username = new_id(), rules.username(call.body["username"])
    row = {
        "id": account_id,
        "username": username,
        "role": "USER",
        "created_at": call.now,
        **_changes(call),
    }
    call.store.insert("account", row)
    make_home(call.store, account_id, username)
    account = call.store.get("account", account_id)
    emit(call.store, "user.created", account)
    return ApiReply(account)


@handles("accounts.update")
def update(call: ApiCall) -> ApiReply:
    """Change the account; its user name stays, and a new plan applies at once."""
    account_id = call.path["id"]
    call.store.get("account", account_id)
    call.store.update("account", account_id, _changes(call))
    return ApiReply(call.store.get("account", account_id))


@handles("accounts.delete")
def delete(call: ApiCall) -> ApiReply:
    """Delete the account with everything that it owns."""
    account = _not_root(call)
    domains = call.store.rows("SELECT * FROM temp.domain WHERE user_id = ?", account["id"])
    call.store.delete("account", account["id"])
    for domain in domains:
        emit(call.store, "domain.deleted", domain)
    emit(call.store, "user.deleted", account)
    return ApiReply()


@handles("accounts.suspend")
def suspend(call: ApiCall) -> ApiReply:
    """Suspend the account, and its domains with it."""
    account = _not_root(call)
    call.store.update("account", account["id"], {"suspended": 1, "suspend_reason": call.body.get("reason")})
    return accepted("Account suspended")


@handles("accounts.unsuspend")
def unsuspend(call: ApiCall) -> ApiReply:
    """Lift the suspension; domains that were suspended themselves stay suspended."""
    account = call.store.get("account", call.path["id"])
    call.store.update("account", account["id"], {"suspended": 0, "suspend_reason": None})
    return accepted("Account unsuspended")


def _changes(call: ApiCall) -> dict[str, Any]:
    """Return the columns that create and update share."""
    changes = call.fields("email", "full_name", "plan_id")
    if "email" in changes:
        rules.email(changes["email"])
    if "plan_id" in changes:
        call.store.get("plan", changes["plan_id"])
    if "role" in call.body:
        # Roles vary in case (evidence: case-varies).
        changes["role"] = rules.one_of(call.body["role"].upper(), _ROLES, "role")
    return changes


def _not_root(call: ApiCall) -> Row:
    account = call.store.get("account", call.path["id"])
    if account["role"] == "ROOT":
        raise forbidden("the account root belongs to the panel")
    return account
