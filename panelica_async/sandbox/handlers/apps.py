"""What runs in a site: cron jobs and WordPress (evidence: cron-jobs, wordpress, wordpress-backups).

Guesses: a cron job never runs by itself here; what it prints; an update takes the fields of a create; its log. A domain
whose document root holds `wp-config.php` is a WordPress site, with the id of the domain; a backup takes a minute and
holds the files of the domain; a restore changes nothing here; the replies to updates.
"""

import secrets

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed
from panelica_async.sandbox.handlers.objects import (
    Owned,
    add,
    change,
    find,
    handle_object,
    handle_objects,
    handle_removal,
    objects,
)
from panelica_async.sandbox.handlers.plans import is_within
from panelica_async.sandbox.messages import failed, not_found
from panelica_async.sandbox.store import Row, timestamp

_CRON_TIMES = ("minute", "hour", "day_of_month", "month", "day_of_week")
_CRON_FIELDS = ("task_name", "command", *_CRON_TIMES, "enabled", "email_on_error", "timeout_seconds", "email_recipient")
_BACKUP_SECONDS = 60

handle_objects("cron_job", "GET /v1/cron-jobs")
handle_object("cron_job", "GET /v1/cron-jobs/{id}")
handle_removal("cron_job", "DELETE /v1/cron-jobs/{id}", done="Cron job deleted")


@handles("POST /v1/cron-jobs")
def create_cron_job(call: ApiCall) -> ApiReply:
    """Add a cron job; times that are not sent are `*`."""
    domain = get(call, "domain", call.body["domain_id"])
    owner = domain["user_id"]
    if not is_within(call, owner, "max_cron_jobs", len(objects(call, "cron_job", user_id=owner))):
        raise failed("Failed to create", "cron job limit reached", status=403)
    fields = {
        **dict.fromkeys(_CRON_TIMES, "*"),
        "enabled": True,
        **call.fields(*_CRON_FIELDS),
        "domain_id": domain["id"],
        "user_id": owner,
        "last_run": None,
        "next_run": None,
    }
    return ApiReply(add(call, "cron_job", fields, user_id=owner, domain_id=domain["id"]).shown)


@handles("PATCH /v1/cron-jobs/{id}")
def update_cron_job(call: ApiCall) -> ApiReply:
    """Change a cron job."""
    return ApiReply(change(call, find(call, "cron_job"), **call.fields(*_CRON_FIELDS)).shown)


@handles("POST /v1/cron-jobs/{id}/toggle")
def toggle_cron_job(call: ApiCall) -> ApiReply:
    """Turn a cron job on or off."""
    job = find(call, "cron_job")
    change(call, job, enabled=not job.fields["enabled"])
    return accepted("Cron job toggled")


@handles("POST /v1/cron-jobs/{id}/run")
def run_cron_job(call: ApiCall) -> ApiReply:
    """Run a cron job, and return what it printed when it has ended."""
    job = find(call, "cron_job")
    output = f"{job.fields['command']}: done"
    change(call, job, last_run=timestamp(call.now), _output=output)
    return ApiReply({"output": output})


@handles("GET /v1/cron-jobs/{id}/logs")
def cron_job_logs(call: ApiCall) -> ApiReply:
    """Return the last run of a cron job."""
    fields = find(call, "cron_job").fields
    ran = fields["last_run"] is not None
    return ApiReply([{"executed_at": fields["last_run"], "output": fields["_output"]}] if ran else [])


@handles("GET /v1/wordpress")
def list_sites(call: ApiCall) -> ApiReply:
    """Return the sites, those of one account if the query names it."""
    owner = call.query.get("account_id")
    domains: list[Row] = listed(call, "domain", **({"user_id": owner} if owner else {}))
    return ApiReply([_site_row(domain) for domain in domains if _is_wordpress(call, domain)])


@handles("POST /v1/wordpress/{id}/auto-login")
def wordpress_login(call: ApiCall) -> ApiReply:
    """Return a link that signs in to the administration of the site."""
    site = _site(call)
    return ApiReply({"login_url": f"https://{site['domain_name']}/wp-login.php?token={secrets.token_urlsafe(16)}"})


@handles("POST /v1/wordpress/{id}/update-core")
def update_wordpress(call: ApiCall) -> ApiReply:
    """Update WordPress itself."""
    _site(call)
    return ApiReply({"result": "WordPress is up to date."})


@handles("POST /v1/wordpress/{id}/update-plugins")
def update_plugins(call: ApiCall) -> ApiReply:
    """Update the plugins."""
    _site(call)
    return ApiReply({"result": "All plugins are up to date."})


@handles("GET /v1/wordpress/{id}/backups")
def list_site_backups(call: ApiCall) -> ApiReply:
    """Return the backups of the site."""
    site = _site(call)
    return ApiReply(
        {"backups": [_site_backup(call, item) for item in objects(call, "site_backup", domain_id=site["id"])]}
    )


@handles("POST /v1/wordpress/{id}/backup")
def create_site_backup(call: ApiCall) -> ApiReply:
    """Start a backup of the site."""
    site = _site(call)
    size = call.store.value("SELECT coalesce(sum(size), 0) FROM files WHERE domain_id = ?", site["id"])
    fields = {"name": f"{site['domain_name']}-{call.now}", "size": size, "_ready_at": call.now + _BACKUP_SECONDS}
    item = add(call, "site_backup", fields, user_id=site["user_id"], domain_id=site["id"])
    return ApiReply({"backup": _site_backup(call, item)})


@handles("POST /v1/wordpress/{id}/backups/{backup_id}/restore")
def restore_site(call: ApiCall) -> ApiReply:
    """Start to restore a backup of the site."""
    site, backup = _site(call), find(call, "site_backup", call.path["backup_id"])
    if backup.domain_id != site["id"]:
        raise not_found("backup", backup.id)
    return accepted("Restore started")


def _site(call: ApiCall) -> Row:
    """Return the domain of the site in the path."""
    domain = get(call, "domain")
    owner = call.query.get("account_id", domain["user_id"])
    if owner != domain["user_id"] or not _is_wordpress(call, domain):
        raise not_found("site", domain["id"])
    return domain


def _is_wordpress(call: ApiCall, domain: Row) -> bool:
    path = f"{domain['document_root']}/wp-config.php"
    return call.store.exists("file", path=path)


def _site_row(domain: Row) -> Row:
    shown = {name: domain[name] for name in ("id", "domain_name", "php_version", "status")}
    return {**shown, "site_url": f"https://{domain['domain_name']}"}


def _site_backup(call: ApiCall, item: Owned) -> Row:
    return {**item.shown, "status": "completed" if item.fields["_ready_at"] <= call.now else "running"}
