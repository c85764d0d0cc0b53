"""What time it is on the panel, which refuses signatures that are five minutes off."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import inf

from panelica_async.core.dates import http_date
from panelica_async.telemetry.tally import LOGGER

NOTABLE_SKEW = 30.0
"""Seconds clocks may differ before signatures follow the panel's: a tenth of its window (evidence: clock-window)."""
GREATEST_SKEW = 86_400.0
"""Seconds beyond which signatures do not follow the panel's clock. A wrong time zone explains at most half a day."""


def _steady_clock() -> Callable[[], float]:
    """Return a clock that nobody sets; where there is one, it goes on while the machine sleeps."""
    try:
        boot_time = partial(time.clock_gettime, time.CLOCK_BOOTTIME)  # Linux
        boot_time()
    except (AttributeError, OSError):
        return time.monotonic
    return boot_time


_steady = _steady_clock()


class PanelClock:
    """The panel's time, learnt from the `Date` headers of its replies.

    It stands on the monotonic clock, so that setting the clock of this machine does not disturb it. Each reply says how
    far ahead the panel's clock can be, at least and at most; all of them together say it better. That alone changes no
    signature: a header must not decide for how long a signature is valid. Only when the panel refuses a timestamp are
    both clocks looked at again, and signatures follow the panel's where the two differ notably. So the clock also
    recovers from a sleep, a snapshot or a clock that was set right, at the price of one refused call.

    Args:
        wall: Returns the Unix time of this machine.
        monotonic: Returns seconds of a clock that nobody sets.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = _steady) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self._zero = wall() - monotonic()
        # Seconds the panel's clock is ahead of the monotonic one.
        self._least_lead = -inf
        self._most_lead = inf
        # How far this machine's clock was ahead of the monotonic one when that was learnt.
        self._learnt_zero = self._zero
        self.correction: float = 0.0
        """Seconds added to the time of this machine to get that of the panel."""

    @property
    def skew(self) -> float | None:
        """Seconds the panel's clock is ahead of this machine's, as near as can be told; None before a reply told it."""
        if self._least_lead == -inf:
            return None
        return (self._least_lead + self._most_lead) / 2 - (self._wall() - self.monotonic())

    @property
    def lead(self) -> float:
        """Seconds the time that signatures carry is ahead of the monotonic clock."""
        return self._zero + self.correction

    def now(self) -> float:
        """Return the Unix time for signatures."""
        return self._zero + self.monotonic() + self.correction

    def earliest_panel_time(self, instant: float) -> float | None:
        """Return the earliest Unix time it can have been on the panel at an instant of the monotonic clock.

        None before any reply told it.
        """
        return None if self._least_lead == -inf else instant + self._least_lead

    def local_time(self, instant: float) -> datetime:
        """Return the time of this machine at an instant of the monotonic clock."""
        return datetime.fromtimestamp(self._wall() - (self.monotonic() - instant), UTC)

    def learn(self, date: str | None, sent_at: float, received_at: float) -> None:
        """Compare with the `Date` header of a reply, whatever it says.

        Args:
            date: The header. It is rounded down to a second.
            sent_at: Instant of the monotonic clock at which the request left.
            received_at: Instant at which the reply was there.
        """
        seconds = None if date is None else http_date(date)
        if seconds is None:
            return
        self._learnt_zero = self._wall() - self.monotonic()
        least, most = seconds - received_at, seconds + 1 - sent_at
        if least > self._most_lead or most < self._least_lead:
            # One of the clocks was set: what was known is void.
            self._least_lead, self._most_lead = least, most
        elif least > self._least_lead or most < self._most_lead:
            self._least_lead, self._most_lead = max(least, self._least_lead), min(most, self._most_lead)

    def follow(self) -> None:
        """Look at both clocks again, because the panel refused a timestamp, and follow the panel's if they differ."""
        lead, zero = self.lead, self._wall() - self.monotonic()
        if abs(zero - self._learnt_zero) > NOTABLE_SKEW:
            # The machine slept, or its clock was set, and the refusal did not say the panel's time.
            self._least_lead, self._most_lead = -inf, inf
        if self._least_lead > -inf and self._least_lead - NOTABLE_SKEW <= lead <= self._most_lead + NOTABLE_SKEW:
            return  # signed with the panel's time already, by all that is known
        self._zero = zero
        skew = self.skew or 0.0
        self.correction = skew if NOTABLE_SKEW < abs(skew) <= GREATEST_SKEW else 0.0
        if self.correction and abs(self.lead - lead) > NOTABLE_SKEW:
            direction = "ahead of" if self.correction > 0 else "behind"
            LOGGER.warning(
                "the panel refused a timestamp: its clock is %.0f s %s that of this machine; "
                "requests are signed with the panel's time from now on",
                abs(self.correction),
                direction,
            )
