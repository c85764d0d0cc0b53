"""Which panel a command talks to: a server, or the embedded sandbox."""

import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import attrs
import typer

from panelica_async import ConfigurationError, PanelicaClient
from panelica_async.cli.state import StateDirectory
from panelica_async.facts import TIERS

_PANEL = "Panel"
_SANDBOX = "Sandbox"
_TIERS = ", ".join(TIERS)


@attrs.frozen(kw_only=True)
class Connection:
    """How to reach the panel; its fields are options of every command that does."""

    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_BASE_URL",
            metavar="URL",
            help="Address of the panel, such as https://panel.example.com:8443.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_API_KEY",
            metavar="KEY",
            help="Public half of the API key, pk_live_…; the secret half comes from PANELICA_API_SECRET.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    api_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="File that holds the secret half, in place of the variable.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    tier: Annotated[
        str,
        typer.Option(
            metavar="TIER", help=f"Rate limit of the key: {_TIERS}; auto asks the panel.", rich_help_panel=_PANEL
        ),
    ] = "auto"
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long one attempt may take.", rich_help_panel=_PANEL)
    ] = 30.0
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Certificate to trust, in PEM form, for panels with their own.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Use an embedded sandbox panel, not a server.", rich_help_panel=_SANDBOX),
    ] = False
    sandbox_tier: Annotated[
        str, typer.Option(metavar="TIER", help=f"Its rate limit: {_TIERS}.", rich_help_panel=_SANDBOX)
    ] = "business"
    sandbox_db: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its database, kept from run to run.",
            show_default="sandbox.db in the state directory",
            rich_help_panel=_SANDBOX,
        ),
    ] = None

    @asynccontextmanager
    async def open(self, state: StateDirectory) -> AsyncIterator[PanelicaClient]:
        """Connect, starting the sandbox first if that is what is meant.

        Raises:
            ConfigurationError: A setting is missing or cannot be right.
        """
        if self.sandbox:
            async with self._sandbox(state) as panel:
                yield panel
            return
        async with PanelicaClient(
            _required("base_url", self.base_url),
            api_key=_required("api_key", self.api_key),
            api_secret=self._secret(),
            tier=self.tier,
            timeout=self.timeout,
            ssl=self._trust(),
            app_name="panelica-cli",
        ) as panel:
            yield panel

    @asynccontextmanager
    async def _sandbox(self, state: StateDirectory) -> AsyncIterator[PanelicaClient]:
        from panelica_async.sandbox import Sandbox  # noqa: PLC0415 - costs time that other commands need not spend

        if self.sandbox_tier not in TIERS:
            raise ConfigurationError(f"sandbox_tier is {self.sandbox_tier!r}; it takes {_TIERS}")
        database = self.sandbox_db or state.make() / "sandbox.db"
        async with (
            Sandbox(self.sandbox_tier, db=database) as box,
            PanelicaClient(
                box.base_url,
                api_key=box.api_key,
                api_secret=box.api_secret,
                tier=self.tier,
                timeout=self.timeout,
                app_name="panelica-cli",
            ) as panel,
        ):
            yield panel

    def _secret(self) -> str:
        if self.api_secret_file:
            return self.api_secret_file.read_text("utf-8").strip()
        if secret := os.environ.get("PANELICA_API_SECRET"):
            return secret
        if sys.stdin.isatty():
            return str(typer.prompt("API secret", hide_input=True, err=True))
        raise ConfigurationError(
            "the API secret is missing",
            hint="Set the environment variable PANELICA_API_SECRET, or use --api-secret-file.",
        )

    def _trust(self) -> ssl.SSLContext | None:
        if self.ca_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise ConfigurationError(f"{self.ca_file} holds no certificate in PEM form") from error


def _required(name: str, value: str | None) -> str:
    if value is None:
        option = name.replace("_", "-")
        raise ConfigurationError(
            f"{name} is missing",
            hint=f"Use --{option}, or set the environment variable PANELICA_{name.upper()}; "
            "--sandbox needs no panel at all.",
        )
    return value
