"""What to say of a write whose fate is not known."""

from typing import Any

from panelica_async.core.json_codec import loads
from panelica_async.core.redaction import FILES, REDACTED
from panelica_async.errors import OutcomeUnknownError
from panelica_async.transport.call import Call
from panelica_async.transport.clock import PanelClock


def outcome_unknown(call: Call, clock: PanelClock, reason: str) -> OutcomeUnknownError:
    """Return the error for a write that was sent and has no reply.

    Args:
        call: The write.
        clock: Tells when it was sent.
        reason: Why there is no reply.
    """
    return OutcomeUnknownError(
        f"The request was sent, and whether the panel carried it out is not known: {reason}",
        operation=call.operation,
        method=call.method,
        path=call.path,
        sent=_shown(call),
        sent_at=None if call.sent_at is None else clock.local_time(call.sent_at),
        attempts=call.attempts,
        hint="Look whether the change is there before you send it again.",
    )


def _shown(call: Call) -> Any:
    request = call.request
    if request.body is None:
        return None
    data = loads(request.body)
    if request.path.startswith(FILES) and isinstance(data, dict) and "content" in data:
        data = {**data, "content": REDACTED}
    return call.sanitizer.data(data)
