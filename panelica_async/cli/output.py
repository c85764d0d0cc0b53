"""What commands print: results to standard output, everything else to standard error."""

import copy
import json as json_module
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from io import TextIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import attrs
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from panelica_async.cli.format import remark_lines
from panelica_async.cli.signals import interruptible
from panelica_async.cli.streams import MessageStream, ResultStream
from panelica_async.core.private_files import open_private
from panelica_async.core.redaction import one_line
from panelica_async.errors import ConfigurationError, PanelicaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from panelica_async.provision import Problem

_LOGGER = logging.getLogger("panelica_async")


@contextmanager
def unlogged() -> Generator[None, None, None]:
    """Keep what the clients log off standard error, where Python shows warnings for which there is no handler.

    A command says itself, in its own words, what became of its calls.
    """
    handler = logging.NullHandler()
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)


@contextmanager
def log_to(path: Path, on_failure: Callable[[OSError], object]) -> Generator[None, None, None]:
    """Append what the clients of this process do to a private file, made when it is missing.

    Args:
        path: The file.
        on_failure: Called once if the file cannot be written any more; the command goes on without a log.

    Raises:
        ConfigurationError: Others may write to the file, or it is not a regular file.
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
    """Writes each line at once and whole, or stops."""

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


# Files and pipes are not narrow.
_WIDTH_WITHOUT_TERMINAL = 120
_NOT_ASCII = re.compile(r"[^\n -~]")


class SafeConsole(Console):
    """A console on which no text moves the cursor or changes the terminal, wherever it comes from."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> "Iterable[Segment]":
        """Render what is printed; characters that cannot be seen are shown as a question mark."""
        for segment in super().render(renderable, options):
            if segment.control or _NOT_ASCII.search(segment.text) is None:
                yield segment
            else:
                yield Segment(_NOT_ASCII.sub(_shown, segment.text), segment.style)


def _shown(char: re.Match[str]) -> str:
    return char[0] if char[0].isprintable() else "?"


@attrs.frozen(kw_only=True)
class Output:
    """How a command prints; its fields are options of every command."""

    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document to standard output.", rich_help_panel="Output"),
    ] = False
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the Python traceback of an error.", rich_help_panel="Output")
    ] = False
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            dir_okay=False,
            help="Append every call to this file, in detail and without secrets.",
            rich_help_panel="Output",
        ),
    ] = None

    stream: ResultStream = attrs.field(init=False, repr=False, factory=ResultStream)
    """Standard output, for data."""
    results: Console = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: _console(self.stream), takes_self=True),
    )
    """For what a command is asked for: standard output."""
    messages: Console = attrs.field(init=False, repr=False, factory=lambda: _console(MessageStream()))
    """For everything else: standard error."""

    def logged(self) -> AbstractContextManager[None]:
        """Write the log, if there is to be one, as long as the context lasts; raises `OSError` when it cannot."""
        return unlogged() if self.log is None else log_to(self.log, self._say_log_ended)

    def say(self, text: str) -> None:
        """Print a line to standard error."""
        self.messages.print(Text(text), soft_wrap=True)

    @contextmanager
    def busy(self, what: str) -> Generator[None, None, None]:
        """Say what is going on, on a terminal with something that moves."""
        if is_live(self.messages):
            with self.messages.status(Text(what)):
                yield
        else:
            self.say(what)
            yield

    def require_terminal(self, what: str) -> None:
        """Make sure that there is a terminal to ask on.

        Args:
            what: What the command asks before, such as "apply asks before the first write".

        Raises:
            ConfigurationError: There is none.
        """
        if not (sys.stdin.isatty() and self.messages.is_terminal):
            raise ConfigurationError(f"{what}, and there is no terminal to ask on", hint="Use --yes.")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal."""
        with interruptible():
            try:
                return typer.confirm(question, err=True)
            except typer.Abort:
                self.say("")  # Ctrl-C leaves the cursor behind the question
                raise

    def document(self, data: object) -> None:
        """Print the JSON document that is the result."""
        self.stream.write(to_json(data) + "\n")

    def show_error(self, error: BaseException) -> None:
        """Print the error that is the result of the command."""
        if self.json:
            self.document({"error": error_data(error)})
        self.explain(error)

    def explain(self, error: BaseException) -> None:
        """Print to standard error what went wrong and what to do about it."""
        if self.debug:
            self.messages.print(Text(visible("".join(traceback.format_exception(error)))), soft_wrap=True)
        console = self.messages
        console.print(Text.assemble(("Error: ", "bold red"), visible(_summary(error))), soft_wrap=True)
        if problems := getattr(error, "problems", ()):
            console.print(_table(problems))
        if remarks := getattr(error, "remarks", ()):
            for line in remark_lines(remarks):
                console.print(Text(line), soft_wrap=True)
        if hint := getattr(error, "hint", None):
            console.print(Text.assemble(("Hint: ", "bold"), one_line(hint)), soft_wrap=True)

    def _say_log_ended(self, error: OSError) -> None:
        self.say(f"The log ends here: {_summary(error)}.")


def is_live(console: Console) -> bool:
    """Whether what was printed can be drawn over."""
    return console.is_terminal and console.is_interactive


def to_json(data: object) -> str:
    """Write data as indented JSON; objects of attrs are mappings."""
    text = json_module.dumps(data, indent=2, ensure_ascii=False, default=_plain)
    return _NOT_ASCII.sub(lambda char: char[0] if char[0].isprintable() else json_module.dumps(char[0])[1:-1], text)


def visible(text: str) -> str:
    """Write characters that cannot be seen, or that move the cursor, as Python does; lines and tabs stay."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def error_data(error: BaseException) -> dict[str, Any]:
    """Return an error as data: its type, its message and, for errors of this package, all its attributes."""
    if not isinstance(error, PanelicaError):
        return {"type": type(error).__name__, "message": _summary(error), "hint": None}
    attributes = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return {"type": type(error).__name__, **attributes}


def _console(stream: TextIOBase) -> Console:
    console = SafeConsole(file=cast("IO[str]", stream), highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def _summary(error: BaseException) -> str:
    if isinstance(error, PanelicaError):
        if hasattr(error, "problems"):
            return error.message
        # The hint has a line of its own.
        error = copy.copy(error)
        error.hint = None
    elif isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _table(problems: "Iterable[Problem]") -> Table:
    table = Table("line", "column", "problem", box=None, header_style="bold")
    table.columns[0].justify = "right"
    table.columns[2].overflow = "fold"
    for problem in problems:
        table.add_row(str(problem.line), Text(one_line(problem.column)), Text(one_line(problem.message)))
    return table


def _plain(value: object) -> Any:
    if attrs.has(kind := type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
