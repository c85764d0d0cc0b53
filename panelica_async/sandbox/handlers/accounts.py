"""Accounts, which current panels also call users, and the hosting plans that limit them.

A plan without a limit, or with a limit of -1, allows any number. On current panels, the create of a plan ignores
everything but the basic fields, and replaces zeros and false by the defaults. An update keeps every value that is sent
(evidence: plans-create, plans-update).

Guesses: in the reference, an e-mail address in use is 409, like every duplicate; the reply of panels to a duplicate
user name; root cannot be suspended or deleted; figures of processor and memory; the default slug of a plan comes from
its name; the defaults of panels except those seen (disk space, cron jobs, memory, processes, the switches); unknown
fields are ignored.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox.filesystem import make_home
from panelica_async.sandbox.handlers.base import (
    UNLIMITED,
    ApiCall,
    ApiReply,
    acknowledgement,
    check_password,
    create,
    get,
    handle_get,
    handle_list,
    handle_password_change,
    handle_update,
    handles,
    list_rows,
)
from panelica_async.sandbox.handlers.webhooks import emit
from panelica_async.sandbox.messages import (
    ApiError,
    CustomBodyError,
    duplicate_error,
    forbidden,
    not_found,
    panel_error,
    validator_error,
)
from panelica_async.sandbox.store import PHP_VERSIONS, Row, Store, new_id, timestamp
from panelica_async.sandbox.validation import one_of, valid_email, valid_username

_ROLES_IN_REFERENCE = ("USER", "RESELLER", "ADMIN")
_SSO_LIFETIME_SECONDS = 300
# Only the panel's own network knows this address (evidence: sso-login).
_INTERNAL_ADDRESS = "https://10.0.0.12:8443"
_MEMORY_LIMIT_MB = 512

handle_get("account", "accounts.get", "GET /v1/accounts/{id}")
handle_password_change("account", "POST /v1/accounts/{id}/change-password", "new_password")


@handles("accounts.list", "GET /v1/accounts")
def list_accounts(call: ApiCall) -> ApiReply:
    """Return all accounts: root, administrators and resellers too (evidence: accounts-list)."""
    accounts = list_rows(call, "account")
    return ApiReply(accounts, envelope_fields={"total": len(accounts)})


@handles("accounts.create")
def create_account(call: ApiCall) -> ApiReply:
    """Add the account and its home."""
    check_password(call)
    return ApiReply(_add_account(call.store, valid_username(call.body["username"]), _columns_from_body(call)))


@handles("POST /v1/accounts")
def create_account_on_panel(call: ApiCall) -> ApiReply:
    """Add a customer and its home (evidence: accounts-create)."""
    body, store = call.body, call.store
    check_password(call)
    if "@" not in body["email"]:
        raise validator_error(call.endpoint.operation, [("email", "email")])
    if store.exists("account", email=body["email"]):
        raise duplicate_error("apiErrors.users.emailAlreadyExists")
    if store.exists("account", username=body["username"]):
        raise duplicate_error("apiErrors.users.usernameAlreadyExists", error="apiErrors.external.account.createFailed")
    username = valid_username(body["username"])
    account = _add_account(store, username, _columns_from_body(call))
    return ApiReply(get(call, "account", account["id"]))


@handles("accounts.update", "PATCH /v1/accounts/{id}")
def update_account(call: ApiCall) -> ApiReply:
    """Change the account, except its user name; a new plan applies at once (evidence: accounts-update)."""
    call.store.update("account", get(call, "account")["id"], _columns_from_body(call))
    return ApiReply(get(call, "account"))


def _columns_from_body(call: ApiCall) -> dict[str, Any]:
    """Return the columns that both a create and an update may set."""
    columns = call.fields("email", "full_name", "plan_id")
    if call.dialect == "panel":
        if "plan_id" in columns and call.store.find("plan", columns["plan_id"]) is None:
            raise panel_error("apiErrors.external.plan.notFound", "plan not found")
        return columns
    if "email" in columns:
        valid_email(columns["email"])
    if "plan_id" in columns:
        get(call, "plan", columns["plan_id"])
    if "role" in call.body:
        # Clients write roles in either case (evidence: case-varies).
        columns["role"] = one_of(call.body["role"].upper(), _ROLES_IN_REFERENCE, "role")
    return columns


def _add_account(store: Store, username: str, columns: Mapping[str, object]) -> Row:
    """Add an account, by default of a customer, with its home; return it in the form of the reference."""
    account_id = new_id()
    row = {"id": account_id, "username": username, "role": "USER", "created_at": store.now()}
    store.insert("account", {**row, **columns})
    make_home(store, account_id, username)
    account = store.get("account", account_id)
    emit(store, "user.created", account)
    return account


@handles("accounts.delete", "DELETE /v1/accounts/{id}")
def delete_account(call: ApiCall) -> ApiReply:
    """Delete the account with everything that it owns."""
    account = call.store.get("account", _get_customer(call, "Delete Failed")["id"])
    domains = call.store.rows("SELECT * FROM domain WHERE user_id = ?", account["id"])
    call.store.delete("account", account["id"])
    for domain in domains:
        emit(call.store, "domain.deleted", domain)
    emit(call.store, "user.deleted", account)
    return acknowledgement("Account deleted")


@handles("accounts.suspend", "POST /v1/accounts/{id}/suspend")
def suspend_account(call: ApiCall) -> ApiReply:
    """Suspend the account, and its domains with it (evidence: accounts-suspend)."""
    account = _get_customer(call, "Suspend Failed")
    call.store.update("account", account["id"], {"suspended": 1, "suspend_reason": call.body.get("reason")})
    return acknowledgement("Account suspended")


@handles("accounts.unsuspend", "POST /v1/accounts/{id}/unsuspend")
def unsuspend_account(call: ApiCall) -> ApiReply:
    """Lift the suspension; domains that were suspended on their own stay suspended."""
    account = _get_customer(call, "Unsuspend Failed")
    call.store.update("account", account["id"], {"suspended": 0, "suspend_reason": None})
    return acknowledgement("Account unsuspended")


def _get_customer(call: ApiCall, error: str) -> Row:
    """Return the account in the path, but not root; on panels, a missing one is 400 (evidence: missing-account)."""
    try:
        account = get(call, "account")
    except ApiError:
        if call.dialect == "reference":
            raise
        raise panel_error(error, "user not found") from None
    if account["role"] != "ROOT":
        return account
    if call.dialect == "reference":
        raise forbidden("the account root belongs to the panel")
    raise panel_error(error, "root belongs to the panel", status=403)


# Usage and lists on current panels


@handles("POST /v1/accounts/{id}/sso-login")
def sso_login(call: ApiCall) -> ApiReply:
    """Return a login link, whose address may be unreachable from outside (evidence: sso-login)."""
    get(call, "account")
    token = secrets.token_urlsafe(32)
    return ApiReply({"url": f"{_INTERNAL_ADDRESS}/auto-login?token={token}", "expires_in": _SSO_LIFETIME_SECONDS})


@handles("GET /v1/accounts/{id}/disk-usage")
def account_disk_usage(call: ApiCall) -> ApiReply:
    """Return the disk space used, and its limit; 0 means unlimited (evidence: accounts-usage)."""
    account = _get_with_usage(call)
    quota = max(0, call.store.value("SELECT disk_space_mb FROM plans WHERE id = ?", account["plan_id"]) or 0)
    used = account["disk_usage_mb"]
    percent = round(100 * used / quota, 2) if quota else 0
    return ApiReply({"used_mb": used, "quota_mb": quota, "usage_percent": percent})


@handles("GET /v1/accounts/{id}/stats")
def account_stats(call: ApiCall) -> ApiReply:
    """Return how many objects the account has, and its traffic (evidence: accounts-usage)."""
    account = _get_with_usage(call)
    counts = {
        f"{name}_count": len(list_rows(call, kind, user_id=account["id"]))
        for name, kind in (("domain", "domain"), ("ftp", "ftp_account"), ("database", "database_user"))
    }
    email_count = len(list_rows(call, "email_account", _owner=account["id"]))
    return ApiReply({**counts, "email_count": email_count, "bandwidth_mb": account["bandwidth_mb"]})


@handles("GET /v1/accounts/{id}/resource-usage")
def account_resource_usage(call: ApiCall) -> ApiReply:
    """Return processor and memory usage; an account without domains is idle (evidence: accounts-usage)."""
    if not _get_with_usage(call)["domain_count"]:
        return ApiReply({"available": False})
    usage = {"cpu_usage_percent": 12.5, "memory_usage_mb": 128, "memory_limit_mb": _MEMORY_LIMIT_MB}
    return ApiReply({"available": True, **usage, "recorded_at": timestamp(call.now)})


@handles("GET /v1/accounts/{id}/domains")
def list_account_domains(call: ApiCall) -> ApiReply:
    """Return the domains of the account (evidence: accounts-domains)."""
    account = get(call, "account")
    fields = ("id", "domain_name", "user_id", "created_at", "updated_at", "php_version", "web_server")
    rows = list_rows(call, "domain", user_id=account["id"])
    return ApiReply([{name: row[name] for name in fields} for row in rows])


@handles("GET /v1/accounts/{id}/emails")
def list_account_emails(call: ApiCall) -> ApiReply:
    """Return the mailboxes of the account (evidence: accounts-domains)."""
    account = get(call, "account")
    rows = list_rows(call, "email_account", _owner=account["id"])
    return ApiReply([{name: row[name] for name in ("id", "email", "quota_mb")} for row in rows])


def _get_with_usage(call: ApiCall) -> Row:
    return call.store.get("account", get(call, "account")["id"])


# Plans

_BASIC_DEFAULTS: dict[str, Any] = {
    "disk_quota_mb": 5120,
    "monthly_bandwidth_mb": 51200,
    "max_domains": 1,
    "max_subdomains": 5,
    "max_email_accounts": 5,
    "max_databases": 1,
    "max_ftp_accounts": 1,
    "max_cron_jobs": 3,
    "ssh_access_enabled": False,
    "ftp_access_enabled": True,
    "mysql_access_enabled": True,
    "cron_jobs_enabled": True,
    "ssl_enabled": True,
    "backup_enabled": True,
}
"""Fields that a create stores, with their defaults."""
_ADVANCED_DEFAULTS: dict[str, Any] = {
    "cpu_limit_percent": 100,
    "memory_limit_mb": 512,
    "process_limit": 50,
    "io_read_bps": 0,
    "io_write_bps": 0,
    "network_bps_limit": 0,
    "max_containers": 0,
    "inode_quota": 100000,
    "iops_limit": 0,
    "quota_mode": "strict",
    "ssh_access_level": "none",
    "modsecurity_enabled": True,
    "php_memory_limit_mb": 128,
    "php_max_execution_time": 30,
    "php_upload_max_filesize_mb": 64,
    "php_post_max_size_mb": 64,
    "php_max_input_time": 60,
    "php_max_children": 5,
    "oversell_ratio": 1.0,
    "git_enabled": True,
    "max_git_repositories": 5,
}
"""Fields that only an update changes, with their defaults."""
_COLUMN_OF_FIELD = {
    "name": "name",
    "slug": "slug",
    "disk_quota_mb": "disk_space_mb",
    "monthly_bandwidth_mb": "bandwidth_mb",
    **{name: name for name in ("max_domains", "max_email_accounts", "max_databases", "max_ftp_accounts")},
}
"""Fields with a column of their own, which the reference has too; all others are in the column `columns`."""
_REFERENCE_COLUMNS = (*_COLUMN_OF_FIELD.values(), "php_versions")

handle_list("plan", "plans.list")
handle_update("plan", "plans.update", fields=_REFERENCE_COLUMNS)


@handles("plans.create")
def create_plan(call: ApiCall) -> ApiReply:
    """Add a plan; a second one of the same name is 409."""
    slug = re.sub(r"\W+", "-", call.body["name"].lower()).strip("-")
    defaults = {"slug": slug, "php_versions": list(PHP_VERSIONS)}
    return ApiReply(create(call, "plan", **{**defaults, **call.fields(*_REFERENCE_COLUMNS)}))


@handles("GET /v1/plans")
def list_plans(call: ApiCall) -> ApiReply:
    """Return all plans with all fields."""
    return ApiReply([_plan_fields(row) for row in call.store.rows("SELECT * FROM panel_plan")])


@handles("GET /v1/plans/{id}")
def get_plan(call: ApiCall) -> ApiReply:
    """Return one plan."""
    return ApiReply(_get_plan(call, call.path["id"]))


@handles("POST /v1/plans")
def create_plan_on_panel(call: ApiCall) -> ApiReply:
    """Add a plan with the basic fields; zeros and false become the defaults."""
    name = call.body["name"]
    if call.store.exists("plan", name=name):
        raise duplicate_error("a plan with this name already exists")
    fields = {field: call.body.get(field) or default for field, default in _BASIC_DEFAULTS.items()}
    columns = _plan_columns({"name": name, "slug": call.body["slug"], **fields})
    plan_id = new_id()
    row = {"id": plan_id, "php_versions": list(PHP_VERSIONS), "created_at": call.now, **columns}
    call.store.insert("plan", row)
    return ApiReply(_get_plan(call, plan_id))


@handles("PATCH /v1/plans/{id}")
def update_plan_on_panel(call: ApiCall) -> ApiReply:
    """Change fields of a plan, without checking their bounds."""
    plan = _get_plan(call, call.path["id"])
    fields = {field: value for field, value in call.body.items() if field in plan}
    stored = call.store.rows("SELECT columns FROM plans WHERE id = ?", plan["id"])[0]
    columns = _plan_columns(fields)
    columns["columns"] = {**stored["columns"], **columns["columns"]}
    call.store.update("plan", plan["id"], columns)
    return ApiReply(_get_plan(call, plan["id"]))


@handles("DELETE /v1/plans/{id}")
def delete_plan(call: ApiCall) -> ApiReply:
    """Delete a plan that no account uses (evidence: plans-delete)."""
    plan = _get_plan(call, call.path["id"])
    if call.store.exists("account", plan_id=plan["id"]):
        raise CustomBodyError(409, message="plan has accounts")
    call.store.delete("plan", plan["id"])
    return acknowledgement("Plan deleted")


def plan_of_account(call: ApiCall, user_id: str) -> Row | None:
    """Return the plan of an account, or None if it has no plan."""
    sql = "SELECT p.* FROM panel_plan AS p JOIN accounts AS a ON a.plan_id = p.id WHERE a.id = ?"
    rows = call.store.rows(sql, user_id)
    return _plan_fields(rows[0]) if rows else None


def plan_allows_more(call: ApiCall, user_id: str, limit: str, used: int) -> bool:
    """Return whether the plan of an account allows more than `used` objects; without a plan, nothing is limited."""
    plan = plan_of_account(call, user_id)
    return plan is None or plan[limit] == UNLIMITED or used < plan[limit]


def _get_plan(call: ApiCall, plan_id: str) -> Row:
    """Return a plan with all its fields; every key may read it."""
    row = call.store.find("panel_plan", plan_id)
    if row is None:
        raise not_found("plan", plan_id)
    return _plan_fields(row)


def _plan_fields(row: Row) -> Row:
    """Return all fields of a plan from its row."""
    own_columns = {name: value for name, value in row.items() if name != "columns"}
    return {**_BASIC_DEFAULTS, **_ADVANCED_DEFAULTS, **row["columns"], **own_columns}


def _plan_columns(fields: Row) -> Row:
    """Return the columns of the table that store these fields."""
    own_columns = {_COLUMN_OF_FIELD[name]: value for name, value in fields.items() if name in _COLUMN_OF_FIELD}
    shared = (_BASIC_DEFAULTS | _ADVANCED_DEFAULTS).keys() - _COLUMN_OF_FIELD.keys()
    return {**own_columns, "columns": {name: value for name, value in fields.items() if name in shared}}
