"""The file tree: homes of accounts, directories of domains, the owner of a path, and archives."""

import io
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from panelica_async.sandbox.messages import bad_request, forbidden, panel_error
from panelica_async.sandbox.store import Row, Store, new_id

DIRECTORY, FILE = "directory", "file"
DIRECTORY_PERMISSIONS = "0755"
FILE_PERMISSIONS = "0644"

_MAX_UNPACKED_BYTES = 64 * 1024 * 1024
# An encrypted zip raises RuntimeError, and so does one with an unknown compression.
_UNREADABLE_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, tarfile.TarError, OSError, EOFError)
_TAR_MODES: Mapping[str, Any] = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz"}
_KIB = 1024
_TRASH_FOLDER = "/.trash"
_COLUMNS = "path, parent, name, type, content, size, permissions, account_id, domain_id, modified_at"
_IN_TREE = "path = :path OR substr(path, 1, length(:path) + 1) = :path || '/'"


def home_of(username: str) -> str:
    """Return the home of an account (evidence: files-home)."""
    return f"/home/{username}"


def document_root_of(username: str, domain: str) -> str:
    """Return the directory that the web server serves, as in the reference's examples."""
    return f"{home_of(username)}/{domain}/public_html"


def make_home(store: Store, account_id: str, username: str) -> None:
    """Create the home of a new account."""
    make_directory(store, home_of(username), account_id=account_id, parent=None)


def make_site(store: Store, account_id: str, domain_id: str, document_root: str) -> None:
    """Create the directories of a new domain."""
    site = posixpath.dirname(document_root)
    home = posixpath.dirname(site)
    if not store.exists("file", path=home):
        # The accounts of a new panel, such as root, get a home with their first domain.
        make_home(store, account_id, posixpath.basename(home))
    make_directory(store, site, account_id=account_id, domain_id=domain_id, parent=home)
    make_directory(store, document_root, account_id=account_id, domain_id=domain_id, parent=site)


def make_directory(
    store: Store, path: str, *, account_id: str, parent: str | None, domain_id: str | None = None
) -> None:
    """Add a directory to the tree."""
    store.insert(
        "file",
        {
            "path": path,
            "parent": parent,
            "name": posixpath.basename(path),
            "type": DIRECTORY,
            "permissions": DIRECTORY_PERMISSIONS,
            "account_id": account_id,
            "domain_id": domain_id,
            "modified_at": store.now(),
        },
    )


def normalize_path(path: str) -> str:
    """Return a path without dots and double slashes.

    Raises:
        ApiError: 400, the path is not absolute.
    """
    if not path.startswith("/"):
        raise bad_request("path: must be absolute")
    return posixpath.normpath("/" + path.lstrip("/"))


def owner_of_path(store: Store, path: str) -> Row:
    """Return the account whose home holds a normalized path.

    Raises:
        ApiError: 403, the path is outside every home (evidence: files-home).
    """
    _, top, username, *_ = [*path.split("/"), "", ""]
    owner = store.find("owner", username, key="username") if top == "home" else None
    if owner is None:
        raise forbidden("the path is outside the homes of the accounts", message="Path outside home")
    return owner


def holds_document_root(store: Store, path: str) -> bool:
    """Return whether a path is the document root of a domain, or a directory above one."""
    sql = "SELECT 1 FROM domains WHERE substr(document_root || '/', 1, length(?)) = ?"
    return store.value(sql, f"{path}/", f"{path}/") is not None


def write_file(store: Store, path: str, content: str | bytes) -> bool:
    """Create a file in an existing directory, or replace its content; return False if the path is a directory."""
    size = len(content if isinstance(content, bytes) else content.encode())
    return bool(
        store.execute(
            f"INSERT INTO files ({_COLUMNS})"  # noqa: S608 - our own text
            " SELECT ?, path, ?, 'file', ?, ?, ?, account_id, domain_id, ? FROM files WHERE path = ?"
            " ON CONFLICT (path) DO UPDATE SET"
            " content = excluded.content, size = excluded.size, modified_at = excluded.modified_at WHERE type = 'file'",
            path,
            posixpath.basename(path),
            content,
            size,
            FILE_PERMISSIONS,
            store.now(),
            posixpath.dirname(path),
        )
    )


def make_parents(store: Store, path: str) -> None:
    """Create a directory with its missing parents; the home must exist.

    Raises:
        ApiError: 400, one of them is a file.
    """
    entry_type = store.value("SELECT type FROM files WHERE path = ?", path)
    if entry_type == FILE:
        raise panel_error("Invalid path", "path is not a folder")
    if entry_type is not None:
        return
    parent = posixpath.dirname(path)
    make_parents(store, parent)
    owner = store.rows("SELECT account_id, domain_id FROM files WHERE path = ?", parent)[0]
    make_directory(store, path, account_id=owner["account_id"], parent=parent, domain_id=owner["domain_id"])


def list_tree(store: Store, path: str) -> list[Row]:
    """Return a file, or a directory and everything in it; each directory comes before its contents."""
    return store.rows(f"SELECT * FROM files WHERE {_IN_TREE} ORDER BY path", path=path)  # noqa: S608 - our own text


def copy_tree(store: Store, path: str, target: str) -> None:
    """Copy a file or directory to a free path. The copy belongs to the owner of the directory it is in."""
    store.execute(
        f"INSERT INTO files ({_COLUMNS})"  # noqa: S608 - our own text
        " SELECT :target || substr(f.path, length(:path) + 1),"
        " CASE WHEN f.path = :path THEN :parent ELSE :target || substr(f.parent, length(:path) + 1) END,"
        " CASE WHEN f.path = :path THEN :name ELSE f.name END,"
        " f.type, f.content, f.size, f.permissions, p.account_id, p.domain_id, f.modified_at"
        " FROM files AS f JOIN files AS p ON p.path = :parent"
        " WHERE f.path = :path OR substr(f.path, 1, length(:path) + 1) = :path || '/' ORDER BY f.path",
        target=target,
        path=path,
        parent=posixpath.dirname(target),
        name=posixpath.basename(target),
    )


def move_tree(store: Store, path: str, target: str) -> None:
    """Move a file or directory to a free path. It then belongs to the owner of the directory it is in."""
    parent = posixpath.dirname(target)
    _move(store, path, target, parent)
    owner = store.rows("SELECT account_id, domain_id FROM files WHERE path = ?", parent)[0]
    sql = f"UPDATE files SET account_id = :account_id, domain_id = :domain_id WHERE {_IN_TREE}"  # noqa: S608 - our own text
    store.execute(sql, path=target, account_id=owner["account_id"], domain_id=owner["domain_id"])


def move_to_trash(store: Store, row: Row) -> None:
    """Move a file or directory out of the homes, into the trash of its account."""
    trash_id = new_id()
    path = posixpath.join(_TRASH_FOLDER, trash_id, row["name"])
    _move(store, row["path"], path, None)
    # Now it belongs to the account alone, not to a site, so no backup includes it.
    store.execute(f"UPDATE files SET domain_id = NULL WHERE {_IN_TREE}", path=path)  # noqa: S608 - our own text
    store.execute(
        "INSERT INTO trash (id, path, original_path, account_id, trashed_at) VALUES (?, ?, ?, ?, ?)",
        trash_id,
        path,
        row["path"],
        row["account_id"],
        store.now(),
    )


def trash_of(store: Store, account_id: str) -> list[Row]:
    """Return the files and directories in the trash of an account, oldest first."""
    sql = (
        "SELECT f.*, t.id, t.original_path, t.trashed_at FROM trash AS t JOIN files AS f ON f.path = t.path"
        " WHERE t.account_id = ? ORDER BY t.rowid"
    )
    return store.rows(sql, account_id)


def panel_entry(row: Row) -> Row:
    """Return a row of the table `files` as current panels show it (evidence: files-list)."""
    is_folder = row["type"] == DIRECTORY
    mode = int(row["permissions"], 8)
    return {
        "name": row["name"],
        "type": "folder" if is_folder else FILE,
        "path": row["path"],
        "size": row["size"],
        "size_formatted": f"{row['size']} B" if row["size"] < _KIB else f"{row['size'] / _KIB:.1f} KB",
        "extension": "" if is_folder else posixpath.splitext(row["name"])[1].removeprefix("."),
        "permissions": stat.filemode(mode | (stat.S_IFDIR if is_folder else stat.S_IFREG)),
        "permissions_octal": f"{mode:o}",
        "modified_str": row["modified_at"].replace("T", " ").removesuffix("Z"),
    }


def _move(store: Store, path: str, target: str, parent: str | None) -> None:
    # Rows refer to their parents by path, so the foreign keys hold again only once all paths have changed.
    store.execute("PRAGMA defer_foreign_keys = ON")
    store.execute(
        "UPDATE files SET path = :target || substr(path, length(:path) + 1),"
        " parent = CASE WHEN path = :path THEN :parent ELSE :target || substr(parent, length(:path) + 1) END,"
        " name = CASE WHEN path = :path THEN :name ELSE name END"
        " WHERE path = :path OR substr(path, 1, length(:path) + 1) = :path || '/'",
        target=target,
        path=path,
        parent=parent,
        name=posixpath.basename(target),
    )


# Archives


def pack(archive_format: str, files: Mapping[str, Row]) -> bytes | None:
    """Pack files, by their names in the archive, into an archive; return None for an unknown format.

    Folders must come before their contents.
    """
    if archive_format != "zip" and archive_format not in _TAR_MODES:
        return None
    target = io.BytesIO()
    if archive_format == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, row in files.items():
                archive.writestr(f"{name}/" if row["type"] == DIRECTORY else name, _as_bytes(row["content"]))
    else:
        with tarfile.open(fileobj=target, mode=_TAR_MODES[archive_format]) as archive:
            for name, row in files.items():
                member, content = tarfile.TarInfo(name), _as_bytes(row["content"])
                member.type = tarfile.DIRTYPE if row["type"] == DIRECTORY else tarfile.REGTYPE
                member.mode, member.size = int(row["permissions"], 8), len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def unpack(archive: Row, error: str) -> list[tuple[str, bytes | None]]:
    """Return the names and contents in an archive; folders have no content.

    Raises:
        ApiError: 400, with this error: the file is not an archive, or its contents are too large.
    """
    data = _as_bytes(archive["content"])
    for read in (_read_zip, _read_tar):
        try:
            return list(read(data))
        except _UNREADABLE_ARCHIVE_ERRORS:
            continue
    raise panel_error(error, "path is not an archive")


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
    if sum(sizes) > _MAX_UNPACKED_BYTES:
        raise OSError("the contents of the archive are too large")


def _as_bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()
