"""Domains with what belongs to their sites: PHP, web server, subdomains, redirects, ModSecurity, logs, cron jobs.

Subdomains and redirects of panels are changed and deleted by their own ids (evidence: subdomains, redirects).

Guesses: PHP 8.3 by default; nginx by default in the reference; no certificate unless requested; names in lower case. On
panels: a duplicate domain is 409; PHP settings that a change leaves out go back to their defaults (evidence:
domains-php); a subdomain and a redirect exist once, and an update takes the fields of a create; the fields of
ModSecurity, statistics and logs; a cron job never runs by itself here; what it prints, and its log (evidence:
cron-jobs).
"""

import posixpath
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.filesystem import document_root_of, make_site
from panelica_async.sandbox.handlers.accounts import is_within
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    active_owner,
    get,
    handle_get,
    handle_list,
    handles,
    owner_with_room,
)
from panelica_async.sandbox.handlers.certificates import CUSTOM, LETS_ENCRYPT, SELF_SIGNED, order_certificate
from panelica_async.sandbox.handlers.dns import add_default_records
from panelica_async.sandbox.handlers.objects import (
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
from panelica_async.sandbox.handlers.webhooks import emit
from panelica_async.sandbox.messages import PanelError, conflict, failed, invalid, taken
from panelica_async.sandbox.store import PHP_VERSIONS, Row, Store, new_id, timestamp

# The reference's values, and those of current panels (evidence: domains-create).
_WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
_WEB_SERVERS_ON_PANEL = ("nginx_apache", "nginx_only")
_PHP_VERSION = "8.3"
_PHP_SETTINGS = {
    "memory_limit": "256M",
    "max_execution_time": "30",
    "upload_max_filesize": "64M",
    "post_max_size": "64M",
}
_NO_CERTIFICATE = "none"
_SSL_TYPES = (LETS_ENCRYPT, SELF_SIGNED, CUSTOM, _NO_CERTIFICATE)
_PUBLIC = "public_html"
_REDIRECT_TYPE = "301"
_MODSECURITY = {"enabled": True}
_CRON_TIMES = ("minute", "hour", "day_of_month", "month", "day_of_week")
_CRON_FIELDS = ("task_name", "command", *_CRON_TIMES, "enabled", "email_on_error", "timeout_seconds", "email_recipient")

handle_list("domain", "domains.list", "GET /v1/domains")
handle_get("domain", "domains.get", "GET /v1/domains/{id}")
handle_objects("subdomain", "GET /v1/domains/{id}/subdomains")
handle_object("subdomain", "GET /v1/subdomains/{id}")
handle_removal("subdomain", "DELETE /v1/subdomains/{id}", done="Subdomain deleted")
handle_objects("redirect", "GET /v1/domains/{id}/redirects")
handle_removal("redirect", "DELETE /v1/redirects/{id}", done="Redirect deleted")
handle_objects("cron_job", "GET /v1/cron-jobs")
handle_object("cron_job", "GET /v1/cron-jobs/{id}")
handle_removal("cron_job", "DELETE /v1/cron-jobs/{id}", done="Cron job deleted")


@handles("domains.create")
def create_domain(call: ApiCall) -> ApiReply:
    """Add the domain, its directories, its zone and, if requested, its certificate."""
    name = rules.domain_name(call.body["domain"])
    owner = owner_with_room(call, call.body["user_id"], "max_domains")
    ssl_type = rules.one_of(call.body.get("ssl_type", _NO_CERTIFICATE), _SSL_TYPES, "ssl_type")
    versions = _php_versions(owner)
    php_version = _PHP_VERSION if _PHP_VERSION in versions else versions[-1]
    columns = {"php_version": php_version, "web_server": _WEB_SERVERS[0], **_changes(call, owner)}
    return ApiReply(_add(call.store, owner, name, columns, ssl_type))


@handles("POST /v1/domains")
def create_domain_on_panel(call: ApiCall) -> ApiReply:
    """Add the domain with its directories and its zone (evidence: domains-create)."""
    name = rules.domain_name(call.body["name"])
    owner = owner_with_room(call, call.body["user_id"], "max_domains")
    if call.store.exists("domain", domain=name):
        raise conflict("domain")
    ssl_type = _NO_CERTIFICATE if call.body.get("ssl_provider", _NO_CERTIFICATE) == _NO_CERTIFICATE else LETS_ENCRYPT
    columns = {"php_version": _PHP_VERSION, "web_server": _WEB_SERVERS_ON_PANEL[0], **_changes_on_panel(call)}
    domain = _add(call.store, owner, name, columns, ssl_type)
    return ApiReply(get(call, "domain", domain["id"]))


@handles("domains.update", "PATCH /v1/domains/{id}")
def update_domain(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = get(call, "domain")
    if call.dialect == "panel":
        changes = _changes_on_panel(call)
    else:
        changes = _changes(call, call.store.get("owner", domain["user_id"]))
    call.store.update("domain", domain["id"], changes)
    return ApiReply(get(call, "domain"))


def _changes(call: ApiCall, owner: Row) -> dict[str, Any]:
    """Return the columns that the body changes."""
    changes = call.fields("php_version", "web_server")
    if "web_server" in changes:
        rules.one_of(changes["web_server"], _WEB_SERVERS, "web_server")
    if "php_version" in changes:
        rules.one_of(changes["php_version"], _php_versions(owner), "php_version")
    return changes


def _changes_on_panel(call: ApiCall) -> dict[str, Any]:
    """Return the columns that the body changes; plans do not limit the versions."""
    changes = call.fields("php_version", "web_server")
    if changes.get("php_version", _PHP_VERSION) not in PHP_VERSIONS:
        raise failed("Invalid PHP version", f"{changes['php_version']} is not installed")
    if changes.get("web_server", _WEB_SERVERS_ON_PANEL[0]) not in _WEB_SERVERS_ON_PANEL:
        raise invalid(call.endpoint.operation, [("web_server", "oneof")])
    return changes


def _php_versions(owner: Row) -> tuple[str, ...]:
    """Return the PHP versions of the plan; those of the server if the plan names none."""
    return tuple(owner["php_versions"] or PHP_VERSIONS)


def _add(store: Store, owner: Row, name: str, columns: Mapping[str, object], ssl_type: str) -> Row:
    """Add a domain with its directories, zone and certificate, and return it as the reference shows it."""
    domain_id, document_root = new_id(), document_root_of(owner["username"], name)
    row = {"id": domain_id, "domain": name, "user_id": owner["id"], "document_root": document_root}
    store.insert("domain", {**row, "created_at": store.now(), **columns})
    make_site(store, owner["id"], domain_id, document_root)
    add_default_records(store, domain_id)
    if ssl_type != _NO_CERTIFICATE:
        order_certificate(store, domain_id, ssl_type, auto_renew=True)
    domain = store.get("domain", domain_id)
    emit(store, "domain.created", domain)
    return domain


@handles("domains.delete", "DELETE /v1/domains/{id}")
def delete_domain(call: ApiCall) -> ApiReply:
    """Delete the domain with its zone, certificate, databases, mailboxes, FTP users and files."""
    domain = call.store.get("domain", get(call, "domain")["id"])
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", domain)
    return accepted("Domain deleted")


@handles("domains.suspend", "POST /v1/domains/{id}/suspend")
def suspend_domain(call: ApiCall) -> ApiReply:
    """Suspend the domain, whatever the state of its account."""
    call.store.update("domain", get(call, "domain")["id"], {"suspended": 1})
    return accepted("Domain suspended")


@handles("domains.unsuspend", "POST /v1/domains/{id}/unsuspend")
def unsuspend_domain(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    domain = get(call, "domain")
    active_owner(call, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": 0})
    return accepted("Domain unsuspended")


# Sites on current panels


@handles("GET /v1/domains/{id}/php")
def get_php(call: ApiCall) -> ApiReply:
    """Return PHP version and settings."""
    domain = get(call, "domain")
    kept = call.store.rows("SELECT php_settings FROM domains WHERE id = ?", domain["id"])[0]["php_settings"]
    return ApiReply({"php_version": domain["php_version"], **_PHP_SETTINGS, **kept})


@handles("PATCH /v1/domains/{id}/php")
def update_php(call: ApiCall) -> ApiReply:
    """Change PHP version and settings; settings that are not sent are reset."""
    domain = get(call, "domain")
    changes = {**_changes_on_panel(call), "php_settings": call.fields(*_PHP_SETTINGS)}
    call.store.update("domain", domain["id"], changes)
    return accepted("PHP settings updated")


@handles("GET /v1/domains/{id}/webserver")
def get_web_server(call: ApiCall) -> ApiReply:
    """Return the web server."""
    return ApiReply({"web_server": get(call, "domain")["web_server"]})


@handles("PATCH /v1/domains/{id}/webserver")
def update_web_server(call: ApiCall) -> ApiReply:
    """Change the web server."""
    domain = get(call, "domain")
    call.store.update("domain", domain["id"], _changes_on_panel(call))
    return accepted("Web server updated")


@handles("GET /v1/php/versions")
def php_versions(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the PHP versions of the server (evidence: php-versions)."""
    return ApiReply([{"version": version, "available": True} for version in PHP_VERSIONS])


@handles("POST /v1/domains/{id}/subdomains")
def create_subdomain(call: ApiCall) -> ApiReply:
    """Add a subdomain, served from `public_html` if nothing else is asked for (evidence: subdomains-create)."""
    domain = get(call, "domain")
    name = call.body["subdomain_name"].lower()
    used = len(objects(call, "subdomain", user_id=domain["user_id"]))
    if not is_within(call, domain["user_id"], "max_subdomains", used):
        raise PanelError(403, details="subdomain limit reached")
    if any(item.fields["subdomain_name"] == name for item in of_domain(call, "subdomain")):
        raise taken("apiErrors.external.subdomain.alreadyExists")
    full_name = f"{name}.{domain['domain_name']}"
    home = posixpath.join(posixpath.dirname(posixpath.dirname(domain["document_root"])), full_name)
    fields = {
        "subdomain_name": name,
        "full_name": full_name,
        "document_root": posixpath.join(home, call.body.get("document_root", _PUBLIC)).rstrip("/"),
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
    return accepted("ModSecurity updated")


@handles("GET /v1/domains/{id}/stats")
def domain_stats(call: ApiCall) -> ApiReply:
    """Return disk space and traffic of the domain."""
    domain = call.store.get("domain", get(call, "domain")["id"])
    return ApiReply({name: domain[name] for name in ("disk_usage_mb", "bandwidth_mb")})


@handles("GET /v1/domains/{id}/logs/access", "GET /v1/domains/{id}/logs/error")
def read_log(call: ApiCall) -> ApiReply:
    """Return a log, which is empty: no site is visited here."""
    get(call, "domain")
    return ApiReply({"lines": list[str]()})


# Cron jobs of current panels


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
