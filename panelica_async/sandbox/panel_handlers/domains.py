"""Domains, their PHP settings and their web server.

Guesses: a duplicate is 409; no certificate unless `ssl_provider` asks for one; PHP settings that a change
leaves out go back to their defaults (evidence: domains-php).
"""

from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.events import emit
from panelica_async.sandbox.filesystem import document_root_of, make_site
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.handlers.dns import add_default_records
from panelica_async.sandbox.handlers.ssl import TYPES, order_certificate
from panelica_async.sandbox.panel_errors import PanelError, failed, invalid
from panelica_async.sandbox.panel_handlers.base import get, handles, listed, owner_with_room
from panelica_async.sandbox.seed import PHP_VERSIONS
from panelica_async.sandbox.store import new_id

_PHP_VERSION = "8.3"
_WEB_SERVERS = ("nginx_apache", "nginx_only")
_WEB_SERVER = _WEB_SERVERS[0]
_PHP_SETTINGS = {
    "memory_limit": "256M",
    "max_execution_time": "30",
    "upload_max_filesize": "64M",
    "post_max_size": "64M",
}
_NO_CERTIFICATE = "none"


@handles("GET /v1/domains")
def list_domains(call: ApiCall) -> ApiReply:
    """Return all domains that the owner of the key sees."""
    return listed(call, "domain")


@handles("GET /v1/domains/{id}")
def get_domain(call: ApiCall) -> ApiReply:
    """Return one domain."""
    return ApiReply(get(call, "domain", call.path["id"]))


@handles("POST /v1/domains")
def create(call: ApiCall) -> ApiReply:
    """Add the domain with its directories and its zone (evidence: domains-create)."""
    store, body = call.store, call.body
    name = rules.domain_name(body["name"])
    owner = owner_with_room(call, body["user_id"], "max_domains")
    if store.value("SELECT 1 FROM domains WHERE domain = ?", name) is not None:
        raise PanelError(409, error="Domain already exists", code="CONFLICT")
    domain_id, document_root = new_id(), document_root_of(owner["username"], name)
    row = {
        "id": domain_id,
        "domain": name,
        "user_id": owner["id"],
        "php_version": _PHP_VERSION,
        "web_server": _WEB_SERVER,
        "document_root": document_root,
        "created_at": call.now,
    }
    store.insert("domain", {**row, **_changes(call)})
    make_site(store, owner["id"], domain_id, document_root)
    add_default_records(store, domain_id)
    if body.get("ssl_provider", _NO_CERTIFICATE) != _NO_CERTIFICATE:
        order_certificate(store, domain_id, TYPES[0], auto_renew=True)
    emit(store, "domain.created", store.get("domain", domain_id))
    return ApiReply(get(call, "domain", domain_id))


@handles("PATCH /v1/domains/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = get(call, "domain", call.path["id"])
    call.store.update("domain", domain["id"], _changes(call))
    return ApiReply(get(call, "domain", domain["id"]))


@handles("DELETE /v1/domains/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete the domain with everything that belongs to it."""
    domain = get(call, "domain", call.path["id"])
    deleted = call.store.get("domain", domain["id"])
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", deleted)
    return accepted("Domain deleted")


@handles("POST /v1/domains/{id}/suspend")
def suspend(call: ApiCall) -> ApiReply:
    """Suspend the domain."""
    return _set_suspended(call, suspended=True)


@handles("POST /v1/domains/{id}/unsuspend")
def unsuspend(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    return _set_suspended(call, suspended=False)


@handles("GET /v1/domains/{id}/php")
def get_php(call: ApiCall) -> ApiReply:
    """Return PHP version and settings."""
    domain = get(call, "domain", call.path["id"])
    kept = call.store.rows("SELECT php_settings FROM domains WHERE id = ?", domain["id"])[0]["php_settings"]
    return ApiReply({"php_version": domain["php_version"], **_PHP_SETTINGS, **kept})


@handles("PATCH /v1/domains/{id}/php")
def update_php(call: ApiCall) -> ApiReply:
    """Change PHP version and settings; settings that are not sent are reset."""
    domain = get(call, "domain", call.path["id"])
    changes = {**_changes(call), "php_settings": call.fields(*_PHP_SETTINGS)}
    call.store.update("domain", domain["id"], changes)
    return accepted("PHP settings updated")


@handles("GET /v1/domains/{id}/webserver")
def get_web_server(call: ApiCall) -> ApiReply:
    """Return the web server."""
    return ApiReply({"web_server": get(call, "domain", call.path["id"])["web_server"]})


@handles("PATCH /v1/domains/{id}/webserver")
def update_web_server(call: ApiCall) -> ApiReply:
    """Change the web server."""
    domain = get(call, "domain", call.path["id"])
    call.store.update("domain", domain["id"], _changes(call))
    return accepted("Web server updated")


@handles("GET /v1/php/versions")
def php_versions(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the PHP versions of the server (evidence: php-versions)."""
    return ApiReply([{"version": version, "available": True} for version in PHP_VERSIONS])


def _changes(call: ApiCall) -> dict[str, Any]:
    """Return the columns that the body changes."""
    changes = call.fields("php_version", "web_server")
    if changes.get("php_version", _PHP_VERSION) not in PHP_VERSIONS:
        raise failed("Invalid PHP version", f"{changes['php_version']} is not installed")
    if changes.get("web_server", _WEB_SERVER) not in _WEB_SERVERS:
        raise invalid(call.endpoint.operation, [("web_server", "oneof")])
    return changes


def _set_suspended(call: ApiCall, *, suspended: bool) -> ApiReply:
    domain = get(call, "domain", call.path["id"])
    if not suspended:
        rules.active_owner(call.store, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": suspended})
    return accepted(f"Domain {'' if suspended else 'un'}suspended")
