"""The plan: what would be created, what exists and what conflicts, without a single write."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import PermissionDeniedError, UnsupportedOperationError
from panelica_async.provision.abilities import REFERENCE, Abilities
from panelica_async.provision.decisions import Action, Decisions, PlannedStep
from panelica_async.provision.journal import Journal, Record
from panelica_async.provision.manifest import Manifest, Remark, Site
from panelica_async.provision.objects import SiteSteps, StepKind, steps_of
from panelica_async.provision.remarks import remarks_on
from panelica_async.provision.snapshot import Inventory, Listing, Snapshot
from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.limit import Quota


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
    """What a journal knew of the plan's steps when the plan was made, by id of the step."""
    abilities: Abilities = attrs.field(default=REFERENCE, repr=False)
    """What the panel can do."""

    @classmethod
    async def build(cls, panel: PanelicaClient, manifest: Manifest, *, journal: Journal | None = None) -> Self:
        """Read what exists and decide what is to be done.

        Only lists are read, each once, and only those the manifest needs: of DNS records, one list for each domain
        that exists and is to get records; of hosting plans, if it names any or asks for a PHP version. Where there is
        no list of certificates, each domain is asked that exists, is to get one, and is not known to have it.

        Args:
            panel: The panel; the key needs the read scopes of what the manifest asks for.
            manifest: What is wanted.
            journal: Journal of earlier runs of the same manifest.

        Raises:
            PanelicaError: A list could not be read.
        """
        abilities = await Abilities.of(panel)
        inventory = Inventory(panel)
        steps = steps_of(manifest, abilities)
        for listing in _needed(manifest, steps):
            await inventory.refresh(listing)
        if any(site.php_version for site in manifest.sites) and not any(site.owner.plan for site in manifest.sites):
            # Plans tell which versions there are. The manifest does not name any, so that the key may not see them.
            with suppress(PermissionDeniedError, UnsupportedOperationError):
                await inventory.refresh(Listing.PLANS)
        records = _known(steps, journal.records if journal else {})
        there = _domains_there(steps, inventory.snapshot, records)
        await inventory.refresh_each(
            Listing.ZONES, sorted(there[site.domain] for site, _ in steps if site.dns and site.domain in there)
        )
        if inventory.snapshot.certificates is None:
            await inventory.refresh_each(
                Listing.CERTIFICATES, _not_known_to_be_secured(steps, there, inventory.snapshot, records)
            )
        plan = cls.decide(manifest, inventory.snapshot, records, steps, abilities)
        return attrs.evolve(plan, list_calls=inventory.calls)

    @classmethod
    def decide(
        cls,
        manifest: Manifest,
        snapshot: Snapshot,
        records: Mapping[str, Record],
        steps: SiteSteps | None = None,
        abilities: Abilities = REFERENCE,
    ) -> Self:
        """Decide what is to be done, from what is wanted, what exists and what earlier runs did.

        Args:
            manifest: What is wanted.
            snapshot: What exists.
            records: What a journal knows of each step, by id of the step.
            steps: The steps of the manifest, if they are known already.
            abilities: What the panel can do.
        """
        steps = steps_of(manifest, abilities) if steps is None else steps
        records = _known(steps, records)
        decisions = Decisions(snapshot, records, abilities)
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
                *remarks_on(decisions.of(Action.KEEP), decisions.new, decisions.ids, snapshot),
            ),
            records=records,
            abilities=abilities,
        )

    def updated(self, journal: Journal) -> Self:
        """Return the plan as it is with what a journal knows, without another call."""
        steps = [(site.site, tuple(planned.step for planned in site.steps)) for site in self.sites]
        if self.records == _known(steps, journal.records):
            return self
        plan = self.decide(self.manifest, self.snapshot, journal.records, steps, self.abilities)
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
    def new(self) -> tuple[PlannedStep, ...]:
        """Steps whose object is still to be created."""
        return tuple(planned for planned in self.steps if planned.action is Action.CREATE)

    @property
    def writes(self) -> int:
        """Number of calls that are still to be made, one for each object to create that does not come with another."""
        return sum(planned.writes for planned in self.new)

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


def _known(steps: SiteSteps, records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the records of steps, which may be few of those in a journal."""
    ids = {step.id for _, site_steps in steps for step in site_steps}
    return {step_id: records[step_id] for step_id in sorted(ids) if step_id in records}


def _needed(manifest: Manifest, steps: SiteSteps) -> list[Listing]:
    """Return the lists that show whether the objects of the steps exist, accounts first."""
    listings = {step.listing for _, site_steps in steps for step in site_steps} - {Listing.ZONES}
    if any(site.owner.plan for site in manifest.sites):
        listings.add(Listing.PLANS)
    return [listing for listing in Listing if listing in listings]


def _domains_there(steps: SiteSteps, snapshot: Snapshot, records: Mapping[str, Record]) -> dict[str, str]:
    """Return the ids of the domains that exist and are kept, by name."""
    decisions = Decisions(snapshot, records, REFERENCE)
    for _, (account, domain, *_) in steps:
        decisions.add((account, domain))
    kept = ((step.site, decisions.ids[step.id]) for step in decisions.of(Action.KEEP) if step.kind is StepKind.DOMAIN)
    return {name: domain_id for name, domain_id in kept if domain_id}


def _not_known_to_be_secured(
    steps: SiteSteps, there: Mapping[str, str], snapshot: Snapshot, records: Mapping[str, Record]
) -> list[str]:
    """Return the ids of domains that are there and are to get a certificate, and may not have one yet."""
    wanting: list[str] = []
    for step in (step for _, site_steps in steps for step in site_steps if step.kind is StepKind.CERTIFICATE):
        record = records.get(step.id)
        is_known = record is not None and record.is_settled and not record.is_pending
        domain_id = there.get(step.site)
        if domain_id and not is_known and not snapshot.domains_by_id[domain_id].ssl_enabled:
            wanting.append(domain_id)
    return wanting
