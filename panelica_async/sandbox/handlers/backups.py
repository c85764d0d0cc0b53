"""Backups. They are pending for 2 s, then run for 10 s and 1 s a domain, all by the panel's clock.

Guesses: these times; a site without its files weighs 50 MB; an archive keeps the files of its domains, and restoring
puts those of domains that still exist back as they were; the other parts of a site stay as they are.
"""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, rows
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
    """All backups, each in its state at this moment."""
    return ApiReply(rows(call, "backup"))


@handles("backups.create")
def create(call: ApiCall) -> ApiReply:
    """Starts an archive of the domains named, or of all there are."""
    rules.one_of(call.body.get("type", _TYPES[0]), _TYPES, "type")
    # Without domains, or with an empty list, the whole server is backed up (evidence: backups-create).
    domains = [call.store.get("domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    return ApiReply(_archive(call, domains or call.store.rows("SELECT * FROM temp.domain")))


@handles("backups.restore")
def restore(call: ApiCall) -> ApiReply:
    """Needs a backup that is completed."""
    backup = call.store.get("backup", call.path["id"])
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
        _archive(call, present, prefix="pre-restore")
    if call.body.get("include_web", True):
        for domain in present:
            _restore_files(call.store, backup["id"], domain)
    return accepted("Restore started")


@handles("backups.delete")
def delete(call: ApiCall) -> ApiReply:
    """Removes the archive in any state."""
    call.store.delete("backup", call.path["id"])
    return ApiReply()


def _archive(call: ApiCall, domains: list[Row], *, prefix: str = "backup") -> Row:
    """Start a backup of domains with the options of the body."""
    store, now, body = call.store, call.now, call.body
    backup_id = new_id()
    store.insert(
        "backup",
        {
            "id": backup_id,
            "name": body.get("name", f"{prefix}-{timestamp(now)}"),
            "type": body.get("type", _TYPES[0]),
            "encrypted": body.get("encryption", "none") != "none",
            "compression_level": body.get("compression_level", _COMPRESSION_LEVEL),
            "size_bytes": len(domains) * _SITE_BYTES,
            "created_at": now,
            "running_at": now + _PENDING_SECONDS,
            "completed_at": now + _PENDING_SECONDS + _RUNNING_SECONDS + len(domains),
        },
    )
    for domain in domains:
        store.execute("INSERT INTO backup_domains VALUES (?, ?, ?)", backup_id, domain["id"], domain["domain"])
        if body.get("include_web", True):
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


def _restore_files(store: Store, backup_id: str, domain: Row) -> None:
    """Put the files of a site back as they were, if the archive has them; a directory sorts before what is in it."""
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
