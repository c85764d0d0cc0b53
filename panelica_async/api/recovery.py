"""Looks up the object of a create whose reply was lost.

The object is returned if this call made it: if it was created after the call was sent and nothing about it differs from
the arguments; or, on panels that do not show the time, if every argument can be seen and matches. Anything else leaves
the outcome unknown, and the error says what was found: nothing (the panel may still be working), several objects, an
older one, one that differs, or one whose owner is uncertain.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

import attrs

from panelica_async.api.lists import Row, rows_of
from panelica_async.api.runner import OperationRunner, fetch_one
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey, Wire
from panelica_async.core.redaction import is_secret
from panelica_async.core.request import quote_value
from panelica_async.errors import ConfigurationError, OutcomeUnknownError, PanelicaError
from panelica_async.transport.call import Call, reword
from panelica_async.transport.clock import PanelClock

if TYPE_CHECKING:
    from datetime import datetime

M = TypeVar("M", bound=Model)

_PRECISION = 1.25
"""Seconds that `created_at` may precede the call: it is rounded down to a second, and clocks drift a little."""
# A name can be that of an administrator (evidence: accounts-list), which matches only if the call asked for one.
_ADMINISTRATORS = frozenset({"ROOT", "ADMIN", "RESELLER"})


@attrs.frozen(kw_only=True, eq=False)
class LostCreate:
    """A create whose object is looked for: its arguments and when it was sent."""

    key: NaturalKey
    wire: Wire
    """How the list travels in which it is looked for."""
    arguments: Mapping[str, Any] = attrs.field(repr=False)
    """The arguments of the call, without those that are `UNSET`."""
    sent_at: float
    """Instant of the monotonic clock at which the call was sent."""
    clock: PanelClock

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments of the list that narrow it down to the object."""
        known = {*self.wire.query, *self.wire.placeholders}
        return {name: self.arguments[name] for name in self.key.fields if name in known and name in self.arguments}

    def names(self, row: Model) -> bool:
        """Return whether a row has the name of the new object, with or without a prefix."""
        role = getattr(row, "role", None)
        if role is not None and role.upper() in _ADMINISTRATORS and not is_same(role, self.arguments.get("role")):
            return False
        return all(self._is_spelling(argument, row) for argument in self._shown_keys)

    def contradiction(self, row: Model) -> str | None:
        """Return how a row shows that this call did not make it; None when it does not."""
        created_at, sent_at = _created_at(row), self.clock.earliest_panel_time(self.sent_at)
        if created_at is not None and sent_at is not None and created_at.timestamp() + _PRECISION < sent_at:
            return f"it was created {created_at:%Y-%m-%d %H:%M:%S %Z}, before the call"
        prefix = self.prefix(row)
        for name, wanted in self.arguments.items():
            have = getattr(row, name, None)
            if have is None or name in self.key.fields or is_secret(name):
                continue
            if not is_same(have, wanted) and not (prefix and is_same(have, f"{prefix}_{wanted}")):
                return f"its {name} is {quote_value(have)}, not {quote_value(wanted)}"
        return None

    def uncertainty(self, row: Model) -> str | None:
        """Return why it is uncertain whether this call made a row that nothing contradicts; None when it did."""
        created_at = _created_at(row)
        if created_at is not None and self.clock.earliest_panel_time(self.sent_at) is None:
            return "the replies of the panel do not show its time"
        # A new object must show what identifies it, one that may be old must show every argument.
        for name in self._shown_keys if created_at is not None else self.arguments:
            if is_secret(name):
                return f"it may belong to another call: its {name} cannot be compared"
            if (
                name not in self.wire.placeholders
                and self.arguments[name] is not None
                and self._value(name, row) is None
            ):
                return f"it may belong to another call: the panel does not show its {name}"
        return None

    def shows_key(self, row: Model) -> bool:
        """Return whether a row shows everything that identifies it."""
        return all(self._value(argument, row) is not None for argument in self._shown_keys)

    def prefix(self, row: Model) -> str:
        """Return the prefix that the panel put before the name of a row, in lower case and without its underscore."""
        for argument in self.key.prefixed:
            have, wanted = self._value(argument, row), self.arguments.get(argument)
            if have is not None and wanted is not None and not is_same(have, wanted):
                return str(have).lower().removesuffix(f"_{wanted}".lower())
        return ""

    @property
    def _shown_keys(self) -> list[str]:
        """Arguments of the natural key that rows must show; they may leave out what is in the path of the list."""
        return [name for name in self.key.fields if name in self.arguments and name not in self.wire.placeholders]

    def _value(self, argument: str, row: Model) -> object:
        return getattr(row, self.key.fields.get(argument, argument), None)

    def _is_spelling(self, argument: str, row: Model) -> bool:
        """Return whether a row shows an argument in any accepted spelling, or does not show it at all."""
        have, wanted = self._value(argument, row), self.arguments[argument]
        if have is None or is_same(have, wanted):
            return True
        text, name = str(have).lower(), str(wanted).lower()
        if argument in self.key.local:
            return text.startswith(f"{name}@")
        return argument in self.key.prefixed and text.endswith(f"_{name}")


async def look_up(
    runner: OperationRunner, lost: LostCreate, result: type[M], call: Call, error: OutcomeUnknownError
) -> M | None:
    """Return what a create made, or raise its error with what was found; return None if there is no time to look."""
    # The panel may still be working on the call.
    left, settle = call.time_left, runner.transport.waits.settle
    if left is not None and left <= settle:
        return None
    if isinstance(error.__cause__, ConfigurationError):  # the client was closed
        raise _explained(error, lost, "nothing was looked up") from error.__cause__
    try:
        async with asyncio.timeout_at(call.deadline_at):
            await asyncio.sleep(settle)
            made, finding = await _find(runner, lost, result)
    except PanelicaError as failure:
        raise _explained(error, lost, f"looking for it failed: {failure.message}") from failure
    except TimeoutError as failure:
        raise _explained(error, lost, "the deadline passed during the search for it") from failure
    except asyncio.CancelledError as cancelled:
        # It stays a cancellation, but says what it interrupted.
        raise cancelled from error
    if made is None:
        raise _explained(error, lost, finding) from error.__cause__
    return made


async def find_made(runner: OperationRunner, create: LostCreate, result: type[M]) -> M | None:
    """Return what a create that succeeded has made; None when no row or several rows match."""
    rows = rows_of(runner, create.key.lookup, result, create.filters)
    found = [
        row async for row in rows if create.names(row) and create.shows_key(row) and create.contradiction(row) is None
    ]
    return found[0] if len(found) == 1 else None


async def _find(runner: OperationRunner, lost: LostCreate, result: type[M]) -> tuple[M | None, str]:
    """Return what the create made, or None and what was found instead."""
    rows = rows_of(runner, lost.key.lookup, result, lost.filters)
    found = [row async for row in rows if lost.names(row)]
    if not found:
        return None, "a search found nothing, but it may still appear"
    possible = [row for row in found if lost.contradiction(row) is None]
    if not possible:
        return None, f"an object of that name exists, but {lost.contradiction(found[0])}"
    if len(possible) > 1:
        return None, f"{len(possible)} objects of that name exist"
    [row] = possible
    why = lost.uncertainty(row)
    prefix = lost.prefix(row)
    # Guess: a prefix is the owner's user name and an underscore (evidence: databases-prefix, ftp-create).
    if why is None and prefix and prefix != (await _owner_name(runner, lost.arguments) or "").lower():
        why = f"it may belong to another call: its name begins with {prefix}_"
    return (row, "") if why is None else (None, f"an object of that name exists, but {why}")


async def _owner_name(runner: OperationRunner, arguments: Mapping[str, Any]) -> str | None:
    """Return the user name of the account that an object is for; None when the arguments do not name one."""

    async def get(name: str, id: object) -> Row:
        operation = runner.get_operation(name)
        return await fetch_one(runner, operation, runner.wire(operation), {"id": id}, Row)

    user_id, domain_id = arguments.get("user_id"), arguments.get("domain_id")
    if user_id is None and domain_id is not None:
        user_id = (await get("domains.get", domain_id)).user_id
        if user_id is None:
            # What a single domain shows is not confirmed; the list shows the owner (evidence: domains-list).
            domains = rows_of(runner, runner.get_operation("domains.list"), Row)
            user_id = await anext((row.user_id async for row in domains if row.id == str(domain_id)), None)
    return None if user_id is None else (await get("accounts.get", user_id)).username


def _created_at(row: Model) -> "datetime | None":
    # A time without a zone may be that of the panel's own clock: it proves nothing.
    if "created_at" in row.extra:
        return None
    return cast("datetime | None", getattr(row, "created_at", None))


def is_same(have: object, wanted: object) -> bool:
    """Return whether a panel shows a value as it was requested.

    Upper and lower case do not count, and neither does the type of an id, which a caller may pass as number or UUID.
    """
    if isinstance(have, str) and isinstance(wanted, str | int | UUID):
        return have.lower() == (wanted if isinstance(wanted, str) else str(wanted)).lower()
    return have == wanted


def _explained(error: OutcomeUnknownError, lost: LostCreate, finding: str) -> OutcomeUnknownError:
    """Return an error with what was found added, and a hint on how to look for the object."""
    names = ", ".join(f"{name} {lost.arguments[name]!r}" for name in lost.key.fields if name in lost.arguments)
    hint = f"Look for {names} with panel.{lost.key.lookup.name}() before you send it again."
    return reword(error, f"{error.message}; {finding}", hint)
