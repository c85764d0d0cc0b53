"""`panelica api`: sends one signed request to any path."""

from typing import Any

from rich.highlighter import JSONHighlighter
from rich.text import Text

from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.connection import Connection
from panelica_async.cli.console import visible
from panelica_async.cli.options import RequestInput, StateDirectory, checked_input
from panelica_async.cli.output import Output, to_json


@command
async def api(request: RequestInput, connection: Connection, state: StateDirectory, output: Output) -> ExitCode:
    """Send one signed request to any path and print the reply.

    Prints the data of the reply without its envelope; --json adds the status and the request id. Exit code 0 means
    that the request succeeded, 1 that the panel rejected it or could not be reached.
    """
    query, body = request.parameters(), request.body()
    async with connection.open(state) as panel:
        with checked_input():
            response = await panel.client.request(request.method, request.path, query=query, json=body)
    if output.json:
        output.document(
            {"status": response.status, "request_id": response.request_id, "data": _readable(response.data)}
        )
    elif isinstance(response.data, bytes):
        if output.results.is_terminal:
            output.results.print(Text(visible(_readable(response.data))), soft_wrap=True)
        else:
            output.stream.write_bytes(response.data)
    elif response.data is not None:
        if output.results.is_terminal:
            output.results.print(JSONHighlighter()(to_json(response.data)), soft_wrap=True)
        else:
            output.document(response.data)
    return ExitCode.OK


def _readable(data: Any) -> Any:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
