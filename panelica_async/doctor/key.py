"""Checks the key: whether the panel accepts a signed call and, if not, why; then the clock, rate limit and scopes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import attrs

from panelica_async.catalog import TIERS
from panelica_async.client import LIMIT_REFUSALS
from panelica_async.core.address import DIRECT_PORT, Address
from panelica_async.core.operation import Dialect, scopes_allow
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.base import Finding, Probe, ProbeFactory, State, failure, ok, skipped, warning
from panelica_async.errors import (
    AuthenticationError,
    MissingScopeError,
    PanelicaError,
    PermissionDeniedError,
    ResponseError,
)
from panelica_async.models.utility import CurrentKey, RateLimitStatus
from panelica_async.ratelimit import RateLimit
from panelica_async.resources.registry import get_operation
from panelica_async.transport.clock import MAX_SKEW, SKEW_TOLERANCE, PanelClock
from panelica_async.transport.keys import KeyQuota

_KEY = "key"
_CLOCK = "clock"
_RATE_LIMIT = "rate_limit"
_SCOPES = "scopes"
_ME_PATH = "/v1/me"
_INVALID_FORMAT = "INVALID_KEY_FORMAT"
_PROXY_HINT = (
    "Configure the web server in front of the API to remove {prefix}, in nginx with `location {prefix}/ {{ proxy_pass "
    f"http://127.0.0.1:{DIRECT_PORT}/; }}}}`."
)
_CHECK_KEY_HINT = "Check the key in the panel before you rely on it."
_RETRY_HINT = "Try again in a minute; if it persists, check the log of the panel."
_WHITELIST_HINT = (
    "Add the address of this machine to the whitelist of the key in the panel. If the key has no whitelist, check "
    "whether the licence of the panel includes the API."
)
_CLOCK_HINT = "Set the clock of this machine with NTP, and check the clock of the panel."
_CORRECTION_LIMIT = "the client corrects a difference of at most one day"

LAUNCH_OPERATIONS: Final = (
    "accounts.list",
    "accounts.create",
    "plans.list",
    "domains.list",
    "domains.create",
    "dns.records.list",
    "dns.records.create",
    "ssl.certificates.list",
    "ssl.certificates.issue",
    "databases.list",
    "databases.create",
    "databases.users.create",
    "email.accounts.list",
    "email.accounts.create",
    "ftp.accounts.list",
    "ftp.accounts.create",
)
"""The operations that provisioning calls (`panelica_async.provision`)."""


@attrs.frozen(kw_only=True)
class KeyCheck:
    """The result of checking the key."""

    finding: Finding
    key: CurrentKey | None = None
    """The key, as the panel describes it, if the key may read that."""
    scopes: tuple[str, ...] | None = None
    """The scopes of the key, if known."""
    timestamp_accepted: bool | None = None
    """Whether the panel accepted the timestamp; None if its reply does not show that."""

    @property
    def is_accepted(self) -> bool:
        """Whether the panel accepts the key."""
        return self.finding.state in {State.OK, State.WARNING}


async def check_key(probes: ProbeFactory, probe: Probe) -> KeyCheck:
    """Send a signed call that any key may make; if its signature is rejected, send another that signs the prefix too.

    Args:
        probes: Creates the probe that signs the prefix.
        probe: The address of the API.
    """
    try:
        key = await probe.utility().me()
    except MissingScopeError as error:
        return _result_without_scope(probe, error)
    except AuthenticationError as error:
        return await _explain_rejection(probes, probe, error)
    except PermissionDeniedError as error:
        details = f" ({error.details})" if isinstance(error.details, str) else ""
        message = f"the panel rejects {_key_label(probe)} from this machine: {error.message}{details}"
        return KeyCheck(finding=failure(_KEY, message, _WHITELIST_HINT), timestamp_accepted=True)
    except PanelicaError as error:
        return KeyCheck(finding=failure(_KEY, f"GET {_ME_PATH} failed: {error.message}", error.hint or _RETRY_HINT))
    return KeyCheck(
        finding=_finding_for_accepted_key(probe, key), key=key, scopes=tuple(key.scopes), timestamp_accepted=True
    )


def _finding_for_accepted_key(probe: Probe, key: CurrentKey) -> Finding:
    owner = "" if key.user is None else f" of {excerpt(key.user.username)}"
    has_expired = key.expires_at is not None and key.expires_at < datetime.now(UTC)
    until = "" if key.expires_at is None or has_expired else f", valid until {key.expires_at:%Y-%m-%d}"
    message = f"the panel accepts {_key_label(probe)} ({excerpt(key.name)!r}{owner}{until})"
    facts = {"name": excerpt(key.name), "expires_at": key.expires_at and key.expires_at.isoformat()}
    if key.status is not None and key.status.lower() != "active":
        return warning(_KEY, f"{message}, but its status is {excerpt(key.status)!r}", _CHECK_KEY_HINT, **facts)
    if has_expired:
        return warning(_KEY, f"{message}, although it expired on {key.expires_at:%Y-%m-%d}", _CHECK_KEY_HINT, **facts)
    return ok(_KEY, message, **facts)


def _result_without_scope(probe: Probe, error: MissingScopeError) -> KeyCheck:
    """Return the result for a key that is accepted, but may not read its own details."""
    # `/v1/me` needs accounts:read (evidence: scope-oddities).
    missing = error.required_scope or "a scope"
    message = f"the panel accepts {_key_label(probe)}, but the key may not read its own details: it lacks {missing}"
    finding = warning(_KEY, message, error.hint or "Give the key the scope accounts:read.")
    return KeyCheck(finding=finding, scopes=error.available_scopes or None, timestamp_accepted=True)


async def _explain_rejection(probes: ProbeFactory, probe: Probe, error: AuthenticationError) -> KeyCheck:
    """Find the reason for a 401 in the reply; the order of the panel's checks is uncertain (evidence: auth-unknown)."""
    reply_text, key_label = f"{error.code} {error.message}".lower(), _key_label(probe)
    if error.code is not None and error.code.startswith("MISSING_"):
        return KeyCheck(
            finding=failure(_KEY, f"a header was lost on the way to the panel: {error.message}", error.hint)
        )
    if "timestamp" in reply_text:
        return KeyCheck(finding=skipped(_KEY, "the panel rejected the timestamp"), timestamp_accepted=False)
    if error.code == _INVALID_FORMAT:
        return KeyCheck(
            finding=failure(_KEY, f"the panel rejects the format of {key_label}: {error.message}", error.hint)
        )
    if error.code is not None and "signature" not in reply_text:
        message = f"the panel rejects {key_label}: {error.message}"
        return KeyCheck(finding=failure(_KEY, message, error.hint))
    if await _panel_signs_prefix(probes, probe):
        prefix = probe.address.prefix
        message = (
            f"a web server passes {prefix} on to the panel, so the signature does not match; key and secret are correct"
        )
        return KeyCheck(finding=failure(_KEY, message, _PROXY_HINT.format(prefix=prefix)), timestamp_accepted=True)
    if error.code is None:
        message = f"the panel rejects {key_label} or its signature: {error.message}"
    else:
        message = f"the signature does not match: the secret does not belong to {key_label}"
    return KeyCheck(finding=failure(_KEY, message, error.hint))


async def _panel_signs_prefix(probes: ProbeFactory, probe: Probe) -> bool:
    """Return whether the panel accepts a signature that includes the public prefix of the path."""
    address = probe.address
    if not address.prefix:
        return False
    # A probe for an address without a prefix signs the whole path.
    signs_whole_path = probes.create(Address(origin=address.origin, prefix=""))
    try:
        await signs_whole_path.get(address.prefix + _ME_PATH)
    except ResponseError as error:
        return error.status == HTTPStatus.FORBIDDEN
    except PanelicaError:
        return False
    return True


def _key_label(probe: Probe) -> str:
    return f"the key {probe.key.signer.api_key[:12]}…"


def check_clock(clock: PanelClock, *, accepted: bool | None) -> Finding:
    """Compare the clocks of the panel and of this machine.

    Args:
        clock: The panel's time, as its replies show it.
        accepted: Whether the panel accepted a timestamp; None if its reply does not show that.
    """
    skew = clock.skew
    if skew is None:
        if accepted is False:
            message = "the panel rejects the timestamp, and its replies do not show its own time"
            return failure(_CLOCK, message, _CLOCK_HINT)
        return ok(_CLOCK, "the replies of the panel do not show its time")
    facts = {"skew_seconds": round(skew, 1)}
    difference = f"the panel's clock is {_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this machine's"
    if accepted is False:
        limit = f"; {_CORRECTION_LIMIT}" if abs(skew) > MAX_SKEW else ""
        return failure(_CLOCK, f"the panel rejects the timestamp: {difference}{limit}", _CLOCK_HINT, **facts)
    if abs(skew) < SKEW_TOLERANCE:
        # A `Date` header has whole seconds, so a smaller difference means nothing.
        return ok(_CLOCK, "the clocks agree" if abs(skew) < 1 else difference, **facts)
    if abs(skew) <= MAX_SKEW:
        hint = f"{_CLOCK_HINT} Until then, the client uses the panel's time after the panel rejects a timestamp."
        return warning(_CLOCK, difference, hint, **facts)
    if accepted:
        hint = "Look for a proxy with a wrong clock in front of the panel; calls work anyway."
        return warning(
            _CLOCK, f"according to its replies {difference}, but the panel accepts this machine's time", hint, **facts
        )
    return failure(_CLOCK, f"{difference}; {_CORRECTION_LIMIT}", _CLOCK_HINT, **facts)


def _duration(seconds: float) -> str:
    """Write a duration in the largest unit that fits, such as `20.0 min`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def check_scopes(granted: Iterable[str] | None, required: Iterable[str], dialect: Dialect) -> Finding:
    """Compare the scopes of a key with those that provisioning needs, and with those that are required.

    Args:
        granted: Scopes of the key; None if they are uncertain.
        required: Scopes that the key must have.
        dialect: What the panel speaks; it decides which scopes provisioning needs.
    """
    required = tuple(required)
    if granted is None:
        message = "the panel does not report the scopes of the key"
        return (
            failure(_SCOPES, message, "Give the key the scope accounts:read.")
            if required
            else skipped(_SCOPES, message)
        )
    scopes = [excerpt(scope) for scope in granted]
    missing = _missing_scopes(scopes, ((scope,) for scope in required))
    missing_for_launch = _missing_scopes(scopes, launch_scopes(dialect))
    facts = {"granted": scopes, "missing": missing, "missing_for_launch": missing_for_launch}
    granted_text = f"the key has {excerpt(', '.join(scopes)) or 'no scopes'}"
    if missing:
        return failure(
            _SCOPES, f"{granted_text}, which does not include every required scope", _add_scopes_hint(missing), **facts
        )
    if missing_for_launch:
        hint = f"{_add_scopes_hint(missing_for_launch)} Other work does not need them."
        return warning(_SCOPES, f"{granted_text}, which is not enough to provision sites", hint, **facts)
    return ok(_SCOPES, f"{granted_text}, which is enough to provision sites", **facts)


def launch_scopes(dialect: Dialect) -> list[tuple[str, ...]]:
    """Return the scopes that provisioning needs: one of each tuple."""
    wires = (get_operation(name).wires.get(dialect) for name in LAUNCH_OPERATIONS)
    return list(dict.fromkeys(wire.scopes for wire in wires if wire is not None and wire.scopes))


def _missing_scopes(granted: list[str], required: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the first scope of each tuple of which the key has none."""
    return list(
        dict.fromkeys(scopes[0] for scopes in required if not any(scopes_allow(granted, scope) for scope in scopes))
    )


def _add_scopes_hint(scopes: list[str]) -> str:
    return f"Add {', '.join(scopes)} to the key in the panel, or use another key."


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
        if key is not None and isinstance(error, LIMIT_REFUSALS):
            await _learn_limit(quota, RateLimitStatus(tier=key.rate_limit_tier))
        return _finding_without_limit(key, quota.limiter.limit, error)
    await _learn_limit(quota, status)
    limit = quota.limiter.limit
    tier = "no tier" if status.tier is None else excerpt(status.tier)
    used = f"{status.current_minute_usage or 0} calls used this minute, {status.current_hour_usage or 0} this hour"
    facts = {
        "tier": status.tier and excerpt(status.tier),
        "current_minute_usage": status.current_minute_usage,
        "current_hour_usage": status.current_hour_usage,
    }
    message = f"{tier}: {used}; {_client_limit_text(limit)}"
    # Guess: 0 or -1 a minute means no limit, as in plans.
    allowed = status.requests_per_minute or 0
    if allowed > 0 and (limit.per_minute is None or limit.per_minute > allowed):
        hint = "Omit the tier (tier=, --tier): the client then asks the panel for the limit."
        return warning(
            _RATE_LIMIT,
            f"{message}, but the panel allows only {allowed:,} a minute",
            hint,
            **facts,
            **_limit_facts(limit),
        )
    return ok(_RATE_LIMIT, message, **facts, **_limit_facts(limit))


async def _learn_limit(quota: KeyQuota, status: RateLimitStatus) -> None:
    async def reported() -> RateLimitStatus:
        return status

    await quota.learn(reported)


def _finding_without_limit(key: CurrentKey | None, limit: RateLimit, error: PanelicaError) -> Finding:
    """Return the finding for a panel that does not report the limit; the client falls back to a tier."""
    message = f"the panel does not report the limit ({error.message}); {_client_limit_text(limit)}"
    tier = "" if key is None or key.rate_limit_tier is None else key.rate_limit_tier.lower()
    if tier not in TIERS:
        hint = "Pass the tier of the key if it is faster: tier= in the client, --tier on the command line."
        return warning(_RATE_LIMIT, message, hint, tier=None, **_limit_facts(limit))
    if limit == RateLimit.for_tier(tier):
        return ok(_RATE_LIMIT, f"{tier}: {_client_limit_text(limit)}", tier=tier, **_limit_facts(limit))
    hint = f"Pass the tier of the key: tier={tier!r} in the client, --tier {tier} on the command line."
    return warning(_RATE_LIMIT, message, hint, tier=tier, **_limit_facts(limit))


def _limit_facts(limit: RateLimit) -> dict[str, float | None]:
    return {"per_minute": limit.per_minute, "per_hour": limit.per_hour, "burst": limit.burst}


def _client_limit_text(limit: RateLimit) -> str:
    if limit.is_unlimited:
        return "the client does not limit itself"
    rates = ((limit.per_minute, "a minute"), (limit.per_hour, "an hour"))
    return "the client sends at most " + ", ".join(
        f"{calls:,.0f} {period}" for calls, period in rates if calls is not None
    )
