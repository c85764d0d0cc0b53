"""Domains with their zones and directories; their PHP, web servers, logs and certificates.

A domain has one certificate: in the reference, ordering a second one is 409 unless the first has expired. On current
panels, a certificate is identified by its domain, and certificates cannot be listed (evidence: ssl-by-domain).

Guesses: PHP 8.3 by default; nginx by default in the reference; no certificate unless requested; names in lower case. An
order takes 60 s (about a minute, evidence: ssl-issue), a self-signed or custom certificate no time; certificates are
valid for 90 days, self-signed and custom ones for a year. On panels: a duplicate domain is 409; PHP settings that an
update omits return to their defaults (evidence: domains-php); the fields of statistics and logs; issuing again renews
the certificate, unless an order is pending; an uploaded certificate is valid at once.
"""

from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox.filesystem import document_root_of, make_site
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    active_owner,
    get,
    handle_get,
    handle_list,
    handles,
    owner_below_limit,
)
from panelica_async.sandbox.handlers.dns import add_default_records
from panelica_async.sandbox.handlers.webhooks import emit
from panelica_async.sandbox.messages import conflict, panel_error, validator_error
from panelica_async.sandbox.store import PHP_VERSIONS, Row, Store, new_id
from panelica_async.sandbox.validation import one_of, valid_domain_name

# Values of the reference and of current panels (evidence: domains-create).
_WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
_WEB_SERVERS_ON_PANEL = ("nginx_apache", "nginx_only")
_DEFAULT_PHP_VERSION = "8.3"
_DEFAULT_PHP_SETTINGS = {
    "memory_limit": "256M",
    "max_execution_time": "30",
    "upload_max_filesize": "64M",
    "post_max_size": "64M",
}
_LETS_ENCRYPT, _SELF_SIGNED, _CUSTOM = "lets_encrypt", "self_signed", "custom"
_NO_CERTIFICATE = "none"
_SSL_TYPES = (_LETS_ENCRYPT, _SELF_SIGNED, _CUSTOM, _NO_CERTIFICATE)

handle_list("domain", "domains.list", "GET /v1/domains")
handle_get("domain", "domains.get", "GET /v1/domains/{id}")
handle_list("certificate", "ssl.certificates.list")


@handles("domains.create")
def create_domain(call: ApiCall) -> ApiReply:
    """Add the domain, its directories, its zone and, if requested, its certificate."""
    name = valid_domain_name(call.body["domain"])
    owner = owner_below_limit(call, call.body["user_id"], "max_domains")
    ssl_type = one_of(call.body.get("ssl_type", _NO_CERTIFICATE), _SSL_TYPES, "ssl_type")
    allowed = _allowed_php_versions(owner)
    php_version = _DEFAULT_PHP_VERSION if _DEFAULT_PHP_VERSION in allowed else allowed[-1]
    columns = {"php_version": php_version, "web_server": _WEB_SERVERS[0], **_columns_from_body(call, owner)}
    return ApiReply(_add_domain(call.store, owner, name, columns, ssl_type))


@handles("POST /v1/domains")
def create_domain_on_panel(call: ApiCall) -> ApiReply:
    """Add the domain with its directories and its zone (evidence: domains-create)."""
    name = valid_domain_name(call.body["name"])
    owner = owner_below_limit(call, call.body["user_id"], "max_domains")
    if call.store.exists("domain", domain=name):
        raise conflict("domain")
    ssl_type = _NO_CERTIFICATE if call.body.get("ssl_provider", _NO_CERTIFICATE) == _NO_CERTIFICATE else _LETS_ENCRYPT
    columns = {
        "php_version": _DEFAULT_PHP_VERSION,
        "web_server": _WEB_SERVERS_ON_PANEL[0],
        **_columns_from_body_on_panel(call),
    }
    domain = _add_domain(call.store, owner, name, columns, ssl_type)
    return ApiReply(get(call, "domain", domain["id"]))


@handles("domains.update", "PATCH /v1/domains/{id}")
def update_domain(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = get(call, "domain")
    if call.dialect == "panel":
        changes = _columns_from_body_on_panel(call)
    else:
        changes = _columns_from_body(call, call.store.get("owner", domain["user_id"]))
    call.store.update("domain", domain["id"], changes)
    return ApiReply(get(call, "domain"))


def _columns_from_body(call: ApiCall, owner: Row) -> dict[str, Any]:
    """Return the columns that both a create and an update may set."""
    changes = call.fields("php_version", "web_server")
    if "web_server" in changes:
        one_of(changes["web_server"], _WEB_SERVERS, "web_server")
    if "php_version" in changes:
        one_of(changes["php_version"], _allowed_php_versions(owner), "php_version")
    return changes


def _columns_from_body_on_panel(call: ApiCall) -> dict[str, Any]:
    """Return the columns that both a create and an update may set; plans do not limit PHP versions."""
    changes = call.fields("php_version", "web_server")
    if changes.get("php_version", _DEFAULT_PHP_VERSION) not in PHP_VERSIONS:
        raise panel_error("Invalid PHP version", f"{changes['php_version']} is not installed")
    if changes.get("web_server", _WEB_SERVERS_ON_PANEL[0]) not in _WEB_SERVERS_ON_PANEL:
        raise validator_error(call.endpoint.operation, [("web_server", "oneof")])
    return changes


def _allowed_php_versions(owner: Row) -> tuple[str, ...]:
    """Return the PHP versions that the plan allows; if it names none, those of the server."""
    return tuple(owner["php_versions"] or PHP_VERSIONS)


def _add_domain(store: Store, owner: Row, name: str, columns: Mapping[str, object], ssl_type: str) -> Row:
    """Add a domain with its directories, zone and certificate; return it in the form of the reference."""
    domain_id, document_root = new_id(), document_root_of(owner["username"], name)
    row = {"id": domain_id, "domain": name, "user_id": owner["id"], "document_root": document_root}
    store.insert("domain", {**row, "created_at": store.now(), **columns})
    make_site(store, owner["id"], domain_id, document_root)
    add_default_records(store, domain_id)
    if ssl_type != _NO_CERTIFICATE:
        _order_certificate(store, domain_id, ssl_type, auto_renew=True)
    domain = store.get("domain", domain_id)
    emit(store, "domain.created", domain)
    return domain


@handles("domains.delete", "DELETE /v1/domains/{id}")
def delete_domain(call: ApiCall) -> ApiReply:
    """Delete the domain with its zone, certificate, databases, mailboxes, FTP users and files."""
    domain = call.store.get("domain", get(call, "domain")["id"])
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", domain)
    return acknowledgement("Domain deleted")


@handles("domains.suspend", "POST /v1/domains/{id}/suspend")
def suspend_domain(call: ApiCall) -> ApiReply:
    """Suspend the domain, whatever the state of its account."""
    call.store.update("domain", get(call, "domain")["id"], {"suspended": 1})
    return acknowledgement("Domain suspended")


@handles("domains.unsuspend", "POST /v1/domains/{id}/unsuspend")
def unsuspend_domain(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    domain = get(call, "domain")
    active_owner(call, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": 0})
    return acknowledgement("Domain unsuspended")


# PHP, web server, statistics and logs on current panels


@handles("GET /v1/domains/{id}/php")
def get_php(call: ApiCall) -> ApiReply:
    """Return PHP version and settings."""
    domain = get(call, "domain")
    stored = call.store.rows("SELECT php_settings FROM domains WHERE id = ?", domain["id"])[0]
    return ApiReply({"php_version": domain["php_version"], **_DEFAULT_PHP_SETTINGS, **stored["php_settings"]})


@handles("PATCH /v1/domains/{id}/php")
def update_php(call: ApiCall) -> ApiReply:
    """Change PHP version and settings; omitted settings are reset."""
    domain = get(call, "domain")
    changes = {**_columns_from_body_on_panel(call), "php_settings": call.fields(*_DEFAULT_PHP_SETTINGS)}
    call.store.update("domain", domain["id"], changes)
    return acknowledgement("PHP settings updated")


@handles("GET /v1/domains/{id}/webserver")
def get_web_server(call: ApiCall) -> ApiReply:
    """Return the web server."""
    return ApiReply({"web_server": get(call, "domain")["web_server"]})


@handles("PATCH /v1/domains/{id}/webserver")
def update_web_server(call: ApiCall) -> ApiReply:
    """Change the web server."""
    domain = get(call, "domain")
    call.store.update("domain", domain["id"], _columns_from_body_on_panel(call))
    return acknowledgement("Web server updated")


@handles("GET /v1/php/versions")
def list_php_versions(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return the PHP versions of the server (evidence: php-versions)."""
    return ApiReply([{"version": version, "available": True} for version in PHP_VERSIONS])


@handles("GET /v1/domains/{id}/stats")
def domain_stats(call: ApiCall) -> ApiReply:
    """Return the disk usage and traffic of the domain."""
    domain = call.store.get("domain", get(call, "domain")["id"])
    return ApiReply({name: domain[name] for name in ("disk_usage_mb", "bandwidth_mb")})


@handles("GET /v1/domains/{id}/logs/access", "GET /v1/domains/{id}/logs/error")
def read_log(call: ApiCall) -> ApiReply:
    """Return a log, which is always empty, because no site is ever visited."""
    get(call, "domain")
    return ApiReply({"lines": list[str]()})


# Certificates

_DAY = 86400
_ISSUING_SECONDS = {_LETS_ENCRYPT: 60, _SELF_SIGNED: 0, _CUSTOM: 0}
_LIFETIME_SECONDS = {_LETS_ENCRYPT: 90 * _DAY, _SELF_SIGNED: 365 * _DAY, _CUSTOM: 365 * _DAY}
_ISSUERS = {_LETS_ENCRYPT: "Let's Encrypt", _SELF_SIGNED: "Self-signed", _CUSTOM: "Custom"}


def _order_certificate(store: Store, domain_id: str, kind: str, *, auto_renew: bool) -> Row:
    """Start issuing a certificate for a domain and return it.

    Raises:
        ApiError: 409, the domain already has one.
    """
    now = store.now()
    store.execute("DELETE FROM certificates WHERE domain_id = ? AND expires_at <= ?", domain_id, now)
    certificate_id = new_id()
    store.insert(
        "certificate",
        {
            "id": certificate_id,
            "domain_id": domain_id,
            "type": kind,
            "issuer": _ISSUERS[kind],
            "auto_renew": auto_renew,
            "created_at": now,
            "ready_at": now + _ISSUING_SECONDS[kind],
            "valid_from": now + _ISSUING_SECONDS[kind],
            "expires_at": now + _LIFETIME_SECONDS[kind],
        },
    )
    return store.get("certificate", certificate_id)


def _renew_certificate(store: Store, certificate: Row) -> Row:
    """Start renewing a certificate and return it."""
    now, kind = store.now(), certificate["type"]
    changes = {"ready_at": now + _ISSUING_SECONDS[kind], "expires_at": now + _LIFETIME_SECONDS[kind]}
    if certificate["status"] == "expired":
        # Until the new certificate is issued, the site has no valid one.
        changes["valid_from"] = changes["ready_at"]
    store.update("certificate", certificate["id"], changes)
    return store.get("certificate", certificate["id"])


@handles("ssl.certificates.issue")
def issue_certificate(call: ApiCall) -> ApiReply:
    """Order a certificate, which is pending until it is issued."""
    domain = get(call, "domain", call.body["domain_id"])
    kind = call.body.get("type", _LETS_ENCRYPT)
    return ApiReply(_order_certificate(call.store, domain["id"], kind, auto_renew=call.body.get("auto_renew", True)))


@handles("ssl.certificates.renew")
def renew_certificate(call: ApiCall) -> ApiReply:
    """Renew a certificate; the site keeps the old one until the new one is issued."""
    return ApiReply(_renew_certificate(call.store, get(call, "certificate")))


@handles("GET /v1/ssl/domains/{domain_id}")
def get_certificate(call: ApiCall) -> ApiReply:
    """Return whether the domain has a valid certificate."""
    return ApiReply(get(call, "certificate", key="domain_id"))


@handles("POST /v1/ssl/domains/{domain_id}/issue")
def issue_certificate_on_panel(call: ApiCall) -> ApiReply:
    """Order a certificate, which is issued a minute after the reply (evidence: ssl-issue)."""
    certificate = _find_certificate(call)
    if certificate is None or certificate["status"] == "expired":
        _order_certificate(call.store, call.path["domain_id"], _LETS_ENCRYPT, auto_renew=True)
    elif certificate["status"] == "active":
        _renew_certificate(call.store, certificate)
    return acknowledgement("SSL certificate issuance started")


@handles("POST /v1/ssl/domains/{domain_id}/renew")
def renew_certificate_on_panel(call: ApiCall) -> ApiReply:
    """Renew the certificate of the domain."""
    certificate = _find_certificate(call)
    if certificate is None:
        raise panel_error("Renew Failed", "the domain has no certificate")
    _renew_certificate(call.store, certificate)
    return acknowledgement("SSL certificate renewal started")


@handles("POST /v1/ssl/domains/{domain_id}/upload")
def upload_certificate(call: ApiCall) -> ApiReply:
    """Replace the certificate with the caller's own."""
    domain = get(call, "domain")
    call.store.execute("DELETE FROM certificates WHERE domain_id = ?", domain["id"])
    _order_certificate(call.store, domain["id"], _CUSTOM, auto_renew=False)
    return acknowledgement("SSL certificate uploaded")


def _find_certificate(call: ApiCall) -> Row | None:
    """Return the certificate of the domain in the path, whatever its status, or None."""
    domain = get(call, "domain")
    return call.store.find("certificate", domain["id"], key="domain_id")
