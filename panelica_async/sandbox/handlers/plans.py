"""Plans. An omitted limit, or -1, means no limit. Guess: the default slug comes from the name."""

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
    """Return all plans, with the number of their accounts."""
    return ApiReply(rows(call, "plan"))


@handles("plans.create")
def create(call: ApiCall) -> ApiReply:
    """Add a plan; a second one of the same name is 409."""
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
    """Change a plan; accounts that exceed the new limits keep what they have."""
    plan_id = call.path["id"]
    call.store.get("plan", plan_id)
    call.store.update("plan", plan_id, call.fields(*_COLUMNS))
    return ApiReply(call.store.get("plan", plan_id))
