"""What a caller gets when a reply is lost or a call is refused, over real sockets: no duplicates, no guesses."""

import asyncio
import contextlib
import pickle
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from panelica_async import (
    ConfigurationError,
    ConnectError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TransportError,
)
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.transport.exchange import GATEWAY_ERRORS
from tests.conftest import Advance, Connect
from tests.support.raw_server import CLOSE, GARBAGE, HANG, RESET, RESET_EARLY, RawServer, Step, reply, truncated

# A slow matrix that gives the same result on every Python.
pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_backoff")]

LOST = {
    "reset while it was read": RESET_EARLY,
    "reset": RESET,
    "closed": CLOSE,
    "truncated": truncated(),
    "garbage": GARBAGE,
    "truncated refusal": truncated(404),
}
COME_BACK = {"Retry-After": "0"}
NEVER = 1000
"""More steps than any call uses."""

Send = Callable[[PanelicaClient], Awaitable[Any]]


async def read(panel: PanelicaClient) -> None:
    await panel.domains.get("d1")


async def put(panel: PanelicaClient) -> None:
    await panel.files.write(path="/home/a/x", content="x")


async def patch(panel: PanelicaClient) -> None:
    await panel.domains.update("d1", php_version="8.4")


async def delete(panel: PanelicaClient) -> None:
    await panel.domains.delete("d1")


async def create(panel: PanelicaClient) -> None:
    await panel.with_options(look_up_lost=False).dns.records.create("z1", name="www", type="A", content="192.0.2.1")


async def restart(panel: PanelicaClient) -> None:
    await panel.server.services.restart("nginx")


async def raw_post(panel: PanelicaClient) -> None:
    await panel.request("POST", "/v1/cron-jobs", json={})


async def raw_patch(panel: PanelicaClient) -> None:
    await panel.request("PATCH", "/v1/cron-jobs/1", json={})


SAFE_WRITES = [put, patch, delete]
CREATES = [create, restart, raw_post, raw_patch]


async def failure(send: Send, panel: PanelicaClient) -> PanelicaError:
    with pytest.raises(PanelicaError) as caught:
        await send(panel)
    return caught.value


@pytest.mark.parametrize("step", LOST.values(), ids=LOST)
async def test_read_is_repeated(server: RawServer, connect: Connect, step: Step) -> None:
    server.script(step, step, reply(json={"id": "d1", "domain": "example.com", "user_id": "u1"}))
    domain = await connect().domains.get("d1")
    assert domain.domain == "example.com"


@pytest.mark.parametrize("step", LOST.values(), ids=LOST)
async def test_read_without_any_reply_raises_transport_error(server: RawServer, connect: Connect, step: Step) -> None:
    server.script(*[step] * NEVER)
    error = await failure(read, connect(max_retries=2))
    assert type(error) is TransportError
    assert (error.method, error.path, error.attempts) == ("GET", "/v1/domains/d1", 3)


@pytest.mark.parametrize("send", SAFE_WRITES)
@pytest.mark.parametrize("step", LOST.values(), ids=LOST)
async def test_safe_write_is_repeated(server: RawServer, connect: Connect, step: Step, send: Send) -> None:
    server.script(step, reply(json={"id": "d1", "domain": "example.com", "user_id": "u1"}))
    await send(connect())
    assert len(server.requests) == (1 if step is RESET_EARLY else 2)


@pytest.mark.parametrize("send", SAFE_WRITES)
@pytest.mark.parametrize("step", LOST.values(), ids=LOST)
async def test_safe_write_without_any_reply_has_unknown_outcome(
    server: RawServer, connect: Connect, step: Step, send: Send
) -> None:
    server.script(*[step] * NEVER)
    error = await failure(send, connect(max_retries=2))
    assert isinstance(error, OutcomeUnknownError)
    assert error.attempts == 3


@pytest.mark.parametrize("send", CREATES)
@pytest.mark.parametrize("step", LOST.values(), ids=LOST)
async def test_create_is_never_repeated_once_sent(server: RawServer, connect: Connect, step: Step, send: Send) -> None:
    server.script(step)
    before = datetime.now(UTC)
    error = await failure(send, connect())
    assert isinstance(error, OutcomeUnknownError)
    assert error.attempts == 1
    assert len(server.requests) == (0 if step is RESET_EARLY else 1)
    assert error.sent_at is not None
    # The wall clock may be set between the two readings.
    assert abs(error.sent_at - before) <= timedelta(minutes=1)
    assert isinstance(error.__cause__, TransportError)
    assert error.hint


async def test_unknown_outcome_names_the_call_and_its_remedy(server: RawServer, connect: Connect) -> None:
    server.script(CLOSE)
    error = await failure(create, connect())
    assert isinstance(error, OutcomeUnknownError)
    assert (error.operation, error.method, error.path) == (
        "dns.records.create",
        "POST",
        "/v1/dns/zones/z1/records",
    )
    assert str(error).startswith("POST /v1/dns/zones/z1/records: The request was sent, but its outcome is unknown:")
    assert "Hint: Check whether the change was made before you send it again." in str(error)


async def test_unknown_outcome_shows_no_secret(server: RawServer, connect: Connect) -> None:
    """File content is hidden too: a password may stand anywhere in it."""
    server.script(CLOSE, *[CLOSE] * 4)
    panel = connect().with_options(look_up_lost=False)
    error = await failure(
        lambda panel: panel.accounts.create(username="acme", email="a@example.com", password="correct horse 9"), panel
    )
    assert isinstance(error, OutcomeUnknownError)
    assert error.sent == {"username": "acme", "email": "a@example.com", "password": "[redacted]"}

    error = await failure(lambda panel: panel.files.write(path="/home/acme/.env", content="correct horse 9"), panel)
    assert isinstance(error, OutcomeUnknownError)
    assert error.sent == {"path": "/home/acme/.env", "content": "[redacted]"}
    assert b"correct horse" not in pickle.dumps(error)


@pytest.mark.parametrize("send", [read, *SAFE_WRITES, *CREATES])
async def test_failed_connection_is_retried_and_never_uncertain(connect: Connect, send: Send) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(send, connect(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}", max_retries=2))
    assert isinstance(error, ConnectError)
    assert error.attempts == 3
    assert error.hint is not None
    assert "base_url" in error.hint


@pytest.mark.parametrize("send", [read, *SAFE_WRITES])
@pytest.mark.parametrize("status", [429, 503, *GATEWAY_ERRORS])
async def test_safe_calls_outlast_passing_errors(server: RawServer, connect: Connect, status: int, send: Send) -> None:
    busy = reply(status, headers=COME_BACK)
    server.script(busy, busy, reply(json={"id": "d1", "domain": "example.com", "user_id": "u1"}))
    await send(connect())
    assert len(server.requests) == 3


@pytest.mark.parametrize("send", CREATES)
@pytest.mark.parametrize("status", [429, 503])
async def test_creates_outlast_refusals_by_the_panel(
    server: RawServer, connect: Connect, status: int, send: Send
) -> None:
    record = {"id": "r1", "name": "www", "type": "A", "content": "192.0.2.1"}
    server.script(reply(status, headers=COME_BACK), reply(json=record))
    await send(connect())
    assert len(server.requests) == 2


@pytest.mark.parametrize("send", CREATES)
@pytest.mark.parametrize("status", GATEWAY_ERRORS)
async def test_create_with_a_gateway_error_has_unknown_outcome(
    server: RawServer, connect: Connect, status: int, send: Send
) -> None:
    server.script(reply(status, body="<html><title>Bad Gateway</title></html>", content_type="text/html"))
    error = await failure(send, connect())
    assert isinstance(error, OutcomeUnknownError)
    assert len(server.requests) == 1
    assert str(status) in error.message
    assert isinstance(error.__cause__, ServerError)


@pytest.mark.parametrize("send", CREATES)
async def test_create_with_503_but_no_retry_after_fails_once(server: RawServer, connect: Connect, send: Send) -> None:
    server.script(reply(503))
    error = await failure(send, connect())
    assert isinstance(error, ServerError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("send", [read, *SAFE_WRITES])
@pytest.mark.parametrize("status", [429, 503])
async def test_last_refusal_is_the_error(server: RawServer, connect: Connect, status: int, send: Send) -> None:
    server.script(*[reply(status, headers=COME_BACK)] * NEVER)
    error = await failure(send, connect(max_retries=1))
    assert isinstance(error, RateLimitedError if status == 429 else ServerError)
    assert (error.status, error.attempts) == (status, 2)


@pytest.mark.parametrize("status", GATEWAY_ERRORS)
async def test_gateway_that_always_fails_leaves_writes_uncertain(
    server: RawServer, connect: Connect, status: int
) -> None:
    """A read has failed; a write may have taken effect each time, because the web server lost the panel's reply."""
    server.script(*[reply(status)] * NEVER)
    error = await failure(read, connect(max_retries=1))
    assert isinstance(error, ServerError)
    assert (error.status, error.attempts) == (status, 2)
    error = await failure(patch, connect(max_retries=1))
    assert isinstance(error, OutcomeUnknownError)
    assert error.attempts == 2
    assert isinstance(error.__cause__, ServerError)


@pytest.mark.parametrize("send", SAFE_WRITES)
@pytest.mark.parametrize("last", [401, 403, 408, 409, 429, 500, 502, 503])
async def test_failure_after_lost_reply_is_outcome_unknown(
    server: RawServer, connect: Connect, last: int, send: Send
) -> None:
    server.script(RESET, reply(last, json={"error": "No"}))
    error = await failure(send, connect(max_retries=1))
    assert isinstance(error, OutcomeUnknownError)
    assert isinstance(error.__cause__, ResponseError)
    assert error.__cause__.status == last
    assert f"the last reply was {last}" in error.message


@pytest.mark.parametrize("send", [put, patch])
@pytest.mark.parametrize("last", [400, 404, 413, 422])
async def test_rejection_after_a_lost_reply_covers_both_attempts(
    server: RawServer, connect: Connect, last: int, send: Send
) -> None:
    server.script(RESET, reply(last, json={"error": "No"}))
    error = await failure(send, connect())
    assert isinstance(error, ResponseError)
    assert (error.status, error.attempts) == (last, 2)


async def test_429_with_a_wait_above_the_cap_raises(server: RawServer, connect: Connect) -> None:
    server.script(
        reply(429, json={"status": "error", "error": {"retry_after": 1800, "limit": 10000, "window": "hour"}})
    )
    error = await failure(create, connect())
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, error.limit, error.window, error.attempts) == (1800, 10000, "hour", 1)


@pytest.mark.parametrize("first", [RESET, truncated(204), reply(502), reply(504)])
async def test_delete_that_gets_404_after_a_lost_reply_is_done(
    server: RawServer, connect: Connect, first: Step
) -> None:
    server.script(first, reply(404, json={"error": "Domain not found", "code": "NOT_FOUND"}))
    await delete(connect())
    assert len(server.requests) == 2


@pytest.mark.parametrize("first", [reply(503), reply(429, headers=COME_BACK), None])
async def test_delete_of_a_missing_object_raises(server: RawServer, connect: Connect, first: Step | None) -> None:
    server.script(*[first] if first else [], reply(404, json={"error": "Domain not found", "code": "NOT_FOUND"}))
    assert isinstance(await failure(delete, connect()), NotFoundError)


async def test_only_delete_takes_404_after_a_lost_reply_for_done(server: RawServer, connect: Connect) -> None:
    server.script(RESET, reply(404, json={"error": "Domain not found"}))
    assert isinstance(await failure(patch, connect()), NotFoundError)


async def test_read_that_times_out_is_repeated(server: RawServer, connect: Connect, advance: Advance) -> None:
    server.script(HANG, HANG)
    task = asyncio.create_task(failure(read, connect(max_retries=1)))
    for attempt in (1, 2):
        await server.received(attempt)
        advance(31)
    error = await task
    assert isinstance(error, RequestTimeoutError)
    assert isinstance(error, TimeoutError)
    assert "no reply within 30 s" in error.message
    assert error.attempts == 2


async def test_create_that_times_out_has_unknown_outcome(server: RawServer, connect: Connect, advance: Advance) -> None:
    server.script(HANG)
    task = asyncio.create_task(failure(create, connect(timeout=5)))
    await server.received(1)
    advance(6)
    error = await task
    assert isinstance(error, OutcomeUnknownError)
    assert "no reply within 5 s" in error.message
    assert len(server.requests) == 1


@pytest.mark.parametrize(("send", "kind"), [(read, RequestTimeoutError), (put, OutcomeUnknownError)])
async def test_deadline_ends_a_call_in_flight(
    server: RawServer, connect: Connect, advance: Advance, send: Send, kind: type[PanelicaError]
) -> None:
    server.script(HANG)
    task = asyncio.create_task(failure(send, connect(deadline=20)))
    await server.received(1)
    advance(21)
    error = await task
    assert type(error) is kind
    assert "the deadline of 20 s has passed" in error.message


async def test_deadline_after_a_lost_reply_has_unknown_outcome(
    server: RawServer, connect: Connect, advance: Advance
) -> None:
    server.script(RESET, HANG)
    task = asyncio.create_task(failure(patch, connect(deadline=20)))
    await server.received(2)
    advance(21)
    error = await task
    assert isinstance(error, OutcomeUnknownError)
    assert error.attempts == 2


@pytest.fixture
def deaf() -> Iterator[str]:
    """Yield the address of a server that neither accepts nor refuses connections, because its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit the queue")
async def test_deadline_or_cancel_while_connecting_has_no_effect(deaf: str, connect: Connect) -> None:
    panel = connect(base_url=deaf)
    with pytest.raises(RequestTimeoutError, match="the deadline of") as caught:
        await create(panel.with_options(deadline=0.1))
    assert "deadline=" in str(caught.value.hint)
    call = asyncio.ensure_future(create(panel))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await call
    assert cancelled.value.__cause__ is None
    assert panel.stats().unknown == 0


async def test_quota_after_the_deadline_is_refused_at_once(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(3600)
    error = await failure(create, connect(limiter=limiter, deadline=60))
    assert isinstance(error, RateLimitWaitError)
    assert error.wait == pytest.approx(3600, abs=60)
    assert error.limit <= 60
    assert server.requests == []


async def test_lost_write_without_quota_to_retry_is_uncertain(server: RawServer, connect: Connect) -> None:
    """An error that says nothing was sent would be wrong: the first attempt was sent."""
    server.script(RESET)
    error = await failure(put, connect(limiter=RateLimit(per_minute=1), deadline=30))
    assert isinstance(error, OutcomeUnknownError)
    assert isinstance(error.__cause__, RateLimitWaitError)
    assert len(server.requests) == 1


async def test_close_during_a_write_has_unknown_outcome(server: RawServer, connect: Connect) -> None:
    server.script(HANG, HANG)
    panel = connect()
    writing, reading = asyncio.create_task(failure(put, panel)), asyncio.create_task(failure(read, panel))
    await server.received(2)
    await panel.close()
    assert isinstance(await writing, OutcomeUnknownError)
    assert isinstance(await reading, ConfigurationError | TransportError)
    assert len(server.requests) == 2


async def test_create_whose_client_is_closed_is_not_looked_up(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect()
    writing = asyncio.create_task(failure(lambda panel: panel.plans.create(name="Gold"), panel))
    await server.received(1)
    await panel.close()
    error = await writing
    assert isinstance(error, OutcomeUnknownError)
    assert "outcome is unknown: the client is closed; make a new PanelicaClient; nothing was looked up" in str(error)
    assert str(error.hint).startswith("Look for name 'Gold'")
    assert isinstance(error.__cause__, ConfigurationError)


async def test_close_while_a_write_connects_means_not_sent(server: RawServer, connect: Connect) -> None:
    panel = connect()
    connector = panel._transport._sessions.session(asyncio.get_running_loop()).connector
    assert connector is not None
    writing = asyncio.create_task(failure(create, panel))
    while not connector._acquired:  # noqa: ASYNC110 - aiohttp has no event for it
        await asyncio.sleep(0)
    await panel.close()
    assert isinstance(await writing, TransportError)
    assert server.requests == []


async def test_client_works_after_a_cancelled_call(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect()
    task = asyncio.create_task(create(panel))
    await server.received(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await panel.request("GET", "/v1/me")
    assert len(server.requests) == 2
