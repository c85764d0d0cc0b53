"""Connects a command to a panel or an embedded sandbox, and shares the quota of its key with other processes."""

import socket
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError, RateLimit, RateLimiter
from panelica_async.catalog import TIERS
from panelica_async.cli.options import HOST, OFF, ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.client import LIMIT_REFUSALS, ask_limit
from panelica_async.core.address import Address
from panelica_async.core.operation import Dialect
from panelica_async.core.redaction import excerpt
from panelica_async.ratelimit import Coordinator, shared_limiter
from panelica_async.transport.keys import apply_status

if TYPE_CHECKING:
    from panelica_async.provision import Run
    from panelica_async.ratelimit.redis import RedisCoordinator
    from panelica_async.sandbox import Sandbox

_LIMIT_DEADLINE = 5.0
"""Seconds for asking the panel for the limit."""
# Names in this domain always mean this machine (RFC 6761).
_SANDBOX_NAME, _SANDBOX_DOMAIN = "sandbox-", ".localhost"


@attrs.frozen(kw_only=True)
class Access:
    """The address of a panel, and a key for it."""

    base_url: str
    name: str
    """The name to show."""
    api_key: str = attrs.field(repr=False)
    api_secret: str = attrs.field(repr=False)
    session: aiohttp.ClientSession | None = None
    """A session that resolves the embedded sandbox."""


@attrs.frozen(kw_only=True)
class Panel:
    """A connected panel."""

    client: PanelicaClient
    name: str
    """The name to show."""
    limiter: RateLimiter
    """The limiter of the client; from the first call on, it has the limit of the key."""


@asynccontextmanager
async def connect(options: ConnectionOptions, state: StateDirectory) -> AsyncGenerator[Panel, None]:
    """Connect to the panel, or to a sandbox started for it; errors are those of `reach` and `_coordinator`."""
    sharing = options.quota_sharing()
    async with AsyncExitStack() as stack:
        access = await stack.enter_async_context(reach(options, state))
        coordinator = await _coordinator(sharing, access.api_key, stack)
        limiter: RateLimiter | None = None
        if coordinator is not None:
            limit_client = await stack.enter_async_context(_client(options, access, tier="starter"))
            limiter = await _coordinated_limiter(coordinator, options.tier, limit_client)
        if limiter is not None:
            stack.callback(limiter.close)
        client = await stack.enter_async_context(_client(options, access, tier=options.tier, limiter=limiter))
        if limiter is None:
            origin = Address.parse(access.base_url).origin
            limiter = shared_limiter(origin, access.api_key, RateLimit.for_tier("starter"))
        yield Panel(client=client, name=access.name, limiter=limiter)


def _client(
    options: ConnectionOptions, access: Access, *, tier: str, limiter: RateLimiter | None = None
) -> PanelicaClient:
    client = PanelicaClient(
        access.base_url,
        api_key=access.api_key,
        api_secret=access.api_secret,
        tier=tier,
        session=access.session,
        timeout=options.timeout,
        ssl=options.trust(),
        dialect=options.chosen_dialect() or "auto",
        app_name="panelica-cli",
        limiter=limiter,
        trust_env=options.trust_env,
    )
    client.subscribe(options.traffic)
    return client


@asynccontextmanager
async def reach(options: ConnectionOptions, state: StateDirectory) -> AsyncGenerator[Access, None]:
    """Provide the address of the panel and the key; starts the sandbox if it is used.

    Raises:
        ConfigurationError: A setting is missing or invalid.
    """
    if not options.sandbox:
        address, key = options.address(), options.key()
        name = Address.parse(address).origin
        yield Access(base_url=address, name=name, api_key=key, api_secret=options.secret())
        return
    if options.sandbox_db is None:
        state.make()
    dialect = options.chosen_dialect() or "reference"
    database = options.sandbox_db or state.sandbox_database(dialect)
    async with _embed_sandbox(database, options.sandbox_tier, dialect) as access:
        yield access


@asynccontextmanager
async def serve_sandbox(database: Path | str, tier: str, **options: Any) -> AsyncGenerator["Sandbox", None]:
    """Serve a sandbox on a database file, created if missing, or on `:memory:`.

    Args:
        database: The file.
        tier: Rate-limit tier of its key.
        options: More options of `Sandbox`.

    Raises:
        ConfigurationError: An option is invalid, or the file or the port cannot be used.
        OSError: The file cannot be created.
    """
    from panelica_async.sandbox import Sandbox  # noqa: PLC0415 - slow; other commands need not wait for it

    if tier not in TIERS:
        raise ConfigurationError(f"the tier of the sandbox must be one of {', '.join(TIERS)}, not {excerpt(tier)!r}")
    try:
        box = Sandbox(tier, db=database, **options)
        await box.start()
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"the sandbox cannot start: {error}") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise ConfigurationError(
            f"the sandbox cannot listen: {error.strerror or error}",
            hint="Choose another --host or --port; --port 0 picks a free one.",
        ) from error
    except sqlite3.Error as error:
        raise ConfigurationError(f"{database} cannot be used as the database of a sandbox: {error}") from error
    try:
        yield box
    finally:
        await box.stop()


@asynccontextmanager
async def _embed_sandbox(database: Path, tier: str, dialect: Dialect) -> AsyncGenerator[Access, None]:
    """Serve a sandbox under a host name that identifies its database; errors are those of `serve_sandbox`."""
    async with serve_sandbox(database, tier, dialect=dialect) as box:
        connector = aiohttp.TCPConnector(resolver=_Resolver(URL(box.base_url).port or 0), limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Access(
                # Journals identify a panel by its address. The key is created with the database and never changes.
                base_url=f"http://{_SANDBOX_NAME}{box.api_key[-8:]}{_SANDBOX_DOMAIN}",
                name=f"the embedded sandbox ({database})",
                api_key=box.api_key,
                api_secret=box.api_secret,
                session=session,
            )


def is_sandbox(base_url: str) -> bool:
    """Return whether an address is that of an embedded sandbox."""
    host = URL(base_url).host or ""
    return host.startswith(_SANDBOX_NAME) and host.endswith(_SANDBOX_DOMAIN)


def options_of_run(options: ConnectionOptions, run: "Run", output: Output) -> ConnectionOptions:
    """Return the options, with the embedded sandbox if the run was there and they name no panel, and say so."""
    if options.sandbox or options.base_url or not is_sandbox(run.base_url):
        return options
    output.say("Using the embedded sandbox, where the run was started.")
    return attrs.evolve(options, sandbox=True, dialect=run.dialect or options.dialect)


class _Resolver(AbstractResolver):
    """Resolves every name to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - of the interface
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def _coordinator(sharing: str | None, api_key: str, stack: AsyncExitStack) -> Coordinator | None:
    """Return the coordinator that shares the quota of a key with other programs, or None if nothing is shared.

    Args:
        sharing: `host`, `off`, the address of a Redis server, or None for the host, if possible.
        api_key: The key.
        stack: Closes the coordinator.

    Raises:
        ConfigurationError: The file of the host, or the Redis server, cannot be used.
    """
    if sharing == OFF:
        return None
    if sharing is not None and sharing != HOST:
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
            hint="Set XDG_CACHE_HOME to a directory that belongs to you, or pass --share-quota off.",
        ) from error
    stack.callback(coordinator.close)
    return coordinator


def _redis(url: str, api_key: str) -> "RedisCoordinator":
    from panelica_async.ratelimit.redis import RedisCoordinator  # noqa: PLC0415 - an extra

    try:
        return RedisCoordinator(url, key=api_key)
    except (ValueError, TypeError):
        # The message of redis-py may contain the password.
        raise ConfigurationError(
            "--share-quota is not a valid address of a Redis server",
            hint="Write redis://user:password@host:6379/0, with special characters percent-encoded.",
        ) from None


async def _coordinated_limiter(coordinator: Coordinator, tier: str, limit_client: PanelicaClient) -> RateLimiter | None:
    """Return a limiter that shares the quota of a key, or None if the client should use its own.

    If the limit of the key is not known, nothing is shared: at the pace of the slowest tier, a command would hardly get
    a permit beside programs that use a faster one. The limiter is not shared either if the key may not read its limit,
    or has none.

    Args:
        coordinator: Shares the quota.
        tier: The tier of the key, or `auto` to ask the panel.
        limit_client: The client that asks.
    """
    if tier in TIERS:
        limit = RateLimit.for_tier(tier)
        return None if limit.is_unlimited else RateLimiter(limit, coordinator=coordinator)
    limiter = RateLimiter(RateLimit.for_tier("starter"), coordinator=coordinator)
    try:
        apply_status(limiter, await ask_limit(limit_client.with_options(deadline=_LIMIT_DEADLINE, max_retries=0)))
    except LIMIT_REFUSALS:
        return RateLimiter(limiter.limit)
    except PanelicaError:
        return None  # The first call of the command reports it.
    return RateLimiter(limiter.limit) if limiter.limit.is_unlimited else limiter
