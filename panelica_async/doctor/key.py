"""Whether the panel accepts the key, and if not, why: key, secret, clock, or the path that is signed."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import attrs

from panelica_async.core.address import DIRECT_PORT, Address
from panelica_async.core.operation import allows
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.findings import Finding, State, failure, ok, skipped, warning
from panelica_async.doctor.probe import Probe, Probes
from panelica_async.errors import (
    AuthenticationError,
    MissingScopeError,
    PanelicaError,
    PermissionDeniedError,
    ResponseError,
)
from panelica_async.models.utility import CurrentKey
from panelica_async.resources.registry import get_operation
from panelica_async.transport.clock import GREATEST_SKEW, NOTABLE_SKEW, PanelClock

_KEY = "key"
_PATH = "/v1/me"
_MALFORMED = "INVALID_KEY_FORMAT"
_PROXY = (
    "Let the web server before the API remove {prefix}, in nginx with `location {prefix}/ {{ proxy_pass "
    f"http://127.0.0.1:{DIRECT_PORT}/; }}}}`: the panel signs what is left."
)
_AGAIN = "Try again in a minute; if it stays so, look at the log of the panel."
_FORBIDDEN = (
    "Add the address of this machine to the whitelist of the key in the panel. If it has none, see whether the licence "
    "of the panel includes the API."
)


@attrs.frozen(kw_only=True)
class KeyCheck:
    """What was found about the key."""

    finding: Finding
    key: CurrentKey | None = None
    """What the panel says about the key, if it lets the key ask."""
    scopes: tuple[str, ...] | None = None
    """What the key may do, if known."""
    timestamp_accepted: bool | None = None
    """Whether the panel accepted the time of a signature; None when it did not say."""

    @property
    def is_accepted(self) -> bool:
        """Whether the key can be used."""
        return self.finding.state in {State.OK, State.WARNING}


async def check_key(probes: Probes, probe: Probe) -> KeyCheck:
    """Make a signed call that any key may make; when its signature is refused, a second one that signs the prefix too.

    Args:
        probes: Makes the probe that signs the prefix.
        probe: The address of the API.
    """
    try:
        key = await probe.utility().me()
    except MissingScopeError as error:
        return _without_scope(probe, error)
    except AuthenticationError as error:
        return await _refused(probes, probe, error)
    except PermissionDeniedError as error:
        details = f" ({error.details})" if isinstance(error.details, str) else ""
        message = f"the panel refuses {_name(probe)} from this machine: {error.message}{details}"
        return KeyCheck(finding=failure(_KEY, message, _FORBIDDEN), timestamp_accepted=True)
    except PanelicaError as error:
        return KeyCheck(finding=failure(_KEY, f"GET {_PATH} fails: {error.message}", error.hint or _AGAIN))
    return KeyCheck(finding=_accepted(probe, key), key=key, scopes=tuple(key.scopes), timestamp_accepted=True)


def _accepted(probe: Probe, key: CurrentKey) -> Finding:
    owner = "" if key.user is None else f" of {excerpt(key.user.username)}"
    until = "" if key.expires_at is None else f", until {key.expires_at:%Y-%m-%d}"
    message = f"{_name(probe)}, {excerpt(key.name)!r}{owner}, is accepted{until}"
    facts = {"name": excerpt(key.name), "expires_at": key.expires_at and key.expires_at.isoformat()}
    if key.status is not None and key.status.lower() != "active":
        hint = "Look at the key in the panel."
        return warning(_KEY, f"{message}, and its state is {excerpt(key.status)!r}", hint, **facts)
    return ok(_KEY, message, **facts)


def _without_scope(probe: Probe, error: MissingScopeError) -> KeyCheck:
    """The panel knows the key and its signature, but the key may not ask about itself."""
    # `/v1/me` needs accounts:read (evidence: scope-oddities).
    message = f"{_name(probe)} is accepted, but may not be asked about: it lacks {error.required_scope or 'a scope'}"
    finding = warning(_KEY, message, error.hint or "Give the key the scope accounts:read.")
    return KeyCheck(finding=finding, scopes=error.available_scopes or None, timestamp_accepted=True)


async def _refused(probes: Probes, probe: Probe, error: AuthenticationError) -> KeyCheck:
    """Tell by the reply what a 401 is about; its order of checks is not known (evidence: auth-unknown)."""
    said, name = f"{error.code} {error.message}".lower(), _name(probe)
    if error.code is not None and error.code.startswith("MISSING_"):
        return KeyCheck(finding=failure(_KEY, f"a header gets lost on the way: {error.message}", error.hint))
    if "timestamp" in said:
        return KeyCheck(finding=skipped(_KEY, "the time of the signature is refused"), timestamp_accepted=False)
    if error.code == _MALFORMED:
        return KeyCheck(finding=failure(_KEY, f"the panel says that {name} is not a key: {error.message}", error.hint))
    if error.code is not None and "signature" not in said:
        message = f"the panel does not accept {name}: {error.message}"
        return KeyCheck(finding=failure(_KEY, message, error.hint))
    if await _signs_prefix(probes, probe):
        prefix = probe.address.prefix
        message = f"the panel wants {prefix} to be signed, which no panel does by itself; key and secret are right"
        return KeyCheck(finding=failure(_KEY, message, _PROXY.format(prefix=prefix)), timestamp_accepted=True)
    if error.code is None:
        message = f"the panel does not accept {name} or its signature: {error.message}"
    else:
        message = f"the signature does not match: the secret is not that of {name}"
    return KeyCheck(finding=failure(_KEY, message, error.hint))


async def _signs_prefix(probes: Probes, probe: Probe) -> bool:
    """Tell whether the panel accepts a signature of the path with its public prefix."""
    address = probe.address
    if not address.prefix:
        return False
    # To an address without a prefix all of the path is signed.
    whole = probes.to(Address(origin=address.origin, prefix=""))
    try:
        await whole.get(address.prefix + _PATH, signed=True)
    except ResponseError as error:
        return error.status == HTTPStatus.FORBIDDEN
    except PanelicaError:
        return False
    return True


def _name(probe: Probe) -> str:
    return f"the key {probe.key.signer.api_key[:12]}…"


_CLOCK = "clock"
_SET_IT = "Set the clock of this machine by NTP, and check that of the panel."


def check_clock(clock: PanelClock, *, accepted: bool | None) -> Finding:
    """Say how far the clocks are apart.

    Args:
        clock: What the replies told about the panel's time.
        accepted: Whether the panel accepted a timestamp; None when it did not say.
    """
    skew = clock.skew
    if skew is None:
        if accepted is False:
            return failure(
                _CLOCK, "the panel refuses the time of this machine, and its replies do not tell its own", _SET_IT
            )
        return ok(_CLOCK, "the replies of the panel do not tell its time")
    facts = {"skew_seconds": round(skew, 1)}
    apart = (
        f"the clock of the panel is {_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} that of this machine"
    )
    if accepted is False:
        why = "; more than a day is not believed" if abs(skew) > GREATEST_SKEW else ""
        return failure(_CLOCK, f"the panel refuses the timestamp, and by its replies {apart}{why}", _SET_IT, **facts)
    if abs(skew) < NOTABLE_SKEW:
        # A `Date` header is rounded to a second.
        return ok(_CLOCK, "the clocks agree" if abs(skew) < 1 else apart, **facts)
    if abs(skew) <= GREATEST_SKEW:
        hint = f"{_SET_IT} Until then the client signs with the panel's time once a timestamp is refused."
        return warning(_CLOCK, apart, hint, **facts)
    if accepted:
        hint = "Look for a proxy with a wrong clock before the panel; calls work all the same."
        return warning(_CLOCK, f"{apart} by its replies, but it accepts the time of this machine", hint, **facts)
    return failure(_CLOCK, f"{apart}, too much to be believed", _SET_IT, **facts)


def _duration(seconds: float) -> str:
    """Write a duration in the largest unit that fits, such as `20.0 min`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


_SCOPES = "scopes"
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
"""What a launch of sites calls (`panelica_async.provision`)."""


def check_scopes(granted: Iterable[str] | None, required: Iterable[str]) -> Finding:
    """Compare what a key may do with what launching sites takes, and with what is asked for.

    Args:
        granted: Scopes of the key; None when they are not known.
        required: Scopes that it must have.
    """
    required = tuple(required)
    if granted is None:
        message = "the panel does not tell what the key may do"
        return (
            failure(_SCOPES, message, "Give the key the scope accounts:read.")
            if required
            else skipped(_SCOPES, message)
        )
    scopes = [excerpt(scope) for scope in granted]
    lacking = _lacking(scopes, required)
    lacking_for_launch = _lacking(scopes, launch_scopes())
    facts = {"granted": scopes, "missing": lacking, "missing_for_launch": lacking_for_launch}
    has = f"the key has {excerpt(', '.join(scopes)) or 'none'}"
    if lacking:
        return failure(_SCOPES, f"{has}, which is less than required", _add(lacking), **facts)
    if lacking_for_launch:
        hint = f"{_add(lacking_for_launch)} For other work it is fine as it is."
        return warning(_SCOPES, f"{has}, which is not enough to launch sites", hint, **facts)
    return ok(_SCOPES, f"{has}, which is enough to launch sites", **facts)


def launch_scopes() -> tuple[str, ...]:
    """Return the scopes that launching sites takes."""
    scopes = dict.fromkeys(get_operation(name).scope for name in LAUNCH_OPERATIONS)
    return tuple(scope for scope in scopes if scope is not None)


def _lacking(granted: list[str], required: Iterable[str]) -> list[str]:
    return [scope for scope in dict.fromkeys(required) if not allows(granted, scope)]


def _add(scopes: list[str]) -> str:
    return f"Add {', '.join(scopes)} to the key in the panel, or use another key."
