"""Groups of operations as attributes, such as `panel.dns.records`. Each is loaded and made when it is first used."""

import asyncio
from importlib import import_module
from typing import Any, Generic, TypeVar, cast, overload

G = TypeVar("G")


class Namespace(Generic[G]):
    """A group of operations, with the runner of the client or the group that it is an attribute of.

    Read from a class it is the class of the group, where `unittest.mock` finds the methods.

    Args:
        place: Module and class of the group, as in `panelica_async.resources.dns:DnsRecords`.
    """

    # From Python 3.13 on, mock looks at what stands in the class, which is this; see `api.resource.Resource`.
    _is_coroutine: Any = getattr(asyncio.coroutines, "_is_coroutine", None)

    def __init__(self, place: str) -> None:
        self._place = place
        self._attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> type[G]: ...
    @overload
    def __get__(self, instance: Any, owner: type | None = None) -> G: ...
    def __get__(self, instance: Any, owner: type | None = None) -> type[G] | G:
        """Return the group, or its class."""
        module, _, name = self._place.partition(":")
        kind: Any = getattr(import_module(module), name)
        if instance is None:
            return cast("type[G]", kind)
        group: G = kind(instance._runner)  # noqa: SLF001 - instances are ours
        # The next time, the attribute of the instance is found first.
        instance.__dict__[self._attribute] = group
        return group
