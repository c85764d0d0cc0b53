"""What commands print: results to standard output, everything else to standard error."""

import copy
import json as json_module
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async.cli.console import (
    NOT_ASCII,
    MessageStream,
    ResultStream,
    console_on,
    interruptible,
    is_live,
    visible,
)
from panelica_async.cli.format import print_hints, remark_lines
from panelica_async.core.private_files import open_private
from panelica_async.core.redaction import one_line
from panelica_async.errors import ConfigurationError, PanelicaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from panelica_async.provision import Problem

_LOGGER = logging.getLogger("panelica_async")


@contextmanager
def unlogged() -> Generator[None, None, None]:
    """Keep the log of the clients off standard error, where Python prints warnings without a handler.

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
        typer.Option(
            "--json", metavar="", help="Print one JSON document to standard output.", rich_help_panel="Output"
        ),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", metavar="", help="Show the Python traceback of an error.", rich_help_panel="Output"),
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

    def logged(self) -> AbstractContextManager[None]:
        """Return a context that writes the log, if one is requested; raises `OSError` if it cannot be opened."""
        return unlogged() if self.log is None else log_to(self.log, self._say_log_stopped)

    def say(self, text: str) -> None:
        """Print a message to standard error; a terminal wraps it between words."""
        self.messages.print(Text(text), soft_wrap=not self.messages.is_terminal)

    @contextmanager
    def busy(self, activity: str) -> Generator[None, None, None]:
        """Print what the command is doing; a terminal shows a spinner."""
        if is_live(self.messages):
            with self.messages.status(Text(activity)):
                yield
        else:
            self.say(activity)
            yield

    def require_terminal(self, action: str) -> None:
        """Check that there is a terminal to ask on.

        Args:
            action: What needs confirmation, such as "deleting".

        Raises:
            ConfigurationError: There is no terminal.
        """
        if not (sys.stdin.isatty() and self.messages.is_terminal):
            raise ConfigurationError(
                f"{action} needs confirmation, but there is no terminal to ask on",
                hint="Pass --yes to skip the question.",
            )

    def confirm(self, question: str) -> bool:
        """Ask a question on the terminal."""
        width = self.messages.width - len(" [y/N]: ")
        wrapped = textwrap.fill(question, width, break_long_words=False, break_on_hyphens=False)
        with interruptible():
            try:
                return typer.confirm(wrapped, err=True)
            except typer.Abort:
                self.say("")  # Ctrl-C leaves the cursor after the question
                raise

    def document(self, data: object) -> None:
        """Print the result as a JSON document."""
        self.stream.write_json(to_json(data) + "\n")

    def show_error(self, error: BaseException) -> None:
        """Report the error that ended the command."""
        if self.json:
            self.document({"error": error_data(error)})
        self.explain(error)

    def explain(self, error: BaseException) -> None:
        """Print an error and its hint to standard error."""
        if self.debug:
            self.messages.print(Text(visible("".join(traceback.format_exception(error)))), soft_wrap=True)
        console = self.messages
        console.print(Text.assemble(("Error: ", "bold red"), visible(_summary(error))), soft_wrap=True)
        if problems := getattr(error, "problems", ()):
            console.print(_table(problems))
        if remarks := getattr(error, "remarks", ()):
            for line in remark_lines(remarks):
                console.print(Text(line), soft_wrap=True)
        print_hints(console, [getattr(error, "hint", None)])

    def _say_log_stopped(self, error: OSError) -> None:
        self.say(f"Logging stopped: {_summary(error)}.")


def to_json(data: object) -> str:
    """Return data as indented JSON; attrs objects become JSON objects."""
    text = json_module.dumps(data, indent=2, ensure_ascii=False, default=_plain)
    return NOT_ASCII.sub(lambda char: char[0] if char[0].isprintable() else json_module.dumps(char[0])[1:-1], text)


def error_data(error: BaseException) -> dict[str, Any]:
    """Return an error as data: type, message and, for errors of this package, all attributes."""
    if not isinstance(error, PanelicaError):
        return {"type": type(error).__name__, "message": _summary(error), "hint": None}
    attributes = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return {"type": type(error).__name__, **attributes}


def _summary(error: BaseException) -> str:
    if isinstance(error, PanelicaError):
        if hasattr(error, "problems"):
            return error.message
        # The hint is printed on a line of its own.
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
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
