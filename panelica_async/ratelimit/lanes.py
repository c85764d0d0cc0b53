"""Two lanes: calls that somebody waits for go before bulk work, which keeps a guaranteed share."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Literal

import attrs

from panelica_async.errors import PanelicaError, RateLimitWaitError

__all__ = ["INTERACTIVE_RUN", "LANES", "Lane", "Turn", "Waiters", "wait_error"]

Lane = Literal["interactive", "bulk"]

LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")
"""The lanes, first the one that goes first."""

INTERACTIVE_RUN: Final = 4
"""Interactive calls that may go while bulk ones wait, before one of these goes: a fifth is guaranteed to bulk."""


@attrs.define(eq=False, kw_only=True)
class Turn:
    """The place of one caller in the queue."""

    lane: Lane
    owner: object
    """On whose behalf it waits."""
    since: float
    """The instant at which it came."""
    latest: float
    """The instant up to which it is willing to wait."""
    call: asyncio.Future[PanelicaError | None]
    """Ends with None (go) or with the reason for a refusal."""

    def refuse(self, reason: PanelicaError) -> None:
        """Send the caller away, unless it was called already."""
        if not self.call.done():
            self.call.set_result(reason)


class Waiters:
    """Those who wait, in order of arrival in each lane."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[Turn, None]] = {lane: OrderedDict() for lane in LANES}

        self._interactive, self._bulk = self._lanes.values()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    def __iter__(self) -> Iterator[Turn]:
        for turns in self._lanes.values():
            yield from turns

    def add(self, turn: Turn) -> None:
        """Put a caller at the end of its lane."""
        self._lanes[turn.lane][turn] = None

    def remove(self, turn: Turn) -> None:
        """Take a caller out, wherever it stands."""
        del self._lanes[turn.lane][turn]

    def head(self, lane: Lane) -> Turn | None:
        """Return who is first in a lane."""
        return next(iter(self._lanes[lane]), None)

    def demand(self) -> dict[Lane, int]:
        """Return how many wait in each lane."""
        return {lane: len(turns) for lane, turns in self._lanes.items()}

    def oldest(self, now: float) -> dict[Lane, float]:
        """Return for how long the first in each lane has waited, 0 where there is none; any thread may ask."""
        oldest: dict[Lane, float] = {}
        for lane, turns in self._lanes.items():
            first = list(turns)[:1]
            oldest[lane] = max(0.0, now - first[0].since) if first else 0.0
        return oldest

    def count(self, lane: Lane) -> int:
        """Return how many wait in a lane."""
        return len(self._lanes[lane])


def wait_error(wait: float, limit: float) -> RateLimitWaitError:
    """Return the error of a caller that would wait longer than it is willing to."""
    return RateLimitWaitError(
        f"The next free place in the quota is {wait:.1f} s away, the call may wait {limit:.1f} s.",
        wait=wait,
        limit=limit,
    )
