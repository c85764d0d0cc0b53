"""`panelica api`: one signed call to any path."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from panelica_async import UNSET, ApiResponse, ConfigurationError, PanelicaClient, PanelicaError
from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.connection import Connection
from panelica_async.cli.output import Output, to_json
from panelica_async.cli.state import StateDirectory


@command
async def api(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.", show_default=False)
    ],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Path, such as /v1/domains.")],
    connection: Connection,
    state: StateDirectory,
    output: Output,
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", metavar="NAME=VALUE", help="Query parameter; may be repeated.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="JSON", help="Body: JSON, @FILE, or - for standard input."),
    ] = None,
) -> ExitCode:
    """Send one signed call to any path and print the reply.

    The JSON of the reply is printed without its envelope; with --json, together with status and request id.
    Exit code 0 means that the panel did it, 1 that it refused or could not be reached.
    """
    parameters = _parameters(query or [])
    body = UNSET if data is None else _body(data)
    async with connection.open(state) as panel:
        response = await _send(panel.client, method, path, parameters, body)
    if output.json:
        output.document(
            {"status": response.status, "request_id": response.request_id, "data": _readable(response.data)}
        )
    elif isinstance(response.data, bytes):
        sys.stdout.buffer.write(response.data)
    elif response.data is not None:
        if output.results.is_terminal:
            output.results.print_json(to_json(response.data))
        else:
            output.document(response.data)
    return ExitCode.OK


async def _send(panel: PanelicaClient, method: str, path: str, query: dict[str, Any], body: Any) -> ApiResponse:
    try:
        return await panel.request(method, path, query=query, json=body)
    except PanelicaError:
        raise
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _parameters(given: list[str]) -> dict[str, Any]:
    parameters: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"--query {text}: write NAME=VALUE")
        parameters.setdefault(name, []).append(value)
    return parameters


def _body(given: str) -> Any:
    if given == "-":
        name, text = "standard input", sys.stdin.read()
    elif given.startswith("@"):
        name, text = given[1:], Path(given[1:]).read_text("utf-8")
    else:
        name, text = "--data", given
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}") from error


def _readable(data: Any) -> Any:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
