"""Backups of domains.

A backup is pending for 2 s, then runs for 10 s plus 1 s for each domain, by the panel's clock. Current panels know a
backup by its file name (evidence: backups-list).

Guesses: these times; a site takes 50 MB besides its files; an archive holds the files of its domains; restoring brings
back the files of domains that still exist, and changes nothing else of a site. On panels: the form of the timestamp in
the names of backups; a backup is listed while it runs, as `pending` and then `running`.
"""

import re
from collections.abc import Mapping
from typing import Any

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    get,
    handle_delete,
    handle_list,
    handles,
    list_rows,
)
from panelica_async.sandbox.messages import bad_request, duplicate_error, panel_error
from panelica_async.sandbox.store import Row, Store, new_id, timestamp
from panelica_async.sandbox.validation import one_of

_TYPES = ("full", "incremental")
_PENDING_SECONDS = 2
_RUNNING_SECONDS = 10
_SITE_BYTES = 50 * 1024 * 1024
_COMPRESSION_LEVEL = 6
_CONFLICT_ACTIONS = ("overwrite",)
_FILENAME = re.compile(r"[^/\\]+\.tar\.gz")
_NAME = "backup"

handle_list("backup", "backups.list", "GET /v1/backups")
handle_delete("backup", "backups.delete", message="Backup deleted")


@handles("backups.create")
def create_backup(call: ApiCall) -> ApiReply:
    """Start a backup of the domains in the body, by default of all."""
    one_of(call.body.get("type", _TYPES[0]), _TYPES, "type")
    # Without domains, or with an empty list, the whole server is backed up (evidence: backups-create).
    domains = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    name = call.body.get("name", f"backup-{timestamp(call.now)}")
    return ApiReply(_start(call.store, domains or call.store.rows("SELECT * FROM domain"), name, call.body))


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
    one_of(call.body.get("conflict_action", _CONFLICT_ACTIONS[0]), _CONFLICT_ACTIONS, "conflict_action")
    present = [domain for domain_id in dict.fromkeys(chosen) if (domain := call.store.find("domain", domain_id))]
    if call.body.get("create_pre_restore_backup"):
        _start(call.store, present, f"pre-restore-{timestamp(call.now)}", call.body)
    if call.body.get("include_web", True):
        for domain in present:
            _restore_files(call.store, backup["id"], domain)
    return acknowledgement("Restore started")


def _start(store: Store, domains: list[Row], name: str, options: Mapping[str, Any]) -> Row:
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


def _restore_files(store: Store, backup_id: str, domain: Row) -> None:
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


# Backups of current panels


@handles("GET /v1/backups/{filename}")
def get_backup(call: ApiCall) -> ApiReply:
    """Return one backup."""
    return ApiReply(_backup(call))


@handles("POST /v1/backups")
def create_backup_on_panel(call: ApiCall) -> ApiReply:
    """Start a backup: of the whole server, unless the body names domains (evidence: backups-create)."""
    chosen = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    domains = [{"id": row["id"], "domain": row["domain_name"]} for row in chosen or list_rows(call, "domain")]
    stamp = re.sub(r"\D", "", timestamp(call.now))
    name = f"{call.body.get('backup_name', _NAME)}_{stamp[:8]}_{stamp[8:]}"
    if call.store.exists("backup", name=name):
        raise duplicate_error("a backup of this name is being made")
    backup = _start(call.store, domains, name, {})
    return ApiReply({"backup_id": backup["id"], "status": backup["status"]}, message="Backup started")


@handles("DELETE /v1/backups/{filename}")
def delete_backup(call: ApiCall) -> ApiReply:
    """Delete the archive."""
    call.store.delete("backup", _backup(call)["backup_id"])
    return acknowledgement("Backup deleted")


@handles("POST /v1/backups/{filename}/restore")
def restore_backup_on_panel(call: ApiCall) -> ApiReply:
    """Restore everything in a completed backup (evidence: backups-restore)."""
    backup = _backup(call)
    if backup["status"] != "completed":
        raise panel_error("Restore Failed", "the backup is not complete yet")
    kept = call.store.rows("SELECT domain_id FROM backup_domains WHERE backup_id = ?", backup["backup_id"])
    for row in kept:
        domain = call.store.find("domain", row["domain_id"])
        if domain is not None:
            _restore_files(call.store, backup["backup_id"], domain)
    return acknowledgement("Restore started")


def _backup(call: ApiCall) -> Row:
    """Return the backup of a file name, whose form is checked (evidence: backups-by-filename)."""
    filename = call.path["filename"]
    if not _FILENAME.fullmatch(filename):
        raise panel_error("Invalid filename", "the name of a backup ends in .tar.gz")
    return get(call, "backup", filename, key="filename")
