"""Finds out why calls to a panel fail, and what to do about it.

```python
from panelica_async.doctor import diagnose

diagnosis = await diagnose("https://panel.example.com:8443", api_key="pk_live_…", api_secret="sk_live_…")
for finding in diagnosis.findings:
    print(finding.state, finding.name, finding.message, finding.hint)
```
"""

from collections.abc import Iterable
from typing import Any, Literal

import aiohttp
import attrs

from panelica_async.api.discovery import chosen_dialect
from panelica_async.core.address import Address
from panelica_async.core.model import UNSET, Unset
from panelica_async.core.operation import Dialect
from panelica_async.core.signing import Signer
from panelica_async.doctor.base import Finding, Probe, ProbeFactory, State, skipped
from panelica_async.doctor.key import check_clock, check_key, check_quota, check_scopes
from panelica_async.doctor.network import check_dialect, check_reachability
from panelica_async.transport.session import SessionHolder, TlsSetting, proxy_from_environment

__all__ = ["Diagnosis", "Finding", "State", "diagnose"]


@attrs.frozen(kw_only=True)
class Diagnosis:
    """The findings about one panel and one key, in the order of the checks."""

    base_url: str
    """Address of the panel."""
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return any(finding.state is State.FAILURE for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """What to fix first: the first failure, otherwise the first warning; None if there is neither."""
        for state in (State.FAILURE, State.WARNING):
            for finding in self.findings:
                if finding.state is state:
                    return finding
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-like data."""
        return {
            "base_url": self.base_url,
            "failed": self.failed,
            "first": None if self.first is None else self.first.name,
            "findings": [finding.to_dict() for finding in self.findings],
        }


async def diagnose(
    base_url: str,
    *,
    api_key: str,
    api_secret: str,
    tier: str = "auto",
    ssl: TlsSetting = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each request
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
    dialect: Dialect | Literal["auto"] | Unset = UNSET,
    require: Iterable[str] = (),
) -> Diagnosis:
    """Find out whether calls to a panel work, and if not, why.

    The checks only read, and never retry. A working panel receives four or five requests. One or two ask for its
    health and one for its dialect; these are not signed. `GET /v1/me` and `GET /v1/rate-limit` are signed and count
    against the quota of the key. A rejected signature costs one more signed request. If the API does not answer, up to
    six other addresses on the same host receive two unsigned requests each. The certificate is read over a separate
    connection, on which nothing is sent.

    Args:
        base_url: Address of the panel, in any form that `PanelicaClient` takes.
        api_key: Public half of the key.
        api_secret: Secret half of the key.
        tier: Rate-limit tier of the key, as for `PanelicaClient`.
        ssl: How to verify the panel's certificate, as for `PanelicaClient`.
        timeout: Seconds for each request, greater than 0.
        session: A session to use; it is not closed.
        trust_env: Whether to use the proxy from the environment, as for `PanelicaClient`.
        dialect: Dialect to speak, as for `PanelicaClient`.
        require: Scopes that the key must have, such as `domains:write`.

    Returns:
        One finding for each of `connection`, `tls`, `address`, `clock`, `key`, `rate_limit`, `scopes` and `dialect`.

    Raises:
        ConfigurationError: An argument is invalid.
    """
    address, chosen = Address.parse(base_url), chosen_dialect(dialect)
    sessions = SessionHolder(session, proxy=proxy_from_environment(address.origin) if trust_env else None)
    probes = ProbeFactory(address, sessions, signer=Signer(api_key, api_secret), tier=tier, ssl=ssl, timeout=timeout)
    try:
        probe = probes.create(address)
        connection = await check_reachability(probes, probe, ssl)
        if connection.api_answers:
            api_findings = await _check_api(probes, probe, chosen, tuple(require))
        else:
            api_findings = _skip_api()
    finally:
        await probes.close()
    return Diagnosis(base_url=str(address), findings=(*connection.findings, *api_findings))


async def _check_api(
    probes: ProbeFactory, probe: Probe, chosen: Dialect | None, required: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Run the checks that need an answer of the API."""
    key = await check_key(probes, probe)
    clock = check_clock(probe.clock, accepted=key.timestamp_accepted)
    dialect = await check_dialect(probe, chosen)
    # If the dialect is uncertain, either will do: the operations that the checks call exist in both.
    spoken = dialect.dialect or "reference"
    if not key.is_accepted:
        not_checked = (skipped(name, "the key was not accepted") for name in ("rate_limit", "scopes"))
        return clock, key.finding, *not_checked, dialect.finding
    quota = await check_quota(probe, key.key, spoken)
    return clock, key.finding, quota, check_scopes(key.scopes, required, spoken), dialect.finding


def _skip_api() -> tuple[Finding, ...]:
    return tuple(
        skipped(name, "the API was not reached") for name in ("clock", "key", "rate_limit", "scopes", "dialect")
    )
