"""The Typer app of `panelica`: collects its subcommands from the modules here."""

from typing import Annotated

import typer

from panelica_async._version import __version__
from panelica_async.cli.command import Command, Group
from panelica_async.cli.commands.doctor import doctor
from panelica_async.cli.commands.provision import provision
from panelica_async.cli.commands.request import api, sign
from panelica_async.cli.commands.sandbox import sandbox
from panelica_async.cli.commands.spec import spec


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"panelica_async {__version__}")
        raise typer.Exit


_COMMANDS = ("provision", "doctor", "api", "spec", "sign", "sandbox")


class _InOrder(Group):
    """Lists the commands in the order of `_COMMANDS`; typer would list groups, such as the main command, last."""

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - of the base class
        """Return the names of the commands."""
        return sorted(self.commands, key=_COMMANDS.index)


app: typer.Typer = typer.Typer(
    name="panelica",
    cls=_InOrder,
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
app.command(cls=Command, epilog="Example: panelica api GET /v1/domains --query status=active")(api)
app.command(cls=Command, epilog="Example: panelica doctor --base-url panel.example.com --require domains:write")(doctor)
app.command(cls=Command, epilog="Example: panelica sign POST /v1/accounts --data @account.json --curl")(sign)
app.add_typer(spec, name="spec")
app.command(cls=Command, epilog="Example: panelica sandbox --port 3002 --db panel.db")(sandbox)
