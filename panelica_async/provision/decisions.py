"""Decides what to do with each step: by what is requested, what exists, what earlier runs did, and what plans allow."""

import enum
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from panelica_async.provision.journal_records import Record
from panelica_async.provision.objects import (
    ORDER_TIMEOUT,
    Abilities,
    Allowances,
    Comparison,
    Step,
    StepKind,
    View,
)
from panelica_async.provision.objects.snapshot import Snapshot

_ORDER_TIME: Final = f"{ORDER_TIMEOUT.total_seconds() / 60:.0f} minutes"
OVERDUE: Final = f"it was ordered more than {_ORDER_TIME} ago, and is still not there"
"""Reason of a step that is ordered again."""


class Action(enum.StrEnum):
    """What a run does with a step."""

    CREATE = "create"
    KEEP = "exists"
    """Nothing: the object exists and matches."""
    CONFLICT = "conflict"
    """Nothing: something on the panel conflicts with the step."""
    BLOCKED = "blocked"
    """Nothing: the step depends on an object that is missing and will not be created."""
    UNCERTAIN = "unknown"
    """Nothing: an earlier run sent the step, and the panel's lists do not show whether the object exists."""
    # Names of earlier versions.
    EXISTS = "exists"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class PlannedStep:
    """A step and what a run does with it."""

    step: Step
    action: Action
    reason: str | None = None
    """Why, in words: for conflicts, and for other actions that need an explanation."""
    object_id: str | None = None
    """Id of the object that exists, if it has one."""
    is_pending: bool = False
    """Whether the panel is still working on the object that exists, such as a certificate."""
    comes_with: Step | None = None
    """The step whose call makes this object as well, such as the database of its first user."""

    @property
    def writes(self) -> int:
        """Number of calls to make for it."""
        return int(self.action is Action.CREATE and self.comes_with is None)

    @property
    def verdict(self) -> Action:
        """The action, under its name of earlier versions."""
        return self.action

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON-like data, without secrets."""
        step = self.step
        return {
            "kind": step.kind.value,
            "name": step.key,
            "operation": (self.comes_with or step).operation,
            "arguments": step.arguments,
            "depends_on": [parent.id for parent in step.parents],
            "verdict": self.action.value,
            "reason": self.reason,
            "pending": self.is_pending,
        }


_READY = frozenset({Action.CREATE, Action.KEEP})
"""Actions of steps that others can build on."""


class Decisions:
    """Decides on steps one after another, each with those before it.

    Attributes:
        decided: The steps that were added, by their id.
        ids: Object ids of the steps whose object exists, by id of the step.
    """

    def __init__(self, snapshot: Snapshot, records: Mapping[str, Record], abilities: Abilities) -> None:
        self.decided: dict[str, PlannedStep] = {}
        self.ids: dict[str, str | None] = {}
        self._records = records
        self._abilities = abilities
        self._allowances = Allowances(snapshot, self.ids)
        self._view = View(
            snapshot=snapshot,
            ids=self.ids,
            unanswered={record.id for record in records.values() if record.is_unanswered},
            settled={record.id: record.object_id for record in records.values() if record.is_settled},
        )

    def add(self, steps: Iterable[Step]) -> None:
        """Decide on steps; those they build on come first."""
        for step in steps:
            if step.id in self.decided:
                continue
            planned = _decide(step, self._view, self._records.get(step.id), self.decided)
            if planned.action is Action.CREATE:
                planned = self._checked(planned)
            self.decided[step.id] = planned
            if planned.action is Action.KEEP:
                self.ids[step.id] = planned.object_id

    def _checked(self, planned: PlannedStep) -> PlannedStep:
        """Return a step to create with what it comes with, or as a conflict if the panel will not make it."""
        step = planned.step
        refusal = step.problem or self._abilities.refusal(step.operation, step.arguments)
        if reason := refusal or self._allowances.claim(step):
            return PlannedStep(step=step, action=Action.CONFLICT, reason=reason)
        maker = step.made_with
        is_made = maker is not None and self.decided[maker.id].action is Action.CREATE
        return attrs.evolve(planned, comes_with=maker if is_made else None)

    @property
    def new(self) -> list[PlannedStep]:
        """The steps whose object has to be created."""
        return [planned for planned in self.decided.values() if planned.action is Action.CREATE]

    def of(self, action: Action) -> list[Step]:
        """Return the steps with an action."""
        return [planned.step for planned in self.decided.values() if planned.action is action]


_ACTIONS = {
    Comparison.ABSENT: Action.CREATE,
    Comparison.SAME: Action.KEEP,
    Comparison.DIFFERENT: Action.CONFLICT,
    # Never sent by us: if it should be there, the panel refuses a second one.
    Comparison.UNKNOWN: Action.CREATE,
}


def _decide(step: Step, view: View, record: Record | None, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    """Decide on a step by what exists and what its journal knows; those it builds on are decided."""
    blocker = next((parent for parent in step.parents if decided[parent.id].action not in _READY), None)
    depends = None if blocker is None else f"depends on the {blocker.label}"
    if record is not None and record.is_settled:
        return _decide_settled(step, view, record, depends)
    if depends is not None:
        if step.id in view.unanswered:
            return PlannedStep(step=step, action=Action.UNCERTAIN, reason=f"sent by an earlier run, and {depends}")
        return PlannedStep(step=step, action=Action.BLOCKED, reason=depends)
    match = step.match(view)
    action, reason = _ACTIONS[match.comparison], match.reason
    if match.comparison is Comparison.UNKNOWN and record is not None and record.is_unanswered:
        if _is_overdue(step, record):
            reason = OVERDUE
        else:
            action = Action.UNCERTAIN
            reason = f"{reason}; runs order it again after {_ORDER_TIME}" if step.is_order else reason
    return PlannedStep(step=step, action=action, object_id=match.object_id, reason=reason, is_pending=match.is_pending)


def _decide_settled(step: Step, view: View, record: Record, depends: str | None) -> PlannedStep:
    """Decide on a step whose object existed after an earlier run; what the lists show counts more than the journal.

    Args:
        step: The step.
        view: What the panel has.
        record: What the journal knows of it.
        depends: What it builds on that is not there; None when nothing is missing.
    """
    kept = PlannedStep(
        step=step,
        action=Action.KEEP,
        object_id=record.object_id,
        reason="done by an earlier run",
        is_pending=record.is_pending,
    )
    if depends is not None:
        # Others may have changed what it builds on, and deleted it.
        blocked = PlannedStep(step=step, action=Action.BLOCKED, reason=depends)
        return kept if _is_listed(step, view, record) else blocked
    match = step.match(view)
    match match.comparison:
        case Comparison.SAME:
            return attrs.evolve(kept, object_id=match.object_id or record.object_id, is_pending=match.is_pending)
        case Comparison.ABSENT | Comparison.UNKNOWN if _is_overdue(step, record):
            what = match.reason if match.comparison is Comparison.ABSENT else None
            return PlannedStep(step=step, action=Action.CREATE, reason=what or OVERDUE)
        case Comparison.ABSENT if (
            step.is_order and match.reason is None and all(parent.id in view.ids for parent in step.parents)
        ):
            # A panel may list an order only once it is done; a second one would not make it faster.
            return kept
        case Comparison.ABSENT:
            reason = match.reason or "it existed in an earlier run and is gone"
            return PlannedStep(step=step, action=Action.CREATE, reason=reason)
        case Comparison.DIFFERENT:
            return PlannedStep(step=step, action=Action.CONFLICT, reason=match.reason)
        case Comparison.UNKNOWN:
            return kept


def _is_overdue(step: Step, record: Record) -> bool:
    """Return whether something was ordered so long ago that the order has failed if it is not there yet."""
    is_open = record.is_pending or record.is_unanswered
    return step.is_order and is_open and datetime.now(UTC) - record.at > ORDER_TIMEOUT


def _is_listed(step: Step, view: View, record: Record) -> bool:
    """Return whether the lists show the object of a record, even if its parent is gone."""
    if step.kind in _WITHIN_PARENT:
        return step.parents[0].id in view.ids and (
            step.is_order or step.match(view).comparison is not Comparison.ABSENT
        )
    return any(row.id == record.object_id for row in getattr(view.snapshot, step.listing.value))


_WITHIN_PARENT = frozenset({StepKind.DNS_RECORD, StepKind.CERTIFICATE, StepKind.DATABASE_USER})
"""Kinds that are found by what they belong to."""
