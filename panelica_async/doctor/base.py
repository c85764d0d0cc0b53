"""What all checks share: findings, which are their results, and probes, which send test calls to one address.

A probe sends each call only once, and never one that writes.
"""

import enum
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from panelica_async.api.discovery import PanelDialect
from panelica_async.api.runner import OperationRunner, decode_reply
from panelica_async.client import user_agent
from panelica_async.core.address import Address
from panelica_async.core.operation import Dialect, Repeat
from panelica_async.core.redaction import shorten
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import Signer
from panelica_async.resources.registry import get_operation
from panelica_async.resources.utility import Utility
from panelica_async.transport.call import CallOptions
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.session import SessionHolder, TlsSetting

_MAX_TEXT_LENGTH = 1000
"""Characters of a message or a hint."""


def _on_one_line(text: str) -> str:
    """Remove control characters and line breaks, because parts of the text come from the panel."""
    return shorten(text, _MAX_TEXT_LENGTH)


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    """All is well."""
    WARNING = "warning"
    """Calls work, but something should be changed."""
    FAILURE = "failure"
    """Calls do not work."""
    SKIPPED = "skipped"
    """Not checked, because an earlier check failed."""


@attrs.frozen(kw_only=True)
class Finding:
    """The result of one check. It contains no secrets."""

    name: str
    """Name of the check, such as `clock`."""
    state: State
    message: str = attrs.field(converter=_on_one_line)
    """What was found."""
    hint: str | None = attrs.field(default=None, converter=attrs.converters.optional(_on_one_line))
    """What to do about it; None if there is nothing to do."""
    facts: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """The details as data: numbers, scopes, a fingerprint."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-like data."""
        return {
            "name": self.name,
            "state": self.state.value,
            "message": self.message,
            "hint": self.hint,
            "facts": dict(self.facts),
        }


def ok(name: str, message: str, /, **facts: Any) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(name=name, state=State.OK, message=message, facts=facts)


def warning(name: str, message: str, hint: str, /, **facts: Any) -> Finding:
    """Return the finding of a check that passed with a warning."""
    return Finding(name=name, state=State.WARNING, message=message, hint=hint, facts=facts)


def failure(name: str, message: str, hint: str | None, /, **facts: Any) -> Finding:
    """Return the finding of a check that failed."""
    return Finding(name=name, state=State.FAILURE, message=message, hint=hint, facts=facts)


def skipped(name: str, reason: str) -> Finding:
    """Return the finding of a check that was skipped."""
    return Finding(name=name, state=State.SKIPPED, message=reason)


class ProbeFactory:
    """Creates probes for addresses of one panel; they share a session, a key and its quota.

    Args:
        address: Configured address of the panel. The key is sent only to its origin.
        sessions: Holds the aiohttp session.
        signer: Signs with the key.
        tier: Rate-limit tier of the key, or `auto`.
        ssl: How to verify the panel's certificate.
        timeout: Seconds for one call.

    Raises:
        ConfigurationError: The tier is unknown.
    """

    def __init__(
        self,
        address: Address,
        sessions: SessionHolder,
        *,
        signer: Signer,
        tier: str,
        ssl: TlsSetting,
        timeout: float,
    ) -> None:
        self._sessions = sessions
        self._ssl = ssl
        self._timeout = timeout
        self._keys = KeyHolder(ApiKey(signer, KeyQuota(address.origin, signer.api_key, tier=tier, limiter=None)))

    def create(self, address: Address, *, timeout: float | None = None) -> "Probe":
        """Return a probe for an address.

        Raises:
            ConfigurationError: `ssl` or the timeout is invalid.
        """
        transport = Transport(
            address=address,
            sessions=self._sessions,
            keys=self._keys,
            ssl=self._ssl,
            user_agent=user_agent("panelica-doctor"),
            clock=PanelClock(),
        )
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        # A diagnosis reports a failure; it does not retry until the failure is over.
        options = CallOptions(timeout=seconds, max_retries=0, max_wait=seconds)
        return Probe(address, transport, options)

    async def close(self) -> None:
        """Close the session, unless it is borrowed."""
        await self._sessions.close()


@attrs.frozen(eq=False)
class Probe:
    """Calls to one address."""

    address: Address
    transport: Transport = attrs.field(repr=False)
    options: CallOptions

    @property
    def key(self) -> ApiKey:
        """The key and its quota."""
        return self.transport.keys.current

    @property
    def clock(self) -> PanelClock:
        """The panel's time, as its replies show it."""
        return self.transport.clock

    def utility(self, dialect: Dialect = "reference") -> Utility:
        """Return the client's methods about the API itself, such as `me` and `rate_limit`."""
        return Utility(self._runner(dialect))

    async def learn_dialect(self) -> Dialect:
        """Return the dialect that a client would learn; raises the errors of a client."""
        return await PanelDialect(self.transport, str(self.address)).learn(self.options)

    async def get(self, path: str) -> None:
        """Send a signed GET request; raises the errors of a client."""
        runner = self._runner("reference")
        call = runner.prepare_raw(f"GET {path}", PreparedRequest(method="GET", path=path), Repeat.READ)
        await runner.run(call, partial(decode_reply, call))

    def _runner(self, dialect: Dialect) -> OperationRunner:
        chosen = PanelDialect(self.transport, str(self.address), dialect)
        return OperationRunner(self.transport, self.options, chosen, get_operation)
