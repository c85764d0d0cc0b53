"""What a domain has on current panels: subdomains, redirects, ModSecurity, cron jobs, WordPress.

Subdomains and redirects are changed and deleted by their own ids (evidence: subdomains, redirects). A domain whose
document root holds `wp-config.php` is a WordPress site, with the id of the domain (evidence: wordpress,
wordpress-backups).

Guesses: a second subdomain or redirect of the same name is an error, and an update takes the fields of a create; the
fields of ModSecurity; a cron job runs only on request here; its output and its log (evidence: cron-jobs). Of WordPress:
which domains are its sites; a backup takes a minute and holds the files of the domain; a restore changes nothing here;
the replies to updates.
"""

import posixpath
import secrets

from panelica_async.sandbox.handlers.accounts import plan_allows_more
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles, list_rows
from panelica_async.sandbox.handlers.objects import (
    OwnedObject,
    add_domain_object,
    add_object,
    domain_settings,
    get_object,
    handle_object_delete,
    handle_object_get,
    handle_object_list,
    list_domain_objects,
    list_objects,
    update_domain_settings,
    update_object,
)
from panelica_async.sandbox.messages import CustomBodyError, conflict, duplicate_error, not_found, panel_error
from panelica_async.sandbox.store import Row, timestamp

_DEFAULT_FOLDER = "public_html"
_DEFAULT_REDIRECT_TYPE = "301"
_DEFAULT_MODSECURITY = {"enabled": True}
_CRON_TIMES = ("minute", "hour", "day_of_month", "month", "day_of_week")
_CRON_FIELDS = ("task_name", "command", *_CRON_TIMES, "enabled", "email_on_error", "timeout_seconds", "email_recipient")
_BACKUP_SECONDS = 60

handle_object_list("subdomain", "GET /v1/domains/{id}/subdomains")
handle_object_get("subdomain", "GET /v1/subdomains/{id}")
handle_object_delete("subdomain", "DELETE /v1/subdomains/{id}", message="Subdomain deleted")
handle_object_list("redirect", "GET /v1/domains/{id}/redirects")
handle_object_delete("redirect", "DELETE /v1/redirects/{id}", message="Redirect deleted")
handle_object_list("cron_job", "GET /v1/cron-jobs")
handle_object_get("cron_job", "GET /v1/cron-jobs/{id}")
handle_object_delete("cron_job", "DELETE /v1/cron-jobs/{id}", message="Cron job deleted")


@handles("POST /v1/domains/{id}/subdomains")
def create_subdomain(call: ApiCall) -> ApiReply:
    """Add a subdomain, served from `public_html` by default (evidence: subdomains-create)."""
    domain = get(call, "domain")
    name = call.body["subdomain_name"].lower()
    count = len(list_objects(call, "subdomain", user_id=domain["user_id"]))
    if not plan_allows_more(call, domain["user_id"], "max_subdomains", count):
        raise CustomBodyError(403, details="subdomain limit reached")
    if any(item.fields["subdomain_name"] == name for item in list_domain_objects(call, "subdomain")):
        raise duplicate_error("apiErrors.external.subdomain.alreadyExists")
    full_name = f"{name}.{domain['domain_name']}"
    folder = posixpath.join(posixpath.dirname(posixpath.dirname(domain["document_root"])), full_name)
    fields = {
        "subdomain_name": name,
        "full_name": full_name,
        "document_root": posixpath.join(folder, call.body.get("document_root", _DEFAULT_FOLDER)).rstrip("/"),
        "php_version": call.body.get("php_version", domain["php_version"]),
        "ssl_enabled": call.body.get("ssl_enabled", False),
        "status": "active",
    }
    return ApiReply(add_domain_object(call, "subdomain", fields).visible_fields)


@handles("PATCH /v1/subdomains/{id}")
def update_subdomain(call: ApiCall) -> ApiReply:
    """Change the folder, the PHP version or the certificate of a subdomain."""
    fields = call.fields("document_root", "php_version", "ssl_enabled")
    return ApiReply(update_object(call, get_object(call, "subdomain"), **fields).visible_fields)


@handles("POST /v1/domains/{id}/redirects")
def create_redirect(call: ApiCall) -> ApiReply:
    """Add a redirect."""
    fields = {"redirect_type": _DEFAULT_REDIRECT_TYPE, **call.fields("source_path", "destination_url", "redirect_type")}
    if any(item.fields["source_path"] == fields["source_path"] for item in list_domain_objects(call, "redirect")):
        raise conflict("redirect")
    return ApiReply(add_domain_object(call, "redirect", fields).visible_fields)


@handles("GET /v1/domains/{id}/modsecurity")
def get_modsecurity(call: ApiCall) -> ApiReply:
    """Return the settings of ModSecurity."""
    return ApiReply({**_DEFAULT_MODSECURITY, **domain_settings(call, "modsecurity")})


@handles("PATCH /v1/domains/{id}/modsecurity")
def update_modsecurity(call: ApiCall) -> ApiReply:
    """Change settings of ModSecurity; every field is kept."""
    update_domain_settings(call, "modsecurity", **call.body)
    return acknowledgement("ModSecurity updated")


# Cron jobs


@handles("POST /v1/cron-jobs")
def create_cron_job(call: ApiCall) -> ApiReply:
    """Add a cron job; omitted times are `*`."""
    domain = get(call, "domain", call.body["domain_id"])
    owner_id = domain["user_id"]
    count = len(list_objects(call, "cron_job", user_id=owner_id))
    if not plan_allows_more(call, owner_id, "max_cron_jobs", count):
        raise panel_error("Failed to create", "cron job limit reached", status=403)
    fields = {
        **dict.fromkeys(_CRON_TIMES, "*"),
        "enabled": True,
        **call.fields(*_CRON_FIELDS),
        "domain_id": domain["id"],
        "user_id": owner_id,
        "last_run": None,
        "next_run": None,
    }
    return ApiReply(add_object(call, "cron_job", fields, user_id=owner_id, domain_id=domain["id"]).visible_fields)


@handles("PATCH /v1/cron-jobs/{id}")
def update_cron_job(call: ApiCall) -> ApiReply:
    """Change a cron job."""
    return ApiReply(update_object(call, get_object(call, "cron_job"), **call.fields(*_CRON_FIELDS)).visible_fields)


@handles("POST /v1/cron-jobs/{id}/toggle")
def toggle_cron_job(call: ApiCall) -> ApiReply:
    """Turn a cron job on or off."""
    job = get_object(call, "cron_job")
    update_object(call, job, enabled=not job.fields["enabled"])
    return acknowledgement("Cron job toggled")


@handles("POST /v1/cron-jobs/{id}/run")
def run_cron_job(call: ApiCall) -> ApiReply:
    """Run a cron job, and return its output once it has ended."""
    job = get_object(call, "cron_job")
    output = f"{job.fields['command']}: done"
    update_object(call, job, last_run=timestamp(call.now), _output=output)
    return ApiReply({"output": output})


@handles("GET /v1/cron-jobs/{id}/logs")
def cron_job_logs(call: ApiCall) -> ApiReply:
    """Return the last run of a cron job."""
    fields = get_object(call, "cron_job").fields
    has_run = fields["last_run"] is not None
    return ApiReply([{"executed_at": fields["last_run"], "output": fields["_output"]}] if has_run else [])


# WordPress


@handles("GET /v1/wordpress")
def list_wordpress_sites(call: ApiCall) -> ApiReply:
    """Return the sites of all accounts, or of the one in the query."""
    account_id = call.query.get("account_id")
    domains: list[Row] = list_rows(call, "domain", **({"user_id": account_id} if account_id else {}))
    return ApiReply([_site_row(domain) for domain in domains if _is_wordpress(call, domain)])


@handles("POST /v1/wordpress/{id}/auto-login")
def sign_in_to_wordpress(call: ApiCall) -> ApiReply:
    """Return a link that signs in to the administration of the site."""
    site = _get_site(call)
    return ApiReply({"login_url": f"https://{site['domain_name']}/wp-login.php?token={secrets.token_urlsafe(16)}"})


@handles("POST /v1/wordpress/{id}/update-core")
def update_wordpress(call: ApiCall) -> ApiReply:
    """Update WordPress itself."""
    _get_site(call)
    return ApiReply({"result": "WordPress is up to date."})


@handles("POST /v1/wordpress/{id}/update-plugins")
def update_plugins(call: ApiCall) -> ApiReply:
    """Update the plugins."""
    _get_site(call)
    return ApiReply({"result": "All plugins are up to date."})


@handles("GET /v1/wordpress/{id}/backups")
def list_site_backups(call: ApiCall) -> ApiReply:
    """Return the backups of the site."""
    _get_site(call)
    return ApiReply({"backups": [_backup_row(call, item) for item in list_domain_objects(call, "site_backup")]})


@handles("POST /v1/wordpress/{id}/backup")
def back_up_site(call: ApiCall) -> ApiReply:
    """Start a backup of the site."""
    site = _get_site(call)
    size = call.store.value("SELECT coalesce(sum(size), 0) FROM files WHERE domain_id = ?", site["id"])
    fields = {"name": f"{site['domain_name']}-{call.now}", "size": size, "_ready_at": call.now + _BACKUP_SECONDS}
    return ApiReply({"backup": _backup_row(call, add_domain_object(call, "site_backup", fields))})


@handles("POST /v1/wordpress/{id}/backups/{backup_id}/restore")
def restore_site(call: ApiCall) -> ApiReply:
    """Start restoring a backup of the site."""
    site, backup = _get_site(call), get_object(call, "site_backup", call.path["backup_id"])
    if backup.domain_id != site["id"]:
        raise not_found("backup", backup.id)
    return acknowledgement("Restore started")


def _get_site(call: ApiCall) -> Row:
    """Return the domain of the site in the path, which must belong to the account in the query, if any."""
    domain = get(call, "domain")
    account_id = call.query.get("account_id", domain["user_id"])
    if account_id != domain["user_id"] or not _is_wordpress(call, domain):
        raise not_found("site", domain["id"])
    return domain


def _is_wordpress(call: ApiCall, domain: Row) -> bool:
    return call.store.exists("file", path=f"{domain['document_root']}/wp-config.php")


def _site_row(domain: Row) -> Row:
    fields = {name: domain[name] for name in ("id", "domain_name", "php_version", "status")}
    return {**fields, "site_url": f"https://{domain['domain_name']}"}


def _backup_row(call: ApiCall, item: OwnedObject) -> Row:
    return {**item.visible_fields, "status": "completed" if item.fields["_ready_at"] <= call.now else "running"}
