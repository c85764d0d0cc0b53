"""What a plan remarks: no conflict, but not what an operator may expect."""

from collections.abc import Collection, Iterator, Mapping

from panelica_async.provision.manifest import Remark
from panelica_async.provision.manifest.records import identity
from panelica_async.provision.manifest.zone import are_of_one_purpose, clash
from panelica_async.provision.snapshot import Snapshot
from panelica_async.provision.steps import CertificateStep, DnsRecordStep, Step, shown

_EXISTS = "is there already; its password is not set, even if the manifest has a new one"
_ORDERED_ANEW = "is ordered anew, because the one before it has failed or expired"
_OTHER_RECORD = "is not in the manifest and stays, beside the wanted ones of its name and type"


def passwords_not_set(existing: Collection[Step]) -> Iterator[Remark]:
    """Yield a remark for each object that exists and that the manifest has a password for.

    Whether it is the one that the object has, no list shows.
    """
    for step in existing:
        if step.password is not None:
            yield Remark(f"{step.kind.replace('_', ' ')} {step.key}", _EXISTS)


def certificates_ordered_anew(
    new: Collection[Step], ids: Mapping[str, str | None], snapshot: Snapshot
) -> Iterator[Remark]:
    """Yield a remark for each certificate that is ordered for a domain whose last one failed or expired.

    Args:
        new: The steps whose objects are to be created.
        ids: Object ids of the steps whose object exists, by id of the step.
        snapshot: What exists.
    """
    for step in new:
        if isinstance(step, CertificateStep) and snapshot.certificates_by_domain.get(ids.get(step.domain.id)):
            yield Remark(f"certificate {step.key}", _ORDERED_ANEW)


def records_that_stay(wanted: Collection[Step], ids: Mapping[str, str | None], snapshot: Snapshot) -> Iterator[Remark]:
    """Yield a remark for each record of a zone that is not wanted, and that a wanted one may be meant to replace.

    Args:
        wanted: The steps whose objects exist or are to be created.
        ids: Object ids of the steps whose object exists, by id of the step.
        snapshot: What exists.
    """
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
