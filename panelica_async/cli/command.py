"""Runs a coroutine function as a command: option groups, error reports, exit codes, stop signals such as Ctrl-C.

Ctrl-C, SIGTERM and a terminal that is closed are stop signals, and have the same effect.
"""

import asyncio
import inspect
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from enum import IntEnum
from functools import wraps
from types import FrameType
from typing import Any, get_type_hints

import attrs
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from panelica_async.cli.options import ConnectionOptions, Traffic
from panelica_async.cli.output import Output, OutputError
from panelica_async.errors import ConfigurationError, PanelicaError


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    """Everything is done, or already existed."""
    FAILED = 1
    """The panel rejected something or could not be reached, something is uncertain, or a file could not be written
    after calls had been sent."""
    USAGE = 2
    """The input, the configuration or a file is invalid; nothing was changed on the panel."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C or SIGTERM."""


class Command(TyperCommand):
    """A command whose help shows no Python types, which typer adds: `--help <bool>`, `FILE <path>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, whose help shows no Python types either."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the group."""
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
        elif isinstance(parameter, TyperArgument):
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign] # noqa: ARG005 - of typer
    return parameters


def command(function: Callable[..., Coroutine[Any, Any, ExitCode]]) -> Callable[..., None]:
    """Return a function that typer can register as a command.

    A parameter whose type is an attrs class becomes one option for each field of the class. Commands share options by
    sharing the class. The function needs a parameter `output: Output`, and its docstring is the help text.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return")
    groups = {name: hint for name, hint in hints.items() if attrs.has(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            fields = get_type_hints(groups[name], include_extras=True)
            options = inspect.signature(groups[name]).parameters.values()
            parameters += [option.replace(annotation=fields[option.name]) for option in options]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(function)
    def run(**arguments: Any) -> None:
        for name, group in groups.items():
            arguments[name] = group(**{field: arguments.pop(field) for field in inspect.signature(group).parameters})
        connection = next((value for value in arguments.values() if isinstance(value, ConnectionOptions)), None)
        traffic = Traffic() if connection is None else connection.traffic
        raise typer.Exit(_run(function(**arguments), arguments["output"], traffic))

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _run(work: Coroutine[Any, Any, ExitCode], output: Output, traffic: Traffic) -> ExitCode:
    try:
        return _run_and_report(work, output, traffic)
    except OutputError as error:  # Standard output cannot show the error either.
        output.print_error(error)
        output.stream.discard()
        return ExitCode.FAILED
    finally:
        work.close()


def _run_and_report(work: Coroutine[Any, Any, ExitCode], output: Output, traffic: Traffic) -> ExitCode:
    try:
        with output.logging():
            return asyncio.run(_until_stopped(work))
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        has_only_read = traffic.calls and not traffic.writes
        message = "Interrupted. Nothing was changed on the panel." if has_only_read else "Interrupted."
        output.report_interruption(message)
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, OutputError):
        raise  # typer handles a closed pipe
    except PanelicaError as error:
        output.report_error(error)
        return ExitCode.USAGE if isinstance(error, ConfigurationError) and not traffic.writes else ExitCode.FAILED
    except (OSError, sqlite3.Error) as error:
        output.report_error(error)
        return ExitCode.FAILED if traffic.calls else ExitCode.USAGE


async def _until_stopped(work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Await the work of a command. A stop signal cancels it, even one that the parent process ignores."""
    with on_stop_signal(Interruption()):
        return await work


@contextmanager
def on_stop_signal(call: Callable[[], object]) -> Generator[None, None, None]:
    """Call a function in the event loop for each SIGINT, SIGTERM and SIGHUP, instead of their usual effect.

    A SIGHUP that is ignored, as under `nohup`, stays ignored. Only the main thread may handle signals, so this does
    nothing in another one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)

    signals = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    previous_handlers = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


class Interruption:
    """Stops the current task on a signal. If `graceful`, the first signal requests a stop, and the next one cancels.

    Args:
        announce: Called when a stop is requested.

    Attributes:
        stop: Set when a stop is requested.
        graceful: Whether the task watches `stop`; otherwise the first signal cancels it.
        cancelled: Whether the task was cancelled.
    """

    def __init__(self, announce: Callable[[], None] = lambda: None) -> None:
        self.stop: asyncio.Event = asyncio.Event()
        self.graceful: bool = False
        self.cancelled: bool = False
        self._announce = announce
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        """Handle a signal."""
        if self.graceful and not self.stop.is_set():
            self.stop.set()
            self._announce()
        elif self._task is not None:
            self.cancelled = True
            self._task.cancel()
