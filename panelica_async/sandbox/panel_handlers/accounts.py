"""Accounts, which panels also call users.

Guesses: the reply to a duplicate user name; root cannot be suspended or deleted; figures of processor and memory.
"""

import secrets
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.events import emit
from panelica_async.sandbox.filesystem import make_home
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.messages import ApiError
from panelica_async.sandbox.panel_errors import failed, invalid, taken
from panelica_async.sandbox.panel_handlers.base import check_password, get, handles, listed
from panelica_async.sandbox.store import Row, new_id, timestamp

_SSO_SECONDS = 300
# Only the panel's own network knows this address (evidence: sso-login).
_INTERNAL_ADDRESS = "https://10.0.0.12:8443"
_MEMORY_LIMIT_MB = 512


@handles("GET /v1/accounts")
def list_accounts(call: ApiCall) -> ApiReply:
    """Return all accounts: root, administrators and resellers too (evidence: accounts-list)."""
    accounts = listed(call, "account").data
    return ApiReply(accounts, beside={"total": len(accounts)})


@handles("GET /v1/accounts/{id}")
def get_account(call: ApiCall) -> ApiReply:
    """Return one account."""
    return ApiReply(get(call, "account", call.path["id"]))


@handles("POST /v1/accounts")
def create(call: ApiCall) -> ApiReply:
    """Add a customer and its home (evidence: accounts-create)."""
    body, store = call.body, call.store
    check_password(call)
    if "@" not in body["email"]:
        raise invalid(call.endpoint.operation, [("email", "email")])
    if store.value("SELECT 1 FROM accounts WHERE email = ?", body["email"]) is not None:
        raise taken("apiErrors.users.emailAlreadyExists")
    if store.value("SELECT 1 FROM accounts WHERE username = ?", body["username"]) is not None:
        raise taken("apiErrors.users.usernameAlreadyExists", error="apiErrors.external.account.createFailed")
    account_id, username = new_id(), rules.username(body["username"])
    row = {"id": account_id, "username": username, "role": "USER", "created_at": call.now}
    store.insert("account", {**row, **call.fields("email", "full_name"), **_plan(call)})
    make_home(store, account_id, username)
    emit(store, "user.created", store.get("account", account_id))
    return ApiReply(get(call, "account", account_id))


@handles("PATCH /v1/accounts/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change the account; a new plan acts at once (evidence: accounts-update)."""
    account = get(call, "account", call.path["id"])
    call.store.update("account", account["id"], {**call.fields("email", "full_name"), **_plan(call)})
    return ApiReply(get(call, "account", account["id"]))


@handles("DELETE /v1/accounts/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete the account with everything that it owns."""
    account = _customer(call, "Delete Failed")
    domains = call.store.rows("SELECT * FROM temp.domain WHERE user_id = ?", account["id"])
    call.store.delete("account", account["id"])
    for domain in domains:
        emit(call.store, "domain.deleted", domain)
    emit(call.store, "user.deleted", account)
    return accepted("Account deleted")


@handles("POST /v1/accounts/{id}/suspend")
def suspend(call: ApiCall) -> ApiReply:
    """Suspend the account, and its domains with it (evidence: accounts-suspend)."""
    account = _customer(call, "Suspend Failed")
    call.store.update("account", account["id"], {"suspended": 1, "suspend_reason": call.body.get("reason")})
    return accepted("Account suspended")


@handles("POST /v1/accounts/{id}/unsuspend")
def unsuspend(call: ApiCall) -> ApiReply:
    """Lift the suspension."""
    account = _customer(call, "Unsuspend Failed")
    call.store.update("account", account["id"], {"suspended": 0, "suspend_reason": None})
    return accepted("Account unsuspended")


@handles("POST /v1/accounts/{id}/change-password")
def change_password(call: ApiCall) -> ApiReply:
    """Set a new password, without asking for the old one (evidence: accounts-update)."""
    get(call, "account", call.path["id"])
    check_password(call, "new_password")
    return accepted("Password changed")


@handles("POST /v1/accounts/{id}/sso-login")
def sso_login(call: ApiCall) -> ApiReply:
    """Return a link that signs in, with an address that may be of no use outside (evidence: sso-login)."""
    get(call, "account", call.path["id"])
    token = secrets.token_urlsafe(32)
    return ApiReply({"url": f"{_INTERNAL_ADDRESS}/auto-login?token={token}", "expires_in": _SSO_SECONDS})


@handles("GET /v1/accounts/{id}/disk-usage")
def disk_usage(call: ApiCall) -> ApiReply:
    """Return used disk space and its limit, 0 for none (evidence: accounts-usage)."""
    account = _with_figures(call)
    quota = max(0, call.store.value("SELECT disk_space_mb FROM plans WHERE id = ?", account["plan_id"]) or 0)
    used = account["disk_usage_mb"]
    percent = round(100 * used / quota, 2) if quota else 0
    return ApiReply({"used_mb": used, "quota_mb": quota, "usage_percent": percent})


@handles("GET /v1/accounts/{id}/stats")
def stats(call: ApiCall) -> ApiReply:
    """Count what the account has (evidence: accounts-usage)."""
    account = _with_figures(call)
    counted = {
        f"{name}_count": len(listed(call, kind, user_id=account["id"]).data)
        for name, kind in (("domain", "domain"), ("ftp", "ftp_account"), ("database", "database_user"))
    }
    emails = len(listed(call, "email_account", _owner=account["id"]).data)
    return ApiReply({**counted, "email_count": emails, "bandwidth_mb": account["bandwidth_mb"]})


@handles("GET /v1/accounts/{id}/resource-usage")
def resource_usage(call: ApiCall) -> ApiReply:
    """Return processor and memory usage; an account without domains is idle (evidence: accounts-usage)."""
    if not _with_figures(call)["domain_count"]:
        return ApiReply({"available": False})
    usage = {"cpu_usage_percent": 12.5, "memory_usage_mb": 128, "memory_limit_mb": _MEMORY_LIMIT_MB}
    return ApiReply({"available": True, **usage, "recorded_at": timestamp(call.now)})


@handles("GET /v1/accounts/{id}/domains")
def list_domains(call: ApiCall) -> ApiReply:
    """Return the domains of the account (evidence: accounts-domains)."""
    account = get(call, "account", call.path["id"])
    fields = ("id", "domain_name", "user_id", "created_at", "updated_at", "php_version", "web_server")
    rows = listed(call, "domain", user_id=account["id"]).data
    return ApiReply([{name: row[name] for name in fields} for row in rows])


@handles("GET /v1/accounts/{id}/emails")
def list_emails(call: ApiCall) -> ApiReply:
    """Return the mailboxes of the account (evidence: accounts-domains)."""
    account = get(call, "account", call.path["id"])
    rows = listed(call, "email_account", _owner=account["id"]).data
    return ApiReply([{name: row[name] for name in ("id", "email", "quota_mb")} for row in rows])


def _plan(call: ApiCall) -> dict[str, Any]:
    """Return the column of the plan, if the body names one that exists."""
    if "plan_id" not in call.body:
        return {}
    if call.store.find("plan", call.body["plan_id"]) is None:
        raise failed("apiErrors.external.plan.notFound", "plan not found")
    return call.fields("plan_id")


def _customer(call: ApiCall, error: str) -> Row:
    """Return the account to suspend or delete; one that is gone is a 400 (evidence: missing-account)."""
    try:
        account = get(call, "account", call.path["id"])
    except ApiError:
        raise failed(error, "user not found") from None
    if account["role"] == "ROOT":
        raise failed(error, "root belongs to the panel", status=403)
    return account


def _with_figures(call: ApiCall) -> Row:
    return call.store.get("account", get(call, "account", call.path["id"])["id"])
