"""Tells whose an object is: who created it, and what it contains that the runs of a journal did not create.

The panel has no idempotency keys, so only the time tells whether an unanswered call created what is found later: what
the call created is younger than the call, and not by much. An older object belongs to others; a much younger one may
belong to anyone. Where rows show no time, as on current panels, the time of the look-up counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from panelica_async import models
from panelica_async.core.redaction import first_few
from panelica_async.provision.journal_records import State, unique_id
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.objects import Step, StepKind
from panelica_async.provision.objects.snapshot import Snapshot

_PRECISION: Final = timedelta(seconds=2)
"""How far `created_at` may lie before the call: it is rounded down to a second, and clocks drift a little."""
LATEST: Final = timedelta(seconds=120)
"""How long after the last note of a call the panel may have carried it out.

Guess: a killed run may have waited a minute for its quota, and a busy panel works on a call for tens of seconds.
"""
_SHOWN: Final = 3
"""How many things a reason names."""
# Guess: what a panel puts into a zone by itself; no list tells such records from those that customers add.
_PANELS_TYPES: Final = frozenset({"NS", "SOA"})
_PANELS_NAMES: Final = frozenset(
    {"@", "www", "mail", "ftp", "webmail", "smtp", "imap", "pop", "pop3", "autoconfig", "autodiscover", "ns1", "ns2"}
)
_PANELS_TEXTS: Final = ("_dmarc", "_domainkey", "_acme-challenge", "_autodiscover", "_imaps", "_submission")


def judge_origin(
    step: Step,
    object_id: str | None,
    snapshot: Snapshot,
    sent_between: tuple[datetime, datetime] | None,
    skew: float | None,
) -> State:
    """Return what to note of an object that was found after an unanswered call.

    `DONE` if the call created it, `FOUND` if it is older, else `UNCERTAIN`.

    Args:
        step: The step that was sent.
        object_id: What it found; None where no list shows the object itself.
        snapshot: The lists it was found in.
        sent_between: When the step was first sent and last noted (`Records.sent_between`).
        skew: Seconds by which the panel's clock is ahead, if it is known.
    """
    # DNS records do not say when they were created.
    created_at = snapshot.created_at.get(step.listing, {}).get(object_id or "")
    now = datetime.now(UTC)
    if created_at is None and sent_between is not None and now <= sent_between[1] + LATEST:
        # When the run was planned, the object did not exist, so it is not older than the call; nor much younger.
        return State.DONE
    if created_at is None or skew is None or sent_between is None or now < sent_between[1]:  # the clock was set back
        # An object that matches in everything counts as ours; but no list shows a password.
        is_certain = object_id is None or step.login is None
        return State.DONE if is_certain else State.UNCERTAIN
    sent_at, noted_at = sent_between
    # In seconds: a clock that is off by thousands of years would exceed the range of datetimes.
    created = created_at.timestamp() - skew
    if created < (sent_at - _PRECISION).timestamp():
        return State.FOUND
    return State.DONE if created <= (noted_at + LATEST).timestamp() else State.UNCERTAIN


_Row: TypeAlias = models.Database | models.Domain | models.EmailAccount | models.FtpAccount


def foreign_in(snapshot: Snapshot, own: AbstractSet[str], users: Mapping[str, int]) -> Mapping[str, str]:
    """Return, in words, what each account, domain and database contains that the runs did not create.

    Objects are known by their kind and id (`unique_id`).

    Args:
        snapshot: What the panel has, with the zones of the domains in question.
        own: What the runs created.
        users: Number of users that the runs created, by database.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)

    def add(kind: StepKind, object_id: str | None, names: Sequence[str]) -> None:
        if object_id is not None:
            found[unique_id(kind, object_id)] += names

    def pass_on(kind: StepKind, row: _Row, name: str, *, domain: str | None, account: str | None = None) -> None:
        # Our own objects pass on what they contain.
        itself = unique_id(kind, row.id)
        names = found[itself] if itself in own else [f"{kind.label} {name}"]
        add(StepKind.DOMAIN, domain, names)
        add(StepKind.ACCOUNT, account, names)

    for domain in snapshot.domains:
        records = snapshot.zones.get(domain.id, ())
        added = [f"DNS record {row.name} {row.type}" for row in records if _is_added(row, domain.domain, own)]
        add(StepKind.DOMAIN, domain.id, added)
    for database in snapshot.distinct_databases:
        add(StepKind.DATABASE, database.id, [*_foreign_users(database, snapshot, own, users)])
        pass_on(StepKind.DATABASE, database, database.name, domain=database.domain_id, account=database.user_id)
    for mailbox in snapshot.mailboxes:
        pass_on(StepKind.MAILBOX, mailbox, mailbox.email, domain=mailbox.domain_id)
    for user in snapshot.ftp_users:
        pass_on(StepKind.FTP_USER, user, user.username, domain=user.domain_id, account=user.user_id)
    for domain in snapshot.domains:
        pass_on(StepKind.DOMAIN, domain, domain.domain, domain=None, account=domain.user_id)
    return {object_id: first_few(list(dict.fromkeys(names)), _SHOWN) for object_id, names in found.items() if names}


def parents_in(snapshot: Snapshot) -> Mapping[str, str]:
    """Return the parent of each object: the account of a domain, the domain of what is in it.

    Objects are known by their kind and id (`unique_id`).
    """
    lists: Iterable[tuple[StepKind, Iterable[tuple[str, str | None]]]] = (
        (StepKind.DOMAIN, ((row.id, row.user_id) for row in snapshot.domains)),
        (StepKind.DATABASE, ((row.id, row.domain_id) for row in snapshot.databases)),
        (StepKind.MAILBOX, ((row.id, row.domain_id) for row in snapshot.mailboxes)),
        (StepKind.FTP_USER, ((row.id, row.domain_id) for row in snapshot.ftp_users)),
    )
    return {
        unique_id(kind, row_id): unique_id(kind.parent, parent_id)
        for kind, rows in lists
        for row_id, parent_id in rows
        if kind.parent is not None and parent_id is not None
    }


def _foreign_users(
    database: models.Database, snapshot: Snapshot, own: AbstractSet[str], users: Mapping[str, int]
) -> Iterator[str]:
    """Yield the users of a database that the runs did not create: by name where rows show them, else their number."""
    for row in snapshot.database_users.get(database.id, ()):
        # The row of its first user represents a database.
        if own.isdisjoint({unique_id(kind, row.id) for kind in (StepKind.DATABASE, StepKind.DATABASE_USER)}):
            yield f"database user {row.username}"
    extra = (database.user_count or 0) - users.get(unique_id(StepKind.DATABASE, database.id), 0)
    if extra > 0:
        yield f"{extra} database user{'s' if extra > 1 else ''}"


def _is_added(row: models.DnsRecord, domain: str, own: AbstractSet[str]) -> bool:
    """Return whether a record is neither ours nor one that the panel puts into a zone by itself."""
    name, _, _ = identity(row.name, row.type, row.content, domain)
    is_panels = row.type in _PANELS_TYPES or name in _PANELS_NAMES or any(text in name for text in _PANELS_TEXTS)
    return not is_panels and unique_id(StepKind.DNS_RECORD, row.id) not in own
