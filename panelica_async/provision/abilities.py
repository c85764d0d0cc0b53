"""What the API of a panel can do for a run: where dialects differ, a plan asks here before anything is sent."""

from typing import Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.operation import Dialect
from panelica_async.provision.objects import Step
from panelica_async.resources.registry import get_operation

_LATER = frozenset({"domain_id", "user_id", "password"})
"""Arguments that a step knows when its call is sent, and no plan shows."""


@attrs.frozen
class Abilities:
    """What a panel can do, as the wire forms of the operations say that make objects.

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
        return "username" in get_operation("databases.create").wires[self._dialect].required

    def refusal(self, step: Step) -> str | None:
        """Return why the panel cannot make what a step wants, or None when it can."""
        wire = get_operation(step.operation).wires[self._dialect]
        missing = wire.required - step.arguments.keys() - _LATER
        if missing:
            return f"the panel needs {' and '.join(sorted(missing))} for it, which the manifest does not have"
        for name, value in step.arguments.items():
            refusal = wire.refused.get(name)
            if refusal is not None and value not in refusal.unless:
                return f"the panel does not support {name} {value!r}: {refusal.reason}"
        return None


REFERENCE = Abilities("reference")
"""What a panel can do that serves the published reference."""
