"""Takes back what the runs of a journal created, and nothing else."""

import enum
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from panelica_async.client.client import PanelicaClient
from panelica_async.errors import NotFoundError, PanelicaError
from panelica_async.provision.journal import Journal, Record, State
from panelica_async.provision.outcome import FATAL, reason_of
from panelica_async.provision.snapshot import Inventory, Listing, Snapshot
from panelica_async.provision.steps import StepKind


class RemovalStatus(enum.StrEnum):
    """What became of an object that was to be removed."""

    REMOVED = "removed"
    """It is gone, by itself or with what it belonged to."""
    KEPT = "kept"
    """It was left alone, because it holds what the journal's runs did not create, or cannot be deleted by the API."""
    FAILED = "failed"
    """The panel refused, or it is still there."""


@attrs.frozen(kw_only=True)
class Removal:
    """What became of one object that was to be removed."""

    record: Record
    """What the journal knows of it."""
    status: RemovalStatus
    reason: str | None = None
    """In words, for what is left over."""
    hint: str | None = None
    """What to do about it, if there is something to say."""


async def undo(panel: PanelicaClient, journal: Journal | Path | str) -> AsyncGenerator[Removal, None]:
    """Remove what the runs of a journal created, last things first, and yield what became of each object.

    Only what the journal notes as created is touched. An account or domain that holds anything else by now is kept,
    with a reason; what was created in it goes one by one. Whatever a deleted account or domain held is gone with it.
    At the end the lists are read again, and what is still there counts as failed.

    Args:
        panel: The panel of the runs; the key needs the delete scopes.
        journal: The journal, or its path.

    Yields:
        One removal for each object that was created; those that are not `removed` are the leftovers.

    Raises:
        ConfigurationError: The journal cannot be used, or belongs to another panel.
        PanelicaError: The lists could not be read, or every further call would fail too.
    """
    with ExitStack() as resources:
        if not isinstance(journal, Journal):
            journal = resources.enter_context(Journal.open(journal))
        journal.require_panel(panel.base_url)
        created = [record for record in journal.records.values() if record.state is State.DONE]
        if not created:
            return
        inventory = Inventory(panel)
        for listing in _LISTINGS:
            await inventory.refresh(listing)
        kept = _kept(created, inventory.snapshot)
        going = {record.object_id for record in created if record.id not in kept} - {None}
        failed: dict[str, PanelicaError] = {}
        for record in sorted(created, key=lambda record: _ORDER.index(record.kind)):
            # What its parent takes along needs no call of its own.
            if record.id not in kept and record.parent_id not in going:
                error = await _delete(panel, record)
                if error is not None:
                    failed[record.id] = error
        left = await _still_there(inventory, created)
        for record in created:
            # What no list shows is there as long as its parent.
            is_left = (record.object_id if record.kind in _DELETE else record.parent_id) in left
            removal = _removal(record, kept.get(record.id), failed.get(record.id), is_left=is_left)
            if removal.status is RemovalStatus.REMOVED:
                journal.removed(record)
            yield removal


_ORDER = tuple(reversed(StepKind))
_LISTINGS = (Listing.ACCOUNTS, Listing.DOMAINS, Listing.DATABASES, Listing.MAILBOXES, Listing.FTP_USERS)

_DELETE: Mapping[StepKind, Callable[[PanelicaClient, str, str], Awaitable[None]]] = {
    StepKind.ACCOUNT: lambda panel, object_id, _: panel.accounts.delete(object_id),
    StepKind.DOMAIN: lambda panel, object_id, _: panel.domains.delete(object_id),
    StepKind.DNS_RECORD: lambda panel, object_id, zone_id: panel.dns.records.delete(zone_id, object_id),
    StepKind.DATABASE: lambda panel, object_id, _: panel.databases.delete(object_id),
    StepKind.MAILBOX: lambda panel, object_id, _: panel.email.accounts.delete(object_id),
    StepKind.FTP_USER: lambda panel, object_id, _: panel.ftp.accounts.delete(object_id),
}
"""How each kind is deleted, by its id and that of its parent. Certificates and database users go with their parent."""


def _kept(created: Collection[Record], snapshot: Snapshot) -> dict[str, str]:
    """Return what is to be left alone, with the reason, by id of the step."""
    own = {record.object_id for record in created}
    foreign_in = {
        *(row.domain_id for row in snapshot.databases if row.id not in own),
        *(row.domain_id for row in snapshot.mailboxes if row.id not in own),
        *(row.domain_id for row in snapshot.ftp_users if row.id not in own),
    }
    foreign_of = {
        *(row.user_id for row in snapshot.domains if row.id not in own or row.id in foreign_in),
        *(row.user_id for row in snapshot.databases if row.id not in own),
        *(row.user_id for row in snapshot.ftp_users if row.id not in own),
    }
    kept: dict[str, str] = {}
    for record in created:
        if record.kind is StepKind.DOMAIN and record.object_id in foreign_in:
            kept[record.id] = "it holds databases, mailboxes or FTP users that were not created here"
        elif record.kind is StepKind.ACCOUNT and record.object_id in foreign_of:
            kept[record.id] = "it holds what was not created here"
    going = {record.object_id for record in created if record.id not in kept and record.kind in _DELETE}
    for record in created:
        if record.kind not in _DELETE and record.parent_id not in going:
            kept[record.id] = "the API cannot delete it"
    return kept


async def _delete(panel: PanelicaClient, record: Record) -> PanelicaError | None:
    try:
        await _DELETE[record.kind](panel, record.object_id or "", record.parent_id or "")
    except NotFoundError:
        return None
    except FATAL:
        raise
    except PanelicaError as error:
        return error
    return None


async def _still_there(inventory: Inventory, created: Collection[Record]) -> set[str | None]:
    """Read the lists again and return the ids on them."""
    for listing in _LISTINGS:
        await inventory.refresh(listing)
    snapshot = inventory.snapshot
    domains = {domain.id for domain in snapshot.domains}
    zones = {record.parent_id for record in created if record.kind is StepKind.DNS_RECORD}
    await inventory.refresh_zones(sorted(zone for zone in zones if zone in domains))
    snapshot = inventory.snapshot
    return {
        *(row.id for row in snapshot.accounts),
        *domains,
        *(row.id for row in snapshot.databases),
        *(row.id for row in snapshot.mailboxes),
        *(row.id for row in snapshot.ftp_users),
        *(row.id for zone in snapshot.zones.values() for row in zone),
    }


def _removal(record: Record, kept: str | None, error: PanelicaError | None, *, is_left: bool) -> Removal:
    if kept is not None:
        return Removal(record=record, status=RemovalStatus.KEPT, reason=kept, hint="Remove it in the panel.")
    if error is not None:
        return Removal(record=record, status=RemovalStatus.FAILED, reason=reason_of(error), hint=error.hint)
    if is_left:
        return Removal(record=record, status=RemovalStatus.FAILED, reason="it is still there")
    return Removal(record=record, status=RemovalStatus.REMOVED)
