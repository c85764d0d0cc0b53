"""The records of a site's DNS zone."""

from typing import Any, Literal, cast

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.manifest import DnsRecord
from panelica_async.provision.manifest.dns import clash, identity
from panelica_async.provision.objects.base import (
    ABSENT,
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    different,
    or_unset,
    same,
    shown,
    unknown,
    without_none,
)
from panelica_async.provision.objects.domain import DomainStep
from panelica_async.provision.snapshot import Listing

_RecordType = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA", "PTR"]


@attrs.frozen(kw_only=True)
class DnsRecordStep(Step):
    """Adds a record to the zone of a domain. The zone has the id of the domain (evidence: dns-zones)."""

    kind = StepKind.DNS_RECORD
    operation = "dns.records.create"
    listing = Listing.ZONES

    domain: DomainStep
    record: DnsRecord

    @property
    def key(self) -> str:
        """Domain, name, type and content."""
        return f"{self.site} {self.record.name} {self.record.type} {self.record.content}"

    @property
    def parents(self) -> tuple[Step, ...]:
        """The domain and what it needs."""
        return (self.domain, *self.domain.parents)

    @property
    def arguments(self) -> dict[str, Any]:
        """The record."""
        return without_none(**attrs.asdict(self.record))

    def match(self, view: View) -> Match:
        """Find the record by name, type and content and compare priority and time to live.

        A record that cannot stand beside it is in conflict with it, such as a CNAME or a second SPF record.
        """
        zone_id = view.ids.get(self.domain.id)
        if zone_id is None:
            return ABSENT
        if zone_id not in view.snapshot.zones:
            return unknown("the zone was not read")
        wanted = self.record
        reason: str | None = None
        for record in view.snapshot.zones[zone_id]:
            name, kind, content = identity(record.name, record.type, record.content, self.site)
            if name != wanted.name:
                continue
            if (kind, content) == (wanted.type, wanted.content):
                return self._compare(record.id, record.priority, record.ttl)
            if why := clash(name, wanted.type, wanted.content, kind, content):
                reason = f"the name has the record {kind} {shown(content)} already, and {why}"
        return ABSENT if reason is None else different(reason)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:  # noqa: ARG002 - has none
        """Add the record."""
        record = await panel.dns.records.create(
            view.id_of(self.domain),
            name=self.record.name,
            type=cast("_RecordType", self.record.type),
            content=self.record.content,
            ttl=or_unset(self.record.ttl),
            priority=or_unset(self.record.priority),
        )
        return NewObject(record.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete a record of a zone."""
        await panel.dns.records.delete(parent_id, object_id)

    def _compare(self, record_id: str, priority: int | None, ttl: int | None) -> Match:
        for name, have, want in (("priority", priority, self.record.priority), ("ttl", ttl, self.record.ttl)):
            if have is not None and want is not None and have != want:
                return different(f"the record has {name} {shown(have)}, not {want}")
        return same(record_id)
