"""Executes one step: notes its call in the journal, sends it, and looks for the object if no reply came."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import (
    ConflictError,
    DecodeError,
    MissingScopeError,
    PanelicaError,
    ResponseError,
    UnsupportedOperationError,
)
from panelica_async.provision.credentials import StepPasswords
from panelica_async.provision.decisions import THERE_ALREADY, Action, PlannedStep
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import NOT_SENT, PENDING, Record, State
from panelica_async.provision.objects import Comparison, Match, NewObject, Step, StepKind, View
from panelica_async.provision.objects.snapshot import Inventory, Listing
from panelica_async.provision.ownership import judge_origin
from panelica_async.provision.plan import Plan
from panelica_async.provision.results import FATAL, StepOutcome, StepStatus, may_have_run, reason_of
from panelica_async.provision.stopping import StoppableCall, StoppedError

_FATAL_FOR_KIND: Final = (MissingScopeError, UnsupportedOperationError)
"""Errors that every further call for an object of the same kind would meet too."""
_MAX_SENDS: Final = 2
"""How often a call is sent as long as it gets no reply and its object is not found."""
_COMPANION_MATCH: Final = Match.same(None)
"""An object that the call for another one created, and that no list shows by itself."""
_EARLIER_CALL: Final = "an earlier call has no known outcome"
_CONFLICT_HINT: Final = "Change the manifest or the object on the panel, and run again."
_SET_HINT: Final = "Set its password in the panel, or delete it there and apply again."
_LEFT_ALONE_HINT: Final = "Remove it in the panel if you do not want it: undo leaves it alone."


class Executor:
    """Executes the steps of a plan, one for each call of `execute`.

    Args:
        panel: The panel.
        plan: The plan, decided with what the journal knows.
        journal: Where every call is noted before and after it.
        passwords: The passwords of the steps.
        stop: Set when a stop is requested: a call that waits is not sent then.
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
        passwords: StepPasswords,
        *,
        stop: asyncio.Event,
        settle: float,
        on_list: Callable[[], None],
    ) -> None:
        self.fatal: PanelicaError | None = None
        # The executor looks for lost objects itself: it knows what existed before.
        self._panel = panel.with_options(lane="bulk", look_up_lost=False)
        self._journal = journal
        self._passwords = passwords
        self._stop = stop
        self._settle = settle
        self._inventory = Inventory(panel, plan.snapshot, on_list)
        self._ids = {planned.step.id: planned.object_id for planned in plan.steps if planned.action is Action.KEEP}
        self._refused_kinds: dict[StepKind, PanelicaError] = {}
        self._companion_outcomes: dict[str, StepOutcome] = {}
        """Outcomes of steps whose object the call of another step created, by id of the step."""

    async def execute(self, planned: PlannedStep) -> StepOutcome:
        """Execute a step, and return its outcome once that is on the disk.

        Raises:
            StoppedError: A stop was requested before its call was sent.
        """
        outcome = await self._execute(planned)
        await self._commit()
        return outcome

    async def _execute(self, planned: PlannedStep) -> StepOutcome:
        step, reason = planned.step, planned.reason
        if step.id in self._companion_outcomes:
            return self._companion_outcomes[step.id]
        match planned.action:
            case Action.KEEP:
                return self._keep(planned)
            case Action.CONFLICT:
                self._journal.conflict(step, reason or "")
                return StepOutcome(step=step, status=StepStatus.CONFLICT, reason=reason, hint=_CONFLICT_HINT)
            case Action.UNCERTAIN:
                return StepOutcome.uncertain(step, reason)
            case Action.BLOCKED if not step.parents:
                return StepOutcome(step=step, status=StepStatus.SKIPPED, reason=reason)
            case _:
                # The object that blocked the step may exist by now.
                return await self._create(step)

    def _keep(self, planned: PlannedStep) -> StepOutcome:
        """Bring the journal up to date on a step whose object exists, and return its outcome."""
        step, record = planned.step, self._journal.records.get(planned.step.id)
        match = Match.same(planned.object_id, is_pending=planned.is_pending)
        if record is None:
            return StepOutcome.existing(step, match, planned.reason)
        if record.is_unanswered:
            return self._resolve_unanswered(step, match, "sent by an earlier run; found by looking")
        if not record.is_settled:
            return self._note_found(step, match, "refused or removed in an earlier run; it exists now")
        if _was_recreated(record, planned):
            reason = "an earlier run created it, and others deleted and re-created it"
            remark = f"{reason}: its password is not the one in the {_password_source(step)}"
            return self._note_found(step, match, reason, remark=remark if step.password_needed else None)
        if record.is_in_conflict:
            pending = PENDING if planned.is_pending else None
            self._journal.restored(attrs.evolve(record, reason=pending, code=None), record.state)
        if record.is_pending and not planned.is_pending:
            self._journal.done(step, planned.object_id, "the panel has finished it")
        return StepOutcome.existing(step, match, planned.reason)

    async def _create(self, step: Step) -> StepOutcome:
        """Create the object, unless one that it depends on is missing or the panel refuses its kind."""
        missing = next((parent for parent in step.parents if parent.id not in self._ids), None)
        if missing is not None:
            reason = f"depends on the {missing.label}, which does not exist"
            return StepOutcome(step=step, status=StepStatus.SKIPPED, reason=reason)
        if error := self._refused_kinds.get(step.kind):
            return StepOutcome.failed(step, error)
        password = self._passwords.for_step(step)
        self._journal.hide(password)
        for sends in range(1, _MAX_SENDS + 1):
            outcome = await self._send_once(step, password)
            if outcome is not None:
                return attrs.evolve(outcome, calls=sends)
        reason = f"sent {_MAX_SENDS} times without a reply, and not found afterwards"
        return attrs.evolve(self._note_unknown(step, reason), calls=_MAX_SENDS)

    async def _send_once(self, step: Step, password: str) -> StepOutcome | None:
        """Send the call once. Return None if no reply came and the object is not there."""
        previous = self._journal.records.get(step.id)
        was_unanswered = previous is not None and previous.is_unanswered
        try:
            new_object = await self._note_and_send(step, password, previous)
        except StoppedError:
            noted = self._journal.records[step.id]
            if not noted.is_unanswered:
                raise
            return StepOutcome.uncertain(step, noted.reason)
        except PanelicaError as error:
            if may_have_run(error):
                return await self._after_lost_reply(step, error, was_unanswered=was_unanswered)
            if isinstance(error, step.duplicate_errors):
                return await self._after_refusal(step, error, previous)
            return self._note_failed(step, error, was_unanswered=was_unanswered)
        if new_object.id == "":
            return await self._after_thin_success(step, was_unanswered=was_unanswered)
        return self._note_created(step, Match.same(new_object.id, is_pending=new_object.is_pending))

    async def _note_and_send(self, step: Step, password: str, previous: Record | None) -> NewObject:
        """Note the call, wait until that is on the disk, and send it; raises `StoppedError` if a stop comes first."""
        view = View(snapshot=self._inventory.snapshot, ids=self._ids)
        call = StoppableCall(self._panel, self._stop)
        self._journal.sent(step, parent_id=self._parent_id(step))
        try:
            async with call.unless_stopped():
                await self._commit()
                return await step.create(self._panel, view, password)
        except PanelicaError:
            raise  # Some are also a ValueError or an OSError.
        except ValueError as error:
            if call.was_sent:
                raise DecodeError(f"the reply cannot be read: {error}", endpoint=step.operation) from error
            # The client refused an argument.
            raise PanelicaError(str(error)) from error
        except (StoppedError, asyncio.CancelledError, OSError, sqlite3.Error):
            if call.was_sent:
                self._journal.unknown(step, "cancelled in flight")
            elif previous is not None and previous.is_unanswered:
                self._journal.unknown(step, previous.reason or _EARLIER_CALL)
            else:
                self._passwords.withdraw(step)
                self._journal.failed(step, NOT_SENT)
                self._restore_record(previous)
            raise

    async def _after_thin_success(self, step: Step, *, was_unanswered: bool) -> StepOutcome | None:
        """Look at once for the object of a call that succeeded with a thin reply."""
        thin = DecodeError("the panel accepted the request, but the reply has no id", endpoint=step.operation)
        self._journal.unknown(step, reason_of(thin))
        await self._commit()
        with suppress(PanelicaError):
            found = await self._look_up(step)
            if found.comparison is Comparison.SAME and self._judge_origin(step, found.object_id) is not State.FOUND:
                return self._note_created(step, found, "the reply had no id; found by looking")
        if step.is_order:
            # The panel is working on it, whether the lists show that or not.
            return self._note_created(step, Match.same(None, is_pending=True))
        return await self._after_lost_reply(step, thin, was_unanswered=was_unanswered)

    async def _after_lost_reply(self, step: Step, error: PanelicaError, *, was_unanswered: bool) -> StepOutcome | None:
        """Look for the object of a call that got no proper reply. Return None if it is not there."""
        self._journal.unknown(step, reason_of(error))
        self._remember_error(step, error)
        if self.fatal is error:
            return StepOutcome.failed(step, error)
        await self._commit()
        await asyncio.sleep(self._settle)
        try:
            found = await self._look_up(step)
        except PanelicaError as lookup_error:
            self._remember_error(step, lookup_error)
            return self._note_unknown(step, f"{reason_of(error)}; looking for it failed: {reason_of(lookup_error)}")
        match found.comparison:
            case Comparison.SAME if self._judge_origin(step, found.object_id) is State.FOUND:
                if not was_unanswered:
                    self._passwords.withdraw(step)
                return self._note_made_by_others(step, found)
            case Comparison.SAME:
                return self._note_created(step, found, "there was no proper reply; found by looking")
            case Comparison.ABSENT if not isinstance(error, ResponseError):
                return None
            case Comparison.UNKNOWN:
                return self._note_unknown(step, f"{reason_of(error)}; {found.reason}")
            case _:
                # The panel may still be working on it: the report says failed, the journal unknown.
                return StepOutcome.failed(step, error, found.reason)

    async def _after_refusal(self, step: Step, error: ResponseError, previous: Record | None) -> StepOutcome:
        """Check whether the panel refused a call because the object exists and matches."""
        was_unanswered = previous is not None and previous.is_unanswered
        # An earlier attempt, or the call of an earlier run, may have created the object before this refusal.
        may_be_ours = was_unanswered or error.attempts > 1
        self._note_failed(step, error, was_unanswered=may_be_ours)
        if not may_be_ours:
            self._restore_record(previous)
        await self._commit()
        try:
            found = await self._look_up(step)
        except PanelicaError as lookup_error:
            self._remember_error(step, lookup_error)
            return StepOutcome.failed(step, error, f"looking for it failed: {reason_of(lookup_error)}")
        # A 409 has several meanings (evidence: error-statuses). Where no list can tell, it means a duplicate.
        may_exist = found.comparison is Comparison.UNKNOWN and isinstance(error, ConflictError)
        done = previous if previous is not None and previous.state is State.DONE else None
        if found.comparison is not Comparison.SAME and not may_exist:
            outcome = self._note_failed(step, error, found.reason, was_unanswered=was_unanswered)
            if done is not None and _reports_duplicate(error):
                # It exists, but this key cannot see it (evidence: lists-owner-view); undo with another key can.
                self._journal.restored(done, done.state)
            return outcome
        if done is not None and found.object_id in {None, done.object_id}:
            # No list shows the object itself, and others of its kind are gone; or the list had missed it before.
            self._note_created(step, found, done.reason)
            return StepOutcome.existing(step, found, "done by an earlier run")
        if may_be_ours:
            return self._resolve_unanswered(step, found, "an earlier call without a reply had created it")
        return self._note_made_by_others(step, found)

    async def _look_up(self, step: Step) -> Match:
        """Read the list that shows the step's object, and compare."""
        parent_id = self._parent_id(step)
        snapshot = await self._inventory.refresh(step.listing, parent_id if step.listing is Listing.ZONES else None)
        if step.listing is Listing.CERTIFICATES and snapshot.certificates is None:
            snapshot = await self._inventory.refresh(Listing.CERTIFICATES, parent_id)
        return step.match(View(snapshot=snapshot, ids=self._ids, unanswered=self._journal.records.unanswered))

    def _parent_id(self, step: Step) -> str | None:
        return self._ids[step.parents[0].id] if step.parents else None

    def _judge_origin(self, step: Step, object_id: str | None) -> State:
        """Return the state to note for an object that was found: whether the call of its step created it."""
        snapshot = self._inventory.snapshot
        view = View(snapshot=snapshot, ids={**self._ids, step.id: object_id})
        if any(companion.match(view).comparison is Comparison.ABSENT for companion in step.companions):
            # The call would have created the companion, too.
            return State.FOUND
        sent_between = self._journal.records.sent_between(step.id)
        return judge_origin(step, object_id, snapshot, sent_between, self._panel.clock_skew)

    def _remember_error(self, step: Step, error: PanelicaError) -> None:
        """Remember an error that further calls would meet too, so that they are not sent."""
        if isinstance(error, FATAL):
            self.fatal = error
        if isinstance(error, _FATAL_FOR_KIND):
            self._refused_kinds[step.kind] = error

    def _resolve_unanswered(self, step: Step, match: Match, reason: str) -> StepOutcome:
        """Judge whether an earlier, unanswered call created the object that was found; note and return the outcome."""
        state = self._judge_origin(step, match.object_id)
        if state is State.FOUND:
            self._passwords.withdraw(step)
            return self._note_found(step, match, "was there before the call")
        remark, hint = "found; whether this run created it is uncertain", _LEFT_ALONE_HINT
        if step.password_needed:
            remark = f"found; whether its password is the one in the {_password_source(step)} is uncertain"
            hint = _SET_HINT
        if state is State.DONE:
            # No list shows the object itself, such as a database user.
            is_unseen = step.password_needed and match.object_id is None
            return self._note_created(step, match, reason, remark=remark if is_unseen else None)
        self._ids[step.id] = match.object_id
        self._journal.uncertain(step, match.object_id, remark)
        for companion in step.companions:
            self._ids[companion.id] = None
            why = f"it came with the {step.label}: whether this run created it is uncertain"
            self._journal.uncertain(companion, None, why, parent_id=match.object_id)
            self._companion_outcomes[companion.id] = StepOutcome.existing(
                companion, _COMPANION_MATCH, why, remark=why, hint=_SET_HINT
            )
        return StepOutcome.existing(step, match, remark, remark=remark, hint=hint)

    def _note_created(
        self, step: Step, match: Match, reason: str | None = None, *, remark: str | None = None
    ) -> StepOutcome:
        self._ids[step.id] = match.object_id
        self._passwords.keep(step)
        self._journal.done(step, match.object_id, PENDING if match.is_pending else reason)
        for companion in step.companions:
            self._ids[companion.id] = None
            self._journal.done(companion, None, reason, parent_id=match.object_id)
            self._companion_outcomes[companion.id] = StepOutcome.existing(
                companion, _COMPANION_MATCH, reason, status=StepStatus.CREATED
            )
        return StepOutcome.existing(step, match, reason, status=StepStatus.CREATED, remark=remark)

    def _note_made_by_others(self, step: Step, match: Match) -> StepOutcome:
        """Note that others created the object after the plan was made."""
        remark = None if step.password is None else THERE_ALREADY
        return self._note_found(step, match, "was there already", remark=remark)

    def _note_found(self, step: Step, match: Match, reason: str, *, remark: str | None = None) -> StepOutcome:
        self._ids[step.id] = match.object_id
        self._journal.found(step, match.object_id, reason)
        return StepOutcome.existing(step, match, reason, remark=remark)

    def _note_failed(
        self, step: Step, error: PanelicaError, details: str | None = None, *, was_unanswered: bool
    ) -> StepOutcome:
        """Note that a call had no effect; if an earlier one may still have had one, note the step as unknown."""
        self._remember_error(step, error)
        outcome = StepOutcome.failed(step, error, details)
        if was_unanswered:
            self._journal.unknown(step, f"{outcome.reason}; {_EARLIER_CALL}")
        else:
            self._passwords.withdraw(step)
            self._journal.failed(step, outcome.reason or "", code=outcome.code, request_id=outcome.request_id)
        return outcome

    def _restore_record(self, previous: Record | None) -> None:
        """Note again what an earlier run created: the list may have missed it only this once."""
        if previous is not None and previous.state is State.DONE and not previous.is_pending:
            self._journal.restored(previous, previous.state)

    def _note_unknown(self, step: Step, reason: str) -> StepOutcome:
        self._journal.unknown(step, reason)
        return StepOutcome.uncertain(step, reason)

    async def _commit(self) -> None:
        """Wait until passwords and notes are on the disk."""
        await self._passwords.commit()
        await self._journal.commit()


def _password_source(step: Step) -> str:
    return "file" if step.password is None else "manifest"


def _was_recreated(record: Record, planned: PlannedStep) -> bool:
    """Return whether the object has another id than the one that an earlier run created."""
    return (
        record.state is State.DONE
        and not planned.step.is_order  # Panels renew certificates themselves.
        and record.object_id is not None
        and planned.object_id != record.object_id
    )


def _reports_duplicate(error: ResponseError) -> bool:
    """Return whether a create was refused because its object exists; a 400 says so in words (evidence: error-keys)."""
    return isinstance(error, ConflictError) or "already" in reason_of(error).lower()
