"""Uploads: files streamed from the disk in a multipart form."""

import asyncio
import os
import re
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from panelica_async.core.model import UNSET
from panelica_async.core.operation import Operation, Wire

FileSource: TypeAlias = str | os.PathLike[str] | tuple[str, bytes | IO[bytes]]
"""A file to send: its path, or its name with its content or with an open file."""

_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line breaks, and what stands for bytes that are no text."""
_BINARY = "application/octet-stream"
_CHUNK = 64 * 1024
"""Bytes that are read and sent at a time."""


@contextmanager
def form_of(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Generator[aiohttp.Payload, None, None]:
    """Open the files among the arguments, and make the form to send; the files are closed at the end.

    Raises:
        TypeError: An argument is no file.
        ValueError: An argument is None, a pipe, a device or another stream, or the name cannot be sent.
        OSError: A file cannot be opened.
    """
    # Names go as they are: Go, in which panels are written, takes a percent sign in them for itself.
    form = aiohttp.FormData(quote_fields=False)
    with ExitStack() as files:
        for argument, name in wire.body.items():
            value = arguments.get(argument, UNSET)
            if value is UNSET:
                continue
            if argument in wire.files:
                filename, content = _opened(operation, argument, value, files)
                _check_name(operation, argument, filename)
                form.add_field(name, _part(operation, argument, content), filename=filename, content_type=_BINARY)
            else:
                form.add_field(name, _text(operation, argument, value))
        yield form()


def _opened(operation: Operation, argument: str, value: object, files: ExitStack) -> tuple[str, bytes | IO[bytes]]:
    if isinstance(value, str | os.PathLike):
        path = Path(cast("str | os.PathLike[str]", value))
        if path.exists() and not path.is_file() and not path.is_dir():
            # Opening a pipe blocks until another process writes to it.
            raise ValueError(
                f"{operation.name}: {argument} must be a file, not a pipe or device: pass name and content"
            )
        return path.name, files.enter_context(path.open("rb"))
    if isinstance(value, tuple):
        name, content = cast("tuple[str, bytes | IO[bytes]]", value)
        return name, content
    raise TypeError(
        f"{operation.name}: {argument} must be a path, or a name with its content, not {type(value).__name__}"
    )


def _check_name(operation: Operation, argument: str, name: str) -> None:
    if _UNSENDABLE.search(name):
        raise ValueError(f"{operation.name}: the name of {argument} must be text on one line, not {name!a}")


def _part(operation: Operation, argument: str, content: bytes | IO[bytes]) -> "bytes | _Content":
    """Return the content of a file as the form takes it."""
    if isinstance(content, bytes | bytearray | memoryview):
        return content
    if not isinstance(content.read(0), bytes):
        raise TypeError(f"{operation.name}: {argument} must be open in binary mode")
    if not content.seekable():
        problem = "must not be a stream, which a retry could not send again; pass bytes or a file on disk"
        raise ValueError(f"{operation.name}: {argument} {problem}")
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
            chunk = await asyncio.to_thread(self._value.read, min(left, _CHUNK))
            if not chunk:
                raise OSError("the file became shorter while it was sent")
            await writer.write(chunk)
            left -= len(chunk)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - of aiohttp
        """Raise: content is bytes, and may be longer than the memory."""
        raise TypeError("the content of a file is no text")


def _text(operation: Operation, argument: str, value: object) -> str:
    if value is None:
        raise ValueError(f"{operation.name}: {argument} must not be None, which a form cannot hold")
    return str(value).lower() if isinstance(value, bool) else str(value)
