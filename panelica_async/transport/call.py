"""One call on its way: what the middlewares need to know of it, and what they find out."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import attrs

from panelica_async.core.operation import Repeat
from panelica_async.errors import OutcomeUnknownError


@attrs.define(kw_only=True)
class Call:
    """A call from its first attempt to its outcome."""

    operation: str
    method: str
    path: str
    repeat: Repeat
    signed: bool = True
    deadline_at: float | None = None
    """Time of the event loop at which the caller gives up."""
    attempts: int = 0
    sent_at: datetime | None = None
    """When the last attempt was sent."""
    may_be_done: bool = False
    """Whether an attempt is out, or one was sent whose reply was lost."""

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        if self.deadline_at is None:
            return None
        return max(0.0, self.deadline_at - asyncio.get_running_loop().time())

    @property
    def is_doubtful(self) -> bool:
        """Whether something may have changed on the panel without a reply that says so."""
        return self.may_be_done and self.repeat is not Repeat.READ

    def outcome_unknown(self, reason: str) -> OutcomeUnknownError:
        """Return the error for a write whose fate is not known."""
        return OutcomeUnknownError(
            f"The request was sent, and whether the panel carried it out is not known: {reason}",
            operation=self.operation,
            method=self.method,
            path=self.path,
            sent_at=self.sent_at,
            attempts=self.attempts,
            hint="Look whether the change is there before you send it again.",
        )


@attrs.frozen(kw_only=True)
class RawReply:
    """A reply of any status, read to its end."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
