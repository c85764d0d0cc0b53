"""Listeners come and go, and cannot harm a call; without listeners, no events are created."""

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from panelica_async import NotFoundError, OutcomeUnknownError, PanelicaClient
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.telemetry import LOGGER, Done, Event, Queued, events
from panelica_async.transport import monitor
from tests.conftest import API_SECRET, Advance, Connect
from tests.support.raw_server import CLOSE, RawServer, reply
from tests.telemetry.watching import Watch, without_pauses

HUSH = "hunter2-x9y8z7"
KINDS = ["Queued", "Sent", "Throttled", "Retried", "Done"]
NOW = {"Retry-After": "0"}


async def call(panel: PanelicaClient) -> None:
    await panel.request("GET", "/v1/me")


async def test_unsubscribed_listener_gets_no_events(server: RawServer, connect: Connect) -> None:
    panel = connect()
    gone, here = Watch(panel), Watch(panel)
    await call(panel)
    gone.end()
    gone.end()
    await call(panel)
    assert gone.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert here.kinds == [*gone.kinds, "Queued 2", "Sent 2", "Done 2"]


async def test_listener_can_unsubscribe_itself(server: RawServer, connect: Connect) -> None:
    panel = connect()
    heard: list[Event] = []

    def once(event: Event) -> None:
        heard.append(event)
        end()

    end, after = panel.subscribe(once), Watch(panel)
    await call(panel)
    assert [type(event) for event in heard] == [Queued]
    assert after.kinds == ["Queued 1", "Sent 1", "Done 1"]


async def test_listener_can_replace_another_one(server: RawServer, connect: Connect) -> None:
    panel = connect()
    brought: list[Watch] = []

    def replace(event: Event) -> None:
        if isinstance(event, Queued):
            ended.end()
            brought.append(Watch(panel))

    panel.subscribe(replace)
    ended = Watch(panel)
    await call(panel)
    assert ended.kinds == []
    assert brought[0].kinds == ["Sent 1", "Done 1"]


async def test_listener_subscribed_twice_gets_events_twice(server: RawServer, connect: Connect) -> None:
    panel = connect()
    heard: list[Event] = []
    ends = [panel.subscribe(heard.append) for _ in range(2)]
    for expected in (6, 9, 9):
        await call(panel)
        assert len(heard) == expected
        if ends:
            ends.pop()()


async def test_variants_share_the_stream(server: RawServer, connect: Connect) -> None:
    panel = connect()
    variant = panel.with_options(timeout=5, lane="bulk")
    of_client, of_variant = Watch(panel), Watch(variant)
    await call(panel)
    await call(variant)
    assert of_client.events == of_variant.events
    assert [(event.call, event.lane) for event in of_client.all(Done)] == [(1, "interactive"), (2, "bulk")]
    assert variant.stats() == panel.stats()


async def test_other_clients_send_no_events(server: RawServer, connect: Connect) -> None:
    watch = Watch(connect())
    await call(connect())
    assert watch.events == []


async def heard_nobody(event: Event) -> None:
    """A coroutine function, which an async program may pass by mistake."""


class AsyncListener:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize("listener", [heard_nobody, functools.partial(heard_nobody), AsyncListener(), None, "print"])
async def test_listener_that_cannot_be_called_is_rejected(connect: Connect, listener: Any) -> None:
    with pytest.raises(TypeError, match="a plain function that takes an event"):
        connect().subscribe(listener)


def fail_with_what_it_knows(event: Event) -> None:
    raise ValueError(attrs.asdict(event, recurse=False)) from getattr(event, "error", None)


def fail_with_a_result_that_was_cancelled(event: Event) -> None:
    result = asyncio.get_running_loop().create_future()
    result.cancel()
    result.result()


class Failing:
    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return f"Failing({self.token!r})"

    def __call__(self, event: Event) -> None:
        raise RuntimeError(self.token)


@pytest.mark.parametrize(
    ("listener", "name"),
    [
        (fail_with_what_it_knows, "fail_with_what_it_knows"),
        (fail_with_a_result_that_was_cancelled, "fail_with_a_result_that_was_cancelled"),
        (Failing(HUSH), "Failing"),
        (functools.partial(lambda token, event: 1 / 0, HUSH), "partial"),
    ],
)
async def test_failing_listener_harms_no_call_and_leaks_no_secret(
    server: RawServer,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    listener: Callable[[Event], object],
    name: str,
) -> None:
    server.script(reply(json={"api_secret": HUSH}), reply(404, json={"error": "not found"}))
    panel = connect()
    panel.subscribe(listener)
    after = Watch(panel)
    with caplog.at_level(logging.ERROR):
        reply_of_first = await panel.request("GET", "/v1/me", query={"password": HUSH})
        with pytest.raises(NotFoundError):
            await panel.request("POST", "/v1/token", json={"password": HUSH})
    assert reply_of_first.data == {"api_secret": HUSH}
    assert after.kinds == ["Queued 1", "Sent 1", "Done 1", "Queued 2", "Sent 2", "Done 2"]
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" at ")[1].split(":")[0] for line in said] == [
        "Queued of call 1 GET /v1/me",
        "Sent of call 1 GET /v1/me",
        "Done of call 1 GET /v1/me",
        "Queued of call 2 POST /v1/token",
        "Sent of call 2 POST /v1/token",
        "Done of call 2 POST /v1/token",
    ]
    for line in said:
        assert f"the listener {name} failed" in line
        assert "test_listeners.py" in line  # where it failed
        for secret in (HUSH, API_SECRET, *(request.signature for request in server.requests)):
            assert secret not in line


async def test_failing_log_harms_no_call(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(monitor, "_call_log", lambda: fail)
    panel = connect()
    watch = Watch(panel)
    await call(panel)
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert [record.getMessage().count("failed at") for record in caplog.records] == [1, 1, 1]


class FailingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise LookupError("no request in this context")


async def test_failing_filter_of_the_logger_harms_no_call(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    panel, failing = connect(), FailingFilter()
    watch = Watch(panel)
    LOGGER.addFilter(failing)
    try:
        with caplog.at_level(logging.DEBUG):
            await call(panel)
    finally:
        LOGGER.removeFilter(failing)
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert panel.stats().in_flight == 0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the events that are created, by kind."""
    counts = Counter[str]()

    def counted(kind: type[Event]) -> Callable[..., Event]:
        def make(**fields: Any) -> Event:
            counts[kind.__name__] += 1
            return kind(**fields)

        return make

    for name in KINDS:
        monkeypatch.setattr(events, name, counted(getattr(events, name)))
    return counts


async def send_everything(server: RawServer, panel: PanelicaClient) -> None:
    """Make calls that succeed, are refused, are repeated, fail, and have an unknown outcome."""
    server.script(reply(json={}), reply(429, headers=NOW), reply(503, headers=NOW), reply(json={}))
    await call(panel)
    await call(panel)
    server.script(reply(404, json={"error": "not found"}), CLOSE)
    for method, error in (("GET", NotFoundError), ("POST", OutcomeUnknownError)):
        with pytest.raises(error):
            await panel.request(method, "/v1/me")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, {"Queued": 4, "Sent": 6, "Throttled": 1, "Retried": 2, "Done": 4}),
        (logging.INFO, {"Throttled": 1, "Retried": 2, "Done": 2}),
        (logging.WARNING, {"Throttled": 1, "Done": 1}),
        (logging.ERROR, {}),
        (logging.CRITICAL, {}),
    ],
)
async def test_events_are_created_only_for_listeners(
    server: RawServer,
    connect: Connect,
    advance: Advance,
    made: Counter[str],
    caplog: pytest.LogCaptureFixture,
    level: int,
    expected: dict[str, int],
) -> None:
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)
    with caplog.at_level(level, LOGGER.name):
        await without_pauses(send_everything(server, panel), limiter, advance)
    assert made == expected
    # Only events with a listener were created.
    assert len(caplog.records) == made.total()
    made.clear()
    watch = Watch(panel)
    with caplog.at_level(logging.CRITICAL, LOGGER.name):
        await without_pauses(send_everything(server, panel), limiter, advance)
    assert made.total() == len(watch.events) == 17
    watch.end()
    with caplog.at_level(logging.CRITICAL, LOGGER.name):
        await without_pauses(call(panel), limiter, advance)
    assert made.total() == 17
