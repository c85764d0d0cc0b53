"""Backups, by file name. The work takes time by the panel's clock, as in the reference's handlers.

Guesses: the form of the timestamp in names; a backup is listed while it runs, as `pending` and then `running`.
"""

import re

from panelica_async.sandbox.handlers.backups import archive, restore_files
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import failed, taken
from panelica_async.sandbox.panel_handlers.base import get, handles, listed
from panelica_async.sandbox.store import Row, timestamp

_FILENAME = re.compile(r"[^/\\]+\.tar\.gz")
_NAME = "backup"


@handles("GET /v1/backups")
def list_backups(call: ApiCall) -> ApiReply:
    """Return all backups in their present state (evidence: backups-list)."""
    return listed(call, "backup")


@handles("GET /v1/backups/{filename}")
def get_backup(call: ApiCall) -> ApiReply:
    """Return one backup."""
    return ApiReply(_backup(call))


@handles("POST /v1/backups")
def create(call: ApiCall) -> ApiReply:
    """Start a backup: of the whole server, unless the body names domains (evidence: backups-create)."""
    chosen = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    domains = [{"id": row["id"], "domain": row["domain_name"]} for row in chosen or listed(call, "domain").data]
    stamp = re.sub(r"\D", "", timestamp(call.now))
    name = f"{call.body.get('backup_name', _NAME)}_{stamp[:8]}_{stamp[8:]}"
    if call.store.value("SELECT 1 FROM backups WHERE name = ?", name) is not None:
        raise taken("a backup of this name is being made")
    backup = archive(call.store, domains, name, {})
    return ApiReply({"backup_id": backup["id"], "status": backup["status"]}, message="Backup started")


@handles("DELETE /v1/backups/{filename}")
def delete(call: ApiCall) -> ApiReply:
    """Delete the archive."""
    call.store.delete("backup", _backup(call)["backup_id"])
    return accepted("Backup deleted")


@handles("POST /v1/backups/{filename}/restore")
def restore(call: ApiCall) -> ApiReply:
    """Restore everything in a completed backup (evidence: backups-restore)."""
    backup = _backup(call)
    if backup["status"] != "completed":
        raise failed("Restore Failed", "the backup is not complete yet")
    kept = call.store.rows("SELECT domain_id FROM backup_domains WHERE backup_id = ?", backup["backup_id"])
    for row in kept:
        domain = call.store.find("domain", row["domain_id"])
        if domain is not None:
            restore_files(call.store, backup["backup_id"], domain)
    return accepted("Restore started")


def _backup(call: ApiCall) -> Row:
    """Return the backup of a file name, whose form is checked (evidence: backups-by-filename)."""
    filename = call.path["filename"]
    if not _FILENAME.fullmatch(filename):
        raise failed("Invalid filename", "the name of a backup ends in .tar.gz")
    return get(call, "backup", filename, key="filename")
