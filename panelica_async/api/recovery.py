"""Looks up the object of a create whose reply was lost.

The object is returned if this call created it: if it is newer than the call and nothing about it differs from the
arguments; or, on panels that do not show the time, if the panel shows every argument and all of them match. Otherwise
the outcome stays unknown, and the error says what was found: nothing (the panel may still be working), several objects,
an older one, one that differs, or one whose owner is uncertain.
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

_TIME_TOLERANCE = 1.25
"""Seconds by which `created_at` may precede the call: it is rounded down to a second, and clocks drift a little."""
# An administrator may have the name of the new account (evidence: accounts-list). It matches only if the call was to
# create an administrator.
_ADMINISTRATOR_ROLES = frozenset({"ROOT", "ADMIN", "RESELLER"})


@attrs.frozen(kw_only=True, eq=False)
class SentCreate:
    """A create that was sent: the search for its object needs the arguments and the time."""

    key: NaturalKey
    wire: Wire
    """How the list travels that may show the object."""
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

    def matches_name(self, row: Model) -> bool:
        """Return whether a row has the name of the object, with or without a prefix."""
        role = getattr(row, "role", None)
        if role is not None and role.upper() in _ADMINISTRATOR_ROLES and not is_same(role, self.arguments.get("role")):
            return False
        return all(self._matches_argument(argument, row) for argument in self._key_arguments)

    def contradiction(self, row: Model) -> str | None:
        """Return why a row cannot be the object of this call; None if nothing speaks against it."""
        created_at, sent_at = _trusted_created_at(row), self.clock.earliest_panel_time(self.sent_at)
        if created_at is not None and sent_at is not None and created_at.timestamp() + _TIME_TOLERANCE < sent_at:
            return f"it was created {created_at:%Y-%m-%d %H:%M:%S %Z}, before the call"
        prefix = self.prefix(row)
        for name, requested in self.arguments.items():
            shown = getattr(row, name, None)
            if shown is None or name in self.key.fields or is_secret(name):
                continue
            if not is_same(shown, requested) and not (prefix and is_same(shown, f"{prefix}_{requested}")):
                return f"its {name} is {quote_value(shown)}, not {quote_value(requested)}"
        return None

    def uncertainty(self, row: Model) -> str | None:
        """Return why a row without contradiction may still belong to another call; None if this call created it."""
        created_at = _trusted_created_at(row)
        if created_at is not None and self.clock.earliest_panel_time(self.sent_at) is None:
            return "the replies of the panel do not show its time"
        # A row that is known to be new must show the natural key, one that may be old every argument.
        for name in self._key_arguments if created_at is not None else self.arguments:
            if is_secret(name):
                return f"it may belong to another call: its {name} cannot be compared"
            if (
                name not in self.wire.placeholders
                and self.arguments[name] is not None
                and self._shown_value(name, row) is None
            ):
                return f"it may belong to another call: the panel does not show its {name}"
        return None

    def shows_natural_key(self, row: Model) -> bool:
        """Return whether a row shows every argument of the natural key."""
        return all(self._shown_value(argument, row) is not None for argument in self._key_arguments)

    def prefix(self, row: Model) -> str:
        """Return the prefix that the panel put before the name of a row, in lower case and without its underscore."""
        for argument in self.key.prefixed:
            shown, requested = self._shown_value(argument, row), self.arguments.get(argument)
            if shown is not None and requested is not None and not is_same(shown, requested):
                return str(shown).lower().removesuffix(f"_{requested}".lower())
        return ""

    @property
    def _key_arguments(self) -> list[str]:
        """Arguments of the natural key that rows must show: all but those in the path of the list."""
        return [name for name in self.key.fields if name in self.arguments and name not in self.wire.placeholders]

    def _shown_value(self, argument: str, row: Model) -> object:
        return getattr(row, self.key.fields.get(argument, argument), None)

    def _matches_argument(self, argument: str, row: Model) -> bool:
        """Return whether a row shows an argument in any accepted spelling, or does not show it at all."""
        shown, requested = self._shown_value(argument, row), self.arguments[argument]
        if shown is None or is_same(shown, requested):
            return True
        text, name = str(shown).lower(), str(requested).lower()
        if argument in self.key.local:
            return text.startswith(f"{name}@")
        return argument in self.key.prefixed and text.endswith(f"_{name}")


async def look_up(
    runner: OperationRunner, create: SentCreate, model: type[M], call: Call, error: OutcomeUnknownError
) -> M | None:
    """Return the object of a create; None if there is no time to look.

    Raises:
        OutcomeUnknownError: The error of the create, with what was found added.
    """
    # The panel may still be working on the call, so wait before looking.
    time_left, settle = call.time_left, runner.transport.waits.settle
    if time_left is not None and time_left <= settle:
        return None
    if isinstance(error.__cause__, ConfigurationError):  # the client was closed
        raise _with_finding(error, create, "nothing was looked up") from error.__cause__
    try:
        async with asyncio.timeout_at(call.deadline_at):
            await asyncio.sleep(settle)
            created, finding = await _search(runner, create, model)
    except PanelicaError as failure:
        raise _with_finding(error, create, f"looking for it failed: {failure.message}") from failure
    except TimeoutError as failure:
        raise _with_finding(error, create, "the deadline passed during the search for it") from failure
    except asyncio.CancelledError as cancelled:
        # The caller still gets the cancellation, whose cause says what it interrupted.
        raise cancelled from error
    if created is None:
        raise _with_finding(error, create, finding) from error.__cause__
    return created


async def find_created(runner: OperationRunner, create: SentCreate, model: type[M]) -> M | None:
    """Return the object of a create that succeeded; None unless exactly one row matches."""
    rows = rows_of(runner, create.key.lookup, model, create.filters)
    matches = [
        row
        async for row in rows
        if create.matches_name(row) and create.shows_natural_key(row) and create.contradiction(row) is None
    ]
    return matches[0] if len(matches) == 1 else None


async def _search(runner: OperationRunner, create: SentCreate, model: type[M]) -> tuple[M | None, str]:
    """Return the object of a create; otherwise None, and what was found instead."""
    rows = rows_of(runner, create.key.lookup, model, create.filters)
    namesakes = [row async for row in rows if create.matches_name(row)]
    if not namesakes:
        return None, "a search found nothing, but it may still appear"
    candidates = [row for row in namesakes if create.contradiction(row) is None]
    if not candidates:
        return None, f"an object of that name exists, but {create.contradiction(namesakes[0])}"
    if len(candidates) > 1:
        return None, f"{len(candidates)} objects of that name exist"
    [row] = candidates
    doubt = create.uncertainty(row)
    prefix = create.prefix(row)
    # Guess: a prefix is the owner's user name and an underscore (evidence: databases-prefix, ftp-create).
    if doubt is None and prefix and prefix != (await _owner_name(runner, create.arguments) or "").lower():
        doubt = f"it may belong to another call: its name begins with {prefix}_"
    return (row, "") if doubt is None else (None, f"an object of that name exists, but {doubt}")


async def _owner_name(runner: OperationRunner, arguments: Mapping[str, Any]) -> str | None:
    """Return the user name of the account that owns an object; None if the arguments do not show it."""

    async def get(name: str, id: object) -> Row:
        operation = runner.get_operation(name)
        return await fetch_one(runner, operation, runner.wire(operation), {"id": id}, Row)

    user_id, domain_id = arguments.get("user_id"), arguments.get("domain_id")
    if user_id is None and domain_id is not None:
        user_id = (await get("domains.get", domain_id)).user_id
        if user_id is None:
            # It is not confirmed that a single domain shows its owner; the list does (evidence: domains-list).
            domains = rows_of(runner, runner.get_operation("domains.list"), Row)
            user_id = await anext((row.user_id async for row in domains if row.id == str(domain_id)), None)
    return None if user_id is None else (await get("accounts.get", user_id)).username


def _trusted_created_at(row: Model) -> "datetime | None":
    # A time without a zone, which is left in `extra`, may be in the panel's local zone and proves nothing.
    if "created_at" in row.extra:
        return None
    return cast("datetime | None", getattr(row, "created_at", None))


def is_same(shown: object, requested: object) -> bool:
    """Return whether the panel shows a value as it was requested.

    Case is ignored, and so is the type of an id, which a caller may pass as a number or UUID.
    """
    if isinstance(shown, str) and isinstance(requested, str | int | UUID):
        return shown.lower() == (requested if isinstance(requested, str) else str(requested)).lower()
    return shown == requested


def _with_finding(error: OutcomeUnknownError, create: SentCreate, finding: str) -> OutcomeUnknownError:
    """Return an error with what was found, and a hint on how to look for the object."""
    names = ", ".join(f"{name} {create.arguments[name]!r}" for name in create.key.fields if name in create.arguments)
    hint = f"Look for {names} with panel.{create.key.lookup.name}() before you send it again."
    return reword(error, f"{error.message}; {finding}", hint)
