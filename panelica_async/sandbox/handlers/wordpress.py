"""WordPress sites and their backups (evidence: wordpress, wordpress-backups).

Guesses: a domain whose document root holds `wp-config.php` is a WordPress site, with the id of the domain; a backup
takes a minute and holds the files of the domain; a restore changes nothing here; the replies to updates.
"""

import secrets

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed
from panelica_async.sandbox.handlers.objects import Owned, add, find, objects
from panelica_async.sandbox.messages import not_found
from panelica_async.sandbox.store import Row

_BACKUP_SECONDS = 60


@handles("GET /v1/wordpress")
def list_sites(call: ApiCall) -> ApiReply:
    """Return the sites, those of one account if the query names it."""
    owner = call.query.get("account_id")
    domains: list[Row] = listed(call, "domain", **({"user_id": owner} if owner else {}))
    return ApiReply([_row(domain) for domain in domains if _is_wordpress(call, domain)])


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
def list_backups(call: ApiCall) -> ApiReply:
    """Return the backups of the site."""
    site = _site(call)
    return ApiReply({"backups": [_backup(call, item) for item in objects(call, "site_backup", domain_id=site["id"])]})


@handles("POST /v1/wordpress/{id}/backup")
def create_backup(call: ApiCall) -> ApiReply:
    """Start a backup of the site."""
    site = _site(call)
    size = call.store.value("SELECT coalesce(sum(size), 0) FROM files WHERE domain_id = ?", site["id"])
    fields = {"name": f"{site['domain_name']}-{call.now}", "size": size, "_ready_at": call.now + _BACKUP_SECONDS}
    item = add(call, "site_backup", fields, user_id=site["user_id"], domain_id=site["id"])
    return ApiReply({"backup": _backup(call, item)})


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


def _row(domain: Row) -> Row:
    shown = {name: domain[name] for name in ("id", "domain_name", "php_version", "status")}
    return {**shown, "site_url": f"https://{domain['domain_name']}"}


def _backup(call: ApiCall, item: Owned) -> Row:
    return {**item.shown, "status": "completed" if item.fields["_ready_at"] <= call.now else "running"}
