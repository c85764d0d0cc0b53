"""Backups. They are pending for 2 s, then run for 10 s plus 1 s for each domain, by the panel's clock.

Guesses: these times; a site takes 50 MB besides its files; an archive holds the files of its domains; restoring
brings back the files of domains that still exist, and changes nothing else of a site.
"""

from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import Row, Store, new_id, timestamp

_TYPES = ("full", "incremental")
_PENDING_SECONDS = 2
_RUNNING_SECONDS = 10
_SITE_BYTES = 50 * 1024 * 1024
_COMPRESSION_LEVEL = 6
_CONFLICT_ACTIONS = ("overwrite",)


@handles("backups.list")
def list_backups(call: ApiCall) -> ApiReply:
    """Return all backups in their present state."""
    return ApiReply(listed(call, "backup"))


@handles("backups.create")
def create_backup(call: ApiCall) -> ApiReply:
    """Start a backup of the domains in the body, by default of all."""
    rules.one_of(call.body.get("type", _TYPES[0]), _TYPES, "type")
    # Without domains, or with an empty list, the whole server is backed up (evidence: backups-create).
    domains = [call.store.get("domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    name = call.body.get("name", f"backup-{timestamp(call.now)}")
    return ApiReply(start_backup(call.store, domains or call.store.rows("SELECT * FROM domain"), name, call.body))


@handles("backups.restore")
def restore_backup(call: ApiCall) -> ApiReply:
    """Restore a completed backup."""
    backup = get(call, "backup")
    if backup["status"] != "completed":
        raise bad_request(f"the backup is {backup['status']}, not completed", message="Backup not ready")
    kept = call.store.rows("SELECT domain_id FROM backup_domains WHERE backup_id = ?", backup["id"])
    archived = [row["domain_id"] for row in kept]
    chosen = call.body.get("domain_ids", archived)
    if not set(chosen) <= set(archived):
        raise bad_request("domain_ids: a domain is not in the backup")
    rules.one_of(call.body.get("conflict_action", _CONFLICT_ACTIONS[0]), _CONFLICT_ACTIONS, "conflict_action")
    present = [domain for domain_id in dict.fromkeys(chosen) if (domain := call.store.find("domain", domain_id))]
    if call.body.get("create_pre_restore_backup"):
        start_backup(call.store, present, f"pre-restore-{timestamp(call.now)}", call.body)
    if call.body.get("include_web", True):
        for domain in present:
            restore_files(call.store, backup["id"], domain)
    return accepted("Restore started")


@handles("backups.delete")
def delete_backup(call: ApiCall) -> ApiReply:
    """Delete the archive in any state."""
    call.store.delete("backup", call.path["id"])
    return ApiReply()


def start_backup(store: Store, domains: list[Row], name: str, options: Mapping[str, Any]) -> Row:
    """Start a backup of domains; the options are those of a body of the reference."""
    now = store.now()
    backup_id = new_id()
    store.insert(
        "backup",
        {
            "id": backup_id,
            "name": name,
            "type": options.get("type", _TYPES[0]),
            "encrypted": options.get("encryption", "none") != "none",
            "compression_level": options.get("compression_level", _COMPRESSION_LEVEL),
            "size_bytes": len(domains) * _SITE_BYTES,
            "created_at": now,
            "running_at": now + _PENDING_SECONDS,
            "completed_at": now + _PENDING_SECONDS + _RUNNING_SECONDS + len(domains),
        },
    )
    for domain in domains:
        store.execute("INSERT INTO backup_domains VALUES (?, ?, ?)", backup_id, domain["id"], domain["domain"])
        if options.get("include_web", True):
            store.execute(
                "INSERT INTO backup_files SELECT ?, domain_id, path, parent, name, type, content, size, permissions,"
                " modified_at FROM files WHERE domain_id = ?",
                backup_id,
                domain["id"],
            )
    store.execute(
        "UPDATE backups SET size_bytes = size_bytes + (SELECT coalesce(sum(size), 0) FROM backup_files"
        " WHERE backup_id = id) WHERE id = ?",
        backup_id,
    )
    return store.get("backup", backup_id)


def restore_files(store: Store, backup_id: str, domain: Row) -> None:
    """Restore the files of a site, if the archive has them; a directory sorts before its contents."""
    sql = "SELECT count(*) FROM backup_files WHERE backup_id = ? AND domain_id = ?"
    if not store.value(sql, backup_id, domain["id"]):
        return
    store.execute("DELETE FROM files WHERE domain_id = ?", domain["id"])
    store.execute(
        "INSERT INTO files (path, parent, name, type, content, size, permissions, account_id, domain_id, modified_at)"
        " SELECT path, parent, name, type, content, size, permissions, ?, domain_id, modified_at"
        " FROM backup_files WHERE backup_id = ? AND domain_id = ? ORDER BY path",
        domain["user_id"],
        backup_id,
        domain["id"],
    )
