"""What a domain contains: the records of its zone, its certificate, mailboxes and FTP users."""

from datetime import timedelta
from typing import Any, Final, Literal, Self, cast

import attrs

from panelica_async import models
from panelica_async.client import PanelicaClient
from panelica_async.provision.manifest import DnsRecord, FtpUser, Mailbox
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.manifest.validation import clash
from panelica_async.provision.objects.base import (
    Comparison,
    Match,
    NewObject,
    StepKind,
    View,
    or_unset,
    printable,
    spellings,
    with_owner,
    without_none,
    without_owner,
)
from panelica_async.provision.objects.hosting import ContentStep, DomainStep
from panelica_async.provision.objects.snapshot import Listing

ORDER_TIMEOUT: Final = timedelta(minutes=15)
"""How long after an order a certificate that is still missing is ordered again.

Guess: an order, which takes about a minute (evidence: ssl-issue), has failed by then; and four orders an hour stay
below the number of failures that Let's Encrypt allows for a name.
"""
_UNUSABLE: Final = frozenset({"failed", "expired"})
"""Statuses in which a certificate counts as missing, and is ordered again."""
_PENDING: Final = "pending"

_RecordType = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA", "PTR"]


@attrs.frozen(kw_only=True)
class DnsRecordStep(ContentStep):
    """Adds a record to the zone of a domain. The zone has the id of the domain (evidence: dns-zones)."""

    kind = StepKind.DNS_RECORD
    operation = "dns.records.create"
    listing = Listing.ZONES

    record: DnsRecord

    @property
    def key(self) -> str:
        """Domain, name, type and content."""
        return f"{self.site} {self.record.name} {self.record.type} {self.record.content}"

    @classmethod
    def of_key(cls, key: str, domain: DomainStep) -> Self:
        """Return the step of a record, whose priority and time to live are not known."""
        name, kind, content = key.removeprefix(f"{domain.site} ").split(" ", 2)
        return cls(site=domain.site, domain=domain, record=DnsRecord(name=name, type=kind, content=content))

    @property
    def arguments(self) -> dict[str, Any]:
        """The record."""
        return without_none(**attrs.asdict(self.record))

    def match(self, view: View) -> Match:
        """Find the record by name, type and content and compare priority and time to live.

        A record that cannot coexist with it conflicts, such as a CNAME or a second SPF record.
        """
        zone_id = view.ids.get(self.domain.id)
        if zone_id is None:
            return Match.absent()
        if zone_id not in view.snapshot.zones:
            return Match.unknown("the zone was not read")
        requested = self.record
        conflict: str | None = None
        equal: list[tuple[models.DnsRecord, Match]] = []
        for row in view.snapshot.zones[zone_id]:
            name, kind, content = identity(row.name, row.type, row.content, self.site)
            if name != requested.name:
                continue
            if (kind, content) == (requested.type, requested.content):
                equal.append((row, self._compare(row)))
            elif why := clash(name, requested.type, requested.content, kind, content):
                conflict = f"the name has the record {kind} {printable(content)} already, and {why}"
        if equal:
            # Panels put records into new zones themselves: of several, prefer one that agrees in everything, then ours.
            own_id = view.settled.get(self.id)
            _, match = max(equal, key=lambda pair: (pair[1].comparison is Comparison.SAME, pair[0].id == own_id))
            return match
        return Match.absent() if conflict is None else Match.different(conflict)

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

    def _compare(self, row: models.DnsRecord) -> Match:
        numbers = (("priority", row.priority, self.record.priority), ("ttl", row.ttl, self.record.ttl))
        for name, actual, requested in numbers:
            if actual is not None and requested is not None and actual != requested:
                return Match.different(f"the record has {name} {printable(actual)}, not {requested}")
        return Match.same(row.id)


@attrs.frozen(kw_only=True)
class CertificateStep(ContentStep):
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
            domain = view.snapshot.domains_by_id.get(domain_id)
            if (domain is not None and domain.ssl_enabled) or view.snapshot.secured.get(domain_id):
                return Match.same(None, "the domain has a certificate")
            return Match.unknown(
                "the domain has no certificate yet: an order takes about a minute, and shows no progress"
            )
        unusable: str | None = None
        for certificate in view.snapshot.certificates_by_domain.get(domain_id, ()):
            status = (certificate.status or "").lower()
            if status in _UNUSABLE:
                unusable = status
            elif certificate.type is not None and certificate.type != self.type:
                return Match.different(
                    f"the domain has a certificate of type {printable(certificate.type)}, not {self.type}"
                )
            else:
                return Match.same(certificate.id, is_pending=status == _PENDING)
        return Match.absent(None if unusable is None else f"the previous certificate has {unusable}")

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Order the certificate."""
        domain_id = view.id_of(self.domain)
        certificate = await panel.ssl.certificates.issue(
            domain_id=domain_id,
            type=cast("Literal['lets_encrypt', 'self_signed']", self.type),
            auto_renew=True,
        )
        # Current panels only acknowledge the order, and identify it by its domain.
        own_id = None if certificate.id == domain_id else certificate.id
        return NewObject(own_id, is_pending=(certificate.status or _PENDING).lower() == _PENDING)


@attrs.frozen(kw_only=True)
class MailboxStep(ContentStep):
    """Creates a mailbox under the domain."""

    kind = StepKind.MAILBOX
    operation = "email.accounts.create"
    listing = Listing.MAILBOXES
    password_needed = True

    mailbox: Mailbox

    @property
    def key(self) -> str:
        """The address."""
        return f"{self.mailbox.local_part}@{self.site}"

    @classmethod
    def of_key(cls, key: str, domain: DomainStep) -> Self:
        """Return the step of a mailbox, whose quota is not known."""
        return cls(site=domain.site, domain=domain, mailbox=Mailbox(local_part=key.rpartition("@")[0]))

    @property
    def password(self) -> str | None:
        """The mailbox's password in the manifest, if any."""
        return self.mailbox.password

    @property
    def arguments(self) -> dict[str, Any]:
        """Local part and quota."""
        return without_none(local_part=self.mailbox.local_part, quota_mb=self.mailbox.quota_mb)

    def match(self, view: View) -> Match:
        """Find the mailbox by its address and compare domain and quota."""
        mailbox = view.snapshot.mailboxes_by_address.get(self.key)
        if mailbox is None:
            return Match.absent()
        if mailbox.domain_id is not None and mailbox.domain_id != view.ids.get(self.domain.id):
            return Match.different("the mailbox belongs to another domain")
        quota = self.mailbox.quota_mb
        if quota is not None and mailbox.quota_mb is not None and mailbox.quota_mb != quota:
            return Match.different(f"the mailbox has a quota of {printable(mailbox.quota_mb)} MB, not {quota}")
        return Match.same(mailbox.id)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the mailbox."""
        mailbox = await panel.email.accounts.create(
            local_part=self.mailbox.local_part,
            domain_id=view.id_of(self.domain),
            password=password,
            quota_mb=or_unset(self.mailbox.quota_mb),
        )
        return NewObject(mailbox.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete a mailbox."""
        await panel.email.accounts.delete(object_id)


@attrs.frozen(kw_only=True)
class FtpUserStep(ContentStep):
    """Creates an FTP user for the files of the domain."""

    kind = StepKind.FTP_USER
    operation = "ftp.accounts.create"
    listing = Listing.FTP_USERS
    password_needed = True

    user: FtpUser
    is_shared_name: bool = False
    """Whether another owner in the manifest requests the same name."""
    default_home: str | None = None
    """Directory when the manifest names none; None leaves it to the panel."""

    @property
    def key(self) -> str:
        """The login name in lower case, with the owner if several request it."""
        key = self.user.username.lower()
        return with_owner(key, self.domain.account.key) if self.is_shared_name else key

    @classmethod
    def of_key(cls, key: str, domain: DomainStep) -> Self:
        """Return the step of an FTP user, whose directory and quota are not known."""
        username = without_owner(key)
        user = FtpUser(username=username)
        return cls(site=domain.site, domain=domain, user=user, is_shared_name=username != key)

    @property
    def password(self) -> str | None:
        """The user's password in the manifest, if any."""
        return self.user.password

    @property
    def arguments(self) -> dict[str, Any]:
        """Name, directory and quota."""
        home = self.user.home_directory or self.default_home
        return without_none(username=self.user.username, home_directory=home, quota_mb=self.user.quota_mb)

    def match(self, view: View) -> Match:
        """Find the user by the login name and compare its site, directory and quota."""
        names = spellings(self.user.username, self.domain.account.key)
        rows = [row for name in names for row in view.snapshot.ftp_users_by_name.get(name, ())]
        ours = next((row for row in rows if self._is_ours(row, view)), None)
        if ours is not None:
            return self._compare(ours)
        return Match.different("an FTP user of that name belongs to another site") if rows else Match.absent()

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the FTP user."""
        user = await panel.ftp.accounts.create(
            username=self.user.username,
            password=password,
            domain_id=view.id_of(self.domain),
            home_directory=or_unset(self.user.home_directory or self.default_home),
            quota_mb=or_unset(self.user.quota_mb),
            user_id=view.id_of(self.domain.account),
        )
        return NewObject(user.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete an FTP user."""
        await panel.ftp.accounts.delete(object_id)

    def _is_ours(self, row: models.FtpAccount, view: View) -> bool:
        # `domain_id` can be null or absent, `user_id` is there (evidence: absent-fields, ftp-accounts).
        if row.domain_id is not None:
            return row.domain_id == view.ids.get(self.domain.id)
        return row.user_id is not None and row.user_id == view.ids.get(self.domain.account.id)

    def _compare(self, row: models.FtpAccount) -> Match:
        home, quota = self.user.home_directory, self.user.quota_mb
        actual_home = row.home_directory
        # A path below the account's home may come back as a full one. Guess: the home is named after the account.
        end = (home or "").strip("/") or self.domain.account.key
        if home and actual_home and actual_home != home and not f"/{actual_home.strip('/')}/".endswith(f"/{end}/"):
            return Match.different(f"the FTP user is confined to {printable(actual_home)}, not {home}")
        if quota is not None and row.quota_mb is not None and row.quota_mb != quota:
            return Match.different(f"the FTP user has a quota of {printable(row.quota_mb)} MB, not {quota}")
        return Match.same(row.id)
