"""Domains and their certificates. A domain has one certificate: ordering a second is 409 unless the first has expired.

Guesses: PHP 8.3 and nginx by default, no certificate unless requested, names in lower case; an order takes 60 s (about
a minute, evidence: ssl-issue), a self-signed or custom certificate no time; certificates are valid for 90 days,
self-signed and custom ones for a year.
"""

from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.deliveries import emit
from panelica_async.sandbox.filesystem import document_root_of, make_site
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    get,
    handles,
    listed,
    owner_with_room,
)
from panelica_async.sandbox.handlers.dns import add_default_records
from panelica_async.sandbox.rules import active_owner, owner
from panelica_async.sandbox.store import PHP_VERSIONS, Row, Store, new_id

# The reference's values, and those of current panels (evidence: domains-create).
_WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
_DEFAULT_WEB_SERVER = "nginx"
DEFAULT_PHP_VERSION = "8.3"

LETS_ENCRYPT, SELF_SIGNED, CUSTOM = "lets_encrypt", "self_signed", "custom"
NO_CERTIFICATE = "none"
_SSL_TYPES = (LETS_ENCRYPT, SELF_SIGNED, CUSTOM, NO_CERTIFICATE)

_DAY = 86400
_ISSUING_SECONDS = {LETS_ENCRYPT: 60, SELF_SIGNED: 0, CUSTOM: 0}
_LIFETIME_SECONDS = {LETS_ENCRYPT: 90 * _DAY, SELF_SIGNED: 365 * _DAY, CUSTOM: 365 * _DAY}
_ISSUERS = {LETS_ENCRYPT: "Let's Encrypt", SELF_SIGNED: "Self-signed", CUSTOM: "Custom"}


@handles("domains.list")
def list_domains(call: ApiCall) -> ApiReply:
    """Return the domains, filtered by state or owner if requested."""
    return ApiReply(listed(call, "domain"))


@handles("domains.get")
def get_domain(call: ApiCall) -> ApiReply:
    """Return one domain."""
    return ApiReply(get(call, "domain"))


@handles("domains.create")
def create_domain(call: ApiCall) -> ApiReply:
    """Add the domain, its directories, its zone and, if requested, its certificate."""
    name = rules.domain_name(call.body["domain"])
    account = owner_with_room(call, call.body["user_id"], "max_domains")
    ssl_type = rules.one_of(call.body.get("ssl_type", NO_CERTIFICATE), _SSL_TYPES, "ssl_type")
    defaults = {"php_version": _default_php_version(account), "web_server": _DEFAULT_WEB_SERVER}
    return ApiReply(add_domain(call.store, account, name, {**defaults, **_changes(call, account)}, ssl_type))


@handles("domains.update")
def update_domain(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = get(call, "domain")
    call.store.update("domain", domain["id"], _changes(call, owner(call.store, domain["user_id"])))
    return ApiReply(call.store.get("domain", domain["id"]))


@handles("domains.delete")
def delete_domain(call: ApiCall) -> ApiReply:
    """Delete the domain with its zone, certificate, databases, mailboxes, FTP users and files."""
    domain = get(call, "domain")
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", domain)
    return ApiReply()


@handles("domains.suspend")
def suspend_domain(call: ApiCall) -> ApiReply:
    """Suspend the domain, whatever the state of its account."""
    domain = get(call, "domain")
    call.store.update("domain", domain["id"], {"suspended": 1})
    return accepted("Domain suspended")


@handles("domains.unsuspend")
def unsuspend_domain(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    domain = get(call, "domain")
    active_owner(call.store, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": 0})
    return accepted("Domain unsuspended")


def add_domain(store: Store, owner: Row, name: str, columns: Mapping[str, object], ssl_type: str) -> Row:
    """Add a domain with its directories, zone and certificate, and return it as the reference shows it."""
    domain_id, document_root = new_id(), document_root_of(owner["username"], name)
    row = {"id": domain_id, "domain": name, "user_id": owner["id"], "document_root": document_root}
    store.insert("domain", {**row, "created_at": store.now(), **columns})
    make_site(store, owner["id"], domain_id, document_root)
    add_default_records(store, domain_id)
    if ssl_type != NO_CERTIFICATE:
        order_certificate(store, domain_id, ssl_type, auto_renew=True)
    domain = store.get("domain", domain_id)
    emit(store, "domain.created", domain)
    return domain


def _changes(call: ApiCall, account: Row) -> dict[str, Any]:
    """Return the columns that create and update share."""
    changes = call.fields("php_version", "web_server")
    if "web_server" in changes:
        rules.one_of(changes["web_server"], _WEB_SERVERS, "web_server")
    if "php_version" in changes:
        rules.one_of(changes["php_version"], _php_versions(account), "php_version")
    return changes


def _php_versions(account: Row) -> tuple[str, ...]:
    """Return the PHP versions of the plan; those of the server if the plan names none."""
    return tuple(account["php_versions"] or PHP_VERSIONS)


def _default_php_version(account: Row) -> str:
    versions = _php_versions(account)
    return DEFAULT_PHP_VERSION if DEFAULT_PHP_VERSION in versions else versions[-1]


def order_certificate(store: Store, domain_id: str, kind: str, *, auto_renew: bool) -> Row:
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


def order_renewal(store: Store, certificate: Row) -> Row:
    """Start renewing a certificate and return it."""
    now, kind = store.now(), certificate["type"]
    changes = {"ready_at": now + _ISSUING_SECONDS[kind], "expires_at": now + _LIFETIME_SECONDS[kind]}
    if certificate["status"] == "expired":
        # Until the new one is issued, the site has no valid one.
        changes["valid_from"] = changes["ready_at"]
    store.update("certificate", certificate["id"], changes)
    return store.get("certificate", certificate["id"])


@handles("ssl.certificates.list")
def list_certificates(call: ApiCall) -> ApiReply:
    """Return all certificates in their present state."""
    return ApiReply(listed(call, "certificate"))


@handles("ssl.certificates.issue")
def issue_certificate(call: ApiCall) -> ApiReply:
    """Order a certificate; it is pending until it is issued by the panel's clock."""
    domain = call.store.get("domain", call.body["domain_id"])
    kind = call.body.get("type", LETS_ENCRYPT)
    return ApiReply(order_certificate(call.store, domain["id"], kind, auto_renew=call.body.get("auto_renew", True)))


@handles("ssl.certificates.renew")
def renew_certificate(call: ApiCall) -> ApiReply:
    """Renew a certificate; the site keeps the old one until the new one is issued."""
    return ApiReply(order_renewal(call.store, get(call, "certificate")))
