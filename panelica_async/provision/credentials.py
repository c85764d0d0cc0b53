"""Generated passwords, and the file they are kept in."""

import csv
import errno
import io
import os
import secrets
import stat
import string
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from panelica_async.core.private_files import is_same_file, open_private
from panelica_async.errors import ConfigurationError
from panelica_async.provision.background import GroupCommit
from panelica_async.provision.objects import Step

PASSWORD_LENGTH = 20
"""Characters of a generated password: about 118 bits."""

# Without signs that are read as another one, need quoting in shells, URLs or CSV, or begin a formula.
_LETTERS = "".join(sorted(set(string.ascii_letters) - set("IOl")))
_DIGITS = "23456789"
_SIGNS = "-_.!"
_ALPHABET = _LETTERS + _DIGITS + _SIGNS

_COLUMNS = ("kind", "site", "name", "password")
_BEGINNINGS_OF_FORMULAS = ("=", "+", "-", "@")


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

    A run sends no call before the password it uses is on the disk. A resumed run uses the same password for the same
    object. A row with an empty password withdraws the one above it: the object existed before and keeps its password. A
    name that a spreadsheet would take for a formula starts with a `'`.

    Rows are on the disk when `commit` returns; those of tasks that run at the same time are written together.

    Args:
        path: The file; made with mode 0600 when it does not exist.

    Raises:
        ConfigurationError: It is not a private file of this user, or not one of passwords.

    Attributes:
        path: The file, as an absolute path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).absolute()
        self._generated: set[str] = set()
        """Steps with a password that may not be in use."""
        self._file = _open(self.path)
        try:
            self._passwords = self._load()
        except BaseException:
            self._file.close()
            raise
        self._rows = GroupCommit(self._write)

    def __repr__(self) -> str:
        return f"<CredentialsFile {self.path} passwords={len(self._passwords)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, step_id: str) -> bool:
        """Return whether the file has a password for the object of a step."""
        return step_id in self._passwords

    @staticmethod
    def names_in(path: Path) -> frozenset[str]:
        """Return the ids of the steps that a file has a password for. It is only read, and may be in use or missing.

        Raises:
            ConfigurationError: It cannot be read, or is not a file of passwords.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise ConfigurationError(f"cannot read the passwords in {path}: {error.strerror}") from error
        return frozenset(_parse(content, path))

    def close(self) -> None:
        """Write what is not on the disk yet, and close the file. May be called again.

        Raises:
            OSError: A row could not be written. The file is closed all the same.
        """
        try:
            if not self._file.closed:
                self._rows.close()
        finally:
            self._file.close()

    async def commit(self) -> None:
        """Wait until all rows so far are on the disk. The event loop is not blocked.

        Raises:
            OSError: They could not be written. The file is as it was before.
        """
        await self._rows.commit()

    def flush(self) -> None:
        """Write all rows so far, here and now.

        Raises:
            OSError: They could not be written. The file is as it was before.
        """
        self._rows.flush()

    def password_for(self, step: Step) -> str:
        """Return the password of a step's object: the one noted before, or a new one. Use it after a `commit`."""
        password = self._passwords.get(step.id)
        if password is None:
            password = generate_password()
            self._append(step, password)
            self._passwords[step.id] = password
            self._generated.add(step.id)
        return password

    def keep(self, step: Step) -> None:
        """Note that the password of a step's object is in use, so that it is not taken back any more."""
        self._generated.discard(step.id)

    def take_back(self, step: Step) -> None:
        """Note that the password of a step's object was not used, if it was generated for a call of this run.

        One of an earlier run stays: it may be the one that works.
        """
        if step.id in self._generated:
            self._append(step, "")
            self._generated.discard(step.id)
            del self._passwords[step.id]

    def _append(self, step: Step, password: str) -> None:
        self._rows.add(_row((step.kind, _shown(step.site), _shown(step.key), password)))

    def _write(self, rows: Sequence[bytes]) -> None:
        """Write rows, all of them or none."""
        if self._file.closed:
            raise OSError(errno.EBADF, "it is closed", str(self.path))
        opened = os.fstat(self._file.fileno())
        if not is_same_file(self.path, opened):
            # What is written now would be lost with the file.
            raise OSError(errno.ENOENT, "it was moved, removed or replaced during the run", str(self.path))
        length = opened.st_size
        left = memoryview(b"".join(rows))
        try:
            while left:
                # A full disk takes a part of it before it says so.
                left = left[self._file.write(left) or 0 :]
            os.fsync(self._file.fileno())
        except BaseException:
            with suppress(OSError):
                self._file.truncate(length)
            raise

    def _load(self) -> dict[str, str]:
        """Return the passwords in the file, by id of the step."""
        content = self._file.read()
        passwords = _parse(content, self.path)
        if not content.endswith(b"\n"):  # Otherwise another run may have added rows by now.
            self._file.truncate(content.rfind(b"\n") + 1)
        if b"\n" not in content:
            self._write([_row(_COLUMNS)])
        return passwords


class StepPasswords:
    """The passwords of a run's steps: those in the manifest, and generated ones, which a file keeps.

    Args:
        file: The file; None if every password is in the manifest.
    """

    def __init__(self, file: CredentialsFile | None) -> None:
        self._file = file

    def for_step(self, step: Step) -> str:
        """Return the password that the call of a step sets, or an empty string. Send it only after a `commit`.

        Raises:
            ConfigurationError: It has to be generated, and there is no file.
        """
        login = step.login
        if login is None:
            return ""
        if login.password is not None:
            return login.password
        if self._file is None:
            raise ConfigurationError(f"{login.id} needs a generated password, and there is no file to keep it in")
        return self._file.password_for(login)

    def keep(self, step: Step) -> None:
        """Note that the password of a step is in use."""
        if self._file is not None and step.login is not None:
            self._file.keep(step.login)

    def withdraw(self, step: Step) -> None:
        """Note that the password of a step was not used, if it was generated for this call."""
        if self._file is not None and step.login is not None:
            self._file.take_back(step.login)

    async def commit(self) -> None:
        """Wait until all generated passwords so far are on the disk."""
        if self._file is not None:
            await self._file.commit()


_CHANGED_HINT = (
    f"If a spreadsheet has saved it, save it again as UTF-8 text with commas and the first line {','.join(_COLUMNS)}; "
    "otherwise choose another file."
)


def _parse(content: bytes, path: Path) -> dict[str, str]:
    """Return the passwords of whole rows, by id of the step.

    A row without its end was never used: nothing is sent before the whole row is on the disk.
    """
    header = _row(_COLUMNS)
    if header.startswith(content):  # New, or left when its first line was being written.
        return {}
    if not content.startswith(header):
        raise ConfigurationError(
            f"{path} is not a file of generated passwords; it was left unchanged", hint=_CHANGED_HINT
        )
    rows = content[len(header) : content.rfind(b"\n") + 1]
    passwords: dict[str, str] = {}
    try:
        for number, row in enumerate(csv.reader(rows.decode().splitlines()), start=2):
            if len(row) != len(_COLUMNS):
                raise ConfigurationError(f"{path}, line {number}: expected {','.join(_COLUMNS)}", hint=_CHANGED_HINT)
            kind, _, name, password = row
            passwords[f"{kind}:{_unshown(name)}"] = password
    except (csv.Error, UnicodeDecodeError):  # neither may be shown: both quote the content
        raise ConfigurationError(f"{path} holds a row that no run has written; it was left unchanged") from None
    return {step_id: password for step_id, password in passwords.items() if password}


def _shown(text: str) -> str:
    return f"'{text}" if text.startswith(_BEGINNINGS_OF_FORMULAS) else text


def _unshown(text: str) -> str:
    return text[1:] if text.startswith(tuple(f"'{sign}" for sign in _BEGINNINGS_OF_FORMULAS)) else text


def _row(cells: Iterable[str]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


def _open(path: Path) -> io.FileIO:
    try:
        is_new = not path.exists()
        # `open_private` refuses a link; a hint about its mode would make the user change the target.
        is_file = not is_new and stat.S_ISREG(path.lstat().st_mode)
        # Passwords that others could read until now are not made private again by closing the file to them.
        if is_file and os.name == "posix" and (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077:
            raise ConfigurationError(
                f"{path} holds passwords, and other users may read or write it (mode {mode:o})",
                hint=f"Run `chmod 600 {path}`, or name another file.",
            )
        file = io.FileIO(open_private(path, os.O_RDWR | os.O_APPEND), "r+")
        if is_new and os.name == "posix":
            # The name of a new file is on the disk once its directory is.
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
    except OSError as error:
        raise ConfigurationError(
            f"cannot keep passwords in {path}: {error.strerror}",
            hint="Make it and its directory writable, or name another file; after a move, copy it beside the journal.",
        ) from error
    return file
