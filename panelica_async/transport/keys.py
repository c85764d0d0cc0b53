"""The API key of a client and the limiter for its quota."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING

import attrs

from panelica_async.catalog import TIERS
from panelica_async.core.signing import Signer
from panelica_async.errors import (
    AuthenticationError,
    ConfigurationError,
    PanelicaError,
    RateLimitedError,
    RateLimitWaitError,
    ServerError,
    TransportError,
)
from panelica_async.ratelimit import RateLimit, RateLimiter, shared_limiter
from panelica_async.ratelimit.limit import is_count
from panelica_async.telemetry import LOGGER

if TYPE_CHECKING:
    from panelica_async.models.utility import RateLimitStatus
    from panelica_async.transport.pipeline import Transport

AskQuota = Callable[["Transport"], Awaitable["RateLimitStatus"]]
"""Asks the panel for the quota of the key in a separate call."""

AUTO = "auto"
_CAUTIOUS_TIER = "starter"
# Failures after which the panel is asked again, and how many seconds later. A rejected key may yet get its secret.
_TRANSIENT_ERRORS = (TransportError, RateLimitWaitError, RateLimitedError, ServerError, AuthenticationError)
_ASK_AGAIN_AFTER = 60.0
# Seconds for which calls wait for the first answer. After that they continue at the rate of the slowest tier; when the
# answer comes, calls that wait for quota continue at the right rate.
_MAX_WAIT_FOR_ANSWER = 0.5


class KeyQuota:
    """The quota of one key; its limiter is made in the running loop on first use.

    Args:
        origin: Scheme, host and port of the panel.
        api_key: The key; all clients with the same key in a process share its limiter.
        tier: Name of the tier, or `auto` to ask the panel.
        limiter: The caller's own limiter or limit, which overrides the tier.

    Raises:
        ConfigurationError: The tier is unknown, or `limiter` is neither.
    """

    def __init__(self, origin: str, api_key: str, *, tier: str, limiter: RateLimiter | RateLimit | None) -> None:
        if tier not in (AUTO, *TIERS):
            raise ConfigurationError(f"tier must be one of {AUTO}, {', '.join(TIERS)}, not {tier!r}")
        if not isinstance(limiter, RateLimiter | RateLimit | None):
            raise ConfigurationError(f"limiter must be a RateLimiter or a RateLimit, not {type(limiter).__name__}")
        self._origin = origin
        self._api_key = api_key
        self._tier = tier
        self._override = limiter
        # Replies do not change a limit that the caller chose.
        self._is_fixed = isinstance(limiter, RateLimit)
        if isinstance(limiter, RateLimit):
            self._limit: RateLimit | None = limiter
        else:
            self._limit = None if tier == AUTO else RateLimit.for_tier(tier)
        self.ask_at: float = -inf if limiter is None and tier == AUTO else inf
        """When to ask the panel for the quota, by the clock of the loop; infinity for never."""
        self._question: asyncio.Task[None] | None = None
        # Until then, calls wait for the answer.
        self._wait_until = -inf

    def for_key(self, api_key: str) -> "KeyQuota":
        """Return the quota of another key of the same panel, with the same settings.

        Returns this object if only the secret differs, or if the limiter is the caller's.
        """
        if api_key == self._api_key or isinstance(self._override, RateLimiter):
            return self
        return KeyQuota(self._origin, api_key, tier=self._tier, limiter=self._override)

    @cached_property
    def limiter(self) -> RateLimiter:
        """The limiter of the key."""
        if isinstance(self._override, RateLimiter):
            return self._override
        limiter = shared_limiter(
            self._origin,
            self._api_key,
            self._limit or RateLimit.for_tier(_CAUTIOUS_TIER),
            learn=not self._is_fixed,
            # A tier that the caller names is an upper limit; without one, the panel decides.
            may_rise=self._tier == AUTO,
        )
        if self._limit is not None:
            limiter.reconfigure(self._limit)
        return limiter

    async def learn(self, ask: Callable[[], Awaitable["RateLimitStatus"]], *, within: float = inf) -> None:
        """Ask the panel for the limit in the background, and wait briefly for the first answer.

        Until the panel answers, the limiter keeps its rate, at first that of the slowest tier. If the panel refuses to
        answer, the limiter keeps it for good; if the panel cannot be reached, is busy or rejects the key, it is asked
        again in a minute.

        Args:
            ask: Asks the panel. It runs in its own task, so that cancelling a call does not end it.
            within: Seconds that the caller can wait.
        """
        now = _now()
        if now < self.ask_at:
            return
        if self._question is None:
            self._wait_until = now + _MAX_WAIT_FOR_ANSWER
        if self._question is None or self._question.done():
            # With an empty context: the question may outlive the call that happens to be first.
            self._question = asyncio.create_task(self._ask(ask), context=Context())
        if (wait := min(within, self._wait_until - now)) > 0:
            await asyncio.wait((self._question,), timeout=wait)

    async def _ask(self, ask: Callable[[], Awaitable["RateLimitStatus"]]) -> None:
        next_ask_at = _now() + _ASK_AGAIN_AFTER
        try:
            apply_status(self.limiter, await ask())
            next_ask_at = inf
        except PanelicaError as error:
            LOGGER.info("the panel did not say the rate limit; assuming %s: %s", self.limiter.limit, error)
            next_ask_at = _now() + _ASK_AGAIN_AFTER if isinstance(error, _TRANSIENT_ERRORS) else inf
        finally:
            self.ask_at = next_ask_at

    def abandon(self, owner: object) -> None:
        """Stop asking for the quota, and cancel the waiters of an owner that no longer uses it."""
        if self._question is not None:
            self._question.cancel()
        # A limiter that was never used has no waiters; do not make it only for this.
        if "limiter" in vars(self):
            self.limiter.cancel_waiters(owner)

    async def close(self, owner: object) -> None:
        """Stop asking for the quota, cancel the waiters of an owner, and wait until the question has ended."""
        question = self._question
        self.abandon(owner)
        if question is not None and not question.done():
            await asyncio.wait((question,))


def apply_status(limiter: RateLimiter, status: "RateLimitStatus") -> None:
    """Set a limiter to the limit and the usage that the panel shows for its key."""
    limiter.reconfigure(_limit_in(status))
    limiter.seed(
        minute_usage=_count(status.current_minute_usage, 0) or 0,
        hour_usage=_count(status.current_hour_usage, 0) or 0,
    )


def _limit_in(status: "RateLimitStatus") -> RateLimit:
    per_minute = _count(status.requests_per_minute)
    if per_minute is None and (status.requests_per_minute or 0) <= 0:
        # Guess: the reply for an unlimited key is unknown (evidence: quota-counting), so its tier counts.
        return RateLimit.for_tier(status.tier or _CAUTIOUS_TIER)
    burst = None if per_minute is None else _count(status.burst_size)
    return RateLimit(per_minute=per_minute, per_hour=_count(status.requests_per_hour), burst=burst)


def _count(number: float | None, least: int = 1) -> int | None:
    # Guess: 0 or -1 means no limit, as in plans, and so does an implausible number.
    return int(number) if is_count(number, least) else None


def _now() -> float:
    return asyncio.get_running_loop().time()


@attrs.frozen(eq=False)
class ApiKey:
    """An API key: its signer and its quota."""

    signer: Signer = attrs.field(repr=False)
    quota: KeyQuota = attrs.field(repr=False)


@attrs.define(eq=False)
class KeyHolder:
    """Holds the current key, and learns its quota."""

    current: ApiKey
    ask: AskQuota | None = None
    """Asks the panel for the quota of the current key; None to never ask."""

    async def learn_quota(self, transport: "Transport", *, within: float) -> None:
        """Ask the panel for the quota of the key, and wait briefly for the first answer.

        Args:
            transport: Sends the question.
            within: Seconds that the call can wait.
        """
        if self.ask is not None:
            await self.current.quota.learn(partial(self.ask, transport), within=within)

    def replace(self, signer: Signer, owner: object) -> None:
        """Switch to another key of the same panel.

        Args:
            signer: Signs with the new key.
            owner: Owner of the calls that wait for the old quota; they move to the new one.
        """
        old_quota = self.current.quota
        self.current = ApiKey(signer, old_quota.for_key(signer.api_key))
        if self.current.quota is not old_quota:
            old_quota.abandon(owner)
