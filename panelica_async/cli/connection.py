"""Which panel a command talks to: a server, or the embedded sandbox."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import attrs
import typer

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError, RateLimit, RateLimiter
from panelica_async.catalog import TIERS
from panelica_async.cli.embedded import embed_sandbox
from panelica_async.cli.options import PANEL, Credentials, StateDirectory, complete_tier, complete_tier_or_auto
from panelica_async.core.address import Address
from panelica_async.ratelimit import Coordinator, shared_limiter
from panelica_async.telemetry import Event, Sent
from panelica_async.transport.session import TlsSetting

_READS = {"GET", "HEAD", "OPTIONS"}


@attrs.define
class Traffic:
    """Counts the attempts of the clients that it listens to; each took a place in the quota."""

    writes: int = 0
    reads: int = 0

    def __call__(self, event: Event) -> None:
        """Count a call that leaves."""
        if isinstance(event, Sent):
            is_read = event.method in _READS
            self.reads += is_read
            self.writes += not is_read

    @property
    def calls(self) -> int:
        """Number of calls of either kind."""
        return self.writes + self.reads


HOST, OFF = "host", "off"
VARIABLE = "PANELICA_SHARE_QUOTA"

_SCHEMES = ("redis://", "rediss://", "unix://")
# Seconds in which the panel says what the key may send.
_PATIENCE = 5.0


def checked_sharing(value: str | None) -> str | None:
    """Return a value of --share-quota as it is; None stands for the host where that is possible.

    Raises:
        ConfigurationError: It is no such value. The message does not quote it: addresses hold passwords.
    """
    if value is None or value in {HOST, OFF} or value.startswith(_SCHEMES):
        return value
    raise ConfigurationError(
        "--share-quota must be host, off, or the address of a Redis server",
        hint=f"Begin an address with redis://, rediss:// or unix://, and keep its password in {VARIABLE}.",
    )


@asynccontextmanager
async def shared_limiter_of(
    sharing: str | None, *, api_key: str, tier: str, asking: PanelicaClient
) -> AsyncGenerator[RateLimiter | None, None]:
    """Give a limiter that shares the quota of a key; None when nothing is shared and the panel is still to be asked.

    Nothing is shared as long as the limit of the key is unknown: at the pace of the slowest tier, a command would find
    no place beside programs that know a faster one.

    Args:
        sharing: `host`, `off`, the address of a Redis server, or None for the host where that is possible.
        api_key: The key. Programs share its quota that pass it to `RateLimiter.for_host` or `RedisCoordinator`.
        tier: Its tier, or `auto` to ask the panel.
        asking: A client for that question.

    Raises:
        ConfigurationError: The host's file or the Redis that was asked for cannot be used.
    """
    async with AsyncExitStack() as stack:
        coordinator = await _coordinator(sharing, api_key, stack)
        limiter = None if coordinator is None else await _limiter(coordinator, tier, asking)
        if limiter is not None:
            stack.callback(limiter.close)
        yield limiter


async def _coordinator(sharing: str | None, api_key: str, stack: AsyncExitStack) -> Coordinator | None:
    if sharing == OFF:
        return None
    if sharing is not None and sharing != HOST:
        return await stack.enter_async_context(_redis(sharing, api_key))
    from panelica_async.ratelimit.sqlite import HostCoordinator  # noqa: PLC0415 - `--help` needs no sqlite3

    try:
        coordinator = HostCoordinator(api_key)
        coordinator.prepare()
    except (ConfigurationError, OSError, RuntimeError) as error:
        if sharing is None:
            return None
        raise ConfigurationError(
            f"the quota cannot be shared with this host: {error}",
            hint="Set XDG_CACHE_HOME to a directory of your own, or use --share-quota off.",
        ) from error
    stack.callback(coordinator.close)
    return coordinator


@asynccontextmanager
async def _redis(url: str, api_key: str) -> AsyncGenerator[Coordinator, None]:
    from panelica_async.ratelimit.redis import RedisCoordinator  # noqa: PLC0415 - an extra

    try:
        coordinator = RedisCoordinator(url, key=api_key)
    except (ValueError, TypeError):
        # What redis-py says may quote the password.
        raise ConfigurationError(
            "the address of Redis for --share-quota cannot be read",
            hint="Write redis://user:password@host:6379/0, with special characters percent-encoded.",
        ) from None
    async with coordinator:
        yield coordinator


async def _limiter(coordinator: Coordinator, tier: str, asking: PanelicaClient) -> RateLimiter | None:
    if tier in TIERS:
        limit = RateLimit.for_tier(tier)
        return None if limit.is_unlimited else RateLimiter(limit, coordinator=coordinator)
    # They load models, which commands that are told the tier need not wait for.
    from panelica_async.api.tier import REFUSALS, ask_limit  # noqa: PLC0415
    from panelica_async.transport.keys import apply_status  # noqa: PLC0415

    limiter = RateLimiter(RateLimit.for_tier("starter"), coordinator=coordinator)
    try:
        apply_status(limiter, await ask_limit(asking.with_options(deadline=_PATIENCE, max_retries=0)))
    except REFUSALS:
        return RateLimiter(limiter.limit)
    except PanelicaError:
        return None  # The panel's silence is the business of the command's first call.
    return RateLimiter(limiter.limit) if limiter.limit.is_unlimited else limiter


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
