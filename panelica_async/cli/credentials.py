"""The API key that a command signs with, and the panel it is for."""

import os
import sys
from pathlib import Path
from typing import Annotated

import attrs
import typer

from panelica_async import ConfigurationError
from panelica_async.cli.output import ask_secret

PANEL = "Panel"
"""Where the help shows these options."""


@attrs.frozen(kw_only=True)
class Credentials:
    """A key and its panel; the fields are options of every command that signs."""

    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_BASE_URL",
            metavar="URL",
            help="Address of the panel, such as https://panel.example.com:8443; the port is 8443 when none is given.",
            rich_help_panel=PANEL,
        ),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_API_KEY",
            metavar="KEY",
            help="Public half of the API key, pk_live_…; the secret half comes from PANELICA_API_SECRET.",
            rich_help_panel=PANEL,
        ),
    ] = None
    api_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="File that holds the secret half, in place of the variable.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def address(self) -> str:
        """Return the address of the panel; raises `ConfigurationError` when there is none."""
        return _required("base_url", self.base_url)

    def key(self) -> str:
        """Return the public half of the key; raises `ConfigurationError` when there is none."""
        return _required("api_key", self.api_key)

    def secret(self) -> str:
        """Return the secret half of the key, asking for it on a terminal.

        Raises:
            ConfigurationError: There is none, and no terminal.
        """
        if self.api_secret_file:
            return self.api_secret_file.read_text("utf-8").strip()
        if secret := os.environ.get("PANELICA_API_SECRET"):
            return secret
        if sys.stdin.isatty():
            return ask_secret("API secret")
        raise ConfigurationError(
            "the API secret is missing",
            hint="Set the environment variable PANELICA_API_SECRET, or use --api-secret-file.",
        )


def _required(name: str, value: str | None) -> str:
    if value is None:
        option = name.replace("_", "-")
        raise ConfigurationError(
            f"{name} is missing",
            hint=f"Use --{option}, or set the environment variable PANELICA_{name.upper()}; "
            "`panelica sandbox` serves a panel to try things on.",
        )
    return value
