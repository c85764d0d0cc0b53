"""The sandbox as a command."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence

from panelica_async.facts import TIERS
from panelica_async.sandbox.server import Sandbox


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 3002,
    db: str = ":memory:",
    tier: str = "professional",
    latency: float = 0.0,
    announce: Callable[[str], None] = print,
) -> None:
    """Run a sandbox until SIGINT or SIGTERM.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        db: Database file; `:memory:` forgets everything at the end.
        tier: Rate-limit tier of the root key.
        latency: Seconds every answer is held back.
        announce: Called with each line that tells how to reach the sandbox, its secret included.

    Raises:
        ValueError: There is no such tier, or the database file is of another version.
        OSError: The address cannot be listened on.
    """
    asyncio.run(_serve(Sandbox(tier, db=db, host=host, port=port, latency=latency), announce))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m panelica_async.sandbox`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m panelica_async.sandbox", description="A Panelica panel to try things on."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=3002, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--db", default=":memory:", help="database file (forget everything at the end)")
    parser.add_argument("--tier", choices=list(TIERS), default="professional", help="rate limit (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to hold back every answer (%(default)s)")
    try:
        serve(**vars(parser.parse_args(arguments)))
    except (OSError, ValueError) as error:
        print(f"the sandbox cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(sandbox: Sandbox, announce: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with sandbox as box:
        announce(f"base URL    {box.base_url}")
        announce(f"API key     {box.api_key}")
        announce(f"API secret  {box.api_secret}")
        variables = {"BASE_URL": box.base_url, "API_KEY": box.api_key, "API_SECRET": box.api_secret}
        announce("export " + " ".join(f"PANELICA_{name}={value}" for name, value in variables.items()))
        await stopped.wait()
