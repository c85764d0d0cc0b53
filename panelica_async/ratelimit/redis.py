"""Shares a quota between hosts, through Redis; needs the extra `redis`."""

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
from panelica_async.ratelimit.limit import MAX_WAIT, Quota, RateLimit
from panelica_async.ratelimit.rules import (
    LARGEST_RESERVE,
    MAX_RECORDED,
    MAX_SLOWDOWN,
    PACE_WINDOW,
    RECHECK_INTERVAL,
    RECOVERY_TIME,
    TRAFFIC_MARGIN,
    UNPACED_INTERVAL,
)
from panelica_async.ratelimit.store import (
    ANSWER_TIMEOUT,
    BATCH,
    LOOKAHEAD,
    MAX_COUNTED,
    MAX_LEAD,
    MAX_MEMBERS,
    MEMBER_TTL,
    Reservation,
    ReserveRequest,
    SharedLimit,
    quota_name,
)

try:
    from redis.asyncio import Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AuthenticationError,
        AuthorizationError,
        ClusterDownError,
        ConnectionError,  # noqa: A004  so redis-py calls it
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
        "the Redis coordinator needs the package redis", hint="Run pip install 'panelica_async[redis]'."
    ) from _missing

__all__ = ["RedisCoordinator"]

# Seconds for one round trip, after which Redis counts as away; it usually takes less than a thousandth of this.
_TIMEOUT = 1.0

# Incremented with every change of the script's data, so that old and new versions of the package do not share it.
_FORMAT = 3

SCRIPT = resources.files("panelica_async.ratelimit").joinpath("reserve.lua").read_text(encoding="utf-8")
"""The script that answers a reservation."""

CONSTANTS = json.dumps(
    {
        "batch": BATCH,
        "traffic_margin": TRAFFIC_MARGIN,
        "largest_reserve": LARGEST_RESERVE,
        "pace_window": PACE_WINDOW,
        "lookahead": LOOKAHEAD,
        "max_lead": MAX_LEAD,
        "max_slowdown": MAX_SLOWDOWN,
        "max_wait": MAX_WAIT,
        "max_counted": MAX_COUNTED,
        "max_members": MAX_MEMBERS,
        "member_ttl": MEMBER_TTL,
        "recheck_interval": RECHECK_INTERVAL,
        "max_recorded": MAX_RECORDED,
        "recovery_time": RECOVERY_TIME,
        "unpaced_interval": UNPACED_INTERVAL,
        # Seconds, more than any clock has counted.
        "far": 1e10,
        # Seconds without a reservation after which Redis may forget all: the longest pause and the longest window.
        "expiry": 7200,
    }
)
"""The constants of `store` and `rules` that the script needs."""


_KEY_NAMES = ("state", "minute", "hour", "interactive", "members")

# Errors of a server that will answer later, or over a new connection. For some codes, redis-py has a class and removes
# the code from the text.
_TEMPORARY_ERRORS = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError, OutOfMemoryError)
_TEMPORARY_CODES = (
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


def script_keys(key: str) -> list[str]:
    """Return the names of the keys of the script, all in one slot of a cluster."""
    quota = quota_name(key)
    return [f"panelica_async:v{_FORMAT}:{{{quota}}}:{name}" for name in _KEY_NAMES]


def script_arguments(request: ReserveRequest) -> list[str]:
    """Return the arguments of the script."""
    return [json.dumps(attrs.asdict(request)), CONSTANTS, secrets.token_hex(8)]


def read_reply(reply: list[bytes] | list[str]) -> Reservation:
    """Return the reservation in a reply of the script."""
    store, members, opens_in, retry_in, minute_used, hour_used, interactive_used, *delays = reply
    return Reservation(
        delays=tuple(map(float, delays)),
        opens_in=float(opens_in),
        retry_in=float(retry_in),
        members=int(members),
        # With `decode_responses` in the URL, all replies are text.
        store=store if isinstance(store, str) else store.decode(),
        minute_used=int(minute_used),
        hour_used=int(hour_used),
        interactive_used=int(interactive_used),
    )


class RedisCoordinator:
    """Shares a quota between all limiters that use the same Redis and key.

    Each reservation runs one script, on the clock of the Redis server. Its keys expire two hours after the last
    reservation.

    ```python
    async with RedisCoordinator("redis://redis.example.com:6379/0", key=api_key) as coordinator:
        limiter = RateLimiter(RateLimit.for_tier("professional"), coordinator=coordinator)
    ```

    Args:
        url: Address of the server, as redis-py reads it: `redis://`, `rediss://` or `unix://`.
        key: Names the quota: the API key, of which only a digest is sent.

    Raises:
        ConfigurationError: `url` or `key` is invalid; or, on `async with`, Redis refuses the password, the database,
            the permissions or TLS. A server that cannot be reached is not an error.
    """

    def __init__(self, url: str, *, key: str) -> None:
        try:
            self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py does not type its options
                url,
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
                # After a restart of Redis, an old connection fails once. More retries would only delay the fallback.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            )
        except ValueError:
            # Without the cause, which may quote a part of the password.
            raise ConfigurationError("url must be the address of a Redis server", hint=_URL_HINT) from None
        self._knows_script = False
        self._digest = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._keys = script_keys(key)

    async def __aenter__(self) -> Self:
        try:
            # An unreachable Redis is not an error: limiters continue without it, and log a warning.
            with suppress(RedisError, OSError):
                await self.reserve(ReserveRequest(member="check", limit=SharedLimit.of(Quota(RateLimit.unlimited()))))
        except ConfigurationError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def reserve(self, request: ReserveRequest) -> Reservation:
        """Record what the member reports, and grant it permits.

        Raises:
            redis.RedisError: The server is away, takes more than a second for a round trip, or answers with a
                temporary error.
            ConfigurationError: Redis refuses, and will refuse until its configuration or the URL changes.
            TimeoutError: It does not answer within four seconds.
        """
        try:
            # A new connection takes several round trips.
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return read_reply(await self._run_script([*self._keys, *script_arguments(request)]))
        except Exception as error:
            # After a failover the host name resolves to another server; only a new connection reaches it.
            with suppress(Exception):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            problem = _permanent_problem(error)
            if problem is None and await self._is_without_tls():
                problem = "the URL asks for TLS, but the server answers without"
            if problem is None:
                raise
            raise ConfigurationError(f"Redis cannot coordinate the rate limit: {problem}", hint=_HINT) from error

    async def _run_script(self, arguments: list[str]) -> Any:
        if self._knows_script:
            with suppress(NoScriptError):  # Redis has restarted
                return await self._redis.evalsha(self._digest, len(self._keys), *arguments)
        # EVAL loads the script as well; it saves a round trip, and needs no permission for SCRIPT LOAD.
        reply = await self._redis.eval(SCRIPT, len(self._keys), *arguments)
        self._knows_script = True
        return reply

    async def _is_without_tls(self) -> bool:
        """Return whether the URL asks for TLS, but the server ignores the handshake and answers in plain text."""
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


_URL_HINT = "Write redis://, rediss:// or unix://, and percent-encode special characters in a password."
_HINT = "Check user, password, database and TLS in the URL, and that the user may run EVAL and EVALSHA."


def _permanent_problem(error: BaseException) -> str | None:
    """Return why Redis refuses until its configuration or the URL changes; None for a temporary error."""
    for cause in _causes(error):
        if isinstance(cause, AuthenticationError | AuthorizationError | NoPermissionError):
            return f"it rejects the user or the password: {cause}"
        if isinstance(cause, InvalidResponse):
            return f"the reply is not in the protocol of Redis: {cause}"
        if isinstance(cause, ResponseError) and not isinstance(cause, _TEMPORARY_ERRORS):
            # Old servers put the code of the script's error after "ERR Error running script".
            return None if any(code in str(cause) for code in _TEMPORARY_CODES) else f"it answers: {cause}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause}"
        if isinstance(cause, FileNotFoundError | PermissionError) and cause.filename is not None:
            return f"cannot read {cause.filename}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
