"""Finds out what became of a create whose reply was lost, by looking for its object on the panel.

The object is returned when this call made it: when it was created after the call was sent and nothing about it is
other than asked for; or, on panels that do not say when, when all that was asked for can be seen and is so. Anything
else leaves the outcome unknown, and the error says what was seen: nothing (the panel may still be at work), several, an
older one, one that differs, or one that may be another's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from panelica_async.api.pagination import Paginator
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey
from panelica_async.core.redaction import is_secret
from panelica_async.core.unset import UNSET
from panelica_async.errors import OutcomeUnknownError, PanelicaError
from panelica_async.transport.clock import PanelClock

if TYPE_CHECKING:
    from datetime import datetime

M = TypeVar("M", bound=Model)

_PRECISION = 1.25
"""Seconds by which `created_at` may lie before the call: it is rounded down to a second, and clocks drift a little."""
# A name can be that of an administrator (evidence: accounts-list): only a caller that asks for one gets it.
_ADMINISTRATORS = frozenset({"ROOT", "ADMIN", "RESELLER"})

Owner = Callable[[], Awaitable[str | None]]
"""Returns the user name of the account whose object was asked for."""


@attrs.frozen(kw_only=True)
class LostCreate:
    """What a create asked for, and when."""

    key: NaturalKey
    given: Mapping[str, Any] = attrs.field(repr=False)
    """The arguments that were given."""
    sent_at: float
    """Instant of the monotonic clock at which the call was sent."""
    clock: PanelClock

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments of the list that narrow it down to where the object is."""
        wire = self.key.lookup.reference
        known = {*wire.query, *wire.placeholders}
        return {name: self.given[name] for name in self.key.fields if name in known and name in self.given}

    def names(self, row: Model) -> bool:
        """Tell whether a row is of the name that was asked for, with or without a prefix."""
        role = getattr(row, "role", None)
        if role is not None and role.upper() in _ADMINISTRATORS and not _is_same(role, self.given.get("role")):
            return False
        return all(self._is_spelling(argument, row) for argument in self._shown_keys)

    def contradiction(self, row: Model) -> str | None:
        """Return what about a row says that this call did not make it; None when nothing does."""
        created_at, sent_at = _created_at(row), self.clock.earliest_panel_time(self.sent_at)
        if created_at is not None and sent_at is not None and created_at.timestamp() + _PRECISION < sent_at:
            return f"since {created_at:%Y-%m-%d %H:%M:%S %Z}, from before the call"
        prefix = self.prefix(row)
        for name, wanted in self.given.items():
            have = getattr(row, name, None)
            if have is None or name in self.key.fields or is_secret(name):
                continue
            if not _is_same(have, wanted) and not (prefix and _is_same(have, f"{prefix}_{wanted}")):
                return f"its {name} is {_shown(have)}, not {_shown(wanted)}"
        return None

    def doubt(self, row: Model) -> str | None:
        """Return why it cannot be told whether this call made a row that nothing contradicts; None when it did."""
        created_at = _created_at(row)
        if created_at is not None and self.clock.earliest_panel_time(self.sent_at) is None:
            return "the panel does not say what time it is"
        # What was created since must show whose it is; what may be old must show everything.
        for name in self._shown_keys if created_at is not None else self.given:
            if is_secret(name):
                return f"whose it is cannot be told: its {name} may be another"
            if name not in self._placeholders and self.given[name] is not None and self._value(name, row) is None:
                return f"whose it is cannot be told: the panel does not show its {name}"
        return None

    def shows_key(self, row: Model) -> bool:
        """Return whether a row shows all that identifies it."""
        return all(self._value(argument, row) is not None for argument in self._shown_keys)

    def prefix(self, row: Model) -> str:
        """Return what the panel has put before the name of a row, in lower case and without its underscore."""
        for argument in self.key.prefixed:
            have, wanted = self._value(argument, row), self.given.get(argument)
            if have is not None and wanted is not None and not _is_same(have, wanted):
                return str(have).lower().removesuffix(f"_{wanted}".lower())
        return ""

    @property
    def _placeholders(self) -> tuple[str, ...]:
        """Arguments that are in the path of the list, and need not be in its rows."""
        return self.key.lookup.reference.placeholders

    @property
    def _shown_keys(self) -> list[str]:
        return [name for name in self.key.fields if name in self.given and name not in self._placeholders]

    def _value(self, argument: str, row: Model) -> object:
        return getattr(row, self.key.fields.get(argument, argument), None)

    def _is_spelling(self, argument: str, row: Model) -> bool:
        """Tell whether a row may spell an argument as it does; what it does not show is not held against it."""
        have, wanted = self._value(argument, row), self.given[argument]
        if have is None or _is_same(have, wanted):
            return True
        text, name = str(have).lower(), str(wanted).lower()
        if argument in self.key.local:
            return text.startswith(f"{name}@")
        return argument in self.key.prefixed and text.endswith(f"_{name}")


async def look_up(
    lost: LostCreate,
    rows: Paginator[M],
    owner: Owner,
    error: OutcomeUnknownError,
    settle: float,
    deadline_at: float | None,
) -> M:
    """Return what a create made, or raise its error with what was seen.

    Args:
        lost: The create.
        rows: The list, narrowed down by the filters of the create.
        owner: Tells whose the object would be; asked when a name has a prefix.
        error: The error to raise.
        settle: Seconds to wait first: the panel may still be working on the call.
        deadline_at: Time of the loop at which the caller gives up; None for never.
    """
    try:
        async with asyncio.timeout_at(deadline_at):
            await asyncio.sleep(settle)
            made, finding = await _find(lost, rows, owner)
    except PanelicaError as failure:
        raise _explained(error, lost, f"it could not be looked for: {failure.message}") from failure
    except TimeoutError as failure:
        raise _explained(error, lost, "the deadline passed while it was looked for") from failure
    except asyncio.CancelledError as cancelled:
        # It stays a cancellation, but says what it interrupted.
        raise cancelled from error
    if made is None:
        raise _explained(error, lost, finding) from error.__cause__
    return made


async def find_made(create: LostCreate, rows: Paginator[M]) -> M | None:
    """Return what a create that succeeded has made; None when there are none or several that it may be."""
    found = [
        row async for row in rows if create.names(row) and create.shows_key(row) and create.contradiction(row) is None
    ]
    return found[0] if len(found) == 1 else None


async def _find(lost: LostCreate, rows: Paginator[M], owner: Owner) -> tuple[M | None, str]:
    """Return what the create made, or None and what was seen instead."""
    found = [row async for row in rows if lost.names(row)]
    if not found:
        return None, "it was not there when looked for, but may still come"
    possible = [row for row in found if lost.contradiction(row) is None]
    if not possible:
        return None, f"one of that name is there, but {lost.contradiction(found[0])}"
    if len(possible) > 1:
        return None, f"there are {len(possible)} of that name"
    [row] = possible
    doubt = lost.doubt(row)
    prefix = lost.prefix(row)
    # Guess: a prefix is the owner's user name and an underscore (evidence: databases-prefix, ftp-create).
    if doubt is None and prefix and prefix != (await owner() or "").lower():
        doubt = f"whose it is cannot be told: its name begins with {prefix}_"
    return (row, "") if doubt is None else (None, f"one of that name is there, but {doubt}")


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not UNSET}


def _created_at(row: Model) -> "datetime | None":
    return cast("datetime | None", getattr(row, "created_at", None))


def _is_same(have: object, wanted: object) -> bool:
    if isinstance(have, str) and isinstance(wanted, str):
        return have.lower() == wanted.lower()
    return have == wanted


def _shown(value: object) -> str:
    # The members of our enums are texts too.
    return repr(str(value)) if isinstance(value, str) else repr(value)


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
