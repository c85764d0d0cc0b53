"""Files and directories that only their owner may read, for passwords, journals, keys and logs.

New files get mode 0600 and new directories 0700, whatever the umask. An existing one must belong to this user, must not
be a symbolic link, and others must not be able to write to it; if they can read it, its mode becomes 0600. On systems
without POSIX permissions, only the kind of the file is checked.
"""

import os
import stat
from pathlib import Path

from panelica_async.errors import ConfigurationError

_ACCESS_BY_OTHERS = 0o077
_WRITE_BY_OTHERS = 0o022


def ensure_private_file(path: Path) -> None:
    """Create an empty private file, or make sure that an existing one is private.

    An existing file is not opened: closing it would drop the locks that SQLite holds on it in this process. Call this
    before SQLite opens a database; `-wal` and `-shm` take their mode from it.

    Raises:
        ConfigurationError: Something at this path is not a private file of this user.
        OSError: The file cannot be created.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        status = path.lstat()
        _check_file(path, status)
        if _has_mode_bits(status, _ACCESS_BY_OTHERS):
            path.chmod(0o600)


def open_private(path: Path, flags: int) -> int:
    """Open a private file and return its descriptor; create the file if it does not exist.

    Args:
        path: The file.
        flags: How to open it, such as `os.O_WRONLY | os.O_APPEND`.

    Raises:
        ConfigurationError: Something at this path is not a private file of this user.
        OSError: The file cannot be opened.
    """
    if path.is_symlink():
        raise _access_error(path, "is a symbolic link", "Choose the path of the file itself.")
    # O_NONBLOCK: opening a pipe would wait for its other end.
    safe_flags = flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, safe_flags, 0o600)
    try:
        status = os.fstat(descriptor)
        _check_file(path, status)
        if _has_mode_bits(status, _ACCESS_BY_OTHERS):
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_same_file(path: Path, opened: os.stat_result) -> bool:
    """Return whether a path still names the file that was opened there: it was neither replaced nor removed."""
    try:
        return os.path.samestat(path.stat(), opened)
    except OSError:
        return False


def ensure_private_directory(path: Path) -> None:
    """Create a private directory with its parents, or make sure that others cannot write to an existing one.

    Raises:
        ConfigurationError: Something at this path is not a directory of this user, or others can write to it.
        OSError: The directory cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise _access_error(path, "is a symbolic link", "Choose the path of the directory itself.") from None
        if not stat.S_ISDIR(status.st_mode):
            raise _access_error(path, "is not a directory", "Choose the path of a directory.") from None
        _check_owner(path, status, writers_hint=f"Run chmod 700 {path}, or choose another directory.")


def _check_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _access_error(path, "is a symbolic link", "Choose the path of the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise _access_error(path, "is not a regular file", "Choose the path of a file.")
    _check_owner(path, status, writers_hint=f"Check what is in it and run chmod 600 {path}, or choose another file.")


def _check_owner(path: Path, status: os.stat_result, *, writers_hint: str) -> None:
    if os.name == "posix" and status.st_uid != os.geteuid():
        raise _access_error(path, "belongs to another user", "Choose a path of your own.")
    if _has_mode_bits(status, _WRITE_BY_OTHERS):
        raise _access_error(path, f"can be written by others (mode {stat.S_IMODE(status.st_mode):o})", writers_hint)


def _has_mode_bits(status: os.stat_result, bits: int) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(status.st_mode) & bits)


def _access_error(path: Path, problem: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {problem}; it must be private to this user", hint=hint)
