"""Who created an object: the runs of a journal, or others.

The panel has no idempotency keys, so only the time tells whether an unanswered call created what is found later: what
the call created is younger than the call, and not by much. An older object belongs to others; a much younger one may
belong to anyone. Where rows show no time, as on current panels, that of the look counts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import attrs

from panelica_async import models
from panelica_async.client import PanelicaClient
from panelica_async.core.redaction import first_few
from panelica_async.provision.journal import Journal, Record, State
from panelica_async.provision.manifest import Database, DatabaseUser, DnsRecord, FtpUser, Mailbox, Owner
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.objects import Match, Step, StepKind, View
from panelica_async.provision.objects.account import AccountStep
from panelica_async.provision.objects.base import without_owner
from panelica_async.provision.objects.database import DatabaseStep, DatabaseUserStep
from panelica_async.provision.objects.dns_record import DnsRecordStep
from panelica_async.provision.objects.domain import DomainStep
from panelica_async.provision.objects.ftp_user import FtpUserStep
from panelica_async.provision.objects.mailbox import MailboxStep
from panelica_async.provision.snapshot import Listing, Snapshot

_PRECISION = timedelta(seconds=2)
"""How far `created_at` may lie before the call: it is rounded down to a second, and clocks drift a little."""
LATEST = timedelta(seconds=120)
"""How long after the last note of a call the panel may have carried it out.

Guess: a killed run may have waited a minute for its quota, and a busy panel works on a call for tens of seconds.
"""


@attrs.frozen
class Ownership:
    """Judges who created an object found after an unanswered call, by the journal's times and the panel's clock.

    Args:
        panel: The panel, of which at least one list was read.
        journal: The journal that noted the call.
    """

    _panel: PanelicaClient
    _journal: Journal

    def judge(self, step: Step, object_id: str | None, snapshot: Snapshot) -> State:
        """Return what to note of an object: `DONE` if the call created it, `FOUND` if it is older, else `UNCERTAIN`.

        Args:
            step: The step that was sent.
            object_id: What it found; None where no list shows the object itself.
            snapshot: The lists it was found in.
        """
        created_at, skew = _created_at(snapshot, step.listing, object_id), self._panel.clock_skew
        window = self._journal.window(step.id)
        if created_at is None and window is not None and datetime.now(UTC) <= window[1] + LATEST:
            # The plan of the run saw that it was not there, so that it is not older; and it is not much younger.
            return State.DONE
        if created_at is None or skew is None or window is None:
            # An object that matches in everything is as good as ours; but no list shows a password.
            is_certain = object_id is None or step.login is None
            return State.DONE if is_certain else State.UNCERTAIN
        sent_at, noted_at = window
        created_at -= timedelta(seconds=skew)
        if created_at < sent_at - _PRECISION:
            return State.FOUND
        return State.DONE if created_at <= noted_at + LATEST else State.UNCERTAIN


def _created_at(snapshot: Snapshot, listing: Listing, object_id: str | None) -> datetime | None:
    """Return when a row was created, by the panel's clock; DNS records do not say."""
    if object_id is None or listing is Listing.ZONES:
        return None
    rows = getattr(snapshot, listing.value) or ()
    return next((row.created_at for row in rows if row.id == object_id), None)


@attrs.frozen
class Sought:
    """How to find the object of a record again."""

    step: Step
    """A step with the object's natural key, and nothing else that was wanted of it."""
    ids: Mapping[str, str | None]
    """Ids of what it was created under."""

    def match(self, snapshot: Snapshot) -> Match:
        """Find the object in what the panel has."""
        return self.step.match(View(snapshot=snapshot, ids=self.ids))


def is_to_be_sought(record: Record, snapshot: Snapshot) -> bool:
    """Return whether only a look for its natural key shows what became of the object of a record.

    Args:
        record: The record of an object that was created, or may have been.
        snapshot: What the panel has.
    """
    match record.kind:
        case StepKind.CERTIFICATE:
            return False
        case StepKind.DATABASE_USER:
            return record.is_unanswered and record.parent_id in snapshot.database_users
        case _:
            return record.is_unanswered or record.object_id is None


def sought(record: Record, snapshot: Snapshot) -> Sought:
    """Return what finds the object of a record.

    Args:
        record: The record, of a kind that the panel's lists show by name.
        snapshot: What the panel has: accounts and domains.
    """
    if record.kind is StepKind.DATABASE_USER:
        return _database_user(record, snapshot)
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


def _database_user(record: Record, snapshot: Snapshot) -> Sought:
    key, _, username = record.key.rpartition(":")
    row = snapshot.databases_by_id.get(record.parent_id or "")
    of_database = attrs.evolve(
        record,
        id=f"{StepKind.DATABASE}:{key}",
        kind=StepKind.DATABASE,
        parent_id=None if row is None else row.domain_id,
    )
    database = sought(of_database, snapshot)
    user = DatabaseUser(username=username)
    step = DatabaseUserStep(site=record.site, database=cast("DatabaseStep", database.step), user=user)
    return Sought(step, {**database.ids, database.step.id: record.parent_id})


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


_SHOWN = 3
"""How many things a reason names."""

# Guess: what a panel puts into a zone by itself; no list tells such records from those that customers add.
_PANELS_TYPES: Final = frozenset({"NS", "SOA"})
_PANELS_NAMES: Final = frozenset(
    {"@", "www", "mail", "ftp", "webmail", "smtp", "imap", "pop", "pop3", "autoconfig", "autodiscover", "ns1", "ns2"}
)
_PANELS_TEXTS: Final = ("_dmarc", "_domainkey", "_acme-challenge", "_autodiscover", "_imaps", "_submission")


def foreign_in(snapshot: Snapshot, own: Collection[str | None], users: Mapping[str | None, int]) -> Mapping[str, str]:
    """Return, for each account, domain and database by id, in words, what it contains that the runs did not create.

    Args:
        snapshot: What the panel has, with the zones of the domains in question.
        own: Ids of what the runs created.
        users: Number of users that the runs created, by id of the database.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)

    def add(parents: Iterable[str | None], names: Sequence[str]) -> None:
        for parent in {*parents} - {None}:
            found[str(parent)] += names

    def pass_on(object_id: str, name: str, *parents: str | None) -> None:
        # Our own objects pass on what they contain.
        add(parents, found[object_id] if object_id in own else [name])

    for domain in snapshot.domains:
        records = snapshot.zones.get(domain.id, ())
        add([domain.id], [f"DNS record {row.name} {row.type}" for row in records if _is_added(row, domain.domain, own)])
    for database in snapshot.distinct_databases:
        others = (row for row in snapshot.database_users.get(database.id, ()) if row.id not in own)
        add([database.id], [f"database user {row.username}" for row in others])
        if extra := (database.user_count or 0) - users.get(database.id, 0):
            add([database.id], [f"{extra} database user{'s' if extra > 1 else ''}"] if extra > 0 else [])
        pass_on(database.id, f"database {database.name}", database.domain_id, database.user_id)
    for mailbox in snapshot.mailboxes:
        pass_on(mailbox.id, f"mailbox {mailbox.email}", mailbox.domain_id)
    for user in snapshot.ftp_users:
        pass_on(user.id, f"FTP user {user.username}", user.domain_id, user.user_id)
    for domain in snapshot.domains:
        pass_on(domain.id, f"domain {domain.domain}", domain.user_id)
    return {object_id: _in_words(names) for object_id, names in found.items() if names}


def parents_in(snapshot: Snapshot) -> Mapping[str | None, str]:
    """Return the parent of each object by id: the account of a domain, the domain of what is in it."""
    pairs = [
        *((row.id, row.user_id) for row in snapshot.domains),
        *((row.id, row.domain_id) for row in snapshot.databases),
        *((row.id, row.domain_id) for row in snapshot.mailboxes),
        *((row.id, row.domain_id) for row in snapshot.ftp_users),
    ]
    return {object_id: parent_id for object_id, parent_id in pairs if parent_id is not None}


def _is_added(row: models.DnsRecord, domain: str, own: Collection[str | None]) -> bool:
    """Return whether a record is neither ours nor one that the panel puts into a zone by itself."""
    name, _, _ = identity(row.name, row.type, row.content, domain)
    is_panels = row.type in _PANELS_TYPES or name in _PANELS_NAMES or any(text in name for text in _PANELS_TEXTS)
    return row.id not in own and not is_panels


def _in_words(names: Sequence[str]) -> str:
    return f"it holds objects that these runs did not create: {first_few(list(dict.fromkeys(names)), _SHOWN)}"
