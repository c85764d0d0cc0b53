import csv
import errno
import os
import stat
import string
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import CredentialsFile, Manifest, Step, credentials, generate_password
from panelica_async.provision.objects import steps_of

STEPS: tuple[Step, ...] = steps_of(
    Manifest.from_data([{"domain": "alder.example", "owner": "alder", "mailboxes": "info, sales"}])
)[0][1]
INFO, SALES = STEPS[2:4]


def test_generated_passwords_are_long_and_all_different() -> None:
    passwords = [generate_password() for _ in range(500)]

    assert len(set(passwords)) == 500
    for password in passwords:
        assert len(password) == 20
        assert password[0] in string.ascii_letters
        assert set(password) & set(string.ascii_lowercase)
        assert set(password) & set(string.ascii_uppercase)
        assert set(password) & set(string.digits)
        assert set(password) & set("-_.!")
        assert not set(password) & set("0O1lI|,;:+\"'\\ $@/=")


async def test_password_is_on_the_disk_after_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path) as credentials:
        password = credentials.password_for(INFO)
        await credentials.commit()
        assert path.read_text() == f"kind,site,name,password\nmailbox,alder.example,info@alder.example,{password}\n"
        assert credentials.password_for(INFO) == password
        assert credentials.password_for(SALES) != password
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_and_the_file_name_are_synced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "passwords.csv"
    forced: list[tuple[bool, str]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        forced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with CredentialsFile(path) as credentials:
        password = credentials.password_for(INFO)
        credentials.flush()
    assert any(is_directory for is_directory, _ in forced) is (os.name == "posix")
    assert forced[-1] == (False, f"kind,site,name,password\nmailbox,alder.example,info@alder.example,{password}\n")


def test_object_keeps_its_password(tmp_path: Path) -> None:
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path) as credentials:
        password = credentials.password_for(INFO)
    with CredentialsFile(path) as credentials:
        assert credentials.password_for(INFO) == password
        credentials.take_back(INFO)
        credentials.take_back(SALES)
        # What an earlier run generated may be the password that works.
        assert credentials.password_for(INFO) == password
        sales = credentials.password_for(SALES)
        credentials.take_back(SALES)
        credentials.take_back(SALES)
        other = credentials.password_for(SALES)
        assert other != sales
    assert [row.split(",")[2:] for row in path.read_text().splitlines()[1:]] == [
        ["info@alder.example", password],
        ["sales@alder.example", sales],
        ["sales@alder.example", ""],
        ["sales@alder.example", other],
    ]
    with CredentialsFile(path) as credentials:
        assert (credentials.password_for(INFO), credentials.password_for(SALES)) == (password, other)


@pytest.mark.parametrize("length", [1, 2, 20, 21, 40, 63])
def test_truncated_row_is_replaced(tmp_path: Path, length: int) -> None:
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path) as credentials:
        info, sales = credentials.password_for(INFO), credentials.password_for(SALES)
    path.write_bytes(path.read_bytes()[:-length])

    with CredentialsFile(path) as credentials:
        assert credentials.password_for(INFO) == info
        other = credentials.password_for(SALES)
    assert other != sales
    assert [row.split(",")[3] for row in path.read_text().splitlines()] == ["password", info, other]


def test_truncated_header_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "passwords.csv"
    path.write_text("kind,site,na")
    path.chmod(0o600)
    with CredentialsFile(path):
        assert path.read_text() == "kind,site,name,password\n"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "passwords.csv"
    path.touch()
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=rf"other users may read or write it \(mode {mode:o}\)"):
        CredentialsFile(path)
    assert path.read_bytes() == b""


def test_file_is_private_under_a_lax_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        CredentialsFile(tmp_path / "passwords.csv").close()
    finally:
        os.umask(before)
    assert (tmp_path / "passwords.csv").stat().st_mode & 0o777 == 0o600


def test_file_of_another_kind_is_left_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("user,word\nme,secret")
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match=r"notes\.csv is not a file of .*Hint: If a spreadsheet"):
        CredentialsFile(path)
    assert path.read_text() == "user,word\nme,secret"


@pytest.mark.parametrize("mode", [0o600, 0o644, None])
def test_open_when_path_is_a_link_refuses_it(tmp_path: Path, mode: int | None) -> None:
    target = tmp_path / "elsewhere.csv"
    if mode is not None:
        target.touch()
        target.chmod(mode)
    (tmp_path / "passwords.csv").symlink_to(target)

    with pytest.raises(ConfigurationError, match=r"passwords\.csv is a symbolic link") as caught:
        CredentialsFile(tmp_path / "passwords.csv")
    assert caught.value.hint is not None
    assert "chmod" not in caught.value.hint
    if mode is None:
        assert not target.exists()
    else:
        assert target.stat().st_mode & 0o777 == mode


def test_broken_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "passwords.csv"
    path.write_text("kind,site,name,password\nmailbox,alder.example\n")
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="line 2: expected kind,site,name,password"):
        CredentialsFile(path)


def test_repr_shows_no_password(tmp_path: Path) -> None:
    with CredentialsFile(tmp_path / "passwords.csv") as credentials:
        password = credentials.password_for(INFO)
        assert password not in repr(credentials)
        assert repr(credentials) == f"<CredentialsFile {tmp_path / 'passwords.csv'} passwords=1>"


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(f"{path}.old")], ids=["removed", "moved"])
def test_flush_raises_when_the_file_was_removed(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "passwords.csv"
    credentials = CredentialsFile(path)
    change(path)
    credentials.password_for(INFO)
    with pytest.raises(FileNotFoundError, match="moved, removed or replaced during the run"):
        credentials.flush()
    credentials.close()
    assert not path.exists()


@pytest.mark.parametrize("written", [0, 1, 25])
def test_short_write_leaves_the_file_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """A full disk takes a part of a row before it says so."""
    path = tmp_path / "passwords.csv"
    with CredentialsFile(path) as credentials:
        info = credentials.password_for(INFO)
        credentials.flush()
        before = path.read_bytes()
        file = credentials._file

        class Full:
            def __init__(self) -> None:
                self.left = written

            def write(self, row: memoryview) -> int:
                if not self.left:
                    raise OSError(errno.ENOSPC, "No space left on device")
                taken = file.write(row[: self.left])
                self.left -= taken
                return taken

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        monkeypatch.setattr(credentials, "_file", Full())
        sales = credentials.password_for(SALES)
        with pytest.raises(OSError, match="No space left"):
            credentials.flush()
        assert path.read_bytes() == before
        monkeypatch.undo()
        assert credentials.password_for(SALES) == sales
    with CredentialsFile(path) as credentials:
        assert (credentials.password_for(INFO), credentials.password_for(SALES)) == (info, sales)


def test_partial_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CredentialsFile(tmp_path / "passwords.csv") as credentials:
        file = credentials._file

        class Slow:
            def write(self, row: memoryview) -> int:
                return file.write(row[:3])

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        monkeypatch.setattr(credentials, "_file", Slow())
        password = credentials.password_for(INFO)
        credentials.flush()
        assert (tmp_path / "passwords.csv").read_text().endswith(f",{password}\n")
        monkeypatch.undo()


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_name_that_would_be_a_formula_is_escaped(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "passwords.csv"
    mailbox = attrs.evolve(INFO.mailbox, local_part=f"{sign}1+2")
    step = attrs.evolve(INFO, mailbox=mailbox)
    with CredentialsFile(path) as credentials:
        password = credentials.password_for(step)
    cells = [cell for row in csv.reader(path.read_text().splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    with CredentialsFile(path) as credentials:
        assert step.id in credentials
        assert credentials.password_for(step) == password


def test_row_added_while_the_file_is_opened_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "passwords.csv"
    parse = credentials._parse
    CredentialsFile(path).close()

    def parse_slowly(content: bytes, path: Path) -> dict[str, str]:
        with path.open("a") as other:
            other.write("account,alder.example,alder,correct-horse\n")
        return parse(content, path)

    monkeypatch.setattr(credentials, "_parse", parse_slowly)
    CredentialsFile(path).close()
    monkeypatch.undo()
    assert CredentialsFile.names_in(path) == {"account:alder"}
