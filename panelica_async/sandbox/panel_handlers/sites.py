"""What a domain has besides its site: subdomains, redirects, ModSecurity, statistics and logs.

Guesses: a subdomain and a redirect exist once; the fields of ModSecurity, statistics and logs; an update takes the
fields of a create.
"""

import posixpath

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import PanelError, taken
from panelica_async.sandbox.panel_handlers.base import get, handles
from panelica_async.sandbox.panel_handlers.objects import (
    add_to_domain,
    change,
    find,
    objects,
    of_domain,
    remove,
    shown,
)
from panelica_async.sandbox.panel_handlers.plans import is_within

_PUBLIC = "public_html"
_REDIRECT_TYPE = "301"
_MODSECURITY = {"enabled": True}


@handles("GET /v1/domains/{id}/subdomains")
def list_subdomains(call: ApiCall) -> ApiReply:
    """Return the subdomains of the domain (evidence: subdomains)."""
    return shown(of_domain(call, "subdomain"))


@handles("POST /v1/domains/{id}/subdomains")
def create_subdomain(call: ApiCall) -> ApiReply:
    """Add a subdomain, served from `public_html` if nothing else is asked for (evidence: subdomains-create)."""
    domain = get(call, "domain", call.path["id"])
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
    return ApiReply(find(call, "subdomain", call.path["id"]).shown)


@handles("PATCH /v1/subdomains/{id}")
def update_subdomain(call: ApiCall) -> ApiReply:
    """Change PHP, certificate or folder of a subdomain."""
    fields = call.fields("document_root", "php_version", "ssl_enabled")
    return ApiReply(change(call, find(call, "subdomain", call.path["id"]), **fields).shown)


@handles("DELETE /v1/subdomains/{id}")
def delete_subdomain(call: ApiCall) -> ApiReply:
    """Delete a subdomain."""
    remove(call, find(call, "subdomain", call.path["id"]))
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
    remove(call, find(call, "redirect", call.path["id"]))
    return accepted("Redirect deleted")


@handles("GET /v1/domains/{id}/modsecurity")
def get_modsecurity(call: ApiCall) -> ApiReply:
    """Return the settings of ModSecurity."""
    kept = of_domain(call, "modsecurity")
    return ApiReply({**_MODSECURITY, **(kept[0].fields if kept else {})})


@handles("PATCH /v1/domains/{id}/modsecurity")
def update_modsecurity(call: ApiCall) -> ApiReply:
    """Change settings of ModSecurity; any field is kept."""
    kept = of_domain(call, "modsecurity")
    if kept:
        change(call, kept[0], **call.body)
    else:
        add_to_domain(call, "modsecurity", dict(call.body))
    return accepted("ModSecurity updated")


@handles("GET /v1/domains/{id}/stats")
def stats(call: ApiCall) -> ApiReply:
    """Return disk space and traffic of the domain."""
    domain = call.store.get("domain", get(call, "domain", call.path["id"])["id"])
    return ApiReply({name: domain[name] for name in ("disk_usage_mb", "bandwidth_mb")})


@handles("GET /v1/domains/{id}/logs/access")
def access_log(call: ApiCall) -> ApiReply:
    """Return the access log, which is empty: no site is visited here."""
    get(call, "domain", call.path["id"])
    return ApiReply({"lines": list[str]()})


@handles("GET /v1/domains/{id}/logs/error")
def error_log(call: ApiCall) -> ApiReply:
    """Return the error log."""
    get(call, "domain", call.path["id"])
    return ApiReply({"lines": list[str]()})
