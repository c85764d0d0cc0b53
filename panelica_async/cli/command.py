"""Turns a coroutine function into a command: groups of options, one way to report errors, exit codes."""

import asyncio
import inspect
import sqlite3
from collections.abc import Callable, Coroutine
from enum import IntEnum
from functools import partial, wraps
from typing import Any, get_type_hints

import attrs
import typer

from panelica_async.cli.output import Output
from panelica_async.errors import ConfigurationError, PanelicaError


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    """Everything is done, or was already there."""
    FAILED = 1
    """The panel refused something or could not be reached, or the outcome of something is in doubt."""
    USAGE = 2
    """Input or configuration cannot be right; nothing was sent."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C or SIGTERM."""


def command(function: Callable[..., Coroutine[Any, Any, ExitCode]]) -> Callable[..., None]:
    """Make a function a command for typer.

    A parameter whose type is an attrs class becomes one option for each field of the class, so that commands share
    options by naming the class. The function has a parameter `output: Output`, and its docstring is the help text.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return")
    groups = {name: hint for name, hint in hints.items() if attrs.has(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            fields = get_type_hints(groups[name], include_extras=True)
            spread = inspect.signature(groups[name]).parameters.values()
            parameters += [field.replace(annotation=fields[field.name]) for field in spread]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(function)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field: given.pop(field) for field in inspect.signature(group).parameters})
        raise typer.Exit(_run(partial(function, **given), given["output"]))

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _run(work: Callable[[], Coroutine[Any, Any, ExitCode]], output: Output) -> ExitCode:
    try:
        with output.logged():
            return asyncio.run(work())
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        if output.json:
            output.document({"error": {"type": "Interrupted", "message": "Interrupted.", "hint": None}})
        output.say("Interrupted.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise  # typer knows what to do when nobody reads the output
    except PanelicaError as error:
        output.show_error(error)
        return ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.FAILED
    except (OSError, sqlite3.Error) as error:
        output.show_error(error)
        return ExitCode.USAGE
