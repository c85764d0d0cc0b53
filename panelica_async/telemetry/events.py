"""What happens to a call, in the order it happens."""

import enum
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from panelica_async.errors import PanelicaError
from panelica_async.ratelimit.lanes import Lane


class Outcome(enum.StrEnum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    """The panel did it, or what it made was found after the reply was lost."""
    FAILED = "failed"
    """The panel refused, nothing was sent, or the call only read."""
    UNKNOWN = "unknown"
    """A write was sent, and whether the panel carried it out is not known, or what it made of it cannot be read."""
    CANCELLED = "cancelled"
    """The caller gave it up before anything could have been done."""


@attrs.frozen(kw_only=True)
class CallEvent:
    """What every event says. Bodies and headers are as they travel, secrets included; they are in no repr."""

    call: int
    """Number of the call in its client, from 1; the same on all of its events."""
    operation: str
    """Name of the operation, such as `domains.create`; method and path for a raw request."""
    method: str
    path: str
    """Path as sent, from `/v1` on, without query."""
    lane: Lane
    at: float
    """When it happened, in Unix time."""


@attrs.frozen(kw_only=True)
class Queued(CallEvent):
    """The call was made, and waits for its place in the quota."""


@attrs.frozen(kw_only=True)
class Sent(CallEvent):
    """An attempt leaves, signed."""

    attempt: int
    """Number of the attempt, from 1."""
    waited: float
    """Seconds it waited for its place in the quota."""
    query: str = attrs.field(repr=False)
    """Query as sent, without its `?`."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(repr=False)
    """None when there was none, or when it is streamed, as files are."""


@attrs.frozen(kw_only=True)
class Throttled(CallEvent):
    """The panel refused an attempt with 429: everybody on the key pauses."""

    attempt: int
    retry_after: float | None
    """Seconds the panel asks to wait, if it says."""
    limit: int | None
    """Requests the window allows, if the panel says."""
    window: str | None
    """Name of the window that is full, such as `minute`, if the panel says."""


@attrs.frozen(kw_only=True)
class Retried(CallEvent):
    """An attempt failed, and another follows."""

    attempt: int
    """Number of the attempt that failed."""
    wait: float
    """Seconds until the call queues again."""
    status: int | None
    """HTTP status of the reply; None when there was none."""
    error: PanelicaError | None = attrs.field(repr=False)
    """What became of the connection; None when there was a reply."""

    @property
    def reason(self) -> str:
        """Why, in words: the status, or what became of the connection."""
        return f"the panel answered {self.status}" if self.error is None else self.error.message


@attrs.frozen(kw_only=True)
class Done(CallEvent):
    """The call has ended."""

    outcome: Outcome
    status: int | None
    """HTTP status of the reply to the last attempt; None when there was none."""
    attempts: int
    """How many attempts left, those that found no connection among them; 0 when none had its turn."""
    waited: float
    """Seconds all attempts together waited for their places in the quota."""
    duration: float
    """Seconds from the call to its end, waits included."""
    request_id: str | None
    """Id to quote to the panel's support, if the panel gave one."""
    body: bytes = attrs.field(repr=False)
    """Body of that reply; empty when there was none."""
    error: BaseException | None = attrs.field(repr=False)
    """What the caller gets instead of a result."""


Event: TypeAlias = Queued | Sent | Throttled | Retried | Done
"""Every event there is."""

Listener: TypeAlias = Callable[[Event], object]
"""Called with each event, in the event loop: it must not block, and nothing awaits what it returns. What it raises goes
no further: type and place are logged, without the message, which may quote the event and its secrets."""
