"""Reads that several calls need at once or again: one that is under way is shared, and what does not change is kept."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class _Read:
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiting: int = 0
        """Calls that wait for it."""


class SharedReads:
    """What the calls of a client and its variants read for each other."""

    def __init__(self) -> None:
        self.kept: dict[Hashable, Any] = {}
        """Answers that stay true, by question."""
        self._under_way: dict[Hashable, _Read] = {}

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
