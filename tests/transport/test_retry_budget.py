"""Retries do not storm a panel that is down: they are paid for by calls that succeed at once."""

import asyncio
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import ConnectError, PanelicaClient, PanelicaError
from panelica_async.core.operation import Repeat
from panelica_async.errors import OutcomeUnknownError, TransportError
from panelica_async.telemetry import Done
from panelica_async.transport.call import Call
from panelica_async.transport.retry import RetryBudget
from tests.conftest import Connect
from tests.support.raw_server import CLOSE, RESET, RawServer, Step, reply
from tests.support.virtual_time import run
from tests.transport.stubs import Network, make_call, make_response, make_transport

CAPACITY = 100
READS = 300
RETRIES = 3


@given(st.lists(st.booleans(), max_size=2000))
def test_retry_costs_one_and_success_earns_a_fifth(moves: list[bool]) -> None:
    budget, fifths = RetryBudget(), 5 * CAPACITY
    for spends in moves:
        if spends:
            assert budget.try_spend() == (fifths >= 5)
            fifths -= 5 if fifths >= 5 else 0
        else:
            budget.earn()
            fifths = min(5 * CAPACITY, fifths + 1)


async def sent(call: Call, network: Network, budget: RetryBudget) -> int:
    """Send a call through a transport with this budget; return the status that it ends with."""
    made = make_transport(network)
    made.budget = budget
    return (await made.send(call)).status


async def reads(panel: PanelicaClient) -> tuple[list[object], int]:
    """Send all calls at once; return their results and the number of attempts."""
    ended: list[Done] = []
    panel.subscribe(lambda event: ended.append(event) if isinstance(event, Done) else None)
    outcomes = await asyncio.gather(*[panel.domains.get("d1") for _ in range(READS)], return_exceptions=True)
    assert len(ended) == READS
    return outcomes, sum(done.attempts for done in ended)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    "step", [reply(503), reply(502), reply(503, headers={"Retry-After": "0"}), CLOSE, RESET], ids=repr
)
async def test_panel_that_is_down_gets_a_hundred_retries_in_all(
    server: RawServer, connect: Connect, step: Step
) -> None:
    """Without a budget it would be four times the calls."""
    server.script(*[step] * READS * (1 + RETRIES))
    outcomes, attempts = await reads(connect(max_retries=RETRIES))
    assert all(isinstance(outcome, PanelicaError) for outcome in outcomes)
    assert len(server.requests) == attempts == READS + CAPACITY


@pytest.mark.usefixtures("no_backoff")
async def test_unreachable_host_gets_a_hundred_retries_in_all(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        panel = connect(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}", max_retries=RETRIES)
        outcomes, attempts = await reads(panel)
    assert all(isinstance(outcome, ConnectError) for outcome in outcomes)
    assert attempts == READS + CAPACITY


@pytest.mark.usefixtures("no_backoff")
async def test_successes_pay_for_retries_once_the_panel_is_up(server: RawServer, connect: Connect) -> None:
    domain, broken = reply(json={"id": "d1", "domain": "example.com"}), reply(503)
    server.script(*[broken] * (READS + CAPACITY))
    panel = connect(max_retries=RETRIES)
    await reads(panel)

    server.script(*[domain] * 4, broken)
    for _ in range(4):
        await panel.domains.get("d1")
    with pytest.raises(PanelicaError):
        await panel.domains.get("d1")

    server.script(domain, broken, domain)
    for _ in range(2):
        await panel.domains.get("d1")
    assert len(server.requests) == READS + CAPACITY + 5 + 3


@given(st.lists(st.sampled_from([200, 404, 500, 502, 503, None]), max_size=400), st.randoms(use_true_random=False))
def test_retry_budget_caps_retries_at_a_fifth_of_successes(outcomes: list[int | None], rng: random.Random) -> None:
    async def main() -> None:
        budget, attempts, succeeded = RetryBudget(), 0, 0
        for outcome in outcomes:
            call = make_call(rng.choice([Repeat.READ, Repeat.IDEMPOTENT]))
            network = Network(TransportError("lost") if outcome is None else make_response(outcome))
            try:
                status = await sent(call, network, budget)
            except (TransportError, OutcomeUnknownError):
                status = None
            assert status == outcome
            attempts += call.attempts
            succeeded += outcome == 200
        assert attempts - len(outcomes) <= CAPACITY + succeeded / 5

    run(main())


def test_retries_after_a_refusal_by_the_rate_limit_are_free() -> None:
    """The limiter paces them."""

    async def main() -> None:
        budget = RetryBudget()
        for _ in range(CAPACITY):
            call = make_call(Repeat.UNSAFE, max_retries=5)
            assert await sent(call, Network(make_response(429, headers={"Retry-After": "60"})), budget) == 429
            assert call.attempts == 6
        assert [budget.try_spend() for _ in range(CAPACITY + 1)] == [True] * CAPACITY + [False]

    run(main())


async def test_client_and_its_variants_share_one_budget(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, no_backoff: None
) -> None:
    """Only a shared budget keeps concurrent calls from storming the panel."""
    monkeypatch.setattr(RetryBudget, "CAPACITY", 2)
    server.script(*[RESET] * 4)
    panel = connect()
    attempts: list[int] = []
    for client in (panel, panel.with_options(timeout=1)):
        with pytest.raises(TransportError) as caught:
            await client.me()
        attempts.append(caught.value.attempts)
    assert attempts == [3, 1]


def test_empty_budget_is_logged_once_until_it_fills_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    budget = RetryBudget()
    for _ in range(CAPACITY + 5):
        budget.try_spend()
    for _ in range(100):
        budget.earn()
    assert [(record.levelname, record.getMessage()[:26]) for record in caplog.records] == [
        ("WARNING", "the retry budget is empty:"),
        ("INFO", "the retry budget is fillin"),
    ]
