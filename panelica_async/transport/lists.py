"""What lists need to know of the client that reads them."""

from weakref import WeakSet

import attrs

_MAKE = frozenset({"create", "issue"})


@attrs.define(eq=False)
class Watch:
    """Notices when the client changes objects of a kind."""

    kind: str
    """Namespace of the operations, such as `email.accounts`."""
    is_changed: bool = False


class Lists:
    """Shared by a client and its variants."""

    def __init__(self) -> None:
        self._longest_pages: dict[str, int] = {}
        self._watches: WeakSet[Watch] = WeakSet()

    def watch(self, kind: str) -> Watch:
        """Return what notices from now on when objects of a kind are changed or deleted."""
        watch = Watch(kind)
        self._watches.add(watch)
        return watch

    def is_whole(self, endpoint: str, length: int) -> bool:
        """Return whether a first page, which was asked for without a length, is a whole list; remember its length.

        Guess: the pages of an endpoint have one length, so one that is shorter than another was is the last.
        """
        longest = self._longest_pages.get(endpoint, 0)
        self._longest_pages[endpoint] = max(longest, length)
        return length < longest

    def changed(self, operation: str) -> None:
        """Note that an operation that writes was sent. New objects move none of the others."""
        if self._watches:
            kind, _, verb = operation.rpartition(".")
            for watch in self._watches:
                watch.is_changed |= watch.kind == kind and verb not in _MAKE
