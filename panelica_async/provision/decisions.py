"""Decides what to do with each step, from what exists, what earlier runs did and what hosting plans allow.

It also remarks on what is no conflict, but may surprise an operator.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from panelica_async.core.redaction import first_few
from panelica_async.provision.journal_records import Record, State
from panelica_async.provision.manifest import Remark
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.manifest.validation import clash, may_replace
from panelica_async.provision.objects import (
    ORDER_TIMEOUT,
    Abilities,
    Allowances,
    CertificateStep,
    Comparison,
    DnsRecordStep,
    DomainStep,
    Step,
    StepKind,
    View,
    printable,
)
from panelica_async.provision.objects.snapshot import Snapshot

_MAX_NAMED: Final = 3
"""How many domains a reason names."""
_ORDER_MINUTES: Final = f"{ORDER_TIMEOUT.total_seconds() / 60:.0f} minutes"
OVERDUE: Final = f"it was ordered more than {_ORDER_MINUTES} ago, and is still not there"
"""Reason of a step that is ordered again."""
THERE_ALREADY: Final = "the object exists already: its password is not changed to the one in the manifest"
_ORDERED_AGAIN: Final = "the certificate is ordered again"
_ORDERS_NOT_LISTED: Final = (
    "the panel does not show certificate orders: a certificate that is still being issued is ordered again"
)
_OTHER_RECORD: Final = "the record is not in the manifest; it stays beside the requested ones of its name and type"
_SUSPENDED: Final = "the account or domain is suspended: the panel may refuse to create anything in it"


class Action(enum.StrEnum):
    """What a run does with a step."""

    CREATE = "create"
    KEEP = "exists"
    """Nothing: the object exists and matches."""
    CONFLICT = "conflict"
    """Nothing: something on the panel conflicts with the step."""
    BLOCKED = "blocked"
    """Nothing: the step depends on an object that will not be created, or it would create an account for no site."""
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


_READY: Final = frozenset({Action.CREATE, Action.KEEP})
"""Actions of steps that others can build on."""
_WITHIN_PARENT: Final = frozenset({StepKind.DNS_RECORD, StepKind.CERTIFICATE, StepKind.DATABASE_USER})
"""Kinds that are found by what they belong to."""


class Decisions:
    """Decides on steps one after another, each in view of those before it.

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
        """Decide on steps. Each comes after those it depends on."""
        for step in steps:
            if step.id in self.decided:
                continue
            planned = _decide(step, self._view, self._records.get(step.id), self.decided)
            if planned.action is Action.CREATE:
                planned = self._check_create(planned)
            self.decided[step.id] = planned
            if planned.action is Action.KEEP:
                self.ids[step.id] = planned.object_id

    def block_unused_accounts(self) -> None:
        """Block each account that would be created only to stay empty, as every domain of its owner conflicts."""
        domains: dict[str, list[PlannedStep]] = {}
        for planned in self.decided.values():
            if isinstance(planned.step, DomainStep):
                domains.setdefault(planned.step.account.id, []).append(planned)
        for account_id, owned in domains.items():
            account = self.decided[account_id]
            if account.action is Action.CREATE and all(domain.action is Action.CONFLICT for domain in owned):
                names = first_few([domain.step.key for domain in owned], _MAX_NAMED)
                reason = f"it would stay empty: {names} {'are' if len(owned) > 1 else 'is'} in conflict"
                self.decided[account_id] = PlannedStep(step=account.step, action=Action.BLOCKED, reason=reason)

    def _check_create(self, planned: PlannedStep) -> PlannedStep:
        """Return a step to create with the step whose call creates it, or as a conflict if the panel will refuse it."""
        step = planned.step
        refusal = step.problem or self._abilities.refusal(step.operation, step.arguments)
        if reason := refusal or self._allowances.claim(step):
            return PlannedStep(step=step, action=Action.CONFLICT, reason=reason)
        maker = step.made_with
        is_maker_new = maker is not None and self.decided[maker.id].action is Action.CREATE
        return attrs.evolve(planned, comes_with=maker if is_maker_new else None)

    def steps_with(self, action: Action) -> list[Step]:
        """Return the steps with an action."""
        return [planned.step for planned in self.decided.values() if planned.action is action]

    def remarks(self) -> Iterator[Remark]:
        """Yield remarks on what is no conflict, but may surprise an operator."""
        existing, new = self.steps_with(Action.KEEP), self.steps_with(Action.CREATE)
        # No list shows whether an object has the password in the manifest.
        yield from (Remark(step.label, THERE_ALREADY) for step in existing if step.password is not None)
        yield from _suspension_remarks(new, self._view)
        for step in new:
            if isinstance(step, DomainStep):
                yield from _domain_remarks(step, self._view)
            elif isinstance(step, CertificateStep) and step.domain.id in self.ids:
                yield from self._certificate_remarks(step)
        yield from _zone_remarks([*existing, *new], self._view)

    def _certificate_remarks(self, step: CertificateStep) -> Iterator[Remark]:
        """Yield a remark on a certificate to be ordered for an existing domain."""
        reason = self.decided[step.id].reason
        if self._view.snapshot.certificates is None and reason != OVERDUE:
            # If earlier runs created the domain, the journal shows whether they ordered a certificate for it.
            domain = self._records.get(step.domain.id)
            if domain is None or domain.state is not State.DONE:
                yield Remark(step.label, _ORDERS_NOT_LISTED)
        elif reason is not None:
            yield Remark(step.label, f"{_ORDERED_AGAIN}: {reason}")


_ACTIONS = {
    Comparison.ABSENT: Action.CREATE,
    Comparison.SAME: Action.KEEP,
    Comparison.DIFFERENT: Action.CONFLICT,
    # No run has sent it. If it exists all the same, the panel refuses a second one.
    Comparison.UNKNOWN: Action.CREATE,
}


def _decide(step: Step, view: View, record: Record | None, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    """Decide on a step from what exists and what the journal knows of it. The steps it depends on are decided."""
    blocker = next((parent for parent in step.parents if decided[parent.id].action not in _READY), None)
    dependency = None if blocker is None else f"depends on the {blocker.label}"
    if record is not None and record.is_settled:
        return _decide_settled(step, view, record, dependency)
    if dependency is not None:
        if step.id in view.unanswered:
            return PlannedStep(step=step, action=Action.UNCERTAIN, reason=f"sent by an earlier run, and {dependency}")
        return PlannedStep(step=step, action=Action.BLOCKED, reason=dependency)
    match = step.match(view)
    action, reason = _ACTIONS[match.comparison], match.reason
    if match.comparison is Comparison.UNKNOWN and record is not None and record.is_unanswered:
        if _is_overdue(step, record):
            reason = OVERDUE
        else:
            action = Action.UNCERTAIN
            reason = f"{reason}; runs order it again after {_ORDER_MINUTES}" if step.is_order else reason
    return PlannedStep(step=step, action=action, object_id=match.object_id, reason=reason, is_pending=match.is_pending)


def _decide_settled(step: Step, view: View, record: Record, dependency: str | None) -> PlannedStep:
    """Decide on a step whose object existed after an earlier run; what the lists show outweighs the journal.

    Args:
        step: The step.
        view: What the panel has.
        record: What the journal knows of it.
        dependency: Which missing object it depends on, in words; None if none is missing.
    """
    kept = PlannedStep(
        step=step,
        action=Action.KEEP,
        object_id=record.object_id,
        reason="done by an earlier run",
        is_pending=record.is_pending,
    )
    if dependency is not None:
        # Others may have changed what it depends on, and deleted it.
        blocked = PlannedStep(step=step, action=Action.BLOCKED, reason=dependency)
        return kept if _is_listed(step, view, record) else blocked
    match = step.match(view)
    match match.comparison:
        case Comparison.SAME:
            return attrs.evolve(kept, object_id=match.object_id or record.object_id, is_pending=match.is_pending)
        case Comparison.ABSENT | Comparison.UNKNOWN if _is_overdue(step, record):
            absence = match.reason if match.comparison is Comparison.ABSENT else None
            return PlannedStep(step=step, action=Action.CREATE, reason=absence or OVERDUE)
        case Comparison.ABSENT if (
            step.is_order and match.reason is None and all(parent.id in view.ids for parent in step.parents)
        ):
            # A panel may list a certificate only once it is issued; ordering it again would not speed that up.
            return kept
        case Comparison.ABSENT:
            reason = match.reason or "it existed in an earlier run and is gone"
            return PlannedStep(step=step, action=Action.CREATE, reason=reason)
        case Comparison.DIFFERENT:
            return PlannedStep(step=step, action=Action.CONFLICT, reason=match.reason)
        case Comparison.UNKNOWN:
            return kept


def _is_overdue(step: Step, record: Record) -> bool:
    """Return whether an order is so old that it must have failed if its object is not there yet."""
    was_open = record.is_pending or record.is_unanswered
    return step.is_order and was_open and datetime.now(UTC) - record.at > ORDER_TIMEOUT


def _is_listed(step: Step, view: View, record: Record) -> bool:
    """Return whether the lists show the object of a record, even if its parent is gone."""
    if step.kind in _WITHIN_PARENT:
        return step.parents[0].id in view.ids and (
            step.is_order or step.match(view).comparison is not Comparison.ABSENT
        )
    return any(row.id == record.object_id for row in getattr(view.snapshot, step.listing.value))


def _suspension_remarks(new: Iterable[Step], view: View) -> Iterator[Remark]:
    # Panels may number each kind of object for itself.
    suspended = {(StepKind.ACCOUNT, row.id) for row in view.snapshot.accounts if _is_suspended(row.status)}
    suspended |= {(StepKind.DOMAIN, row.id) for row in view.snapshot.domains if _is_suspended(row.status)}
    for parent in {parent.id: parent for step in new for parent in step.parents}.values():
        if (parent.kind, view.ids.get(parent.id)) in suspended:
            yield Remark(parent.label, _SUSPENDED)


def _is_suspended(status: str | None) -> bool:
    return (status or "").lower() == "suspended"


def _domain_remarks(step: DomainStep, view: View) -> Iterator[Remark]:
    offered_versions = view.snapshot.php_versions
    if step.php_version and offered_versions and step.php_version not in offered_versions:
        yield Remark(step.label, f"no plan of the panel offers PHP {step.php_version}")
    labels = step.site.split(".")
    for start in range(1, len(labels) - 1):
        row = view.snapshot.domains_by_name.get(".".join(labels[start:]))
        if row is not None and row.user_id is not None and row.user_id != view.ids.get(step.account.id):
            yield Remark(
                step.label, f"the domain lies within {printable(row.domain)}, which belongs to another account"
            )


def _zone_remarks(requested: Iterable[Step], view: View) -> Iterator[Remark]:
    """Yield a remark for each unrequested record that a requested one may be meant to replace."""
    steps_by_zone: dict[str, list[DnsRecordStep]] = {}
    for step in requested:
        if isinstance(step, DnsRecordStep) and (zone_id := view.ids.get(step.domain.id)) is not None:
            steps_by_zone.setdefault(zone_id, []).append(step)
    for zone_id, steps in steps_by_zone.items():
        site = steps[0].site
        requested_records = dict.fromkeys((step.record.name, step.record.type, step.record.content) for step in steps)
        for row in view.snapshot.zones.get(zone_id, ()):
            name, kind, content = identity(row.name, row.type, row.content, site)
            if (name, kind, content) in requested_records:
                continue
            replacements = (
                new_content
                for new_name, new_kind, new_content in requested_records
                if new_name == name and may_replace(name, kind, content, new_kind, new_content)
            )
            if (replacement := next(replacements, None)) is not None:
                why = clash(name, kind, content, kind, replacement)
                text = f"{_OTHER_RECORD}; {why}" if why else _OTHER_RECORD
                yield Remark(f"{site} {printable(f'{name} {kind} {content}')}", text)
