import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from panelica_async.models.accounts import Account
from panelica_async.models.domains import Domain
from panelica_async.models.ssl import Certificate
from panelica_async.provision import Action, Journal, Manifest, Plan, Record, Remark, State, StepKind, apply
from panelica_async.provision.journal_records import PENDING
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_at
from tests.provision.launching import client, collect

OWNER = {"username": "alder", "email": "office@alder.example", "password": "correct-horse"}
MANIFEST = Manifest.from_data(
    [
        {"domain": "alder.example", "owner": OWNER, "ssl": "yes"},
        {"domain": "beech.example", "owner": OWNER, "ssl": "self_signed"},
    ]
)


class Clock:
    """The panel's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def box(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock) as box:
        yield box


async def run(box: Sandbox, journal: Path, base_url: str | None = None) -> dict[str, tuple[str, bool]]:
    """Apply, and return the action for each certificate, and whether it is pending."""
    async with client(box, base_url) as panel:
        outcomes = await collect(apply(panel, MANIFEST, journal=journal, settle=0))
    steps = [step.to_dict() for outcome in outcomes for step in outcome.steps]
    return {step["name"]: (step["status"], step["pending"]) for step in steps if step["kind"] == "certificate"}


def pending(journal: Path) -> list[str]:
    with Journal.open(journal, read_only=True) as notes:
        return [record.id for record in notes.records.values() if record.is_pending]


async def test_order_is_pending_until_the_panel_is_done(box: Sandbox, clock: Clock, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    assert await run(box, journal) == {"alder.example": ("created", True), "beech.example": ("created", False)}
    assert pending(journal) == ["certificate:alder.example"]

    assert await run(box, journal) == {"alder.example": ("exists", True), "beech.example": ("exists", False)}
    assert pending(journal) == ["certificate:alder.example"]

    clock.ahead += 61
    assert await run(box, journal) == {"alder.example": ("exists", False), "beech.example": ("exists", False)}
    assert pending(journal) == []


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.THIN_REPLY])
async def test_order_with_a_thin_reply_is_pending(box: Sandbox, tmp_path: Path, fault: Fault) -> None:
    journal = tmp_path / "run.journal"
    async with FaultyPanel(box, fail_at(3, fault)) as proxy:
        assert (await run(box, journal, proxy.base_url))["alder.example"] == ("created", True)
        assert proxy.reached.is_set()

    assert pending(journal) == ["certificate:alder.example"]


async def test_expired_certificate_is_ordered_again(box: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    await run(box, journal)
    box.database.execute("UPDATE certificates SET ready_at = 0, expires_at = 1 WHERE type = 'lets_encrypt'")

    assert await run(box, journal) == {"alder.example": ("created", True), "beech.example": ("exists", False)}


async def test_checking_orders_again_costs_no_other_calls(box: Sandbox, tmp_path: Path) -> None:
    await run(box, tmp_path / "run.journal")
    box.requests.clear()
    await run(box, tmp_path / "run.journal")

    assert list(dict.fromkeys(request.operation for request in box.requests)) == [
        "accounts.list",
        "domains.list",
        "ssl.certificates.list",
    ]


DOMAIN = Domain(id="d1", domain="alder.example", user_id="a1", ssl_enabled=False)
SITE = {"domain": "alder.example", "owner": "alder", "ssl": "yes"}
STEP = "certificate:alder.example"


def planned(record: State | None, reason: str | None = None, **existing: Any) -> tuple[str, str | None, bool]:
    """Return action, reason and pending of a certificate on a panel with the domain d1."""
    at = datetime.now(UTC)
    records = [
        Record(id="account:alder", kind=StepKind.ACCOUNT, site="", state=State.FOUND, at=at, object_id="a1"),
        Record(id="domain:alder.example", kind=StepKind.DOMAIN, site="", state=State.DONE, at=at, object_id="d1"),
    ]
    if record is not None:
        records.append(Record(id=STEP, kind=StepKind.CERTIFICATE, site="", state=record, at=at, reason=reason))
    listed = {
        "accounts": (Account(id="a1", username="alder", role="USER"),),
        "domains": (DOMAIN,),
    }
    snapshot = Snapshot(**{**listed, **existing})
    plan = Plan.decide(Manifest.from_data([SITE]), snapshot, {each.id: each for each in records})
    step = plan.steps[-1]
    anew = Remark("certificate alder.example", f"the certificate is ordered again: {step.reason}")
    assert plan.remarks == ((anew,) if step.action is Action.CREATE else ())
    assert plan.pending == ((step,) if step.is_pending else ())
    return step.action.value, step.reason, step.is_pending


@pytest.mark.parametrize("status", ["failed", "Expired"])
@pytest.mark.parametrize("record", [None, State.DONE, State.FOUND])
def test_failed_order_is_sent_again(record: State | None, status: str) -> None:
    row = Certificate(id="c1", domain_id="d1", type="lets_encrypt", status=status)

    assert planned(record, PENDING, certificates=(row,)) == (
        "create",
        f"the previous certificate has {status.lower()}",
        False,
    )


@pytest.mark.parametrize(
    ("existing", "is_pending"),
    [
        pytest.param({"certificates": (Certificate(id="c1", domain_id="d1", status="pending"),)}, True, id="pending"),
        pytest.param({"certificates": (Certificate(id="c1", domain_id="d1", status="active"),)}, False, id="active"),
        pytest.param({"certificates": (Certificate(id="c1", domain_id="d1"),)}, False, id="no status"),
        pytest.param({"certificates": ()}, True, id="not in the list yet"),
        pytest.param(
            {
                "certificates": None,
                "domains": (DOMAIN,),
            },
            True,
            id="no list, domain without",
        ),
        pytest.param(
            {
                "certificates": None,
                "domains": (attrs.evolve(DOMAIN, ssl_enabled=True),),
            },
            False,
            id="no list, domain with",
        ),
    ],
)
def test_order_of_an_earlier_run_is_checked(existing: dict[str, Any], is_pending: bool) -> None:
    assert planned(State.DONE, PENDING, **existing) == (Action.KEEP, "done by an earlier run", is_pending)


def test_finished_order_stays_done_without_a_list() -> None:
    assert planned(State.DONE, None, certificates=None) == ("exists", "done by an earlier run", False)


async def test_order_is_sent_again_when_its_domain_was_deleted(box: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    await run(box, journal)
    box.database.execute("DELETE FROM domains WHERE domain = 'alder.example'")
    again = await run(box, journal)
    assert again["alder.example"] == ("created", True)
    assert again["beech.example"][0] == "exists"
