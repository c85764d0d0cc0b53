"""Judges whether the runs of a journal created an object, and what it contains that they did not create.

The panel has no idempotency keys, so only the time shows whether an unanswered call created an object that is found
later: an object that the call created is younger than the call, but not by much. An older one belongs to others; a much
younger one may belong to anyone. Where rows show no time, as on current panels, the time of the look-up counts.
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

_CLOCK_TOLERANCE: Final = timedelta(seconds=2)
"""How far `created_at` may lie before the call: it is rounded down to a second, and clocks drift a little."""
MAX_LATENESS: Final = timedelta(seconds=120)
"""How long after the last note of a call the panel may still have carried it out.

Guess: a killed run may have waited a minute for its quota, and a busy panel works on a call for tens of seconds.
"""
_MAX_NAMED: Final = 3
"""How many objects a reason names."""
# Guess: which records a panel puts into a zone itself; no list tells them from those that customers add.
_PANEL_TYPES: Final = frozenset({"NS", "SOA"})
_PANEL_NAMES: Final = frozenset(
    {"@", "www", "mail", "ftp", "webmail", "smtp", "imap", "pop", "pop3", "autoconfig", "autodiscover", "ns1", "ns2"}
)
_PANEL_NAME_PARTS: Final = ("_dmarc", "_domainkey", "_acme-challenge", "_autodiscover", "_imaps", "_submission")


def judge_origin(
    step: Step,
    object_id: str | None,
    snapshot: Snapshot,
    sent_between: tuple[datetime, datetime] | None,
    skew: float | None,
) -> State:
    """Return the state to note for an object that was found after an unanswered call.

    `DONE` if the call created it, `FOUND` if it is older, else `UNCERTAIN`.

    Args:
        step: The step that was sent.
        object_id: Id of the object; None where no list shows the object itself.
        snapshot: The lists it was found in.
        sent_between: When the step was first sent and last noted (`Records.sent_between`).
        skew: Seconds by which the panel's clock is ahead, if it is known.
    """
    # DNS records do not say when they were created.
    created_at = snapshot.created_at.get(step.listing, {}).get(object_id or "")
    now = datetime.now(UTC)
    if created_at is None and sent_between is not None and now <= sent_between[1] + MAX_LATENESS:
        # When the run was planned, the object did not exist, so it is not older than the call; nor much younger.
        return State.DONE
    if created_at is None or skew is None or sent_between is None or now < sent_between[1]:  # the clock was set back
        # An object that matches in everything counts as ours; but no list shows a password.
        is_certain = object_id is None or step.login is None
        return State.DONE if is_certain else State.UNCERTAIN
    sent_at, noted_at = sent_between
    # In seconds: a clock that is off by thousands of years would exceed the range of datetimes.
    created = created_at.timestamp() - skew
    if created < (sent_at - _CLOCK_TOLERANCE).timestamp():
        return State.FOUND
    return State.DONE if created <= (noted_at + MAX_LATENESS).timestamp() else State.UNCERTAIN


_Row: TypeAlias = models.Database | models.Domain | models.EmailAccount | models.FtpAccount


def foreign_contents(
    snapshot: Snapshot, own_ids: AbstractSet[str], user_counts: Mapping[str, int]
) -> Mapping[str, str]:
    """Return, in words, what each account, domain and database contains that the runs did not create.

    Every id is a kind with an id (`unique_id`).

    Args:
        snapshot: What the panel has, with the zones of the domains in question.
        own_ids: The objects that the runs created.
        user_counts: Number of users that the runs created, by database.
    """
    contents: defaultdict[str, list[str]] = defaultdict(list)

    def add(kind: StepKind, object_id: str | None, names: Sequence[str]) -> None:
        if object_id is not None:
            contents[unique_id(kind, object_id)] += names

    def add_to_parents(
        kind: StepKind, row: _Row, name: str, *, domain_id: str | None, account_id: str | None = None
    ) -> None:
        """Add an object of others to its parents; of an object of ours, add its foreign contents."""
        row_id = unique_id(kind, row.id)
        names = contents[row_id] if row_id in own_ids else [f"{kind.label} {name}"]
        add(StepKind.DOMAIN, domain_id, names)
        add(StepKind.ACCOUNT, account_id, names)

    for domain in snapshot.domains:
        records = snapshot.zones.get(domain.id, ())
        foreign = [f"DNS record {row.name} {row.type}" for row in records if _is_foreign(row, domain.domain, own_ids)]
        add(StepKind.DOMAIN, domain.id, foreign)
    for database in snapshot.distinct_databases:
        add(StepKind.DATABASE, database.id, [*_foreign_users(database, snapshot, own_ids, user_counts)])
        add_to_parents(
            StepKind.DATABASE, database, database.name, domain_id=database.domain_id, account_id=database.user_id
        )
    for mailbox in snapshot.mailboxes:
        add_to_parents(StepKind.MAILBOX, mailbox, mailbox.email, domain_id=mailbox.domain_id)
    for user in snapshot.ftp_users:
        add_to_parents(StepKind.FTP_USER, user, user.username, domain_id=user.domain_id, account_id=user.user_id)
    for domain in snapshot.domains:
        add_to_parents(StepKind.DOMAIN, domain, domain.domain, domain_id=None, account_id=domain.user_id)
    return {
        object_id: first_few(list(dict.fromkeys(names)), _MAX_NAMED) for object_id, names in contents.items() if names
    }


def parents_in(snapshot: Snapshot) -> Mapping[str, str]:
    """Return the parent of each object: the account of a domain, the domain of its contents.

    Every id is a kind with an id (`unique_id`).
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
    database: models.Database, snapshot: Snapshot, own_ids: AbstractSet[str], user_counts: Mapping[str, int]
) -> Iterator[str]:
    """Yield the users of a database that the runs did not create: names where rows show them, else a number."""
    for row in snapshot.database_users.get(database.id, ()):
        # The row of the first user represents the database.
        if own_ids.isdisjoint({unique_id(kind, row.id) for kind in (StepKind.DATABASE, StepKind.DATABASE_USER)}):
            yield f"database user {row.username}"
    extra = (database.user_count or 0) - user_counts.get(unique_id(StepKind.DATABASE, database.id), 0)
    if extra > 0:
        yield f"{extra} database user{'s' if extra > 1 else ''}"


def _is_foreign(row: models.DnsRecord, domain: str, own_ids: AbstractSet[str]) -> bool:
    """Return whether a DNS record comes neither from the runs nor from the panel itself."""
    name, _, _ = identity(row.name, row.type, row.content, domain)
    is_from_panel = row.type in _PANEL_TYPES or name in _PANEL_NAMES or any(part in name for part in _PANEL_NAME_PARTS)
    return not is_from_panel and unique_id(StepKind.DNS_RECORD, row.id) not in own_ids
