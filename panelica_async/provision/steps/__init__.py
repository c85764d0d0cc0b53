"""Steps: what each kind of object is called, how it is recognised and how it is made, one module a kind."""

from collections.abc import Iterator

from panelica_async.provision.manifest import Manifest, Site
from panelica_async.provision.steps.account import AccountStep, find_plans
from panelica_async.provision.steps.base import Likeness, Match, Step, StepKind, View, shown
from panelica_async.provision.steps.certificate import CertificateStep
from panelica_async.provision.steps.database import DatabaseStep, DatabaseUserStep
from panelica_async.provision.steps.dns import DnsRecordStep
from panelica_async.provision.steps.domain import DomainStep
from panelica_async.provision.steps.ftp import FtpUserStep
from panelica_async.provision.steps.mailbox import MailboxStep

__all__ = [
    "AccountStep",
    "CertificateStep",
    "DnsRecordStep",
    "DomainStep",
    "Likeness",
    "Match",
    "Step",
    "StepKind",
    "View",
    "find_plans",
    "shown",
    "steps_of",
]


def steps_of(manifest: Manifest) -> list[tuple[Site, tuple[Step, ...]]]:
    """Return the steps of each site in the order they are taken; sites of one owner share its account's step."""
    accounts: dict[str, AccountStep] = {}
    for site in manifest.sites:
        accounts.setdefault(site.owner.username.lower(), AccountStep(site=site.domain, owner=site.owner))
    return [(site, tuple(_steps(site, accounts[site.owner.username.lower()]))) for site in manifest.sites]


def _steps(site: Site, account: AccountStep) -> Iterator[Step]:
    domain = DomainStep.of(site, account)
    yield account
    yield domain
    for record in site.dns:
        yield DnsRecordStep(site=site.domain, domain=domain, record=record)
    if site.ssl:
        yield CertificateStep(site=site.domain, domain=domain, type=site.ssl)
    for database in site.databases:
        step = DatabaseStep(site=site.domain, domain=domain, database=database)
        yield step
        previous: DatabaseUserStep | None = None
        for user in database.users:
            previous = DatabaseUserStep(site=site.domain, database=step, user=user, previous=previous)
            yield previous
    for mailbox in site.mailboxes:
        yield MailboxStep(site=site.domain, domain=domain, mailbox=mailbox)
    for ftp_user in site.ftp_users:
        yield FtpUserStep(site=site.domain, domain=domain, user=ftp_user)
