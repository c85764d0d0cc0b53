"""Private files and directories: how they are created, and which are accepted or refused."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from panelica_async.core.private_files import ensure_private_directory, ensure_private_file, open_private
from panelica_async.errors import ConfigurationError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


def open_and_close(path: Path) -> None:
    os.close(open_private(path, os.O_WRONLY | os.O_APPEND))


FILE_MAKERS = [ensure_private_file, open_and_close]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("make", FILE_MAKERS)
def test_new_file_is_private_whatever_the_umask(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "new"
    make(path)
    assert mode_of(path) == 0o600


@pytest.mark.usefixtures("umask")
def test_new_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "new"
    ensure_private_directory(path)
    ensure_private_directory(path)
    assert mode_of(path) == 0o700


@pytest.mark.parametrize("make", FILE_MAKERS)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o604])
def test_file_that_others_read_is_closed_to_them(tmp_path: Path, make: Callable[[Path], None], mode: int) -> None:
    path = tmp_path / "old"
    path.write_text("kept")
    path.chmod(mode)
    make(path)
    assert (mode_of(path), path.read_text()) == (0o600, "kept")


@pytest.mark.parametrize("make", FILE_MAKERS)
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_file_that_others_write_is_refused(tmp_path: Path, make: Callable[[Path], None], mode: int) -> None:
    path = tmp_path / "old"
    path.touch()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"can be written by others \(mode {mode:o}\)"):
        make(path)
    assert mode_of(path) == mode


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_directory_that_others_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        ensure_private_directory(path)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
def test_directory_that_others_only_read_is_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.mkdir()
    path.chmod(mode)
    ensure_private_directory(path)
    assert mode_of(path) == mode


@pytest.mark.parametrize("make", [*FILE_MAKERS, ensure_private_directory])
@pytest.mark.parametrize("is_there", [True, False])
def test_symbolic_link_is_refused_and_not_followed(
    tmp_path: Path, make: Callable[[Path], None], is_there: bool
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if is_there:
        target.mkdir() if make is ensure_private_directory else target.touch(mode=0o600)
    link.symlink_to(target)
    with pytest.raises(ConfigurationError, match="link is a symbolic link"):
        make(link)
    assert target.exists() is is_there


@pytest.mark.parametrize("make", FILE_MAKERS)
@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_irregular_file_is_refused(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    path = tmp_path / "odd"
    os.mkfifo(path, 0o600) if kind == "pipe" else path.mkdir(mode=0o700)
    with pytest.raises((ConfigurationError, OSError)):
        make(path)


def test_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    with pytest.raises(ConfigurationError, match="is not a directory"):
        ensure_private_directory(path)


@pytest.mark.parametrize("make", [*FILE_MAKERS, ensure_private_directory])
def test_file_of_another_user_is_refused(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs"
    path.mkdir(mode=0o700) if make is ensure_private_directory else path.touch(mode=0o600)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        make(path)


def test_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    ensure_private_file(path)
    ours, theirs = (sqlite3.connect(path, isolation_level=None, timeout=0) for _ in range(2))
    ours.execute("BEGIN EXCLUSIVE")
    ensure_private_file(path)
    pid = os.fork()
    if pid == 0:
        try:
            sqlite3.connect(path, isolation_level=None, timeout=0).execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    ours.close()
    theirs.close()
