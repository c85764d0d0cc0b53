"""The events of a call: which, in which order, with which attributes."""

import asyncio
import time
from email.utils import formatdate

import attrs
import pytest

from panelica_async import (
    ConflictError,
    DecodeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaClient,
    RateLimitWaitError,
    RequestTimeoutError,
    TransportError,
)
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.telemetry import Done, Mismatched, Outcome, Queued, Retried, Sent, Throttled
from tests.conftest import Advance, Connect, until
from tests.support.raw_server import CLOSE, HANG, RawServer, reply
from tests.telemetry.watching import Watch, facts, without_pauses

DOMAIN = {"id": "d1", "domain": "example.com", "user_id": "u1"}


async def test_fields_that_do_not_fit_send_an_event(server: RawServer, connect: Connect) -> None:
    rows = [
        {**DOMAIN, "disk_usage_mb": [1]},
        {**DOMAIN, "id": "d2", "disk_usage_mb": "much", "ssl_enabled": "yes", "created_at": "2026-03-07"},
        {**DOMAIN, "id": "d3", "disk_usage_mb": [2], "colour": "red"},
    ]
    server.script(reply(json={"status": "success", "data": rows, "total": 3}), reply(json=DOMAIN))
    panel = connect()
    watch = Watch(panel)
    page = await panel.domains.list()
    assert [domain.disk_usage_mb for domain in page.items] == [None, None, None]
    await panel.domains.get("d1")
    assert [type(event).__name__ for event in watch.events] == [
        *("Queued", "Sent", "Mismatched", "Done"),
        *("Queued", "Sent", "Done"),
    ]
    mismatched = watch.events[2]
    assert isinstance(mismatched, Mismatched)
    assert mismatched.operation == "domains.list"
    assert mismatched.count == 4
    assert mismatched.fields == (
        "Domain.disk_usage_mb: expected int, got list",
        "Domain.ssl_enabled: expected bool, got str",
        "Domain.disk_usage_mb: expected int, got str",
    )
    assert panel.stats().mismatches == 4


async def test_fields_of_a_completed_write_send_one_event(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {"id": "d1", "disk_usage_mb": "much"}}))
    panel = connect()
    watch = Watch(panel)
    made = await panel.domains.create(domain="example.com", user_id="u1")
    assert (made.disk_usage_mb, made.extra) == (None, {"disk_usage_mb": "much"})
    assert [event.count for event in watch.events if isinstance(event, Mismatched)] == [1]


async def test_large_replies_send_events_in_the_event_loop(server: RawServer, connect: Connect) -> None:
    rows = [{**DOMAIN, "id": f"d{index}", "disk_usage_mb": "much", "note": "x" * 2000} for index in range(1200)]
    server.script(reply(json={"status": "success", "data": rows, "total": len(rows)}))
    panel = connect()
    watch = Watch(panel)
    assert len((await panel.domains.list()).items) == 1200
    [mismatched] = [event for event in watch.events if isinstance(event, Mismatched)]
    assert (mismatched.count, mismatched.fields) == (1000, ("Domain.disk_usage_mb: expected int, got str",))


async def record(panel: PanelicaClient) -> None:
    await panel.dns.records.create("z1", name="www", type="A", content="192.0.2.1")


def read_facts(call: int = 1) -> dict[str, object]:
    return {
        "call": call,
        "operation": "domains.get",
        "method": "GET",
        "path": "/v1/domains/d1",
        "lane": "interactive",
    }


async def test_plain_call_sends_queued_sent_and_done(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=DOMAIN, headers={"X-Request-Id": "r-1"}))
    panel = connect()
    watch, begun = Watch(panel), time.time()
    await panel.domains.get("d1")
    queued, sent, done = watch.events
    assert isinstance(queued, Queued)
    assert facts(queued) == read_facts()
    assert isinstance(sent, Sent)
    assert facts(sent, without=("headers",)) == {**read_facts(), "attempt": 1, "waited": 0.0, "query": "", "body": None}
    assert sent.headers["x-signature"] == server.requests[0].signature
    assert isinstance(done, Done)
    assert done.duration > 0
    assert facts(done, without=("duration",)) == {
        **read_facts(),
        "outcome": Outcome.SUCCEEDED,
        "status": 200,
        "attempts": 1,
        "waited": 0.0,
        "request_id": "r-1",
        "body": b'{"id": "d1", "domain": "example.com", "user_id": "u1"}',
        "error": None,
    }
    assert begun <= queued.at <= sent.at <= done.at <= time.time()


async def test_sent_has_the_request_as_transmitted(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=[]))
    panel = connect()
    watch = Watch(panel)
    await panel.request("POST", "/v1/things", query={"a b": "c/d"}, json={"password": "correct horse"})
    sent = watch.only(Sent)
    assert sent.operation == "POST /v1/things"
    assert f"{sent.path}?{sent.query}" == server.requests[0].target.removeprefix("/api/external")
    assert sent.body == server.requests[0].body
    assert {name: server.requests[0].headers[name] for name in sent.headers} == dict(sent.headers)
    assert "correct horse" not in repr(sent)
    assert server.requests[0].signature not in repr(sent)


async def test_calls_are_numbered_in_order(server: RawServer, connect: Connect) -> None:
    panel = connect()
    watch = Watch(panel)
    for _ in range(2):
        await panel.request("GET", "/v1/me")
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1", "Queued 2", "Sent 2", "Done 2"]


async def test_call_for_the_tier_sends_events_too(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"tier": "enterprise"}))
    panel = connect(tier="auto")
    watch = Watch(panel)
    await panel.request("GET", "/v1/me")
    assert watch.kinds == ["Queued 1", "Queued 2", "Sent 2", "Done 2", "Sent 1", "Done 1"]
    assert watch.done(2).operation == "rate_limit"


async def test_call_that_waits_for_quota_says_how_long(server: RawServer, connect: Connect, advance: Advance) -> None:
    limiter = paused(60)
    panel = connect(limiter=limiter)
    watch = Watch(panel)
    await without_pauses(panel.request("GET", "/v1/me"), limiter, advance)
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert watch.only(Sent).waited >= 60
    assert watch.done().duration >= watch.done().waited == watch.only(Sent).waited


def paused(seconds: float) -> RateLimiter:
    """Return a limiter that the panel has just refused."""
    limiter = RateLimiter(RateLimit.for_tier("business"))
    limiter.observe(429, {}, retry_after=seconds)
    return limiter


async def test_refused_call_sends_throttled_then_retried(server: RawServer, connect: Connect, advance: Advance) -> None:
    refusal = {"error": {"code": "RATE_LIMIT_EXCEEDED", "limit": 60, "retry_after": 7, "window": "minute"}}
    server.script(reply(429, json=refusal), reply(json=DOMAIN))
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)
    watch = Watch(panel)
    await without_pauses(panel.domains.get("d1"), limiter, advance)
    _, sent, throttled, retried, again, done = watch.events
    assert isinstance(throttled, Throttled)
    assert facts(throttled) == {**read_facts(), "attempt": 1, "retry_after": 7.0, "limit": 60, "window": "minute"}
    assert isinstance(retried, Retried)
    assert facts(retried) == {**read_facts(), "attempt": 1, "wait": 0.0, "status": 429, "error": None}
    assert retried.reason == "the panel answered 429"
    assert isinstance(sent, Sent)
    assert isinstance(again, Sent)
    assert (sent.attempt, again.attempt) == (1, 2)
    assert isinstance(done, Done)
    assert (done.outcome, done.status, done.attempts) == (Outcome.SUCCEEDED, 200, 2)
    assert done.duration >= done.waited >= 7


@pytest.mark.usefixtures("no_backoff")
async def test_unavailable_panel_sends_retried(server: RawServer, connect: Connect) -> None:
    server.script(reply(503), reply(json=DOMAIN))
    panel = connect()
    watch = Watch(panel)
    await panel.domains.get("d1")
    assert watch.kinds == ["Queued 1", "Sent 1", "Retried 1", "Sent 1", "Done 1"]
    assert facts(watch.only(Retried)) == {**read_facts(), "attempt": 1, "wait": 0.0, "status": 503, "error": None}
    assert watch.done().attempts == 2


@pytest.mark.usefixtures("no_backoff")
async def test_broken_connection_sends_retried_with_its_error(server: RawServer, connect: Connect) -> None:
    server.script(CLOSE, reply(json=DOMAIN))
    panel = connect()
    watch = Watch(panel)
    await panel.domains.get("d1")
    retried = watch.only(Retried)
    assert retried.status is None
    assert isinstance(retried.error, TransportError)
    assert retried.reason == retried.error.message


@pytest.mark.usefixtures("no_backoff")
async def test_done_describes_the_last_attempt(server: RawServer, connect: Connect) -> None:
    server.script(reply(503, json={"error": "down"}, headers={"X-Request-Id": "r-1"}), CLOSE)
    panel = connect(max_retries=1)
    watch = Watch(panel)
    with pytest.raises(TransportError) as caught:
        await panel.domains.get("d1")
    assert facts(watch.done(), without=("duration",)) == {
        **read_facts(),
        "outcome": Outcome.FAILED,
        "status": None,
        "attempts": 2,
        "waited": 0.0,
        "request_id": None,
        "body": b"",
        "error": caught.value,
    }


async def test_each_attempt_has_its_own_headers(server: RawServer, connect: Connect) -> None:
    late = {"Date": formatdate(time.time() - 600, usegmt=True)}
    refusal = {"error": "Timestamp expired", "code": "TIMESTAMP_EXPIRED"}
    server.script(reply(401, json=refusal, headers=late), reply(json=DOMAIN))
    panel = connect()
    watch = Watch(panel)
    await panel.domains.get("d1")
    signatures = [event.headers["X-Signature"] for event in watch.all(Sent)]
    assert signatures == [request.signature for request in server.requests]
    assert signatures[0] != signatures[1]


@pytest.mark.usefixtures("no_backoff")
async def test_lost_create_that_is_found_succeeds(server: RawServer, connect: Connect) -> None:
    found = {"id": "r1", "name": "www", "type": "A", "content": "192.0.2.1"}
    server.script(CLOSE, reply(json={"data": [found], "total": 1}))
    panel = connect()
    watch = Watch(panel)
    await record(panel)
    assert watch.kinds == ["Queued 1", "Sent 1", "Queued 2", "Sent 2", "Done 2", "Done 1"]
    assert watch.done(2).operation == "dns.records.list"
    done = watch.done(1)
    assert (done.outcome, done.status, done.attempts, done.error) == (Outcome.SUCCEEDED, None, 1, None)


@pytest.mark.usefixtures("no_backoff")
async def test_lost_create_that_is_not_found_is_unknown(server: RawServer, connect: Connect) -> None:
    server.script(CLOSE, reply(json=[]))
    panel = connect()
    watch = Watch(panel)
    with pytest.raises(OutcomeUnknownError) as caught:
        await record(panel)
    assert watch.kinds == ["Queued 1", "Sent 1", "Queued 2", "Sent 2", "Done 2", "Done 1"]
    assert (watch.done(1).outcome, watch.done(1).error) == (Outcome.UNKNOWN, caught.value)


async def test_failed_call_ends_with_its_error(server: RawServer, connect: Connect) -> None:
    server.script(reply(409, json={"error": "exists", "code": "CONFLICT", "request_id": "r-9"}))
    panel = connect()
    watch = Watch(panel)
    with pytest.raises(ConflictError) as caught:
        await record(panel)
    done = watch.done()
    assert (done.outcome, done.status, done.request_id, done.error) == (Outcome.FAILED, 409, "r-9", caught.value)


async def test_rejected_argument_is_no_call(server: RawServer, connect: Connect) -> None:
    panel = connect()
    watch = Watch(panel)
    with pytest.raises(ValueError, match="id must not be empty"):
        await panel.domains.get("")
    assert watch.events == []
    assert panel.stats().calls == 0


async def test_call_cancelled_in_the_queue_sends_done(server: RawServer, connect: Connect, advance: Advance) -> None:
    limiter = paused(60)
    panel = connect(limiter=limiter)
    watch = Watch(panel)
    task = asyncio.create_task(record(panel))
    await until(lambda: limiter.waiting == 1)
    advance(30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watch.kinds == ["Queued 1", "Done 1"]
    done = watch.done()
    assert (done.outcome, done.status, done.attempts) == (Outcome.CANCELLED, None, 0)
    assert done.duration >= done.waited >= 30
    assert isinstance(done.error, asyncio.CancelledError)


@pytest.mark.parametrize(("write", "outcome"), [(False, Outcome.CANCELLED), (True, Outcome.UNKNOWN)])
async def test_call_cancelled_in_flight_sends_done(
    server: RawServer, connect: Connect, write: bool, outcome: Outcome
) -> None:
    server.script(HANG)
    panel = connect()
    watch = Watch(panel)
    task = asyncio.create_task(record(panel) if write else panel.domains.get("d1"))
    await server.received(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert (watch.done().outcome, watch.done().attempts) == (outcome, 1)
    assert panel.stats().in_flight == 0


async def test_write_whose_coroutine_is_closed_in_flight(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect()
    watch = Watch(panel)
    coroutine = record(panel)
    task = asyncio.create_task(coroutine)
    await server.received(1)
    coroutine.close()
    task.cancel()
    with pytest.raises(RuntimeError, match="already awaited"):
        await task
    assert watch.done().outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("write", "outcome", "error"),
    [(False, Outcome.FAILED, RequestTimeoutError), (True, Outcome.UNKNOWN, OutcomeUnknownError)],
)
async def test_deadline_passed_in_flight_sends_done(
    server: RawServer, connect: Connect, advance: Advance, write: bool, outcome: Outcome, error: type[Exception]
) -> None:
    server.script(HANG)
    panel = connect(deadline=20)
    watch = Watch(panel)
    task = asyncio.create_task(record(panel) if write else panel.domains.get("d1"))
    await server.received(1)
    advance(20)
    with pytest.raises(error):
        await task
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert watch.done().outcome is outcome
    assert watch.done().duration >= 20


async def test_deadline_the_queue_would_pass_sends_done(server: RawServer, connect: Connect) -> None:
    panel = connect(limiter=paused(60), deadline=20)
    watch = Watch(panel)
    with pytest.raises(RateLimitWaitError):
        await record(panel)
    assert watch.kinds == ["Queued 1", "Done 1"]
    assert (watch.done().outcome, watch.done().attempts) == (Outcome.FAILED, 0)


@pytest.mark.parametrize(("write", "outcome"), [(False, Outcome.FAILED), (True, Outcome.UNKNOWN)])
async def test_unreadable_reply_ends_with_decode_error(
    server: RawServer, connect: Connect, write: bool, outcome: Outcome
) -> None:
    server.script(reply(200, body='{"id": "d1'))
    panel = connect()
    watch = Watch(panel)
    with pytest.raises(DecodeError) as caught:
        await (record(panel) if write else panel.domains.get("d1"))
    done = watch.done()
    assert (done.outcome, done.status, done.body, done.error) == (outcome, 200, b'{"id": "d1', caught.value)


@pytest.mark.usefixtures("no_backoff")
async def test_delete_done_by_an_earlier_attempt_succeeds(server: RawServer, connect: Connect) -> None:
    server.script(CLOSE, reply(404, json={"error": "gone"}))
    panel = connect()
    watch = Watch(panel)
    await panel.domains.delete("d1")
    assert (watch.done().outcome, watch.done().status) == (Outcome.SUCCEEDED, 404)


async def test_failed_connection_sends_done_failed(server: RawServer, connect: Connect) -> None:
    panel = connect(base_url="http://127.0.0.1:1", max_retries=0)
    watch = Watch(panel)
    with pytest.raises(TransportError):
        await record(panel)
    assert watch.kinds == ["Queued 1", "Sent 1", "Done 1"]
    assert watch.done().outcome is Outcome.FAILED


async def test_missing_object_ends_as_failed(server: RawServer, connect: Connect) -> None:
    server.script(reply(404, json={"error": "not found"}))
    panel = connect()
    watch = Watch(panel)
    with pytest.raises(NotFoundError):
        await panel.domains.get("d1")
    assert watch.done().outcome is Outcome.FAILED


async def test_events_cannot_be_changed(server: RawServer, connect: Connect) -> None:
    panel = connect()
    watch = Watch(panel)
    await panel.request("GET", "/v1/me")
    for event in watch.events:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.call = 7
    with pytest.raises(TypeError):
        watch.only(Sent).headers["X-Signature"] = "other"  # type: ignore[index]
