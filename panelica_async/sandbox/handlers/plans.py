"""Hosting plans. A limit that is omitted, or -1, means no limit.

On current panels, a POST drops zeros and false, which makes them the defaults of their columns, and ignores what is not
a basic column. A PATCH keeps every value that is sent (evidence: plans-create, plans-update).

Guesses: the default slug of a plan comes from its name; the defaults of panels apart from those seen (disk space, cron
jobs, memory, processes, the switches); columns that do not exist are ignored.
"""

import re
from typing import Any

from panelica_async.sandbox.handlers.base import (
    UNLIMITED,
    ApiCall,
    ApiReply,
    accepted,
    create,
    handle_list,
    handle_update,
    handles,
)
from panelica_async.sandbox.messages import PanelError, not_found, taken
from panelica_async.sandbox.store import PHP_VERSIONS, Row, new_id

_COLUMNS = (
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
_BASIC_COLUMNS: dict[str, Any] = {
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
"""Columns that a POST stores, with their defaults."""
_ADVANCED_COLUMNS: dict[str, Any] = {
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
"""Columns that only a PATCH changes, with their defaults."""
_STORED_AS = {
    "name": "name",
    "slug": "slug",
    "disk_quota_mb": "disk_space_mb",
    "monthly_bandwidth_mb": "bandwidth_mb",
    **{name: name for name in ("max_domains", "max_email_accounts", "max_databases", "max_ftp_accounts")},
}
"""Columns that the reference has too, with their names in the table; the others are kept together."""

handle_list("plan", "plans.list")
handle_update("plan", "plans.update", fields=_COLUMNS)


@handles("plans.create")
def create_plan(call: ApiCall) -> ApiReply:
    """Add a plan; a second one of the same name is 409."""
    slug = re.sub(r"\W+", "-", call.body["name"].lower()).strip("-")
    defaults = {"slug": slug, "php_versions": list(PHP_VERSIONS)}
    return ApiReply(create(call, "plan", **{**defaults, **call.fields(*_COLUMNS)}))


# Current panels


@handles("GET /v1/plans")
def list_plans(call: ApiCall) -> ApiReply:
    """Return all plans with all columns."""
    return ApiReply([_shown_plan(row) for row in call.store.rows("SELECT * FROM panel_plan")])


@handles("GET /v1/plans/{id}")
def get_plan(call: ApiCall) -> ApiReply:
    """Return one plan."""
    return ApiReply(_plan(call, call.path["id"]))


@handles("POST /v1/plans")
def create_plan_on_panel(call: ApiCall) -> ApiReply:
    """Add a plan with basic columns; what is zero or false gets the default of its column."""
    name = call.body["name"]
    if call.store.exists("plan", name=name):
        raise taken("a plan with this name already exists")
    kept = {column: call.body.get(column) or default for column, default in _BASIC_COLUMNS.items()}
    plan_id = new_id()
    columns = {"name": name, "slug": call.body["slug"], **kept}
    fixed = {"id": plan_id, "php_versions": list(PHP_VERSIONS), "created_at": call.now}
    call.store.insert("plan", {**fixed, **_stored_plan(columns, {})})
    return ApiReply(_plan(call, plan_id))


@handles("PATCH /v1/plans/{id}")
def update_plan_on_panel(call: ApiCall) -> ApiReply:
    """Change columns, without checking their bounds."""
    plan = _plan(call, call.path["id"])
    columns = {column: value for column, value in call.body.items() if column in plan}
    extra = call.store.rows("SELECT columns FROM plans WHERE id = ?", plan["id"])[0]["columns"]
    call.store.update("plan", plan["id"], _stored_plan(columns, extra))
    return ApiReply(_plan(call, call.path["id"]))


@handles("DELETE /v1/plans/{id}")
def delete_plan(call: ApiCall) -> ApiReply:
    """Delete a plan that no account uses (evidence: plans-delete)."""
    plan = _plan(call, call.path["id"])
    if call.store.exists("account", plan_id=plan["id"]):
        raise PanelError(409, message="plan has accounts")
    call.store.delete("plan", plan["id"])
    return accepted("Plan deleted")


def limits_of(call: ApiCall, user_id: str) -> Row | None:
    """Return the plan of an account with all its columns, or None if the account has no plan."""
    sql = "SELECT p.* FROM panel_plan AS p JOIN accounts AS a ON a.plan_id = p.id WHERE a.id = ?"
    rows = call.store.rows(sql, user_id)
    return _shown_plan(rows[0]) if rows else None


def is_within(call: ApiCall, user_id: str, column: str, used: int) -> bool:
    """Return whether the plan of an account allows one more than `used`; without a plan there is no limit."""
    limits = limits_of(call, user_id)
    return limits is None or limits[column] == UNLIMITED or used < limits[column]


def _plan(call: ApiCall, plan_id: str) -> Row:
    """Return a plan with all its columns; every key may read it."""
    row = call.store.find("panel_plan", plan_id)
    if row is None:
        raise not_found("plan", plan_id)
    return _shown_plan(row)


def _shown_plan(row: Row) -> Row:
    """Return a plan with all its columns."""
    stored = {name: value for name, value in row.items() if name != "columns"}
    return {**_BASIC_COLUMNS, **_ADVANCED_COLUMNS, **row["columns"], **stored}


def _stored_plan(columns: Row, extra: Row) -> Row:
    """Return columns as the table has them; `extra` is its content so far."""
    own = {_STORED_AS[name]: value for name, value in columns.items() if name in _STORED_AS}
    names = (_BASIC_COLUMNS | _ADVANCED_COLUMNS).keys() - _STORED_AS.keys()
    others = {name: value for name, value in columns.items() if name in names}
    return {**own, "columns": {**extra, **others}}
