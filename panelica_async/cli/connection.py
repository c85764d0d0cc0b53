"""Which panel a command talks to: a server, or the embedded sandbox."""

import os
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import attrs
import typer

from panelica_async import ConfigurationError, PanelicaClient, RateLimit, RateLimiter
from panelica_async.cli.embedded import embed_sandbox
from panelica_async.cli.output import ask_secret
from panelica_async.cli.state import StateDirectory
from panelica_async.core.address import Address
from panelica_async.facts import TIERS
from panelica_async.ratelimit import shared_limiter

_PANEL = "Panel"
_SANDBOX = "Sandbox"
_TIERS = ", ".join(TIERS)


@attrs.frozen(kw_only=True)
class Panel:
    """A panel that can be called."""

    client: PanelicaClient
    name: str
    """For people."""
    api_key: str = attrs.field(repr=False)

    @property
    def limiter(self) -> RateLimiter:
        """What the client waits for; its limit is that of the key once a call was made."""
        origin = Address.parse(self.client.base_url).origin
        return shared_limiter(origin, self.api_key, RateLimit.for_tier("starter"))


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
            "--tier",
            metavar="TIER",
            help=f"Rate limit of the key: {_TIERS}; auto asks the panel.",
            rich_help_panel=_PANEL,
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
    async def open(self, state: StateDirectory) -> AsyncGenerator[Panel, None]:
        """Connect, starting the sandbox first if that is what is meant.

        Raises:
            ConfigurationError: A setting is missing or cannot be right.
        """
        async with AsyncExitStack() as resources:
            if self.sandbox:
                if self.sandbox_db is None:
                    state.make()
                database = self.sandbox_db or state.sandbox_database
                box = await resources.enter_async_context(embed_sandbox(database, self.sandbox_tier))
                address, key, secret, session = box.base_url, box.api_key, box.api_secret, box.session
                name = f"the embedded sandbox ({database})"
            else:
                address, key = _required("base_url", self.base_url), _required("api_key", self.api_key)
                name = Address.parse(address).origin
                secret, session = self._secret(), None
            client = PanelicaClient(
                address,
                api_key=key,
                api_secret=secret,
                tier=self.tier,
                session=session,
                timeout=self.timeout,
                ssl=self._trust(),
                app_name="panelica-cli",
            )
            await resources.enter_async_context(client)
            yield Panel(client=client, name=name, api_key=key)

    def flags(self) -> list[str]:
        """Return the options that reach the same panel again, without credentials."""
        if self.sandbox:
            return ["--sandbox", *(["--sandbox-db", str(self.sandbox_db)] if self.sandbox_db else [])]
        if self.base_url is None or self.base_url == os.environ.get("PANELICA_BASE_URL"):
            return []
        return ["--base-url", self.base_url]

    def _secret(self) -> str:
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
