"""What the API of a panel can do for a run: where dialects differ, a plan asks here before anything is sent."""

from collections.abc import Mapping
from typing import Any, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.operation import Dialect, Wire
from panelica_async.resources.registry import get_operation


@attrs.frozen
class Abilities:
    """What a panel can do, as the wire forms say of the operations that make objects.

    Args:
        dialect: The dialect that the client speaks.
    """

    _dialect: Dialect

    @classmethod
    async def of(cls, panel: PanelicaClient) -> Self:
        """Return what the panel of a client can do; ask the panel which dialect it speaks if that is not known.

        Raises:
            PanelicaError: The panel does not say which dialect it speaks.
        """
        return cls(await panel.learn_dialect())

    @property
    def databases_have_user(self) -> bool:
        """Whether the call that makes a database makes its first user as well (evidence: databases-create)."""
        return "username" in self._wire("databases.create").required

    @property
    def homes_are_below_account(self) -> bool:
        """Whether the directory of an FTP user is a path below the home of the account (evidence: ftp-home)."""
        return "home_directory" in self._wire("ftp.accounts.create").converted

    def refusal(self, operation: str, arguments: Mapping[str, Any]) -> str | None:
        """Return why the panel cannot honour an argument of an operation, or None when it can."""
        wire = self._wire(operation)
        for name, value in arguments.items():
            if name in wire.refused and value not in wire.refused[name].unless:
                return f"the panel does not support {name} {value!r}: {wire.refused[name].reason}"
            if value not in wire.values.get(name, (value,)):
                return f"{name} must be one of {', '.join(wire.values[name])}, not {value!r}"
        return None

    def scopes(self, operation: str) -> tuple[str, ...]:
        """Return the scopes of which a key needs one for an operation; none when any key may use it."""
        return self._wire(operation).scopes

    def _wire(self, operation: str) -> Wire:
        return get_operation(operation).wires[self._dialect]


REFERENCE = Abilities("reference")
"""What a panel can do that serves the published reference."""
