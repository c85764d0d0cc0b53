"""Finds out what became of a create whose reply was lost, by looking for its object on the panel.

The object is returned when this call made it: when it was created after the call was sent; or, on panels that do not
say when, when it is as wanted in everything that was asked for. Anything else leaves the outcome unknown, and the error
says what was seen: nothing (the panel may still be at work), several, an older one, or one that differs.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from panelica_async.client.paginator import Paginator
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey
from panelica_async.core.redaction import is_secret
from panelica_async.core.unset import UNSET
from panelica_async.errors import OutcomeUnknownError, PanelicaError

if TYPE_CHECKING:
    from datetime import datetime

M = TypeVar("M", bound=Model)

SETTLE = 2.0
"""Seconds between a lost reply and the look: the panel may still be working on the call."""
_PRECISION = 2.0
"""Seconds by which `created_at` may lie before the call: it is rounded down, and so are the panel's `Date` headers."""
# "Matching by name can hit root" (panel-facts G.4): whoever asks for no role gets a user.
_DEFAULT_ROLE = "USER"


@attrs.frozen(kw_only=True)
class LostCreate:
    """What a create asked for, and when."""

    key: NaturalKey
    given: Mapping[str, Any] = attrs.field(repr=False)
    """The arguments that were given."""
    sent_at: float | None
    """The panel's Unix time when the call was first sent; None when the panel's clock is not known."""

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments of the list that narrow it down to where the object is."""
        wire = self.key.lookup.reference
        known = {*wire.query, *wire.placeholders}
        return {name: self.given[name] for name in self.key.fields if name in known and name in self.given}

    def names(self, row: Model) -> bool:
        """Tell whether a row is of the name that was asked for."""
        role = getattr(row, "role", None)
        if role is not None and role.upper() != str(self.given.get("role", _DEFAULT_ROLE)).upper():
            return False
        return all(
            self._is_spelling(argument, getattr(row, field))
            for argument, field in self.key.fields.items()
            if argument in self.given and argument not in self.key.lookup.reference.placeholders
        )

    def doubt(self, row: Model) -> str | None:
        """Return why a row may not be what this call made; None when it is."""
        created_at = cast("datetime | None", getattr(row, "created_at", None))
        if created_at is not None and self.sent_at is not None:
            if created_at.timestamp() >= self.sent_at - _PRECISION:
                return None
            return f"one of that name is there, but since {created_at:%Y-%m-%d %H:%M:%S %Z}, from before the call"
        for name, wanted in self.given.items():
            if is_secret(name):
                return f"one of that name is there, but whose it is cannot be told: its {name} may be another"
            have = getattr(row, name, None)
            if have is not None and name not in self.key.fields and not _is_same(have, wanted):
                return f"one of that name is there, but its {name} is {have!r}, not {wanted!r}"
        return None

    def _is_spelling(self, argument: str, have: object) -> bool:
        """Tell whether a field of a row is how the panel may write an argument."""
        wanted = self.given[argument]
        if have is None or not isinstance(wanted, str):
            return bool(have == wanted)
        text, wanted = str(have).lower(), wanted.lower()
        if argument in self.key.local:
            return text.startswith(f"{wanted}@")
        # Guess: a prefix ends in an underscore; that there is one is in panel-facts D.7 and D.9.
        return text == wanted or (argument in self.key.prefixed and text.endswith(f"_{wanted}"))


async def look_up(lost: LostCreate, rows: Paginator[M], error: OutcomeUnknownError) -> M:
    """Return what a create made, or raise its error with what was seen.

    Args:
        lost: The create.
        rows: The list, narrowed down by the filters of the create.
        error: The error to raise.
    """
    await asyncio.sleep(SETTLE)
    try:
        found = [row async for row in rows if lost.names(row)]
    except PanelicaError as failure:
        raise _explained(error, lost, f"it could not be looked for: {failure.message}") from failure
    if not found:
        raise _explained(error, lost, "it was not there when looked for, but may still come")
    if len(found) > 1:
        raise _explained(error, lost, f"there are {len(found)} of that name")
    doubt = lost.doubt(found[0])
    if doubt is not None:
        raise _explained(error, lost, doubt)
    return found[0]


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not UNSET}


def _is_same(have: object, wanted: object) -> bool:
    if isinstance(have, str) and isinstance(wanted, str):
        return have.lower() == wanted.lower()
    return have == wanted


def _explained(error: OutcomeUnknownError, lost: LostCreate, finding: str) -> OutcomeUnknownError:
    """Add to an error what was seen, and how to look oneself."""
    names = ", ".join(f"{name} {lost.given[name]!r}" for name in lost.key.fields if name in lost.given)
    return OutcomeUnknownError(
        f"{error.message}; {finding}",
        operation=error.operation,
        method=error.method,
        path=error.path,
        sent=error.sent,
        sent_at=error.sent_at,
        attempts=error.attempts,
        hint=f"Look for {names} with panel.{lost.key.lookup.name}() before you send it again.",
    )
