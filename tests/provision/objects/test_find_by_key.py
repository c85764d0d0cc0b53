"""An object is found again by what a journal records: kind, natural key and parents."""

import pytest

from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.domains import Domain
from panelica_async.provision import Manifest, StepKind
from panelica_async.provision.objects import Comparison, Match, Step, find_by_key, steps_of
from panelica_async.provision.objects.snapshot import Snapshot

OWN = {"ssl": "yes", "databases": ["shop:u", "postgresql/blog"], "mailboxes": ["info"], "ftp_users": ["Deploy"]}
RECORDS = [
    "www A 192.0.2.10",
    "@ MX 10 mail.alder.example",
    "_dmarc TXT v=DMARC1; p=none",
    "_sip._tcp SRV 1 2 5060 sip.alder.example",
    "a.b CNAME www.alder.example",
]
MANIFEST = Manifest.from_data(
    [
        {"domain": "alder.example", "owner": "alder", "dns": RECORDS, **OWN},
        {"domain": "b\u00fccher.example", "owner": "beech", "dns": ["www A 192.0.2.10"], **OWN},
    ]
)
IDS = {"alder.example": "d1", "xn--bcher-kva.example": "d2"}
ACCOUNTS = {"alder": "a1", "beech": "a2"}
SNAPSHOT = Snapshot(
    accounts=tuple(Account(id=ACCOUNTS[name], username=name) for name in ACCOUNTS),
    domains=tuple(Domain(id=object_id, domain=name, user_id=f"a{object_id[1]}") for name, object_id in IDS.items()),
    zones={"d1": (), "d2": ()},
    # Lists of current panels show users of databases (evidence: databases-list).
    databases=tuple(Database(id=f"b{n}", name="other", domain_id=f"d{n}", username="other") for n in (1, 2)),
)
STEPS = [step for _, steps in steps_of(MANIFEST) for step in steps]


def found(step: Step) -> tuple[Step, Match]:
    """Look for the object of a step as if only its record were left."""
    parent_id = None
    if step.kind is StepKind.DOMAIN:
        parent_id = f"a{IDS[step.site][1]}"
    elif step.kind is not StepKind.ACCOUNT:
        parent_id = IDS[step.site]
        if step.kind is StepKind.DATABASE_USER:
            parent_id = f"b{parent_id[1]}"
    return find_by_key(step.kind, step.key, site=step.site, parent_id=parent_id, snapshot=SNAPSHOT)


@pytest.mark.parametrize(
    "step", [step for step in STEPS if step.kind is not StepKind.CERTIFICATE], ids=lambda step: step.id
)
def test_key_of_a_step_finds_its_object(step: Step) -> None:
    rebuilt, match = found(step)
    assert (rebuilt.id, rebuilt.listing, rebuilt.password_needed) == (step.id, step.listing, step.password_needed)
    is_listed = step.kind in {StepKind.ACCOUNT, StepKind.DOMAIN}
    assert match.comparison is (Comparison.SAME if is_listed else Comparison.ABSENT)


@pytest.mark.parametrize(
    "step", [step for step in STEPS if step.kind is StepKind.CERTIFICATE], ids=lambda step: step.id
)
def test_certificate_cannot_be_found_by_its_key(step: Step) -> None:
    with pytest.raises(ValueError, match="no list shows"):
        found(step)
