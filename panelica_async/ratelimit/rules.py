"""The two ways of limiting: how fast, and how many in a window.

A rule is pure arithmetic on the instants it is given, in seconds of any clock that never goes back.
"""

from array import array
from collections.abc import Sequence

__all__ = ["Rule", "SlidingLog", "TokenBucket"]


class TokenBucket:
    """Lets `burst` requests go at once and `rate` a second after that.

    Args:
        rate: Tokens that come back in a second.
        burst: Tokens in a full bucket; at least 1.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._level = float(burst)
        self._level_at = float("-inf")

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when there will be a token after `ahead` others were taken."""
        return now + max(0.0, ahead + 1 - self._filled(now)) / self.rate

    def take(self, now: float) -> None:
        """Take a token. A bucket that has none stays empty: it owes nothing."""
        self._level = max(0.0, self._filled(now) - 1)
        self._level_at = now

    def _filled(self, now: float) -> float:
        return min(self.burst, self._level + (now - self._level_at) * self.rate)


class SlidingLog:
    """Lets `count` requests go in any window of `period` seconds, wherever the window begins.

    It keeps the instants of the last `count` requests in a ring that grows as it is filled, eight bytes each.

    Args:
        count: Requests in a window; at least 1.
        period: Length of the window in seconds.
    """

    def __init__(self, count: int, period: float) -> None:
        self.count = count
        self.period = period
        self._ring = array("d")
        self._oldest = 0

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return when a place will be free after `ahead` others were taken.

        Each `count` of the others costs one more period.
        """
        periods, position = divmod(ahead, self.count)
        leaving = position - (self.count - len(self._ring))
        if leaving >= 0:
            instant = self._ring[(self._oldest + leaving) % self.count]
            now = max(now, instant + self.period)
        return now + periods * self.period

    def take(self, now: float) -> None:
        """Note a request, in place of the oldest when the ring is full."""
        if len(self._ring) < self.count:
            self._ring.append(now)
        else:
            self._ring[self._oldest] = now
            self._oldest = (self._oldest + 1) % self.count

    def used(self, now: float) -> int:
        """Return how many requests lie in the window that ends at `now`."""
        return sum(instant + self.period > now for instant in self._ring)

    def instants(self) -> Sequence[float]:
        """Return when the noted requests went, oldest first."""
        return self._ring[self._oldest :] + self._ring[: self._oldest]


Rule = TokenBucket | SlidingLog
