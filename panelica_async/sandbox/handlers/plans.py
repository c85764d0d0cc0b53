"""Plans. Limits that are left out, and -1, mean no limit. Guess: by default the slug follows the name."""

import re
from typing import Any

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles, rows
from panelica_async.sandbox.seed import PHP_VERSIONS
from panelica_async.sandbox.store import new_id

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


@handles("plans.list")
def list_plans(call: ApiCall) -> ApiReply:
    """All plans, with the number of their accounts."""
    return ApiReply(rows(call, "plan"))


@handles("plans.create")
def create(call: ApiCall) -> ApiReply:
    """The same name twice is 409."""
    plan_id = new_id()
    row: dict[str, Any] = {
        "id": plan_id,
        "slug": re.sub(r"\W+", "-", call.body["name"].lower()).strip("-"),
        "php_versions": list(PHP_VERSIONS),
        "created_at": call.now,
        **call.fields(*_COLUMNS),
    }
    call.store.insert("plan", row)
    return ApiReply(call.store.get("plan", plan_id))


@handles("plans.update")
def update(call: ApiCall) -> ApiReply:
    """Accounts that have more than the new limits keep it."""
    plan_id = call.path["id"]
    call.store.get("plan", plan_id)
    call.store.update("plan", plan_id, call.fields(*_COLUMNS))
    return ApiReply(call.store.get("plan", plan_id))
