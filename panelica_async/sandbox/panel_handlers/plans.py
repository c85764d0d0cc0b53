"""Plans, with the traps of their columns (evidence: plans-create, plans-update).

A POST drops zeros and false, which makes them the defaults of their columns, and ignores what is not a basic column. A
PATCH keeps every value that is sent.

Guesses: the defaults apart from those seen (disk space, cron jobs, memory, processes, the switches); columns that do
not exist are ignored.
"""

from typing import Any

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import PanelError, missing, taken
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.seed import PHP_VERSIONS
from panelica_async.sandbox.store import Row, new_id

_BASIC: dict[str, Any] = {
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
_ADVANCED: dict[str, Any] = {
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


UNLIMITED = -1


@handles("GET /v1/plans")
def list_plans(call: ApiCall) -> ApiReply:
    """Return all plans with all columns."""
    return ApiReply([_shown(row) for row in call.store.rows("SELECT * FROM temp.panel_plan")])


@handles("GET /v1/plans/{id}")
def get_plan(call: ApiCall) -> ApiReply:
    """Return one plan."""
    return ApiReply(_plan(call))


@handles("POST /v1/plans")
def create(call: ApiCall) -> ApiReply:
    """Add a plan with basic columns; what is zero or false gets the default of its column."""
    name = call.body["name"]
    if call.store.value("SELECT 1 FROM plans WHERE name = ?", name) is not None:
        raise taken("a plan with this name already exists")
    kept = {column: call.body.get(column) or default for column, default in _BASIC.items()}
    plan_id = new_id()
    columns = {"name": name, "slug": call.body["slug"], **kept}
    fixed = {"id": plan_id, "php_versions": list(PHP_VERSIONS), "created_at": call.now}
    call.store.insert("plan", {**fixed, **_stored(columns, {})})
    return ApiReply(_shown(call.store.rows("SELECT * FROM temp.panel_plan WHERE id = ?", plan_id)[0]))


@handles("PATCH /v1/plans/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change columns, without checking their bounds."""
    plan = _plan(call)
    columns = {column: value for column, value in call.body.items() if column in plan}
    extra = call.store.rows("SELECT columns FROM plans WHERE id = ?", plan["id"])[0]["columns"]
    call.store.update("plan", plan["id"], _stored(columns, extra))
    return ApiReply(_plan(call))


@handles("DELETE /v1/plans/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete a plan that no account uses (evidence: plans-delete)."""
    plan = _plan(call)
    if call.store.value("SELECT 1 FROM accounts WHERE plan_id = ?", plan["id"]) is not None:
        raise PanelError(409, message="plan has accounts")
    call.store.delete("plan", plan["id"])
    return accepted("Plan deleted")


def limits_of(call: ApiCall, user_id: str) -> Row | None:
    """Return the plan of an account with all its columns, or None if the account has no plan."""
    sql = "SELECT p.* FROM temp.panel_plan AS p JOIN accounts AS a ON a.plan_id = p.id WHERE a.id = ?"
    rows = call.store.rows(sql, user_id)
    return _shown(rows[0]) if rows else None


def is_within(call: ApiCall, user_id: str, column: str, used: int) -> bool:
    """Return whether the plan of an account allows one more than `used`; without a plan there is no limit."""
    limits = limits_of(call, user_id)
    return limits is None or limits[column] == UNLIMITED or used < limits[column]


def _plan(call: ApiCall) -> Row:
    rows = call.store.rows("SELECT * FROM temp.panel_plan WHERE id = ?", call.path["id"])
    if not rows:
        raise missing("plan", call.path["id"])
    return _shown(rows[0])


def _shown(row: Row) -> Row:
    """Return a plan with all its columns."""
    stored = {name: value for name, value in row.items() if name != "columns"}
    return {**_BASIC, **_ADVANCED, **row["columns"], **stored}


def _stored(columns: Row, extra: Row) -> Row:
    """Return columns as the table has them; `extra` is its content so far."""
    own = {_STORED_AS[name]: value for name, value in columns.items() if name in _STORED_AS}
    others = {name: value for name, value in columns.items() if name in _BASIC | _ADVANCED and name not in _STORED_AS}
    return {**own, "columns": {**extra, **others}}
