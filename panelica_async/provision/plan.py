"""The plan: what would be created, what exists and what conflicts, without a single write."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.operation import scopes_allow
from panelica_async.errors import MissingScopeError, PanelicaError, PermissionDeniedError, UnsupportedOperationError
from panelica_async.provision.background import in_thread
from panelica_async.provision.decisions import Action, Decisions, PlannedStep
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import Record
from panelica_async.provision.manifest import Manifest, Remark, Site
from panelica_async.provision.objects import (
    REFERENCE,
    Abilities,
    SiteSteps,
    StepKind,
    steps_of,
)
from panelica_async.provision.objects.snapshot import Inventory, Listing, Snapshot
from panelica_async.ratelimit import RateLimit
from panelica_async.ratelimit.limit import Quota


@attrs.frozen(kw_only=True)
class SitePlan:
    """The steps of one site, in the order they are taken."""

    site: Site
    steps: tuple[PlannedStep, ...]


@attrs.frozen(kw_only=True)
class Plan:
    """What applying a manifest would do. Making a plan only reads; it holds no secrets but those of its manifest."""

    manifest: Manifest
    snapshot: Snapshot = attrs.field(repr=False)
    """What the panel had when the plan was made."""
    sites: tuple[SitePlan, ...] = attrs.field(repr=False)
    """The sites in the order of the manifest."""
    steps: tuple[PlannedStep, ...] = attrs.field(repr=False)
    """Every step once, in the order of the sites; sites of one owner share a step."""
    remarks: tuple[Remark, ...] = ()
    """What is worth knowing but is not a problem: about the manifest, then about the panel."""
    list_calls: int = 0
    """Number of calls it took to make the plan."""
    records: Mapping[str, Record] = attrs.field(factory=dict[str, Record], repr=False)
    """What a journal knew of the plan's steps when the plan was made, by id of the step."""
    abilities: Abilities = attrs.field(default=REFERENCE, repr=False)
    """What the panel can do."""
    base_url: str | None = None
    """Address of the panel that was read; None for a plan that `decide` made."""
    read_at: datetime | None = None
    """When reading its lists began, in UTC; None for a plan that `decide` made."""

    @classmethod
    async def build(cls, panel: PanelicaClient, manifest: Manifest, *, journal: Journal | None = None) -> Self:
        """Read what exists and decide what to do.

        Only lists are read, each once, and only those the manifest needs: DNS records of each existing domain that
        will get records, hosting plans if the manifest names any or asks for a PHP version. A panel without a list of
        certificates is asked about each existing domain that will get one and is not known to have one.

        Args:
            panel: The panel; the key needs the read scopes of what the manifest asks for.
            manifest: The requested sites.
            journal: Journal of earlier runs of the same manifest.

        Raises:
            ConfigurationError: The journal belongs to another panel or dialect.
            PanelicaError: A list could not be read.
        """
        dialect = await panel.learn_dialect()
        if journal is not None:
            journal.require_panel(panel.base_url)
            journal.require_dialect(dialect)
        abilities = Abilities(dialect)
        inventory, read_at = Inventory(panel), datetime.now(UTC)
        # A manifest may have thousands of sites: going through all of them is left to a thread.
        steps = await asyncio.to_thread(steps_of, manifest, abilities)
        for listing in _listings_needed(manifest, steps):
            await inventory.refresh(listing)
        if any(site.php_version for site in manifest.sites) and not any(site.owner.plan for site in manifest.sites):
            # Plans list the PHP versions. The manifest names no plan, so the key may lack the scope to read them.
            with suppress(PermissionDeniedError, UnsupportedOperationError):
                await inventory.refresh(Listing.PLANS)
        records = await in_thread(_records_of, steps, journal.records if journal else {})
        domain_ids = await asyncio.to_thread(_existing_domain_ids, steps, inventory.snapshot, records)
        zones = sorted(domain_ids[site.domain] for site, _ in steps if site.dns and site.domain in domain_ids)
        await inventory.refresh_each(Listing.ZONES, zones)
        if inventory.snapshot.certificates is None:
            unsecured = _possibly_unsecured(steps, domain_ids, inventory.snapshot, records)
            await inventory.refresh_each(Listing.CERTIFICATES, unsecured)
        plan = await asyncio.to_thread(cls.decide, manifest, inventory.snapshot, records, steps, abilities)
        return attrs.evolve(plan, list_calls=inventory.calls, base_url=panel.base_url, read_at=read_at)

    @classmethod
    def decide(
        cls,
        manifest: Manifest,
        snapshot: Snapshot,
        records: Mapping[str, Record],
        steps: SiteSteps | None = None,
        abilities: Abilities = REFERENCE,
    ) -> Self:
        """Decide what to do, from what is requested, what exists and what earlier runs did.

        Args:
            manifest: The requested sites.
            snapshot: What exists.
            records: What a journal knows of each step, by id of the step.
            steps: The steps of the manifest, if they are known already.
            abilities: What the panel can do.
        """
        steps = steps_of(manifest, abilities) if steps is None else steps
        records = _records_of(steps, records)
        decisions = Decisions(snapshot, records, abilities)
        for _, site_steps in steps:
            decisions.add(site_steps)
        decisions.block_unused_accounts()
        decided = decisions.decided
        return cls(
            manifest=manifest,
            snapshot=snapshot,
            sites=tuple(
                SitePlan(site=site, steps=tuple(decided[step.id] for step in site_steps)) for site, site_steps in steps
            ),
            steps=tuple(decided.values()),
            remarks=(*manifest.remarks, *decisions.remarks()),
            records=records,
            abilities=abilities,
        )

    def updated(self, journal: Journal) -> Self | None:
        """Return the plan with what a journal knows; None if runs have changed the panel since its lists were read."""
        steps = [(site.site, tuple(planned.step for planned in site.steps)) for site in self.sites]
        records = _records_of(steps, journal.records)
        if self.records == records:
            return self
        if self.read_at is None or any(record.at > self.read_at for record in records.values()):
            return None
        plan = self.decide(self.manifest, self.snapshot, records, steps, self.abilities)
        return attrs.evolve(plan, list_calls=self.list_calls, base_url=self.base_url, read_at=self.read_at)

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
        """Number of writes to make: one for each object to create that does not come with another."""
        return sum(planned.writes for planned in self.new)

    @property
    def calls(self) -> int:
        """Number of calls in total: the lists that were read, and the writes to make."""
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
        """Return the least time that the writes take under a rate limit, if nothing else uses the key.

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


def _records_of(steps: SiteSteps, records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the records of some steps, out of those in a journal."""
    ids = {step.id for _, site_steps in steps for step in site_steps}
    return {step_id: records[step_id] for step_id in sorted(ids) if step_id in records}


def _listings_needed(manifest: Manifest, steps: SiteSteps) -> list[Listing]:
    """Return the lists that show whether the objects of the steps exist, accounts first."""
    listings = {step.listing for _, site_steps in steps for step in site_steps} - {Listing.ZONES}
    if any(site.owner.plan for site in manifest.sites):
        listings.add(Listing.PLANS)
    return [listing for listing in Listing if listing in listings]


def _existing_domain_ids(steps: SiteSteps, snapshot: Snapshot, records: Mapping[str, Record]) -> dict[str, str]:
    """Return the ids of the domains that exist and are kept, by name."""
    decisions = Decisions(snapshot, records, REFERENCE)
    for _, (account, domain, *_) in steps:
        decisions.add((account, domain))
    kept = (
        (step.site, decisions.ids[step.id])
        for step in decisions.steps_with(Action.KEEP)
        if step.kind is StepKind.DOMAIN
    )
    return {name: domain_id for name, domain_id in kept if domain_id}


def _possibly_unsecured(
    steps: SiteSteps, domain_ids: Mapping[str, str], snapshot: Snapshot, records: Mapping[str, Record]
) -> list[str]:
    """Return the ids of existing domains that are to get a certificate and may not have one yet."""
    unsecured: list[str] = []
    for step in (step for _, site_steps in steps for step in site_steps if step.kind is StepKind.CERTIFICATE):
        record = records.get(step.id)
        was_issued = record is not None and record.is_settled and not record.is_pending
        domain_id = domain_ids.get(step.site)
        if domain_id and not was_issued and not snapshot.domains_by_id[domain_id].ssl_enabled:
            unsecured.append(domain_id)
    return unsecured


async def remarks_on_scopes(
    panel: PanelicaClient, new: Collection[PlannedStep], abilities: Abilities
) -> tuple[Remark, ...]:
    """Return a remark for each kind of object that the key may not create, if the panel reveals its scopes.

    It takes one read, which current panels allow only to keys with the scope accounts:read. The panel has the last
    word, so a missing scope is no conflict.

    Args:
        panel: The panel.
        new: The steps whose objects are to be created.
        abilities: What the panel can do.
    """
    granted = await _scopes_of_key(panel) if new else ()
    needed = {
        planned.step.kind: abilities.scopes(planned.step.operation) for planned in new if planned.comes_with is None
    }
    return tuple(
        Remark(kind.plural, f"the key lacks the scope {' or '.join(scopes)}, so the panel will refuse to create these")
        for kind, scopes in needed.items()
        if granted and scopes and not any(scopes_allow(granted, scope) for scope in scopes)
    )


async def _scopes_of_key(panel: PanelicaClient) -> tuple[str, ...]:
    """Return the scopes of the key; none when the panel does not reveal them."""
    try:
        return tuple((await panel.with_options(lane="bulk").me()).scopes)
    except MissingScopeError as error:
        return error.available_scopes
    except PanelicaError:
        return ()
