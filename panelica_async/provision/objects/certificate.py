"""The certificate of a site."""

from datetime import timedelta
from typing import Any, Final, Literal, cast

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.objects.base import (
    ABSENT,
    Comparison,
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    different,
    same,
    shown,
    unknown,
)
from panelica_async.provision.objects.domain import DomainStep
from panelica_async.provision.snapshot import Listing

ORDER_TIMEOUT: Final = timedelta(minutes=15)
"""How long after an order a domain without a certificate gets another one.

Guess: an order that takes about a minute (evidence: ssl-issue) has failed by then, and four of them an hour stay below
what Let's Encrypt allows to fail for a name.
"""
# A certificate in one of these states counts as missing, and is ordered again.
_SPENT = frozenset({"failed", "expired"})
_PENDING = "pending"


@attrs.frozen(kw_only=True)
class CertificateStep(Step):
    """Orders the certificate of a domain; the panel issues it within about a minute (evidence: ssl-issue)."""

    kind = StepKind.CERTIFICATE
    operation = "ssl.certificates.issue"
    listing = Listing.CERTIFICATES
    is_order = True
    is_deletable = False

    domain: DomainStep
    type: str

    @property
    def key(self) -> str:
        """The domain."""
        return self.site

    @property
    def parents(self) -> tuple[Step, ...]:
        """The domain and what it needs."""
        return (self.domain, *self.domain.parents)

    @property
    def arguments(self) -> dict[str, Any]:
        """Type and renewal."""
        return {"type": self.type, "auto_renew": True}

    def match(self, view: View) -> Match:
        """Find a certificate of the domain that is in place or on its way."""
        domain_id = view.ids.get(self.domain.id)
        if domain_id is None:
            return ABSENT
        if view.snapshot.certificates is None:
            # There is no list of certificates (evidence: ssl-by-domain), only whether the site has one.
            domain = view.snapshot.domains_by_name.get(self.site)
            if (domain is not None and domain.ssl_enabled) or view.snapshot.secured.get(domain_id):
                return same(None, "the domain has a certificate")
            return unknown("the domain has no certificate yet: an order takes about a minute, and shows no progress")
        spent: str | None = None
        for certificate in view.snapshot.certificates_by_domain.get(domain_id, ()):
            status = (certificate.status or "").lower()
            if status in _SPENT:
                spent = status
            elif certificate.type is not None and certificate.type != self.type:
                return different(f"the domain has a certificate of type {shown(certificate.type)}, not {self.type}")
            else:
                return same(certificate.id, is_pending=status == _PENDING)
        return ABSENT if spent is None else Match(Comparison.ABSENT, reason=f"the previous certificate has {spent}")

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:  # noqa: ARG002 - has none
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
