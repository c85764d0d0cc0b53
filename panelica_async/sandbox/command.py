"""The sandbox as a command."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from panelica_async.facts import TIERS
from panelica_async.sandbox.server import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM; returns the exit code.

    Args:
        arguments: Command line without the program's name; that of the process when left out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m panelica_async.sandbox", description="A Panelica panel to try things on."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=3002, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--db", default=":memory:", help="database file (forget everything at the end)")
    parser.add_argument("--tier", choices=list(TIERS), default="professional", help="rate limit (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to hold back every answer (%(default)s)")
    try:
        asyncio.run(_serve(Sandbox(**vars(parser.parse_args(arguments)))))
    except (OSError, ValueError) as error:
        print(f"the sandbox cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(sandbox: Sandbox) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with sandbox as box:
        variables = {"BASE_URL": box.base_url, "API_KEY": box.api_key, "API_SECRET": box.api_secret}
        print(
            f"base URL    {box.base_url}",
            f"API key     {box.api_key}",
            f"API secret  {box.api_secret}",
            "export " + " ".join(f"PANELICA_{name}={value}" for name, value in variables.items()),
            sep="\n",
            flush=True,
        )
        await stopped.wait()
