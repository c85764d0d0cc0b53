"""Backups. They are pending for 2 s, then run for 10 s and 1 s a domain, all by the panel's clock.

Guesses: these times; a site without its files weighs 50 MB; an archive keeps the files of its domains, and restoring
brings back those of domains that still exist (the other parts are not restored).
"""

from collections.abc import Iterable

from panelica_async.sandbox import checks
from panelica_async.sandbox.calls import Call, Reply, accepted, handles
from panelica_async.sandbox.errors import bad_request
from panelica_async.sandbox.pages import rows
from panelica_async.sandbox.store import Row, Store, new_id, timestamp

_TYPES = ("full", "incremental")
_PENDING_SECONDS = 2
_RUNNING_SECONDS = 10
_SITE_BYTES = 50 * 1024 * 1024
_COMPRESSION_LEVEL = 6
_CONFLICT_ACTIONS = {"overwrite": "UPDATE SET content = excluded.content, size = excluded.size", "skip": "NOTHING"}


@handles("backups.list")
def list_backups(call: Call) -> Reply:
    return Reply(rows(call, "backup"))


@handles("backups.create")
def create(call: Call) -> Reply:
    checks.one_of(call.body.get("type", _TYPES[0]), _TYPES, "type")
    # "No or empty domain_ids backs up the whole server" (panel-facts D.10).
    domains = [call.store.get("domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    return Reply(_archive(call, domains or call.store.rows("SELECT * FROM temp.domain")))


@handles("backups.restore")
def restore(call: Call) -> Reply:
    backup = call.store.get("backup", call.path["id"])
    if backup["status"] != "completed":
        raise bad_request(f"the backup is {backup['status']}, not completed", message="Backup not ready")
    archived = call.store.rows("SELECT domain_id AS id, domain FROM backup_domains WHERE backup_id = ?", backup["id"])
    chosen = set(call.body.get("domain_ids", [domain["id"] for domain in archived]))
    if not chosen <= {domain["id"] for domain in archived}:
        raise bad_request("domain_ids: a domain is not in the backup")
    action = checks.one_of(call.body.get("conflict_action", "overwrite"), tuple(_CONFLICT_ACTIONS), "conflict_action")
    if call.body.get("create_pre_restore_backup"):
        present = [domain for domain_id in chosen if (domain := call.store.find("domain", domain_id))]
        _archive(call, present, prefix="pre-restore")
    if call.body.get("include_web", True):
        _restore_files(call.store, backup["id"], chosen, action)
    return accepted("Restore started")


@handles("backups.delete")
def delete(call: Call) -> Reply:
    call.store.delete("backup", call.path["id"])
    return Reply()


def _archive(call: Call, domains: list[Row], *, prefix: str = "backup") -> Row:
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


def _restore_files(store: Store, backup_id: str, domain_ids: Iterable[str], action: str) -> None:
    """Put archived files back; a directory sorts before what is in it."""
    for domain_id in domain_ids:
        store.execute(
            "INSERT INTO files (path, parent, name, type, content, size, permissions, account_id, domain_id, modified_at)"  # noqa: S608 - one of two constants
            " SELECT b.path, b.parent, b.name, b.type, b.content, b.size, b.permissions, d.user_id, d.id, b.modified_at"
            " FROM backup_files AS b JOIN domains AS d ON d.id = b.domain_id"
            " WHERE b.backup_id = ? AND b.domain_id = ? ORDER BY b.path"
            f" ON CONFLICT (path) DO {_CONFLICT_ACTIONS[action]}",
            backup_id,
            domain_id,
        )
