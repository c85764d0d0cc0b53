"""What accounts, domains and databases hold that a journal's runs did not create, and would be deleted with them.

Databases, mailboxes, FTP users and domains are recognised by their ids, database users by their number, and DNS records
by their names. Files are not looked at.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from panelica_async.core.redaction import first_few
from panelica_async.models.dns import DnsRecord
from panelica_async.provision.manifest.dns import identity
from panelica_async.provision.snapshot import Snapshot

_SHOWN = 3
"""How many things a reason names."""

# Guess: what a panel puts into a zone by itself; no list tells such records from those that customers add.
_PANELS_TYPES: Final = frozenset({"NS", "SOA"})
_PANELS_NAMES: Final = frozenset(
    {"@", "www", "mail", "ftp", "webmail", "smtp", "imap", "pop", "pop3", "autoconfig", "autodiscover", "ns1", "ns2"}
)
_PANELS_TEXTS: Final = ("_dmarc", "_domainkey", "_acme-challenge", "_autodiscover", "_imaps", "_submission")


def foreign_in(snapshot: Snapshot, own: Collection[str | None], users: Mapping[str | None, int]) -> Mapping[str, str]:
    """Return what the runs of a journal did not create, in words, by the id of each account, domain and database.

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
        # What is ours passes on what it holds itself.
        add(parents, found[object_id] if object_id in own else [name])

    for domain in snapshot.domains:
        records = snapshot.zones.get(domain.id, ())
        add([domain.id], [f"DNS record {row.name} {row.type}" for row in records if _is_added(row, domain.domain, own)])
    for database in snapshot.databases:
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
    """Return where things are by their ids: the account of a domain, the domain of what is in one."""
    pairs = [
        *((row.id, row.user_id) for row in snapshot.domains),
        *((row.id, row.domain_id) for row in snapshot.databases),
        *((row.id, row.domain_id) for row in snapshot.mailboxes),
        *((row.id, row.domain_id) for row in snapshot.ftp_users),
    ]
    return {object_id: parent_id for object_id, parent_id in pairs if parent_id is not None}


def _is_added(row: DnsRecord, domain: str, own: Collection[str | None]) -> bool:
    """Return whether a record is neither ours nor one that the panel puts into a zone by itself."""
    name, _, _ = identity(row.name, row.type, row.content, domain)
    is_panels = row.type in _PANELS_TYPES or name in _PANELS_NAMES or any(text in name for text in _PANELS_TEXTS)
    return row.id not in own and not is_panels


def _in_words(names: Sequence[str]) -> str:
    return f"it holds what was not created here: {first_few(list(dict.fromkeys(names)), _SHOWN)}"
