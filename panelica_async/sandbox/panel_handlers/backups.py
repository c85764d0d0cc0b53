"""What brings files back: backups, archives and the trash.

Backups are known by file name. Their work takes time by the panel's clock, as in the handlers of the reference.

Guesses: the form of the timestamp in the names of backups; a backup is listed while it runs, as `pending` and then
`running`; what archives and the trash answer.
"""

import io
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from panelica_async.sandbox import filesystem as fs
from panelica_async.sandbox.handlers.backups import restore_files, start_backup
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed
from panelica_async.sandbox.messages import failed, not_found, taken
from panelica_async.sandbox.panel_handlers.files import account_of, entry_at, file_of, folder_at, free_path, inside
from panelica_async.sandbox.store import Row, timestamp

_FILENAME = re.compile(r"[^/\\]+\.tar\.gz")
_NAME = "backup"

_MOST_BYTES = 64 * 1024 * 1024
# RuntimeError is what an encrypted zip raises, and one with an unknown compression.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, tarfile.TarError, OSError, EOFError)
_TAR_MODES: Mapping[str, Any] = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz"}


@handles("GET /v1/backups")
def list_backups(call: ApiCall) -> ApiReply:
    """Return all backups in their present state (evidence: backups-list)."""
    return ApiReply(listed(call, "backup"))


@handles("GET /v1/backups/{filename}")
def get_backup(call: ApiCall) -> ApiReply:
    """Return one backup."""
    return ApiReply(_backup(call))


@handles("POST /v1/backups")
def create_backup(call: ApiCall) -> ApiReply:
    """Start a backup: of the whole server, unless the body names domains (evidence: backups-create)."""
    chosen = [get(call, "domain", domain_id) for domain_id in dict.fromkeys(call.body.get("domain_ids", ()))]
    domains = [{"id": row["id"], "domain": row["domain_name"]} for row in chosen or listed(call, "domain")]
    stamp = re.sub(r"\D", "", timestamp(call.now))
    name = f"{call.body.get('backup_name', _NAME)}_{stamp[:8]}_{stamp[8:]}"
    if call.store.value("SELECT 1 FROM backups WHERE name = ?", name) is not None:
        raise taken("a backup of this name is being made")
    backup = start_backup(call.store, domains, name, {})
    return ApiReply({"backup_id": backup["id"], "status": backup["status"]}, message="Backup started")


@handles("DELETE /v1/backups/{filename}")
def delete_backup(call: ApiCall) -> ApiReply:
    """Delete the archive."""
    call.store.delete("backup", _backup(call)["backup_id"])
    return accepted("Backup deleted")


@handles("POST /v1/backups/{filename}/restore")
def restore_backup(call: ApiCall) -> ApiReply:
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


@handles("POST /v1/files/compress")
def compress(call: ApiCall) -> ApiReply:
    """Pack files and folders into an archive."""
    account = account_of(call, call.body)
    sources = [entry_at(call, inside(account, path)) for path in call.body["source_paths"]]
    path = free_path(call, inside(account, call.body["archive_path"]))
    folder_at(call, account, posixpath.dirname(path))
    rows = {
        posixpath.relpath(str(row["path"]), str(source["parent"])): row
        for source in sources
        for row in fs.tree(call.store, source["path"])
    }
    content = _pack(call.body.get("format", "zip"), rows)
    if content is None:
        raise failed("Compress Failed", "format must be zip, tar or tar.gz")
    fs.write_file(call.store, path, content)
    return accepted("Archive created")


@handles("POST /v1/files/extract")
def extract(call: ApiCall) -> ApiReply:
    """Unpack an archive into a folder, which need not exist."""
    account = account_of(call, call.body)
    archive = entry_at(call, inside(account, call.body["archive_path"]))
    target = inside(account, call.body["destination_path"])
    for name, content in _unpack(archive, "Extract Failed"):
        path = inside(account, posixpath.join(target, name))
        fs.make_parents(call.store, path if content is None else posixpath.dirname(path))
        if content is not None:
            fs.write_file(call.store, path, content)
    if call.body.get("remove_archive"):
        call.store.delete("file", archive["path"], key="path")
    return accepted("Archive extracted")


@handles("GET /v1/files/archive/info")
def archive_info(call: ApiCall) -> ApiReply:
    """Return what an archive holds."""
    found = _unpack(file_of(call), "Archive Failed")
    shown = [{"name": name, "is_directory": data is None, "size": len(data or b"")} for name, data in found]
    return ApiReply({"files": shown, "total_files": len(shown)})


def _pack(form: str, files: Mapping[str, Row]) -> bytes | None:
    """Return an archive of files by name, folders before what is in them; None for an unknown form."""
    if form != "zip" and form not in _TAR_MODES:
        return None
    target = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, row in files.items():
                archive.writestr(f"{name}/" if row["type"] == fs.DIRECTORY else name, _as_bytes(row["content"]))
    else:
        with tarfile.open(fileobj=target, mode=_TAR_MODES[form]) as archive:
            for name, row in files.items():
                member, content = tarfile.TarInfo(name), _as_bytes(row["content"])
                member.type = tarfile.DIRTYPE if row["type"] == fs.DIRECTORY else tarfile.REGTYPE
                member.mode, member.size = int(row["permissions"], 8), len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _unpack(archive: Row, error: str) -> list[tuple[str, bytes | None]]:
    """Return names and contents of an archive; folders have no content.

    Raises:
        ApiError: 400, with this error: the file is no archive, or unpacks to too much.
    """
    data = _as_bytes(archive["content"])
    for read in (_read_zip, _read_tar):
        try:
            return list(read(data))
        except _UNREADABLE:
            continue
    raise failed(error, "path is not an archive")


def _read_zip(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check_size(info.file_size for info in archive.infolist())
        for info in archive.infolist():
            yield info.filename.rstrip("/"), None if info.is_dir() else archive.read(info)


def _read_tar(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        _check_size(member.size for member in archive.getmembers())
        for member in archive.getmembers():
            if member.isdir():
                yield member.name, None
            elif (file := archive.extractfile(member)) is not None:
                yield member.name, file.read()


def _check_size(sizes: Iterable[int]) -> None:
    if sum(sizes) > _MOST_BYTES:
        raise OSError("the archive unpacks to too much")


def _as_bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


@handles("GET /v1/files/trash")
def list_trash(call: ApiCall) -> ApiReply:
    """Return a page of the trash, the one list with pages (evidence: lists-unpaged)."""
    rows = fs.trash_of(call.store, account_of(call, call.query)["id"])
    page, limit = call.query.get("page", 1), call.query.get("limit", max(1, len(rows)))
    if page < 1 or limit < 1:
        raise failed("Invalid query", "page and limit begin at 1")
    shown = [_trashed(row) for row in rows[(page - 1) * limit : page * limit]]
    return ApiReply(shown, beside={"total": len(rows), "page": page, "limit": limit})


@handles("GET /v1/files/trash/stats")
def trash_stats(call: ApiCall) -> ApiReply:
    """Return number and size of what is in the trash."""
    rows = fs.trash_of(call.store, account_of(call, call.query)["id"])
    sizes = [one["size"] for row in rows for one in fs.tree(call.store, row["path"])]
    return ApiReply({"total_items": len(rows), "total_size": sum(sizes)})


@handles("POST /v1/files/trash/{id}/restore")
def restore_from_trash(call: ApiCall) -> ApiReply:
    """Put something from the trash back where it was."""
    account = account_of(call, call.body)
    row = _in_trash(call, account)
    folder_at(call, account, posixpath.dirname(row["original_path"]))
    fs.move_tree(call.store, row["path"], free_path(call, row["original_path"]))
    call.store.execute("DELETE FROM trash WHERE id = ?", row["id"])
    return accepted("Restored")


@handles("DELETE /v1/files/trash/{id}")
def delete_from_trash(call: ApiCall) -> ApiReply:
    """Delete something from the trash permanently."""
    call.store.delete("file", _in_trash(call, account_of(call, call.query))["path"], key="path")
    return accepted("Deleted")


@handles("POST /v1/files/trash/empty")
def empty_trash(call: ApiCall) -> ApiReply:
    """Delete everything from the trash permanently."""
    for row in fs.trash_of(call.store, account_of(call, call.body)["id"]):
        call.store.delete("file", row["path"], key="path")
    return accepted("Trash emptied")


def _in_trash(call: ApiCall, account: Row) -> Row:
    for row in fs.trash_of(call.store, account["id"]):
        if row["id"] == call.path["id"]:
            return row
    raise not_found("file", call.path["id"])


def _trashed(row: Row) -> Row:
    shown = {name: row[name] for name in ("id", "name", "original_path", "size")}
    return {**shown, "type": fs.entry(row)["type"], "deleted_at": timestamp(row["trashed_at"])}
