"""Archives of files: zip, tar and tar.gz, packed and unpacked in memory."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from panelica_async.sandbox.filesystem import DIRECTORY
from panelica_async.sandbox.store import Row

_MOST_BYTES = 64 * 1024 * 1024
_TAR_MODES: Mapping[str, Any] = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz"}


def pack(form: str, files: Mapping[str, Row]) -> bytes | None:
    """Return an archive of rows by name, or None for an unknown form.

    Args:
        form: `zip`, `tar` or `tar.gz`.
        files: Rows of the table `files`, folders before what is in them.
    """
    if form != "zip" and form not in _TAR_MODES:
        return None
    target = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, row in files.items():
                archive.writestr(f"{name}/" if row["type"] == DIRECTORY else name, _bytes(row["content"]))
    else:
        with tarfile.open(fileobj=target, mode=_TAR_MODES[form]) as archive:
            for name, row in files.items():
                member, content = tarfile.TarInfo(name), _bytes(row["content"])
                member.type = tarfile.DIRTYPE if row["type"] == DIRECTORY else tarfile.REGTYPE
                member.mode, member.size = int(row["permissions"], 8), len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def unpack(content: str | bytes) -> list[tuple[str, bytes | None]] | None:
    """Return names and contents of an archive, None for folders; or None if it is none, or too much."""
    data = _bytes(content)
    for read in (_read_zip, _read_tar):
        try:
            return list(read(data))
        except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError):
            continue
    return None


def members(content: str | bytes) -> list[dict[str, Any]] | None:
    """Return what an archive holds, or None if it is no archive."""
    found = unpack(content)
    if found is None:
        return None
    return [{"name": name, "is_directory": data is None, "size": len(data or b"")} for name, data in found]


def _read_zip(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check(info.file_size for info in archive.infolist())
        for info in archive.infolist():
            yield info.filename.rstrip("/"), None if info.is_dir() else archive.read(info)


def _read_tar(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        _check(member.size for member in archive.getmembers())
        for member in archive.getmembers():
            if member.isdir():
                yield member.name, None
            elif (file := archive.extractfile(member)) is not None:
                yield member.name, file.read()


def _check(sizes: Iterable[int]) -> None:
    if sum(sizes) > _MOST_BYTES:
        raise OSError("the archive unpacks to too much")


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()
