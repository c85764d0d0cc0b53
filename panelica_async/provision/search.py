"""Finds the objects of a journal on the panel: which still exist, who created them, what else they contain.

The panel has no idempotency keys, so only the time tells whether an unanswered call created what is found later: what
the call created is younger than the call, and not by much. An older object belongs to others; a much younger one may
belong to anyone. Where rows show no time, as on current panels, the time of the look-up counts.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import attrs

from panelica_async import models
from panelica_async.client import PanelicaClient
from panelica_async.core.redaction import first_few
from panelica_async.core.request import path_segment
from panelica_async.provision.background import Table
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import Record, State, unique_id
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.objects import STEPS, Comparison, Match, Step, StepKind, find_by_key
from panelica_async.provision.objects.snapshot import Inventory, Listing, Snapshot
from panelica_async.provision.results import RemovalStatus

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
        # DNS records do not say when they were created.
        created_at = snapshot.created_at.get(step.listing, {}).get(object_id or "")
        skew = self._panel.clock_skew
        window = self._journal.records.window(step.id)
        now = datetime.now(UTC)
        if created_at is None and window is not None and now <= window[1] + LATEST:
            # The plan of the run saw that it was not there, so that it is not older; and it is not much younger.
            return State.DONE
        if created_at is None or skew is None or window is None or now < window[1]:  # the clock was set back
            # An object that matches in everything counts as ours; but no list shows a password.
            is_certain = object_id is None or step.login is None
            return State.DONE if is_certain else State.UNCERTAIN
        sent_at, noted_at = window
        # In seconds: a clock that is off by thousands of years would leave the range of datetimes.
        created = created_at.timestamp() - skew
        if created < (sent_at - _PRECISION).timestamp():
            return State.FOUND
        return State.DONE if created <= (noted_at + LATEST).timestamp() else State.UNCERTAIN


_LISTINGS: Mapping[Listing, tuple[StepKind, ...]] = {
    Listing.ACCOUNTS: (StepKind.ACCOUNT,),
    Listing.DOMAINS: (StepKind.DOMAIN,),
    # Current panels list a database once for each of its users (evidence: databases-list).
    Listing.DATABASES: (StepKind.DATABASE, StepKind.DATABASE_USER),
    Listing.MAILBOXES: (StepKind.MAILBOX,),
    Listing.FTP_USERS: (StepKind.FTP_USER,),
}
"""The lists that are read, with the kinds of objects that they show."""
_FINDING: Final = "id, status, reason, hint, before"
_FIND: Final = """
INSERT INTO item (id, kind, parent, status, reason, hint, before) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, parent = excluded.parent, status = excluded.status,
    reason = excluded.reason, hint = excluded.hint, before = excluded.before
"""
_DECIDE: Final = "UPDATE item SET status = ?, reason = ?, hint = ? WHERE id = ?"
_UNCERTAIN = "it is uncertain whether these runs created it"
_WHOSE_HINT = "Find out in the panel who owns it, and remove it there if it is yours."
_LATE_HINT = "Run undo again in two minutes: it looks again."


@attrs.frozen
class Finding:
    """An object of a journal that is there, or was or may be."""

    record: Record
    """What the journal knows of it by now."""
    status: RemovalStatus
    """Skipped as long as nothing is known against its deletion."""
    reason: str
    hint: str | None
    before: State | None
    """What was known of it, if it may not have been there."""

    @property
    def is_ours(self) -> bool:
        """Whether the runs created it."""
        return self.status is not RemovalStatus.UNCERTAIN


class Search:
    """Finds out which objects of a journal are on the panel, and which of them its runs created.

    Args:
        panel: The panel.
        journal: The journal.
        late: After which time the panel is not expected to carry out a call any more.

    Attributes:
        inventory: What the panel has.
    """

    def __init__(self, panel: PanelicaClient, journal: Journal, late: timedelta) -> None:
        self.inventory: Inventory = Inventory(panel)
        self._journal = journal
        self._ownership = Ownership(panel, journal)
        self._late = late
        self._listed: set[str] = set()
        """Kinds and ids of what the lists show."""
        # Only what is there and ours has a kind and a parent.
        self._found = Table("id, kind, parent, status, reason, hint, before, UNIQUE (id)", indexed=("kind", "parent"))

    async def close(self) -> None:
        """Forget what was found."""
        await asyncio.to_thread(self._found.close)

    def findings(self) -> AsyncIterator[Finding]:
        """Iterate over what is there, or was or may be, in slices."""
        return self._found.in_slices(_FINDING, self._finding)

    def ours(self, *kinds: StepKind) -> AsyncIterator[Finding]:
        """Iterate over what is there and ours, of some kinds or of all, kind by kind, in slices."""
        return self._found.having("kind", kinds or StepKind, _FINDING, self._finding)

    def ours_in(self, parent_id: str) -> AsyncIterator[Finding]:
        """Iterate over what is ours and was created in an object, by its kind and id, in slices."""
        return self._found.having("parent", [parent_id], _FINDING, self._finding)

    def gone(self) -> AsyncIterator[Record]:
        """Iterate over what the runs created, and no list shows any more, in slices."""
        condition = f"status = '{RemovalStatus.REMOVED}'"
        return self._found.in_slices("id", lambda row: self._journal.records[row[0]], condition)

    def _finding(self, row: Sequence[str]) -> Finding:
        step_id, status, reason, hint, before = row
        record = self._journal.records[step_id]
        return Finding(record, RemovalStatus(status), reason, hint, State(before) if before else None)

    async def read_lists(self) -> None:
        """Read what the panel has, but for the records of zones."""
        for listing in _LISTINGS:
            await self.inventory.refresh(listing)
        self._listed = await asyncio.to_thread(_listed_in, self.inventory.snapshot)

    async def read_zones(self, zone_ids: Iterable[str | None]) -> None:
        """Read the zones of domains that are there."""
        wanted = {*zone_ids}
        there = sorted(domain.id for domain in self.inventory.snapshot.domains if domain.id in wanted)
        await self.inventory.refresh_each(Listing.ZONES, there)
        zones = self.inventory.snapshot.zones
        self._listed.update(unique_id(StepKind.DNS_RECORD, row.id) for zone_id in there for row in zones[zone_id])

    @property
    def is_partial(self) -> bool:
        """Whether the key may see only a part of the panel: that of its owner (evidence: lists-owner-view).

        Guess: a key that sees administrators sees everything, and so does one where rows show no role.
        """
        roles = {account.role and account.role.upper() for account in self.inventory.snapshot.accounts}
        return roles.isdisjoint({None, "ROOT", "ADMIN"})

    def is_there(self, record: Record) -> bool:
        """Return whether the lists show an object; what no list shows is there as long as its parent."""
        return (record.unique_id if STEPS[record.kind].is_deletable else record.parent_unique_id) in self._listed

    def is_parent_there(self, record: Record) -> bool:
        """Return whether the lists show what an object was created under."""
        return record.parent_unique_id in self._listed

    def classify(self, record: Record) -> None:
        """Find out whether the object of a record is there and ours."""
        if record.state is State.UNCERTAIN:
            if self.is_there(record):
                self.leave(record, _UNCERTAIN, _WHOSE_HINT)
            else:
                self._journal.removed(record)
        elif _needs_lookup(record, self.inventory.snapshot):
            self._look_up(record)
        elif self.is_there(record) or not is_addressable(record):
            self.take(record)
        elif self._is_name_taken(record):
            self.leave(
                record, "it is there under another id: others have re-created it, or ids have changed", _WHOSE_HINT
            )
        else:
            self._journal.removed(record)
            if not record.is_unanswered:
                self._found.execute(_FIND, (record.id, None, None, RemovalStatus.REMOVED, "", None, None))

    def take(self, record: Record) -> None:
        """Count an object as ours."""
        before = None if record.state is State.DONE else record.state
        values = (record.kind, record.parent_unique_id, RemovalStatus.SKIPPED, "undo was stopped", None, before)
        self._found.execute(_FIND, (record.id, *values))

    def leave(self, record: Record, reason: str, hint: str) -> None:
        """Leave an object alone, because it is uncertain whether it is there or ours."""
        self._found.execute(_FIND, (record.id, None, None, RemovalStatus.UNCERTAIN, reason, hint, None))

    def decide(self, record: Record, status: RemovalStatus, reason: str, hint: str | None) -> None:
        """Note why an object of ours stays."""
        self._found.execute(_DECIDE, (status, reason, hint, record.id))

    def _find_by_key(self, record: Record) -> tuple[Step, Match]:
        return find_by_key(
            record.kind,
            record.key,
            site=record.site,
            parent_id=record.parent_id,
            snapshot=self.inventory.snapshot,
        )

    def _is_name_taken(self, record: Record) -> bool:
        """Return whether the lists show an object by the natural key of one that they do not show by its id."""
        return (
            record.state is State.DONE
            and STEPS[record.kind].is_deletable
            and self._find_by_key(record)[1].comparison in {Comparison.SAME, Comparison.DIFFERENT}
        )

    def _look_up(self, record: Record) -> None:
        """Look for an object by its natural key."""
        step, found = self._find_by_key(record)
        match found.comparison:
            case Comparison.SAME:
                self._judge(record, step, found.object_id)
            case Comparison.ABSENT if record.is_unanswered and self._may_appear(record):
                self.leave(record, "it is not there, but the panel may still be working on the call", _LATE_HINT)
            case Comparison.ABSENT:
                self._journal.removed(record)
            case _:
                self.leave(record, f"whether a run created it is uncertain: {found.reason}", _WHOSE_HINT)

    def _judge(self, record: Record, step: Step, object_id: str | None) -> None:
        """Note whose an object is that was found by its natural key."""
        state = State.DONE
        if record.is_unanswered:
            state = self._ownership.judge(step, object_id, self.inventory.snapshot)
        if state is State.DONE:
            self._journal.done(step, object_id, "found by undo")
            self.take(self._journal.records[record.id])
        elif state is State.FOUND:
            self._journal.found(step, object_id, "was there before the call")
        else:
            self._journal.uncertain(step, object_id, "found by undo")
            self.leave(record, _UNCERTAIN, _WHOSE_HINT)

    def _may_appear(self, record: Record) -> bool:
        has_parent = record.parent_id is None or self.is_parent_there(record)
        return has_parent and datetime.now(UTC) - record.at < self._late


def _listed_in(snapshot: Snapshot) -> set[str]:
    """Return the kinds and ids of what the lists show, but for the records of zones."""
    return {
        unique_id(kind, row.id)
        for listing, kinds in _LISTINGS.items()
        for row in getattr(snapshot, listing.value)
        for kind in kinds
    }


def is_addressable(record: Record) -> bool:
    """Return whether the id of a record can be that of an object."""
    if not STEPS[record.kind].is_deletable:
        return True
    try:
        path_segment(record.object_id, "id")
    except (ValueError, TypeError):
        return False
    return True


def _needs_lookup(record: Record, snapshot: Snapshot) -> bool:
    """Return whether only a look-up by natural key shows what became of an object that was or may have been created."""
    match record.kind:
        case StepKind.CERTIFICATE:
            return False
        case StepKind.DATABASE_USER:
            return record.is_unanswered and record.parent_id in snapshot.database_users
        case _:
            return record.is_unanswered or record.object_id is None


_Row: TypeAlias = models.Database | models.Domain | models.EmailAccount | models.FtpAccount

_SHOWN = 3
"""How many things a reason names."""

# Guess: what a panel puts into a zone by itself; no list tells such records from those that customers add.
_PANELS_TYPES: Final = frozenset({"NS", "SOA"})
_PANELS_NAMES: Final = frozenset(
    {"@", "www", "mail", "ftp", "webmail", "smtp", "imap", "pop", "pop3", "autoconfig", "autodiscover", "ns1", "ns2"}
)
_PANELS_TEXTS: Final = ("_dmarc", "_domainkey", "_acme-challenge", "_autodiscover", "_imaps", "_submission")


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
