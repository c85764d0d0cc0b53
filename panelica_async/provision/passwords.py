"""Generated passwords, and the file they are kept in."""

import csv
import io
import os
import secrets
import stat
import string
from pathlib import Path
from types import TracebackType
from typing import Self

from panelica_async.errors import ConfigurationError
from panelica_async.provision.steps import Step

PASSWORD_LENGTH = 20
"""Characters of a generated password: about 118 bits."""

# Without signs that are read as another one, need quoting in shells, URLs or CSV, or begin a formula.
_LETTERS = "".join(sorted(set(string.ascii_letters) - set("IOl")))
_DIGITS = "23456789"
_SIGNS = "-_.!"
_ALPHABET = _LETTERS + _DIGITS + _SIGNS

_COLUMNS = ("kind", "site", "name", "password")


def generate_password() -> str:
    """Return a random password of 20 characters that begins with a letter and holds both cases, a digit and a sign."""
    while True:
        password = "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))
        if (
            password[0] in _LETTERS
            and any(char in string.ascii_lowercase for char in password)
            and any(char in string.ascii_uppercase for char in password)
            and any(char in _DIGITS for char in password)
            and any(char in _SIGNS for char in password)
        ):
            return password


class CredentialsFile:
    """A CSV file of generated passwords that only its owner can read.

    A password is on the disk before the call that uses it is sent, and the same object gets the same password when a
    run is resumed: a password is never lost. A row with an empty password takes back the one above it: the object was
    there before and keeps the password it has.

    Args:
        path: The file; made with mode 0600 when it does not exist.

    Raises:
        ConfigurationError: If others than the owner may read or write the file, or it is not one of passwords.

    Attributes:
        path: The file, as an absolute path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).absolute()
        self._file = _open_private(self.path)
        try:
            self._passwords = self._load()
        except BaseException:
            self._file.close()
            raise

    def __repr__(self) -> str:
        return f"<CredentialsFile {self.path} passwords={len(self._passwords)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called again."""
        self._file.close()

    def password_for(self, step: Step) -> str:
        """Return the password of a step's object: the one noted before, or a new one that is on the disk on return."""
        password = self._passwords.get(step.id)
        if password is None:
            password = generate_password()
            self._append(step, password)
        return password

    def take_back(self, step: Step) -> None:
        """Note that the password of a step's object was not used."""
        if step.id in self._passwords:
            self._append(step, "")

    def _append(self, step: Step, password: str) -> None:
        self._write(step.kind, step.site, step.key, password)
        if password:
            self._passwords[step.id] = password
        else:
            del self._passwords[step.id]

    def _write(self, *cells: str) -> None:
        self._file.write(_row(*cells))
        os.fsync(self._file.fileno())

    def _load(self) -> dict[str, str]:
        content = self._file.read()
        header = _row(*_COLUMNS)
        if header.startswith(content):  # New, or left when its first line was being written.
            self._file.truncate(0)
            self._write(*_COLUMNS)
            return {}
        if not content.startswith(header):
            raise ConfigurationError(f"{self.path} is no file of generated passwords; it was left as it is")
        whole = content[: content.rfind(b"\n") + 1]
        # A row without its end was never used: nothing is sent before the whole row is on the disk.
        self._file.truncate(len(whole))
        passwords: dict[str, str] = {}
        for number, row in enumerate(csv.reader(whole.decode().splitlines()), start=1):
            if len(row) != len(_COLUMNS):
                raise ConfigurationError(f"{self.path}, line {number}: expected {','.join(_COLUMNS)}")
            kind, _, name, password = row
            passwords[f"{kind}:{name}"] = password
        return {step_id: password for step_id, password in passwords.items() if password}


def _row(*cells: str) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


def _open_private(path: Path) -> io.FileIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        file = io.FileIO(path, "r+", opener=lambda name, _: os.open(name, flags, 0o600))
    except OSError as error:
        raise ConfigurationError(f"cannot keep passwords in {path}: {error.strerror}") from error
    status = os.fstat(file.fileno())
    if os.name == "posix" and (stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid()):
        file.close()
        raise ConfigurationError(
            f"{path} holds passwords, and others than you may read or write it (mode {stat.S_IMODE(status.st_mode):o})",
            hint=f"chmod 600 {path}, or give another file.",
        )
    return file
