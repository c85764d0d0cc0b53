"""The log of a command: everything the client does, in a file, and nowhere else."""

import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from panelica_async.core.private_files import open_private

_LOGGER = logging.getLogger("panelica_async")


@contextmanager
def unlogged() -> Generator[None, None, None]:
    """Keep what the clients log off standard error, where Python shows warnings for which there is no handler.

    A command says itself, in its own words, what became of its calls.
    """
    handler = logging.NullHandler()
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)


@contextmanager
def log_to(path: Path, on_failure: Callable[[OSError], object]) -> Generator[None, None, None]:
    """Append what the clients of this process do to a private file, made when it is missing.

    Args:
        path: The file.
        on_failure: Called once if the file cannot be written any more; the command goes on without a log.

    Raises:
        ConfigurationError: Others may write to the file, or it is not a regular file.
        OSError: The file cannot be opened.
    """
    descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
    handler = _FileHandler(descriptor, path, on_failure)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = _LOGGER.level
    _LOGGER.setLevel(logging.DEBUG)
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)
        os.close(descriptor)


class _FileHandler(logging.Handler):
    """Writes each line at once and whole, or stops."""

    def __init__(self, descriptor: int, path: Path, on_failure: Callable[[OSError], object]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._path = path
        self._on_failure = on_failure
        self._has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if self._has_failed:
            return
        line = memoryview(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self._has_failed = True
            self._on_failure(OSError(error.errno, error.strerror, str(self._path)))
