"""Shows what a client does: events of each call, and statistics that sum them up.

Each call sends `Queued`; each of its attempts `Sent`, then `Throttled` when the panel answers 429, and `Retried` when
it is repeated; `Mismatched` when optional fields of the reply do not fit; and finally the call sends `Done`. Subscribe
a `CallLog`, OpenTelemetry (`otel`), or a function of your own:

```python
from panelica_async.telemetry import Done

panel.subscribe(lambda event: print(event.operation, event.duration) if isinstance(event, Done) else None)
```

A client without listeners only keeps a `Tally`: the outcome of each call, and counts.
"""

import enum
import importlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panelica_async.ratelimit.limit import LimiterState, QuotaLeft
    from panelica_async.telemetry.events import (
        CallEvent,
        CallLog,
        Done,
        Event,
        Listener,
        Mismatched,
        Queued,
        Retried,
        Sent,
        Throttled,
    )
    from panelica_async.telemetry.statistics import Percentiles, Statistics

__all__ = [
    "CallEvent",
    "CallLog",
    "Done",
    "Event",
    "LimiterState",
    "Listener",
    "Mismatched",
    "Outcome",
    "Percentiles",
    "Queued",
    "QuotaLeft",
    "Retried",
    "Sent",
    "Statistics",
    "Throttled",
]

LOGGER = logging.getLogger("panelica_async")
"""The logger of every client; set its level to `DEBUG` to see each request and reply."""

_DURATIONS_KEPT = 1000
"""How many of the last durations the percentiles are computed from."""


class Outcome(enum.StrEnum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    """The panel carried it out; or its reply was lost, and a look-up found the created object."""
    FAILED = "failed"
    """It had no effect: the panel rejected it, nothing was sent, or it was a read."""
    UNKNOWN = "unknown"
    """A write was sent, but no reply shows whether the panel carried it out, or the reply cannot be read."""
    CANCELLED = "cancelled"
    """The caller cancelled it before it could have had an effect."""


THROTTLED_LEVEL = logging.WARNING
"""Log level of an attempt that the panel refused with 429."""
RETRIED_LEVEL = logging.INFO
"""Log level of an attempt that is repeated."""
MISMATCHED_LEVEL = logging.INFO
"""Log level of a reply with optional fields that do not fit their types."""
DONE_LEVELS: Mapping[Outcome, int] = {
    Outcome.SUCCEEDED: logging.DEBUG,
    Outcome.CANCELLED: logging.DEBUG,
    Outcome.FAILED: logging.INFO,
    Outcome.UNKNOWN: logging.WARNING,
}
"""Log level of the end of a call, by outcome."""


class Tally:
    """The running counts of a client; `Statistics` explains each."""

    __slots__ = ("attempts", "durations", "in_flight", "mismatches", "outcomes", "retries", "throttled", "waited")

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.attempts: int = 0
        self.retries: int = 0
        self.throttled: int = 0
        self.mismatches: int = 0
        self.waited: float = 0.0
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.durations: deque[float] = deque(maxlen=_DURATIONS_KEPT)

    def summary(self, limiter: "LimiterState", retries_left: int) -> "Statistics":
        """Return a snapshot of the counts."""
        from panelica_async.telemetry.statistics import Statistics  # noqa: PLC0415 - few clients are asked

        return Statistics.of(self, limiter, retries_left)


# Imported on first use: few programs need them.
_LAZY_IMPORTS = {
    **dict.fromkeys(
        ("CallEvent", "CallLog", "Done", "Event", "Listener", "Mismatched", "Queued", "Retried", "Sent", "Throttled"),
        "panelica_async.telemetry.events",
    ),
    "LimiterState": "panelica_async.ratelimit.limit",
    "Percentiles": "panelica_async.telemetry.statistics",
    "QuotaLeft": "panelica_async.ratelimit.limit",
    "Statistics": "panelica_async.telemetry.statistics",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY_IMPORTS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
