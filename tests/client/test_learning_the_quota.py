"""tier="auto": the client asks the panel once for the limit of the key, and keeps to it.

Slow answers: see test_slow_quota.
"""

import asyncio
from typing import Any

import pytest

from panelica_async import AuthenticationError, PanelicaClient, RateLimitedError, RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.sandbox import Sandbox
from tests.conftest import API_KEY, Advance, Connect, until
from tests.support.raw_server import CLOSE, RawServer, Step, reply

QUOTA_PATH = "/api/external/v1/rate-limit"
WRONG_KEY = reply(401, json={"error": "invalid API key"})
STARTER = RateLimit.for_tier("starter")
KEY = {"name": "Shop", "key_prefix": "pk_test_0123", "scopes": ["accounts:read"]}
PROFESSIONAL = {
    "tier": "professional",
    "requests_per_minute": 300,
    "requests_per_hour": 10000,
    "burst_size": 50,
    "current_minute_usage": 1,
    "current_hour_usage": 1,
}


def limit_of(panel: PanelicaClient) -> RateLimit:
    return panel._transport.keys.current.quota.limiter.limit


def questions(server: RawServer) -> int:
    """Return how often the client asked for the quota."""
    return [sent.target for sent in server.requests].count(QUOTA_PATH)


async def use(panel: PanelicaClient) -> None:
    await panel.request("POST", "/v1/x")


async def test_panel_is_asked_before_the_first_call(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=PROFESSIONAL))
    panel = connect(tier="auto")
    await use(panel)
    await use(panel)
    assert [sent.target for sent in server.requests] == [QUOTA_PATH, "/api/external/v1/x", "/api/external/v1/x"]
    assert limit_of(panel) == RateLimit(per_minute=300, per_hour=10000, burst=50)
    assert panel._transport.keys.current.quota.limiter.granted == 3


async def test_fifty_first_calls_ask_once(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={**PROFESSIONAL, "tier": "enterprise", "requests_per_minute": None}))
    panel = connect(tier="auto")
    await asyncio.gather(*(use(panel) for _ in range(50)))
    assert questions(server) == 1
    assert len(server.requests) == 51


async def test_variants_ask_once(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=PROFESSIONAL))
    panel = connect(tier="auto")
    await asyncio.gather(use(panel), use(panel.with_options(timeout=1)), use(panel.with_options()))
    assert questions(server) == 1


async def test_usage_reported_by_the_panel_counts(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={**PROFESSIONAL, "current_minute_usage": 300}))
    panel = connect(tier="auto", deadline=20)
    with pytest.raises(RateLimitWaitError):
        await use(panel)
    assert questions(server) == len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        ({"tier": "enterprise", "requests_per_minute": None}, RateLimit.unlimited()),
        ({"tier": "enterprise", "requests_per_minute": 0}, RateLimit.unlimited()),
        ({"tier": "enterprise", "requests_per_minute": -1, "burst_size": -1}, RateLimit.unlimited()),
        ({"tier": "business"}, RateLimit.for_tier("business")),
        ({"tier": "platinum"}, STARTER),
        ({"tier": "platinum", "requests_per_minute": 5000}, RateLimit(per_minute=5000)),
        ({"requests_per_minute": 120, "requests_per_hour": 0, "burst_size": 0}, RateLimit(per_minute=120)),
        ({}, STARTER),
    ],
)
async def test_limit_is_read_from_any_known_reply(
    server: RawServer, connect: Connect, answer: dict[str, Any], limit: RateLimit
) -> None:
    server.script(reply(json=answer))
    panel = connect(tier="auto")
    await use(panel)
    assert limit_of(panel) == limit


@pytest.mark.parametrize(
    "refusal",
    [
        reply(403, json={"error": {"code": "apiErrors.external.insufficientScope", "required_scope": "*:*"}}),
        reply(404, json={"error": "not found"}),
        reply(body="<html></html>", content_type="text/html"),
        reply(json={"requests_per_minute": "many"}),
    ],
    ids=["403", "404", "a web page", "nonsense"],
)
async def test_panel_that_refuses_is_asked_once(
    server: RawServer, connect: Connect, advance: Advance, refusal: Step
) -> None:
    server.script(refusal)
    panel = connect(tier="auto")
    for _ in range(3):
        await use(panel)
        advance(61)
    assert questions(server) == 1
    assert limit_of(panel) == STARTER


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ({"rate_limit_tier": "professional"}, RateLimit.for_tier("professional")),
        ({"rate_limit_tier": "Enterprise"}, RateLimit.unlimited()),
        ({"rate_limit_tier": "platinum"}, STARTER),
        ({}, STARTER),
    ],
)
@pytest.mark.parametrize("status", [403, 404])
async def test_key_when_limit_is_forbidden_asks_for_tier(
    server: RawServer, connect: Connect, status: int, key: dict[str, str], limit: RateLimit
) -> None:
    # The limit takes the scope `*:*`, the tier `accounts:read` (evidence: rate-limit-endpoint, scope-oddities).
    server.script(reply(status, json={"error": "no"}), reply(json={**KEY, **key}))
    panel = connect(tier="auto")
    await use(panel)
    await use(panel)
    assert [sent.target for sent in server.requests] == [QUOTA_PATH, "/api/external/v1/me", *["/api/external/v1/x"] * 2]
    assert limit_of(panel) == limit


async def test_embedded_panel_when_key_may_not_ask_limit() -> None:
    async with (
        Sandbox("enterprise") as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as root,
    ):
        key = await root.api_keys.create(name="Shop", scopes=["accounts:read"], rate_limit_tier="professional")
        async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret) as panel:
            await panel.accounts.list()
            assert limit_of(panel) == RateLimit.for_tier("professional")


@pytest.mark.parametrize("failures", [[reply(500)], [CLOSE, CLOSE], [WRONG_KEY]], ids=["500", "closed", "401"])
@pytest.mark.usefixtures("no_backoff")
async def test_panel_that_fails_is_asked_again_in_a_minute(
    server: RawServer, connect: Connect, advance: Advance, failures: list[Step]
) -> None:
    server.script(*failures)
    panel = connect(tier="auto")
    await use(panel)
    advance(59)
    await use(panel)
    assert questions(server) == len(failures)
    assert limit_of(panel) == STARTER
    advance(2)
    # The limit is requested in parallel with the call.
    server.script(reply(json=PROFESSIONAL), reply(json=PROFESSIONAL))
    await use(panel)
    await until(lambda: limit_of(panel) == RateLimit(per_minute=300, per_hour=10000, burst=50))
    advance(61)
    await use(panel)
    assert questions(server) == len(failures) + 1


async def test_limit_is_requested_again_after_the_secret_is_fixed(
    server: RawServer, connect: Connect, advance: Advance
) -> None:
    server.script(WRONG_KEY, WRONG_KEY)
    panel = connect(tier="auto")
    with pytest.raises(AuthenticationError):
        await use(panel)
    panel.rotate_key(api_key=API_KEY, api_secret="sk_test_right")
    advance(61)
    server.script(reply(json=PROFESSIONAL), reply(json=PROFESSIONAL))
    await use(panel)
    await until(lambda: limit_of(panel).per_minute == 300)


async def test_process_that_starts_in_a_full_minute_asks_again(
    server: RawServer, connect: Connect, advance: Advance
) -> None:
    server.script(reply(429, headers={"Retry-After": "40"}), *[reply(json=PROFESSIONAL)] * 2)
    panel = connect(tier="auto")
    first = asyncio.create_task(use(panel))
    await until(lambda: panel._transport.keys.current.quota.limiter.waiting == 1)
    assert questions(server) == len(server.requests) == 1
    advance(61)
    await first
    await until(lambda: limit_of(panel).per_minute == 300)
    assert questions(server) == 2


async def test_panel_is_not_asked_when_tier_is_passed(server: RawServer, connect: Connect) -> None:
    panel = connect(tier="business")
    await use(panel)
    assert questions(server) == 0
    assert limit_of(panel) == RateLimit.for_tier("business")


async def test_limit_passed_in_wins(server: RawServer, connect: Connect) -> None:
    panel = connect(tier="auto", limiter=RateLimit(per_minute=7))
    await use(panel)
    assert questions(server) == 0
    assert limit_of(panel) == RateLimit(per_minute=7)


async def test_limiter_passed_in_is_used(server: RawServer, connect: Connect) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    await use(connect(tier="auto", limiter=limiter))
    await use(connect(limiter=limiter, api_key="pk_live_other"))
    assert limiter.granted == 2
    assert questions(server) == 0


async def test_clients_of_a_key_share_a_limiter(server: RawServer, connect: Connect) -> None:
    one, two = connect(tier="starter"), connect(tier="starter")
    other_key = connect(tier="starter", api_key="pk_live_other")
    for panel in (one, two, other_key):
        await use(panel)
    assert one._transport.keys.current.quota.limiter is two._transport.keys.current.quota.limiter
    assert one._transport.keys.current.quota.limiter.granted == 2
    assert other_key._transport.keys.current.quota.limiter.granted == 1


async def test_refusal_of_one_client_stops_the_other(server: RawServer, connect: Connect) -> None:
    one, two = connect(tier="starter"), connect(tier="starter", deadline=60)
    server.script(reply(429, json={"error": {"retry_after": 3000, "window": "hour"}}))
    with pytest.raises(RateLimitedError):
        await use(one)
    with pytest.raises(RateLimitWaitError):
        await use(two)
    assert len(server.requests) == 1


@pytest.mark.parametrize("tier", ["starter", "professional", "business"])
async def test_embedded_panel_reports_its_tier(tier: str) -> None:
    async with (
        Sandbox(tier) as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel,
    ):
        await panel.me()
        assert limit_of(panel) == RateLimit.for_tier(tier)
        assert [request.operation for request in box.requests] == ["rate_limit", "me"]


def test_only_a_digest_of_the_key_is_kept() -> None:
    panel = PanelicaClient("panel.example.com", api_key=API_KEY, api_secret="sk_test_x")
    assert API_KEY not in repr(panel._transport.keys.current.quota)


@pytest.mark.parametrize("number", [3_000_000, 2**63 - 1, -1, -(2**63), 1e300])
@pytest.mark.parametrize("numbers", ["limits", "usage", "all"])
async def test_implausible_limit_delays_no_call(
    server: RawServer, connect: Connect, numbers: str, number: float
) -> None:
    """None of these numbers becomes a loop count, a size or a wait."""
    names = {
        "limits": ["requests_per_minute", "requests_per_hour", "burst_size"],
        "usage": ["current_minute_usage", "current_hour_usage"],
    }
    poisoned = names.get(numbers) or names["limits"] + names["usage"]
    server.script(reply(json={**PROFESSIONAL, **dict.fromkeys(poisoned, number)}))
    panel = connect(tier="auto").with_options(max_wait=1)
    await use(panel)
    assert questions(server) == 1
    assert len(panel._transport.keys.current.quota.limiter._permits.quota.minute.instants()) <= 2
