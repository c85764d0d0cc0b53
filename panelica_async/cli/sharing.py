"""With whom a command shares the quota of its key: the processes of this host, those of a Redis, or none."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError, RateLimit, RateLimiter
from panelica_async.catalog import TIERS
from panelica_async.ratelimit import Coordinator

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
    from panelica_async.tier import REFUSALS, ask_limit  # noqa: PLC0415
    from panelica_async.transport.keys import apply_status  # noqa: PLC0415

    limiter = RateLimiter(RateLimit.for_tier("starter"), coordinator=coordinator)
    try:
        apply_status(limiter, await ask_limit(asking.with_options(deadline=_PATIENCE, max_retries=0)))
    except REFUSALS:
        return RateLimiter(limiter.limit)
    except PanelicaError:
        return None  # The panel's silence is the business of the command's first call.
    return RateLimiter(limiter.limit) if limiter.limit.is_unlimited else limiter
