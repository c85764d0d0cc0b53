"""Which panel a command talks to: a server, or the embedded sandbox."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import attrs
import typer

from panelica_async import ConfigurationError, PanelicaClient, RateLimit, RateLimiter
from panelica_async.catalog import TIERS
from panelica_async.cli.completion import complete_tier, complete_tier_or_auto
from panelica_async.cli.credentials import PANEL, Credentials
from panelica_async.cli.embedded import embed_sandbox
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.sharing import HOST, OFF, VARIABLE, checked_sharing, shared_limiter_of
from panelica_async.cli.traffic import Traffic
from panelica_async.core.address import Address
from panelica_async.ratelimit import shared_limiter
from panelica_async.transport.tls import TlsSetting

_SANDBOX = "Sandbox"
_TIERS = ", ".join(TIERS)


@attrs.frozen(kw_only=True)
class Access:
    """Where a panel is, and the key for it."""

    base_url: str
    name: str
    """For people."""
    api_key: str = attrs.field(repr=False)
    api_secret: str = attrs.field(repr=False)
    session: aiohttp.ClientSession | None = None
    """The session that finds the embedded sandbox."""


@attrs.frozen(kw_only=True)
class Panel:
    """A panel that can be called."""

    client: PanelicaClient
    name: str
    """For people."""
    limiter: RateLimiter
    """What the client waits for; its limit is that of the key once a call was made."""


@attrs.frozen(kw_only=True)
class Connection(Credentials):
    """How to reach the panel; its fields are options of every command that calls it."""

    tier: Annotated[
        str,
        typer.Option(
            "--tier",
            metavar="TIER",
            help=f"Rate limit of the key: {_TIERS}; auto asks the panel.",
            autocompletion=complete_tier_or_auto,
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    share_quota: Annotated[
        str | None,
        typer.Option(
            "--share-quota",
            envvar=VARIABLE,
            metavar="host|off|redis://…",
            help="Share the quota of the key with all processes of this user on this host, with none, or with "
            "those that use the same Redis.",
            show_default="host, where its file can be private",
            rich_help_panel=PANEL,
        ),
    ] = attrs.field(default=None, repr=False)
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long one attempt may take.", rich_help_panel=PANEL)
    ] = 30.0
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Certificate to trust, in PEM form, for panels with their own.",
            rich_help_panel=PANEL,
        ),
    ] = None
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="sha256:…",
            help="Fingerprint of the only certificate to accept, as `panelica doctor` shows it.",
            rich_help_panel=PANEL,
        ),
    ] = None
    trust_env: Annotated[
        bool,
        typer.Option(
            "--trust-env",
            help="Go through the proxy that HTTPS_PROXY or HTTP_PROXY names.",
            rich_help_panel=PANEL,
        ),
    ] = False
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Use an embedded sandbox panel, not a server.", rich_help_panel=_SANDBOX),
    ] = False
    sandbox_tier: Annotated[
        str,
        typer.Option(
            metavar="TIER",
            help=f"Its rate limit: {_TIERS}.",
            autocompletion=complete_tier,
            rich_help_panel=_SANDBOX,
        ),
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

    traffic: Traffic = attrs.field(init=False, repr=False, eq=False, factory=Traffic)
    """What was sent through this connection."""

    @asynccontextmanager
    async def open(self, state: StateDirectory) -> AsyncGenerator[Panel, None]:
        """Connect, starting the sandbox first if that is what is meant; errors are those of `reach` and of sharing."""
        sharing = OFF if self.sandbox else checked_sharing(self.share_quota)
        async with AsyncExitStack() as stack:
            access = await stack.enter_async_context(self.reach(state))
            asking = await stack.enter_async_context(self._client(access, tier="starter"))
            limiter = await stack.enter_async_context(
                shared_limiter_of(sharing, api_key=access.api_key, tier=self.tier, asking=asking)
            )
            client = await stack.enter_async_context(self._client(access, tier=self.tier, limiter=limiter))
            if limiter is None:
                origin = Address.parse(access.base_url).origin
                limiter = shared_limiter(origin, access.api_key, RateLimit.for_tier("starter"))
            yield Panel(client=client, name=access.name, limiter=limiter)

    def _client(self, access: Access, *, tier: str, limiter: RateLimiter | None = None) -> PanelicaClient:
        client = PanelicaClient(
            access.base_url,
            api_key=access.api_key,
            api_secret=access.api_secret,
            tier=tier,
            session=access.session,
            timeout=self.timeout,
            ssl=self.trust(),
            app_name="panelica-cli",
            limiter=limiter,
            trust_env=self.trust_env,
        )
        client.subscribe(self.traffic)
        return client

    @asynccontextmanager
    async def reach(self, state: StateDirectory) -> AsyncGenerator[Access, None]:
        """Find out where the panel is and with which key, starting the sandbox first if that is what is meant.

        Raises:
            ConfigurationError: A setting is missing or invalid.
        """
        if not self.sandbox:
            address, key = self.address(), self.key()
            name = Address.parse(address).origin
            yield Access(base_url=address, name=name, api_key=key, api_secret=self.secret())
            return
        if self.sandbox_db is None:
            state.make()
        database = self.sandbox_db or state.sandbox_database
        async with embed_sandbox(database, self.sandbox_tier) as box:
            yield Access(
                base_url=box.base_url,
                name=f"the embedded sandbox ({database})",
                api_key=box.api_key,
                api_secret=box.api_secret,
                session=box.session,
            )

    def trust(self) -> TlsSetting:
        """Return how to verify the panel's certificate.

        Raises:
            ConfigurationError: There are two ways, or the fingerprint is none.
        """
        if self.fingerprint is None:
            return self.ca_file
        if self.ca_file is not None:
            raise ConfigurationError("--ca-file and --fingerprint are two ways to trust a certificate; give one")
        if not self.fingerprint.lower().startswith("sha256:"):
            raise ConfigurationError(f"--fingerprint {self.fingerprint}: write sha256: before the digits")
        return self.fingerprint

    def flags(self) -> list[str]:
        """Return the options that reach the same panel again, without credentials."""
        if self.sandbox:
            return ["--sandbox", *(["--sandbox-db", str(self.sandbox_db)] if self.sandbox_db else [])]
        address = None if self.base_url == os.environ.get("PANELICA_BASE_URL") else self.base_url
        given = {"--base-url": address, "--ca-file": self.ca_file, "--fingerprint": self.fingerprint}
        texts = [text for option, value in given.items() if value is not None for text in (option, str(value))]
        # The address of a Redis has its password; it is not repeated.
        if self.share_quota in {HOST, OFF} and self.share_quota != os.environ.get(VARIABLE):
            texts += ["--share-quota", self.share_quota]
        return [*texts, "--trust-env"] if self.trust_env else texts
