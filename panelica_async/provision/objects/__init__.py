"""The kinds of objects: how each is named, listed, recognised, created and deleted.

`snapshot` reads what the panel lists. `base` says what a step is: one object to create. The steps of each kind are in
`hosting` (account and domain), `contents` (what a domain contains) and `database`.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias, cast

from panelica_async.provision.manifest import DatabaseUser, Manifest, Owner, Site
from panelica_async.provision.objects.base import (
    REFERENCE,
    Abilities,
    Comparison,
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    printable,
)
from panelica_async.provision.objects.contents import (
    ORDER_TIMEOUT,
    CertificateStep,
    DnsRecordStep,
    FtpUserStep,
    MailboxStep,
)
from panelica_async.provision.objects.database import DatabaseStep, DatabaseUserStep
from panelica_async.provision.objects.hosting import AccountStep, Allowances, ContentStep, DomainStep
from panelica_async.provision.objects.snapshot import Snapshot

__all__ = [
    "ORDER_TIMEOUT",
    "REFERENCE",
    "STEPS",
    "Abilities",
    "AccountStep",
    "Allowances",
    "CertificateStep",
    "Comparison",
    "DatabaseStep",
    "DatabaseUserStep",
    "DnsRecordStep",
    "DomainStep",
    "FtpUserStep",
    "MailboxStep",
    "Match",
    "NewObject",
    "SiteSteps",
    "Step",
    "StepKind",
    "View",
    "find_by_key",
    "printable",
    "steps_of",
]


STEPS: Mapping[StepKind, type[Step]] = {
    step.kind: step
    for step in (
        AccountStep,
        DomainStep,
        DnsRecordStep,
        CertificateStep,
        DatabaseStep,
        DatabaseUserStep,
        MailboxStep,
        FtpUserStep,
    )
}
"""The class that creates, recognises and deletes objects, by their kind."""

_FTP = "ftp"
"""What `_shared_names` gives as the type of an FTP user."""

SiteSteps: TypeAlias = Sequence[tuple[Site, tuple[Step, ...]]]
"""The sites of a manifest, each with its steps."""


def steps_of(manifest: Manifest, abilities: Abilities = REFERENCE) -> SiteSteps:
    """Return the steps of each site in the order they are taken; sites of one owner share its account's step.

    Args:
        manifest: The manifest.
        abilities: What the panel can do.
    """
    accounts: dict[str, AccountStep] = {}
    for site in manifest.sites:
        accounts.setdefault(site.owner.username, AccountStep(site=site.domain, owner=site.owner))
    shared_names = _shared_names(manifest)
    return [
        (site, tuple(_site_steps(site, accounts[site.owner.username], shared_names, abilities)))
        for site in manifest.sites
    ]


def _site_steps(
    site: Site, account: AccountStep, shared_names: AbstractSet[tuple[str, str]], abilities: Abilities
) -> Iterator[Step]:
    domain = DomainStep(site=site.domain, account=account, php_version=site.php_version, web_server=site.web_server)
    yield account
    yield domain
    for record in site.dns:
        yield DnsRecordStep(site=site.domain, domain=domain, record=record)
    if site.ssl:
        yield CertificateStep(site=site.domain, domain=domain, type=site.ssl)
    for database in site.databases:
        is_shared = (database.type, database.name) in shared_names
        step = DatabaseStep(
            site=site.domain,
            domain=domain,
            database=database,
            is_shared_name=is_shared,
            has_user=abilities.databases_have_user,
            is_first=database is site.databases[0],
        )
        yield step
        previous: DatabaseUserStep | None = None
        for user in database.users:
            previous = DatabaseUserStep(site=site.domain, database=step, user=user, previous=previous)
            yield previous
    for mailbox in site.mailboxes:
        yield MailboxStep(site=site.domain, domain=domain, mailbox=mailbox)
    for ftp_user in site.ftp_users:
        is_shared = (_FTP, ftp_user.username.lower()) in shared_names
        home = f"/{site.domain}" if abilities.homes_are_below_account else None
        yield FtpUserStep(site=site.domain, domain=domain, user=ftp_user, is_shared_name=is_shared, default_home=home)


def _shared_names(manifest: Manifest) -> AbstractSet[tuple[str, str]]:
    """Return the type and name of each database and FTP user that more than one owner requests."""
    owners: dict[tuple[str, str], set[str]] = {}
    for site in manifest.sites:
        names = [(database.type, database.name) for database in site.databases]
        names += [(_FTP, user.username.lower()) for user in site.ftp_users]
        for name in names:
            owners.setdefault(name, set()).add(site.owner.username)
    return {name for name, usernames in owners.items() if len(usernames) > 1}


def find_by_key(
    kind: StepKind, key: str, *, site: str, parent_id: str | None, snapshot: Snapshot
) -> tuple[Step, Match]:
    """Find an object by its natural key. Return a step that has only this key, and its match.

    Args:
        kind: A kind that the panel's lists show by name.
        key: The natural key.
        site: Domain of the site that the object was created for.
        parent_id: Id of what it was created under, if it is known.
        snapshot: What the panel has.
    """
    step, ids = _step_of_key(kind, key, site, parent_id, snapshot)
    return step, step.match(View(snapshot=snapshot, ids=ids))


def _step_of_key(
    kind: StepKind, key: str, site: str, parent_id: str | None, snapshot: Snapshot
) -> tuple[Step, Mapping[str, str | None]]:
    """Return the step of an object, and the ids of what it was created under."""
    if kind is StepKind.ACCOUNT:
        # The address is unknown; an empty one is not compared.
        return AccountStep(site=site, owner=Owner(username=key, email="")), {}
    if kind is StepKind.DATABASE_USER:
        database_key, _, username = key.rpartition(":")
        database_row = snapshot.databases_by_id.get(parent_id or "")
        domain_id = None if database_row is None else database_row.domain_id
        database, ids = _step_of_key(StepKind.DATABASE, database_key, site, domain_id, snapshot)
        user = DatabaseUser(username=username)
        step = DatabaseUserStep(site=site, database=cast("DatabaseStep", database), user=user)
        return step, {**ids, database.id: parent_id}
    domain_id = None if kind is StepKind.DOMAIN else parent_id
    domain_row = snapshot.domains_by_id.get(domain_id or "")
    account_id = parent_id if domain_row is None else domain_row.user_id
    owner = snapshot.accounts_by_id.get(account_id or "")
    account = AccountStep(site=site, owner=Owner(username=owner.username if owner else ""))
    domain = DomainStep(site=site, account=account)
    ids = {account.id: account_id, domain.id: domain_id}
    step_class = STEPS[kind]
    if issubclass(step_class, ContentStep):
        return step_class.of_key(key, domain), ids
    return domain, ids
