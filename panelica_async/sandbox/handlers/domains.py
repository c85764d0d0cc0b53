"""Domains. Guesses: PHP 8.3 and nginx by default, no certificate unless requested, names in lower case."""

from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.events import emit
from panelica_async.sandbox.filesystem import document_root_of, make_site
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, rows
from panelica_async.sandbox.handlers.dns import add_default_records
from panelica_async.sandbox.handlers.ssl import TYPES, order_certificate
from panelica_async.sandbox.rules import active_owner, owner, owner_with_room
from panelica_async.sandbox.seed import PHP_VERSIONS
from panelica_async.sandbox.store import Row, new_id

# The reference's values, and those of current panels (evidence: domains-create).
_WEB_SERVERS = ("nginx", "apache", "nginx_apache", "nginx_only")
_DEFAULT_PHP_VERSION = "8.3"
_NO_CERTIFICATE = "none"


@handles("domains.list")
def list_domains(call: ApiCall) -> ApiReply:
    """Return the domains, filtered by state or owner if requested."""
    return ApiReply(rows(call, "domain"))


@handles("domains.get")
def get(call: ApiCall) -> ApiReply:
    """Return one domain."""
    return ApiReply(call.store.get("domain", call.path["id"]))


@handles("domains.create")
def create(call: ApiCall) -> ApiReply:
    """Add the domain, its directories, its zone and, if requested, its certificate."""
    store = call.store
    name = rules.domain_name(call.body["domain"])
    account = owner_with_room(store, call.body["user_id"], "max_domains")
    ssl_type = rules.one_of(call.body.get("ssl_type", _NO_CERTIFICATE), (*TYPES, _NO_CERTIFICATE), "ssl_type")
    domain_id = new_id()
    document_root = document_root_of(account["username"], name)
    row = {
        "id": domain_id,
        "domain": name,
        "user_id": account["id"],
        "php_version": _default_php_version(account),
        "web_server": "nginx",
        "document_root": document_root,
        "created_at": call.now,
        **_changes(call, account),
    }
    store.insert("domain", row)
    make_site(store, account["id"], domain_id, document_root)
    add_default_records(store, domain_id)
    if ssl_type != _NO_CERTIFICATE:
        order_certificate(store, domain_id, ssl_type, auto_renew=True)
    domain = store.get("domain", domain_id)
    emit(store, "domain.created", domain)
    return ApiReply(domain)


@handles("domains.update")
def update(call: ApiCall) -> ApiReply:
    """Change PHP version and web server."""
    domain = call.store.get("domain", call.path["id"])
    call.store.update("domain", domain["id"], _changes(call, owner(call.store, domain["user_id"])))
    return ApiReply(call.store.get("domain", domain["id"]))


@handles("domains.delete")
def delete(call: ApiCall) -> ApiReply:
    """Delete the domain with its zone, certificate, databases, mailboxes, FTP users and files."""
    domain = call.store.get("domain", call.path["id"])
    call.store.delete("domain", domain["id"])
    emit(call.store, "domain.deleted", domain)
    return ApiReply()


@handles("domains.suspend")
def suspend(call: ApiCall) -> ApiReply:
    """Suspend the domain, whatever the state of its account."""
    domain = call.store.get("domain", call.path["id"])
    call.store.update("domain", domain["id"], {"suspended": 1})
    return accepted("Domain suspended")


@handles("domains.unsuspend")
def unsuspend(call: ApiCall) -> ApiReply:
    """Lift the suspension, unless the account is suspended."""
    domain = call.store.get("domain", call.path["id"])
    active_owner(call.store, domain["user_id"])
    call.store.update("domain", domain["id"], {"suspended": 0})
    return accepted("Domain unsuspended")


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
    return _DEFAULT_PHP_VERSION if _DEFAULT_PHP_VERSION in versions else versions[-1]
