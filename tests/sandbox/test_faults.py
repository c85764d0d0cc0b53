"""Simulated faults: what the client sees, and what the panel has done."""

import asyncio
import re
from pathlib import Path

import pytest

from panelica_async import ConnectError, OutcomeUnknownError, PanelicaClient, PanelicaError, TransportError
from panelica_async.sandbox import Fault, Sandbox
from tests.conftest import Advance

pytestmark = pytest.mark.once

DONE = [fault for fault in Fault if fault.description.endswith("the panel carries out the request")]
NOT_DONE = [fault for fault in Fault if fault.description.endswith("the panel does nothing")]
LATER = [fault for fault in Fault if fault.description.endswith("the panel carries out the request later")]


def client(box: Sandbox) -> PanelicaClient:
    key = {"api_key": box.api_key, "api_secret": box.api_secret}
    # A write that is neither looked up nor repeated shows only the fault.
    panel = PanelicaClient(box.base_url, **key, tier="enterprise", timeout=2.0, max_retries=0)
    return panel.with_options(look_up_lost=False)


async def create(panel: PanelicaClient) -> None:
    await panel.accounts.create(username="alder", email="alder@example.com", password="correct horse 9")


async def names(panel: PanelicaClient) -> list[str]:
    return [account.username async for account in panel.accounts.list() if account.username == "alder"]


def test_tables_cover_every_fault() -> None:
    assert sorted([*DONE, *NOT_DONE, *LATER], key=str) == sorted(Fault, key=str)


@pytest.mark.parametrize("fault", Fault)
async def test_fault_when_added_hits_one_request(fault: Fault, advance: Advance) -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(fault, method="POST", path="/v1/accounts")
        call = asyncio.ensure_future(create(panel))
        await box.faults.happened.wait()
        if "HANGS" in fault.name:
            advance(31)
        await asyncio.wait([call])
        assert call.exception() is None or isinstance(call.exception(), PanelicaError)
        assert await names(panel) == (["alder"] if fault in DONE else [])
        await box.faults.catch_up()
        assert await names(panel) == (["alder"] if fault in DONE + LATER else [])


async def test_reply_without_a_body_is_cut_as_well() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        await create(panel)
        [account] = [row async for row in panel.accounts.list() if row.username == "alder"]
        domain = await panel.domains.create(domain="example.com", user_id=account.id)
        box.faults.add(Fault.CUT_REPLY, method="DELETE")
        with pytest.raises(OutcomeUnknownError):
            await panel.domains.delete(domain.id)


async def test_late_request_is_carried_out_before_the_next_write() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(Fault.LATE, method="POST")
        with pytest.raises(OutcomeUnknownError):
            await create(panel)
        assert await names(panel) == []
        await panel.plans.create(name="Gold", max_domains=5)
        assert await names(panel) == ["alder"]


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ({}, [1]),
        ({"times": None}, [1, 2, 3, 4, 5, 6]),
        ({"times": 2}, [1, 2]),
        ({"every": 3}, [3]),
        ({"every": 2, "times": None}, [2, 4, 6]),
        ({"method": "post", "times": None}, []),
        ({"method": ("GET", "HEAD"), "times": 1}, [1]),
        ({"path": "/v1/domains*", "times": None}, []),
        ({"path": "/v1/acc*", "times": 1}, [1]),
    ],
)
async def test_added_fault_hits_the_requests_it_names(options: dict[str, object], failed: list[int]) -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(Fault.LOST_REQUEST, **options)  # type: ignore[arg-type]
        seen = []
        for number in range(1, 7):
            try:
                await panel.accounts.list(limit=1)
            except TransportError:
                seen.append(number)
        assert seen == failed


async def test_first_matching_fault_applies() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(Fault.UNAVAILABLE, path="/v1/accounts")
        box.faults.add(Fault.LOST_REQUEST)
        with pytest.raises(PanelicaError, match="503"):
            await panel.accounts.list(limit=1)
        with pytest.raises(TransportError):
            await panel.accounts.list(limit=1)
        await panel.accounts.list(limit=1)


async def test_faults_when_cleared_hit_nothing() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(Fault.LOST_REQUEST, times=None)
        box.faults.clear()
        await panel.accounts.list(limit=1)


async def test_stopped_sandbox_resets_a_request_that_hangs() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        box.faults.add(Fault.HANGS_BEFORE)
        call = asyncio.ensure_future(panel.with_options(timeout=60.0).accounts.list(limit=1))
        await box.faults.happened.wait()
        await box.stop()
        with pytest.raises(TransportError) as caught:
            await call
        assert not isinstance(caught.value, ConnectError)


@pytest.mark.parametrize("name", ["every", "times"])
async def test_count_below_one_is_rejected(name: str) -> None:
    box = Sandbox()
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        box.faults.add(Fault.LOST_REPLY, **{name: 0})  # type: ignore[arg-type]


def test_documentation_names_only_existing_faults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")
    table = page.partition("| some of the faults |\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([A-Z_0-9]+)`", table))
    assert len(named) > 10
    assert named <= set(Fault.__members__)
