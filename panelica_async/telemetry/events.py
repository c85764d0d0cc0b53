"""The events of a call, in the order in which they happen."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from panelica_async.errors import PanelicaError
from panelica_async.ratelimit.lanes import Lane
from panelica_async.telemetry.tally import Outcome

__all__ = ["CallEvent", "Done", "Event", "Listener", "Mismatched", "Outcome", "Queued", "Retried", "Sent", "Throttled"]


@attrs.frozen(kw_only=True, eq=False)
class CallEvent:
    """The fields of every event. Bodies and headers are as sent and received, secrets included, and never in a repr."""

    call: int
    """Number of the call within its client, from 1; the same in all of its events."""
    operation: str
    """Name of the operation, such as `domains.create`; method and path for a raw request."""
    method: str
    path: str
    """Path as sent, from `/v1` on, without query."""
    lane: Lane
    at: float
    """Unix time of the event."""


@attrs.frozen(kw_only=True, eq=False)
class Queued(CallEvent):
    """A call was made and waits for quota."""


@attrs.frozen(kw_only=True, eq=False)
class Sent(CallEvent):
    """An attempt was signed and is being sent."""

    attempt: int
    """Number of the attempt, from 1."""
    waited: float
    """Seconds it waited for quota."""
    query: str = attrs.field(repr=False)
    """Query as sent, without its `?`."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(repr=False)
    """None if there is none, and for file uploads, which are streamed."""


@attrs.frozen(kw_only=True, eq=False)
class Throttled(CallEvent):
    """The panel refused an attempt with 429; all calls with the key pause."""

    attempt: int
    retry_after: float | None
    """Seconds to wait, if the panel names them."""
    limit: int | None
    """Requests that the window allows, if the panel names them."""
    window: str | None
    """The window that is full, such as `minute`, if the panel names it."""


@attrs.frozen(kw_only=True, eq=False)
class Retried(CallEvent):
    """An attempt failed; another one follows."""

    attempt: int
    """Number of the attempt that failed."""
    wait: float
    """Seconds until the call queues again."""
    status: int | None
    """HTTP status of the reply; None if there was none."""
    error: PanelicaError | None = attrs.field(repr=False)
    """Why no reply came; None if there was one."""

    @property
    def reason(self) -> str:
        """The reason as text: the status, or why no reply came."""
        return f"the panel answered {self.status}" if self.error is None else self.error.message


@attrs.frozen(kw_only=True, eq=False)
class Mismatched(CallEvent):
    """Optional fields of a reply do not fit their types: they are None, and `extra` has what the panel sent."""

    fields: tuple[str, ...]
    """Each field once with the reason, such as `Domain.disk_usage_mb: expected int, got list`; without values."""
    count: int
    """Number of such values in all rows, up to 1,000."""


@attrs.frozen(kw_only=True, eq=False)
class Done(CallEvent):
    """A call ended."""

    outcome: Outcome
    status: int | None
    """HTTP status of the reply to the last attempt; None if there was none."""
    attempts: int
    """Attempts that were sent or found no connection; 0 if the call ended in the queue."""
    waited: float
    """Seconds that all attempts together waited for quota."""
    duration: float
    """Seconds from beginning to end, waits included."""
    request_id: str | None
    """Id to quote to the panel's support, if there is one."""
    body: bytes = attrs.field(repr=False)
    """Body of that reply; empty if there was none."""
    error: BaseException | None = attrs.field(repr=False)
    """The error that the caller gets; None if the call succeeded."""


Event: TypeAlias = Queued | Sent | Throttled | Retried | Mismatched | Done
"""Any of the events."""

Listener: TypeAlias = Callable[[Event], object]
"""A function that is called with each event, in the event loop. It must not block; its return value is ignored. If it
raises, the log has the type and the traceback, but not the message, which may quote the event and its secrets."""
