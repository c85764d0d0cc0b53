"""What a behaviour gets and gives, and which behaviour belongs to which operation."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import attrs

from panelica_async.sandbox.auth import Key
from panelica_async.sandbox.limits import ServerLimits
from panelica_async.sandbox.spec import Document, Endpoint
from panelica_async.sandbox.store import Store


@attrs.frozen
class Signer:
    """The key that signed a call, with its limits."""

    key: Key
    limits: ServerLimits


@attrs.frozen(kw_only=True)
class Call:
    """A call that passed all checks."""

    endpoint: Endpoint
    path: Mapping[str, str]
    """Path parameters, decoded."""
    query: Mapping[str, Any]
    body: Mapping[str, Any] = attrs.field(repr=False)
    store: Store
    document: Document
    signer: Signer | None
    """None when the operation is not signed."""

    @property
    def now(self) -> int:
        """The panel's time in Unix seconds."""
        return self.store.now()

    @property
    def caller(self) -> Signer:
        """The key that signed the call; operations that are not signed have none."""
        if self.signer is None:
            raise LookupError(f"{self.endpoint.operation} is not signed")
        return self.signer

    @property
    def concrete_path(self) -> str:
        """The path with its parameters filled in."""
        return self.endpoint.path.format(**self.path)

    def has_behaviour(self, operation: str) -> bool:
        """Return whether an operation has a behaviour of its own."""
        return operation in BEHAVIOURS

    def given(self, *names: str) -> dict[str, Any]:
        """Return the fields of the body that were given, out of these."""
        return {name: self.body[name] for name in names if name in self.body}


@attrs.frozen
class Reply:
    """Body of a successful reply; the specification says the status."""

    data: Any = None


Behaviour: TypeAlias = Callable[[Call], Reply]
_Function = TypeVar("_Function", bound=Behaviour)

BEHAVIOURS: dict[str, Behaviour] = {}
"""Behaviours by operation."""


def handles(operation: str) -> Callable[[_Function], _Function]:
    """Register a function as the behaviour of an operation, such as `domains.create`."""

    def register(function: _Function) -> _Function:
        BEHAVIOURS[operation] = function
        return function

    return register


def accepted(message: str) -> Reply:
    """Make the reply of an action that has no result of its own."""
    return Reply({"message": message})
