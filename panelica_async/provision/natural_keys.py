"""Steps from the natural keys of a journal: they find an object again without the manifest that asked for it."""

from collections.abc import Mapping

import attrs

from panelica_async.provision.journal import Record
from panelica_async.provision.manifest import Database, DnsRecord, FtpUser, Mailbox, Owner
from panelica_async.provision.objects import Match, Step, StepKind, View
from panelica_async.provision.objects.account import AccountStep
from panelica_async.provision.objects.base import without_owner
from panelica_async.provision.objects.database import DatabaseStep
from panelica_async.provision.objects.dns_record import DnsRecordStep
from panelica_async.provision.objects.domain import DomainStep
from panelica_async.provision.objects.ftp_user import FtpUserStep
from panelica_async.provision.objects.mailbox import MailboxStep
from panelica_async.provision.snapshot import Snapshot


@attrs.frozen
class Sought:
    """An object that a journal notes, as what finds it again."""

    step: Step
    """A step with the object's natural key, and nothing else that was wanted of it."""
    _ids: Mapping[str, str | None]
    """Ids of what it was created under."""

    def match(self, snapshot: Snapshot) -> Match:
        """Find the object in what the panel has."""
        return self.step.match(View(snapshot=snapshot, ids=self._ids))


def sought(record: Record, snapshot: Snapshot) -> Sought:
    """Return what finds the object of a record.

    Args:
        record: The record, of a kind that the panel's lists show by name.
        snapshot: What the panel has: accounts and domains.
    """
    if record.kind is StepKind.ACCOUNT:
        # The address is not noted; an empty one is compared with nothing.
        return Sought(AccountStep(site=record.site, owner=Owner(username=record.key, email="")), {})
    domain_id = None if record.kind is StepKind.DOMAIN else record.parent_id
    row = snapshot.domains_by_id.get(domain_id or "")
    account_id = record.parent_id if row is None else row.user_id
    owner = snapshot.accounts_by_id.get(account_id or "")
    account = AccountStep(site=record.site, owner=Owner(username=owner.username if owner else ""))
    domain = DomainStep(site=record.site, account=account)
    ids = {account.id: account_id, domain.id: domain_id}
    return Sought(domain if record.kind is StepKind.DOMAIN else _in_domain(record, domain), ids)


def _in_domain(record: Record, domain: DomainStep) -> Step:
    site, key = record.site, record.key
    own_key = without_owner(key)
    is_shared = own_key != key
    match record.kind:
        case StepKind.DNS_RECORD:
            name, kind, content = key.removeprefix(f"{site} ").split(" ", 2)
            return DnsRecordStep(site=site, domain=domain, record=DnsRecord(name=name, type=kind, content=content))
        case StepKind.DATABASE:
            kind, _, name = own_key.partition("/")
            database = Database(name=name, type=kind)
            return DatabaseStep(site=site, domain=domain, database=database, is_shared_name=is_shared)
        case StepKind.MAILBOX:
            return MailboxStep(site=site, domain=domain, mailbox=Mailbox(local_part=key.rpartition("@")[0]))
        case StepKind.FTP_USER:
            return FtpUserStep(site=site, domain=domain, user=FtpUser(username=own_key), is_shared_name=is_shared)
        case _:
            raise ValueError(f"no list shows a {record.kind} by name")
