"""How commands share the quota of a key: with this host, through Redis, or not at all."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError, RateLimit, RateLimiter
from panelica_async.catalog import TIERS
from panelica_async.ratelimit import Coordinator

HOST, OFF = "host", "off"
VARIABLE = "PANELICA_SHARE_QUOTA"

_SCHEMES = ("redis://", "rediss://", "unix://")
_LIMIT_DEADLINE = 5.0
"""Seconds for asking the panel for the limit."""


def checked_sharing(value: str | None) -> str | None:
    """Return a value of --share-quota unchanged; None means the host, if possible.

    Raises:
        ConfigurationError: The value is invalid. The message does not quote it, because addresses hold passwords.
    """
    if value is None or value in {HOST, OFF} or value.startswith(_SCHEMES):
        return value
    raise ConfigurationError(
        "--share-quota must be host, off or the address of a Redis server",
        hint=f"Start the address with redis://, rediss:// or unix://; if it has a password, set it as {VARIABLE}.",
    )


@asynccontextmanager
async def shared_limiter_of(
    sharing: str | None, *, api_key: str, tier: str, asking: PanelicaClient
) -> AsyncGenerator[RateLimiter | None, None]:
    """Yield a limiter that shares the quota of a key, or None if the client should use its own.

    Without the limit of the key, nothing is shared: at the pace of the slowest tier, a command would hardly get a
    permit beside programs that use a faster one.

    Args:
        sharing: `host`, `off`, the address of a Redis server, or None for the host, if possible.
        api_key: The key. Programs that pass it to `RateLimiter.for_host` or `RedisCoordinator` share its quota.
        tier: The tier of the key, or `auto` to ask the panel.
        asking: A client that asks for the limit.

    Raises:
        ConfigurationError: The file of the host, or the Redis server, cannot be used.
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
            f"the quota cannot be shared on this host: {error}",
            hint="Set XDG_CACHE_HOME to a directory of your own, or pass --share-quota off.",
        ) from error
    stack.callback(coordinator.close)
    return coordinator


@asynccontextmanager
async def _redis(url: str, api_key: str) -> AsyncGenerator[Coordinator, None]:
    from panelica_async.ratelimit.redis import RedisCoordinator  # noqa: PLC0415 - an extra

    try:
        coordinator = RedisCoordinator(url, key=api_key)
    except (ValueError, TypeError):
        # The message of redis-py may quote the password.
        raise ConfigurationError(
            "--share-quota is not a valid address of a Redis server",
            hint="Write redis://user:password@host:6379/0, with special characters percent-encoded.",
        ) from None
    async with coordinator:
        yield coordinator


async def _limiter(coordinator: Coordinator, tier: str, asking: PanelicaClient) -> RateLimiter | None:
    if tier in TIERS:
        limit = RateLimit.for_tier(tier)
        return None if limit.is_unlimited else RateLimiter(limit, coordinator=coordinator)
    # These load models, which is slow, and unnecessary if the tier is configured.
    from panelica_async.api.tier import REFUSALS, ask_limit  # noqa: PLC0415
    from panelica_async.transport.keys import apply_status  # noqa: PLC0415

    limiter = RateLimiter(RateLimit.for_tier("starter"), coordinator=coordinator)
    try:
        apply_status(limiter, await ask_limit(asking.with_options(deadline=_LIMIT_DEADLINE, max_retries=0)))
    except REFUSALS:
        return RateLimiter(limiter.limit)
    except PanelicaError:
        return None  # The first call of the command reports it.
    return RateLimiter(limiter.limit) if limiter.limit.is_unlimited else limiter
