"""Standard output and standard error: text that is safe to print, failures to print, questions that Ctrl-C ends.

Printing fails on a full disk, a closed pipe or a lost terminal.
"""

import errno
import io
import json
import os
import re
import signal
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import IO, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

NOT_ASCII = re.compile(r"[^\n -~]")
_WIDTH_WITHOUT_TERMINAL = 120


class OutputError(OSError):
    """Writing to standard output failed."""


class _Stream(io.TextIOBase):
    """A stream of the process, or None if it was closed before Python started."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override] # read only, as that of every open file is
        """Return the encoding."""
        return "utf-8" if self._stream is None else self._stream.encoding

    def _encodable(self, text: str) -> str:
        """Return a text with question marks for what the encoding of the stream lacks, as that of some locales does."""
        return text.encode(self.encoding, "replace").decode(self.encoding)


class ResultStream(_Stream):
    """Standard output, for results. If writing fails, the command fails."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def write(self, text: str, /) -> int:
        """Write text at once.

        Raises:
            BrokenPipeError: The reader closed the pipe.
            OutputError: Writing failed for another reason.
        """
        return self._write(text, None)

    def write_json(self, text: str) -> None:
        """Write JSON, which has escapes for what the encoding of the stream lacks; errors are those of `write`."""
        if self._encodable(text) != text:
            text = re.sub(r"[^\x00-\x7f]", lambda char: json.dumps(char[0])[1:-1], text)
        self.write(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes at once; errors are those of `write`."""
        self._write("", data)

    def discard(self) -> None:
        """Drop unwritten output, which Python would try to write again at exit."""
        _discard(self._stream)

    def _write(self, text: str, data: bytes | None) -> int:
        if self._stream is None:
            raise OutputError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
        try:
            self._stream.write(self._encodable(text))
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
    """Standard error, for messages. If writing fails, the command continues in silence."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def write(self, text: str, /) -> int:
        """Write text at once, if possible."""
        if self._stream is not None:
            try:
                self._stream.write(self._encodable(text))
                self._stream.flush()
            except OSError:
                _discard(self._stream)
                self._stream = None
        return len(text)


def _discard(stream: TextIO | None) -> None:
    """Redirect a stream of the process to the null device; a stand-in of a test is left alone."""
    is_own = stream is sys.__stdout__ or stream is sys.__stderr__
    if stream is None or not is_own:
        return
    descriptor = stream.fileno()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class SafeConsole(Console):
    """A console whose text cannot move the cursor or change the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object; unprintable characters become question marks."""
        for segment in super().render(renderable, options):
            if segment.control or NOT_ASCII.search(segment.text) is None:
                yield segment
            else:
                yield Segment(NOT_ASCII.sub(_shown, segment.text), segment.style)


def _shown(char: re.Match[str]) -> str:
    return char[0] if char[0].isprintable() else "?"


def is_live(console: Console) -> bool:
    """Return whether a console can redraw lines."""
    return console.is_terminal and console.is_interactive


def console_on(stream: io.TextIOBase) -> Console:
    """Return a console that prints to a stream; without a terminal it is wide enough for tables."""
    console = SafeConsole(file=cast("IO[str]", stream), highlight=False)
    # Rich would print nothing in 0 columns.
    if not console.width or (not console.is_terminal and "COLUMNS" not in os.environ):
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def visible(text: str) -> str:
    """Return a text with unprintable characters escaped as in Python; line breaks and tabs stay."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


@contextmanager
def interruptible() -> Generator[None, None, None]:
    """Let SIGINT raise KeyboardInterrupt at once, for questions: the event loop cannot react while they wait."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
