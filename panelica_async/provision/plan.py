"""The plan: what would be created, what exists and what conflicts, without a single write."""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import PermissionDeniedError, UnsupportedOperationError
from panelica_async.provision.allowances import Allowances
from panelica_async.provision.journal import Journal, Record
from panelica_async.provision.manifest import Manifest, Remark, Site
from panelica_async.provision.objects import Comparison, SiteSteps, Step, StepKind, View, steps_of
from panelica_async.provision.remarks import remarks_on
from panelica_async.provision.snapshot import Inventory, Listing, Snapshot
from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.limit import Quota


class Action(enum.StrEnum):
    """What a run does with a step."""

    CREATE = "create"
    KEEP = "exists"
    """Nothing: the object is there, as wanted."""
    CONFLICT = "conflict"
    """Nothing: something on the panel conflicts with the step."""
    BLOCKED = "blocked"
    """Nothing: the step builds on one that is not there and is not created."""
    UNCERTAIN = "unknown"
    """Nothing: an earlier run sent the step, and the panel's lists cannot tell whether the object is there."""
    # Names of earlier versions.
    EXISTS = "exists"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class PlannedStep:
    """A step and what a run does with it."""

    step: Step
    action: Action
    reason: str | None = None
    """In words, for conflicts and whatever else needs one."""
    object_id: str | None = None
    """Id of the object that exists, if it has one."""
    is_pending: bool = False
    """Whether the panel is still working on the object that exists, such as a certificate."""

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
            "operation": step.operation,
            "arguments": step.arguments,
            "depends_on": [parent.id for parent in step.parents],
            "verdict": self.action.value,
            "reason": self.reason,
            "pending": self.is_pending,
        }


@attrs.frozen(kw_only=True)
class SitePlan:
    """The steps of one site, in the order they are taken."""

    site: Site
    steps: tuple[PlannedStep, ...]


@attrs.frozen(kw_only=True)
class Plan:
    """What applying a manifest would do. Making one only reads; it holds no secrets but those of its manifest."""

    manifest: Manifest
    snapshot: Snapshot = attrs.field(repr=False)
    """What the panel had when the plan was made."""
    sites: tuple[SitePlan, ...] = attrs.field(repr=False)
    """The sites in the order of the manifest."""
    remarks: tuple[Remark, ...] = ()
    """What is no problem, but worth knowing: of the manifest, then of what it meets on the panel."""
    list_calls: int = 0
    """Number of calls it took to make the plan."""
    records: Mapping[str, Record] = attrs.field(factory=dict[str, Record], repr=False)
    """What a journal knew of each step when the plan was made, by id of the step."""

    @classmethod
    async def build(cls, panel: PanelicaClient, manifest: Manifest, *, journal: Journal | None = None) -> Self:
        """Read what exists and decide what is to be done.

        Only lists are read, each once, and only those the manifest needs: of DNS records, one list for each domain
        that exists and is to get records; of hosting plans, if it names any or asks for a PHP version.

        Args:
            panel: The panel; the key needs the read scopes of what the manifest asks for.
            manifest: What is wanted.
            journal: Journal of earlier runs of the same manifest.

        Raises:
            PanelicaError: A list could not be read.
        """
        records: Mapping[str, Record] = journal.records if journal else {}
        inventory = Inventory(panel)
        steps = steps_of(manifest)
        for listing in _needed(manifest, steps):
            await inventory.refresh(listing)
        if any(site.php_version for site in manifest.sites) and not any(site.owner.plan for site in manifest.sites):
            # Plans tell which versions there are. The manifest does not name any, so that the key may not see them.
            with suppress(PermissionDeniedError, UnsupportedOperationError):
                await inventory.refresh(Listing.PLANS)
        await inventory.refresh_zones(_zones(steps, inventory.snapshot, records))
        plan = cls.decide(manifest, inventory.snapshot, records, steps)
        return attrs.evolve(plan, list_calls=inventory.calls)

    @classmethod
    def decide(
        cls,
        manifest: Manifest,
        snapshot: Snapshot,
        records: Mapping[str, Record],
        steps: SiteSteps | None = None,
    ) -> Self:
        """Decide what is to be done, from what is wanted, what exists and what earlier runs did.

        Args:
            manifest: What is wanted.
            snapshot: What exists.
            records: What a journal knows of each step, by id of the step.
            steps: The steps of the manifest, if they are known already.
        """
        steps = steps_of(manifest) if steps is None else steps
        decisions = _Decisions(snapshot, records)
        for _, site_steps in steps:
            decisions.add(site_steps)
        decided = decisions.decided
        return cls(
            manifest=manifest,
            snapshot=snapshot,
            sites=tuple(
                SitePlan(site=site, steps=tuple(decided[step.id] for step in site_steps)) for site, site_steps in steps
            ),
            remarks=(
                *manifest.remarks,
                *remarks_on(decisions.of(Action.KEEP), decisions.of(Action.CREATE), decisions.ids, snapshot),
            ),
            records=dict(records),
        )

    def updated(self, journal: Journal) -> Self:
        """Return the plan as it is with what a journal knows, without another call."""
        if self.records == journal.records:
            return self
        steps = [(site.site, tuple(planned.step for planned in site.steps)) for site in self.sites]
        plan = self.decide(self.manifest, self.snapshot, journal.records, steps)
        return attrs.evolve(plan, list_calls=self.list_calls)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """Every step once, in the order of the sites; sites of one owner share a step."""
        unique = {planned.step.id: planned for site in self.sites for planned in site.steps}
        return tuple(unique.values())

    @property
    def counts(self) -> Mapping[StepKind, Mapping[Action, int]]:
        """Number of steps by kind and action."""
        counts: dict[StepKind, Counter[Action]] = {}
        for planned in self.steps:
            counts.setdefault(planned.step.kind, Counter())[planned.action] += 1
        return counts

    @property
    def writes(self) -> int:
        """Number of calls that are still to be made, one for each step to create."""
        return sum(planned.action is Action.CREATE for planned in self.steps)

    @property
    def calls(self) -> int:
        """Number of calls altogether: the lists that were read, and the writes to come."""
        return self.list_calls + self.writes

    @property
    def pending(self) -> tuple[PlannedStep, ...]:
        """Steps whose object exists and that the panel is still working on."""
        return tuple(planned for planned in self.steps if planned.is_pending)

    @property
    def conflicts(self) -> tuple[PlannedStep, ...]:
        """Steps that something on the panel conflicts with."""
        return tuple(planned for planned in self.steps if planned.action is Action.CONFLICT)

    def estimate(self, limit: RateLimit) -> timedelta:
        """Return how long the writes take at least under a rate limit, when nothing else uses the key.

        Args:
            limit: The limit, such as `RateLimit.for_tier("professional")`.
        """
        quota = Quota(limit)
        now = 0.0
        for _ in range(self.writes):
            now = quota.ready_at(now, leave_reserve=True)
            quota.take(now)
        return timedelta(seconds=now)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-like data, without secrets."""
        return {
            "manifest": str(self.manifest.source) if self.manifest.source else None,
            "digest": self.manifest.digest,
            "calls": {"lists": self.list_calls, "writes": self.writes},
            "counts": {
                kind.value: {action.value: count for action, count in actions.items()}
                for kind, actions in self.counts.items()
            },
            "remarks": [remark.to_dict() for remark in self.remarks],
            "sites": [
                {
                    "domain": site.site.domain,
                    "line": site.site.line,
                    "owner": site.site.owner.username,
                    "steps": [planned.to_dict() for planned in site.steps],
                }
                for site in self.sites
            ],
        }


_READY = frozenset({Action.CREATE, Action.KEEP})
"""Actions of steps that others can build on."""


class _Decisions:
    """Decides on steps one after another, each with those before it.

    Attributes:
        decided: The steps that were added, by their id.
        ids: Object ids of the steps whose object exists, by id of the step.
    """

    def __init__(self, snapshot: Snapshot, records: Mapping[str, Record]) -> None:
        self.decided: dict[str, PlannedStep] = {}
        self.ids: dict[str, str | None] = {}
        self._records = records
        self._allowances = Allowances(snapshot, self.ids)
        self._view = View(
            snapshot=snapshot,
            ids=self.ids,
            unanswered={record.id for record in records.values() if record.is_unanswered},
            settled={record.id for record in records.values() if record.is_settled},
        )

    def add(self, steps: Iterable[Step]) -> None:
        """Decide on steps; those they build on come first."""
        for step in steps:
            if step.id in self.decided:
                continue
            planned = _decide(step, self._view, self._records.get(step.id), self.decided)
            if planned.action is Action.CREATE and (reason := self._allowances.claim(step)):
                planned = PlannedStep(step=step, action=Action.CONFLICT, reason=reason)
            self.decided[step.id] = planned
            if planned.action is Action.KEEP:
                self.ids[step.id] = planned.object_id

    def of(self, action: Action) -> list[Step]:
        """Return the steps with an action."""
        return [planned.step for planned in self.decided.values() if planned.action is action]


def _decide(step: Step, view: View, record: Record | None, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    if record is not None and record.is_settled:
        return _decide_settled(step, view, record, decided)
    for parent in step.parents:
        if decided[parent.id].action not in _READY:
            reason = f"depends on the {parent.label}"
            if step.id in view.unanswered:
                return PlannedStep(step=step, action=Action.UNCERTAIN, reason=f"sent by an earlier run, and {reason}")
            return PlannedStep(step=step, action=Action.BLOCKED, reason=reason)
    match = step.match(view)
    action = _ACTIONS[match.comparison]
    if match.comparison is Comparison.UNKNOWN and step.id in view.unanswered:
        action = Action.UNCERTAIN
    return PlannedStep(
        step=step, action=action, object_id=match.object_id, reason=match.reason, is_pending=match.is_pending
    )


def _decide_settled(step: Step, view: View, record: Record, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    """Decide on a step whose object was there after an earlier run: where the lists show it, they know better."""
    kept = PlannedStep(
        step=step,
        action=Action.KEEP,
        object_id=record.object_id,
        reason="done by an earlier run",
        is_pending=record.is_pending,
    )
    for parent in step.parents:
        if decided[parent.id].action not in _READY:
            # Others may have changed what it builds on, and deleted it.
            is_there = _is_listed(step, view, record)
            blocked = PlannedStep(step=step, action=Action.BLOCKED, reason=f"depends on the {parent.label}")
            return kept if is_there else blocked
    parents = {parent.id for parent in step.parents}
    match = step.match(view)
    match match.comparison:
        case Comparison.SAME:
            return attrs.evolve(kept, object_id=match.object_id or record.object_id, is_pending=match.is_pending)
        case Comparison.ABSENT if step.is_order and match.reason is None and parents <= view.ids.keys():
            # A panel may list an order only once it is done; a second one would not make it faster.
            return kept
        case Comparison.ABSENT:
            reason = match.reason or "it existed in an earlier run and is gone"
            return PlannedStep(step=step, action=Action.CREATE, reason=reason)
        case Comparison.DIFFERENT:
            return PlannedStep(step=step, action=Action.CONFLICT, reason=match.reason)
        case Comparison.UNKNOWN:
            return kept


def _is_listed(step: Step, view: View, record: Record) -> bool:
    """Return whether the lists show the object of a record, whatever became of what it builds on."""
    if step.kind in _WITHIN_PARENT:
        return step.parents[0].id in view.ids and (
            step.is_order or step.match(view).comparison is not Comparison.ABSENT
        )
    return any(row.id == record.object_id for row in getattr(view.snapshot, step.listing.value))


_WITHIN_PARENT = frozenset({StepKind.DNS_RECORD, StepKind.CERTIFICATE, StepKind.DATABASE_USER})
"""Kinds that are found by what they belong to."""


_ACTIONS = {
    Comparison.ABSENT: Action.CREATE,
    Comparison.SAME: Action.KEEP,
    Comparison.DIFFERENT: Action.CONFLICT,
    # Never sent by us: if it should be there, the panel refuses a second one.
    Comparison.UNKNOWN: Action.CREATE,
}


def _needed(manifest: Manifest, steps: SiteSteps) -> list[Listing]:
    """Return the lists that show whether the objects of the steps exist, accounts first."""
    listings = {step.listing for _, site_steps in steps for step in site_steps} - {Listing.ZONES}
    if any(site.owner.plan for site in manifest.sites):
        listings.add(Listing.PLANS)
    return [listing for listing in Listing if listing in listings]


def _zones(steps: SiteSteps, snapshot: Snapshot, records: Mapping[str, Record]) -> list[str]:
    """Return the zones that exist and are to get records: those of domains that are kept."""
    decisions = _Decisions(snapshot, records)
    for site, (account, domain, *_) in steps:
        if site.dns:
            decisions.add((account, domain))
    return sorted(zone_id for step in decisions.of(Action.KEEP) if (zone_id := _zone_of(step, decisions.ids)))


def _zone_of(step: Step, ids: Mapping[str, str | None]) -> str | None:
    """Return the zone of a domain, which has its id."""
    return ids[step.id] if step.kind is StepKind.DOMAIN else None
