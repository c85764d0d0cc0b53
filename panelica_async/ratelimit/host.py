"""Several processes, one host, no server: they share a quota through a file in the user's cache directory."""

import asyncio
import hashlib
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from panelica_async.ratelimit.coordination import Claim, Request
from panelica_async.ratelimit.ledger import Ledger

__all__ = ["HostCoordinator"]

# Raised with every change of the tables, so that old and new versions of the package do not meet in one file.
_FORMAT = 1


class HostCoordinator:
    """Shares a quota between all processes of this user on this host.

    Each claim is one short transaction, done in a thread, for a disk can make any of them long.

    Args:
        key: Names the quota: the API key, of which only a digest is kept.
        directory: Where the file is; by default `panelica_async` in the user's cache directory.
    """

    def __init__(self, key: str, *, directory: str | os.PathLike[str] | None = None) -> None:
        folder = _cache_directory() / "panelica_async" if directory is None else Path(directory)
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._ledger = Ledger(folder / f"quota-v{_FORMAT}-{digest}.sqlite3")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panelica-quota")
        self._finalizer = weakref.finalize(self, _close, self._thread, self._ledger)

    async def claim(self, request: Request) -> Claim:
        """Take in what the member says, and give it places.

        Raises:
            sqlite3.Error: The file cannot be written, as on a full disk.
            OSError: The file or its folder cannot be made.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.claim, request)

    def close(self) -> None:
        """Close the file and end the thread, as happens by itself when nothing refers to this any more."""
        self._finalizer()


def _close(thread: ThreadPoolExecutor, ledger: Ledger) -> None:
    thread.shutdown(wait=True)
    ledger.close()


def _cache_directory() -> Path:
    """Return the user's cache directory by the habits of the system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
