"""What time it is on the panel, which refuses signatures that are five minutes off."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

NOTABLE_SKEW = 30.0
"""Seconds clocks may differ before signatures follow the panel's: a tenth of what it tolerates (panel-facts A.5)."""
GREATEST_SKEW = 86_400.0
"""Seconds beyond which a `Date` header is not believed. Wrong time zones make half a day."""


class PanelClock:
    """The panel's time, learnt from the `Date` headers of its replies.

    It stands on the monotonic clock, so that setting the clock of this machine does not disturb it, and follows the
    panel only where the two differ notably: then it jumps once, to the middle of what the reply allows.

    Args:
        wall: Returns the Unix time of this machine.
        monotonic: Returns seconds of a clock that nobody sets.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self._zero = wall() - monotonic()
        self._last_date: str | None = None
        self.correction: float = 0.0
        """Seconds added to the time of this machine to get that of the panel."""
        self.skew: float | None = None
        """Seconds the panel's clock was last seen ahead of this machine's, to about a second; None before a reply."""

    def now(self) -> float:
        """Return the panel's Unix time."""
        return self._zero + self.monotonic() + self.correction

    def panel_time(self, instant: float) -> float | None:
        """Return the panel's Unix time at an instant of the monotonic clock; None before any reply told it."""
        return None if self.skew is None else self._zero + instant + self.skew

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
        if date is None or date == self._last_date:
            return
        self._last_date = date
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        least, most = seconds - received_at - self._zero, seconds + 1 - sent_at - self._zero
        if self.skew is None or not least <= self.skew <= most:
            self.skew = (least + most) / 2
        is_off = not least - NOTABLE_SKEW <= self.correction <= most + NOTABLE_SKEW
        if is_off and abs(self.skew) <= GREATEST_SKEW:
            self.correction = self.skew
