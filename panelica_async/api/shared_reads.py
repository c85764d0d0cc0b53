"""Reads that several calls need at once or again: one that is under way is shared, and what seldom changes is kept."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_LIFETIME = 60.0
"""Seconds for which an answer is kept: an object may be given to another account, by others too."""
_MOST_KEPT = 1_000
"""Answers that are kept; the oldest goes first."""


class _Read:
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiting: int = 0
        """Calls that wait for it."""


class SharedReads:
    """What the calls of a client and its variants read for each other."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, float]] = {}
        """Answers and when they end, by question."""
        self._under_way: dict[Hashable, _Read] = {}

    def kept(self, question: Hashable) -> Any:
        """Return an answer that was kept; None when there is none or it is too old."""
        answer, ends_at = self._kept.get(question, (None, 0.0))
        return answer if asyncio.get_running_loop().time() < ends_at else None

    def keep(self, question: Hashable, answer: object) -> None:
        """Keep an answer for a minute."""
        self._kept.pop(question, None)
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = answer, asyncio.get_running_loop().time() + _LIFETIME

    def forget(self) -> None:
        """Forget every answer that was kept."""
        self._kept.clear()

    async def read(self, question: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Return an answer, and whether it was already asked for when this call came.

        A read ends with the last call that waits for it. One that was under way may not show what changed since it
        began.

        Args:
            question: What is asked. Calls with the same one share its answer, or its failure.
            ask: Asks it, unless that is under way.
        """
        found = self._under_way.get(question)
        was_under_way = found is not None
        if found is None:
            found = self._under_way[question] = _Read(asyncio.create_task(ask()))
        found.waiting += 1
        try:
            return await asyncio.shield(found.task), was_under_way
        finally:
            found.waiting -= 1
            if found.task.done() or not found.waiting:
                found.task.cancel()
                if self._under_way.get(question) is found:
                    del self._under_way[question]
