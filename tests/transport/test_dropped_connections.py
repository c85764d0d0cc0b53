"""A connection that the server drops between two requests: aiohttp would try again by itself, and unseen.

It does so for GET, PUT and DELETE when a kept-alive connection turns out to be closed. Every attempt must be ours: paid
for in the quota, signed for itself, counted, and not made when the caller wants no retries.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest

from panelica_async import OutcomeUnknownError, PanelicaClient, TransportError
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.telemetry import Done, Event, Sent
from tests.conftest import Connect, until
from tests.support.raw_server import CLOSE, RESET, RESET_EARLY, RawServer, Step, reply

pytestmark = pytest.mark.usefixtures("no_backoff")

REPEATED = ["GET", "PUT", "DELETE"]
DROPPED = {"closed": CLOSE, "reset": RESET, "reset before it was read": RESET_EARLY}
dropped = pytest.mark.parametrize("step", DROPPED.values(), ids=DROPPED)
PATIENCE = 60.0
"""Seconds after which another thread must have hung, however busy the machine is."""


class Watched:
    """A client with a kept-alive connection, and everything sent after it was opened."""

    def __init__(self, connect: Connect, **options: Any) -> None:
        self.limiter = RateLimiter(RateLimit.unlimited())
        self.panel: PanelicaClient = connect(limiter=self.limiter, **options)
        self.events: list[Event] = []
        self.panel.subscribe(self.events.append)

    async def warm_up(self) -> None:
        await self.panel.request("GET", "/v1/first")
        self.events.clear()

    @property
    def sent(self) -> int:
        return sum(isinstance(event, Sent) for event in self.events)

    @property
    def attempts(self) -> int:
        [done] = [event for event in self.events if isinstance(event, Done)]
        return done.attempts


@dropped
@pytest.mark.parametrize("method", REPEATED)
async def test_dropped_connection_is_repeated_by_us_not_aiohttp(
    server: RawServer, connect: Connect, step: Step, method: str
) -> None:
    watched = Watched(connect)
    server.script(reply(json={}), step, reply(json={}))
    await watched.warm_up()
    await watched.panel.request(method, "/v1/second")
    arrived = 1 if step is RESET_EARLY else 2
    assert len(server.requests) == 1 + arrived
    assert server.connections == 2
    assert watched.limiter.granted == 1 + 2
    assert watched.sent == watched.attempts == 2


@dropped
@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("is_borrowed", [False, True])
async def test_dropped_connection_without_retries_is_final(
    server: RawServer, connect: Connect, step: Step, method: str, is_borrowed: bool
) -> None:
    async with aiohttp.ClientSession() as session:
        watched = Watched(connect, max_retries=0, session=session if is_borrowed else None)
        server.script(reply(json={}), step)
        await watched.warm_up()
        with pytest.raises(TransportError if method == "GET" else OutcomeUnknownError) as caught:
            await watched.panel.request(method, "/v1/second")
    arrived = 0 if step is RESET_EARLY else 1
    assert len(server.requests) == 1 + arrived
    assert server.connections == 1
    assert watched.limiter.granted == 1 + 1
    assert watched.sent == watched.attempts == caught.value.attempts == 1


@dropped
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_dropped_connection_of_an_unsafe_write_is_final(
    server: RawServer, connect: Connect, step: Step, method: str
) -> None:
    watched = Watched(connect)
    server.script(reply(json={}), step)
    await watched.warm_up()
    with pytest.raises(OutcomeUnknownError):
        await watched.panel.request(method, "/v1/second", json={})
    assert watched.limiter.granted == 1 + 1
    assert watched.sent == watched.attempts == 1


async def test_repeated_unsigned_call_takes_no_quota(server: RawServer, connect: Connect) -> None:
    watched = Watched(connect)
    server.script(reply(json={}), CLOSE, reply(json={"status": "ok"}))
    await watched.warm_up()
    await watched.panel.health()
    assert len(server.requests) == 1 + 2
    assert watched.limiter.granted == 1
    assert watched.attempts == 2


@pytest.mark.parametrize("method", REPEATED)
async def test_connections_closed_after_each_reply_lose_no_call(
    server: RawServer, connect: Connect, method: str
) -> None:
    """Whether the client notices in time or not."""
    watched = Watched(connect)
    closing = Step(reply(json={}).sent, ends="close")
    server.script(*[closing] * 100)
    attempts = 0
    for _ in range(20):
        watched.events.clear()
        await watched.panel.request(method, "/v1/things/1")
        assert watched.sent == watched.attempts
        attempts += watched.attempts
        assert watched.limiter.granted == attempts
    assert 20 <= len(server.requests) <= attempts


class ImpatientServer(ThreadingHTTPServer):
    """Says when it has closed a connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ShortKeepAlive)
        self.closed = threading.Event()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.set()


class ShortKeepAlive(BaseHTTPRequestHandler):
    """Answers everything, and closes a connection that is idle for a moment."""

    protocol_version = "HTTP/1.1"
    timeout = 0.1

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PATCH = do_GET  # noqa: N815 - the names are of http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def impatient_server() -> Iterator[ImpatientServer]:
    """A server in another thread, which continues while the loop is blocked."""
    with ImpatientServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_write_after_a_blocked_loop_takes_no_closed_connection(
    impatient_server: ImpatientServer, connect: Connect, method: str
) -> None:
    panel = connect(base_url=f"http://127.0.0.1:{impatient_server.server_port}", max_retries=0)
    for _ in range(3):
        await panel.request("GET", "/v1/first")
        # Both block the loop on purpose: the client must notice the closed connection after a pause.
        assert impatient_server.closed.wait(PATIENCE)
        time.sleep(0.3)  # noqa: ASYNC251
        impatient_server.closed.clear()
        assert (await panel.request(method, "/v1/second", json={})).status == 200


class AnswersMeanwhile(BaseHTTPRequestHandler):
    """Answers once the loop of the client is blocked, and says so."""

    protocol_version = "HTTP/1.1"
    arrived = threading.Event()
    is_blocked = threading.Event()
    answered = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.arrived.set()
        self.is_blocked.wait(PATIENCE)
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b'{"id": "b1"}')
        self.answered.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("option", ["timeout", "deadline"])
async def test_reply_that_came_while_the_loop_was_blocked_is_read(connect: Connect, option: str) -> None:
    for event in (AnswersMeanwhile.arrived, AnswersMeanwhile.is_blocked, AnswersMeanwhile.answered):
        event.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), AnswersMeanwhile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            panel = connect(base_url=f"http://127.0.0.1:{server.server_port}", max_retries=0, **{option: 5.0})
            call = asyncio.ensure_future(panel.request("POST", "/v1/backups", json={}))
            await until(AnswersMeanwhile.arrived.is_set)
            with pytest.MonkeyPatch.context() as patch:
                # What follows is as if the process had been stopped for a minute.
                AnswersMeanwhile.is_blocked.set()
                assert AnswersMeanwhile.answered.wait(PATIENCE)
                loop = asyncio.get_running_loop()
                clock = loop.time
                patch.setattr(loop, "time", lambda: clock() + 60)
                assert (await call).data == {"id": "b1"}
            await panel.close()
        finally:
            server.shutdown()
            thread.join()
