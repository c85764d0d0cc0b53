"""Decides what to do with each step: by what is requested, what exists, what earlier runs did, and what plans allow."""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from panelica_async.models.plans import Plan as HostingPlan
from panelica_async.provision.journal_records import Record
from panelica_async.provision.manifest.fields import as_wanted, php_version
from panelica_async.provision.objects import (
    ORDER_TIMEOUT,
    Abilities,
    AccountStep,
    Comparison,
    DomainStep,
    Step,
    StepKind,
    View,
    find_plans,
    shown,
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
        self._allowances = _Allowances(snapshot, self.ids)
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

_LIMITS: Mapping[StepKind, str] = {
    StepKind.DOMAIN: "max_domains",
    StepKind.DATABASE: "max_databases",
    StepKind.MAILBOX: "max_email_accounts",
    StepKind.FTP_USER: "max_ftp_accounts",
}
"""Kinds that a plan limits, with the field of the plan."""
_VERSIONS = 20
"""How many PHP versions a reason names."""


class _Allowances:
    """Checks objects to be created against the plans of their accounts, in the order they are created.

    Only what the lists show is counted, so that an account may have less room than is known, never more.
    A plan that is not known, or a limit that it does not show, allows everything.

    Args:
        snapshot: What exists.
        ids: Object ids of the steps whose object exists, by id of the step; may grow.
    """

    def __init__(self, snapshot: Snapshot, ids: Mapping[str, str | None]) -> None:
        self._snapshot = snapshot
        self._ids = ids
        self._used = Counter(_objects_of_accounts(snapshot))
        """Objects that exist, by id of the account and kind."""
        self._wanted: Counter[tuple[str, StepKind]] = Counter()
        """Objects to be created, by the account's step and kind."""
        self._plans: dict[str, HostingPlan | None] = {}
        """Plans of accounts as far as they were asked for, by the account's step."""

    def claim(self, step: Step) -> str | None:
        """Count an object to create, unless its account may not have it.

        Returns:
            Why the account may not have it, or None when it is counted.
        """
        account = next((parent for parent in step.parents if isinstance(parent, AccountStep)), None)
        plan = self._plan_of(account) if account is not None else None
        if account is None or plan is None:
            return None
        if isinstance(step, DomainStep) and not _offers(plan, step.php_version):
            versions = ", ".join(map(shown, (plan.php_versions or [])[:_VERSIONS]))
            return f"the plan {shown(plan.name)} offers PHP {versions}, not {step.php_version}"
        if step.kind not in _LIMITS:
            return None
        limit: int | None = getattr(plan, _LIMITS[step.kind])
        used = self._wanted[account.id, step.kind] + self._used[self._ids.get(account.id) or "", step.kind]
        # -1 is unlimited (evidence: plans-unlimited). Guess: so are other negative numbers; 0 is none, as for cron.
        if limit is not None and 0 <= limit <= used:
            taken = ", and all of them are taken" if limit else ""
            return f"the plan {shown(plan.name)} allows {account.key!r} {limit or 'no'} {step.kind.plural}{taken}"
        self._wanted[account.id, step.kind] += 1
        return None

    def _plan_of(self, account: AccountStep) -> HostingPlan | None:
        """Return the plan that an account has or will get, if it is known."""
        if account.id not in self._plans:
            self._plans[account.id] = self._find_plan(account)
        return self._plans[account.id]

    def _find_plan(self, account: AccountStep) -> HostingPlan | None:
        row = self._snapshot.accounts_by_id.get(self._ids.get(account.id) or "")
        name_or_id = account.owner.plan if row is None else row.plan_id or row.plan_name
        plans = find_plans(name_or_id, self._snapshot) if name_or_id else ()
        return plans[0] if len(plans) == 1 else None


def _offers(plan: HostingPlan, version: str | None) -> bool:
    offered = [as_wanted(php_version, each) for each in plan.php_versions or ()]
    return not version or not offered or version in offered


def _objects_of_accounts(snapshot: Snapshot) -> Iterator[tuple[str, StepKind]]:
    """Yield the account and the kind of each object that exists and whose account is known."""
    owners = {domain.id: domain.user_id for domain in snapshot.domains}
    names = {name: domain.user_id for name, domain in snapshot.domains_by_name.items()}
    found: list[tuple[str | None, StepKind]] = [(owner, StepKind.DOMAIN) for owner in owners.values()]
    # Current panels list a database once for each of its users (evidence: databases-list).
    databases = {
        (row.type, row.name.lower()): row.user_id or owners.get(row.domain_id or "") for row in snapshot.databases
    }
    found += [(owner, StepKind.DATABASE) for owner in databases.values()]
    for address, mailbox in snapshot.mailboxes_by_address.items():
        domain = address.rpartition("@")[2]
        found.append((owners.get(mailbox.domain_id or "") or names.get(domain), StepKind.MAILBOX))
    found += [(user.user_id or owners.get(user.domain_id or ""), StepKind.FTP_USER) for user in snapshot.ftp_users]
    yield from ((owner, kind) for owner, kind in found if owner is not None)
