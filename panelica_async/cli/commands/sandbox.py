"""`panelica sandbox`: serves a sandbox panel to try things out."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panelica_async import ConfigurationError
from panelica_async.catalog import TIERS
from panelica_async.cli.command import ExitCode, command, on_stop_signal
from panelica_async.cli.connection import serve_sandbox
from panelica_async.cli.options import completing
from panelica_async.cli.output import Output
from panelica_async.core.redaction import excerpt

if TYPE_CHECKING:
    from panelica_async.sandbox import Fault


_MAX_PORT = 65535
_MAX_CLOCK_SKEW = 1e9
"""About 30 years, in seconds: a sandbox with a clock further ahead may not be able to write its dates."""


@command
async def sandbox(
    output: Output,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    # Without its name, typer 0.27 takes the metavar for it, and calls the option --PORT.
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Port to listen on; 0 picks a free one.")] = 3002,
    db: Annotated[
        str, typer.Option(metavar="FILE", help="Database file, kept between runs; :memory: keeps nothing.")
    ] = ":memory:",
    tier: Annotated[
        str,
        typer.Option(
            "--tier",
            metavar="TIER",
            help=f"Rate-limit tier of the key: {', '.join(TIERS)}.",
            autocompletion=completing(*TIERS),
        ),
    ] = "professional",
    scopes: Annotated[
        str, typer.Option(metavar="SCOPE,…", help="Scopes of the key, such as domains:*,dns:read.")
    ] = "*:*",
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect",
            metavar="DIALECT",
            help="API to speak: reference, or panel for that of current panels.",
            autocompletion=completing("reference", "panel"),
        ),
    ] = "reference",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse fields and query parameters that a panel would ignore.")
    ] = False,
    thin_replies: Annotated[
        bool, typer.Option("--thin-replies", help="Answer writes with an id or a message only.")
    ] = False,
    latency: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Delay before each reply.")] = 0.0,
    clock_skew: Annotated[
        float, typer.Option(metavar="SECONDS", help="How far the sandbox's clock is ahead; negative if it is behind.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT[:N]",
            help="Make every Nth write fail, as in lost_reply:10; without N, every write. May be repeated.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Certificate for https, in PEM format."),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Private key of the certificate, in PEM format."
        ),
    ] = None,
) -> ExitCode:
    """Serve a sandbox panel until Ctrl-C.

    The sandbox is a panel with real state: it serves every operation, and checks signatures, scopes and rate limits.
    """
    if not 0 <= port <= _MAX_PORT:
        raise ConfigurationError(f"--port must be from 0 to {_MAX_PORT}, not {port}")
    if not abs(clock_skew) <= _MAX_CLOCK_SKEW:
        raise ConfigurationError(f"--clock-skew must be at most {_MAX_CLOCK_SKEW:,.0f} seconds, not {clock_skew}")
    faults = [_parse_fault(text) for text in fault or ()]
    stopped = asyncio.Event()
    box = serve_sandbox(
        db,
        tier,
        host=host,
        port=port,
        scopes=[scope.strip() for scope in scopes.split(",")],
        dialect=dialect,
        strict=strict,
        thin_replies=thin_replies,
        latency=latency,
        clock=lambda: time.time() + clock_skew,
        ssl=_server_tls(certificate, private_key),
    )
    with on_stop_signal(stopped.set):
        async with box as running:
            for kind, every in faults:
                running.faults.add(kind, method=("POST", "PUT", "PATCH", "DELETE"), every=every, times=None)
            access = {"base_url": running.base_url, "api_key": running.api_key, "api_secret": running.api_secret}
            if output.json:
                output.print_json(access)
            else:
                output.stream.write(_announcement(access, running.webhook_secret))
            await stopped.wait()
    output.say("Stopped.")
    return ExitCode.OK


def _parse_fault(text: str) -> "tuple[Fault, int]":
    """Return a fault and how often it happens: every Nth write."""
    from panelica_async.sandbox import Fault  # noqa: PLC0415 - needs the extra

    name, _, every = text.partition(":")
    number = int(every) if every.isascii() and every.isdecimal() else int(not every)
    if name.upper() not in Fault.__members__ or number < 1:
        names = ", ".join(fault.lower() for fault in Fault.__members__)
        raise ConfigurationError(
            f"--fault must be FAULT or FAULT:N with N of at least 1, not {excerpt(text)!r}",
            hint=f"Choose a FAULT from {names}.",
        )
    return Fault[name.upper()], number


def _server_tls(certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
    """Return the TLS context for https; None for http."""
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        raise ConfigurationError("--certificate and --private-key must be passed together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, private_key)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{certificate} and {private_key} are not a certificate and its private key in PEM format"
        ) from error
    return context


def _announcement(access: dict[str, str], webhook_secret: str) -> str:
    exports = "".join(f"export PANELICA_{name.upper()}={value}\n" for name, value in access.items())
    return (
        "The sandbox is running; Ctrl-C stops it.\n\n"
        f"Base URL    {access['base_url']}\n"
        f"API key     {access['api_key']}\n"
        f"API secret  {access['api_secret']}\n"
        f"Webhooks    signed with {webhook_secret}\n\n"
        f"{exports}"
    )
