"""The domain of a site, the records of its zone, and its certificate."""

from datetime import timedelta
from typing import Any, Final, Literal, cast

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.manifest import DnsRecord
from panelica_async.provision.manifest.dns import clash, identity
from panelica_async.provision.manifest.fields import as_wanted, php_version
from panelica_async.provision.objects.account import AccountStep
from panelica_async.provision.objects.base import (
    Comparison,
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    or_unset,
    shown,
    without_none,
)
from panelica_async.provision.snapshot import Listing

ORDER_TIMEOUT: Final = timedelta(minutes=15)
"""How long after an order a domain without a certificate gets another one.

Guess: an order that takes about a minute (evidence: ssl-issue) has failed by then, and four of them an hour stay below
what Let's Encrypt allows to fail for a name.
"""
_WEB_SERVERS = {"nginx_only": "nginx", "nginx_apache": "apache"}
"""What current panels call the web servers of the reference (evidence: domains-create)."""
# A certificate in one of these states counts as missing, and is ordered again.
_SPENT = frozenset({"failed", "expired"})
_PENDING = "pending"

_RecordType = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA", "PTR"]


@attrs.frozen(kw_only=True)
class DomainStep(Step):
    """Creates the domain of a site; its DNS zone comes with it."""

    kind = StepKind.DOMAIN
    operation = "domains.create"
    listing = Listing.DOMAINS

    account: AccountStep
    php_version: str | None = None
    web_server: str | None = None

    @property
    def key(self) -> str:
        """The domain."""
        return self.site

    @property
    def parents(self) -> tuple[Step, ...]:
        """The account."""
        return (self.account,)

    @property
    def arguments(self) -> dict[str, Any]:
        """Domain, PHP version and web server."""
        return without_none(domain=self.site, php_version=self.php_version, web_server=self.web_server)

    def match(self, view: View) -> Match:
        """Find the domain by its name and compare owner, PHP version and web server."""
        domain = view.snapshot.domains_by_name.get(self.site)
        if domain is None:
            return Match.absent()
        if domain.user_id is None or domain.user_id != view.ids.get(self.account.id):
            holder = view.snapshot.accounts_by_id.get(domain.user_id or "")
            return Match.different(
                f"the domain belongs to {repr(shown(holder.username)) if holder else 'another account'}"
            )
        version = domain.php_version and as_wanted(php_version, domain.php_version)
        if self.php_version and version and version != self.php_version:
            return Match.different(f"the domain runs PHP {shown(version)}, not {self.php_version}")
        servers = {_WEB_SERVERS.get(name or "", name) for name in (domain.web_server, self.web_server)}
        if servers == {"nginx", "apache"}:
            return Match.different(f"the domain is served by {shown(domain.web_server)}, not {self.web_server}")
        return Match.same(domain.id)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the domain."""
        domain = await panel.domains.create(
            domain=self.site,
            user_id=view.id_of(self.account),
            php_version=or_unset(self.php_version),
            web_server=or_unset(self.web_server),
        )
        return NewObject(domain.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete a domain with everything in it."""
        await panel.domains.delete(object_id)


@attrs.frozen(kw_only=True)
class InDomain(Step):
    """A step whose object belongs to a domain."""

    domain: DomainStep

    @property
    def parents(self) -> tuple[Step, ...]:
        """The domain and its account."""
        return (self.domain, *self.domain.parents)


@attrs.frozen(kw_only=True)
class DnsRecordStep(InDomain):
    """Adds a record to the zone of a domain. The zone has the id of the domain (evidence: dns-zones)."""

    kind = StepKind.DNS_RECORD
    operation = "dns.records.create"
    listing = Listing.ZONES

    record: DnsRecord

    @property
    def key(self) -> str:
        """Domain, name, type and content."""
        return f"{self.site} {self.record.name} {self.record.type} {self.record.content}"

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
            return Match.absent()
        if zone_id not in view.snapshot.zones:
            return Match.unknown("the zone was not read")
        wanted = self.record
        reason: str | None = None
        found: list[tuple[bool, Match]] = []
        for record in view.snapshot.zones[zone_id]:
            name, kind, content = identity(record.name, record.type, record.content, self.site)
            if name != wanted.name:
                continue
            if (kind, content) == (wanted.type, wanted.content):
                match = self._compare(record.id, record.priority, record.ttl)
                found.append((record.id == view.settled.get(self.id), match))
                continue
            if why := clash(name, wanted.type, wanted.content, kind, content):
                reason = f"the name has the record {kind} {shown(content)} already, and {why}"
        if found:
            # Panels put records into a new zone themselves: of two, one that agrees counts, ours first.
            return max(found, key=lambda each: (each[1].comparison is Comparison.SAME, each[0]))[1]
        return Match.absent() if reason is None else Match.different(reason)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
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
                return Match.different(f"the record has {name} {shown(have)}, not {want}")
        return Match.same(record_id)


@attrs.frozen(kw_only=True)
class CertificateStep(InDomain):
    """Orders the certificate of a domain; the panel issues it within about a minute (evidence: ssl-issue)."""

    kind = StepKind.CERTIFICATE
    operation = "ssl.certificates.issue"
    listing = Listing.CERTIFICATES
    is_order = True
    is_deletable = False

    type: str

    @property
    def key(self) -> str:
        """The domain."""
        return self.site

    @property
    def arguments(self) -> dict[str, Any]:
        """Type and renewal."""
        return {"type": self.type, "auto_renew": True}

    def match(self, view: View) -> Match:
        """Find a certificate of the domain that is in place or on its way."""
        domain_id = view.ids.get(self.domain.id)
        if domain_id is None:
            return Match.absent()
        if view.snapshot.certificates is None:
            # There is no list of certificates (evidence: ssl-by-domain), only whether the site has one.
            domain = view.snapshot.domains_by_name.get(self.site)
            if (domain is not None and domain.ssl_enabled) or view.snapshot.secured.get(domain_id):
                return Match.same(None, "the domain has a certificate")
            return Match.unknown(
                "the domain has no certificate yet: an order takes about a minute, and shows no progress"
            )
        spent: str | None = None
        for certificate in view.snapshot.certificates_by_domain.get(domain_id, ()):
            status = (certificate.status or "").lower()
            if status in _SPENT:
                spent = status
            elif certificate.type is not None and certificate.type != self.type:
                return Match.different(
                    f"the domain has a certificate of type {shown(certificate.type)}, not {self.type}"
                )
            else:
                return Match.same(certificate.id, is_pending=status == _PENDING)
        return Match.absent(None if spent is None else f"the previous certificate has {spent}")

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Order the certificate."""
        domain_id = view.id_of(self.domain)
        certificate = await panel.ssl.certificates.issue(
            domain_id=domain_id,
            type=cast("Literal['lets_encrypt', 'self_signed']", self.type),
            auto_renew=True,
        )
        # Current panels answer an order with no more than that they took it, and know it by its domain.
        own_id = None if certificate.id == domain_id else certificate.id
        return NewObject(own_id, is_pending=(certificate.status or _PENDING).lower() == _PENDING)
