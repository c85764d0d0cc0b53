"""What time it is on the panel, which refuses signatures that are five minutes off."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf

from panelica_async.core.dates import http_date

NOTABLE_SKEW = 30.0
"""Seconds clocks may differ before signatures follow the panel's: a tenth of what it tolerates (panel-facts A.5)."""
GREATEST_SKEW = 86_400.0
"""Seconds beyond which a `Date` header is not believed. Wrong time zones make half a day."""


class PanelClock:
    """The panel's time, learnt from the `Date` headers of its replies.

    It stands on the monotonic clock, so that setting the clock of this machine does not disturb it. Each reply says how
    far ahead the panel's clock can be, at least and at most; all of them together say it better. Signatures follow the
    panel only where the two differ notably: then the correction jumps once, to the middle of what is possible.

    Args:
        wall: Returns the Unix time of this machine.
        monotonic: Returns seconds of a clock that nobody sets.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self._zero = wall() - monotonic()
        self._least_skew = -inf
        self._most_skew = inf
        self.correction: float = 0.0
        """Seconds added to the time of this machine to get that of the panel."""

    @property
    def skew(self) -> float | None:
        """Seconds the panel's clock is ahead of this machine's, as near as can be told; None before a reply told it."""
        return None if self._least_skew == -inf else (self._least_skew + self._most_skew) / 2

    def now(self) -> float:
        """Return the panel's Unix time."""
        return self._zero + self.monotonic() + self.correction

    def earliest_panel_time(self, instant: float) -> float | None:
        """Return the earliest Unix time it can have been on the panel at an instant of the monotonic clock.

        None before any reply told it.
        """
        return None if self._least_skew == -inf else self._zero + instant + self._least_skew

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
        least, most = seconds - received_at - self._zero, seconds + 1 - sent_at - self._zero
        if least <= self._least_skew and most >= self._most_skew:
            return  # nothing new
        self._narrow(least, most)
        is_off = not self._least_skew - NOTABLE_SKEW <= self.correction <= self._most_skew + NOTABLE_SKEW
        skew = self.skew
        if is_off and skew is not None and abs(skew) <= GREATEST_SKEW:
            self.correction = skew

    def _narrow(self, least: float, most: float) -> None:
        if least > self._most_skew or most < self._least_skew:
            # One of the clocks was set: what was known is void.
            self._least_skew, self._most_skew = least, most
        else:
            self._least_skew, self._most_skew = max(least, self._least_skew), min(most, self._most_skew)
