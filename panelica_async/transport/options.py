"""How a call is to be made: the options a client has for all of its calls, and a variant for its own."""

import attrs

from panelica_async.ratelimit.lanes import Lane


@attrs.frozen(kw_only=True)
class CallOptions:
    """How a call is to be made."""

    timeout: float = 30.0
    """Seconds for one attempt, from sending to the last byte of the reply."""
    deadline: float | None = None
    """Seconds for the whole call with its waits and retries; None for no end."""
    max_wait: float | None = None
    """Seconds each attempt may wait for quota, and each retry for what the panel asks; None for as long as it takes."""
    max_retries: int = 3
    """How often a failed attempt is tried again."""
    lane: Lane = "interactive"
    """Lane of the limiter in which the call waits."""
    look_up_lost: bool = True
    """Whether a create whose reply was lost is looked up."""
