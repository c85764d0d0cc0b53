"""Downloads: files streamed to the disk in pieces, and there only when they are complete."""

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from panelica_async.api.resource import Resource
from panelica_async.api.runner import OperationRunner, decode_any
from panelica_async.core.operation import Operation, Wire
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Reply

T = TypeVar("T")

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes received so far, and with all there will be if the panel says so."""
_WRITTEN_AT_ONCE = 1024 * 1024


class Downloads(Resource):
    """Files of accounts, as files on the disk."""

    async def download_to(
        self,
        target: str | os.PathLike[str],
        *,
        user_id: str,
        path: str,
        on_progress: Progress | None = None,
    ) -> Path:
        """GET /v1/files/download: download a file of any size to the disk.

        The file is received in pieces under a temporary name beside the target, and gets its name when it is complete;
        only you may read it. After an error, or when the call is cancelled, nothing is left and what was at the target
        stays. A reply that breaks off raises `TransportError`; the call is not repeated once the file has begun.

        `timeout` is the longest silence of the panel, before the file and between its pieces. A `deadline` holds until
        the file begins: how long it takes after that is limited by nothing but `timeout`.

        On current panels only. Scope: `files:read`.

        Args:
            target: Where to write the file. An existing file is replaced.
            user_id: Id of the account that owns the files.
            path: Absolute path, below /home/USERNAME.
            on_progress: Called in the event loop after each piece with the bytes received so far, and with all there
                will be, or None if the panel does not say.

        Returns:
            The path of the target.

        Raises:
            ValueError: invalid argument; nothing was sent.
            OSError: the file cannot be written; where its folder is to blame, nothing was sent.
            UnsupportedOperationError: the panel speaks the published reference, which lacks this operation.
        """
        file = Path(target)

        async def fetch(
            runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
        ) -> None:
            call = runner.prepare(operation, wire, arguments)

            def read(reply: Reply) -> bytes:
                # A failure that is reported with a 200 (evidence: envelope-error-200), or a short file of JSON, which
                # need not be valid.
                with suppress(DecodeError):
                    decode_any(call, reply)
                return reply.body

            with _replacing(file) as temporary:
                call.sink = sink = FileSink(temporary, on_progress)
                try:
                    short = await runner.run(call, read)
                    if short:
                        await sink.take(short, len(short))
                except _SinkError as failure:
                    raise failure.error from None
                await sink.finish()

        operation = self._runner.get_operation("files.download")
        await self._call(fetch, operation, {"user_id": user_id, "path": path})
        return file


class _SinkError(Exception):
    """Carries an error of the disk, which aiohttp would mistake for one of the connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class FileSink:
    """Writes the pieces of a file in a thread, so that a slow disk does not stop other calls.

    Args:
        file: Where to write.
        on_progress: Called after each piece.
    """

    def __init__(self, file: IO[bytes], on_progress: Progress | None) -> None:
        self._file = file
        self._on_progress = on_progress
        self._received = 0
        self._waiting = bytearray()

    async def take(self, piece: bytes, total: int | None) -> None:
        """Take the next piece."""
        self._received += len(piece)
        self._waiting += piece
        try:
            if len(self._waiting) >= _WRITTEN_AT_ONCE:
                await self._write()
            if self._on_progress is not None:
                self._on_progress(self._received, total)
        except OSError as error:
            raise _SinkError(error) from error

    async def finish(self) -> None:
        """Write what is left, down to the disk."""
        await self._write()
        await _in_thread(self._sync)

    async def _write(self) -> None:
        waiting, self._waiting = bytes(self._waiting), bytearray()
        await _in_thread(self._file.write, waiting)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def _replacing(target: Path) -> Generator[IO[bytes], None, None]:
    """Open a private file beside a target, which it replaces at the end; after an error nothing is left of it."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a thread; a cancelled caller waits for its end, because it uses the file."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait((work,))
        raise
