"""Sessions, loops, closing, variants: what owns what, and the errors of a client that is misused."""

import asyncio
import contextlib
import gc
import re
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import attrs
import pytest

from panelica_async import (
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    RequestTimeoutError,
    wait_until,
)
from panelica_async.api.runner import OperationRunner
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.transport.call import Call
from panelica_async.transport.session import SessionHolder
from tests.conftest import API_KEY, API_SECRET, Advance, Connect, until
from tests.support.raw_server import CLOSE, HANG, RawServer, Step, reply


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def make(base_url: str = "panel.example.com", **options: object) -> PanelicaClient:
    return PanelicaClient(base_url, api_key=API_KEY, api_secret=API_SECRET, tier="enterprise", **options)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Call]]]:
    """Return references to the calls made, with garbage collection off."""
    calls = list[weakref.ref[Call]]()

    def noting(prepare: Callable[..., Call]) -> Callable[..., Call]:
        def noted(*arguments: Any, **options: Any) -> Call:
            call = prepare(*arguments, **options)
            calls.append(weakref.ref(call))
            return call

        return noted

    for name in ("prepare", "prepare_raw"):
        monkeypatch.setattr(OperationRunner, name, noting(getattr(OperationRunner, name)))
    gc.disable()
    yield calls
    gc.enable()


async def alive(calls: list[weakref.ref[Call]]) -> list[Call]:
    # A lost connection is closed in the next turn of the loop.
    await asyncio.sleep(0)
    return [call for call in (reference() for reference in calls) if call is not None]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("step", "options"),
    [
        (reply(json={}), {}),
        (reply(404), {}),
        (reply(body="x"), {}),
        (reply(503), {}),
        (CLOSE, {}),
        (HANG, {"timeout": 0.05}),
        (HANG, {"deadline": 0.05}),
    ],
)
async def test_ended_call_is_freed_at_once(
    server: RawServer,
    connect: Connect,
    calls: list[weakref.ref[Call]],
    step: Step,
    options: dict[str, float],
    method: str,
) -> None:
    panel = connect(max_retries=0, **options)
    server.script(step)
    with contextlib.suppress(PanelicaError):
        await panel.request(method, "/v1/x")
    assert len(calls) == 1
    assert await alive(calls) == []


async def test_create_without_time_for_a_look_up_is_freed_at_once(
    server: RawServer, connect: Connect, calls: list[weakref.ref[Call]], advance: Advance
) -> None:
    server.script(HANG)

    async def pass_deadline() -> None:
        await server.received(1)
        advance(21)

    passing = asyncio.ensure_future(pass_deadline())
    with contextlib.suppress(OutcomeUnknownError):
        await connect(deadline=20).domains.create(domain="example.com", user_id="u1")
    await passing
    assert len(calls) == 1
    assert await alive(calls) == []


async def test_last_read_of_wait_for_is_freed_at_once(
    server: RawServer, connect: Connect, calls: list[weakref.ref[Call]]
) -> None:
    server.script(HANG)
    panel = connect()
    with contextlib.suppress(RequestTimeoutError):
        await wait_until(lambda: panel.domains.get("d1"), lambda _: True, deadline=0.05)
    assert len(calls) == 1
    assert await alive(calls) == []


async def test_close_closes_a_session_of_its_own(server: RawServer, connect: Connect) -> None:
    panel = connect()
    await panel.request("GET", "/v1/me")
    session = panel._transport._sessions.session(asyncio.get_running_loop())
    await panel.close()
    assert session.closed
    await panel.close()


async def test_borrowed_session_stays_open(server: RawServer, connect: Connect, session: aiohttp.ClientSession) -> None:
    async with connect(session=session) as panel:
        await panel.request("GET", "/v1/me")
    assert not session.closed
    async with session.get(server.origin) as response:
        assert response.status == 200
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await panel.request("GET", "/v1/me")


async def test_raise_for_status_of_a_borrowed_session_is_ignored(server: RawServer, connect: Connect) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as strict:
        server.script(reply(404, json={"error": "Domain not found", "code": "NOT_FOUND"}))
        with pytest.raises(NotFoundError, match="Domain not found"):
            await connect(session=strict).domains.get("d1")


async def test_base_url_of_a_borrowed_session_is_ignored(server: RawServer, connect: Connect) -> None:
    async with aiohttp.ClientSession("https://www.example.com") as other:
        await connect(session=other).request("GET", "/v1/me")
    assert server.requests[0].target == "/api/external/v1/me"


async def test_call_on_a_closed_borrowed_session_raises(connect: Connect, session: aiohttp.ClientSession) -> None:
    await session.close()
    with pytest.raises(ConfigurationError, match="session= is closed; pass an open one"):
        await connect(session=session).me()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, 100), ({"limit": 7}, 7), ({"limit": 0}, 100), ({"limit": 0, "limit_per_host": 5}, 5), ({"limit": 900}, 100)],
)
async def test_borrowed_connector_limits_calls_in_flight(limits: dict[str, int], expected: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session:
        assert make(session=session)._transport._sessions.slots._free == expected


async def test_call_on_a_closed_client_raises(server: RawServer, connect: Connect) -> None:
    panel = connect()
    await panel.close()
    for use in (panel.me(), panel.health(), panel.domains.list(), panel.request("GET", "/v1/me")):
        with pytest.raises(ConfigurationError, match=r"^the client is closed; make a new PanelicaClient$"):
            await use
    assert server.requests == []


async def test_closed_client_does_not_ask_for_the_tier(server: RawServer, connect: Connect) -> None:
    panel = connect(tier="auto")
    await panel.close()
    with pytest.raises(ConfigurationError, match=r"^the client is closed"):
        await panel.me()


async def test_close_refuses_calls_waiting_for_quota(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(3600)
    panel, other = connect(limiter=limiter), connect(limiter=limiter)
    # A hundred have a slot and wait for quota; the others, more than a hundred, wait for a slot.
    waiting = [asyncio.create_task(panel.request("POST", "/v1/x")) for _ in range(250)]
    patient = asyncio.create_task(other.request("POST", "/v1/x"))
    await until(lambda: limiter.waiting == 101)
    await panel.close()
    done, pending = await asyncio.wait(waiting, timeout=60)
    assert not pending
    for result in (task.exception() for task in done):
        assert isinstance(result, ConfigurationError)
        assert "closed" in str(result)
    assert limiter.waiting == 1
    assert server.requests == []
    patient.cancel()


@pytest.mark.parametrize(
    ("method", "steps", "kind", "problem"),
    [
        ("GET", [], ConfigurationError, "^the client is closed"),
        # The reply to the first attempt is lost, so what it did is unknown.
        ("DELETE", [CLOSE], OutcomeUnknownError, "outcome is unknown: the client is closed"),
    ],
)
@pytest.mark.usefixtures("no_backoff")
async def test_close_ends_the_wait_before_a_retry(
    server: RawServer,
    connect: Connect,
    method: str,
    steps: list[Step],
    kind: type[PanelicaError],
    problem: str,
) -> None:
    server.script(*steps, reply(503, headers={"Retry-After": "60"}))
    panel = connect()
    call = asyncio.create_task(panel.request(method, "/v1/domains/d1"))
    await until(lambda: panel.stats().retries == len(steps) + 1)
    await panel.close()
    # Well before the wait is over.
    done, _ = await asyncio.wait((call,), timeout=20)
    assert done
    with pytest.raises(kind, match=problem):
        await call
    assert len(server.requests) == len(steps) + 1
    assert not call.cancelling()


@pytest.mark.usefixtures("no_backoff")
async def test_call_in_flight_at_close_waits_for_no_retry(
    server: RawServer, connect: Connect, session: aiohttp.ClientSession
) -> None:
    answered = asyncio.Event()
    server.script(attrs.evolve(reply(503, headers={"Retry-After": "60"}), after=answered))
    panel = connect(session=session)
    call = asyncio.create_task(panel.request("GET", "/v1/domains/d1"))
    await until(lambda: len(server.requests) == 1)
    await panel.close()
    answered.set()
    done, _ = await asyncio.wait((call,), timeout=20)
    assert done
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await call


async def test_calls_of_a_closed_client_take_no_quota(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    server.script(*[HANG] * 100)
    panel = connect(limiter=limiter)
    calls = [asyncio.create_task(panel.request("POST", "/v1/x")) for _ in range(150)]
    await server.received(100)
    await panel.close()
    await asyncio.wait(calls)
    assert limiter.granted == 100


@pytest.mark.usefixtures("no_backoff")
async def test_close_ends_calls_that_wait_for_the_limit(server: RawServer, connect: Connect) -> None:
    # The second attempt is the last: the request for the limit ends with an error that gives no reason.
    server.script(CLOSE, HANG)
    panel = connect(tier="auto")
    calls = [asyncio.create_task(panel.request("POST", "/v1/x")) for _ in range(3)]
    await server.received(2)
    await panel.close()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, ConfigurationError)
    assert len(server.requests) == 2


async def test_call_gets_no_session_once_closing_has_begun() -> None:
    sessions, loop = SessionHolder(None), asyncio.get_running_loop()
    session = sessions.session(loop)
    sessions.stop()
    with pytest.raises(ConfigurationError, match="the client is closed"):
        sessions.session(loop)
    await sessions.close()
    assert session.closed


def test_client_in_a_second_event_loop_raises() -> None:
    async def use(panel: PanelicaClient) -> None:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared below
            await panel.health()
        errors.append(caught.value)

    errors: list[Exception] = []
    panel = make("http://127.0.0.1:9", max_retries=0)
    asyncio.run(use(panel))
    asyncio.run(use(panel))
    assert type(errors[1]) is ConfigurationError
    assert str(errors[1]) == "the client belongs to another event loop; make one PanelicaClient for each loop"
    asyncio.run(panel.close())


async def test_abandoned_client_warns_and_closes_nothing(server: RawServer) -> None:
    panel = make(server.origin)
    await panel.request("GET", "/v1/me")
    session = panel._transport._sessions.session(asyncio.get_running_loop())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del panel
        gc.collect()
    [warning] = caught
    assert warning.category is ResourceWarning
    assert re.match("<PanelicaClient .*> was not closed; use `async with`", str(warning.message))
    assert not session.closed
    await session.close()


async def test_unused_client_when_dropped_gives_no_warning(
    server: RawServer, connect: Connect, session: aiohttp.ClientSession
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unused = make()
        borrowing = make(server.origin, session=session)
        await borrowing.request("GET", "/v1/me")
        variant = connect().with_options(timeout=1)
        await variant.request("GET", "/v1/me")
        with pytest.raises(ConfigurationError):
            make(timeout=0)
        del unused, borrowing, variant
        gc.collect()


async def test_variants_share_session_and_limiter(server: RawServer, connect: Connect) -> None:
    panel = connect(limiter=RateLimiter(RateLimit(per_minute=600)))
    variant = panel.with_options(timeout=5, deadline=60, max_retries=0)
    await panel.request("POST", "/v1/x")
    await variant.request("POST", "/v1/x")
    assert server.connections == 1
    assert panel._transport.keys.current.quota.limiter.granted == 2
    await variant.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await panel.me()


async def test_variants_keep_options_not_passed() -> None:
    panel = make(timeout=5, deadline=60, max_retries=7)
    variant = panel.with_options(max_retries=0).with_options(deadline=None)
    options = variant._runner.options
    assert (options.timeout, options.deadline, options.max_retries) == (5, None, 0)
    assert panel._runner.options.max_retries == 7
    assert variant.domains is not panel.domains


async def test_variant_keeps_its_client_alive(server: RawServer, connect: Connect) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        variant = make(server.origin).with_options(max_retries=0)
        gc.collect()
        await variant.request("GET", "/v1/me")
        await variant.close()


async def test_variant_of_a_subclass_has_its_class() -> None:
    class Panel(PanelicaClient):
        pass

    assert type(Panel("panel.example.com", api_key=API_KEY, api_secret=API_SECRET).with_options()) is Panel


async def test_client_created_outside_a_loop_works_in_one(server: RawServer) -> None:
    panel = await asyncio.to_thread(make, server.origin)
    async with panel:
        await panel.request("GET", "/v1/me")
    assert len(server.requests) == 1


async def test_health_does_not_wait_for_quota(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(3600)
    server.script(reply(json={"status": "ok"}))
    assert (await connect(limiter=limiter).health()).status == "ok"
    assert limiter.granted == 0


async def test_close_during_a_request_ends_it(server: RawServer, connect: Connect) -> None:
    server.script(HANG)
    panel = connect(max_retries=0)
    task = asyncio.create_task(panel.request("GET", "/v1/me"))
    await server.received(1)
    await panel.close()
    with pytest.raises(Exception, match=r"closed|complete reply"):
        await task


async def test_close_from_another_thread_is_refused(server: RawServer, connect: Connect) -> None:
    panel = connect()
    await panel.request("GET", "/v1/me")
    with pytest.raises(ConfigurationError, match="the client belongs to another event loop; close it there"):
        await asyncio.to_thread(asyncio.run, panel.close())
    await panel.request("GET", "/v1/me")
    assert len(server.requests) == 2
