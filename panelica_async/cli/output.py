"""Where output goes: results to standard output, the rest to standard error; questions, and the log of `--log`.

Text is safe to print, whatever a panel sends. Printing fails on a full disk, a closed pipe or a lost terminal.
"""

import errno
import io
import json
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Annotated, TextIO, cast

import attrs
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from panelica_async.cli.format import (
    NOT_ASCII,
    error_data,
    error_text,
    escape_unprintable,
    print_hints,
    print_prose,
    problem_table,
    remark_lines,
    to_json,
    wrap,
)
from panelica_async.core.private_files import open_private
from panelica_async.errors import ConfigurationError

_LOGGER = logging.getLogger("panelica_async")
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
        """Return a text with question marks for characters that the encoding of the stream lacks."""
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
        with self._writing() as stream:
            stream.write(self._encodable(text))
        return len(text)

    def write_json(self, text: str) -> None:
        """Write JSON, escaping characters that the encoding of the stream lacks; errors are those of `write`."""
        if self._encodable(text) != text:
            text = re.sub(r"[^\x00-\x7f]", lambda char: json.dumps(char[0])[1:-1], text)
        self.write(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes at once; errors are those of `write`."""
        with self._writing() as stream:
            stream.buffer.write(data)

    def discard(self) -> None:
        """Drop unwritten output, which Python would try to write again at exit."""
        _discard(self._stream)

    @contextmanager
    def _writing(self) -> Generator[TextIO, None, None]:
        """Provide the stream, and flush it after the block."""
        if self._stream is None:
            raise OutputError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
        try:
            yield self._stream
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror, "standard output") from error


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
    """Redirect a stream of the process to the null device; the replacement that a test installs stays."""
    is_replaced = stream is not sys.__stdout__ and stream is not sys.__stderr__
    if stream is None or is_replaced:
        return
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, stream.fileno())
    os.close(null_device)


class SafeConsole(Console):
    """A console whose text cannot move the cursor or change the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object; unprintable characters become question marks."""
        for segment in super().render(renderable, options):
            if segment.control or NOT_ASCII.search(segment.text) is None:
                yield segment
            else:
                text = NOT_ASCII.sub(lambda char: char[0] if char[0].isprintable() else "?", segment.text)
                yield Segment(text, segment.style)


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


def stdin_is_terminal() -> bool:
    """Return whether standard input is a terminal; Python has none if it was closed before the start."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_stdin() -> bytes:
    """Return the rest of standard input.

    Raises:
        OSError: It is closed.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard input")
    return sys.stdin.buffer.read()


@contextmanager
def interruptible() -> Generator[None, None, None]:
    """Let SIGINT raise KeyboardInterrupt at once, while a question blocks the event loop."""
    previous_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous_handler)


@contextmanager
def _discard_log() -> Generator[None, None, None]:
    """Discard the log of the clients: without a handler, Python prints warnings to standard error.

    A command reports the results of its calls itself.
    """
    handler = logging.NullHandler()
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)


@contextmanager
def log_to(path: Path, on_failure: Callable[[OSError], object]) -> Generator[None, None, None]:
    """Append the log of the clients of this process to a private file, created if missing.

    Args:
        path: The file.
        on_failure: Called once if writing fails; the command continues without a log.

    Raises:
        ConfigurationError: The file is not private, or not a regular file.
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
    """Writes each line at once, and stops after a failure."""

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


@attrs.frozen(kw_only=True)
class Output:
    """Prints for a command. The public fields are options of every command."""

    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document to standard output.", rich_help_panel="Output"),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the Python traceback of an error.", rich_help_panel="Output"),
    ] = False
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            dir_okay=False,
            help="Append every call to this file, in detail but without secrets.",
            rich_help_panel="Output",
        ),
    ] = None

    stream: ResultStream = attrs.field(init=False, repr=False, factory=ResultStream)
    """Standard output, for JSON and bytes."""
    results: Console = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: console_on(self.stream), takes_self=True),
    )
    """Standard output, for results."""
    messages: Console = attrs.field(init=False, repr=False, factory=lambda: console_on(MessageStream()))
    """Standard error, for everything else."""

    def logging(self) -> AbstractContextManager[None]:
        """Return a context that writes the log, if one is requested; it raises `OSError` if it cannot open the file."""
        return _discard_log() if self.log is None else log_to(self.log, self._report_log_failure)

    def say(self, text: str) -> None:
        """Print a message to standard error."""
        print_prose(self.messages, text)

    @contextmanager
    def busy(self, activity: str) -> Generator[None, None, None]:
        """Show what the command is doing while the block runs; a terminal shows a spinner."""
        if is_live(self.messages):
            with self.messages.status(Text(activity)):
                yield
        else:
            self.say(activity)
            yield

    def require_terminal(self, action: str) -> None:
        """Check that there is a terminal to ask on.

        Args:
            action: The action to confirm, such as "deleting".

        Raises:
            ConfigurationError: There is no terminal.
        """
        if not (stdin_is_terminal() and self.messages.is_terminal):
            raise ConfigurationError(
                f"{action} needs confirmation, but there is no terminal to ask on",
                hint="Pass --yes to skip the question.",
            )

    def confirm(self, question: str) -> bool:
        """Ask a question on the terminal."""
        lines = wrap(Text(question), self.messages.width - len(" [y/N]: "))
        with interruptible():
            try:
                return typer.confirm("\n".join(line.plain for line in lines), err=True)
            except typer.Abort:
                self.say("")  # Ctrl-C leaves the cursor after the question
                raise

    def print_json(self, data: object) -> None:
        """Print the result as a JSON document."""
        self.stream.write_json(to_json(data) + "\n")

    def report_interruption(self, message: str) -> None:
        """Report that the command was interrupted, or that the answer to its question was no."""
        if self.json:
            self.print_json({"error": {"type": "Interrupted", "message": message, "hint": None}})
        self.say(message)

    def report_error(self, error: BaseException) -> None:
        """Report the error that ended the command."""
        if self.json:
            self.print_json({"error": error_data(error)})
        self.print_error(error)

    def print_error(self, error: BaseException) -> None:
        """Print an error and its hint to standard error."""
        if self.debug:
            self.messages.print(Text(escape_unprintable("".join(traceback.format_exception(error)))), soft_wrap=True)
        console = self.messages
        print_prose(console, Text.assemble(("Error: ", "bold red"), escape_unprintable(error_text(error))))
        if problems := getattr(error, "problems", ()):
            console.print(problem_table(problems))
        if remarks := getattr(error, "remarks", ()):
            for line in remark_lines(remarks):
                print_prose(console, line)
        print_hints(console, [getattr(error, "hint", None)])

    def _report_log_failure(self, error: OSError) -> None:
        self.say(f"Logging stopped: {error_text(error)}.")
