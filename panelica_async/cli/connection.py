"""Connects a command to a panel, and shares the quota of its key with other processes."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError, RateLimit, RateLimiter
from panelica_async.api.dialect import DEFAULT_DIALECT, DIALECT_VARIABLE, DIALECTS, chosen_dialect, default_dialect
from panelica_async.catalog import TIERS
from panelica_async.cli.embedded import embed_sandbox
from panelica_async.cli.options import PANEL, Access, Credentials, StateDirectory, completing
from panelica_async.client import LIMIT_REFUSALS, ask_limit
from panelica_async.core.address import Address
from panelica_async.core.operation import Dialect
from panelica_async.core.redaction import excerpt
from panelica_async.ratelimit import Coordinator, shared_limiter
from panelica_async.telemetry import Event, Sent
from panelica_async.transport.keys import apply_status
from panelica_async.transport.session import TlsSetting

if TYPE_CHECKING:
    from panelica_async.ratelimit.redis import RedisCoordinator

_SANDBOX = "Sandbox"
_TIERS = ", ".join(TIERS)
_READS = {"GET", "HEAD", "OPTIONS"}
_UNCOUNTED = "health"
"""Not signed; the client also asks it for the dialect."""
_HOST, _OFF = "host", "off"
_SHARING_VARIABLE = "PANELICA_SHARE_QUOTA"
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_LIMIT_DEADLINE = 5.0
"""Seconds for asking the panel for the limit."""


@attrs.define
class Traffic:
    """Counts the attempts of the clients it is subscribed to, except those that use no quota."""

    writes: int = 0
    reads: int = 0

    def __call__(self, event: Event) -> None:
        """Count a call when it is sent."""
        if isinstance(event, Sent) and event.operation != _UNCOUNTED:
            is_read = event.method in _READS
            self.reads += is_read
            self.writes += not is_read

    @property
    def calls(self) -> int:
        """Number of calls, writes and reads."""
        return self.writes + self.reads


@attrs.frozen(kw_only=True)
class Panel:
    """A connected panel."""

    client: PanelicaClient
    name: str
    """The name to show."""
    limiter: RateLimiter
    """The limiter of the client; from the first call on, it has the limit of the key."""


@attrs.frozen(kw_only=True)
class Connection(Credentials):
    """How to connect to the panel. The public fields are options of every command that calls it."""

    tier: Annotated[
        str,
        typer.Option(
            "--tier",
            metavar="TIER",
            help=f"Rate-limit tier of the key: {_TIERS}; auto asks the panel.",
            autocompletion=completing("auto", *TIERS),
            rich_help_panel=PANEL,
        ),
    ] = "auto"
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect",
            envvar=DIALECT_VARIABLE,
            metavar="DIALECT",
            help="API that the panel speaks: panel for that of current panels, reference for the published one; auto "
            "asks the panel.",
            autocompletion=completing(*DIALECTS),
            rich_help_panel=PANEL,
        ),
    ] = DEFAULT_DIALECT
    share_quota: Annotated[
        str | None,
        typer.Option(
            "--share-quota",
            envvar=_SHARING_VARIABLE,
            metavar="host|off|URL",
            help="Share the quota of the key with other processes: those of this user on this host, none, or all that "
            "use the same Redis server.",
            show_default="host, if possible",
            rich_help_panel=PANEL,
        ),
    ] = attrs.field(default=None, repr=False)
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Timeout of each attempt.", rich_help_panel=PANEL)
    ] = 30.0
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The only certificates to trust, in PEM format, for a panel with a self-signed one.",
            rich_help_panel=PANEL,
        ),
    ] = None
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="sha256:…",
            help="The only certificate to accept, by the fingerprint that `panelica doctor` shows.",
            rich_help_panel=PANEL,
        ),
    ] = None
    trust_env: Annotated[
        bool,
        typer.Option(
            "--trust-env",
            metavar="",
            help="Use the proxy in HTTPS_PROXY or HTTP_PROXY.",
            rich_help_panel=PANEL,
        ),
    ] = False
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox",
            metavar="",
            help="Use an embedded sandbox instead of a server; it speaks the reference unless you pass --dialect.",
            rich_help_panel=_SANDBOX,
        ),
    ] = False
    sandbox_tier: Annotated[
        str,
        typer.Option(
            metavar="TIER",
            help=f"Rate-limit tier of the sandbox: {_TIERS}.",
            autocompletion=completing(*TIERS),
            rich_help_panel=_SANDBOX,
        ),
    ] = "business"
    sandbox_db: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Database of the sandbox, kept between runs.",
            show_default="sandbox.db in the state directory; sandbox-panel.db with --dialect panel",
            rich_help_panel=_SANDBOX,
        ),
    ] = None

    traffic: Traffic = attrs.field(init=False, repr=False, eq=False, factory=Traffic)
    """The calls sent through this connection."""

    @asynccontextmanager
    async def open(self, state: StateDirectory) -> AsyncGenerator[Panel, None]:
        """Connect, and start the sandbox if it is used; errors are those of `reach` and of sharing."""
        sharing = _OFF if self.sandbox else _checked_sharing(self.share_quota)
        async with AsyncExitStack() as stack:
            access = await stack.enter_async_context(self.reach(state))
            asking = await stack.enter_async_context(self._client(access, tier="starter"))
            limiter = None
            if (coordinator := await _coordinator(sharing, access.api_key, stack)) is not None:
                limiter = await _coordinated_limiter(coordinator, self.tier, asking)
            if limiter is not None:
                stack.callback(limiter.close)
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
            dialect=self.chosen_dialect() or "auto",
            app_name="panelica-cli",
            limiter=limiter,
            trust_env=self.trust_env,
        )
        client.subscribe(self.traffic)
        return client

    @asynccontextmanager
    async def reach(self, state: StateDirectory) -> AsyncGenerator[Access, None]:
        """Yield the address of the panel and the key; starts the sandbox if it is used.

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
        dialect = self.chosen_dialect() or "reference"
        database = self.sandbox_db or state.sandbox_database(dialect)
        async with embed_sandbox(database, self.sandbox_tier, dialect) as access:
            yield access

    def trust(self) -> TlsSetting:
        """Return how to verify the panel's certificate.

        Raises:
            ConfigurationError: There are two, or the fingerprint is invalid.
        """
        if self.fingerprint is None:
            return self.ca_file
        if self.ca_file is not None:
            raise ConfigurationError("--ca-file and --fingerprint cannot be combined", hint="Pass only one of them.")
        if not self.fingerprint.lower().startswith("sha256:"):
            raise ConfigurationError(f"--fingerprint must start with sha256:, not {excerpt(self.fingerprint)!r}")
        return self.fingerprint

    def chosen_dialect(self) -> Dialect | None:
        """Return the dialect to speak, or None to ask the panel; raises `ConfigurationError` for any other name."""
        return chosen_dialect(self.dialect)

    def flags(self) -> list[str]:
        """Return the options that select the same panel, without credentials."""
        dialect = [] if self.dialect == default_dialect() else ["--dialect", self.dialect]
        if self.sandbox:
            return ["--sandbox", *(["--sandbox-db", str(self.sandbox_db)] if self.sandbox_db else []), *dialect]
        address = None if self.base_url == os.environ.get("PANELICA_BASE_URL") else self.base_url
        options = {"--base-url": address, "--ca-file": self.ca_file, "--fingerprint": self.fingerprint}
        texts = [text for option, value in options.items() if value is not None for text in (option, str(value))]
        texts += dialect
        # The address of a Redis server may hold a password.
        if self.share_quota in {_HOST, _OFF} and self.share_quota != os.environ.get(_SHARING_VARIABLE):
            texts += ["--share-quota", self.share_quota]
        return [*texts, "--trust-env"] if self.trust_env else texts


def _checked_sharing(value: str | None) -> str | None:
    """Return a value of --share-quota unchanged; None means the host, if possible.

    Raises:
        ConfigurationError: The value is invalid. The message does not quote it, because addresses hold passwords.
    """
    if value is None or value in {_HOST, _OFF} or value.startswith(_REDIS_SCHEMES):
        return value
    raise ConfigurationError(
        "--share-quota must be host, off or the address of a Redis server",
        hint="Start the address with redis://, rediss:// or unix://; if it has a password, set it as "
        f"{_SHARING_VARIABLE}.",
    )


async def _coordinator(sharing: str | None, api_key: str, stack: AsyncExitStack) -> Coordinator | None:
    """Return what shares the quota of a key with the programs that pass it to `for_host` or `RedisCoordinator`.

    Args:
        sharing: `host`, `off`, the address of a Redis server, or None for the host, if possible.
        api_key: The key.
        stack: Closes the coordinator.

    Raises:
        ConfigurationError: The file of the host, or the Redis server, cannot be used.
    """
    if sharing == _OFF:
        return None
    if sharing is not None and sharing != _HOST:
        return await stack.enter_async_context(_redis(sharing, api_key))
    from panelica_async.ratelimit.sqlite import HostCoordinator  # noqa: PLC0415 - `--help` need not wait for it

    try:
        coordinator = HostCoordinator(api_key)
        coordinator.prepare()
    except (ConfigurationError, OSError, RuntimeError) as error:
        if sharing is None:
            return None
        raise ConfigurationError(
            f"the quota cannot be shared on this host: {error}",
            hint="Set XDG_CACHE_HOME to a directory of your own, or pass --share-quota off.",
        ) from error
    stack.callback(coordinator.close)
    return coordinator


def _redis(url: str, api_key: str) -> "RedisCoordinator":
    from panelica_async.ratelimit.redis import RedisCoordinator  # noqa: PLC0415 - an extra

    try:
        return RedisCoordinator(url, key=api_key)
    except (ValueError, TypeError):
        # The message of redis-py may quote the password.
        raise ConfigurationError(
            "--share-quota is not a valid address of a Redis server",
            hint="Write redis://user:password@host:6379/0, with special characters percent-encoded.",
        ) from None


async def _coordinated_limiter(coordinator: Coordinator, tier: str, asking: PanelicaClient) -> RateLimiter | None:
    """Return a limiter that shares the quota of a key, or None if the client should use its own.

    Without the limit of the key, nothing is shared: at the pace of the slowest tier, a command would hardly get a
    permit beside programs that use a faster one.

    Args:
        coordinator: Shares the quota.
        tier: The tier of the key, or `auto` to ask the panel.
        asking: A client that asks for the limit.
    """
    if tier in TIERS:
        limit = RateLimit.for_tier(tier)
        return None if limit.is_unlimited else RateLimiter(limit, coordinator=coordinator)
    limiter = RateLimiter(RateLimit.for_tier("starter"), coordinator=coordinator)
    try:
        apply_status(limiter, await ask_limit(asking.with_options(deadline=_LIMIT_DEADLINE, max_retries=0)))
    except LIMIT_REFUSALS:
        return RateLimiter(limiter.limit)
    except PanelicaError:
        return None  # The first call of the command reports it.
    return RateLimiter(limiter.limit) if limiter.limit.is_unlimited else limiter
