"""What a client records even without listeners: a logger, the outcome of each call, and counts.

Every client imports this module; events and logs are imported when a listener or the log level needs them.
"""

import enum
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panelica_async.ratelimit.limit import LimiterState
    from panelica_async.telemetry.statistics import Statistics

__all__ = ["DONE_LEVELS", "LOGGER", "MISMATCHED_LEVEL", "RETRIED_LEVEL", "THROTTLED_LEVEL", "Outcome", "Tally"]

LOGGER = logging.getLogger("panelica_async")
"""The logger of every client; set its level to `DEBUG` to see each request and reply."""

# How many of the last durations the percentiles are computed from.
_KEPT = 1000


class Outcome(enum.StrEnum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    """The panel did it; or the reply was lost, and the created object was found afterwards."""
    FAILED = "failed"
    """The panel rejected it, nothing was sent, or it was a read."""
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
        self.durations: deque[float] = deque(maxlen=_KEPT)

    def summary(self, limiter: "LimiterState", retries_left: int) -> "Statistics":
        """Return the counts so far as a value."""
        from panelica_async.telemetry.statistics import Statistics  # noqa: PLC0415 - few clients are asked

        return Statistics.of(self, limiter, retries_left)
