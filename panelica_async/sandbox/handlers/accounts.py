"""Accounts and plans. A limit of a plan that is omitted, or -1, means no limit.

Guesses: an e-mail address that is already used is 409, like every duplicate; root cannot be suspended or deleted; the
default slug of a plan comes from its name.
"""

import re
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.deliveries import emit
from panelica_async.sandbox.filesystem import make_home
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, check_password, get, handles, listed
from panelica_async.sandbox.messages import forbidden
from panelica_async.sandbox.store import PHP_VERSIONS, Row, Store, new_id

_ROLES = ("USER", "RESELLER", "ADMIN")

_PLAN_COLUMNS = (
    "name",
    "slug",
    "max_domains",
    "max_databases",
    "max_email_accounts",
    "max_ftp_accounts",
    "disk_space_mb",
    "bandwidth_mb",
    "php_versions",
)


@handles("accounts.list")
def list_accounts(call: ApiCall) -> ApiReply:
    """Return all accounts, including root and other administrators."""
    return ApiReply(listed(call, "account"))


@handles("accounts.get")
def get_account(call: ApiCall) -> ApiReply:
    """Return one account."""
    return ApiReply(get(call, "account"))


@handles("accounts.create")
def create_account(call: ApiCall) -> ApiReply:
    """Add the account and its home."""
    check_password(call)
    return ApiReply(add_account(call.store, rules.username(call.body["username"]), _changes(call)))


@handles("accounts.update")
def update_account(call: ApiCall) -> ApiReply:
    """Change the account; its user name stays, and a new plan applies at once."""
    account_id = call.path["id"]
    call.store.get("account", account_id)
    call.store.update("account", account_id, _changes(call))
    return ApiReply(call.store.get("account", account_id))


@handles("accounts.delete")
def delete_account(call: ApiCall) -> ApiReply:
    """Delete the account with everything that it owns."""
    delete_with_domains(call.store, _not_root(call))
    return ApiReply()


@handles("accounts.suspend")
def suspend_account(call: ApiCall) -> ApiReply:
    """Suspend the account, and its domains with it."""
    account = _not_root(call)
    call.store.update("account", account["id"], {"suspended": 1, "suspend_reason": call.body.get("reason")})
    return accepted("Account suspended")


@handles("accounts.unsuspend")
def unsuspend_account(call: ApiCall) -> ApiReply:
    """Lift the suspension; domains that were suspended themselves stay suspended."""
    account = get(call, "account")
    call.store.update("account", account["id"], {"suspended": 0, "suspend_reason": None})
    return accepted("Account unsuspended")


def add_account(store: Store, username: str, columns: Mapping[str, object]) -> Row:
    """Add an account and its home, by default for a customer, and return it as the reference shows it."""
    account_id = new_id()
    row = {"id": account_id, "username": username, "role": "USER", "created_at": store.now()}
    store.insert("account", {**row, **columns})
    make_home(store, account_id, username)
    account = store.get("account", account_id)
    emit(store, "user.created", account)
    return account


def delete_with_domains(store: Store, account: Row) -> None:
    """Delete an account with everything that it owns."""
    domains = store.rows("SELECT * FROM domain WHERE user_id = ?", account["id"])
    store.delete("account", account["id"])
    for domain in domains:
        emit(store, "domain.deleted", domain)
    emit(store, "user.deleted", account)


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
    account = get(call, "account")
    if account["role"] == "ROOT":
        raise forbidden("the account root belongs to the panel")
    return account


@handles("plans.list")
def list_plans(call: ApiCall) -> ApiReply:
    """Return all plans, with the number of their accounts."""
    return ApiReply(listed(call, "plan"))


@handles("plans.create")
def create_plan(call: ApiCall) -> ApiReply:
    """Add a plan; a second one of the same name is 409."""
    plan_id = new_id()
    row: dict[str, Any] = {
        "id": plan_id,
        "slug": re.sub(r"\W+", "-", call.body["name"].lower()).strip("-"),
        "php_versions": list(PHP_VERSIONS),
        "created_at": call.now,
        **call.fields(*_PLAN_COLUMNS),
    }
    call.store.insert("plan", row)
    return ApiReply(call.store.get("plan", plan_id))


@handles("plans.update")
def update_plan(call: ApiCall) -> ApiReply:
    """Change a plan; accounts that exceed the new limits keep what they have."""
    plan_id = call.path["id"]
    call.store.get("plan", plan_id)
    call.store.update("plan", plan_id, call.fields(*_PLAN_COLUMNS))
    return ApiReply(call.store.get("plan", plan_id))
