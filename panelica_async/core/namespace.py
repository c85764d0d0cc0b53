"""How a client leads to its groups of operations."""

import asyncio
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    namespace = cached_property
else:

    class namespace(cached_property):  # noqa: N801 - a decorator
        """A `cached_property` that is the class of its value when it is read from a class.

        `unittest.mock` looks at classes to learn which attributes have which methods.
        """

        # From Python 3.13 on it looks at what stands in the class, which is this; see `client.resource.Resource`.
        _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            """Return the group of an instance, or the class of such groups."""
            if instance is None:
                return type(self.func(SimpleNamespace(_caller=None)))
            return super().__get__(instance, owner)
