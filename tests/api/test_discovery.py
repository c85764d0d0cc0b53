"""Learning the dialect: one question, which only an answer of the API settles; reads that calls share."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from panelica_async import (
    ConfigurationError,
    ConnectError,
    DecodeError,
    NotFoundError,
    PanelicaClient,
    PanelicaError,
    RateLimit,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    UnsupportedOperationError,
)
from panelica_async.api.discovery import SharedReads
from panelica_async.core.operation import Dialect
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Done, Event, Queued, Sent
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.retry import Waits
from tests.conftest import API_KEY, API_SECRET, Advance, Connect
from tests.support.raw_server import CLOSE, HANG, RESET, RawServer, Step, reply
from tests.support.virtual_time import run

PROJECT = Path(__file__).parents[2]
PANEL = reply(json={"service": "panelica-external-api", "status": "ok", "version": "1.0.0"})
REFERENCE = reply(404, json={"error": "not found"})
WEB_PAGE = "<html><body>Welcome</body></html>"
UNAVAILABLE = reply(502, body="<html>502 Bad Gateway</html>", content_type="text/html")
ROWS = reply(json={"status": "success", "data": []})


@pytest.fixture(autouse=True)
def _auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", "auto")


def asked(server: RawServer) -> int:
    """Return how many requests asked the server for its health."""
    return sum(request.target == "/api/external/health" for request in server.requests)


def others(server: RawServer) -> list[str]:
    """Return the targets of all other requests."""
    return [request.target for request in server.requests if request.target != "/api/external/health"]


@pytest.fixture
async def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transport, "waits", Waits(first_retry=0.01))


async def test_panel_is_asked_once_and_gets_its_own_paths(server: RawServer, connect: Connect) -> None:
    server.script(PANEL, ROWS, ROWS)
    panel = connect()
    assert panel.dialect is None
    await panel.email.accounts.list()
    await panel.email.accounts.list()
    assert panel.dialect == "panel"
    assert [request.target for request in server.requests] == [
        "/api/external/health",
        "/api/external/v1/email-accounts",
        "/api/external/v1/email-accounts",
    ]


async def test_call_with_one_form_in_both_dialects_does_not_ask(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {"id": "a1", "username": "john"}}))
    panel = connect()
    assert (await panel.accounts.get("a1")).username == "john"
    assert asked(server) == 0
    assert panel.dialect is None


async def test_reference_server_gets_its_own_paths(server: RawServer, connect: Connect) -> None:
    server.script(REFERENCE, ROWS)
    panel = connect()
    assert await panel.email.accounts.list().collect() == []
    assert panel.dialect == "reference"
    assert others(server) == ["/api/external/v1/email/accounts"]


async def test_question_is_unsigned(server: RawServer, connect: Connect) -> None:
    server.script(PANEL)
    assert await connect().learn_dialect() == "panel"
    [question] = server.requests
    assert (question.method, question.body) == ("GET", b"")
    assert not [name for name in question.headers if name.startswith("X-")]


async def test_question_takes_no_quota(server: RawServer, connect: Connect) -> None:
    server.script(PANEL, ROWS)
    panel = connect(limiter=RateLimit(per_minute=1)).with_options(max_wait=0.01)
    await panel.domains.list()
    assert asked(server) == 1


@pytest.mark.parametrize("dialect", ["reference", "panel"])
async def test_dialect_of_a_sandbox_is_learnt(dialect: Dialect) -> None:
    async with (
        Sandbox(dialect=dialect) as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel,
    ):
        await panel.ftp.accounts.list()
        assert panel.dialect == dialect


UNDECIDED: dict[str, tuple[Step, type[PanelicaError], int]] = {
    "a 500": (reply(500, json={"error": "boom"}), ServerError, 1),
    "a 502": (UNAVAILABLE, ServerError, 2),
    "a 503": (reply(503, json={"status": "error"}), ServerError, 2),
    "a web page": (reply(body=WEB_PAGE, content_type="text/html"), DecodeError, 1),
    "a web page that claims to be JSON": (reply(body=WEB_PAGE), DecodeError, 1),
    "nothing": (reply(), DecodeError, 1),
    "a list": (reply(json=[1]), DecodeError, 1),
    "a failure in a 200": (reply(json={"status": "error", "error": "database is down"}), ResponseError, 1),
    "a 404 page": (reply(404, body=WEB_PAGE, content_type="text/html"), NotFoundError, 1),
    "a 404 text": (reply(404, body="404 page not found", content_type="text/plain"), NotFoundError, 1),
    "a 401": (reply(401, json={"status": "error", "error": {"code": "MISSING_API_KEY"}}), ResponseError, 1),
    "a redirect": (reply(301, headers={"Location": "/login"}), ResponseError, 1),
    "a redirect with JSON": (reply(302, json={"status": "ok"}, headers={"Location": "/"}), ResponseError, 1),
    "a huge object": (reply(body=b'{"status": "ok"}' + b" " * 100_000), DecodeError, 1),
    "a huge 404": (reply(404, body=b'{"error": "no"}' + b" " * 100_000), NotFoundError, 1),
    "a reset": (RESET, PanelicaError, 2),
    "the end of the connection": (CLOSE, PanelicaError, 2),
}


@pytest.mark.parametrize(("step", "error", "count"), UNDECIDED.values(), ids=UNDECIDED)
@pytest.mark.usefixtures("quick")
async def test_answer_that_shows_no_dialect_raises(
    server: RawServer, connect: Connect, step: Step, error: type[PanelicaError], count: int
) -> None:
    server.script(*[step] * count)
    panel = connect()
    with pytest.raises(error) as caught:
        await panel.domains.create(domain="example.com", user_id="u1")
    assert caught.value.hint is not None
    assert 'Choose the API if the panel cannot answer GET /health: dialect="panel"' in caught.value.hint
    assert panel.dialect is None
    assert (asked(server), others(server)) == (count, [])
    # The next call asks again.
    server.script(PANEL)
    assert await panel.learn_dialect() == "panel"


async def test_endless_body_is_cut_off(server: RawServer, connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b" " * 8192
    server.script(Step(head, endless=b"2000\r\n" + chunk + b"\r\n"))
    with pytest.raises(DecodeError):
        await connect().learn_dialect()


@pytest.mark.usefixtures("quick")
async def test_slow_body_ends_with_the_timeout(server: RawServer, connect: Connect, advance: Advance) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    slow = Step(head, endless=b"1\r\n \r\n", pause=0.01)
    server.script(slow, slow)
    listing = asyncio.ensure_future(connect().domains.list().collect())
    for attempt in (1, 2):
        await server.received(attempt)
        advance(31)
    with pytest.raises(RequestTimeoutError):
        await listing
    assert (asked(server), others(server)) == (2, [])


@pytest.mark.usefixtures("quick")
async def test_closed_port_raises_connect_error(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    panel = connect(base_url=f"http://127.0.0.1:{port}/v1")
    with pytest.raises(ConnectError) as caught:
        await panel.domains.list()
    assert caught.value.attempts == 2
    assert panel.dialect is None


async def test_ten_seconds_of_502_cost_two_requests(server: RawServer, connect: Connect, advance: Advance) -> None:
    server.script(*[UNAVAILABLE] * 20)
    panel = connect()
    call = asyncio.ensure_future(panel.domains.list().collect())
    for _ in range(10):
        await server.received(1)
        await asyncio.sleep(0.02)
        advance(1.0)
    with pytest.raises(ServerError) as caught:
        await call
    assert caught.value.attempts == 2
    assert (asked(server), others(server), panel.dialect) == (2, [], None)


@pytest.mark.usefixtures("quick")
async def test_passing_502_costs_one_more_request(server: RawServer, connect: Connect) -> None:
    server.script(UNAVAILABLE, PANEL, ROWS)
    await connect().ftp.accounts.list()
    assert (asked(server), others(server)) == (2, ["/api/external/v1/ftp-accounts"])


async def test_without_retries_one_request_is_made(server: RawServer, connect: Connect) -> None:
    server.script(UNAVAILABLE)
    with pytest.raises(ServerError):
        await connect(max_retries=0).domains.list()
    assert len(server.requests) == 1


async def test_max_wait_ends_the_question(server: RawServer, connect: Connect) -> None:
    server.script(UNAVAILABLE)
    with pytest.raises(ServerError):
        await connect().with_options(max_wait=0.1).domains.list()
    assert len(server.requests) == 1


async def test_deadline_ends_the_question_for_its_call_alone(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect()
    patient = asyncio.ensure_future(panel.learn_dialect())
    await server.received(1)
    with pytest.raises(RequestTimeoutError, match=r"deadline of 0\.05 s"):
        await panel.with_options(deadline=0.05).domains.list().collect()
    assert not patient.done()
    patient.cancel()
    assert len(server.requests) == 1


async def test_deadline_covers_question_and_call(server: RawServer, connect: Connect, advance: Advance) -> None:
    answer = asyncio.Event()
    server.script(Step(PANEL.sent, after=answer), HANG)
    panel = connect().with_options(deadline=10.0)
    call = asyncio.ensure_future(panel.domains.get("d1"))
    await server.received(1)
    advance(6.0)
    answer.set()
    await server.received(2)
    advance(5.0)
    with pytest.raises(RequestTimeoutError, match="deadline of 10 s") as caught:
        await call
    assert caught.value.path == "/v1/domains/d1"


async def test_fifty_calls_share_one_question(server: RawServer, connect: Connect) -> None:
    server.script(PANEL, *[ROWS] * 50)
    panel = connect()
    await asyncio.gather(
        *(panel.with_options(lane="bulk").domains.list() for _ in range(25)), *(panel.domains.list() for _ in range(25))
    )
    assert (asked(server), len(server.requests)) == (1, 51)


@pytest.mark.usefixtures("quick")
async def test_fifty_calls_share_a_failed_question(server: RawServer, connect: Connect) -> None:
    server.script(UNAVAILABLE, UNAVAILABLE)
    panel = connect()
    errors = await asyncio.gather(*(panel.domains.get("d1") for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in errors} == {ServerError}
    assert len({id(error) for error in errors}) == 50
    assert len(server.requests) == 2


async def test_question_survives_its_cancelled_first_caller(server: RawServer, connect: Connect) -> None:
    answer = asyncio.Event()
    server.script(Step(PANEL.sent, after=answer))
    panel = connect()
    first = asyncio.ensure_future(panel.domains.get("d1"))
    await server.received(1)
    second = asyncio.ensure_future(panel.learn_dialect())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done()
    answer.set()
    assert await second == "panel"
    assert (asked(server), others(server)) == (1, [])


async def test_other_clients_share_the_learnt_dialect(server: RawServer, connect: Connect) -> None:
    server.script(PANEL)
    early = connect()
    await connect().learn_dialect()
    assert connect().dialect == "panel"
    assert await early.learn_dialect() == "panel"
    assert len(server.requests) == 1


async def test_another_client_asks_when_the_first_fails(server: RawServer, connect: Connect) -> None:
    server.script(reply(500), PANEL)
    first = asyncio.ensure_future(connect().learn_dialect())
    second = asyncio.ensure_future(connect().learn_dialect())
    with pytest.raises(ServerError):
        await first
    assert await second == "panel"
    assert len(server.requests) == 2


async def test_event_loops_of_threads_share_one_question(server: RawServer) -> None:
    answer = asyncio.Event()
    server.script(Step(PANEL.sent, after=answer))

    def learn() -> str:
        async def main() -> str:
            async with PanelicaClient(server.origin, api_key=API_KEY, api_secret=API_SECRET) as panel:
                return await panel.learn_dialect()

        return asyncio.run(main())

    threads = [asyncio.create_task(asyncio.to_thread(learn)) for _ in range(3)]
    await server.received(1)
    await asyncio.sleep(0.1)
    answer.set()
    assert await asyncio.gather(*threads) == ["panel"] * 3
    assert len(server.requests) == 1


async def test_nothing_is_left_after_close(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect()
    before = asyncio.all_tasks()
    call = asyncio.ensure_future(panel.domains.get("d1"))
    await server.received(1)
    await panel.close()
    with pytest.raises(PanelicaError):
        await call
    assert {task for task in asyncio.all_tasks() - before if "_connected" not in repr(task)} == set()
    assert len(server.requests) == 1


async def test_close_ends_a_question_in_flight(server: RawServer, connect: Connect) -> None:
    server.script(reply(503, headers={"Retry-After": "60"}))
    panel = connect()
    call = asyncio.ensure_future(panel.domains.get("d1"))
    await server.received(1)
    await asyncio.sleep(0.05)
    await panel.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await call


async def test_closed_client_asks_nothing(server: RawServer, connect: Connect) -> None:
    panel = connect()
    await panel.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await panel.learn_dialect()
    assert server.requests == []


async def test_arguments_are_refused_before_the_question(server: RawServer, connect: Connect) -> None:
    panel = connect()
    with pytest.raises(ValueError, match="id must not be empty"):
        await panel.domains.get("")
    with pytest.raises(ValueError, match="zone_id must not"):
        panel.dns.records.list("..")
    assert server.requests == []


async def test_operation_that_panels_lack_is_refused(server: RawServer, connect: Connect) -> None:
    server.script(PANEL)
    with pytest.raises(UnsupportedOperationError):
        await connect().webhooks.events()
    assert len(server.requests) == 1


async def test_raw_request_needs_no_dialect(server: RawServer, connect: Connect) -> None:
    panel = connect()
    await panel.request("GET", "/v1/anything")
    assert others(server) == ["/api/external/v1/anything"]
    assert (asked(server), panel.dialect) == (0, None)


async def test_limit_is_requested_in_the_dialect_of_the_panel(server: RawServer, connect: Connect) -> None:
    limit = reply(json={"status": "success", "data": {"tier": "business", "requests_per_minute": 1000}})
    server.script(PANEL, limit, ROWS)
    panel = connect(tier="auto")
    await panel.ftp.accounts.list()
    assert [request.target.rpartition("/")[2] for request in server.requests] == [
        "health",
        "rate-limit",
        "ftp-accounts",
    ]


@pytest.mark.usefixtures("quick")
async def test_uncertain_dialect_does_not_stop_raw_requests(server: RawServer, connect: Connect) -> None:
    server.script(reply(body=WEB_PAGE, content_type="text/html"))
    panel = connect(tier="auto")
    await panel.request("GET", "/v1/anything")
    assert (asked(server), others(server)) == (1, ["/api/external/v1/anything"])


@pytest.mark.parametrize("name", ["panel", "reference"])
async def test_variable_sets_the_dialect_without_a_question(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", name)
    server.script(ROWS)
    panel = connect()
    assert panel.dialect == name
    await panel.domains.list()
    assert asked(server) == 0


async def test_argument_overrides_the_variable(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", "panel")
    assert connect(dialect="reference").dialect == "reference"
    assert connect(dialect="auto").dialect is None


def test_invalid_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", "klingon")
    with pytest.raises(
        ConfigurationError, match=r"^PANELICA_DIALECT must be one of auto, reference, panel, not 'klingon'"
    ):
        PanelicaClient("panel.example.com", api_key=API_KEY, api_secret=API_SECRET)


async def test_variant_shares_the_dialect_of_its_client(server: RawServer, connect: Connect) -> None:
    server.script(REFERENCE)
    panel = connect()
    variant = panel.with_options(timeout=5)
    await variant.learn_dialect()
    assert (panel.dialect, variant.dialect) == ("reference", "reference")


FORKING = f"""
import asyncio, os, sys
from panelica_async import PanelicaClient

async def learn():
    async with PanelicaClient(sys.argv[1], api_key="{API_KEY}", api_secret="{API_SECRET}") as panel:
        print(await panel.learn_dialect(), flush=True)

async def main():
    asking = asyncio.ensure_future(learn())
    await asyncio.sleep(0)
    if os.fork() == 0:
        try:
            asyncio.run(learn())
        finally:
            os._exit(0)
    while os.waitpid(-1, os.WNOHANG) == (0, 0):
        await asyncio.sleep(0.005)
    await asking

asyncio.run(main())
"""


async def test_forked_process_asks_for_itself(server: RawServer) -> None:
    answer = asyncio.Event()
    server.script(Step(PANEL.sent, after=answer), Step(PANEL.sent, after=answer))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, server.origin, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    await server.received(2)
    answer.set()
    printed, _ = await process.communicate()
    # Both processes may print at the same time.
    assert printed.decode().replace("\n", "") == "panelpanel"
    assert len(server.requests) == 2


def test_new_event_loop_shares_the_learnt_dialect() -> None:
    async def learn(server: RawServer) -> str:
        async with PanelicaClient(server.origin, api_key=API_KEY, api_secret=API_SECRET) as panel:
            return await panel.learn_dialect()

    async def main() -> tuple[str, int]:
        async with RawServer() as server:
            server.script(PANEL)
            first = await asyncio.to_thread(asyncio.run, learn(server))
            second = await asyncio.to_thread(asyncio.run, learn(server))
            assert first == second
            return first, len(server.requests)

    assert asyncio.run(main()) == ("panel", 1)


async def test_question_is_counted_and_sends_events(server: RawServer, connect: Connect) -> None:
    server.script(REFERENCE)
    panel = connect()
    events: list[Event] = []
    panel.subscribe(events.append)
    await panel.learn_dialect()
    assert [(type(event), event.operation, event.path) for event in events] == [
        (Queued, "health", "/health"),
        (Sent, "health", "/health"),
        (Done, "health", "/health"),
    ]
    assert panel.stats().succeeded == 1


def test_answer_is_kept_for_a_minute() -> None:
    async def main() -> list[str | None]:
        reads = SharedReads()
        reads.keep(("owner", "d1"), "u1")
        answers = [reads.kept(("owner", "d1")), reads.kept(("owner", "d2"))]
        await asyncio.sleep(59)
        answers.append(reads.kept(("owner", "d1")))
        await asyncio.sleep(2)
        return [*answers, reads.kept(("owner", "d1"))]

    assert run(main()) == ["u1", None, "u1", None]


async def test_oldest_answers_are_dropped_beyond_the_limit() -> None:
    reads = SharedReads()
    for number in range(1500):
        reads.keep(number, "u1")
    assert [number for number in range(1500) if reads.kept(number)] == list(range(500, 1500))
