"""The request that a command is about."""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from panelica_async import UNSET, ConfigurationError, PanelicaError
from panelica_async.cli.completion import complete_method, complete_path


@attrs.frozen(kw_only=True)
class RequestInput:
    """A request as it is typed; the fields are arguments and options."""

    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="GET, POST, PUT, PATCH or DELETE.",
            show_default=False,
            autocompletion=complete_method,
        ),
    ]
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Path, such as /v1/domains.", autocompletion=complete_path)
    ]
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", metavar="NAME=VALUE", help="Query parameter; may be repeated.")
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="JSON", help="Body: JSON, @FILE, or - for standard input."),
    ] = None

    def parameters(self) -> Mapping[str, Any]:
        """Return the query.

        Raises:
            ConfigurationError: A parameter has no name or no value.
        """
        parameters: dict[str, list[str]] = {}
        for text in self.query or []:
            name, equals, value = text.partition("=")
            if not name or not equals:
                raise ConfigurationError(f"--query {text}: write NAME=VALUE")
            parameters.setdefault(name, []).append(value)
        return parameters

    def body(self) -> Any:
        """Return the body as data; `UNSET` when there is none.

        Raises:
            ConfigurationError: It is not JSON.
        """
        if self.data is None:
            return UNSET
        if self.data == "-":
            name, text = "standard input", sys.stdin.read()
        elif self.data.startswith("@"):
            name, text = self.data[1:], Path(self.data[1:]).read_text("utf-8")
        else:
            name, text = "--data", self.data
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"{name} is not JSON: {error}") from error


@contextmanager
def checked_input() -> Generator[None, None, None]:
    """Turn the ValueError of an invalid request into the error of an option."""
    try:
        yield
    except PanelicaError:
        raise
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
