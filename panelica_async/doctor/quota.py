"""Checks the rate limit: how many calls the key may send, and how many the client will. Also finds the dialect."""

from collections.abc import Mapping
from typing import Final

import attrs

from panelica_async.api.tier import REFUSALS, limit_of
from panelica_async.catalog import TIERS
from panelica_async.core import hints
from panelica_async.core.operation import Dialect
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.findings import Finding, ok, warning
from panelica_async.doctor.probe import Probe
from panelica_async.errors import PanelicaError
from panelica_async.models.utility import CurrentKey, RateLimitStatus
from panelica_async.ratelimit import RateLimit
from panelica_async.transport.keys import KeyQuota

_RATE_LIMIT = "rate_limit"
_DIALECT = "dialect"
_EVIDENCE: Final[Mapping[Dialect, str]] = {
    "panel": "the panel answers GET /health, as current panels do",
    "reference": "the panel has no GET /health, as in the published API reference",
}


async def check_quota(probe: Probe, key: CurrentKey | None, dialect: Dialect) -> Finding:
    """Ask for the rate limit, and compare it with the limit that a client would learn from the reply.

    Args:
        probe: The address of the API.
        key: The key, as the panel describes it.
        dialect: What the panel speaks.
    """
    quota = probe.key.quota
    try:
        status = await probe.utility(dialect).rate_limit()
    except PanelicaError as error:
        if key is not None and isinstance(error, REFUSALS):
            await _learn(quota, limit_of(key))
        return _not_reported(key, quota.limiter().limit, error)
    await _learn(quota, status)
    limit = quota.limiter().limit
    tier = "no tier" if status.tier is None else excerpt(status.tier)
    used = f"{status.current_minute_usage or 0} calls used this minute, {status.current_hour_usage or 0} this hour"
    facts = {
        "tier": status.tier and excerpt(status.tier),
        "current_minute_usage": status.current_minute_usage,
        "current_hour_usage": status.current_hour_usage,
    }
    message = f"{tier}: {used}; {_own_limit(limit)}"
    # Guess: 0 or -1 a minute means no limit, as in plans.
    allowed = status.requests_per_minute or 0
    if allowed > 0 and (limit.per_minute is None or limit.per_minute > allowed):
        hint = "Omit the tier (tier=, --tier): the client then asks the panel for the limit."
        return warning(
            _RATE_LIMIT, f"{message}, but the panel allows only {allowed:,} a minute", hint, **facts, **_facts(limit)
        )
    return ok(_RATE_LIMIT, message, **facts, **_facts(limit))


async def _learn(quota: KeyQuota, status: RateLimitStatus) -> None:
    async def told() -> RateLimitStatus:
        return status

    await quota.learn(told)


def _not_reported(key: CurrentKey | None, limit: RateLimit, error: PanelicaError) -> Finding:
    """Return the finding for a panel that does not report the limit; the client falls back to a tier."""
    message = f"the panel does not report the limit ({error.message}); {_own_limit(limit)}"
    tier = "" if key is None or key.rate_limit_tier is None else key.rate_limit_tier.lower()
    if tier not in TIERS:
        hint = "Pass the tier of the key if it is faster: tier= in the client, --tier on the command line."
        return warning(_RATE_LIMIT, message, hint, tier=None, **_facts(limit))
    if limit == RateLimit.for_tier(tier):
        return ok(_RATE_LIMIT, f"{tier}: {_own_limit(limit)}", tier=tier, **_facts(limit))
    hint = f"Pass the tier of the key: tier={tier!r} in the client, --tier {tier} on the command line."
    return warning(_RATE_LIMIT, message, hint, tier=tier, **_facts(limit))


def _facts(limit: RateLimit) -> dict[str, float | None]:
    return {"per_minute": limit.per_minute, "per_hour": limit.per_hour, "burst": limit.burst}


def _own_limit(limit: RateLimit) -> str:
    if limit.is_unlimited:
        return "the client does not limit itself"
    rates = ((limit.burst, "at once"), (limit.per_minute, "a minute"), (limit.per_hour, "an hour"))
    return "the client sends at most " + ", ".join(
        f"{calls:,.0f} {period}" for calls, period in rates if calls is not None
    )


@attrs.frozen
class DialectCheck:
    """The result of finding out the dialect."""

    finding: Finding
    dialect: Dialect | None
    """What the client speaks; None while it is uncertain."""


async def check_dialect(probe: Probe, chosen: Dialect | None) -> DialectCheck:
    """Find out which dialect a client would speak, as it does itself, and whether a chosen one fits the panel.

    Args:
        probe: The address of the API.
        chosen: The dialect that the caller chose; None for the client to find out.
    """
    try:
        found, problem = await probe.learn_dialect(), ""
    except PanelicaError as error:
        found, problem = None, error.message
    dialect = chosen or found
    facts = {"dialect": dialect, "chosen": chosen is not None, "found": found}
    if dialect is None:
        message = f"the client cannot find out which API the panel speaks, and sends nothing until it can: {problem}"
        return DialectCheck(warning(_DIALECT, message, hints.DIALECT, **facts), None)
    if chosen is None or found == chosen:
        return DialectCheck(ok(_DIALECT, f"{dialect}: {_EVIDENCE[dialect]}", **facts), dialect)
    if found is None:
        message = f"{dialect}, as chosen; GET /health does not show whether that is right: {problem}"
        return DialectCheck(ok(_DIALECT, message, **facts), dialect)
    message = f"{dialect}, as chosen, but the panel speaks another: {_EVIDENCE[found]}"
    hint = f"Leave the dialect out (dialect=, --dialect, PANELICA_DIALECT), or choose {found}."
    return DialectCheck(warning(_DIALECT, message, hint, **facts), dialect)
