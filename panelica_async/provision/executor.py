"""Carries out one step: sends the call, notes it in the journal, and looks up the object if no reply came."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import (
    ConfigurationError,
    ConflictError,
    DecodeError,
    MissingScopeError,
    PanelicaError,
    ResponseError,
    UnsupportedOperationError,
)
from panelica_async.provision.credentials import CredentialsFile
from panelica_async.provision.decisions import THERE_ALREADY, Action, PlannedStep
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import NOT_SENT, PENDING, Record, State
from panelica_async.provision.objects import Comparison, Match, Step, StepKind, View
from panelica_async.provision.objects.snapshot import Inventory, Listing
from panelica_async.provision.ownership import judge_origin
from panelica_async.provision.plan import Plan
from panelica_async.provision.results import FATAL, StepOutcome, StepStatus, may_have_run, reason_of
from panelica_async.telemetry import Event, Sent

_OF_THE_KIND: Final = (MissingScopeError, UnsupportedOperationError)
"""Errors that every further call of the same kind would meet too."""
_SENDS: Final = 2
"""How often a call is sent while it has no reply and its object is not there."""
_COMPANION: Final = Match.same(None)
"""An object that came with another one, which no list shows by itself."""
_CONFLICT_HINT: Final = "Change the manifest or the object on the panel, and run again."
_SET_HINT: Final = "Set its password in the panel, or delete it there and apply again."
_LEFT_ALONE_HINT: Final = "Remove it in the panel if you do not want it: undo leaves it alone."


class Executor:
    """Executes the steps of a plan, in the order of its caller.

    Args:
        panel: The panel.
        plan: The plan, decided with what the journal knows.
        journal: Where every call is noted before and after it.
        credentials: Where generated passwords are kept; None when none are needed.
        settle: Seconds between a lost reply and the look-up of the object: the panel may still be working on the call.
        on_list: Called after each list call of a look-up.

    Attributes:
        fatal: The error that every further call would meet too, once there is one.
    """

    def __init__(
        self,
        panel: PanelicaClient,
        plan: Plan,
        journal: Journal,
        credentials: CredentialsFile | None,
        *,
        settle: float,
        on_list: Callable[[], None],
    ) -> None:
        self.fatal: PanelicaError | None = None
        # It looks for lost objects itself, and knows what was there before.
        self._panel = panel.with_options(lane="bulk", look_up_lost=False)
        self._journal = journal
        self._credentials = credentials
        self._settle = settle
        self._inventory = Inventory(panel, plan.snapshot, on_list)
        self._ids = {planned.step.id: planned.object_id for planned in plan.steps if planned.action is Action.KEEP}
        self._refused: dict[StepKind, PanelicaError] = {}
        self._came_along: dict[str, StepOutcome] = {}
        """Outcomes of steps whose object another step's call made, by id of the step."""

    async def take(self, planned: PlannedStep) -> StepOutcome:
        """Take a step, and return its outcome once that is on the disk."""
        outcome = await self._take(planned)
        await self._commit()
        return outcome

    async def _take(self, planned: PlannedStep) -> StepOutcome:
        step, reason = planned.step, planned.reason
        if step.id in self._came_along:
            return self._came_along[step.id]
        match planned.action:
            case Action.KEEP:
                return self._exists(planned)
            case Action.CONFLICT:
                self._journal.conflict(step, reason or "")
                return StepOutcome(step=step, status=StepStatus.CONFLICT, reason=reason, hint=_CONFLICT_HINT)
            case Action.UNCERTAIN:
                return StepOutcome.uncertain(step, reason)
            case Action.BLOCKED if not step.parents:
                return StepOutcome(step=step, status=StepStatus.SKIPPED, reason=reason)
            case _:
                # What blocked a step may be there by now.
                return await self._create(step)

    def _exists(self, planned: PlannedStep) -> StepOutcome:
        """Return the outcome of a step whose object is there, and note what the journal does not know of it yet."""
        step, record = planned.step, self._journal.records.get(planned.step.id)
        there = Match.same(planned.object_id, is_pending=planned.is_pending)
        if record is None:
            return StepOutcome.existing(step, there, planned.reason)
        if record.is_unanswered:
            return self._claim(step, there, "sent by an earlier run; found by looking")
        if not record.is_settled:
            return self._found(step, there, "refused or removed in an earlier run; it exists now")
        if _is_another(record, planned):
            reason = "an earlier run created it, and others deleted and re-created it"
            remark = f"{reason}: its password is not the one in the {_source_of_password(step)}"
            return self._found(step, there, reason, remark=remark if step.password_needed else None)
        if record.is_in_conflict:
            pending = PENDING if planned.is_pending else None
            self._journal.restored(attrs.evolve(record, reason=pending, code=None), record.state)
        if record.is_pending and not planned.is_pending:
            self._journal.done(step, planned.object_id, "the panel has finished it")
        return StepOutcome.existing(step, there, planned.reason)

    async def _create(self, step: Step) -> StepOutcome:
        """Create the object, unless one it builds on is missing or its kind is refused."""
        missing = next((parent for parent in step.parents if parent.id not in self._ids), None)
        if missing is not None:
            reason = f"depends on the {missing.label}, which does not exist"
            return StepOutcome(step=step, status=StepStatus.SKIPPED, reason=reason)
        if error := self._refused.get(step.kind):
            return StepOutcome.failed(step, error)
        password = self._password(step)
        self._journal.hide(password)
        for sends in range(1, _SENDS + 1):
            outcome = await self._send(step, password)
            if outcome is not None:
                return attrs.evolve(outcome, calls=sends)
        reason = f"sent {_SENDS} times without a reply, and not found afterwards"
        return attrs.evolve(self._unknown(step, reason), calls=_SENDS)

    async def _send(self, step: Step, password: str) -> StepOutcome | None:
        """Send the call once. Return None when there was no reply and the object is not there."""
        before = self._journal.records.get(step.id)
        was_unanswered = before is not None and before.is_unanswered
        departure = _Departure()
        unsubscribe = self._panel.subscribe(departure)
        self._journal.sent(step, parent_id=self._parent_id(step))
        try:
            await self._commit()
            made = await step.create(self._panel, View(snapshot=self._inventory.snapshot, ids=self._ids), password)
        except PanelicaError as error:
            if may_have_run(error):
                return await self._after_lost_reply(step, error, was_unanswered=was_unanswered)
            if isinstance(error, step.duplicate_errors):
                return await self._after_refusal(step, error, before)
            return self._failed(step, error, was_unanswered=was_unanswered)
        except ValueError as error:
            if departure.happened:
                unreadable = DecodeError(f"the reply cannot be read: {error}", endpoint=step.operation)
                return await self._after_lost_reply(step, unreadable, was_unanswered=was_unanswered)
            # The client refuses an argument before it sends anything.
            return self._failed(step, PanelicaError(str(error)), was_unanswered=was_unanswered)
        except (asyncio.CancelledError, OSError, sqlite3.Error):
            if departure.happened or was_unanswered:
                self._journal.unknown(step, "cancelled in flight")
            else:
                self._take_back(step)
                self._journal.failed(step, NOT_SENT)
                self._restore(before)
            raise
        finally:
            unsubscribe()
        if made.id == "":
            return await self._after_thin_success(step, was_unanswered=was_unanswered)
        return self._created(step, Match.same(made.id, is_pending=made.is_pending))

    async def _after_thin_success(self, step: Step, *, was_unanswered: bool) -> StepOutcome | None:
        """Look for the object of a call that succeeded with a thin reply. Its work is done, so there is no wait."""
        thin = DecodeError("the panel accepted the request, but the reply has no id", endpoint=step.operation)
        self._journal.unknown(step, reason_of(thin))
        await self._commit()
        with suppress(PanelicaError):
            found = await self._look_up(step)
            if found.comparison is Comparison.SAME and self._owner(step, found.object_id) is not State.FOUND:
                return self._created(step, found, "the reply had no id; found by looking")
        if step.is_order:
            # It is on its way, whether lists show that or not.
            return self._created(step, Match.same(None, is_pending=True))
        return await self._after_lost_reply(step, thin, was_unanswered=was_unanswered)

    async def _after_lost_reply(self, step: Step, error: PanelicaError, *, was_unanswered: bool) -> StepOutcome | None:
        """Look for the object of a call without a proper reply. Return None when it is not there."""
        self._journal.unknown(step, reason_of(error))
        self._consider(step, error)
        if self.fatal is error:
            return StepOutcome.failed(step, error)
        await self._commit()
        await asyncio.sleep(self._settle)
        try:
            found = await self._look_up(step)
        except PanelicaError as failure:
            self._consider(step, failure)
            return self._unknown(step, f"{reason_of(error)}; looking for it failed: {reason_of(failure)}")
        match found.comparison:
            case Comparison.SAME if self._owner(step, found.object_id) is State.FOUND:
                if not was_unanswered:
                    self._take_back(step)
                return self._made_by_others(step, found)
            case Comparison.SAME:
                return self._created(step, found, "there was no proper reply; found by looking")
            case Comparison.ABSENT if not isinstance(error, ResponseError):
                return None
            case Comparison.UNKNOWN:
                return self._unknown(step, f"{reason_of(error)}; {found.reason}")
            case _:
                # The panel may still be working on it: only the report calls it a failure.
                return StepOutcome.failed(step, error, found.reason)

    async def _after_refusal(self, step: Step, error: ResponseError, before: Record | None) -> StepOutcome:
        """Check whether the panel refused a call because the object exists and matches."""
        was_unanswered = before is not None and before.is_unanswered
        # An attempt that was repeated may have been carried out before this refusal, as may a call of an earlier run.
        may_be_ours = was_unanswered or error.attempts > 1
        self._failed(step, error, was_unanswered=may_be_ours)
        if not may_be_ours:
            self._restore(before)
        await self._commit()
        try:
            found = await self._look_up(step)
        except PanelicaError as failure:
            self._consider(step, failure)
            return StepOutcome.failed(step, error, f"looking for it failed: {reason_of(failure)}")
        # A 409 has several meanings (evidence: error-statuses). Where no list can tell, it exists.
        may_exist = found.comparison is Comparison.UNKNOWN and isinstance(error, ConflictError)
        done = before if before is not None and before.state is State.DONE else None
        if found.comparison is not Comparison.SAME and not may_exist:
            outcome = self._failed(step, error, found.reason, was_unanswered=was_unanswered)
            if done is not None and _says_it_exists(error):
                # It exists, but this key does not see it (evidence: lists-owner-view). Undo with another one does.
                self._journal.restored(done, done.state)
            return outcome
        if done is not None and found.object_id in {None, done.object_id}:
            # No list shows it by itself, and others of its kind are gone; or the list did not show it before.
            self._created(step, found, done.reason)
            return StepOutcome.existing(step, found, "done by an earlier run")
        if may_be_ours:
            return self._claim(step, found, "an earlier call without a reply had created it")
        return self._made_by_others(step, found)

    async def _look_up(self, step: Step) -> Match:
        """Read the list that shows the step's object, and compare."""
        parent_id = self._parent_id(step)
        snapshot = await self._inventory.refresh(step.listing, parent_id if step.listing is Listing.ZONES else None)
        if step.listing is Listing.CERTIFICATES and snapshot.certificates is None:
            snapshot = await self._inventory.refresh(Listing.CERTIFICATES, parent_id)
        return step.match(View(snapshot=snapshot, ids=self._ids, unanswered=self._journal.records.unanswered))

    def _parent_id(self, step: Step) -> str | None:
        return self._ids[step.parents[0].id] if step.parents else None

    def _owner(self, step: Step, object_id: str | None) -> State:
        """Return what to note of an object that was found: whether this call created it."""
        snapshot = self._inventory.snapshot
        view = View(snapshot=snapshot, ids={**self._ids, step.id: object_id})
        if any(companion.match(view).comparison is Comparison.ABSENT for companion in step.companions):
            # The call would have made it as well.
            return State.FOUND
        window = self._journal.records.window(step.id)
        return judge_origin(step, object_id, snapshot, window, self._panel.clock_skew)

    def _consider(self, step: Step, error: PanelicaError) -> None:
        """Remember an error that further calls would meet too: they are not sent."""
        if isinstance(error, FATAL):
            self.fatal = error
        if isinstance(error, _OF_THE_KIND):
            self._refused[step.kind] = error

    def _claim(self, step: Step, there: Match, reason: str) -> StepOutcome:
        """Return the outcome of a step whose object was found after an earlier call without a known outcome."""
        state = self._owner(step, there.object_id)
        if state is State.FOUND:
            self._take_back(step)
            return self._found(step, there, "was there before the call")
        remark, hint = "found; whether this run created it is uncertain", _LEFT_ALONE_HINT
        if step.password_needed:
            remark = f"found; whether its password is the one in the {_source_of_password(step)} is uncertain"
            hint = _SET_HINT
        if state is State.DONE:
            # No list shows the object itself, such as a database user.
            is_unseen = step.password_needed and there.object_id is None
            return self._created(step, there, reason, remark=remark if is_unseen else None)
        self._ids[step.id] = there.object_id
        self._journal.uncertain(step, there.object_id, remark)
        for companion in step.companions:
            self._ids[companion.id] = None
            why = f"it came with the {step.label}: whether this run created it is uncertain"
            self._journal.uncertain(companion, None, why, parent_id=there.object_id)
            self._came_along[companion.id] = StepOutcome.existing(
                companion, _COMPANION, why, remark=why, hint=_SET_HINT
            )
        return StepOutcome.existing(step, there, remark, remark=remark, hint=hint)

    def _created(
        self, step: Step, there: Match, reason: str | None = None, *, remark: str | None = None
    ) -> StepOutcome:
        self._ids[step.id] = there.object_id
        if self._credentials is not None and step.login is not None:
            self._credentials.keep(step.login)
        self._journal.done(step, there.object_id, PENDING if there.is_pending else reason)
        for companion in step.companions:
            self._ids[companion.id] = None
            self._journal.done(companion, None, reason, parent_id=there.object_id)
            self._came_along[companion.id] = StepOutcome.existing(
                companion, _COMPANION, reason, status=StepStatus.CREATED
            )
        return StepOutcome.existing(step, there, reason, status=StepStatus.CREATED, remark=remark)

    def _made_by_others(self, step: Step, there: Match) -> StepOutcome:
        """Return the outcome of a step whose object others created since the plan was made."""
        return self._found(step, there, "was there already", remark=None if step.password is None else THERE_ALREADY)

    def _found(self, step: Step, there: Match, reason: str, *, remark: str | None = None) -> StepOutcome:
        self._ids[step.id] = there.object_id
        self._journal.found(step, there.object_id, reason)
        return StepOutcome.existing(step, there, reason, remark=remark)

    def _failed(
        self, step: Step, error: PanelicaError, found: str | None = None, *, was_unanswered: bool
    ) -> StepOutcome:
        """Note that a call did nothing, unless an earlier one may still have its effect."""
        self._consider(step, error)
        outcome = StepOutcome.failed(step, error, found)
        if was_unanswered:
            self._journal.unknown(step, f"{outcome.reason}; an earlier call has no known outcome")
        else:
            self._take_back(step)
            self._journal.failed(step, outcome.reason or "", code=outcome.code, request_id=outcome.request_id)
        return outcome

    def _restore(self, before: Record | None) -> None:
        """Note again what an earlier run created: the list that did not show it may have shown nothing for once."""
        if before is not None and before.state is State.DONE and not before.is_pending:
            self._journal.restored(before, before.state)

    def _unknown(self, step: Step, reason: str) -> StepOutcome:
        self._journal.unknown(step, reason)
        return StepOutcome.uncertain(step, reason)

    def _password(self, step: Step) -> str:
        login = step.login
        if login is None:
            return ""
        if login.password is not None:
            return login.password
        if self._credentials is None:
            raise ConfigurationError(f"{login.id} needs a generated password, and there is no file to keep it in")
        return self._credentials.password_for(login)

    async def _commit(self) -> None:
        """Wait until passwords and notes are on the disk."""
        if self._credentials is not None:
            await self._credentials.commit()
        await self._journal.commit()

    def _take_back(self, step: Step) -> None:
        """Note that the password generated for a step was not used."""
        if self._credentials is not None and step.login is not None:
            self._credentials.take_back(step.login)


def _source_of_password(step: Step) -> str:
    return "file" if step.password is None else "manifest"


def _is_another(record: Record, planned: PlannedStep) -> bool:
    """Return whether the object that is there has another id than the one that an earlier run created."""
    return (
        record.state is State.DONE
        and not planned.step.is_order  # Panels renew certificates themselves.
        and record.object_id is not None
        and planned.object_id != record.object_id
    )


class _Departure:
    """Notes whether a call of the current task was sent."""

    def __init__(self) -> None:
        self.happened = False
        self._task = asyncio.current_task()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Sent) and asyncio.current_task() is self._task:
            self.happened = True


def _says_it_exists(error: ResponseError) -> bool:
    """Return whether a create was refused because its object exists; a 400 tells in words (evidence: error-keys)."""
    return isinstance(error, ConflictError) or "already" in reason_of(error).lower()
