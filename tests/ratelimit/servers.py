"""Servers that count requests in every way the panel might (evidence: quota-counting)."""

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Server(Protocol):
    def admits(self, now: float) -> bool: ...


class BucketServer:
    """Five a second, fifty at once."""

    def __init__(self, rate: float = 5.0, capacity: int = 50) -> None:
        self.rate, self.capacity = rate, capacity
        self.level, self.last = float(capacity), 0.0

    def admits(self, now: float) -> bool:
        self.level = min(self.capacity, self.level + (now - self.last) * self.rate)
        self.last = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class FixedWindowServer:
    """A fixed number in each window; windows start by the clock, not with the traffic."""

    def __init__(self, count: int, period: float, phase: float) -> None:
        self.count, self.period, self.phase = count, period, phase
        self.window, self.used = -1, 0

    def admits(self, now: float) -> bool:
        window = int((now + self.phase) // self.period)
        if window != self.window:
            self.window, self.used = window, 0
        if self.used >= self.count:
            return False
        self.used += 1
        return True


class SlidingWindowServer:
    """A fixed number in the period before each request."""

    def __init__(self, count: int, period: float) -> None:
        self.count, self.period = count, period
        self.admitted: deque[float] = deque()

    def admits(self, now: float) -> bool:
        while self.admitted and self.admitted[0] <= now - self.period:
            self.admitted.popleft()
        if len(self.admitted) >= self.count:
            return False
        self.admitted.append(now)
        return True


class BothServer:
    """Two limits at a time."""

    def __init__(self, *servers: Server) -> None:
        self.servers = servers

    def admits(self, now: float) -> bool:
        # Each counts what it admits, even if the other refuses.
        verdicts = [server.admits(now) for server in self.servers]
        return all(verdicts)


SERVERS: dict[str, Callable[[random.Random], Server]] = {
    "bucket": lambda _: BucketServer(),
    "fixed minute": lambda chance: FixedWindowServer(300, 60, phase=chance.uniform(0, 60)),
    "sliding minute": lambda _: SlidingWindowServer(300, 60),
}
"""300 a minute; windows begin at random."""

HOUR_SERVERS: dict[str, Callable[[random.Random], Server]] = {
    "bucket and sliding hour": lambda _: BothServer(BucketServer(), SlidingWindowServer(10_000, 3600)),
    "sliding minute and sliding hour": lambda _: BothServer(
        SlidingWindowServer(300, 60), SlidingWindowServer(10_000, 3600)
    ),
    "fixed minute and fixed hour": lambda chance: BothServer(
        FixedWindowServer(300, 60, phase=chance.uniform(0, 60)),
        FixedWindowServer(10_000, 3600, phase=chance.uniform(0, 3600)),
    ),
}
"""300 a minute and 10,000 an hour."""
