"""Files that are sent beside JSON: streamed from the disk, in a form."""

import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import aiohttp

from panelica_async.core.operation import Operation, Wire
from panelica_async.core.unset import UNSET

FileSource: TypeAlias = str | os.PathLike[str] | tuple[str, bytes | IO[bytes]]
"""A file to send: its path, or its name with its content or with what is open for reading."""


@contextmanager
def form_of(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> Generator[aiohttp.Payload, None, None]:
    """Open the files among the arguments, and make the form to send; the files are closed at the end.

    Raises:
        TypeError: An argument is no file.
        ValueError: An argument is None.
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
                form.add_field(name, content, filename=filename, content_type="application/octet-stream")
            else:
                form.add_field(name, _text(operation, argument, value))
        yield form()


def _opened(operation: Operation, argument: str, value: object, files: ExitStack) -> tuple[str, bytes | IO[bytes]]:
    if isinstance(value, str | os.PathLike):
        path = Path(cast("str | os.PathLike[str]", value))
        return path.name, files.enter_context(path.open("rb"))
    if isinstance(value, tuple):
        name, content = cast("tuple[str, bytes | IO[bytes]]", value)
        return name, content
    raise TypeError(
        f"{operation.name}: {argument} must be a path, or a name with its content, not {type(value).__name__}"
    )


def _text(operation: Operation, argument: str, value: object) -> str:
    if value is None:
        raise ValueError(f"{operation.name}: {argument} must not be None, which a form cannot hold")
    return str(value).lower() if isinstance(value, bool) else str(value)
