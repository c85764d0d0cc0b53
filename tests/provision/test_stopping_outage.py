"""An outage of the panel behind its web server ends a run with one error, in bounded time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from panelica_async.errors import TransportError
from panelica_async.provision import Manifest, SiteOutcome, SiteStatus, apply
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect, state, statuses
from tests.support.faulty_proxy import Fault, FaultyProxy
from tests.support.virtual_time import run

SITES = 30
MANIFEST = Manifest.from_data(
    [
        {
            "domain": f"s{number}.example",
            "owner": f"owner{number}",
            "email": f"o@s{number}.example",
            "mailboxes": "info",
        }
        for number in range(SITES)
    ]
)

pytestmark = pytest.mark.once


class Outage:
    """Answers the first requests, and then fails those that `meets` until it is over.

    Attributes:
        lost: Requests that met it.
    """

    def __init__(self, after: int, fault: Fault, meets: Callable[[web.Request], bool] = lambda _: True) -> None:
        self.is_over = False
        self.lost = 0
        self._after = after
        self._fault = fault
        self._meets = meets

    def __call__(self, request: web.Request) -> Fault | None:
        self._after -= 1
        if self._after >= 0 or self.is_over or not self._meets(request):
            return None
        self.lost += 1
        return self._fault


def is_write(request: web.Request) -> bool:
    return request.method != "GET"


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.LOST_REQUEST,
        Fault.LOST_REPLY,
        Fault.GATEWAY_BEFORE,
        Fault.GATEWAY_AFTER,
        Fault.GATEWAY_TIMEOUT_AFTER,
        Fault.SERVER_ERROR,
        Fault.UNAVAILABLE,
        Fault.MISSING_PAGE,
        Fault.FORBIDDEN_PAGE_AFTER,
        Fault.NO_JSON,
        Fault.CUT_REPLY,
        Fault.HANGS_BEFORE,
        Fault.HANGS_AFTER,
    ],
)
def test_panel_down_stops_the_run_and_resume_completes_it(tmp_path: Path, fault: Fault, concurrency: int) -> None:
    outage = Outage(12, fault)
    seconds, unfinished = run(interrupted_and_resumed(tmp_path, outage, concurrency))
    assert unfinished <= concurrency + 1
    # For each site on its way: a write that was lost, and the look at what became of it with its repetitions.
    assert outage.lost <= 8 * concurrency
    assert seconds < 300


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.GATEWAY_BEFORE, Fault.MISSING_PAGE, Fault.HANGS_BEFORE])
def test_panel_that_only_reads_stops_the_run(tmp_path: Path, fault: Fault, concurrency: int) -> None:
    outage = Outage(12, fault, meets=is_write)
    seconds, unfinished = run(interrupted_and_resumed(tmp_path, outage, concurrency))
    # The write that is one too many, those before it, and those that are on their way by then.
    assert unfinished <= 2 * concurrency + 2 + concurrency - 1
    assert outage.lost <= 4 * concurrency + 2
    assert seconds < 240


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.HANGS_BEFORE, Fault.MISSING_PAGE])
def test_failing_site_stops_no_other_one_at_a_time(tmp_path: Path, fault: Fault) -> None:
    sites = [{"domain": f"s{number}.example", "owner": "acme", "email": "o@mail.example"} for number in range(3)]
    sites[1] |= {"dns": [f"h{number} A 192.0.2.{number}" for number in range(1, 10)]}

    def decide(request: web.Request) -> Fault | None:
        return fault if is_write(request) and "/dns/zones/" in request.path else None

    async def applied() -> list[SiteOutcome]:
        async with (
            Sandbox("enterprise") as box,
            FaultyProxy(box, decide) as proxy,
            client(box, proxy.base_url) as panel,
        ):
            outcomes = apply(panel, Manifest.from_data(sites), credentials=tmp_path / "p.csv", concurrency=1)
            return await collect(outcomes)

    first, bad, last = run(applied())
    assert (first.status, last.status) == (SiteStatus.DONE, SiteStatus.DONE)
    assert bad.status in {SiteStatus.FAILED, SiteStatus.UNKNOWN}
    assert len([step for step in bad.steps if step.calls]) == 10


async def interrupted_and_resumed(directory: Path, outage: Outage, concurrency: int) -> tuple[float, int]:
    """Return how long an outage took to stop a run, and how many sites it left unfinished."""
    outcomes: list[SiteOutcome] = []
    loop = asyncio.get_running_loop()
    options = {"journal": directory / "journal", "credentials": directory / "p.csv", "concurrency": concurrency}
    async with Sandbox("enterprise") as box, FaultyProxy(box, outage) as proxy, client(box, proxy.base_url) as panel:
        begun = loop.time()
        with pytest.raises(TransportError, match="the panel does not answer any more") as raised:
            await collect(apply(panel, MANIFEST, **options), outcomes)
        seconds = loop.time() - begun
        assert raised.value.hint == "Check whether the panel is up; `resume` continues the run."
        assert len(outcomes) == SITES

        outage.is_over = True
        again = await collect(apply(panel, MANIFEST, **options))
        assert len(statuses(again)) == SITES
        assert {outcome.status for outcome in again} <= {SiteStatus.DONE, SiteStatus.EXISTS}
        assert len(set(state(box)["mailboxes"])) == len(state(box)["mailboxes"]) == SITES
    unfinished = [outcome for outcome in outcomes if outcome.status in {SiteStatus.FAILED, SiteStatus.UNKNOWN}]
    return seconds, len(unfinished)
