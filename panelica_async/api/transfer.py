"""Streams files: downloads to disk, and uploads as multipart forms.

A download is under its name only when it is complete. An upload can be sent again: whole on every attempt.
"""

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from panelica_async.api.resource import Resource, refuse_coroutine_function
from panelica_async.api.runner import Invoke, OperationRunner, decode_json_or_bytes, decode_reply
from panelica_async.core.converter import decode
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Operation, Wire
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Reply

T = TypeVar("T")

FileSource: TypeAlias = str | os.PathLike[str] | tuple[str, bytes | IO[bytes]]
"""A file to send: its path, or its name with its content or with an open file."""
Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes received so far, and with all there will be if the panel says so."""

_WRITTEN_AT_ONCE = 1024 * 1024
_READ_AT_ONCE = 64 * 1024
_BINARY = "application/octet-stream"
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line breaks, and what stands for bytes that are no text."""


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
            ValueError: invalid argument, or the target is a pipe or device; nothing was sent.
            TypeError: `on_progress` is a coroutine function; nothing was sent.
            OSError: the file cannot be written; where its folder is to blame, nothing was sent.
            UnsupportedOperationError: the panel speaks the published reference, which lacks this operation.
        """
        refuse_coroutine_function("on_progress", on_progress)
        file = Path(target)

        async def fetch(
            runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any]
        ) -> None:
            call = runner.prepare(operation, wire, arguments)

            def read(reply: Reply) -> bytes:
                # A failure that is reported with a 200 (evidence: envelope-error-200), or a short file of JSON, which
                # need not be valid.
                with suppress(DecodeError):
                    decode_json_or_bytes(call, reply)
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
        await self._dispatch(fetch, operation, {"user_id": user_id, "path": path})
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
    """Open a private file other_fields a target, which it replaces at the end; after an error nothing is left of it."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        raise ValueError(f"target must be a file, not a pipe or device, which would be replaced: {target}")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    except OSError as error:
        error.filename = str(target)
        raise
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


async def send_files(
    call: Callable[[Invoke[T], Operation, Mapping[str, Any]], Awaitable[T]],
    operation: Operation,
    model: type[T],
    /,
    **arguments: object,
) -> T:
    """Call an operation that sends files. Generated methods pass the `_dispatch` of their resource.

    Raises:
        TypeError: An argument is no file.
        ValueError: An argument is None, a pipe, a device or another stream, or the name cannot be sent.
        OSError: A file cannot be opened.
    """
    return await call(partial(_upload, model=model), operation, arguments)


async def _upload(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], model: type[T]
) -> T:
    with _form(operation, wire, arguments) as form:
        call = runner.prepare(operation, wire, arguments, upload=form)

        def read(reply: Reply) -> T:
            envelope = decode_reply(call, reply)
            # A success stays one, whatever else the panel says.
            data: object = envelope.data
            fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
            return decode({**envelope.other_fields, **fields}, model, endpoint=call.endpoint, body=reply.body)

        return await runner.run(call, read)


@contextmanager
def _form(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Generator[aiohttp.Payload, None, None]:
    """Open the files among the arguments, and make the form to send; the files are closed at the end."""
    # Names go as they are: Go, in which panels are written, takes a percent sign in them for itself.
    form = aiohttp.FormData(quote_fields=False)
    with ExitStack() as files:
        for argument, name in wire.body.items():
            value, subject = arguments.get(argument, UNSET), f"{operation.name}: {argument}"
            if value is UNSET:
                continue
            if argument in wire.files:
                filename, content = _opened(subject, value, files)
                if not isinstance(filename, str) or not filename or _UNSENDABLE.search(filename):
                    raise ValueError(
                        f"{operation.name}: the name of {argument} must be text on one line, not {filename!a}"
                    )
                form.add_field(name, _part(subject, content), filename=filename, content_type=_BINARY)
            elif value is None:
                raise ValueError(f"{subject} must not be None, which a form cannot hold")
            else:
                text = value if isinstance(value, str) else str(value)
                form.add_field(name, text.lower() if isinstance(value, bool) else text)
        yield form()


def _opened(subject: str, value: object, files: ExitStack) -> tuple[str, bytes | IO[bytes]]:
    """Return the name of a file and its content, opened if it is on the disk."""
    if isinstance(value, tuple):
        values = cast("tuple[object, ...]", value)
        if len(values) != 2:
            raise TypeError(f"{subject} must be a path, or a name with its content, not {len(values)} values")
        return cast("tuple[str, bytes | IO[bytes]]", values)
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{subject} must be a path, or a name with its content, not {type(value).__name__}")
    path = Path(cast("str | os.PathLike[str]", value))
    if path.exists() and not path.is_file() and not path.is_dir():
        # Opening a pipe blocks until another process writes to it.
        raise ValueError(f"{subject} must be a file, not a pipe or device: pass name and content")
    return path.name, files.enter_context(path.open("rb"))


def _part(subject: str, content: bytes | IO[bytes]) -> "bytes | _Content":
    """Return the content of a file as the form takes it."""
    if isinstance(content, bytes | bytearray | memoryview):
        # A copy of what the caller might change before a retry sends it again; bytes are not copied.
        return bytes(content)
    if not hasattr(content, "read"):
        raise TypeError(f"{subject} must have bytes or an open file as its content, not {type(content).__name__}")
    if not isinstance(content.read(0), bytes):
        raise TypeError(f"{subject} must be open in binary mode")
    if not content.seekable():
        raise ValueError(
            f"{subject} must not be a stream, which a retry could not send again; pass bytes or a file on disk"
        )
    return _Content(content)


class _Content(aiohttp.Payload):
    """The content of a file, as long as the file is now.

    Files grow while they are sent, as logs do; the server would take the rest for the next request.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, content_type=_BINARY)
        self._start = file.tell()
        self._size = file.seek(0, os.SEEK_END) - self._start

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the content from its beginning, also when it is sent again."""
        await asyncio.to_thread(self._value.seek, self._start)
        left = self._size or 0
        while left:
            chunk = await asyncio.to_thread(self._value.read, min(left, _READ_AT_ONCE))
            if not chunk:
                raise OSError("the file became shorter while it was sent")
            await writer.write(chunk)
            left -= len(chunk)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - of aiohttp
        """Raise: content is bytes, and may be longer than the memory."""
        raise TypeError("the content of a file is no text")
