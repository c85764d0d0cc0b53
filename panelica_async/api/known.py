"""What a client and its variants have found out about their panel, and use in later calls."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from panelica_async.api.panel_spec import Catalogue

T = TypeVar("T")

_LIFETIME = 60.0
"""Seconds for which an answer is kept: an object may be given to another account, by others too."""
_MOST_KEPT = 1_000
"""Answers that are kept; the oldest goes first."""
_ADDING = frozenset({"create", "issue"})


class Known:
    """All that a client and its variants have found out; they share one."""

    def __init__(self) -> None:
        self.lists: Lists = Lists()
        """The length of pages, and which lists this client has changed."""
        self.reads: SharedReads = SharedReads()
        """What calls read for each other."""
        self.catalogue: Catalogue | None = None
        """What the panel lists about itself; fields are checked against it."""


class Lists:
    """What is known about the lists of the panel."""

    def __init__(self) -> None:
        self._longest_pages: dict[str, int] = {}
        self._changes: dict[str, int] = {}

    def changes(self, kind: str) -> int:
        """Return how often the client changed objects of a kind, such as `email.accounts`, since it was first asked."""
        return self._changes.setdefault(kind, 0)

    def is_whole(self, endpoint: str, length: int) -> bool:
        """Return whether a first page, which was asked for without a length, is a whole list; remember its length.

        Guess: the pages of an endpoint have one length, so one that is shorter than another was is the last.
        """
        longest = self._longest_pages.get(endpoint, 0)
        self._longest_pages[endpoint] = max(longest, length)
        return length < longest

    def changed(self, operation: str) -> None:
        """Note that an operation that writes was sent. New objects move none of the others."""
        kind, _, verb = operation.rpartition(".")
        if kind in self._changes and verb not in _ADDING:
            self._changes[kind] += 1


class _Read:
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiting: int = 0
        """Calls that wait for it."""


class SharedReads:
    """What calls read for each other: a read that is under way is shared, and what seldom changes is kept."""

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
