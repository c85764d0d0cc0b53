"""`panelica sandbox`: a panel to try things on."""

import asyncio
import sys
from typing import Annotated

import typer

from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.embedded import serve_sandbox
from panelica_async.cli.output import Output
from panelica_async.cli.signals import on_stop_signal
from panelica_async.facts import TIERS


@command
async def sandbox(
    output: Output,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 3002,
    db: Annotated[
        str, typer.Option(metavar="FILE", help="Database, kept from run to run; :memory: forgets everything.")
    ] = ":memory:",
    tier: Annotated[str, typer.Option("--tier", metavar="TIER", help=f"Rate limit of its key: {', '.join(TIERS)}.")] = (
        "professional"
    ),
) -> ExitCode:
    """Serve a sandbox panel until Ctrl-C.

    It answers every operation of the API with real state and really checks signatures, scopes and rate limits.
    """
    stopped = asyncio.Event()
    with on_stop_signal(stopped.set):
        async with serve_sandbox(db, tier, host=host, port=port) as box:
            access = {"base_url": box.base_url, "api_key": box.api_key, "api_secret": box.api_secret}
            if output.json:
                output.document(access)
            else:
                sys.stdout.write(_announcement(access))
            sys.stdout.flush()
            await stopped.wait()
    output.say("Stopped.")
    return ExitCode.OK


def _announcement(access: dict[str, str]) -> str:
    exports = "".join(f"export PANELICA_{name.upper()}={value}\n" for name, value in access.items())
    return (
        "The sandbox is running; Ctrl-C stops it.\n\n"
        f"Base URL    {access['base_url']}\n"
        f"API key     {access['api_key']}\n"
        f"API secret  {access['api_secret']}\n\n"
        f"{exports}"
    )
