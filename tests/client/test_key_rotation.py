"""Rotating the API key while calls wait, are in flight or are repeated: none is lost, and the new quota applies."""

import asyncio
from typing import Any

import pytest

from panelica_async import (
    AuthenticationError,
    ConfigurationError,
    PanelicaClient,
    RateLimit,
    RateLimiter,
    RateLimitWaitError,
)
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Retried, Sent
from tests.conftest import API_KEY, API_SECRET, Advance, Connect, until
from tests.support.raw_server import HANG, RawRequest, RawServer, reply
from tests.transport import verifier

NEW_KEY = "pk_test_fedcba9876543210"
NEW_SECRET = "sk_test_fedcba9876543210fedcba9876543210"
NEW = {"api_key": NEW_KEY, "api_secret": NEW_SECRET}
HOUR = 3600.0


def limiter_of(panel: PanelicaClient) -> RateLimiter:
    return panel._transport.keys.current.quota.limiter


def is_of_old_key(request: RawRequest) -> bool:
    return request.headers["X-API-Key"] == API_KEY and verifier.accepts(request, API_SECRET)


def is_of_new_key(request: RawRequest) -> bool:
    return request.headers["X-API-Key"] == NEW_KEY and verifier.accepts(request, NEW_SECRET)


@pytest.fixture
async def panel(connect: Connect) -> PanelicaClient:
    return connect()


async def test_waiting_calls_use_the_new_key_and_its_quota(server: RawServer, panel: PanelicaClient) -> None:
    old = limiter_of(panel)
    old.pause(HOUR)
    # A hundred hold a slot and wait for quota; the others wait for a slot.
    waiting = [asyncio.create_task(panel.request("POST", f"/v1/x/{number}")) for number in range(120)]
    await until(lambda: old.waiting == 100)
    panel.rotate_key(**NEW)
    await asyncio.gather(*waiting)
    assert all(is_of_new_key(sent) for sent in server.requests)
    # First come, first served, as before. Connections are made in any order.
    assert len(server.requests) == 120
    assert (old.granted, limiter_of(panel).granted) == (0, 120)
    assert limiter_of(panel) is not old


async def test_calls_moved_to_the_new_quota_keep_their_order(panel: PanelicaClient) -> None:
    order: list[str] = []
    limiter_of(panel).pause(HOUR)
    panel.subscribe(lambda event: order.append(event.path) if isinstance(event, Sent) else None)
    paths = [f"/v1/x/{number}" for number in range(120)]
    waiting = [asyncio.create_task(panel.request("GET", path)) for path in paths]
    await until(lambda: limiter_of(panel).waiting == 100)
    panel.rotate_key(**NEW)
    await asyncio.gather(*waiting)
    assert order == paths


async def test_new_key_has_its_own_quota(server: RawServer, connect: Connect) -> None:
    panel = connect(tier="starter")
    for _ in range(3):
        await panel.request("GET", "/v1/me")
    assert panel.stats().quota.minute == limiter_of(connect(tier="starter")).left.minute
    used = panel.stats().quota.minute
    panel.rotate_key(**NEW)
    assert panel.stats().quota.minute == used + 3


async def test_quota_of_the_new_key_is_requested() -> None:
    async with Sandbox(tier="starter") as box:
        other = box.add_key(tier="business")
        async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
            await panel.me()
            assert limiter_of(panel).limit.per_minute == 60
            panel.rotate_key(api_key=other.api_key, api_secret=other.api_secret)
            await panel.me()
            assert limiter_of(panel).limit.per_minute == 1000


async def test_new_secret_of_same_key_keeps_quota(server: RawServer, connect: Connect) -> None:
    panel = connect(tier="starter")
    await panel.request("GET", "/v1/me")
    left = panel.stats().quota.minute
    panel.rotate_key(api_key=API_KEY, api_secret=NEW_SECRET)
    assert panel.stats().quota.minute == left
    limiter_of(panel).pause(HOUR)
    waiting = asyncio.create_task(panel.request("GET", "/v1/me"))
    await until(lambda: limiter_of(panel).waiting == 1)
    panel.rotate_key(api_key=API_KEY, api_secret=API_SECRET)
    await asyncio.sleep(0)
    assert limiter_of(panel).waiting == 1
    waiting.cancel()


async def test_limiter_passed_in_outlives_the_rotation(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    panel = connect(limiter=limiter)
    await panel.request("GET", "/v1/me")
    panel.rotate_key(**NEW)
    await panel.request("GET", "/v1/me")
    assert limiter_of(panel) is limiter
    assert limiter.granted == 2


async def test_retry_uses_the_new_key(server: RawServer, panel: PanelicaClient, no_backoff: None) -> None:
    server.script(reply(503), reply(json={}))
    panel.subscribe(lambda event: panel.rotate_key(**NEW) if isinstance(event, Retried) else None)
    await panel.request("GET", "/v1/me")
    first, second = server.requests
    assert is_of_old_key(first)
    assert is_of_new_key(second)


def rotates_in_flight(panel: PanelicaClient) -> None:
    """Rotate the key once the next attempt is sent, before its reply can arrive."""
    loop = asyncio.get_running_loop()

    def rotate(event: Any) -> None:
        if isinstance(event, Sent):
            end()
            loop.call_soon(lambda: panel.rotate_key(**NEW))

    end = panel.subscribe(rotate)


@pytest.mark.parametrize("code", ["UNAUTHORIZED", "INVALID_SIGNATURE"])
async def test_call_in_flight_with_the_old_key_is_signed_again(
    server: RawServer, panel: PanelicaClient, code: str
) -> None:
    server.script(reply(401, json={"error": {"code": code, "message": "no"}}), reply(201, json={}))
    rotates_in_flight(panel)
    # A write too: a request rejected for its key had no effect. It uses no retry either.
    answer = await panel.with_options(max_retries=0).request("POST", "/v1/x", json={})
    assert answer.status == 201
    first, second = server.requests
    assert is_of_old_key(first)
    assert is_of_new_key(second)


async def test_new_key_that_is_rejected_too_raises(server: RawServer, panel: PanelicaClient) -> None:
    server.script(*[reply(401, json={"error": "unknown key"})] * 9)
    rotates_in_flight(panel)
    with pytest.raises(AuthenticationError, match="unknown key") as caught:
        await panel.request("GET", "/v1/me")
    assert caught.value.attempts == len(server.requests) == 2


async def test_rejected_key_that_was_not_replaced_raises(server: RawServer, panel: PanelicaClient) -> None:
    server.script(*[reply(401, json={"error": "unknown key"})] * 9)
    with pytest.raises(AuthenticationError):
        await panel.request("GET", "/v1/me")
    assert len(server.requests) == 1


async def test_call_in_flight_keeps_its_key(server: RawServer, panel: PanelicaClient) -> None:
    rotates_in_flight(panel)
    await panel.request("POST", "/v1/x")
    await panel.request("POST", "/v1/x")
    first, second = server.requests
    assert is_of_old_key(first)
    assert is_of_new_key(second)


@pytest.mark.parametrize(
    "bad", [{**NEW, "api_key": ""}, {**NEW, "api_secret": "sk_ü"}, {"api_key": NEW_SECRET, "api_secret": NEW_KEY}]
)
async def test_invalid_new_key_leaves_the_old_one_in_use(
    server: RawServer, panel: PanelicaClient, bad: dict[str, str]
) -> None:
    limiter = limiter_of(panel)
    limiter.pause(HOUR)
    waiting = asyncio.create_task(panel.request("GET", "/v1/me"))
    await until(lambda: limiter.waiting == 1)
    with pytest.raises(ConfigurationError) as caught:
        panel.rotate_key(**bad)
    assert NEW_SECRET not in str(caught.value)
    await asyncio.sleep(0)
    assert limiter.waiting == 1
    waiting.cancel()
    assert limiter_of(panel) is limiter
    assert API_KEY[:12] in repr(panel)


async def test_variants_use_the_new_key(server: RawServer, panel: PanelicaClient) -> None:
    before = panel.with_options(lane="bulk")
    before.rotate_key(**NEW)
    for client in (panel, before, panel.with_options(timeout=5)):
        await client.request("GET", "/v1/me")
    assert all(is_of_new_key(sent) for sent in server.requests)
    assert repr(panel) == f"<PanelicaClient {panel.base_url} key={NEW_KEY[:12]}…>"
    assert NEW_SECRET not in repr(vars(panel))


async def test_close_refuses_calls_waiting_since_old_key(server: RawServer, panel: PanelicaClient) -> None:
    server.script(*[HANG] * 100)
    limiter_of(panel).pause(HOUR)
    waiting = asyncio.create_task(panel.request("POST", "/v1/x"))
    await until(lambda: limiter_of(panel).waiting == 1)
    panel.rotate_key(**NEW)
    limiter_of(panel).pause(HOUR)
    await until(lambda: limiter_of(panel).waiting == 1)
    await panel.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await waiting
    assert server.requests == []


async def test_no_call_fails_while_the_key_is_regenerated(box: Sandbox) -> None:
    key = box.add_key(tier="enterprise")
    ended = asyncio.Event()
    done = 0

    async def work(panel: PanelicaClient, number: int) -> None:
        nonlocal done
        while not ended.is_set():
            plan = await panel.plans.create(name=f"Plan {number} {done}")
            await panel.plans.update(plan.id, max_domains=3)
            await panel.me()
            done += 1

    async with (
        PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, tier="enterprise") as panel,
        asyncio.TaskGroup() as group,
    ):
        for number in range(10):
            group.create_task(work(panel, number))
        await until(lambda: done > 10)
        # Calls in flight were signed with the secret that was just revoked.
        fresh = await panel.api_keys.regenerate(key.key_id)
        panel.rotate_key(api_key=key.api_key, api_secret=fresh.api_secret)
        before = done
        await until(lambda: done > before + 10)
        ended.set()
    created = [request for request in box.requests if request.operation == "plans.create" and request.status == 201]
    assert len(created) == done


async def test_waiting_calls_survive_a_new_secret(box: Sandbox, advance: Advance) -> None:
    key = box.add_key(tier="enterprise")
    limiter = RateLimiter(RateLimit.unlimited())
    async with (
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise") as root,
        PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, limiter=limiter) as worker,
    ):
        limiter.pause(HOUR)
        waiting = [asyncio.create_task(worker.me()) for _ in range(20)]
        await until(lambda: limiter.waiting == 20)
        fresh = await root.api_keys.regenerate(key.key_id)
        worker.rotate_key(api_key=key.api_key, api_secret=fresh.api_secret)
        advance(HOUR)
        for me in await asyncio.gather(*waiting):
            assert me.scopes == ["*:*"]


async def test_close_during_rotation_takes_no_quota(server: RawServer, panel: PanelicaClient) -> None:
    """The call moves from the old quota to the new one while the client closes."""
    limiter_of(panel).pause(HOUR)
    waiting = asyncio.create_task(panel.request("POST", "/v1/x"))
    await until(lambda: limiter_of(panel).waiting == 1)
    panel.rotate_key(**NEW)
    new = limiter_of(panel)
    await panel.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await waiting
    assert new.granted == 0
    assert server.requests == []


async def test_max_wait_spans_the_quotas_of_both_keys(panel: PanelicaClient, advance: Advance) -> None:
    limiter_of(panel).pause(9)
    waiting = asyncio.create_task(panel.with_options(max_wait=10).me())
    await until(lambda: limiter_of(panel).waiting == 1)
    advance(8)
    panel.rotate_key(**NEW)
    limiter_of(panel).pause(9)
    with pytest.raises(RateLimitWaitError) as caught:
        await waiting
    assert caught.value.limit < 3


@pytest.mark.parametrize("passes", range(6))
async def test_attempt_signs_with_the_key_whose_quota_it_passed(
    server: RawServer, panel: PanelicaClient, passes: int
) -> None:
    """Before a first write, the event loop looks for closed connections; the key may be replaced meanwhile."""
    old = limiter_of(panel)
    sending = asyncio.create_task(panel.request("POST", "/v1/x"))
    for _ in range(passes):
        await asyncio.sleep(0)
    panel.rotate_key(**NEW)
    await sending
    assert sum(is_of_old_key(sent) for sent in server.requests) == old.granted
    assert sum(is_of_new_key(sent) for sent in server.requests) == limiter_of(panel).granted
