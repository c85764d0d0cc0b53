"""Domains with what belongs to their sites: PHP, web server, certificate, subdomains, redirects, ModSecurity, logs.

A certificate is known by its domain; there is no list of them (evidence: ssl-by-domain).

Guesses: a duplicate domain is 409; a new one has no certificate unless `ssl_provider` asks for one; PHP settings that a
change leaves out go back to their defaults (evidence: domains-php); issuing again renews, and changes nothing while the
work is under way; an uploaded certificate is valid at once, for a year; a subdomain and a redirect exist once, and an
update takes the fields of a create; the fields of ModSecurity, statistics and logs.
"""

import posixpath
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.deliveries import emit
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    add_to_domain,
    change,
    change_settings,
    find,
    get,
    handles,
    listed,
    objects,
    of_domain,
    owner_with_room,
    remove,
    settings,
    shown,
)
from panelica_async.sandbox.handlers.domains import (
    CUSTOM,
    DEFAULT_PHP_VERSION,
    LETS_ENCRYPT,
    NO_CERTIFICATE,
    add_domain,
    order_certificate,
    order_renewal,
)
from panelica_async.sandbox.messages import PanelError, failed, invalid, taken
from panelica_async.sandbox.panel_handlers.accounts import is_within
from panelica_async.sandbox.store import PHP_VERSIONS, Row

_WEB_SERVERS = ("nginx_apache", "nginx_only")
_DEFAULTS = {"php_version": DEFAULT_PHP_VERSION, "web_server": _WEB_SERVERS[0]}
_PHP_SETTINGS = {
    "memory_limit": "256M",
    "max_execution_time": "30",
    "upload_max_filesize": "64M",
    "post_max_size": "64M",
}
_PUBLIC = "public_html"
_REDIRECT_TYPE = "301"
_MODSECURITY = {"enabled": True}


@handles("GET /v1/domains")
def list_domains(call: ApiCall) -> ApiReply:
    """Return all domains that the owner of the key sees."""
    return ApiReply(listed(call, "domain"))


@handles("GET /v1/domains/{id}")
def get_domain(call: ApiCall) -> ApiReply:
    """Return one domain."""
    return ApiReply(get(call, "domain"))


@handles("POST /v1/domains")
def create_domain(call: ApiCall) -> ApiReply:
    """Add the domain with its directories and its zone (evidence: domains-create)."""
    name = rules.domain_name(call.body["name"])
    owner = owner_with_room(call, call.body["user_id"], "max_domains")
    if call.store.value("SELECT 1 FROM domains WHERE domain = ?", name) is not None:
        raise PanelError(409, error="Domain already exists", code="CONFLICT")
    ssl_type = NO_CERTIFICATE if call.body.get("ssl_provider", NO_CERTIFICATE) == NO_CERTIFICATE else LETS_ENCRYPT
    domain = add_domain(call.store, owner, name, {**_DEFAULTS, **_changes(call)}, ssl_type)
    return ApiReply(get(call, "domain", domain["id"]))


@handles("PATCH /v1/domains/{id}")
def update_domain(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = get(call, "domain")
    call.store.update("domain", domain["id"], _changes(call))
    return ApiReply(get(call, "domain", domain["id"]))


@handles("DELETE /v1/domains/{id}")
def delete_domain(call: ApiCall) -> ApiReply:
    """Delete the domain with everything that belongs to it."""
    domain = get(call, "domain")
    deleted = call.store.get("domain", domain["id"])
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", deleted)
    return accepted("Domain deleted")


@handles("POST /v1/domains/{id}/suspend")
def suspend_domain(call: ApiCall) -> ApiReply:
    """Suspend the domain."""
    return _set_suspended(call, suspended=True)


@handles("POST /v1/domains/{id}/unsuspend")
def unsuspend_domain(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    return _set_suspended(call, suspended=False)


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
    changes = {**_changes(call), "php_settings": call.fields(*_PHP_SETTINGS)}
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
    call.store.update("domain", domain["id"], _changes(call))
    return accepted("Web server updated")


@handles("GET /v1/php/versions")
def php_versions(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the PHP versions of the server (evidence: php-versions)."""
    return ApiReply([{"version": version, "available": True} for version in PHP_VERSIONS])


def _changes(call: ApiCall) -> dict[str, Any]:
    """Return the columns that the body changes."""
    changes = call.fields("php_version", "web_server")
    if changes.get("php_version", DEFAULT_PHP_VERSION) not in PHP_VERSIONS:
        raise failed("Invalid PHP version", f"{changes['php_version']} is not installed")
    if changes.get("web_server", _WEB_SERVERS[0]) not in _WEB_SERVERS:
        raise invalid(call.endpoint.operation, [("web_server", "oneof")])
    return changes


def _set_suspended(call: ApiCall, *, suspended: bool) -> ApiReply:
    domain = get(call, "domain")
    if not suspended:
        rules.active_owner(call.store, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": suspended})
    return accepted(f"Domain {'' if suspended else 'un'}suspended")


@handles("GET /v1/domains/{id}/subdomains")
def list_subdomains(call: ApiCall) -> ApiReply:
    """Return the subdomains of the domain (evidence: subdomains)."""
    return shown(of_domain(call, "subdomain"))


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


@handles("GET /v1/subdomains/{id}")
def get_subdomain(call: ApiCall) -> ApiReply:
    """Return one subdomain."""
    return ApiReply(find(call, "subdomain").shown)


@handles("PATCH /v1/subdomains/{id}")
def update_subdomain(call: ApiCall) -> ApiReply:
    """Change PHP, certificate or folder of a subdomain."""
    fields = call.fields("document_root", "php_version", "ssl_enabled")
    return ApiReply(change(call, find(call, "subdomain"), **fields).shown)


@handles("DELETE /v1/subdomains/{id}")
def delete_subdomain(call: ApiCall) -> ApiReply:
    """Delete a subdomain."""
    remove(call, find(call, "subdomain"))
    return accepted("Subdomain deleted")


@handles("GET /v1/domains/{id}/redirects")
def list_redirects(call: ApiCall) -> ApiReply:
    """Return the redirects of the domain (evidence: redirects)."""
    return shown(of_domain(call, "redirect"))


@handles("POST /v1/domains/{id}/redirects")
def create_redirect(call: ApiCall) -> ApiReply:
    """Add a redirect."""
    fields = {"redirect_type": _REDIRECT_TYPE, **call.fields("source_path", "destination_url", "redirect_type")}
    if any(item.fields["source_path"] == fields["source_path"] for item in of_domain(call, "redirect")):
        raise PanelError(409, error="Redirect already exists", code="CONFLICT")
    return ApiReply(add_to_domain(call, "redirect", fields).shown)


@handles("DELETE /v1/redirects/{id}")
def delete_redirect(call: ApiCall) -> ApiReply:
    """Delete a redirect of any domain."""
    remove(call, find(call, "redirect"))
    return accepted("Redirect deleted")


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


@handles("GET /v1/domains/{id}/logs/access")
def access_log(call: ApiCall) -> ApiReply:
    """Return the access log, which is empty: no site is visited here."""
    get(call, "domain")
    return ApiReply({"lines": list[str]()})


@handles("GET /v1/domains/{id}/logs/error")
def error_log(call: ApiCall) -> ApiReply:
    """Return the error log."""
    get(call, "domain")
    return ApiReply({"lines": list[str]()})


@handles("GET /v1/ssl/domains/{domain_id}")
def get_certificate(call: ApiCall) -> ApiReply:
    """Return whether the domain has a valid certificate."""
    return ApiReply(get(call, "certificate", call.path["domain_id"], key="domain_id"))


@handles("POST /v1/ssl/domains/{domain_id}/issue")
def issue_certificate(call: ApiCall) -> ApiReply:
    """Order a certificate: the reply comes at once, the certificate a minute later (evidence: ssl-issue)."""
    certificate = _certificate(call)
    if certificate is None or certificate["status"] == "expired":
        order_certificate(call.store, call.path["domain_id"], LETS_ENCRYPT, auto_renew=True)
    elif certificate["status"] == "active":
        order_renewal(call.store, certificate)
    return accepted("SSL certificate issuance started")


@handles("POST /v1/ssl/domains/{domain_id}/renew")
def renew_certificate(call: ApiCall) -> ApiReply:
    """Renew the certificate that the domain has."""
    certificate = _certificate(call)
    if certificate is None:
        raise failed("Renew Failed", "the domain has no certificate")
    order_renewal(call.store, certificate)
    return accepted("SSL certificate renewal started")


@handles("POST /v1/ssl/domains/{domain_id}/upload")
def upload_certificate(call: ApiCall) -> ApiReply:
    """Replace the certificate by one of the caller's own."""
    if _certificate(call) is not None:
        call.store.execute("DELETE FROM certificates WHERE domain_id = ?")
    order_certificate(call.store, call.path["domain_id"], CUSTOM, auto_renew=False)
    return accepted("SSL certificate uploaded")


def _certificate(call: ApiCall) -> Row | None:
    """Return the certificate of the domain in any state."""
    domain = get(call, "domain")
    return call.store.find("certificate", domain["id"], key="domain_id")
