"""Backups of domains.

A backup is pending for 2 s, then runs for 10 s plus 1 s for each domain, by the panel's clock. Current panels identify
a backup by its file name (evidence: backups-list).

Guesses: these times; a site takes 50 MB besides its files; an archive holds the files of its domains; a restore brings
back only the files of domains that still exist. On panels: the form of the timestamp in the names of backups; a backup
is listed while it runs, as `pending` and then `running`.
"""

import re
from collections.abc import Iterable, Mapping
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
_DEFAULT_COMPRESSION_LEVEL = 6
_CONFLICT_ACTIONS = ("overwrite",)
_FILENAME = re.compile(r"[^/\\]+\.tar\.gz")
_DEFAULT_NAME = "backup"

handle_list("backup", "backups.list", "GET /v1/backups")
handle_delete("backup", "backups.delete", message="Backup deleted")


@handles("backups.create")
def create_backup(call: ApiCall) -> ApiReply:
    """Start a backup of the domains in the body, or of all domains."""
    one_of(call.body.get("type", _TYPES[0]), _TYPES, "type")
    # Without domains, or with an empty list, the whole server is backed up (evidence: backups-create).
    domains = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    name = call.body.get("name", f"backup-{timestamp(call.now)}")
    return ApiReply(_start_backup(call.store, domains or call.store.rows("SELECT * FROM domain"), name, call.body))


@handles("backups.restore")
def restore_backup(call: ApiCall) -> ApiReply:
    """Restore a completed backup."""
    backup = get(call, "backup")
    if backup["status"] != "completed":
        raise bad_request(f"the backup is {backup['status']}, not completed", message="Backup not ready")
    archived_ids = _archived_domain_ids(call.store, backup["id"])
    requested_ids = call.body.get("domain_ids", archived_ids)
    if not set(requested_ids) <= set(archived_ids):
        raise bad_request("domain_ids: a domain is not in the backup")
    one_of(call.body.get("conflict_action", _CONFLICT_ACTIONS[0]), _CONFLICT_ACTIONS, "conflict_action")
    domains = _existing_domains(call.store, dict.fromkeys(requested_ids))
    if call.body.get("create_pre_restore_backup"):
        _start_backup(call.store, domains, f"pre-restore-{timestamp(call.now)}", call.body)
    if call.body.get("include_web", True):
        for domain in domains:
            _restore_files(call.store, backup["id"], domain)
    return acknowledgement("Restore started")


def _archived_domain_ids(store: Store, backup_id: str) -> list[str]:
    return [
        row["domain_id"] for row in store.rows("SELECT domain_id FROM backup_domains WHERE backup_id = ?", backup_id)
    ]


def _existing_domains(store: Store, domain_ids: Iterable[str]) -> list[Row]:
    return [domain for domain_id in domain_ids if (domain := store.find("domain", domain_id))]


def _start_backup(store: Store, domains: list[Row], name: str, options: Mapping[str, Any]) -> Row:
    """Start a backup of domains, with the options of a body in the reference, and return it."""
    now = store.now()
    backup_id = new_id()
    store.insert(
        "backup",
        {
            "id": backup_id,
            "name": name,
            "type": options.get("type", _TYPES[0]),
            "encrypted": options.get("encryption", "none") != "none",
            "compression_level": options.get("compression_level", _DEFAULT_COMPRESSION_LEVEL),
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
    """Restore the files of a site, if the archive has them."""
    sql = "SELECT count(*) FROM backup_files WHERE backup_id = ? AND domain_id = ?"
    if not store.value(sql, backup_id, domain["id"]):
        return
    store.execute("DELETE FROM files WHERE domain_id = ?", domain["id"])
    # A file refers to its directory, which sorts before it.
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
    return ApiReply(_get_backup(call))


@handles("POST /v1/backups")
def create_backup_on_panel(call: ApiCall) -> ApiReply:
    """Start a backup of the domains in the body, or of the whole server (evidence: backups-create)."""
    requested = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    domains = [{"id": row["id"], "domain": row["domain_name"]} for row in requested or list_rows(call, "domain")]
    digits = re.sub(r"\D", "", timestamp(call.now))
    name = f"{call.body.get('backup_name', _DEFAULT_NAME)}_{digits[:8]}_{digits[8:]}"
    if call.store.exists("backup", name=name):
        raise duplicate_error("a backup with this name already exists")
    backup = _start_backup(call.store, domains, name, {})
    return ApiReply({"backup_id": backup["id"], "status": backup["status"]}, message="Backup started")


@handles("DELETE /v1/backups/{filename}")
def delete_backup(call: ApiCall) -> ApiReply:
    """Delete the archive."""
    call.store.delete("backup", _get_backup(call)["backup_id"])
    return acknowledgement("Backup deleted")


@handles("POST /v1/backups/{filename}/restore")
def restore_backup_on_panel(call: ApiCall) -> ApiReply:
    """Restore everything in a completed backup (evidence: backups-restore)."""
    backup = _get_backup(call)
    if backup["status"] != "completed":
        raise panel_error("Restore Failed", "the backup is not complete yet")
    domain_ids = _archived_domain_ids(call.store, backup["backup_id"])
    for domain in _existing_domains(call.store, domain_ids):
        _restore_files(call.store, backup["backup_id"], domain)
    return acknowledgement("Restore started")


def _get_backup(call: ApiCall) -> Row:
    """Return the backup with the file name in the path, whose form is checked (evidence: backups-by-filename)."""
    filename = call.path["filename"]
    if not _FILENAME.fullmatch(filename):
        raise panel_error("Invalid filename", "the name of a backup ends in .tar.gz")
    return get(call, "backup", filename, key="filename")
