"""The results of a run and an undo: outcomes of sites and steps, removals, progress events, and what errors mean."""

import enum
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import attrs

from panelica_async.core.redaction import shorten
from panelica_async.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    OutcomeUnknownError,
    PanelicaError,
    RateLimitedError,
    RateLimitWaitError,
    ResponseError,
    ServerError,
)
from panelica_async.provision.decisions import Action, PlannedStep
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import NOT_SENT, Record, State
from panelica_async.provision.objects import Match, Step
from panelica_async.provision.plan import Plan

FATAL: Final = (AuthenticationError, ConfigurationError, ConnectError, RateLimitedError, RateLimitWaitError)
"""Errors that every further call would meet too."""
_MESSAGE_LENGTH: Final = 300
_UNCERTAIN_HINT: Final = "Check in the panel whether it exists; `resume` checks again."


class StepStatus(enum.StrEnum):
    """What became of a step in this run."""

    CREATED = "created"
    EXISTS = "exists"
    """The object existed already and matches: an earlier run or others created it."""
    CONFLICT = "conflict"
    """Something on the panel conflicts with it; nothing was sent."""
    FAILED = "failed"
    """The panel refused."""
    UNKNOWN = "unknown"
    """The call was sent, and it could not be determined whether the object exists."""
    SKIPPED = "skipped"
    """Nothing was sent, because of another step or because the run was stopped."""


class SiteStatus(enum.StrEnum):
    """What became of a site in this run."""

    DONE = "done"
    """Everything exists, and this run created at least one object."""
    EXISTS = "exists"
    """Everything existed already."""
    FAILED = "failed"
    """Something is missing, and the reason says why."""
    UNKNOWN = "unknown"
    """It could not be determined whether at least one object exists."""
    SKIPPED = "skipped"
    """The run was stopped before the site was complete; `resume` continues it."""


@attrs.frozen(kw_only=True)
class StepOutcome:
    """What became of one step."""

    step: Step
    status: StepStatus
    object_id: str | None = None
    """Id of the object, if it exists and has one."""
    reason: str | None = None
    """In words, unless the object was simply created or existed."""
    hint: str | None = None
    """What to do about it, if there is something to say."""
    code: str | None = None
    """Machine-readable code of the panel's error."""
    request_id: str | None = None
    """Id of the failed request, to quote to the panel's support."""
    calls: int = 0
    """Writes sent for it in this run."""
    is_pending: bool = False
    """Whether the object exists and the panel is still working on it, such as a certificate that was ordered."""
    remark: str | None = None
    """What an operator should know about an existing object."""

    @classmethod
    def existing(
        cls,
        step: Step,
        match: Match,
        reason: str | None,
        *,
        status: StepStatus = StepStatus.EXISTS,
        remark: str | None = None,
        hint: str | None = None,
    ) -> "StepOutcome":
        """Return the outcome of a step whose object exists."""
        return cls(
            step=step,
            status=status,
            object_id=match.object_id,
            reason=reason,
            hint=hint,
            is_pending=match.is_pending,
            remark=remark,
        )

    @classmethod
    def uncertain(cls, step: Step, reason: str | None, *, calls: int = 0) -> "StepOutcome":
        """Return the outcome of a step that was sent, and whose object may exist."""
        return cls(step=step, status=StepStatus.UNKNOWN, reason=reason, hint=_UNCERTAIN_HINT, calls=calls)

    @classmethod
    def failed(cls, step: Step, error: PanelicaError, details: str | None = None) -> "StepOutcome":
        """Return the outcome of a step that the panel refused, with what a look-up of its object found."""
        return cls(
            step=step,
            status=StepStatus.FAILED,
            reason=reason_of(error) if details is None else f"{reason_of(error)}; {details}",
            hint=error.hint,
            code=error.code if isinstance(error, ResponseError) else None,
            request_id=error.request_id if isinstance(error, ResponseError) else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-like data, without secrets."""
        values = attrs.asdict(self, filter=lambda attribute, _: attribute.name not in {"step", "is_pending"})
        return {"kind": self.step.kind.value, "name": self.step.key} | values | {"pending": self.is_pending}


@attrs.frozen(kw_only=True)
class SiteOutcome:
    """What became of one site."""

    domain: str
    status: SiteStatus
    steps: tuple[StepOutcome, ...] = attrs.field(repr=False)
    """The steps that were executed, in order; a shared account appears with each of its sites."""
    reason: str | None = None
    """In words, for sites that failed, are uncertain or were skipped."""
    hint: str | None = None
    """What to do about it, if there is something to say."""

    @property
    def calls(self) -> int:
        """Writes sent for it in this run."""
        return sum(step.calls for step in self.steps)

    @classmethod
    def of(cls, domain: str, steps: Sequence[StepOutcome], *, stopped: str | None = None) -> "SiteOutcome":
        """Sum up the outcomes of a site's steps.

        Args:
            domain: The domain.
            steps: What became of its steps.
            stopped: Why the remaining steps were not executed; None if all were.
        """
        statuses = {step.status for step in steps}
        if StepStatus.UNKNOWN in statuses:
            status, worst = SiteStatus.UNKNOWN, {StepStatus.UNKNOWN}
        elif statuses & {StepStatus.FAILED, StepStatus.CONFLICT}:
            status, worst = SiteStatus.FAILED, {StepStatus.FAILED, StepStatus.CONFLICT}
        elif stopped is not None:
            return cls(domain=domain, status=SiteStatus.SKIPPED, steps=tuple(steps), reason=stopped)
        else:
            status = SiteStatus.DONE if StepStatus.CREATED in statuses else SiteStatus.EXISTS
            return cls(domain=domain, status=status, steps=tuple(steps))
        first, *others = [step for step in steps if step.status in worst]
        more = f" (and {len(others)} more)" if others else ""
        reason = f"{first.step.label}: {first.reason}{more}"
        return cls(domain=domain, status=status, steps=tuple(steps), reason=reason, hint=first.hint)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-like data, without secrets."""
        return {
            "domain": self.domain,
            "status": self.status.value,
            "reason": self.reason,
            "hint": self.hint,
            "calls": self.calls,
            "steps": [step.to_dict() for step in self.steps],
        }


def remaining_outcomes(plan: Plan, outcomes: Iterable[SiteOutcome], journal: Journal) -> list[SiteOutcome]:
    """Return outcomes for the sites that have none because the run was aborted, from what the journal knows.

    Args:
        plan: The plan that was applied.
        outcomes: What the run yielded.
        journal: Its journal.
    """
    domains_with_outcome = {outcome.domain for outcome in outcomes}
    run = len(journal.runs)
    remaining: list[SiteOutcome] = []
    for site in plan.sites:
        if site.site.domain not in domains_with_outcome:
            noted = (_outcome_from_journal(step, journal.records.get(step.step.id), run) for step in site.steps)
            steps = [outcome for outcome in noted if outcome is not None]
            remaining.append(SiteOutcome.of(site.site.domain, steps, stopped="the run was aborted"))
    return remaining


def _outcome_from_journal(planned: PlannedStep, record: Record | None, run: int) -> StepOutcome | None:
    """Return the outcome of a step as the journal knows it; None if this run did not come to the step."""
    step = planned.step
    if record is not None and record.is_unanswered:
        reason = record.reason or "sent, and the run was aborted before the reply"
        return StepOutcome.uncertain(step, reason)
    if planned.action is Action.KEEP:
        return StepOutcome(step=step, status=StepStatus.EXISTS, object_id=planned.object_id, reason=planned.reason)
    if record is None or record.run != run or record.reason == NOT_SENT:
        return None
    if record.state is State.FAILED:
        return StepOutcome(
            step=step,
            status=StepStatus.FAILED,
            reason=record.reason,
            code=record.code,
            request_id=record.request_id,
            calls=1,
        )
    if record.is_in_conflict:
        return StepOutcome(step=step, status=StepStatus.CONFLICT, reason=record.reason)
    status = StepStatus.CREATED if record.state is State.DONE else StepStatus.EXISTS
    return StepOutcome(step=step, status=status, object_id=record.object_id, reason=record.reason, calls=1)


class RemovalStatus(enum.StrEnum):
    """Result of the removal of an object."""

    REMOVED = "removed"
    """It is gone: deleted itself, or along with its parent."""
    KEPT = "kept"
    """It was left alone, because it holds what the journal's runs did not create, or cannot be deleted by the API."""
    FAILED = "failed"
    """The panel refused, or it is still there."""
    UNCERTAIN = "uncertain"
    """It was left alone: it is uncertain whether the journal's runs created it, or are still creating it."""
    SKIPPED = "skipped"
    """Its deletion was not sent, or not sent again, because undo was stopped."""


@attrs.frozen(kw_only=True)
class Removal:
    """Result of the removal of one object."""

    record: Record
    """What the journal knows of it."""
    status: RemovalStatus
    reason: str | None = None
    """In words, for what is left over."""
    hint: str | None = None
    """What to do about it, if there is something to say."""


@attrs.frozen(kw_only=True)
class Event:
    """Something happened in a run. Sent after each call and after each site."""

    sites_done: int
    """Sites that have an outcome."""
    sites_total: int
    """Sites of the plan."""
    calls_done: int
    """Calls made so far, with the lists that were read for the plan."""
    calls_expected: int
    """Calls in total, as known now."""
    step: StepOutcome | None = None
    """The step that was executed, if the event is about one."""
    site: SiteOutcome | None = None
    """The site that is complete now, if the event is about one."""


class Progress:
    """Counts calls and sites of a run, and reports them to its caller as events."""

    def __init__(self, plan: Plan, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._sites_done = 0
        self._sites_total = len(plan.sites)
        self._calls_done = plan.list_calls
        self._calls_expected = plan.calls

    def list_called(self) -> None:
        """Count a list call, which no plan includes."""
        self._calls_done += 1
        self._calls_expected += 1
        self._report()

    def step_done(self, planned: PlannedStep, outcome: StepOutcome) -> None:
        """Count the calls of a step."""
        self._calls_done += outcome.calls
        self._calls_expected += outcome.calls - planned.writes
        self._report(step=outcome)

    def site_done(self, outcome: SiteOutcome) -> None:
        """Count a site."""
        self._sites_done += 1
        self._report(site=outcome)

    def _report(self, *, step: StepOutcome | None = None, site: SiteOutcome | None = None) -> None:
        if self._on_event is None:
            return
        self._on_event(
            Event(
                sites_done=self._sites_done,
                sites_total=self._sites_total,
                calls_done=self._calls_done,
                calls_expected=self._calls_expected,
                step=step,
                site=site,
            )
        )


def reason_of(error: PanelicaError) -> str:
    """Return what an error says, in one short sentence without the request it belongs to.

    Details are included only if the panel sent them, not a web page in its place.
    """
    message = shorten(error.message, _MESSAGE_LENGTH)
    details = error.details if isinstance(error, ResponseError) and error.from_panel else None
    if isinstance(details, str) and details and details not in error.message:
        return f"{message} ({shorten(details)})"
    return message


def may_have_run(error: PanelicaError) -> bool:
    """Return whether a create may have been carried out despite its error.

    Only a refusal in the panel's own form says that it was not: a web page may replace any reply, and a 408, a 429 or
    a 5xx leaves open whether the work was done. A call that the client itself refused was never sent.
    """
    if isinstance(error, ResponseError) and error.attempts:
        leaves_open = isinstance(error, ServerError | RateLimitedError) or error.status == HTTPStatus.REQUEST_TIMEOUT
        return leaves_open or not error.from_panel
    return isinstance(error, OutcomeUnknownError | DecodeError)
