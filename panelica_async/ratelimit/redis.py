"""Several hosts: they share a quota through Redis. Needs the extra `redis`."""

import asyncio
import hashlib
import json
import secrets
from importlib import resources
from types import TracebackType
from typing import Self

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.coordination import BATCH, GRACE, HOLD, HORIZON, Claim, Request
from panelica_async.ratelimit.rules import MAX_SLOWNESS, RECOVERY, UNPACED_INTERVAL

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as _missing:
    raise ConfigurationError(
        "The Redis coordinator needs redis-py", hint="pip install 'panelica_async[redis]'"
    ) from _missing

__all__ = ["RedisCoordinator"]

# Seconds for one claim; it takes Redis less than a thousandth. Longer means that it is away.
_TIMEOUT = 1.0

# Raised with every change of the script's data, so that old and new versions of the package do not meet.
_FORMAT = 1

SCRIPT = resources.files("panelica_async.ratelimit").joinpath("claim.lua").read_text(encoding="utf-8")
"""The script that answers a claim."""

CONSTANTS = json.dumps(
    {
        "batch": BATCH,
        "grace": GRACE,
        "hold": HOLD,
        "horizon": HORIZON,
        "recovery": RECOVERY,
        "max_slowness": MAX_SLOWNESS,
        "unpaced_interval": UNPACED_INTERVAL,
        # Requests remembered of a window; the largest known limit is 10,000 an hour (panel-facts C).
        "record": 10_000,
        # Seconds without a claim after which nothing in Redis is of use: the longest window, and a pause before it.
        "expiry": 7200,
    }
)
"""What the script needs to know of `coordination` and `rules`."""


def keys(key: str) -> list[str]:
    """Return the names of what the script keeps, in one slot of a cluster."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return [f"panelica_async:v{_FORMAT}:{{{digest}}}:{name}" for name in ("state", "minute", "hour", "members")]


def arguments(request: Request) -> list[str]:
    """Return the arguments of the script."""
    return [json.dumps(attrs.asdict(request)), CONSTANTS, secrets.token_hex(8)]


def read_claim(reply: list[bytes]) -> Claim:
    """Return what the script answered."""
    store, members, opens_in, retry_in, *delays = reply
    return Claim(
        delays=tuple(map(float, delays)),
        opens_in=float(opens_in),
        retry_in=float(retry_in),
        members=int(members),
        store=store.decode(),
    )


class RedisCoordinator:
    """Shares a quota between all who use the same Redis and key.

    Each claim runs one script, on the clock of the Redis server. What it keeps expires two hours after the
    last claim.

    ```python
    async with RedisCoordinator("redis://redis.example.com:6379/0", key=api_key) as coordinator:
        limiter = RateLimiter(RateLimit.for_tier("professional"), coordinator=coordinator)
    ```

    Args:
        url: Address of the server, as redis-py reads it: `redis://`, `rediss://` or `unix://`.
        key: Names the quota: the API key, of which only a digest is sent.
    """

    def __init__(self, url: str, *, key: str) -> None:
        self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py does not type its options
            url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # A connection of before a restart of Redis fails once; more patience would only delay the share.
            retry=Retry(NoBackoff(), 1),
        )
        self._script = self._redis.register_script(SCRIPT)
        self._keys = keys(key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def claim(self, request: Request) -> Claim:
        """Take in what the member says, and give it places.

        Raises:
            redis.RedisError: The server is away, or answers an error.
            TimeoutError: It does not answer within a second.
        """
        async with asyncio.timeout(_TIMEOUT):
            return read_claim(await self._script(keys=self._keys, args=arguments(request)))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
