"""The log of a command: everything the client does, in a file."""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from panelica_async.core.private import open_private

_LOGGER = logging.getLogger("panelica_async")


@contextmanager
def log_to(path: Path) -> Generator[None, None, None]:
    """Append what the clients of this process do to a private file, made when it is missing.

    Raises:
        ConfigurationError: Others may write to the file, or it is not a regular file.
        OSError: The file cannot be written.
    """
    descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        # Python shows warnings on standard error only as long as nobody takes them.
        handlers = [handler, *([logging.lastResort] if logging.lastResort else [])]
        level = _LOGGER.level
        _LOGGER.setLevel(logging.DEBUG)
        for one in handlers:
            _LOGGER.addHandler(one)
        try:
            yield
        finally:
            for one in handlers:
                _LOGGER.removeHandler(one)
            _LOGGER.setLevel(level)
