"""The panel's clock: the panel refuses signatures whose timestamp is more than five minutes off."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import inf

from panelica_async.core.values import parse_http_date
from panelica_async.telemetry import LOGGER

# A tenth of the window in which the panel accepts a timestamp (evidence: clock-window).
SKEW_TOLERANCE = 30.0
"""Seconds of difference up to which signatures do not follow the panel's clock."""
MAX_SKEW = 86_400.0
"""Seconds beyond which signatures do not follow the panel's clock. A wrong time zone explains at most half a day."""


def _steady_clock() -> Callable[[], float]:
    """Return a clock that cannot be set and, where the system has one, also runs while the machine sleeps."""
    try:
        boot_time = partial(time.clock_gettime, time.CLOCK_BOOTTIME)  # Linux
        boot_time()
    except (AttributeError, OSError):
        return time.monotonic
    return boot_time


_steady = _steady_clock()


class PanelClock:
    """The panel's time, learnt from the `Date` headers of its replies.

    It is based on the monotonic clock, so setting the clock of this machine does not disturb it. Each reply narrows
    down how far ahead the panel's clock can be. That alone changes no signature: a header must not decide how long a
    signature is valid. Only when the panel rejects a timestamp are both clocks compared again, and signatures follow
    the panel's if the two differ by more than the tolerance. So the clock also recovers from a sleep, a snapshot or a
    corrected clock, at the price of one rejected call.

    Args:
        wall: Returns the Unix time of this machine.
        monotonic: Returns seconds of a clock that cannot be set.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = _steady) -> None:
        self.monotonic = monotonic
        self._wall = wall
        wall_lead = wall() - monotonic()
        # Bounds of the seconds by which the panel's clock is ahead of the monotonic one.
        self._min_panel_lead = -inf
        self._max_panel_lead = inf
        # Seconds by which this machine's clock was ahead of the monotonic one when the bounds were last updated.
        self._learnt_wall_lead = wall_lead
        self.correction: float = 0.0
        """Seconds to add to the time of this machine for signatures."""
        self.lead: float = wall_lead
        """Seconds by which the timestamps of signatures are ahead of the monotonic clock."""

    @property
    def skew(self) -> float | None:
        """Seconds by which replies show the panel's clock ahead of this machine's; None before the first reply."""
        if self._min_panel_lead == -inf:
            return None
        return (self._min_panel_lead + self._max_panel_lead) / 2 - (self._wall() - self.monotonic())

    def now(self) -> float:
        """Return the Unix time for signatures."""
        return self.lead + self.monotonic()

    def earliest_panel_time(self, instant: float) -> float | None:
        """Return the earliest Unix time that the panel's clock can have shown at an instant of the monotonic clock.

        None before the first reply with a date.
        """
        return None if self._min_panel_lead == -inf else instant + self._min_panel_lead

    def local_time(self, instant: float) -> datetime:
        """Return the time of this machine at an instant of the monotonic clock."""
        return datetime.fromtimestamp(self._wall() - (self.monotonic() - instant), UTC)

    def learn(self, date: str | None, sent_at: float, received_at: float) -> None:
        """Learn from the `Date` header of a reply; ignore one that is not a date.

        Args:
            date: The header. It is rounded down to a second.
            sent_at: Instant of the monotonic clock at which the request left.
            received_at: Instant at which the reply was read.
        """
        seconds = None if date is None else parse_http_date(date)
        if seconds is None:
            return
        self._learnt_wall_lead = self._wall() - received_at
        low, high = seconds - received_at, seconds + 1 - sent_at
        if low > self._max_panel_lead or high < self._min_panel_lead:
            # One of the clocks was set: the old bounds no longer hold.
            self._min_panel_lead, self._max_panel_lead = low, high
        elif low > self._min_panel_lead or high < self._max_panel_lead:
            self._min_panel_lead = max(low, self._min_panel_lead)
            self._max_panel_lead = min(high, self._max_panel_lead)

    def follow(self) -> None:
        """Compare both clocks again, after the panel rejected a timestamp, and follow the panel's if they differ."""
        old_lead, wall_lead = self.lead, self._wall() - self.monotonic()
        if abs(wall_lead - self._learnt_wall_lead) > SKEW_TOLERANCE:
            # The machine slept, or its clock was set, and the rejection did not show the panel's time.
            self._min_panel_lead, self._max_panel_lead = -inf, inf
        low, high = self._min_panel_lead - SKEW_TOLERANCE, self._max_panel_lead + SKEW_TOLERANCE
        if low > -inf and low <= old_lead <= high:
            return  # the rejected timestamp agreed with the panel's clock
        skew = self.skew or 0.0
        self.correction = skew if SKEW_TOLERANCE < abs(skew) <= MAX_SKEW else 0.0
        self.lead = wall_lead + self.correction
        if self.correction and abs(self.lead - old_lead) > SKEW_TOLERANCE:
            direction = "ahead of" if self.correction > 0 else "behind"
            LOGGER.warning(
                "the panel rejected a timestamp: its clock is %.0f s %s that of this machine; "
                "requests are signed with the panel's time from now on",
                abs(self.correction),
                direction,
            )
