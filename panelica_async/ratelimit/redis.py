"""Several hosts: they share a quota through Redis. Needs the extra `redis`."""

import asyncio
import hashlib
import json
import secrets
import ssl
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from types import TracebackType
from typing import Any, Self

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.feedback import MAX_WAIT
from panelica_async.ratelimit.limit import IRREGULARITY, LARGEST_RESERVE, LATELY, RECHECK, Quota, RateLimit
from panelica_async.ratelimit.rules import MAX_SLOWDOWN, RECORD, RECOVERY, UNPACED_INTERVAL
from panelica_async.ratelimit.store import (
    BATCH,
    LOOKAHEAD,
    MAX_LEAD,
    MEMBER_TTL,
    Reservation,
    ReserveRequest,
    SharedLimit,
)

try:
    from redis.asyncio import Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AuthenticationError,
        AuthorizationError,
        ClusterDownError,
        InvalidResponse,
        MasterDownError,
        NoPermissionError,
        NoScriptError,
        OutOfMemoryError,
        ReadOnlyError,
        RedisError,
        ResponseError,
        TryAgainError,
    )
except ImportError as _missing:
    raise ConfigurationError(
        "The Redis coordinator needs redis-py", hint="pip install 'panelica_async[redis]'"
    ) from _missing

__all__ = ["RedisCoordinator"]

# Seconds for one claim; it takes Redis less than a thousandth. Longer means that it is away.
_TIMEOUT = 1.0

# Raised with every change of the script's data, so that old and new versions of the package do not meet.
_FORMAT = 2

SCRIPT = resources.files("panelica_async.ratelimit").joinpath("claim.lua").read_text(encoding="utf-8")
"""The script that answers a claim."""

CONSTANTS = json.dumps(
    {
        "batch": BATCH,
        "grace": MEMBER_TTL,
        "hold": MAX_LEAD,
        "horizon": LOOKAHEAD,
        "recovery": RECOVERY,
        "max_slowness": MAX_SLOWDOWN,
        "unpaced_interval": UNPACED_INTERVAL,
        "record": RECORD,
        "irregularity": IRREGULARITY,
        "lately": LATELY,
        "largest_reserve": LARGEST_RESERVE,
        "recheck": RECHECK,
        "max_wait": MAX_WAIT,
        # Seconds: no clock is as far on.
        "far": 1e10,
        # Seconds without a claim after which nothing in Redis is of use: the longest window, and a pause before it.
        "expiry": 7200,
    }
)
"""What the script needs to know of `coordination` and `rules`."""


_NAMES = ("state", "minute", "hour", "interactive", "members")

# What a server says that will be able to answer later, or that a new connection does not meet. redis-py makes a class
# of some codes and takes them out of the text.
_PASSING = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError, OutOfMemoryError)
_PASSING_CODES = (
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "OOM",
    "LOADING",
    "BUSY",
    "NOREPLICAS",
    "MISCONF",
)


def keys(key: str) -> list[str]:
    """Return the names of what the script keeps, in one slot of a cluster."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return [f"panelica_async:v{_FORMAT}:{{{digest}}}:{name}" for name in _NAMES]


def arguments(request: ReserveRequest) -> list[str]:
    """Return the arguments of the script."""
    return [json.dumps(attrs.asdict(request)), CONSTANTS, secrets.token_hex(8)]


def read_claim(reply: list[bytes] | list[str]) -> Reservation:
    """Return what the script answered."""
    store, members, opens_in, retry_in, minute_used, hour_used, interactive_used, *delays = reply
    return Reservation(
        delays=tuple(map(float, delays)),
        opens_in=float(opens_in),
        retry_in=float(retry_in),
        members=int(members),
        # `decode_responses` in the URL makes texts of all replies.
        store=store if isinstance(store, str) else store.decode(),
        minute_used=int(minute_used),
        hour_used=int(hour_used),
        interactive_used=int(interactive_used),
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

    Raises:
        ConfigurationError: `async with` found that Redis can be reached and refuses: the password, the database, the
            permissions or TLS. A server that is away is no error.
    """

    def __init__(self, url: str, *, key: str) -> None:
        self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py does not type its options
            url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # A connection of before a restart of Redis fails once; more patience would only delay the share.
            retry=Retry(NoBackoff(), 1),
        )
        self._digest = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._keys = keys(key)

    async def __aenter__(self) -> Self:
        try:
            # When Redis is only away, limiters go on without it, and say so.
            with suppress(RedisError, OSError):
                await self.reserve(
                    ReserveRequest(member="check", limit=SharedLimit.of(Quota(RateLimit.unlimited()), "interactive"))
                )
        except ConfigurationError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Take in what the member says, and give it places.

        Raises:
            redis.RedisError: The server is away, or answers an error that will pass.
            ConfigurationError: It will answer no claim as long as it is configured as it is.
            TimeoutError: It does not answer within a second.
        """
        try:
            async with asyncio.timeout(_TIMEOUT):
                return read_claim(await self._run([*self._keys, *arguments(request)]))
        except Exception as error:
            # After a fail-over the name of the server leads elsewhere: only a new connection finds out.
            with suppress(Exception):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            complaint = _complaint(error)
            if complaint is None and await self._is_without_tls():
                complaint = "the URL asks for TLS, and the server answers without"
            if complaint is None:
                raise
            raise ConfigurationError(f"Redis cannot coordinate the rate limit: {complaint}", hint=_HINT) from error

    async def _run(self, arguments: list[str]) -> Any:
        try:
            return await self._redis.evalsha(self._digest, len(self._keys), *arguments)
        except NoScriptError:
            # EVAL loads it too, and needs no permission for SCRIPT LOAD.
            return await self._redis.eval(SCRIPT, len(self._keys), *arguments)

    async def _is_without_tls(self) -> bool:
        """Return whether the URL asks for TLS and the server answers without; it leaves a handshake unanswered."""
        pool = self._redis.connection_pool
        if not issubclass(pool.connection_class, SSLConnection):
            return False
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT / 2):
                address: dict[str, Any] = {"host": "localhost", "port": 6379, **pool.connection_kwargs}
                reader, writer = await asyncio.open_connection(address["host"], address["port"])
                try:
                    writer.write(b"PING\r\n")
                    return await reader.read(1) in {b"+", b"-"}
                finally:
                    writer.close()
        return False

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


_HINT = "Check user, password, database and TLS in the URL, and that the user may run EVAL and EVALSHA."


def _complaint(error: BaseException) -> str | None:
    """Return why Redis refuses for as long as it is configured as it is, None for what may pass."""
    for cause in _causes(error):
        if isinstance(cause, AuthenticationError | AuthorizationError | NoPermissionError):
            return f"it refuses the user or the password: {cause}"
        if isinstance(cause, InvalidResponse):
            return f"what it answers is not the protocol of Redis: {cause}"
        if isinstance(cause, ResponseError) and not isinstance(cause, _PASSING):
            # Old servers name what the script met after "ERR Error running script".
            return None if any(code in str(cause) for code in _PASSING_CODES) else f"it answers: {cause}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause}"
        if isinstance(cause, FileNotFoundError | PermissionError) and cause.filename is not None:
            return f"cannot read {cause.filename}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
