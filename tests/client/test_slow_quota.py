"""tier="auto" on a panel that reports the limit late or never: calls continue meanwhile. In virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from panelica_async import PanelicaClient
from panelica_async.ratelimit import RateLimit
from tests.conftest import API_KEY, API_SECRET, until
from tests.support.virtual_time import now, run

LIMIT, ME, OTHER = "/api/external/v1/rate-limit", "/api/external/v1/me", "/api/external/v1/x"
BUSINESS = {"tier": "business", "requests_per_minute": 1000, "requests_per_hour": 30000, "burst_size": 150}
KEY = {"name": "Shop", "key_prefix": "pk_test_0123", "scopes": ["accounts:read"], "rate_limit_tier": "business"}
HANGS = 10_000.0


class Panel:
    """A panel with a delay for each path, none at first."""

    def __init__(self) -> None:
        self.replies: dict[str, tuple[int, object]] = {LIMIT: (200, BUSINESS), ME: (200, KEY)}
        self.delays: dict[str, float] = {}
        self.paths: list[str] = []
        """The paths of the requests, oldest first."""
        self.connect: Callable[..., PanelicaClient]

    async def reply(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        await asyncio.sleep(self.delays.get(request.path, 0.0))
        status, data = self.replies.get(request.path, (200, {}))
        return web.json_response(data, status=status)


@asynccontextmanager
async def serving() -> AsyncIterator[Panel]:
    panel = Panel()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", panel.reply)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    clients: list[PanelicaClient] = []

    def connect(**options: Any) -> PanelicaClient:
        clients.append(PanelicaClient(f"http://127.0.0.1:{port}", api_key=API_KEY, api_secret=API_SECRET, **options))
        return clients[-1]

    panel.connect = connect
    try:
        yield panel
    finally:
        for client in clients:
            await client.close()
        await runner.cleanup()


async def use(client: PanelicaClient) -> None:
    await client.request("POST", "/v1/x")


async def seconds_of(call: Awaitable[object]) -> float:
    started = now()
    await call
    return now() - started


def limit_of(client: PanelicaClient) -> RateLimit:
    return client._transport.keys.current.quota.limiter.limit


@pytest.mark.parametrize("deadline", [0.2, 0.5, 2.0, 15.0])
@pytest.mark.parametrize("delay", [3.0, HANGS])
def test_deadline_when_the_answer_is_slow_is_kept(deadline: float, delay: float) -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = delay
            client = panel.connect(deadline=deadline)
            for _ in range(4):
                assert await seconds_of(use(client)) < deadline / 4
            assert panel.paths.count(LIMIT) == 1

    run(main())


def test_max_wait_when_the_answer_is_slow_is_kept() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = HANGS
            client = panel.connect()
            assert await seconds_of(use(client.with_options(max_wait=0.1))) < 0.02
            assert await seconds_of(use(client.with_options(max_wait=1))) < 0.2

    run(main())


def test_callers_with_timeout_pass_while_limit_request_hangs() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = HANGS
            client = panel.connect()

            async def hurried() -> None:
                async with asyncio.timeout(1):
                    await use(client)

            await asyncio.gather(*(hurried() for _ in range(8)))
            assert panel.paths.count(OTHER) == 8

    run(main())


def test_limit_request_outlives_callers_that_give_up() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = 3.0
            client = panel.connect()
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(use(client), 0.1)
            await until_limit(client, 1000)
            assert panel.paths == [LIMIT]

    run(main())


async def until_limit(client: PanelicaClient, per_minute: int) -> None:
    await until(lambda: limit_of(client).per_minute == per_minute)


def test_slow_lookup_of_the_tier_delays_no_call() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.replies[LIMIT] = (403, {"error": "no"})
            panel.delays[ME] = 3.0
            client = panel.connect(deadline=2)
            for _ in range(4):
                assert await seconds_of(use(client)) < 0.5
            assert limit_of(client) == RateLimit.for_tier("starter")
            await asyncio.sleep(3)
            assert limit_of(client) == RateLimit.for_tier("business")
            assert panel.paths.count(ME) == 1

    run(main())


@pytest.mark.parametrize("status", [500, 503])
def test_failed_limit_request_is_repeated_after_a_minute(status: int) -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.replies[LIMIT] = (status, {"error": "no"})
            client = panel.connect(deadline=2)
            await use(client)
            await asyncio.sleep(30)
            questions = panel.paths.count(LIMIT)
            await use(client)
            assert panel.paths.count(LIMIT) == questions
            panel.replies[LIMIT], panel.delays[LIMIT] = (200, BUSINESS), 5.0
            await asyncio.sleep(60)
            assert await seconds_of(use(client)) < 0.01
            await asyncio.sleep(6)
            assert panel.paths.count(LIMIT) == questions + 1
            assert limit_of(client).per_minute == 1000

    run(main())


def test_later_limit_request_that_hangs_delays_no_call() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = HANGS
            client = panel.connect()
            await use(client)
            for _ in range(60):
                await asyncio.sleep(5)
                assert await seconds_of(use(client)) < 0.01
            # Each question takes two attempts of ten seconds, and then a minute passes.
            assert 6 <= panel.paths.count(LIMIT) <= 10

    run(main())


def test_waiting_calls_continue_when_the_limit_arrives() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = 3.0
            client = panel.connect()
            # At the pace of the slowest tier, 60 calls would take most of a minute.
            assert await seconds_of(asyncio.gather(*(use(client) for _ in range(60)))) < 4
            assert panel.paths.count(LIMIT) == 1

    run(main())


def test_fifty_first_calls_ask_once_before_they_go() -> None:
    async def main() -> None:
        async with serving() as panel:
            client = panel.connect()
            await asyncio.gather(*(use(client) for _ in range(50)))
            assert panel.paths == [LIMIT, *[OTHER] * 50]

    run(main())


def test_close_ends_the_limit_request() -> None:
    async def main() -> set[asyncio.Task[Any]]:
        async with serving() as panel:
            panel.delays[LIMIT] = HANGS
            before = asyncio.all_tasks()
            client = panel.connect(deadline=1)
            await use(client)
            assert panel.paths.count(LIMIT) == 1
            await client.close()
            mine = {task for task in asyncio.all_tasks() - before if "KeyQuota" in repr(task)}
            await client.close()
            return mine

    assert run(main()) == set()


def test_new_key_gets_its_own_limit_request() -> None:
    async def main() -> None:
        async with serving() as panel:
            panel.delays[LIMIT] = HANGS
            client = panel.connect()
            await use(client)
            panel.delays[LIMIT] = 0.0
            client.rotate_key(api_key="pk_test_another", api_secret=API_SECRET)
            await use(client)
            assert limit_of(client).per_minute == 1000
            assert panel.paths.count(LIMIT) == 2

    run(main())


def test_impossible_numbers_are_no_limits() -> None:
    async def main() -> None:
        async with serving() as panel:
            huge = 9_223_372_036_854_775_807
            usage = {"current_minute_usage": huge, "current_hour_usage": huge}
            panel.replies[LIMIT] = (200, {**BUSINESS, "requests_per_hour": huge, "burst_size": huge, **usage})
            client = panel.connect()
            assert await seconds_of(use(client)) <= 61
            assert limit_of(client) == RateLimit(per_minute=1000)

    run(main())
