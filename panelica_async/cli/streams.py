"""Standard output and standard error that may break on the way: a full disk, a closed pipe, a terminal that is gone."""

import errno
import io
import os
import sys
from typing import TextIO


class OutputError(OSError):
    """Standard output cannot be written."""


class _Stream(io.TextIOBase):
    """A stream of the process; None when it was closed before Python began."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override] # read only, as that of every open file is
        """Return the encoding."""
        return "utf-8" if self._stream is None else self._stream.encoding


class ResultStream(_Stream):
    """Standard output: what a command is asked for. When it cannot be written, the command has failed."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def write(self, text: str, /) -> int:
        """Write text at once.

        Raises:
            BrokenPipeError: The reader has gone.
            OutputError: It cannot be written.
        """
        return self._write(text, None)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes at once; errors are those of `write`."""
        self._write("", data)

    def discard(self) -> None:
        """Drop what could not be written, which Python would try to write again at its end."""
        _discard(self._stream)

    def _write(self, text: str, data: bytes | None) -> int:
        if self._stream is None:
            raise OutputError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
        try:
            self._stream.write(text)
            self._stream.flush()
            if data is not None:
                self._stream.buffer.write(data)
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror, "standard output") from error
        return len(text)


class MessageStream(_Stream):
    """Standard error: what is said on the way. When it cannot be written, the command goes on in silence."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def write(self, text: str, /) -> int:
        """Write text at once, if that is possible."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError:
                _discard(self._stream)
                self._stream = None
        return len(text)


def _discard(stream: TextIO | None) -> None:
    """Send a stream of the process nowhere from now on; one that stands in for it in a test is left alone."""
    is_own = stream is sys.__stdout__ or stream is sys.__stderr__
    if stream is None or not is_own:
        return
    descriptor = stream.fileno()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
