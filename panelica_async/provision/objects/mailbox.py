"""The mailboxes of a site."""

from typing import Any

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.manifest import Mailbox
from panelica_async.provision.objects.base import Match, NewObject, StepKind, View, or_unset, shown, without_none
from panelica_async.provision.objects.domain import InDomain
from panelica_async.provision.snapshot import Listing


@attrs.frozen(kw_only=True)
class MailboxStep(InDomain):
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
        wanted = self.mailbox.quota_mb
        if wanted is not None and mailbox.quota_mb is not None and mailbox.quota_mb != wanted:
            return Match.different(f"the mailbox has a quota of {shown(mailbox.quota_mb)} MB, not {wanted}")
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
