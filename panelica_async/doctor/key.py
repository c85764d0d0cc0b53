"""Whether the panel accepts the key, and if not, why: key, secret, clock, or the path that is signed."""

from http import HTTPStatus

import attrs

from panelica_async.core.address import DIRECT_PORT, Address
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

_NAME = "key"
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
        return KeyCheck(finding=failure(_NAME, message, _FORBIDDEN), timestamp_accepted=True)
    except PanelicaError as error:
        return KeyCheck(finding=failure(_NAME, f"GET {_PATH} fails: {error.message}", error.hint or _AGAIN))
    return KeyCheck(finding=_accepted(probe, key), key=key, scopes=tuple(key.scopes), timestamp_accepted=True)


def _accepted(probe: Probe, key: CurrentKey) -> Finding:
    owner = "" if key.user is None else f" of {excerpt(key.user.username)}"
    until = "" if key.expires_at is None else f", until {key.expires_at:%Y-%m-%d}"
    message = f"{_name(probe)}, {excerpt(key.name)!r}{owner}, is accepted{until}"
    facts = {"name": excerpt(key.name), "expires_at": key.expires_at and key.expires_at.isoformat()}
    if key.status is not None and key.status.lower() != "active":
        hint = "Look at the key in the panel."
        return warning(_NAME, f"{message}, and its state is {excerpt(key.status)!r}", hint, **facts)
    return ok(_NAME, message, **facts)


def _without_scope(probe: Probe, error: MissingScopeError) -> KeyCheck:
    """The panel knows the key and its signature, but the key may not ask about itself."""
    # "/v1/me accounts:read" (panel-facts C.1).
    message = f"{_name(probe)} is accepted, but may not be asked about: it lacks {error.required_scope or 'a scope'}"
    finding = warning(_NAME, message, error.hint or "Give the key the scope accounts:read.")
    return KeyCheck(finding=finding, scopes=error.available_scopes or None, timestamp_accepted=True)


async def _refused(probes: Probes, probe: Probe, error: AuthenticationError) -> KeyCheck:
    """Tell by the reply what a 401 is about; its order of checks is not known (panel-facts A.5)."""
    said, name = f"{error.code} {error.message}".lower(), _name(probe)
    if error.code is not None and error.code.startswith("MISSING_"):
        return KeyCheck(finding=failure(_NAME, f"a header gets lost on the way: {error.message}", error.hint))
    if "timestamp" in said:
        return KeyCheck(finding=skipped(_NAME, "the time of the signature is refused"), timestamp_accepted=False)
    if error.code == _MALFORMED:
        return KeyCheck(finding=failure(_NAME, f"the panel says that {name} is not a key: {error.message}", error.hint))
    if error.code is not None and "signature" not in said:
        message = f"the panel does not accept {name}: {error.message}"
        return KeyCheck(finding=failure(_NAME, message, error.hint))
    if await _signs_prefix(probes, probe):
        prefix = probe.address.prefix
        message = f"the panel wants {prefix} to be signed, which no panel does by itself; key and secret are right"
        return KeyCheck(finding=failure(_NAME, message, _PROXY.format(prefix=prefix)), timestamp_accepted=True)
    if error.code is None:
        message = f"the panel does not accept {name} or its signature: {error.message}"
    else:
        message = f"the signature does not match: the secret is not that of {name}"
    return KeyCheck(finding=failure(_NAME, message, error.hint))


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
