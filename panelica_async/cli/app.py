"""The commands and their options."""

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Annotated

import typer

from panelica_async._version import __version__
from panelica_async.catalog import TIERS
from panelica_async.cli.commands.api import api
from panelica_async.cli.commands.doctor import doctor
from panelica_async.cli.commands.provision import provision
from panelica_async.cli.commands.sandbox import sandbox
from panelica_async.cli.commands.sign import sign


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"panelica_async {__version__}")
        raise typer.Exit


app: typer.Typer = typer.Typer(
    name="panelica",
    help="Work with a Panelica hosting panel through its External API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: panelica provision apply launch.csv --sandbox",
)


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Work with a Panelica hosting panel through its External API."""


app.add_typer(provision, name="provision")
app.command(epilog="Example: panelica api GET /v1/domains --query status=active")(api)
app.command(epilog="Example: panelica doctor --base-url panel.example.com --require domains:write")(doctor)
app.command(epilog="Example: panelica sign POST /v1/accounts --data @account.json --curl")(sign)
app.command(epilog="Example: panelica sandbox --port 3002 --db panel.db")(sandbox)


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def complete_tier(incomplete: str) -> list[str]:
    """Return the tiers that begin so."""
    return _beginning(TIERS, incomplete)


def complete_tier_or_auto(incomplete: str) -> list[str]:
    """Return the tiers that begin so, and `auto`."""
    return _beginning(("auto", *TIERS), incomplete)


def complete_method(incomplete: str) -> list[str]:
    """Return the methods that begin so, in any case."""
    return _beginning(_METHODS, incomplete.upper())


def complete_path(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the documented paths that begin so and take the method before them; ids are left as `{id}`."""
    method = str(ctx.params.get("method") or "").lower()
    paths = json.loads(files("panelica_async").joinpath("openapi.json").read_text("utf-8"))["paths"]
    return _beginning((path for path, operations in paths.items() if not method or method in operations), incomplete)


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]
