"""Streams files: downloads to disk, and uploads as multipart forms.

A download gets its name only once it is complete. An upload can be repeated: every attempt sends the whole file.
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
"""Called with the number of bytes received so far, and of all bytes; None if the panel does not say."""

_WRITE_SIZE = 1024 * 1024
_READ_SIZE = 64 * 1024
_BINARY = "application/octet-stream"
_FORBIDDEN_IN_FILENAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line breaks, and surrogates, which stand for bytes that are not text."""


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

        The file is received in pieces under a temporary name beside the target, and renamed when it is complete; only
        you may read it. After an error or a cancellation, the temporary file is deleted and the target is unchanged. A
        reply that breaks off raises `TransportError`; the call is not repeated once the file has begun.

        `timeout` limits how long the panel may be silent, before the file and between its pieces. A `deadline` applies
        until the file begins; after that, only `timeout` limits the download.

        On current panels only. Scope: `files:read`.

        Args:
            target: Where to write the file. An existing file is replaced.
            user_id: Id of the account that owns the files.
            path: Absolute path, below /home/USERNAME.
            on_progress: Called in the event loop after each piece with the number of bytes received so far, and of all
                bytes, or None if the panel does not say.

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
                # Raises for a failure that the panel reports with a 200 (evidence: envelope-error-200). A short file
                # of JSON arrives here too, and need not be valid.
                with suppress(DecodeError):
                    decode_json_or_bytes(call, reply)
                return reply.body

            with _replace_when_complete(file) as temporary:
                call.sink = sink = FileSink(temporary, on_progress)
                try:
                    body = await runner.run(call, read)
                    if body:  # a short file, which did not go through the sink
                        await sink.take(body, len(body))
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
        self._unwritten = bytearray()

    async def take(self, piece: bytes, total: int | None) -> None:
        """Take the next piece."""
        self._received += len(piece)
        self._unwritten += piece
        try:
            if len(self._unwritten) >= _WRITE_SIZE:
                await self._write()
            if self._on_progress is not None:
                self._on_progress(self._received, total)
        except OSError as error:
            raise _SinkError(error) from error

    async def finish(self) -> None:
        """Write the rest, and flush the file to the disk."""
        await self._write()
        await _in_thread(self._sync)

    async def _write(self) -> None:
        pieces, self._unwritten = bytes(self._unwritten), bytearray()
        await _in_thread(self._file.write, pieces)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def _replace_when_complete(target: Path) -> Generator[IO[bytes], None, None]:
    """Open a private temporary file beside a target; replace the target at the end, delete the file after an error."""
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
    """Run a function in a thread; even a cancelled caller waits for its end, because it uses the file."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait((work,))
        raise


async def send_files(
    dispatch: Callable[[Invoke[T], Operation, Mapping[str, Any]], Awaitable[T]],
    operation: Operation,
    model: type[T],
    /,
    **arguments: object,
) -> T:
    """Call an operation that sends files. Generated methods pass the `_dispatch` of their resource.

    Raises:
        TypeError: An argument is not a file.
        ValueError: An argument is None, a pipe, a device or another stream, or the name cannot be sent.
        OSError: A file cannot be opened.
    """
    return await dispatch(partial(_upload, model=model), operation, arguments)


async def _upload(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], model: type[T]
) -> T:
    with _open_form(operation, wire, arguments) as form:
        call = runner.prepare(operation, wire, arguments, upload=form)

        def read(reply: Reply) -> T:
            envelope = decode_reply(call, reply)
            # A success counts, whatever the data looks like.
            data: object = envelope.data
            fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
            return decode({**envelope.other_fields, **fields}, model, endpoint=call.endpoint, body=reply.body)

        return await runner.run(call, read)


@contextmanager
def _open_form(
    operation: Operation, wire: Wire, arguments: Mapping[str, Any]
) -> Generator[aiohttp.Payload, None, None]:
    """Open the files among the arguments, and yield the form to send; the files are closed at the end."""
    # Do not percent-encode names: panels are written in Go, which does not decode them.
    form = aiohttp.FormData(quote_fields=False)
    with ExitStack() as files:
        for argument, name in wire.body.items():
            value, subject = arguments.get(argument, UNSET), f"{operation.name}: {argument}"
            if value is UNSET:
                continue
            if argument in wire.files:
                filename, content = _open_file(subject, value, files)
                if not isinstance(filename, str) or not filename or _FORBIDDEN_IN_FILENAME.search(filename):
                    raise ValueError(
                        f"{operation.name}: the name of {argument} must be text on one line, not {filename!a}"
                    )
                form.add_field(name, _form_content(subject, content), filename=filename, content_type=_BINARY)
            elif value is None:
                raise ValueError(f"{subject} must not be None, which a form cannot hold")
            else:
                text = value if isinstance(value, str) else str(value)
                form.add_field(name, text.lower() if isinstance(value, bool) else text)
        yield form()


def _open_file(subject: str, value: object, files: ExitStack) -> tuple[str, bytes | IO[bytes]]:
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


def _form_content(subject: str, content: bytes | IO[bytes]) -> "bytes | _FilePayload":
    """Return the content of a file as the form takes it."""
    if isinstance(content, bytes | bytearray | memoryview):
        # The caller might change a bytearray before a retry, so copy it; bytes are not copied.
        return bytes(content)
    if not hasattr(content, "read"):
        raise TypeError(f"{subject} must have bytes or an open file as its content, not {type(content).__name__}")
    if not isinstance(content.read(0), bytes):
        raise TypeError(f"{subject} must be open in binary mode")
    if not content.seekable():
        raise ValueError(
            f"{subject} must not be a stream, which a retry could not send again; pass bytes or a file on disk"
        )
    return _FilePayload(content)


class _FilePayload(aiohttp.Payload):
    """The content of a file, of the length that it has when the form is built.

    A file can grow while it is sent, as logs do; the server would read the additional bytes as the next request.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, content_type=_BINARY)
        self._start = file.tell()
        self._size = file.seek(0, os.SEEK_END) - self._start

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the content from its beginning, also when it is sent again."""
        await asyncio.to_thread(self._value.seek, self._start)
        remaining = self._size or 0
        while remaining:
            chunk = await asyncio.to_thread(self._value.read, min(remaining, _READ_SIZE))
            if not chunk:
                raise OSError("the file became shorter while it was sent")
            await writer.write(chunk)
            remaining -= len(chunk)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - of aiohttp
        """Raise: the content is bytes, which may not fit into memory."""
        raise TypeError("the content of a file is not text")
