"""Takes single steps: sends the call, keeps the journal, and finds out what became of a call without a reply."""

import asyncio
from collections.abc import Callable
from typing import Final

import attrs

from panelica_async.client.client import PanelicaClient
from panelica_async.errors import (
    ConfigurationError,
    ConflictError,
    DecodeError,
    MissingScopeError,
    OutcomeUnknownError,
    PanelicaError,
    ResponseError,
    ServerError,
    UnsupportedOperationError,
)
from panelica_async.provision.journal import PENDING, Journal
from panelica_async.provision.outcome import FATAL, StepOutcome, StepStatus, reason_of
from panelica_async.provision.passwords import CredentialsFile
from panelica_async.provision.plan import Plan, PlannedStep, Verdict
from panelica_async.provision.snapshot import Inventory, Listing
from panelica_async.provision.steps import Likeness, Match, Step, StepKind, View

_OF_THE_KIND: Final = (MissingScopeError, UnsupportedOperationError)
"""Errors that every further call of the same kind would meet too."""
_SENDS: Final = 2
"""How often a call is sent when there is no reply and its object is surely not there."""


class Execution:
    """Takes the steps of a plan, one at a time, in whatever order it is asked to.

    Args:
        panel: The panel.
        plan: The plan, decided with what the journal knows.
        journal: Where every call is noted before and after it.
        credentials: Where generated passwords are kept; None when none are needed.
        settle: Seconds to wait between a lost reply and looking what became of the call, which the panel may still be
            working on.
        on_list: Called after each list call that is made to find out what became of a call.

    Attributes:
        fatal: The error that makes it pointless to go on, once there is one.
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
        self._ids = {planned.step.id: planned.object_id for planned in plan.steps if planned.verdict is Verdict.EXISTS}
        self._refused: dict[StepKind, PanelicaError] = {}

    async def take(self, planned: PlannedStep) -> StepOutcome:
        """Take a step and return what became of it."""
        step, reason = planned.step, planned.reason
        match planned.verdict:
            case Verdict.EXISTS if self._is_doubtful(step):
                reason = "sent by an earlier run; found by looking"
                return self._created(step, planned.object_id, reason, is_pending=planned.is_pending)
            case Verdict.EXISTS:
                return self._exists(planned)
            case Verdict.CONFLICT:
                return StepOutcome(step=step, status=StepStatus.CONFLICT, reason=reason, hint=_CONFLICT_HINT)
            case Verdict.UNKNOWN:
                return StepOutcome(step=step, status=StepStatus.UNKNOWN, reason=reason, hint=_UNKNOWN_HINT)
            case Verdict.CREATE | Verdict.BLOCKED:
                return await self._create(step)

    def _exists(self, planned: PlannedStep) -> StepOutcome:
        """Return the outcome of a step whose object is there, and note if the panel has finished it by now."""
        step = planned.step
        record = self._journal.records.get(step.id)
        if record is not None and record.is_pending and not planned.is_pending:
            self._journal.done(step, planned.object_id, "the panel has finished it")
        return StepOutcome(
            step=step,
            status=StepStatus.EXISTS,
            object_id=planned.object_id,
            reason=planned.reason,
            is_pending=planned.is_pending,
        )

    async def _create(self, step: Step) -> StepOutcome:
        """Create the object, unless one it builds on is missing or its kind is refused."""
        missing = next((parent for parent in step.parents if parent.id not in self._ids), None)
        if missing is not None:
            reason = f"builds on the {missing.kind} {missing.key}, which is not there"
            return StepOutcome(step=step, status=StepStatus.SKIPPED, reason=reason)
        if error := self._refused.get(step.kind):
            return _failure(step, error)
        return await self._send_until_clear(step)

    async def _send_until_clear(self, step: Step) -> StepOutcome:
        password = self._password(step)
        for sends in range(1, _SENDS + 1):
            outcome = await self._send(step, password)
            if outcome is not None:
                return attrs.evolve(outcome, calls=sends)
        reason = f"sent {_SENDS} times without a reply, and not there when looked for"
        return attrs.evolve(self._in_doubt(step, reason), calls=_SENDS)

    async def _send(self, step: Step, password: str) -> StepOutcome | None:
        """Send the call once; None when there was no reply and the object is surely not there."""
        was_doubtful = self._is_doubtful(step)
        parent_id = self._ids[step.parents[0].id] if step.parents else None
        self._journal.sent(step, parent_id=parent_id)
        try:
            made = await step.create(self._panel, View(snapshot=self._inventory.snapshot, ids=self._ids), password)
        except asyncio.CancelledError:
            self._journal.unknown(step, "cancelled on its way")
            raise
        except (OutcomeUnknownError, DecodeError, ServerError) as error:
            self._journal.unknown(step, reason_of(error))
            await asyncio.sleep(self._settle)
            return await self._after_silence(step, error)
        except step.duplicate_errors as error:
            return await self._after_refusal(step, error, was_doubtful=was_doubtful)
        except PanelicaError as error:
            self._consider(step, error)
            return self._failed(step, error)
        except ValueError as error:  # The client refuses an argument before it sends anything.
            return self._failed(step, ConfigurationError(str(error)))
        return self._created(step, made.id, is_pending=made.is_pending)

    async def _after_silence(self, step: Step, error: PanelicaError) -> StepOutcome | None:
        """Find out what became of a call that had no proper reply; None when its object is surely not there."""
        try:
            found = await self._look(step)
        except PanelicaError as failure:
            self._consider(step, failure)
            return self._in_doubt(step, f"{reason_of(error)}; it could not be looked for: {reason_of(failure)}")
        match found.likeness:
            case Likeness.EQUAL:
                return self._created(
                    step, found.object_id, "there was no proper reply; found by looking", is_pending=found.is_pending
                )
            case Likeness.ABSENT if not isinstance(error, ServerError):
                return None
            case Likeness.UNSURE:
                return self._in_doubt(step, f"{reason_of(error)}; {found.reason}")
            case _:
                return self._failed(step, error, found.reason)

    async def _after_refusal(self, step: Step, error: ResponseError, *, was_doubtful: bool) -> StepOutcome:
        """Find out whether the panel refused because the object is there already, as wanted."""
        try:
            found = await self._look(step)
        except PanelicaError as failure:
            self._consider(step, failure)
            return self._failed(step, error, f"it could not be looked for: {reason_of(failure)}")
        # "409: exists, in use, integration not configured" (panel-facts B.5). Where no list can tell, it exists.
        is_conflict = isinstance(error, ConflictError)
        if found.likeness is not Likeness.EQUAL and not (found.likeness is Likeness.UNSURE and is_conflict):
            return self._failed(step, error, found.reason)
        if was_doubtful:
            reason = "an earlier call without a reply had created it"
            return self._created(step, found.object_id, reason, is_pending=found.is_pending)
        if self._credentials is not None:
            self._credentials.take_back(step)
        self._ids[step.id] = found.object_id
        self._journal.found(step, found.object_id, reason_of(error))
        return StepOutcome(
            step=step,
            status=StepStatus.EXISTS,
            object_id=found.object_id,
            reason="was there already",
            is_pending=found.is_pending,
        )

    async def _look(self, step: Step) -> Match:
        """Read the list that shows the step's object, and compare."""
        zone_id = self._ids[step.parents[0].id] if step.listing is Listing.ZONES else None
        snapshot = await self._inventory.refresh(step.listing, zone_id)
        if step.listing is Listing.CERTIFICATES and snapshot.certificates is None:
            snapshot = await self._inventory.refresh(Listing.DOMAINS)
        doubtful = {record.id for record in self._journal.records.values() if record.is_doubtful}
        return step.match(View(snapshot=snapshot, ids=self._ids, doubtful=doubtful))

    def _consider(self, step: Step, error: PanelicaError) -> None:
        """Note an error that others would meet too, so that they need not."""
        if isinstance(error, FATAL):
            self.fatal = error
        if isinstance(error, _OF_THE_KIND):
            self._refused[step.kind] = error

    def _created(
        self, step: Step, object_id: str | None, reason: str | None = None, *, is_pending: bool = False
    ) -> StepOutcome:
        self._ids[step.id] = object_id
        self._journal.done(step, object_id, PENDING if is_pending else reason)
        return StepOutcome(
            step=step, status=StepStatus.CREATED, object_id=object_id, reason=reason, is_pending=is_pending
        )

    def _failed(self, step: Step, error: PanelicaError, found: str | None = None) -> StepOutcome:
        outcome = _failure(step, error, found)
        self._journal.failed(step, outcome.reason or "", code=outcome.code, request_id=outcome.request_id)
        return outcome

    def _in_doubt(self, step: Step, reason: str) -> StepOutcome:
        self._journal.unknown(step, reason)
        return StepOutcome(step=step, status=StepStatus.UNKNOWN, reason=reason, hint=_UNKNOWN_HINT)

    def _password(self, step: Step) -> str:
        if not step.password_needed:
            return ""
        if step.password is not None:
            return step.password
        if self._credentials is None:
            raise ConfigurationError(f"a password is to be generated for {step.id}, and there is no file to keep it in")
        return self._credentials.password_for(step)

    def _is_doubtful(self, step: Step) -> bool:
        record = self._journal.records.get(step.id)
        return record is not None and record.is_doubtful


_CONFLICT_HINT = "Change the manifest, or what is on the panel, and run again."
_UNKNOWN_HINT = "Look in the panel whether it is there; `resume` looks again."


def _failure(step: Step, error: PanelicaError, found: str | None = None) -> StepOutcome:
    reason = reason_of(error) if found is None else f"{reason_of(error)}; {found}"
    return StepOutcome(
        step=step,
        status=StepStatus.FAILED,
        reason=reason,
        hint=error.hint,
        code=error.code if isinstance(error, ResponseError) else None,
        request_id=error.request_id if isinstance(error, ResponseError) else None,
    )
