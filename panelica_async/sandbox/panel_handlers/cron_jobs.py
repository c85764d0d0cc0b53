"""Cron jobs of domains (evidence: cron-jobs).

Guesses: a job never runs by itself here; what it prints; an update takes the fields of a create; the log.
"""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import failed
from panelica_async.sandbox.panel_handlers.base import get, handles
from panelica_async.sandbox.panel_handlers.objects import add, change, find, objects, remove, shown
from panelica_async.sandbox.panel_handlers.plans import is_within
from panelica_async.sandbox.store import timestamp

_TIMES = ("minute", "hour", "day_of_month", "month", "day_of_week")
_CHANGEABLE = ("task_name", "command", *_TIMES, "enabled", "email_on_error", "timeout_seconds", "email_recipient")


@handles("GET /v1/cron-jobs")
def list_jobs(call: ApiCall) -> ApiReply:
    """Return the cron jobs of all domains that the owner of the key sees."""
    return shown(objects(call, "cron_job"))


@handles("POST /v1/cron-jobs")
def create(call: ApiCall) -> ApiReply:
    """Add a cron job; times that are not sent are `*`."""
    domain = get(call, "domain", call.body["domain_id"])
    owner = domain["user_id"]
    if not is_within(call, owner, "max_cron_jobs", len(objects(call, "cron_job", user_id=owner))):
        raise failed("Failed to create", "cron job limit reached", status=403)
    fields = {
        **dict.fromkeys(_TIMES, "*"),
        "enabled": True,
        **call.fields(*_CHANGEABLE),
        "domain_id": domain["id"],
        "user_id": owner,
        "last_run": None,
        "next_run": None,
    }
    return ApiReply(add(call, "cron_job", fields, user_id=owner, domain_id=domain["id"]).shown)


@handles("GET /v1/cron-jobs/{id}")
def get_job(call: ApiCall) -> ApiReply:
    """Return one cron job."""
    return ApiReply(find(call, "cron_job", call.path["id"]).shown)


@handles("PATCH /v1/cron-jobs/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change a cron job."""
    return ApiReply(change(call, find(call, "cron_job", call.path["id"]), **call.fields(*_CHANGEABLE)).shown)


@handles("DELETE /v1/cron-jobs/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete a cron job."""
    remove(call, find(call, "cron_job", call.path["id"]))
    return accepted("Cron job deleted")


@handles("POST /v1/cron-jobs/{id}/toggle")
def toggle(call: ApiCall) -> ApiReply:
    """Turn a cron job on or off."""
    job = find(call, "cron_job", call.path["id"])
    change(call, job, enabled=not job.fields["enabled"])
    return accepted("Cron job toggled")


@handles("POST /v1/cron-jobs/{id}/run")
def run(call: ApiCall) -> ApiReply:
    """Run a cron job, and return what it printed when it has ended."""
    job = find(call, "cron_job", call.path["id"])
    output = f"{job.fields['command']}: done"
    change(call, job, last_run=timestamp(call.now), _output=output)
    return ApiReply({"output": output})


@handles("GET /v1/cron-jobs/{id}/logs")
def logs(call: ApiCall) -> ApiReply:
    """Return the last run of a cron job."""
    fields = find(call, "cron_job", call.path["id"]).fields
    ran = fields["last_run"] is not None
    return ApiReply([{"executed_at": fields["last_run"], "output": fields["_output"]}] if ran else [])
