"""Remarks on a plan: not conflicts, but not what an operator may expect."""

from collections.abc import Collection, Iterator, Mapping

from panelica_async.client import PanelicaClient
from panelica_async.core.operation import allows
from panelica_async.errors import MissingScopeError, PanelicaError
from panelica_async.provision.abilities import Abilities
from panelica_async.provision.decisions import OVERDUE, PlannedStep
from panelica_async.provision.manifest import Remark
from panelica_async.provision.manifest.dns import are_of_one_purpose, clash, identity
from panelica_async.provision.objects import CertificateStep, DnsRecordStep, DomainStep, Step, shown
from panelica_async.provision.snapshot import Snapshot

THERE_ALREADY = "the object exists already: its password is not changed to the one in the manifest"
_ORDERED_AGAIN = "the certificate is ordered again"
_UNDER_WAY = "the panel does not show orders of certificates: one that is under way is ordered again"
_OTHER_RECORD = "the record is not in the manifest; it stays beside those of its name and type that are"
_SUSPENDED = "the account or domain is suspended: the panel may refuse to create anything in it"


def remarks_on(
    existing: Collection[Step], new: Collection[PlannedStep], ids: Mapping[str, str | None], snapshot: Snapshot
) -> Iterator[Remark]:
    """Yield the remarks on a plan.

    Args:
        existing: The steps whose objects exist.
        new: The steps whose objects are to be created.
        ids: Object ids of the steps whose object exists, by id of the step.
        snapshot: What exists.
    """
    yield from _passwords_not_set(existing)
    new_steps = [planned.step for planned in new]
    yield from _suspended(new_steps, ids, snapshot)
    for planned in new:
        if isinstance(planned.step, DomainStep):
            yield from _on_domain(planned.step, ids, snapshot)
        elif isinstance(planned.step, CertificateStep) and planned.step.domain.id in ids:
            yield from _on_certificate(planned, snapshot)
    yield from _records_that_stay([*existing, *new_steps], ids, snapshot)


async def remarks_on_scopes(
    panel: PanelicaClient, new: Collection[PlannedStep], abilities: Abilities
) -> tuple[Remark, ...]:
    """Return a remark for each kind of object that the key may not create, if the panel reveals its scopes.

    It takes one read, which current panels allow only to keys with the scope accounts:read. The panel decides in the
    end, so this is no conflict.

    Args:
        panel: The panel.
        new: The steps whose objects are to be created.
        abilities: What the panel can do.
    """
    granted = await _scopes_of_key(panel) if new else ()
    needed = {
        planned.step.kind: abilities.scopes(planned.step.operation) for planned in new if planned.comes_with is None
    }
    return tuple(
        Remark(kind.plural, f"the key lacks the scope {' or '.join(scopes)}, so the panel will refuse to create these")
        for kind, scopes in needed.items()
        if granted and scopes and not any(allows(granted, scope) for scope in scopes)
    )


async def _scopes_of_key(panel: PanelicaClient) -> tuple[str, ...]:
    """Return the scopes of the key; none when the panel does not reveal them."""
    try:
        return tuple((await panel.with_options(lane="bulk").me()).scopes)
    except MissingScopeError as error:
        return error.available_scopes
    except PanelicaError:
        return ()


def _passwords_not_set(existing: Collection[Step]) -> Iterator[Remark]:
    """Yield a remark for each object that has a password in the manifest: whether it has this one, no list shows."""
    yield from (Remark(step.label, THERE_ALREADY) for step in existing if step.password is not None)


def _suspended(new: Collection[Step], ids: Mapping[str, str | None], snapshot: Snapshot) -> Iterator[Remark]:
    parents = {parent.id: parent for step in new for parent in step.parents if parent.id in ids}
    for parent in parents.values():
        row = snapshot.accounts_by_id.get(ids[parent.id] or "") or snapshot.domains_by_id.get(ids[parent.id] or "")
        if row is not None and (row.status or "").lower() == "suspended":
            yield Remark(parent.label, _SUSPENDED)


def _on_domain(step: DomainStep, ids: Mapping[str, str | None], snapshot: Snapshot) -> Iterator[Remark]:
    offered = snapshot.php_versions
    if step.php_version and offered and step.php_version not in offered:
        yield Remark(step.label, f"no plan of the panel offers PHP {step.php_version}")
    labels = step.site.split(".")
    for begin in range(1, len(labels) - 1):
        row = snapshot.domains_by_name.get(".".join(labels[begin:]))
        if row is not None and row.user_id is not None and row.user_id != ids.get(step.account.id):
            yield Remark(step.label, f"the domain lies within {shown(row.domain)}, which belongs to another account")


def _on_certificate(planned: PlannedStep, snapshot: Snapshot) -> Iterator[Remark]:
    """Yield a remark on a certificate that is ordered for a domain that exists."""
    if snapshot.certificates is None and planned.reason != OVERDUE:
        yield Remark(planned.step.label, _UNDER_WAY)
    elif planned.reason is not None:
        yield Remark(planned.step.label, f"{_ORDERED_AGAIN}: {planned.reason}")


def _records_that_stay(wanted: Collection[Step], ids: Mapping[str, str | None], snapshot: Snapshot) -> Iterator[Remark]:
    """Yield a remark for each record of a zone that is not wanted, and that a wanted one may be meant to replace."""
    zones: dict[str, list[DnsRecordStep]] = {}
    for step in wanted:
        zone_id = ids.get(step.domain.id) if isinstance(step, DnsRecordStep) else None
        if isinstance(step, DnsRecordStep) and zone_id is not None:
            zones.setdefault(zone_id, []).append(step)
    for zone_id, steps in zones.items():
        known = {(step.record.name, step.record.type, step.record.content) for step in steps}
        for row in snapshot.zones.get(zone_id, ()):
            name, kind, content = identity(row.name, row.type, row.content, steps[0].site)
            if (name, kind, content) in known:
                continue
            replacements = [
                other
                for own_name, own_type, other in known
                if own_name == name and are_of_one_purpose(name, kind, content, own_type, other)
            ]
            if replacements:
                why = clash(name, kind, content, kind, replacements[0])
                text = f"{_OTHER_RECORD}; {why}" if why else _OTHER_RECORD
                yield Remark(f"{steps[0].site} {shown(f'{name} {kind} {content}')}", text)
