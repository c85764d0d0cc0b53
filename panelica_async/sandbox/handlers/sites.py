"""What a domain has on current panels: subdomains, redirects, ModSecurity, cron jobs, WordPress.

Subdomains and redirects are changed and deleted by their own ids (evidence: subdomains, redirects). A domain whose
document root holds `wp-config.php` is a WordPress site, with the id of the domain (evidence: wordpress,
wordpress-backups).

Guesses: a subdomain and a redirect exist once, and an update takes the fields of a create; the fields of ModSecurity; a
cron job never runs by itself here; what it prints, and its log (evidence: cron-jobs). Of WordPress: which domains are
its sites; a backup takes a minute and holds the files of the domain; a restore changes nothing here; the replies to
updates.
"""

import posixpath
import secrets

from panelica_async.sandbox.handlers.accounts import plan_allows_more
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles, list_rows
from panelica_async.sandbox.handlers.objects import (
    Owned,
    add,
    add_to_domain,
    change,
    change_settings,
    find,
    handle_object,
    handle_objects,
    handle_removal,
    objects,
    of_domain,
    settings,
)
from panelica_async.sandbox.messages import CustomBodyError, conflict, duplicate_error, not_found, panel_error
from panelica_async.sandbox.store import Row, timestamp

_FOLDER = "public_html"
_REDIRECT_TYPE = "301"
_MODSECURITY = {"enabled": True}
_CRON_TIMES = ("minute", "hour", "day_of_month", "month", "day_of_week")
_CRON_FIELDS = ("task_name", "command", *_CRON_TIMES, "enabled", "email_on_error", "timeout_seconds", "email_recipient")
_BACKUP_SECONDS = 60

handle_objects("subdomain", "GET /v1/domains/{id}/subdomains")
handle_object("subdomain", "GET /v1/subdomains/{id}")
handle_removal("subdomain", "DELETE /v1/subdomains/{id}", done="Subdomain deleted")
handle_objects("redirect", "GET /v1/domains/{id}/redirects")
handle_removal("redirect", "DELETE /v1/redirects/{id}", done="Redirect deleted")
handle_objects("cron_job", "GET /v1/cron-jobs")
handle_object("cron_job", "GET /v1/cron-jobs/{id}")
handle_removal("cron_job", "DELETE /v1/cron-jobs/{id}", done="Cron job deleted")


@handles("POST /v1/domains/{id}/subdomains")
def create_subdomain(call: ApiCall) -> ApiReply:
    """Add a subdomain, served from `public_html` if nothing else is asked for (evidence: subdomains-create)."""
    domain = get(call, "domain")
    name = call.body["subdomain_name"].lower()
    used = len(objects(call, "subdomain", user_id=domain["user_id"]))
    if not plan_allows_more(call, domain["user_id"], "max_subdomains", used):
        raise CustomBodyError(403, details="subdomain limit reached")
    if any(item.fields["subdomain_name"] == name for item in of_domain(call, "subdomain")):
        raise duplicate_error("apiErrors.external.subdomain.alreadyExists")
    full_name = f"{name}.{domain['domain_name']}"
    home = posixpath.join(posixpath.dirname(posixpath.dirname(domain["document_root"])), full_name)
    fields = {
        "subdomain_name": name,
        "full_name": full_name,
        "document_root": posixpath.join(home, call.body.get("document_root", _FOLDER)).rstrip("/"),
        "php_version": call.body.get("php_version", domain["php_version"]),
        "ssl_enabled": call.body.get("ssl_enabled", False),
        "status": "active",
    }
    return ApiReply(add_to_domain(call, "subdomain", fields).shown)


@handles("PATCH /v1/subdomains/{id}")
def update_subdomain(call: ApiCall) -> ApiReply:
    """Change PHP, certificate or folder of a subdomain."""
    fields = call.fields("document_root", "php_version", "ssl_enabled")
    return ApiReply(change(call, find(call, "subdomain"), **fields).shown)


@handles("POST /v1/domains/{id}/redirects")
def create_redirect(call: ApiCall) -> ApiReply:
    """Add a redirect."""
    fields = {"redirect_type": _REDIRECT_TYPE, **call.fields("source_path", "destination_url", "redirect_type")}
    if any(item.fields["source_path"] == fields["source_path"] for item in of_domain(call, "redirect")):
        raise conflict("redirect")
    return ApiReply(add_to_domain(call, "redirect", fields).shown)


@handles("GET /v1/domains/{id}/modsecurity")
def get_modsecurity(call: ApiCall) -> ApiReply:
    """Return the settings of ModSecurity."""
    return ApiReply({**_MODSECURITY, **settings(call, "modsecurity")})


@handles("PATCH /v1/domains/{id}/modsecurity")
def update_modsecurity(call: ApiCall) -> ApiReply:
    """Change settings of ModSecurity; any field is kept."""
    change_settings(call, "modsecurity", **call.body)
    return acknowledgement("ModSecurity updated")


# Cron jobs


@handles("POST /v1/cron-jobs")
def create_cron_job(call: ApiCall) -> ApiReply:
    """Add a cron job; times that are not sent are `*`."""
    domain = get(call, "domain", call.body["domain_id"])
    owner = domain["user_id"]
    if not plan_allows_more(call, owner, "max_cron_jobs", len(objects(call, "cron_job", user_id=owner))):
        raise panel_error("Failed to create", "cron job limit reached", status=403)
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
    return acknowledgement("Cron job toggled")


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


# WordPress


@handles("GET /v1/wordpress")
def list_wordpress_sites(call: ApiCall) -> ApiReply:
    """Return the sites, those of one account if the query names it."""
    owner = call.query.get("account_id")
    domains: list[Row] = list_rows(call, "domain", **({"user_id": owner} if owner else {}))
    return ApiReply([_shown_site(domain) for domain in domains if _is_wordpress(call, domain)])


@handles("POST /v1/wordpress/{id}/auto-login")
def sign_in_to_wordpress(call: ApiCall) -> ApiReply:
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
    _site(call)
    return ApiReply({"backups": [_backup(call, item) for item in of_domain(call, "site_backup")]})


@handles("POST /v1/wordpress/{id}/backup")
def back_up_site(call: ApiCall) -> ApiReply:
    """Start a backup of the site."""
    site = _site(call)
    size = call.store.value("SELECT coalesce(sum(size), 0) FROM files WHERE domain_id = ?", site["id"])
    fields = {"name": f"{site['domain_name']}-{call.now}", "size": size, "_ready_at": call.now + _BACKUP_SECONDS}
    return ApiReply({"backup": _backup(call, add_to_domain(call, "site_backup", fields))})


@handles("POST /v1/wordpress/{id}/backups/{backup_id}/restore")
def restore_site(call: ApiCall) -> ApiReply:
    """Start to restore a backup of the site."""
    site, backup = _site(call), find(call, "site_backup", call.path["backup_id"])
    if backup.domain_id != site["id"]:
        raise not_found("backup", backup.id)
    return acknowledgement("Restore started")


def _site(call: ApiCall) -> Row:
    """Return the domain of the site in the path."""
    domain = get(call, "domain")
    owner = call.query.get("account_id", domain["user_id"])
    if owner != domain["user_id"] or not _is_wordpress(call, domain):
        raise not_found("site", domain["id"])
    return domain


def _is_wordpress(call: ApiCall, domain: Row) -> bool:
    return call.store.exists("file", path=f"{domain['document_root']}/wp-config.php")


def _shown_site(domain: Row) -> Row:
    shown = {name: domain[name] for name in ("id", "domain_name", "php_version", "status")}
    return {**shown, "site_url": f"https://{domain['domain_name']}"}


def _backup(call: ApiCall, item: Owned) -> Row:
    return {**item.shown, "status": "completed" if item.fields["_ready_at"] <= call.now else "running"}
