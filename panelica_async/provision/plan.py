"""The plan: what would be created, what exists and what conflicts, without a single write."""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import PermissionDeniedError, UnsupportedOperationError
from panelica_async.provision.allowances import Allowances
from panelica_async.provision.journal import Journal, Record
from panelica_async.provision.manifest import Manifest, Remark, Site
from panelica_async.provision.objects import Likeness, Step, StepKind, View, steps_of
from panelica_async.provision.remarks import remarks_on
from panelica_async.provision.snapshot import Inventory, Listing, Snapshot
from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.limit import Quota


class Verdict(enum.StrEnum):
    """What is to become of a step."""

    CREATE = "create"
    EXISTS = "exists"
    """The object is there, as wanted."""
    CONFLICT = "conflict"
    """Something on the panel conflicts with it; the step is not taken."""
    BLOCKED = "blocked"
    """The step builds on one with a conflict, and is not taken."""
    UNKNOWN = "unknown"
    """The step was sent by an earlier run, and the panel's lists cannot tell what became of it."""


@attrs.frozen(kw_only=True)
class PlannedStep:
    """A step and what is to become of it."""

    step: Step
    verdict: Verdict
    reason: str | None = None
    """In words, for conflicts and whatever else needs one."""
    object_id: str | None = None
    """Id of the object that exists, if it has one."""
    is_pending: bool = False
    """Whether the panel is still working on the object that exists, such as a certificate."""

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON-like data, without secrets."""
        step = self.step
        return {
            "kind": step.kind.value,
            "name": step.key,
            "operation": step.operation,
            "arguments": step.arguments,
            "depends_on": [parent.id for parent in step.parents],
            "verdict": self.verdict.value,
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
        steps = [step for _, site_steps in steps_of(manifest) for step in site_steps]
        for listing in _needed(manifest, steps):
            await inventory.refresh(listing)
        if any(site.php_version for site in manifest.sites) and not any(site.owner.plan for site in manifest.sites):
            # Plans tell which versions there are. The manifest does not name any, so that the key may not see them.
            with suppress(PermissionDeniedError, UnsupportedOperationError):
                await inventory.refresh(Listing.PLANS)
        await inventory.refresh_zones(_zones(cls.decide(manifest, inventory.snapshot, records)))
        return attrs.evolve(cls.decide(manifest, inventory.snapshot, records), list_calls=inventory.calls)

    @classmethod
    def decide(cls, manifest: Manifest, snapshot: Snapshot, records: Mapping[str, Record]) -> Self:
        """Decide what is to be done, given what exists and what earlier runs did.

        Args:
            manifest: What is wanted.
            snapshot: What exists.
            records: What a journal knows of each step, by id of the step.
        """
        ids: dict[str, str | None] = {}
        doubtful = {record.id for record in records.values() if record.is_doubtful}
        settled = {record.id for record in records.values() if record.is_settled}
        view = View(snapshot=snapshot, ids=ids, doubtful=doubtful, settled=settled)
        allowances = Allowances(snapshot, ids)
        decided: dict[str, PlannedStep] = {}
        sites: list[SitePlan] = []
        for site, steps in steps_of(manifest):
            for step in steps:
                if step.id not in decided:
                    planned = _decide(step, view, records.get(step.id), decided)
                    if planned.verdict is Verdict.CREATE and (reason := allowances.claim(step)):
                        planned = PlannedStep(step=step, verdict=Verdict.CONFLICT, reason=reason)
                    decided[step.id] = planned
                    if planned.verdict is Verdict.EXISTS:
                        ids[step.id] = planned.object_id
            sites.append(SitePlan(site=site, steps=tuple(decided[step.id] for step in steps)))
        existing = [planned.step for planned in decided.values() if planned.verdict is Verdict.EXISTS]
        new = [planned.step for planned in decided.values() if planned.verdict is Verdict.CREATE]
        remarks = (*manifest.remarks, *remarks_on(existing, new, ids, snapshot))
        return cls(manifest=manifest, snapshot=snapshot, sites=tuple(sites), remarks=remarks)

    def updated(self, journal: Journal) -> Self:
        """Return the plan as it is with what a journal knows, without another call."""
        plan = self.decide(self.manifest, self.snapshot, journal.records)
        return attrs.evolve(plan, list_calls=self.list_calls)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """Every step once, in the order of the sites; sites of one owner share a step."""
        unique = {planned.step.id: planned for site in self.sites for planned in site.steps}
        return tuple(unique.values())

    @property
    def counts(self) -> Mapping[StepKind, Mapping[Verdict, int]]:
        """Number of steps by kind and verdict."""
        counts: dict[StepKind, Counter[Verdict]] = {}
        for planned in self.steps:
            counts.setdefault(planned.step.kind, Counter())[planned.verdict] += 1
        return counts

    @property
    def writes(self) -> int:
        """Number of calls that are still to be made, one for each step to create."""
        return sum(planned.verdict is Verdict.CREATE for planned in self.steps)

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
        return tuple(planned for planned in self.steps if planned.verdict is Verdict.CONFLICT)

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
                kind.value: {verdict.value: count for verdict, count in verdicts.items()}
                for kind, verdicts in self.counts.items()
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


_READY = frozenset({Verdict.CREATE, Verdict.EXISTS})
"""Verdicts of steps that others can build on."""


def _decide(step: Step, view: View, record: Record | None, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    if record is not None and record.is_settled:
        return _decide_settled(step, view, record, decided)
    for parent in step.parents:
        if decided[parent.id].verdict not in _READY:
            reason = f"builds on the {parent.label}"
            if step.id in view.doubtful:
                return PlannedStep(step=step, verdict=Verdict.UNKNOWN, reason=f"sent by an earlier run, and {reason}")
            return PlannedStep(step=step, verdict=Verdict.BLOCKED, reason=reason)
    match = step.match(view)
    verdict = _VERDICTS[match.likeness]
    if match.likeness is Likeness.UNSURE and step.id in view.doubtful:
        verdict = Verdict.UNKNOWN
    return PlannedStep(
        step=step, verdict=verdict, object_id=match.object_id, reason=match.reason, is_pending=match.is_pending
    )


def _decide_settled(step: Step, view: View, record: Record, decided: Mapping[str, PlannedStep]) -> PlannedStep:
    """Decide on a step whose object was there after an earlier run: where the lists show it, they know better."""
    kept = PlannedStep(
        step=step,
        verdict=Verdict.EXISTS,
        object_id=record.object_id,
        reason="done by an earlier run",
        is_pending=record.is_pending,
    )
    for parent in step.parents:
        if decided[parent.id].verdict not in _READY:
            # Others may have changed what it builds on, and deleted it.
            is_there = _is_listed(step, view, record)
            blocked = PlannedStep(step=step, verdict=Verdict.BLOCKED, reason=f"builds on {parent.id}")
            return kept if is_there else blocked
    parents = {parent.id for parent in step.parents}
    match = step.match(view)
    match match.likeness:
        case Likeness.EQUAL:
            return attrs.evolve(kept, object_id=match.object_id or record.object_id, is_pending=match.is_pending)
        case Likeness.ABSENT if step.is_order and match.reason is None and parents <= view.ids.keys():
            # A panel may list an order only once it is done; a second one would not make it faster.
            return kept
        case Likeness.ABSENT:
            reason = match.reason or "an earlier run found it there, and it is gone"
            return PlannedStep(step=step, verdict=Verdict.CREATE, reason=reason)
        case Likeness.DIFFERENT:
            return PlannedStep(step=step, verdict=Verdict.CONFLICT, reason=match.reason)
        case Likeness.UNSURE:
            return kept


def _is_listed(step: Step, view: View, record: Record) -> bool:
    """Return whether the lists show the object of a record, whatever became of what it builds on."""
    if step.kind in _WITHIN_PARENT:
        return step.parents[0].id in view.ids and (step.is_order or step.match(view).likeness is not Likeness.ABSENT)
    return any(row.id == record.object_id for row in getattr(view.snapshot, step.listing.value))


_WITHIN_PARENT = frozenset({StepKind.DNS_RECORD, StepKind.CERTIFICATE, StepKind.DATABASE_USER})
"""Kinds that are found by what they belong to."""


_VERDICTS = {
    Likeness.ABSENT: Verdict.CREATE,
    Likeness.EQUAL: Verdict.EXISTS,
    Likeness.DIFFERENT: Verdict.CONFLICT,
    # Never sent by us: if it should be there, the panel refuses a second one.
    Likeness.UNSURE: Verdict.CREATE,
}


def _needed(manifest: Manifest, steps: Iterable[Step]) -> list[Listing]:
    """Return the lists that show whether the objects of the steps exist, accounts first."""
    listings = {step.listing for step in steps} - {Listing.ZONES}
    if any(site.owner.plan for site in manifest.sites):
        listings.add(Listing.PLANS)
    return [listing for listing in Listing if listing in listings]


def _zones(plan: Plan) -> Iterator[str]:
    """Yield the zones that exist and are to get records."""
    ids = {planned.step.id: planned.object_id for planned in plan.steps if planned.verdict is Verdict.EXISTS}
    wanted = {ids.get(planned.step.parents[0].id) for planned in plan.steps if planned.step.listing is Listing.ZONES}
    yield from sorted(zone_id for zone_id in wanted if zone_id is not None)
